//! The OpenAPI document, and checks of responses against it.

use std::sync::LazyLock;

use http::Method;
use serde_json::{Value, json};

use super::Reply;

pub(crate) static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../openapi.json")).unwrap());

/// The target of a reference within the document.
pub(crate) fn resolved(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        Some(reference) => DOCUMENT.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

/// Whether `value` matches `schema`.
#[track_caller]
pub(crate) fn assert_valid(schema: &Value, value: &Value, what: &str) {
    let whole = json!({"allOf": [schema], "components": DOCUMENT["components"]});
    let validator = jsonschema::validator_for(&whole).unwrap();
    let errors: Vec<_> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{what} is not what the document says: {errors:?}\n{value}");
}

/// Whether the document describes this response to this request. Requests that the document does
/// not describe must get 404, 405 or 204.
#[track_caller]
pub(crate) fn check(method: &Method, path: &str, reply: &Reply) {
    let path = path.split('?').next().unwrap();
    let what = format!("{method} {path} {}", reply.status);
    let described = &DOCUMENT["paths"][path.strip_suffix('/').unwrap_or(path)];
    let operation = &described[method.as_str().to_ascii_lowercase()];
    let response = match operation["responses"].get(reply.status.as_str()) {
        Some(response) => resolved(response),
        None if *method == Method::OPTIONS => &DOCUMENT["components"]["responses"]["Preflight"],
        None if described.is_null() && reply.status == 404 => {
            return assert_valid(&json!({"$ref": "#/components/schemas/Error"}), &reply.json(), &what);
        }
        None if operation.is_null() && reply.status == 405 => {
            &DOCUMENT["components"]["responses"]["WrongMethod"]
        }
        None => panic!("{what} is not in the document: {reply:?}"),
    };
    check_headers(response, reply, &what);
    match response["content"].get("application/json") {
        Some(content) if *method != Method::HEAD => assert_valid(&content["schema"], &reply.json(), &what),
        _ => assert!(reply.body.is_empty(), "{what} has a body: {reply:?}"),
    }
}

fn check_headers(response: &Value, reply: &Reply, what: &str) {
    for (name, header) in response["headers"].as_object().unwrap() {
        let header = resolved(header);
        match reply.header(name) {
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
}
