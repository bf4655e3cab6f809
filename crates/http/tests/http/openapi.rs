//! Compares the OpenAPI document with the code.

use std::collections::BTreeSet;

use aurora_discovery_http::Route;
use aurora_discovery_protocol::{
    Address, Archetype, Archetypes, BlockReason, BlockRequest, Code, DiscoverRequest, HeartbeatEntries,
    LeaseToken, MAX_BODY_BYTES, MailboxRequest, Metadata, NetworkResponse, PeerId, SignedMessage,
};
use aurora_discovery_registry::Limits;
use http::Method;
use serde_json::{Value, json};

use crate::support::openapi::{DOCUMENT, assert_valid, resolved};
use crate::support::{Service, one_response_of_each_kind};

#[tokio::test]
async fn the_service_returns_the_checked_in_document() {
    let service = Service::start().await;
    assert_eq!(service.get("/openapi.json").await.ok(), *DOCUMENT);
}

#[tokio::test]
async fn responses_of_each_kind_match_the_document() {
    let service = Service::with(|options| options.limits.max_peers = 1).await;
    assert!(!one_response_of_each_kind(&service).await.is_empty());
}

#[test]
fn the_document_describes_exactly_the_served_routes_and_methods() {
    let described: BTreeSet<String> =
        operations().map(|(path, method, _)| format!("{method} {path}")).collect();
    let served = Route::ALL.into_iter().flat_map(|route| {
        let head = (route.method() == Method::GET).then_some("head");
        let own = route.method().as_str().to_ascii_lowercase();
        let methods = [Some(own), head.map(str::to_owned), Some("options".to_owned())];
        methods.into_iter().flatten().map(move |method| format!("{method} {}", route.path()))
    });
    assert_eq!(described, served.collect());
}

fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, operations)| {
        operations
            .as_object()
            .unwrap()
            .iter()
            .map(|(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

/// Whether requests for `path` are exempt from the rate limits.
fn is_free(path: &str) -> bool {
    matches!(path, "/health" | "/livez" | "/readyz")
}

/// The error codes that the responses of an operation may have with one status.
fn codes(operation: &Value, status: &str) -> BTreeSet<String> {
    let schema = &resolved(&operation["responses"][status])["content"]["application/json"]["schema"];
    let alternatives = schema["anyOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
    let parts = alternatives.iter().filter_map(|schema| schema["allOf"].as_array()).flatten();
    let codes = parts.filter_map(|part| part["properties"]["code"]["enum"].as_array()).flatten();
    codes.map(|code| code.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_document_lists_each_error_code_under_its_status() {
    let schema_codes = &DOCUMENT["components"]["schemas"]["Error"]["properties"]["code"]["enum"];
    assert_eq!(*schema_codes, json!(Code::ALL));
    for (name, status, expected) in [
        (
            "register",
            "400",
            &["invalid_body", "invalid_field", "invalid_parameter", "invalid_cursor", "cursor_expired"][..],
        ),
        ("register", "401", &["unauthorized", "invalid_signature", "stale_signature"]),
        ("register", "403", &["not_holder", "name_locked", "blocked", "forbidden"]),
        ("register", "409", &["stale_record"]),
        ("register", "413", &["body_too_large"]),
        ("register", "503", &["registry_full", "unavailable"]),
        (
            "heartbeat",
            "400",
            &["invalid_body", "invalid_field", "invalid_parameter", "invalid_cursor", "cursor_expired"],
        ),
        ("heartbeat", "401", &["unauthorized"]),
        ("heartbeat", "403", &["not_holder", "blocked", "forbidden"]),
        ("heartbeat", "404", &["peer_not_registered"]),
        ("heartbeat", "429", &["rate_limited"]),
        ("heartbeat", "413", &["body_too_large"]),
        ("heartbeat", "503", &["unavailable"]),
        ("deregister", "400", &["invalid_body", "invalid_field", "invalid_parameter"]),
        ("deregister", "401", &["unauthorized"]),
        ("deregister", "403", &["not_holder", "blocked", "forbidden"]),
        ("deregister", "404", &["peer_not_registered"]),
        ("deregister", "413", &["body_too_large"]),
        ("mail", "400", &["invalid_body", "invalid_field", "invalid_parameter"]),
        ("mail", "401", &["unauthorized", "invalid_signature", "stale_signature"]),
        ("mail", "403", &["not_holder", "blocked", "forbidden"]),
        ("mail", "404", &["peer_not_registered"]),
        ("mail", "409", &["no_mailbox", "repeated_message"]),
        ("mail", "501", &["not_available_here"]),
        ("mail", "503", &["unavailable"]),
        ("mailbox", "401", &["unauthorized"]),
        ("mailbox", "403", &["not_holder", "blocked", "forbidden"]),
        ("mailbox", "404", &["peer_not_registered"]),
        ("mailbox", "409", &["no_mailbox"]),
        ("mailbox", "503", &["unavailable"]),
        ("discover", "400", &["invalid_parameter", "invalid_cursor", "cursor_expired"]),
        ("discover", "401", &["unauthorized"]),
        ("discover", "403", &["forbidden"]),
        ("discover", "501", &["not_available_here"]),
        ("discover", "503", &["unavailable"]),
        ("watch", "400", &["invalid_parameter", "invalid_cursor", "cursor_expired"]),
        ("watch", "401", &["unauthorized"]),
        ("watch", "403", &["forbidden"]),
        ("watch", "501", &["not_available_here"]),
        ("watch", "503", &["unavailable"]),
        ("evict", "400", &["invalid_body", "invalid_field", "invalid_parameter"]),
        ("evict", "401", &["unauthorized"]),
        ("evict", "403", &["forbidden"]),
        ("unblock", "404", &["not_found"]),
        ("block", "503", &["registry_full", "unavailable"]),
        ("health", "503", &["unavailable"]),
        ("network", "400", &["invalid_parameter"]),
        ("network", "401", &["unauthorized"]),
        ("network", "403", &["forbidden"]),
        ("network", "503", &["unavailable"]),
        ("prometheus", "400", &["invalid_parameter", "invalid_cursor", "cursor_expired"]),
        ("prometheus", "503", &["unavailable"]),
        ("openapi", "400", &["invalid_parameter"]),
        ("openapi", "503", &["unavailable"]),
    ] {
        let (_, _, operation) =
            operations().find(|(_, _, operation)| operation["operationId"] == name).unwrap();
        let expected: BTreeSet<_> = expected.iter().map(|code| (*code).to_owned()).collect();
        assert_eq!(codes(operation, status), expected, "{name} {status}");
    }
    for (path, method, operation) in
        operations().filter(|(_, method, _)| !matches!(*method, "head" | "options"))
    {
        assert_eq!(
            codes(operation, "405"),
            BTreeSet::from(["method_not_allowed".to_owned()]),
            "{method} {path}"
        );
        let limited: &[&str] = match path {
            _ if is_free(path) => &[],
            "/mail" => &["mailbox_full", "rate_limited"],
            _ => &["rate_limited"],
        };
        let limited: BTreeSet<_> = limited.iter().map(|code| (*code).to_owned()).collect();
        assert_eq!(codes(operation, "429"), limited, "{method} {path}");
        assert_eq!(codes(operation, "500"), BTreeSet::from(["internal".to_owned()]), "{method} {path}");
    }
}

#[test]
fn head_has_the_same_statuses_as_get() {
    for (path, _, operation) in operations().filter(|(_, method, _)| *method == "get") {
        let statuses =
            |operation: &Value| operation["responses"].as_object().unwrap().keys().cloned().collect();
        let (get, head): (BTreeSet<_>, BTreeSet<_>) =
            (statuses(operation), statuses(&DOCUMENT["paths"][path]["head"]));
        assert_eq!(get, head, "{path}");
    }
}

#[test]
fn the_bounds_in_the_document_match_the_code() {
    let schemas = &DOCUMENT["components"]["schemas"];
    let limits = Limits::default();
    let register = &schemas["RegisterRequest"]["properties"];
    let inline = &schemas["Discover"]["properties"];
    for (described, bound) in [
        (&schemas["PeerId"]["maxLength"], PeerId::MAX_LEN),
        (&schemas["LeaseToken"]["maxLength"], LeaseToken::MAX_LEN),
        (&schemas["Archetype"]["maxLength"], Archetype::MAX_CHARS),
        (&schemas["Address"]["maxLength"], Address::MAX_NAME_LEN),
        (&register["archetypes"]["maxItems"], Archetypes::MAX_COUNT),
        (&register["port"]["maximum"], usize::from(u16::MAX)),
        (&register["ttl_seconds"]["minimum"], limits.ttl_min.as_secs() as usize),
        (&register["ttl_seconds"]["maximum"], limits.ttl_max.as_secs() as usize),
        (&register["ttl_seconds"]["default"], limits.ttl_default.as_secs() as usize),
        (&schemas["HeartbeatsRequest"]["properties"]["peer_ids"]["maxItems"], HeartbeatEntries::MAX_COUNT),
        (&schemas["HeartbeatsResponse"]["properties"]["results"]["maxItems"], HeartbeatEntries::MAX_COUNT),
        (
            &schemas["NetworkResponse"]["properties"]["archetypes"]["maxItems"],
            NetworkResponse::MAX_ARCHETYPES,
        ),
        (&schemas["SignedMessage"]["maxLength"], SignedMessage::MAX_LEN),
        (
            &schemas["MailboxRequest"]["properties"]["wait_seconds"]["maximum"],
            MailboxRequest::MAX_WAIT_SECONDS as usize,
        ),
        (&schemas["BlockReason"]["maxLength"], BlockReason::MAX_CHARS),
        (
            &schemas["BlockRequest"]["properties"]["duration_seconds"]["maximum"],
            BlockRequest::MAX_SECONDS as usize,
        ),
        (&inline["limit"]["maximum"], limits.inline_discover.max as usize),
        (&inline["limit"]["default"], limits.inline_discover.default as usize),
        (&schemas["DiscoverResponse"]["properties"]["peers"]["maxItems"], limits.discover.max as usize),
        (
            &schemas["HeartbeatResponse"]["properties"]["peers"]["maxItems"],
            limits.inline_discover.max as usize,
        ),
    ] {
        assert_eq!(*described, bound);
    }
    let mentions =
        |text: &Value, bound: usize| assert!(text.as_str().unwrap().contains(&bound.to_string()), "{text}");
    mentions(&schemas["Metadata"]["description"], Metadata::MAX_BYTES);
    mentions(&schemas["Metadata"]["description"], Metadata::MAX_LEVELS);
    mentions(&register["archetypes"]["description"], Archetypes::MAX_BYTES);
    mentions(&schemas["RegisterRequest"]["description"], MAX_BODY_BYTES);
    mentions(&DOCUMENT["components"]["responses"]["BodyTooLarge"]["description"], MAX_BODY_BYTES);
}

#[test]
fn the_document_describes_every_query_parameter_with_its_bounds() {
    let parameters = DOCUMENT["paths"]["/discover"]["get"]["parameters"].as_array().unwrap();
    let parameter =
        |name: &str| &parameters.iter().find(|parameter| parameter["name"] == name).unwrap()["schema"];
    let names: Vec<_> = parameters.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["archetype", "limit", "exclude", "order", "cursor", "since", "view", "fill"]);
    let limits = Limits::default().discover;
    assert_eq!(
        (&parameter("limit")["maximum"], &parameter("limit")["default"]),
        (&json!(limits.max), &json!(limits.default))
    );
    assert_eq!(parameter("archetype")["maxItems"], DiscoverRequest::MAX_ARCHETYPES);
    assert_eq!(parameter("archetype")["items"]["maxLength"], Archetype::MAX_CHARS);
    assert_eq!(parameter("order")["enum"], json!(["sample", "diverse", "all"]));
    assert_eq!(parameter("view")["enum"], json!(["legacy", "full", "contact", "observer", "seed"]));
    assert_eq!(parameter("fill")["enum"], json!(["any"]));
    let inline = DOCUMENT["components"]["schemas"]["Discover"]["properties"].as_object().unwrap();
    // Only `/discover` itself accepts `since`. A discover within another request does not.
    let expected = names.into_iter().filter(|name| *name != "since");
    assert_eq!(inline.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected.collect());
}

#[test]
fn the_document_and_the_code_accept_the_same_values() {
    let schemas = &DOCUMENT["components"]["schemas"];
    let fits = |schema: &str, text: &str| {
        let whole = json!({"allOf": [schemas[schema]], "components": DOCUMENT["components"]});
        jsonschema::validator_for(&whole).unwrap().is_valid(&json!(text))
    };
    for text in [
        "",
        "0.0.0.0",
        "::",
        "10.0.0.1",
        "0.1.2.3",
        "169.253.255.255",
        "169.255.0.1",
        "223.255.255.255",
        "240.0.0.1",
        "2001:db8::1",
        "fd00::",
        "2001:1:2:3:4:5:6:7",
        "localhost",
        "a.b-c.example.",
        "_x.y1",
    ] {
        assert!(fits("Address", text) && Address::parse(text).is_ok(), "{text}");
    }
    for text in [
        "169.254.0.1",
        "224.0.0.1",
        "239.1.1.1",
        "255.255.255.255",
        "256.1.1.1",
        "1.2.3",
        "ff02::1",
        "fe80::1",
        "1",
        "-a",
        "a-",
        "a..b",
        "a b",
        "é",
        "10.0.0.1:80",
    ] {
        assert!(!fits("Address", text) && Address::parse(text).is_err(), "{text}");
    }
    for text in [
        "a",
        "pepino",
        "研究",
        "🐹",
        "two words",
        "é",
        "",
        " a",
        "a ",
        "\u{a0}a",
        "a\tb",
        "a\u{85}",
        "a\u{3000}",
    ] {
        assert_eq!(fits("Archetype", text), Archetype::parse_stored(text).is_ok(), "{text:?}");
        assert_eq!(fits("NewArchetype", text), Archetype::parse(text).is_ok(), "{text:?}");
    }
    for text in ["a\u{ad}b", "a\u{202e}", "\u{feff}a", "a\u{200d}b", "a\u{200d}", "\u{200c}a", "a\u{2060}"] {
        assert!(fits("Archetype", text) && Archetype::parse_stored(text).is_ok(), "{text:?}");
        assert_eq!(fits("NewArchetype", text), Archetype::parse(text).is_ok(), "{text:?}");
    }
    for text in ["!", "~", "uuid-or-identifier", "", " ", "a b", "é", "\u{7f}"] {
        assert_eq!(fits("PeerId", text), PeerId::parse(text).is_ok(), "{text:?}");
    }
}

#[test]
fn the_original_registration_example_matches_the_document() {
    let registration = json!({
        "peer_id": "uuid-or-identifier", "address": "192.168.1.100", "port": 9000, "archetypes": ["pepino", "ethics"],
        "metadata": {"version": "1.0.0", "capabilities": ["tensor-exchange"]}, "unknown": null, "ttl_seconds": null,
    });
    assert_valid(
        &json!({"$ref": "#/components/schemas/RegisterRequest"}),
        &registration,
        "the original registration",
    );
}
