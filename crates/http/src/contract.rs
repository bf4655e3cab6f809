//! From a request to its answer: the one place that decides, counts, logs and finishes.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use aurora_protocol::Code;
use aurora_registry::Registry;
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::Full;

use crate::answer::{Answer, AnswerBody, Coding};
use crate::call::Call;
use crate::clock::Clock;
use crate::error::Failure;
use crate::gzip::{self, Compressor};
use crate::header::CommonHeaders;
use crate::log::{Exchange, RequestLog};
use crate::metrics::Metrics;
use crate::origin::Origin;
use crate::outbox::Outbox;
use crate::route::Route;
use crate::watch::{self, WatchOptions, Watchers};
use crate::{deregister, discover, health, heartbeat, network, register};

/// The checked-in description of the contract.
const OPENAPI: &str = include_str!("../openapi.json");

/// Where a client that lost its stream of events says how far it had come.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Keeps nginx from holding events back.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What one way of running the service may set.
#[derive(Clone, Debug)]
pub(crate) struct ContractOptions {
    pub(crate) clock: Clock,
    pub(crate) cors: bool,
    pub(crate) max_in_flight: usize,
    pub(crate) request_timeout: Duration,
    pub(crate) log_one_in: u32,
    pub(crate) watch: WatchOptions,
}

/// The contract over one registry. It knows no sockets: a request comes whole, with its origin.
pub(crate) struct Contract {
    registry: Arc<Registry>,
    options: ContractOptions,
    headers: CommonHeaders,
    compressor: Compressor,
    outbox: Outbox,
    log: RequestLog,
    metrics: Arc<Metrics>,
    watchers: Watchers,
}

impl Contract {
    pub(crate) fn new(registry: Arc<Registry>, options: ContractOptions, metrics: Arc<Metrics>) -> Self {
        Self {
            registry,
            headers: CommonHeaders::new(options.cors),
            log: RequestLog::new(options.log_one_in),
            compressor: Compressor::new(),
            outbox: Outbox::default(),
            watchers: Watchers::new(options.watch, metrics.clone()),
            options,
            metrics,
        }
    }

    /// Ends all streams of events.
    pub(crate) fn end_streams(&self) {
        self.watchers.end();
    }

    /// Answers a request whose body is here, or could not be read.
    pub(crate) async fn respond(
        &self,
        request: Request<Result<Bytes, Failure>>,
        origin: Origin,
    ) -> Response<AnswerBody> {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let route = Route::of(parts.uri.path());
        let sent = body.as_ref().ok().cloned().unwrap_or_default();
        let outcome = match self.outcome(route, &parts, body, &origin).await {
            Ok(answer) => self.pack(answer, &parts, &origin).await,
            Err(failure) => Err(failure),
        };
        let (answer, failure) = match outcome {
            Ok(answer) => (answer, None),
            Err(failure) => (Answer::from(failure.clone()), Some(failure)),
        };
        let latency = started.elapsed();
        self.metrics.answered(route, answer.status, answer.event, latency);
        if let Some(failure) = &failure {
            self.metrics.refused(failure.refusal.code);
        }
        if self.log.wants(answer.status) {
            let (method, status, failure) = (&parts.method, answer.status, failure.as_ref());
            Exchange { route, method, sent: &sent, origin: &origin, status, failure, latency }.log();
        }
        let headers = self.headers.of(&origin.request_id, answer.coding);
        finish(answer, failure.as_ref(), route, &parts.method, headers)
    }

    async fn outcome(
        &self,
        route: Option<Route>,
        parts: &Parts,
        body: Result<Bytes, Failure>,
        origin: &Origin,
    ) -> Result<Answer, Failure> {
        if parts.method == Method::OPTIONS {
            return Ok(Answer::no_content());
        }
        let route = route.ok_or_else(|| no_such_path(parts.uri.path()))?;
        if !route.admits(&parts.method) {
            return Err(wrong_method(route, &parts.method));
        }
        let present = self.metrics.enter();
        if present.others() >= u64::try_from(self.options.max_in_flight).unwrap_or(u64::MAX) {
            self.metrics.shed();
            return Err(Failure::unavailable("too many requests are in flight; try again"));
        }
        let call = Call {
            registry: &self.registry,
            metrics: &self.metrics,
            source: origin.address,
            watchers: &self.watchers,
            last_event_id: parts.headers.get(LAST_EVENT_ID).map(HeaderValue::as_bytes),
            now: self.options.clock.now(),
            query: parts.uri.query().unwrap_or_default(),
            // What comes with a GET has no meaning.
            body: if route.method() == Method::POST { body? } else { Bytes::new() },
        };
        let answered = AssertUnwindSafe(dispatch(route, call)).catch_unwind();
        let limit = origin
            .time_left
            .map_or(self.options.request_timeout, |left| left.min(self.options.request_timeout));
        match within(limit, answered).await {
            Some(Ok(outcome)) => outcome,
            Some(Err(panic)) => Err(Failure::internal(format!("panicked: {}", panic_message(&*panic)))),
            None => Err(Failure::unavailable("the answer took too long; try again")),
        }
    }

    /// Makes a large answer ready for its way: compressed where that is wanted, and counted until it is sent.
    async fn pack(&self, answer: Answer, parts: &Parts, origin: &Origin) -> Result<Answer, Failure> {
        if answer.body.len() < gzip::MIN_BYTES || parts.method == Method::HEAD {
            return Ok(answer);
        }
        let compressed = match gzip::accepts_gzip(&parts.headers) {
            true => self.compressor.compress(&answer.body).await,
            false => None,
        };
        let (body, coding) = match compressed {
            Some(compressed) => (compressed, Coding::Gzip),
            None => (answer.body, Coding::Identity),
        };
        let body = self.outbox.take(body, origin.address).ok_or_else(|| {
            Failure::unavailable("too many answers wait for clients to read them; try again")
        })?;
        Ok(Answer { body, coding: Some(coding), ..answer })
    }
}

/// Makes an answer an HTTP response with every header that the contract promises.
fn finish(
    answer: Answer,
    failure: Option<&Failure>,
    route: Option<Route>,
    method: &Method,
    mut headers: HeaderMap,
) -> Response<AnswerBody> {
    if let Some(seconds) = answer.retry_after_seconds {
        headers.insert(RETRY_AFTER, spread(seconds).into());
    }
    if let (Some(route), Some(Code::MethodNotAllowed)) = (route, failure.map(|failure| failure.refusal.code))
    {
        headers.insert(ALLOW, route.allow());
    }
    let head_only = *method == Method::HEAD;
    let body = match answer.events {
        Some(events) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
            Some(events).filter(|_| !head_only).map(AnswerBody::Events)
        }
        None if head_only => {
            headers.insert(CONTENT_LENGTH, answer.body.len().into());
            None
        }
        None => Some(AnswerBody::Whole(Full::new(answer.body))),
    };
    let mut response = Response::new(body.unwrap_or_else(|| AnswerBody::Whole(Full::default())));
    *response.status_mut() = answer.status;
    *response.headers_mut() = headers;
    response
}

/// A time to wait from `seconds` to twice as long: those who were refused in one second must not come back in one.
fn spread(seconds: u32) -> u32 {
    seconds.saturating_add(fastrand::u32(..=seconds))
}

async fn dispatch(route: Route, call: Call<'_>) -> Result<Answer, Failure> {
    match route {
        Route::Register => register::register(call).await,
        Route::Discover => discover::discover(call).await,
        Route::Heartbeat => heartbeat::heartbeat(call).await,
        Route::Deregister => deregister::deregister(call).await,
        Route::Health => health::health(call).await,
        Route::Network => network::network(call).await,
        Route::Watch => watch::watch(&call),
        Route::OpenApi => Ok(Answer::fixed(OPENAPI)),
    }
}

fn no_such_path(path: &str) -> Failure {
    const SHOWN_CHARS: usize = 64;
    let shown: String = path.chars().take(SHOWN_CHARS).collect();
    Failure::new(Code::NotFound, format!("there is nothing at {shown}; /openapi.json lists what there is"))
}

fn wrong_method(route: Route, method: &Method) -> Failure {
    let message = format!("{} takes {}, not {method}", route.path(), route.method());
    Failure::new(Code::MethodNotAllowed, message)
}

/// Awaits for so long at most. A future that is ready at once, as most are, costs no timer.
async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    match std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        Poll::Ready(output) => Some(output),
        Poll::Pending => tokio::time::timeout(limit, future).await.ok(),
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
