//! The audit log.

use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use crate::operators::with_operator;
use crate::support::Service;

async fn audited(path: &Path) -> Service {
    Service::with(|options| {
        with_operator(options);
        options.server.audit_log = Some(path.to_owned());
    })
    .await
}

/// Stops the service and returns the lines of its audit log, which must have at least `count` lines.
/// Their times and request ids are checked and removed, because request ids differ from run to run.
async fn lines(mut service: Service, path: &Path, count: usize) -> Vec<Value> {
    // Before the service ends, it writes the lines that are still queued. It waits for two seconds
    // at most, and a busy machine may need more time.
    service.stop();
    service.stopped().await.unwrap();
    let mut text = std::fs::read_to_string(path).unwrap();
    while text.matches('\n').count() < count {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        text = std::fs::read_to_string(path).unwrap();
    }
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        assert_eq!(line.remove("time").unwrap(), "2025-10-02T12:00:00");
        assert_eq!(line.remove("request_id").unwrap().as_str().unwrap().len(), 16);
    }
    lines
}

#[tokio::test]
async fn registrations_removals_refusals_and_actions_of_operators_are_audited() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let service = audited(&path).await;
    let home = service.client_at("203.0.113.7");
    let token = home.token("p").await;
    service.client_at("198.51.100.1").register("p").await.refused(403, "not_holder", None);
    home.heartbeat("p").await.ok();
    home.heartbeat("q").await.refused(404, "peer_not_registered", None);
    service.get("/discover?limit=0").await.refused(400, "invalid_parameter", Some("limit"));
    let deregister = json!({"peer_id": "p", "lease_token": token});
    service.client_at("198.51.100.1").post("/deregister", &deregister).await.ok();
    service.post("/admin/evict", r#"{"peer_id":"p"}"#).await.refused(401, "unauthorized", None);
    let block = json!({"source": "10.0.0.0/8", "reason": "spam", "duration_seconds": 60});
    service.admin("/admin/block", &block).await.ok();
    service.admin("/admin/evict", &json!({"peer_id": "p"})).await.ok();
    service.admin("/admin/blocks", &Value::Null).await.ok();
    service.admin("/admin/unblock", &json!({"source": "10.0.0.0/8"})).await.ok();
    let (peer, stranger, local) = ("203.0.113.7", "198.51.100.1", "127.0.0.1");
    let expected = json!([
        {"action": "registered", "peer_id": "p", "client": peer, "path": "/register", "status": 200},
        {"action": "refused", "peer_id": "p", "client": stranger, "path": "/register", "status": 403,
         "code": "not_holder"},
        {"action": "refused", "peer_id": "q", "client": peer, "path": "/heartbeat", "status": 404,
         "code": "peer_not_registered"},
        {"action": "deregistered", "peer_id": "p", "client": stranger, "path": "/deregister", "status": 200},
        {"action": "refused", "peer_id": "p", "client": local, "path": "/admin/evict", "status": 401,
         "code": "unauthorized"},
        {"action": "blocked", "subject": {"source": "10.0.0.0/8"}, "reason": "spam", "duration_seconds": 60,
         "evicted": 0, "client": local, "api_key": "ops", "path": "/admin/block", "status": 200},
        {"action": "evicted", "subject": {"peer_id": "p"}, "evicted": 0, "client": local, "api_key": "ops",
         "path": "/admin/evict", "status": 200},
        {"action": "unblocked", "subject": {"source": "10.0.0.0/8"}, "client": local, "api_key": "ops",
         "path": "/admin/unblock", "status": 200},
    ]);
    let text_has_token = {
        let lines = lines(service, &path, 8).await;
        assert_eq!(json!(lines), expected);
        std::fs::read_to_string(&path).unwrap().contains(token.as_str().unwrap())
    };
    assert!(!text_has_token);
}

#[tokio::test]
async fn each_refused_peer_of_a_heartbeat_for_several_is_audited() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let service = audited(&path).await;
    service.post("/register", r#"{"peer_id":"q"}"#).await.ok();
    let block = json!({"peer_id": "p", "reason": "spam", "duration_seconds": 60});
    service.admin("/admin/block", &block).await.ok();
    service.post("/heartbeat", &json!({"peer_ids": ["p", "q", "x"]}).to_string()).await.ok();
    let lines = lines(service, &path, 4).await;
    let refused = |peer: &str, code: &str| {
        json!({"action": "refused", "peer_id": peer, "client": "127.0.0.1", "path": "/heartbeat", "status": 200,
               "code": code})
    };
    assert_eq!(lines[2..], [refused("p", "blocked"), refused("x", "peer_not_registered")]);
}

#[tokio::test]
async fn requests_that_match_no_route_are_not_audited() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let service = Service::with(|options| options.server.audit_log = Some(path.clone())).await;
    let peer = r#"{"peer_id":"p"}"#;
    // Without API keys, the service has no routes for operators.
    service.post("/admin/evict", peer).await.refused(404, "not_found", None);
    service.get("/register").await.refused(405, "method_not_allowed", None);
    service.get("/nowhere").await.refused(404, "not_found", None);
    service.post("/heartbeat", peer).await.refused(404, "peer_not_registered", None);
    let lines = lines(service, &path, 1).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["path"], "/heartbeat");
}

#[tokio::test]
async fn if_the_audit_log_can_not_be_written_requests_succeed_and_lost_lines_are_counted() {
    let service = audited(Path::new("/dev/full")).await;
    for _ in 0..20 {
        service.request(Method::POST, "/register", &[], r#"{"peer_id":"p"}"#).await.ok();
    }
    let is_counted = async {
        loop {
            let metrics = service.client.get(format!("http://{}/metrics", service.metrics));
            let text = metrics.send().await.unwrap().text().await.unwrap();
            if text.lines().any(|line| line == "aurora_audit_lines_lost_total 20") {
                return;
            }
            // Another thread writes the lines and counts those that are lost, so the test waits for
            // it.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::support::TIMEOUT, is_counted).await.unwrap();
}
