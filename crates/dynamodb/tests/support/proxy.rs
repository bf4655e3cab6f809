//! A proxy between the store and the DynamoDB stand-in, which injects faults of the network and of
//! the service.
#![allow(dead_code, reason = "each test uses its part")]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_dynamodb::INDEX;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST};
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const TARGET: &str = "x-amz-target";

/// The fault that is injected into a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No fault: the call passes.
    None,
    /// The service throttles the call.
    Throttle,
    /// The service fails internally.
    ServerError,
    /// The connection is reset before the service receives the call.
    Reset,
    /// The service carries out the call, and the connection is reset before the response.
    ResetAfter,
    /// The service does not receive the call, and there is no response.
    Stall,
    /// The service carries out the call, and there is no response.
    StallAfter,
    /// Only the first half of a batch is carried out. Other calls pass.
    PartialBatch,
}

/// A call of the store. The rule of the proxy decides which fault is injected into it.
pub(crate) struct Call {
    pub(crate) action: String,
    pub(crate) body: Value,
}

impl Call {
    pub(crate) fn writes(&self) -> bool {
        ["PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem"].contains(&self.action.as_str())
    }
}

type Rule = Box<dyn FnMut(&Call) -> Fault + Send>;
/// A response, or an error that closes the connection without one.
type Outcome = io::Result<Response<Full<Bytes>>>;

pub(crate) struct Proxy {
    pub(crate) endpoint: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    upstream: Uri,
    client: Client<HttpConnector, Full<Bytes>>,
    rule: Mutex<Rule>,
    calls: Mutex<Vec<String>>,
    /// The number of seconds that are added to the dates of responses; `None` removes the dates.
    date_shift: Mutex<Option<u64>>,
    /// The contents of the index at the time it was frozen, if it is frozen.
    frozen: Mutex<Option<Vec<Value>>>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    pub(crate) async fn in_front_of(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: endpoint.parse().unwrap(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            rule: Mutex::new(Box::new(|_| Fault::None)),
            calls: Mutex::default(),
            date_shift: Mutex::new(Some(0)),
            frozen: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&serving)));
            }
        });
        Self { endpoint: format!("http://{address}"), shared, accepting }
    }

    /// Sets the rule that decides the fault of each call.
    pub(crate) fn rule(&self, rule: impl FnMut(&Call) -> Fault + Send + 'static) {
        *self.shared.rule.lock() = Box::new(rule);
    }

    /// Lets DynamoDB's clock run ahead of this machine's by this many seconds. `None` removes the
    /// time from all responses.
    pub(crate) fn shift_dates(&self, seconds: Option<u64>) {
        *self.shared.date_shift.lock() = seconds;
    }

    /// The actions called since the last call of this method.
    pub(crate) fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.calls.lock())
    }

    /// Freezes the index: from now on it responds with its current contents, regardless of later
    /// writes.
    pub(crate) async fn freeze_index(&self, table: &str) {
        let scan = json!({"TableName": table, "IndexName": INDEX}).to_string();
        let credential = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, \
                          SignedHeaders=host, Signature=0";
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, "application/x-amz-json-1.0".parse().unwrap()),
            (AUTHORIZATION, credential.parse().unwrap()),
            (TARGET.parse().unwrap(), "DynamoDB_20120810.Scan".parse().unwrap()),
            ("x-amz-date".parse().unwrap(), "20260101T000000Z".parse().unwrap()),
        ]);
        let scanned = self.shared.forward(&headers, scan.into()).await.unwrap();
        let read: Value = serde_json::from_slice(&bytes_of(scanned.into_body()).await).unwrap();
        assert!(read["LastEvaluatedKey"].is_null(), "the index fits one page");
        *self.shared.frozen.lock() = Some(read["Items"].as_array().unwrap().clone());
    }

    /// Ends the effect of [`Self::freeze_index`].
    pub(crate) fn thaw_index(&self) {
        *self.shared.frozen.lock() = None;
    }
}

async fn serve(connection: TcpStream, shared: Arc<Shared>) {
    // With zero linger time, closing a connection resets it.
    connection.set_zero_linger().unwrap();
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { shared.respond(request).await }
    });
    // An error of `service` closes the connection without a response. That is one of the faults.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
}

impl Shared {
    async fn respond(&self, request: Request<Incoming>) -> Outcome {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let target = head.headers[TARGET].to_str().unwrap();
        let action = target.rsplit('.').next().unwrap_or_default().to_owned();
        self.calls.lock().push(action.clone());
        let call = Call { action, body: serde_json::from_slice(&body).unwrap() };
        let fault = (self.rule.lock())(&call);
        match fault {
            Fault::Throttle => Ok(refusal(400, "ProvisionedThroughputExceededException")),
            Fault::ServerError => Ok(refusal(500, "InternalServerError")),
            Fault::Reset => Err(io::ErrorKind::ConnectionReset.into()),
            Fault::Stall => std::future::pending().await,
            Fault::PartialBatch if call.action.starts_with("Batch") => {
                self.execute_half(&head.headers, &call).await
            }
            Fault::None | Fault::PartialBatch => self.pass(&head.headers, &call, body).await,
            Fault::ResetAfter => {
                self.pass(&head.headers, &call, body).await?;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Fault::StallAfter => {
                self.pass(&head.headers, &call, body).await?;
                std::future::pending().await
            }
        }
    }

    async fn pass(&self, headers: &HeaderMap, call: &Call, body: Bytes) -> Outcome {
        match self.frozen_page(call) {
            Some(page) => Ok(response(200, &page)),
            None => self.forward(headers, body).await,
        }
    }

    async fn forward(&self, headers: &HeaderMap, body: Bytes) -> Outcome {
        let mut request = Request::post(&self.upstream).body(Full::new(body)).unwrap();
        *request.headers_mut() = headers.clone();
        // The client sets both for the new connection.
        request.headers_mut().remove(HOST);
        request.headers_mut().remove(CONTENT_LENGTH);
        let (mut head, body) = self.client.request(request).await.map_err(io::Error::other)?.into_parts();
        self.shift_date(&mut head.headers);
        Ok(Response::from_parts(head, Full::new(body.collect().await.map_err(io::Error::other)?.to_bytes())))
    }

    fn shift_date(&self, headers: &mut HeaderMap) {
        let date = httpdate::parse_http_date(headers[DATE].to_str().unwrap()).unwrap();
        let date = match *self.date_shift.lock() {
            Some(seconds) => httpdate::fmt_http_date(date + Duration::from_secs(seconds)),
            // An HTTP server adds its own date unless the response has one, so a malformed date
            // replaces it.
            None => "none".to_owned(),
        };
        headers.insert(DATE, date.parse().unwrap());
    }

    /// Carries out the first half of a batch and returns the rest as unprocessed.
    async fn execute_half(&self, headers: &HeaderMap, call: &Call) -> Outcome {
        let (list, unprocessed) = match call.action.as_str() {
            "BatchGetItem" => ("/Keys", "UnprocessedKeys"),
            _ => ("", "UnprocessedItems"),
        };
        let mut kept = call.body.clone();
        let mut rest = call.body["RequestItems"].clone();
        let tables = kept["RequestItems"].as_object_mut().unwrap();
        for (table, of_table) in tables {
            let pointer = format!("/{table}{list}");
            let kept = of_table.pointer_mut(list).and_then(Value::as_array_mut).unwrap();
            let others = kept.split_off(kept.len().div_ceil(2));
            if others.is_empty() {
                rest = json!({});
                break;
            }
            *rest.pointer_mut(&pointer).unwrap() = others.into();
        }
        let done = self.forward(headers, kept.to_string().into()).await?;
        let status = done.status().as_u16();
        let mut done: Value = serde_json::from_slice(&bytes_of(done.into_body()).await).unwrap();
        done[unprocessed] = rest;
        Ok(response(status, &done))
    }

    /// The entries of the frozen index for a query.
    fn frozen_page(&self, call: &Call) -> Option<Value> {
        let frozen = self.frozen.lock();
        let entries = frozen.as_ref().filter(|_| call.action == "Query")?;
        let values = &call.body["ExpressionAttributeValues"];
        // The positions are compared as bytes, because base64 has another order.
        let bytes = |value: &Value| decode(value["B"].as_str().unwrap_or_default());
        let (from, to) = (bytes(&values[":from"]), bytes(&values[":to"]));
        let mut items: Vec<&Value> = entries
            .iter()
            .filter(|item| item["lane"] == values[":l"])
            .filter(|item| (from.clone()..=to.clone()).contains(&bytes(&item["h"])))
            .collect();
        items.sort_by_key(|item| bytes(&item["h"]));
        Some(json!({"Items": items, "Count": items.len()}))
    }
}

fn decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

fn refusal(status: u16, code: &str) -> Response<Full<Bytes>> {
    let code = format!("com.amazonaws.dynamodb.v20120810#{code}");
    response(status, &json!({"__type": code, "message": "injected"}))
}

fn response(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header(CONTENT_TYPE, "application/x-amz-json-1.0");
    response.body(Full::from(body.to_string())).unwrap()
}

async fn bytes_of(body: Full<Bytes>) -> Bytes {
    body.collect().await.unwrap().to_bytes()
}
