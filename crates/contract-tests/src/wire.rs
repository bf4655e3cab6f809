//! HTTP/1.1 by hand: what is sent is exactly what a case wrote, and what came back is kept byte for byte.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, lookup_host};
use tokio::time::timeout;

/// How long an answer may take before a case gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The value of a header, which must not come twice.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} comes twice");
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    pub(crate) fn read<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body of a success.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.read()
    }

    /// The keys of a success's object, sorted.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.ok().as_object().expect("an object").keys().cloned().collect()
    }

    /// The ids of the peers that are listed, sorted.
    pub(crate) fn ids(&self) -> Vec<String> {
        let body = self.ok();
        let peers = body["peers"].as_array().expect("a list of peers");
        let mut ids: Vec<_> =
            peers.iter().map(|peer| peer["peer_id"].as_str().expect("an id").to_owned()).collect();
        ids.sort();
        ids
    }

    /// Asserts a refusal of the contract's shape, and returns its sentence.
    pub(crate) fn refused(&self, status: u16, code: &str, field: Option<&str>) -> String {
        let body: Value = self.read();
        assert_eq!((self.status, body["code"].as_str()), (status, Some(code)), "{}", self.text());
        assert_eq!(body.get("field").and_then(Value::as_str), field, "{}", self.text());
        let allowed = ["code", "error", "field"];
        assert!(body.as_object().expect("an object").keys().all(|key| allowed.contains(&key.as_str())));
        let sentence = body["error"].as_str().expect("a sentence");
        assert!(sentence.contains(' ') && !sentence.contains('\n'), "{sentence}");
        sentence.to_owned()
    }
}

/// Sends `bytes` to the service at `authority` from the address `from`, and reads the one answer.
pub(crate) async fn exchange(authority: &str, from: Option<IpAddr>, head_only: bool, bytes: &[u8]) -> Reply {
    timeout(PATIENCE, exchange_patiently(authority, from, head_only, bytes)).await.expect("an answer in time")
}

async fn exchange_patiently(authority: &str, from: Option<IpAddr>, head_only: bool, bytes: &[u8]) -> Reply {
    let address = lookup_host(authority).await.expect("a host").next().expect("an address");
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.expect("a socket");
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0)).expect("a local address");
    }
    let (mut reading, mut writing) = socket.connect(address).await.expect("a connection").into_split();
    let send = async {
        // A service that has answered already need not read the rest.
        let _ = writing.write_all(bytes).await;
    };
    let receive = async {
        let mut received = Vec::new();
        // One that closes hard after its answer has answered all the same.
        let _ = reading.read_to_end(&mut received).await;
        received
    };
    let ((), received) = tokio::join!(send, receive);
    parse(&received, head_only)
}

fn parse(received: &[u8], head_only: bool) -> Reply {
    let shown = String::from_utf8_lossy(received);
    let split = received.windows(4).position(|window| window == b"\r\n\r\n");
    let split = split.unwrap_or_else(|| panic!("no whole answer: {shown:?}"));
    let head = std::str::from_utf8(&received[..split]).expect("a head in ASCII");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).expect("HTTP/1.1");
    let headers = lines
        .map(|line| line.split_once(':').expect("a header"))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut reply = Reply { status: status[..3].parse().expect("a status"), headers, body: Vec::new() };
    let body = &received[split + 4..];
    reply.body =
        if reply.header("transfer-encoding") == Some("chunked") { dechunk(body) } else { body.to_vec() };
    if let (Some(length), false) = (reply.header("content-length"), head_only) {
        assert_eq!(length.parse(), Ok(reply.body.len()), "the body is as long as it says");
    }
    reply
}

fn dechunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n").expect("a chunk's size");
        let size = std::str::from_utf8(&rest[..line]).expect("ASCII");
        let size =
            usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16).expect("a size");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 2 + size + 2..];
    }
}
