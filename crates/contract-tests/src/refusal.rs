//! The errors for invalid keys, parameters, paths and methods.

use serde_json::{Value, json};

use crate::client::{Client, encoded, unique};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

pub async fn an_invalid_key_is_named_in_the_error(target: &Target) {
    let client = Client::first(target);
    let deep = (0..17).fold(json!(1), |inner, _| json!({ "a": inner }));
    let long_id = "x".repeat(129);
    for (key, values) in [
        (
            "peer_id",
            vec![json!(""), json!(7), json!("a b"), json!("é"), json!("a\n"), json!(long_id), json!(null)],
        ),
        ("address", vec![json!(1), json!("224.0.0.1"), json!("255.255.255.255"), json!("169.254.1.1")]),
        (
            "address",
            vec![
                json!("fe80::1"),
                json!("ff02::1"),
                json!("10.0.0.1:80"),
                json!("a b"),
                json!("a".repeat(254)),
            ],
        ),
        ("port", vec![json!(-1), json!(65_536), json!(1.5), json!("9000"), json!(true), json!([])]),
        (
            "archetypes",
            vec![json!("pepino"), json!([1]), json!([""]), json!([" a"]), json!(["a\t"]), json!({})],
        ),
        ("archetypes", vec![json!(["é".repeat(65)]), json!(vec!["a"; 33]), json!(many(17, 64))]),
        ("metadata", vec![json!([]), json!("{}"), json!(1), deep, json!({"x": "y".repeat(4_089)})]),
        ("ttl_seconds", vec![json!(0), json!(-30), json!(30.5), json!("300"), json!(4_294_967_296_u64)]),
        ("token_only", vec![json!(1), json!("true"), json!([])]),
        ("lease_token", vec![json!(1), json!(""), json!("é")]),
        ("discover", vec![json!([]), json!(true), json!("all")]),
    ] {
        for value in values {
            let mut body = json!({"peer_id": unique("peer")});
            body[key] = value;
            let sentence =
                client.post("/register", &body.to_string()).await.refused(400, "invalid_field", Some(key));
            assert!(sentence.contains(key), "{sentence}");
        }
    }
    let twice = format!(r#"{{"peer_id":"{}","metadata":{{"a":1,"a":1}}}}"#, unique("peer"));
    client.post("/register", &twice).await.refused(400, "invalid_field", Some("metadata"));
}

/// `count` different archetypes of `bytes` bytes each.
fn many(count: usize, bytes: usize) -> Vec<String> {
    (0..count).map(|n| format!("{n:0bytes$}")).collect()
}

pub async fn an_invalid_key_of_an_inline_page_is_named_in_the_error(target: &Target) {
    let client = Client::first(target);
    let id = &client.register_many(1, &[]).await[0];
    for (key, value) in [
        ("limit", json!(0)),
        ("limit", json!(101)),
        ("limit", json!("5")),
        ("archetype", json!(5)),
        ("archetype", json!(many(9, 2))),
        ("exclude", json!("a b")),
        ("order", json!("newest")),
        ("view", json!("half")),
        ("fill", json!("all")),
        ("fill", json!(true)),
        ("cursor", json!(7)),
    ] {
        let mut body = json!({"peer_id": id, "discover": {}});
        body["discover"][key] = value;
        let response = client.post("/heartbeat", &body.to_string()).await;
        response.refused(400, "invalid_field", Some(&format!("discover.{key}")));
    }
    let foreign = json!({"peer_id": id, "discover": {"order": "all", "cursor": "foreign"}}).to_string();
    let refusal: Value = client.post("/heartbeat", &foreign).await.read();
    assert_eq!(refusal["code"], "invalid_cursor");
}

pub async fn an_invalid_parameter_is_named_in_the_error(target: &Target) {
    let client = Client::first(target);
    let nine = many(9, 2).iter().map(|name| format!("&archetype={name}")).collect::<String>();
    for (parameter, query) in [
        ("limit", "limit=0"),
        ("limit", "limit=1001"),
        ("limit", "limit=-1"),
        ("limit", "limit=%2B1"),
        ("limit", "limit=1.0"),
        ("limit", "limit="),
        ("limit", "limit=ten"),
        ("limit", "limit=99999999999999999999"),
        ("limit", "limit=1&limit=2"),
        ("order", "order=newest"),
        ("order", "order="),
        ("view", "view=FULL"),
        ("fill", "fill="),
        ("fill", "fill=all"),
        ("exclude", "exclude="),
        ("exclude", "exclude=a%20b"),
        ("archetype", "archetype=%20a"),
        ("archetype", "archetype=a%00"),
        ("archetype", &nine),
        ("archetype", &format!("archetype={}", encoded(&"é".repeat(65)))),
    ] {
        let response = client.get(&format!("/discover?{query}")).await;
        assert!(response.refused(400, "invalid_parameter", Some(parameter)).contains(parameter));
    }
}

pub async fn every_post_requires_a_peer_id(target: &Target) {
    for path in ["/register", "/heartbeat", "/deregister"] {
        for body in ["{}", r#"{"peer_id":null}"#, r#"{"PEER_ID":"p"}"#] {
            Client::first(target).post(path, body).await.refused(400, "invalid_field", Some("peer_id"));
        }
    }
}

pub async fn values_at_their_bounds_are_accepted(target: &Target) {
    let client = Client::first(target);
    let deepest = (0..16).fold(json!(1), |inner, _| json!({ "a": inner }));
    for (key, value) in [
        ("port", json!(65_535)),
        ("archetypes", json!(many(32, 32))),
        ("archetypes", json!(many(16, 64))),
        ("archetypes", json!(["é".repeat(64)])),
        ("metadata", deepest),
        ("metadata", json!({"x": "y".repeat(4_088)})),
    ] {
        let mut body = json!({"peer_id": format!("{:x<128}", unique("peer"))});
        body[key] = value;
        client.register(&body).await;
    }
    let eight = many(8, 64).iter().map(|name| format!("&archetype={name}")).collect::<String>();
    client.get(&format!("/discover?limit=1000{eight}")).await.ok();
    client.get("/discover?limit=1").await.ok();
}

pub async fn a_lease_outside_the_bounds_is_rejected(target: &Target) {
    for ttl in [1, 29, 3_601, u32::MAX] {
        let body = json!({"peer_id": unique("peer"), "ttl_seconds": ttl}).to_string();
        let response = Client::first(target).post("/register", &body).await;
        let sentence = response.refused(400, "invalid_field", Some("ttl_seconds"));
        assert!(sentence.contains("30") && sentence.contains("3600"), "{sentence}");
    }
}

pub async fn an_unknown_path_gets_404(target: &Target) {
    let client = Client::first(target);
    for path in ["/", "/registers", "/Register", "/discover/x", "/health//", "/..%2fhealth", "/peers"] {
        client.get(path).await.refused(404, "not_found", None);
        client.post(path, "{}").await.refused(404, "not_found", None);
    }
}

pub async fn a_wrong_method_gets_405_with_the_allowed_methods(target: &Target) {
    let client = Client::first(target);
    for (path, right) in [
        ("/register", "POST"),
        ("/heartbeat", "POST"),
        ("/deregister", "POST"),
        ("/discover", "GET"),
        ("/health", "GET"),
        ("/network", "GET"),
    ] {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"].into_iter().filter(|method| *method != right)
        {
            let response = client.request(method, path, &[], b"").await;
            response.refused(405, "method_not_allowed", None);
            let allow: Vec<_> = response.header("allow").expect("Allow").split(", ").collect();
            assert!(allow.contains(&right) && allow.contains(&"OPTIONS"), "{allow:?}");
            assert_eq!(allow.contains(&"HEAD"), right == "GET");
        }
    }
}

pub async fn every_error_has_the_same_shape(target: &Target) {
    let client = Client::first(target);
    let refusals = [
        (client.post("/heartbeat", "{").await, vec!["code", "error"]),
        (client.post("/heartbeat", "{}").await, vec!["code", "error", "field"]),
        (client.get("/discover?limit=0").await, vec!["code", "error", "field"]),
        (client.get("/nowhere").await, vec!["code", "error"]),
    ];
    for (response, keys) in refusals {
        let body: serde_json::Map<String, Value> = response.read();
        assert_eq!(body.keys().collect::<Vec<_>>(), keys);
        assert!(body.values().all(Value::is_string));
    }
}
