//! A stand-in for Lambda's Runtime API, with the operations that AWS documents: the next event, the
//! response to it, an error, and an error at start-up.

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
const LONG_TIMEOUT: Duration = Duration::from_secs(120);

const INVOCATION_ID: &str = "Lambda-Runtime-Invocation-Id";
const ERROR_TYPE: &str = "Lambda-Runtime-Function-Error-Type";
/// The X-Ray trace id of every event.
pub(crate) const TRACE_ID: &str = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419";
/// Lambda may close a connection after any response. This stand-in closes the connection after one
/// in this many requests for an event.
const REQUESTS_PER_CONNECTION: u64 = 5;

/// What the function sent for an event: its response or its error.
pub(crate) type Outcome = Result<Value, Value>;

/// The Runtime API of one function. It ends with the test's runtime.
pub(crate) struct RuntimeApi {
    address: SocketAddr,
    events: mpsc::UnboundedSender<Invocation>,
    init_errors: Mutex<mpsc::UnboundedReceiver<Value>>,
    state: Arc<ApiState>,
}

struct Invocation {
    event: Value,
    time: Duration,
    reply: oneshot::Sender<Outcome>,
}

/// The state that the API's handlers share.
struct ApiState {
    queue: Mutex<mpsc::UnboundedReceiver<Invocation>>,
    in_flight: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
    init_errors: mpsc::UnboundedSender<Value>,
    next_requests: AtomicU64,
    first_request: Notify,
    /// The status with which the API acknowledges the function's responses and errors.
    acknowledgement: AtomicU16,
    /// Whether the API has responded with 5xx, after which it delivers no more events.
    failed: AtomicBool,
}

impl RuntimeApi {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (events, queue) = mpsc::unbounded_channel();
        let (init_error_sender, init_errors) = mpsc::unbounded_channel();
        let state = Arc::new(ApiState {
            queue: Mutex::new(queue),
            in_flight: Mutex::default(),
            init_errors: init_error_sender,
            next_requests: AtomicU64::new(0),
            first_request: Notify::new(),
            acknowledgement: AtomicU16::new(StatusCode::ACCEPTED.as_u16()),
            failed: AtomicBool::new(false),
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, events, init_errors: Mutex::new(init_errors), state }
    }

    /// The value of `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Delivers an event as soon as the function requests one, and waits for the response. The
    /// deadline of the invocation is `time` after the delivery, but this stand-in does not enforce
    /// the deadline.
    pub(crate) async fn invoke(&self, event: Value, time: Duration) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        self.events.send(Invocation { event, time, reply }).unwrap_or_else(|_| panic!("the API has stopped"));
        timeout(LONG_TIMEOUT, outcome).await.expect("the function must respond in time").unwrap()
    }

    /// Waits for the function's report of why it could not start.
    pub(crate) async fn init_error(&self) -> Value {
        let mut errors = self.init_errors.lock().await;
        timeout(LONG_TIMEOUT, errors.recv()).await.expect("the function must report in time").unwrap()
    }

    /// Waits until the function has started and requests its first event.
    pub(crate) async fn ready(&self) {
        let first_request = async {
            while self.next_requests() == 0 {
                self.state.first_request.notified().await;
            }
        };
        timeout(LONG_TIMEOUT, first_request).await.expect("the function must start");
    }

    /// Acknowledges the function's responses with `status` from now on: 202, or the reason for
    /// rejecting them. After a 5xx the API delivers no further event.
    pub(crate) fn acknowledge_with(&self, status: StatusCode) {
        self.state.acknowledgement.store(status.as_u16(), Ordering::Relaxed);
    }

    /// How many times the function has requested an event.
    pub(crate) fn next_requests(&self) -> u64 {
        self.state.next_requests.load(Ordering::Relaxed)
    }
}

async fn next(State(state): State<Arc<ApiState>>) -> Response<Body> {
    let number = state.next_requests.fetch_add(1, Ordering::Relaxed);
    state.first_request.notify_one();
    if state.failed.load(Ordering::Relaxed) {
        return acknowledge(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let invocation = state.queue.lock().await.recv().await.expect("the test still runs");
    let id = format!("8476a536-e9f4-11e8-9739-{number:012x}");
    state.in_flight.lock().await.insert(id.clone(), invocation.reply);
    let deadline = (SystemTime::now() + invocation.time).duration_since(UNIX_EPOCH).unwrap().as_millis();
    let mut response = Response::builder();
    if number % REQUESTS_PER_CONNECTION == 1 {
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
    state: State<Arc<ApiState>>,
    id: Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    state.finish(&id, &headers, Ok(json(&body))).await
}

async fn error(
    state: State<Arc<ApiState>>,
    id: Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    state.finish(&id, &headers, Err(json(&body))).await
}

async fn init_error(state: State<Arc<ApiState>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    assert_eq!(headers[ERROR_TYPE], "Runtime.InitError");
    state.init_errors.send(json(&body)).unwrap();
    acknowledge(StatusCode::ACCEPTED)
}

impl ApiState {
    /// Receives what the function sent for an event.
    async fn finish(&self, id: &str, headers: &HeaderMap, outcome: Outcome) -> Response<Body> {
        assert_eq!(headers[INVOCATION_ID], attempt_at(id), "a response must name its attempt");
        let reply = self.in_flight.lock().await.remove(id).expect("an invocation in flight");
        let status = StatusCode::from_u16(self.acknowledgement.load(Ordering::Relaxed)).unwrap();
        self.failed.fetch_or(status.is_server_error(), Ordering::Relaxed);
        // The test may have stopped waiting.
        let _ = reply.send(outcome);
        acknowledge(status)
    }
}

fn json(body: &Bytes) -> Value {
    serde_json::from_slice(body).expect("JSON")
}

/// The invocation id of an event, which the function must send with its response.
fn attempt_at(request_id: &str) -> String {
    format!("attempt-at-{request_id}")
}

fn acknowledge(status: StatusCode) -> Response<Body> {
    Response::builder().status(status).body(Body::from(r#"{"status":"so"}"#)).unwrap()
}
