//! A proxy between the store and the stand-in that breaks what passes through it, as networks and services do.

use std::sync::Arc;

use aurora_dynamodb::INDEX;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
    /// Refused for too many requests.
    Throttle,
    /// The service's own failure.
    ServerError,
    /// The connection is reset, and the service never saw the call.
    Reset,
    /// The service carried the call out, and the connection is reset before its answer.
    ResetAfter,
    /// The service never saw the call, and nothing answers.
    Stall,
    /// The service carried the call out, and nothing answers.
    StallAfter,
    /// A batch is carried out in its first half; a call that is no batch passes.
    Half,
}

/// One call, as a rule sees it.
pub(crate) struct Call {
    pub(crate) action: String,
    pub(crate) body: Value,
}

impl Call {
    pub(crate) fn writes(&self) -> bool {
        ["PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem"].contains(&self.action.as_str())
    }
}

type Rule = Box<dyn FnMut(&Call) -> Fate + Send>;

pub(crate) struct Proxy {
    pub(crate) endpoint: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    upstream: String,
    rule: Mutex<Rule>,
    calls: Mutex<Vec<String>>,
    /// The index as it was when it was frozen, if it is.
    frozen: Mutex<Option<Vec<Value>>>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    pub(crate) async fn before(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: endpoint.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned(),
            rule: Mutex::new(Box::new(|_| Fate::Pass)),
            calls: Mutex::default(),
            frozen: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, Arc::clone(&serving)));
            }
        });
        Self { endpoint: format!("http://{address}"), shared, accepting }
    }

    pub(crate) fn rule(&self, rule: impl FnMut(&Call) -> Fate + Send + 'static) {
        *self.shared.rule.lock() = Box::new(rule);
    }

    /// The actions that were called since the last look.
    pub(crate) fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.calls.lock())
    }

    /// From now on the index answers as it is now, whatever is written.
    pub(crate) async fn freeze_index(&self, table: &str) {
        let scan = json!({"TableName": table, "IndexName": INDEX}).to_string();
        let (_, body) =
            forward(&self.shared.upstream, "Scan", &request_head("Scan"), scan.as_bytes()).await.unwrap();
        let read: Value = serde_json::from_slice(&body).unwrap();
        assert!(read["LastEvaluatedKey"].is_null(), "the index fits one page");
        *self.shared.frozen.lock() = Some(read["Items"].as_array().unwrap().clone());
    }

    pub(crate) fn thaw_index(&self) {
        *self.shared.frozen.lock() = None;
    }
}

async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    while let Some((head, body)) = read_message(&mut client).await {
        let action =
            header(&head, "x-amz-target").and_then(|target| target.rsplit('.').next().map(str::to_owned));
        let action = action.unwrap_or_default();
        let call = Call { action: action.clone(), body: serde_json::from_slice(&body).unwrap_or_default() };
        shared.calls.lock().push(action.clone());
        let fate = (shared.rule.lock())(&call);
        let answer = match fate {
            Fate::Throttle => Some(refusal(400, "ProvisionedThroughputExceededException")),
            Fate::ServerError => Some(refusal(500, "InternalServerError")),
            Fate::Reset => return reset(&client),
            Fate::Stall => return std::future::pending().await,
            Fate::Half if action.starts_with("Batch") => half(&shared.upstream, &head, &call).await,
            Fate::Pass | Fate::ResetAfter | Fate::StallAfter | Fate::Half => {
                match shared.frozen_answer(&call) {
                    Some(answer) => Some(answer),
                    None => forward(&shared.upstream, &action, &head, &body).await,
                }
            }
        };
        match fate {
            Fate::ResetAfter => return reset(&client),
            Fate::StallAfter => return std::future::pending().await,
            _ => {}
        }
        let Some((status, body)) = answer else { return reset(&client) };
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if client.write_all(&[head.as_bytes(), &body].concat()).await.is_err() {
            return;
        }
    }
}

impl Shared {
    fn frozen_answer(&self, call: &Call) -> Option<(u16, Vec<u8>)> {
        let frozen = self.frozen.lock();
        let entries = frozen.as_ref().filter(|_| call.action == "Query")?;
        let values = &call.body["ExpressionAttributeValues"];
        // Base64 of eight bytes does not sort as they do.
        let bytes = |value: &Value| decode(value["B"].as_str().unwrap_or_default());
        let (from, to) = (bytes(&values[":from"]), bytes(&values[":to"]));
        let mut items: Vec<&Value> = entries
            .iter()
            .filter(|item| item["lane"] == values[":l"])
            .filter(|item| (from.clone()..=to.clone()).contains(&bytes(&item["h"])))
            .collect();
        items.sort_by_key(|item| bytes(&item["h"]));
        Some((200, json!({"Items": items, "Count": items.len()}).to_string().into_bytes()))
    }
}

fn decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

/// Carries out the first half of a batch and hands the rest back unprocessed.
async fn half(upstream: &str, head: &str, call: &Call) -> Option<(u16, Vec<u8>)> {
    let mut kept = call.body.clone();
    let mut rest = call.body["RequestItems"].clone();
    for (table, of_table) in kept["RequestItems"].as_object_mut()? {
        let (list, rest_list) = match call.action.as_str() {
            "BatchGetItem" => (&mut of_table["Keys"], &mut rest[table]["Keys"]),
            _ => (of_table, &mut rest[table]),
        };
        let list = list.as_array_mut()?;
        let middle = list.len().div_ceil(2);
        *rest_list = Value::Array(list.split_off(middle));
        if rest_list.as_array()?.is_empty() {
            rest = json!({});
            break;
        }
    }
    let (status, body) = forward(upstream, &call.action, head, kept.to_string().as_bytes()).await?;
    let mut answer: Value = serde_json::from_slice(&body).ok()?;
    let name = if call.action == "BatchGetItem" { "UnprocessedKeys" } else { "UnprocessedItems" };
    answer[name] = rest;
    Some((status, answer.to_string().into_bytes()))
}

fn refusal(status: u16, code: &str) -> (u16, Vec<u8>) {
    let body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "injected"});
    (status, body.to_string().into_bytes())
}

fn reset(client: &TcpStream) {
    // Without lingering, closing sends a reset.
    let _ = client.set_zero_linger();
}

fn request_head(action: &str) -> String {
    format!(
        "POST / HTTP/1.0\r\nx-amz-target: DynamoDB_20120810.{action}\r\ncontent-type: application/x-amz-json-1.0\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, \
         SignedHeaders=host, Signature=0\r\nx-amz-date: 20260101T000000Z\r\n\r\n"
    )
}

/// Passes a call on, in HTTP/1.0, so that the answer ends with the connection.
async fn forward(upstream: &str, action: &str, head: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
    let mut service = TcpStream::connect(upstream).await.ok()?;
    let authorization = header(head, "authorization").unwrap_or_default();
    let date = header(head, "x-amz-date").unwrap_or_default();
    let head = format!(
        "POST / HTTP/1.0\r\nhost: {upstream}\r\nx-amz-target: DynamoDB_20120810.{action}\r\n\
         content-type: application/x-amz-json-1.0\r\nauthorization: {authorization}\r\nx-amz-date: {date}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    service.write_all(&[head.as_bytes(), body].concat()).await.ok()?;
    let (head, body) = read_message(&mut service).await?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body))
}

async fn read_message(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut read = Vec::new();
    let mut chunk = [0; 16_384];
    let head_end = loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        match stream.read(&mut chunk).await {
            Ok(count) if count > 0 => read.extend_from_slice(&chunk[..count]),
            _ => return None,
        }
    };
    let head = String::from_utf8_lossy(&read[..head_end]).into_owned();
    let mut body = read.split_off(head_end);
    let length = header(&head, "content-length").and_then(|text| text.parse::<usize>().ok());
    while length.is_none_or(|length| body.len() < length) {
        match stream.read(&mut chunk).await {
            Ok(count) if count > 0 => body.extend_from_slice(&chunk[..count]),
            _ => break,
        }
    }
    Some((head, body))
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}
