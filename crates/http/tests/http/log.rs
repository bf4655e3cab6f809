//! The contents of the log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::Service;
use crate::support::faulty::Faulty;

/// A log that keeps its lines in memory.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Logs the events of this thread here. All of a test runs on one thread.
    fn keep(&self) -> tracing::subscriber::DefaultGuard {
        let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(self.clone());
        tracing::subscriber::set_default(subscriber.finish())
    }

    /// The lines about requests.
    fn of_requests(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
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
async fn the_cause_of_a_500_is_logged_under_the_request_id_that_the_caller_has() {
    let lines = Lines::default();
    let _guard = lines.keep();
    let service = Service::with(|setting| setting.store = Faulty::over).await;
    for (fault, cause) in [("breaks", "the secret of slot 8"), ("panics", "panicked: the secret of slot 7")] {
        let reply = service.post("/heartbeat", &format!(r#"{{"peer_id":"{fault}"}}"#)).await;
        let line = lines.of_requests().pop().unwrap();
        assert_eq!(line["request_id"], reply.header("x-request-id").unwrap());
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
async fn what_succeeds_is_logged_only_when_asked_for() {
    for asked in [false, true] {
        let lines = Lines::default();
        let _guard = lines.keep();
        let service = Service::with(|setting| setting.options.service.log_one_in = asked.into()).await;
        service.post("/register", r#"{"peer_id":"p"}"#).await.ok();
        service.get("/nowhere").await.refused(404, "not_found", None);
        assert_eq!(lines.of_requests().len(), if asked { 2 } else { 0 });
    }
}
