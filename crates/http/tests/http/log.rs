//! The contents of the log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::Service;
use crate::support::faulty::FaultyStore;

/// A log that keeps its lines in memory.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Collects the log events of this thread. A test and its service run on the same thread.
    fn capture(&self) -> tracing::subscriber::DefaultGuard {
        let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(self.clone());
        tracing::subscriber::set_default(subscriber.finish())
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// How many lines contain `text`.
    fn containing(&self, text: &str) -> usize {
        self.text().lines().filter(|line| line.contains(text)).count()
    }

    /// The lines about requests.
    fn of_requests(&self) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| !line["request_id"].is_null()).collect()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn the_cause_of_a_500_is_logged_with_the_request_id_of_the_response() {
    let lines = Lines::default();
    let _guard = lines.capture();
    let service = Service::with(|options| options.store = FaultyStore::wrap).await;
    for (fault, cause) in [("breaks", "the secret of slot 8"), ("panics", "panicked: the secret of slot 7")] {
        let response = service.post("/heartbeat", &format!(r#"{{"peer_id":"{fault}"}}"#)).await;
        let line = lines.of_requests().pop().unwrap();
        assert_eq!(line["request_id"], response.header("x-request-id").unwrap());
        assert_eq!((&line["cause"], &line["peer_id"]), (&cause.into(), &fault.into()));
        assert_eq!(
            (&line["level"], &line["status"], &line["code"]),
            (&"ERROR".into(), &500.into(), &"internal".into())
        );
        assert_eq!((&line["method"], &line["route"]), (&"POST".into(), &"/heartbeat".into()));
        assert!(line["duration_ms"].is_f64());
    }
}

#[tokio::test]
async fn a_forwarded_request_without_trusted_hops_is_warned_about_once() {
    for name in ["x-forwarded-for", "forwarded"] {
        let lines = Lines::default();
        let _guard = lines.capture();
        let service = Service::start().await;
        service.get("/health").await.ok();
        assert_eq!(lines.containing("--trusted-hops"), 0);
        for _ in 0..3 {
            service.request(http::Method::GET, "/discover", &[(name, "203.0.113.7")], "").await.ok();
        }
        assert_eq!(lines.containing("--trusted-hops"), 1, "{name}");
    }
}

#[tokio::test]
async fn successful_requests_are_logged_only_if_configured() {
    for enabled in [false, true] {
        let lines = Lines::default();
        let _guard = lines.capture();
        let service = Service::with(|options| options.server.service.log_one_in = enabled.into()).await;
        service.post("/register", r#"{"peer_id":"p"}"#).await.ok();
        assert_eq!(lines.of_requests().len(), usize::from(enabled));
    }
}

#[tokio::test]
async fn a_refused_request_is_logged_with_its_client_its_path_and_its_code() {
    let lines = Lines::default();
    let _guard = lines.capture();
    let service = Service::behind_a_proxy().await;
    let headers = [("x-forwarded-for", "203.0.113.7")];
    let response = service.request(http::Method::GET, "/nowhere?secret=1", &headers, "").await;
    response.refused(404, "not_found", None);
    let line = lines.of_requests().pop().unwrap();
    assert_eq!(line["request_id"], response.header("x-request-id").unwrap());
    assert_eq!((&line["client"], &line["path"]), (&"203.0.113.7".into(), &"/nowhere".into()));
    assert_eq!((&line["level"], &line["code"]), (&"INFO".into(), &"not_found".into()));
    assert!(line["reason"].as_str().unwrap().contains("openapi.json"), "{line}");
    service.post("/heartbeat", r#"{"peer_id":"p"}"#).await.refused(404, "peer_not_registered", None);
    assert_eq!(lines.of_requests().pop().unwrap()["peer_id"], "p");
}
