//! Lambda's Runtime API, as AWS documents it: next, response, error, init error.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::routing::{get, post};
use http::{HeaderMap, Response, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::time::timeout;

/// The timeout for events that must happen.
const PATIENCE: Duration = Duration::from_secs(40);

const INVOCATION_ID: &str = "Lambda-Runtime-Invocation-Id";
const ERROR_TYPE: &str = "Lambda-Runtime-Function-Error-Type";
/// The trace id that the function is to pass on to X-Ray.
pub(crate) const TRACE_ID: &str = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419";
/// The API may close a connection after any response. This one closes it after this many requests.
const REQUESTS_PER_CONNECTION: u64 = 5;

/// What the function sent for an event: its response or its error.
pub(crate) type Said = Result<Value, Value>;

/// The Runtime API of one function. It ends with the test's runtime.
pub(crate) struct RuntimeApi {
    address: SocketAddr,
    events: mpsc::UnboundedSender<Invocation>,
    init_errors: Mutex<mpsc::UnboundedReceiver<Value>>,
    desk: Arc<Desk>,
}

struct Invocation {
    event: Value,
    time: Duration,
    reply: oneshot::Sender<Said>,
}

/// The state that the API's handlers share.
struct Desk {
    waiting: Mutex<mpsc::UnboundedReceiver<Invocation>>,
    open: Mutex<HashMap<String, oneshot::Sender<Said>>>,
    init_error: mpsc::UnboundedSender<Value>,
    asked: AtomicU64,
    first: Notify,
    /// The status with which the API answers the function's responses and errors.
    verdict: AtomicU16,
    /// Whether the API has failed.
    failed: AtomicBool,
}

impl RuntimeApi {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (events, waiting) = mpsc::unbounded_channel();
        let (init_error, init_errors) = mpsc::unbounded_channel();
        let desk = Arc::new(Desk {
            waiting: Mutex::new(waiting),
            open: Mutex::default(),
            init_error,
            asked: AtomicU64::new(0),
            first: Notify::new(),
            verdict: AtomicU16::new(StatusCode::ACCEPTED.as_u16()),
            failed: AtomicBool::new(false),
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(refused_start))
            .with_state(Arc::clone(&desk));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, events, init_errors: Mutex::new(init_errors), desk }
    }

    /// The value of `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Delivers an event as soon as the function requests one, and waits for its response without a
    /// limit. The invocation has `time`, starting with the delivery.
    pub(crate) async fn invoke(&self, event: Value, time: Duration) -> Said {
        let (reply, said) = oneshot::channel();
        self.events.send(Invocation { event, time, reply }).unwrap_or_else(|_| panic!("the API is gone"));
        timeout(PATIENCE, said).await.expect("the function answers in time").unwrap()
    }

    /// Waits for the function's report of why it could not start.
    pub(crate) async fn init_error(&self) -> Value {
        let mut errors = self.init_errors.lock().await;
        timeout(PATIENCE, errors.recv()).await.expect("the function reports in time").unwrap()
    }

    /// Waits until the function has started and requests its first event.
    pub(crate) async fn ready(&self) {
        let asked = async {
            while self.asked() == 0 {
                self.desk.first.notified().await;
            }
        };
        timeout(PATIENCE, asked).await.expect("the function starts");
    }

    /// Answers the function's responses with `status` from now on: 202, or the reason for rejecting
    /// them. After a 5xx the API delivers no further event.
    pub(crate) fn say_of_answers(&self, status: StatusCode) {
        self.desk.verdict.store(status.as_u16(), Ordering::Relaxed);
    }

    /// How many times the function requested an event.
    pub(crate) fn asked(&self) -> u64 {
        self.desk.asked.load(Ordering::Relaxed)
    }
}

async fn next(State(desk): State<Arc<Desk>>) -> Response<Body> {
    let asked = desk.asked.fetch_add(1, Ordering::Relaxed);
    desk.first.notify_one();
    if desk.failed.load(Ordering::Relaxed) {
        return acknowledgement(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let invocation = desk.waiting.lock().await.recv().await.expect("the test still runs");
    let id = format!("8476a536-e9f4-11e8-9739-{asked:012x}");
    desk.open.lock().await.insert(id.clone(), invocation.reply);
    let deadline = (SystemTime::now() + invocation.time).duration_since(UNIX_EPOCH).unwrap().as_millis();
    let mut response = Response::builder();
    if asked % REQUESTS_PER_CONNECTION == 1 {
        response = response.header("Connection", "close");
    }
    response
        .header(INVOCATION_ID, attempt_at(&id))
        .header("Lambda-Runtime-Aws-Request-Id", id)
        .header("Lambda-Runtime-Deadline-Ms", deadline.to_string())
        .header(
            "Lambda-Runtime-Invoked-Function-Arn",
            "arn:aws:lambda:us-east-1:123456789012:function:aurora",
        )
        .header("Lambda-Runtime-Trace-Id", TRACE_ID)
        .header("Content-Type", "application/json")
        .body(Body::from(invocation.event.to_string()))
        .unwrap()
}

async fn response(
    desk: State<Arc<Desk>>,
    id: Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    desk.conclude(&id, &headers, Ok(json(&body))).await
}

async fn error(desk: State<Arc<Desk>>, id: Path<String>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    desk.conclude(&id, &headers, Err(json(&body))).await
}

async fn refused_start(desk: State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    assert_eq!(headers[ERROR_TYPE], "Runtime.InitError");
    desk.init_error.send(json(&body)).unwrap();
    acknowledgement(StatusCode::ACCEPTED)
}

impl Desk {
    /// Receives what the function sent for an event.
    async fn conclude(&self, id: &str, headers: &HeaderMap, said: Said) -> Response<Body> {
        assert_eq!(headers[INVOCATION_ID], attempt_at(id), "a response names its attempt");
        let reply = self.open.lock().await.remove(id).expect("an open invocation");
        let verdict = StatusCode::from_u16(self.verdict.load(Ordering::Relaxed)).unwrap();
        self.failed.fetch_or(verdict.is_server_error(), Ordering::Relaxed);
        // The test may have stopped waiting.
        let _ = reply.send(said);
        acknowledgement(verdict)
    }
}

fn json(body: &Bytes) -> Value {
    serde_json::from_slice(body).expect("JSON")
}

fn attempt_at(request_id: &str) -> String {
    format!("attempt-at-{request_id}")
}

fn acknowledgement(status: StatusCode) -> Response<Body> {
    Response::builder().status(status).body(Body::from(r#"{"status":"so"}"#)).unwrap()
}
