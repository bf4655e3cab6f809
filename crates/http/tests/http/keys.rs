//! API keys over HTTP.

use aurora_discovery_http::{KeyRing, Keys, Scopes, key_line};
use http::Method;

use crate::support::{Response, Service};

const REGISTER: (Method, &str, &str) = (Method::POST, "/register", r#"{"peer_id":"p"}"#);
const WITH_PAGE: &str = r#"{"peer_id":"p","discover":{}}"#;

/// A service that requires a key for the scopes in `require`. It has three keys: `r` has the
/// scope `read`, `w` has `write`, and `rw` has both.
async fn service(require: &str) -> Service {
    let lines = [("r", "read"), ("w", "write"), ("rw", "read,write")]
        .map(|(key, scopes)| key_line(key, Scopes::parse(scopes).unwrap(), key));
    let keys = Keys::parse(&lines.join("\n")).unwrap();
    Service::with(|options| {
        options.server.service.keys = Some(KeyRing::new(keys));
        options.server.service.require_key = Scopes::parse(require).unwrap();
    })
    .await
}

impl Service {
    async fn with_key(&self, key: &str, (method, path, body): (Method, &str, &str)) -> Response {
        let bearer = format!("Bearer {key}");
        self.request(method, path, &[("authorization", &bearer)], body).await
    }
}

#[tokio::test]
async fn writing_needs_a_key_if_the_operator_requires_one_and_reading_stays_open() {
    let service = service("write").await;
    for path in ["/register", "/heartbeat", "/deregister"] {
        let refused = service.post(path, r#"{"peer_id":"p"}"#).await;
        refused.refused(401, "unauthorized", None);
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        service.with_key("x", (Method::POST, path, "{}")).await.refused(401, "unauthorized", None);
        service.with_key("r", (Method::POST, path, "{}")).await.refused(403, "forbidden", None);
    }
    service.with_key("w", REGISTER).await.ok();
    let headers = [("x-api-key", "w")];
    service.request(Method::POST, "/heartbeat", &headers, WITH_PAGE).await.ok();
    for path in ["/discover", "/network", "/openapi.json"] {
        service.get(path).await.ok();
    }
}

#[tokio::test]
async fn reading_needs_a_key_even_as_part_of_another_request() {
    let service = service("read").await;
    service.post("/register", r#"{"peer_id":"p"}"#).await.ok();
    for path in ["/discover", "/discover?since=now", "/watch", "/network"] {
        service.get(path).await.refused(401, "unauthorized", None);
        service.with_key("w", (Method::GET, path, "")).await.refused(403, "forbidden", None);
    }
    for path in ["/discover", "/discover?since=now", "/network"] {
        service.with_key("r", (Method::GET, path, "")).await.ok();
    }
    for path in ["/register", "/heartbeat"] {
        service.post(path, WITH_PAGE).await.refused(401, "unauthorized", None);
        service.with_key("rw", (Method::POST, path, WITH_PAGE)).await.ok();
    }
    let head = service.request(Method::HEAD, "/discover", &[], "").await;
    assert_eq!(head.status.as_u16(), 401);
}

#[tokio::test]
async fn health_checks_preflights_and_the_description_of_the_api_need_no_key() {
    let service = service("read,write").await;
    for path in ["/health", "/livez", "/readyz", "/openapi.json"] {
        service.get(path).await.ok();
    }
    let preflight = service.request(Method::OPTIONS, "/register", &[], "").await;
    let allowed = preflight.header("access-control-allow-headers").unwrap();
    assert!(preflight.status == 204 && allowed.contains("Authorization") && allowed.contains("X-Api-Key"));
    service.get("/nowhere").await.refused(404, "not_found", None);
    service.get("/register").await.refused(405, "method_not_allowed", None);
}

#[tokio::test]
async fn an_unknown_key_changes_nothing_where_none_is_required() {
    let service = Service::start().await;
    service.with_key("x", REGISTER).await.ok();
    service.with_key("x", (Method::GET, "/discover", "")).await.ok();
}
