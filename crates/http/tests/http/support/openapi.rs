//! The OpenAPI document, and checks of responses against it.

use std::sync::LazyLock;

use http::{HeaderName, Method};
use serde_json::{Value, json};

use super::Response;

pub(crate) static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../openapi.json")).unwrap());

/// The value to which `value` refers if it is a reference (`$ref`), otherwise `value` itself.
pub(crate) fn resolved(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        Some(reference) => DOCUMENT.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

/// Asserts that `value` matches `schema`.
#[track_caller]
pub(crate) fn assert_valid(schema: &Value, value: &Value, what: &str) {
    let whole = json!({"allOf": [schema], "components": DOCUMENT["components"]});
    let validator = jsonschema::validator_for(&whole).unwrap();
    let errors: Vec<_> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{what} does not match the document: {errors:?}\n{value}");
}

/// Asserts that the document describes this response to this request. A request that the document
/// does not describe must get 404, 405 or, for `OPTIONS`, 204.
#[track_caller]
pub(crate) fn check(method: &Method, path: &str, response: &Response) {
    let path = path.split('?').next().unwrap();
    let what = format!("{method} {path} {}", response.status);
    let described = &DOCUMENT["paths"][path.strip_suffix('/').unwrap_or(path)];
    let operation = &described[method.as_str().to_ascii_lowercase()];
    let description = match operation["responses"].get(response.status.as_str()) {
        Some(description) => resolved(description),
        None if *method == Method::OPTIONS => &DOCUMENT["components"]["responses"]["Preflight"],
        None if described.is_null() && response.status == 404 => {
            return assert_valid(&json!({"$ref": "#/components/schemas/Error"}), &response.json(), &what);
        }
        None if operation.is_null() && response.status == 405 => {
            &DOCUMENT["components"]["responses"]["WrongMethod"]
        }
        None => panic!("{what} is not in the document: {response:?}"),
    };
    check_headers(description, response, &what);
    match description["content"].get("application/json") {
        Some(content) if *method != Method::HEAD => assert_valid(&content["schema"], &response.json(), &what),
        _ => assert!(response.body.is_empty(), "{what} has a body: {response:?}"),
    }
}

fn check_headers(description: &Value, response: &Response, what: &str) {
    for (name, header) in description["headers"].as_object().unwrap() {
        let header = resolved(header);
        match response.header(name) {
            Some(text) if header["schema"]["type"] == "integer" => {
                assert_valid(
                    &header["schema"],
                    &json!(text.parse::<u64>().unwrap()),
                    &format!("{what}: {name}"),
                );
            }
            Some(text) => assert_valid(&header["schema"], &json!(text), &format!("{what}: {name}")),
            None => assert!(header["required"] != true, "{what} lacks {name}"),
        }
    }
    for name in response.headers.keys().map(HeaderName::as_str) {
        let described = description["headers"].as_object().unwrap().keys();
        assert!(
            !name.starts_with("access-control-")
                || described.clone().any(|key| key.eq_ignore_ascii_case(name)),
            "{what} has {name}, which is not in the document"
        );
    }
}
