//! Lambda's Runtime API, as AWS documents it: next, response, error, init error.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, to_bytes};
use http::{Method, Request, Response, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::time::timeout;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(40);
const NEXT: &str = "/2018-06-01/runtime/invocation/next";
const INVOCATION: &str = "/2018-06-01/runtime/invocation/";
const INIT_ERROR: &str = "/2018-06-01/runtime/init/error";

const INVOCATION_ID: &str = "Lambda-Runtime-Invocation-Id";
/// The API may close a connection after any answer; it does after each so many events.
const EXCHANGES_OF_A_CONNECTION: u64 = 5;

/// What a function said to an event: its answer, or its error.
pub(crate) type Said = Result<Value, Value>;

/// One function's Runtime API. It ends with the test's runtime.
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

/// What the API's handlers share.
struct Desk {
    waiting: Mutex<mpsc::UnboundedReceiver<Invocation>>,
    open: Mutex<HashMap<String, oneshot::Sender<Said>>>,
    init_error: mpsc::UnboundedSender<Value>,
    asked: AtomicU64,
    first: Notify,
    /// What it says of answers.
    verdict: AtomicU16,
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
        });
        let handling = Arc::clone(&desk);
        let router = Router::new().fallback(move |request: Request<Body>| {
            let desk = Arc::clone(&handling);
            async move { desk.handle(request).await }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, events, init_errors: Mutex::new(init_errors), desk }
    }

    /// What `AWS_LAMBDA_RUNTIME_API` says.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Hands an event over as soon as the function asks for one, and waits for what it says, however long that takes. It has
    /// `time` from then on.
    pub(crate) async fn invoke(&self, event: Value, time: Duration) -> Said {
        let (reply, said) = oneshot::channel();
        self.events.send(Invocation { event, time, reply }).unwrap_or_else(|_| panic!("the API is gone"));
        timeout(PATIENCE, said).await.expect("the function answers in time").unwrap()
    }

    /// Why the function could not start.
    pub(crate) async fn init_error(&self) -> Value {
        let mut errors = self.init_errors.lock().await;
        timeout(PATIENCE, errors.recv()).await.expect("the function reports in time").unwrap()
    }

    /// Waits until the function has started and asks for its first event.
    pub(crate) async fn ready(&self) {
        let asked = async {
            while self.asked() == 0 {
                self.desk.first.notified().await;
            }
        };
        timeout(PATIENCE, asked).await.expect("the function starts");
    }

    /// Says `status` of answers from now on: 202, or why they are refused.
    pub(crate) fn say_of_answers(&self, status: StatusCode) {
        self.desk.verdict.store(status.as_u16(), Ordering::Relaxed);
    }

    /// How often the function asked for an event.
    pub(crate) fn asked(&self) -> u64 {
        self.desk.asked.load(Ordering::Relaxed)
    }
}

impl Desk {
    async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if parts.method == Method::GET && parts.uri.path() == NEXT {
            return self.next().await;
        }
        assert_eq!(parts.method, Method::POST, "{}", parts.uri);
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        if parts.uri.path() == INIT_ERROR {
            self.init_error.send(body).unwrap();
            return said_of_it(StatusCode::ACCEPTED);
        }
        let (id, what) = parts.uri.path().strip_prefix(INVOCATION).unwrap().split_once('/').unwrap();
        assert_eq!(parts.headers[INVOCATION_ID], attempt_at(id), "an answer names the attempt that it is of");
        let reply = self.open.lock().await.remove(id).expect("an open invocation");
        let said = match what {
            "response" => Ok(body),
            "error" => Err(body),
            other => panic!("{other} is no call of the Runtime API"),
        };
        // Whoever asked may have given up.
        let _ = reply.send(said);
        said_of_it(StatusCode::from_u16(self.verdict.load(Ordering::Relaxed)).unwrap())
    }

    async fn next(&self) -> Response<Body> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        self.first.notify_one();
        let invocation = self.waiting.lock().await.recv().await.expect("the test still runs");
        let id = format!("8476a536-e9f4-11e8-9739-{asked:012x}");
        self.open.lock().await.insert(id.clone(), invocation.reply);
        let deadline = (SystemTime::now() + invocation.time).duration_since(UNIX_EPOCH).unwrap().as_millis();
        let mut response = Response::builder();
        if asked % EXCHANGES_OF_A_CONNECTION == 1 {
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
            .header(
                "Lambda-Runtime-Trace-Id",
                "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419",
            )
            .header("Content-Type", "application/json")
            .body(Body::from(invocation.event.to_string()))
            .unwrap()
    }
}

fn attempt_at(request_id: &str) -> String {
    format!("attempt-at-{request_id}")
}

fn said_of_it(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::from(r#"{"status":"so"}"#));
    *response.status_mut() = status;
    response
}
