//! A client of the service, and helpers that the cases share.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Body;
use hyper::header::{CONNECTION, HOST};
use serde_json::{Value, json};

use crate::wire::{Response, send};
use crate::{Sources, Target};

/// A service may respond with 503 after it has waited about this long for its store. In a test, a
/// store takes that long only if the machine pauses. The request is then retried, as a client would
/// do. A 503 that arrives sooner is a refusal that the case must see.
const STORE_TIMEOUT: Duration = Duration::from_secs(4);
/// The maximum number of attempts for one request, the first included.
const MAX_ATTEMPTS: u32 = 3;

/// One client of the service.
pub(crate) struct Client<'t> {
    target: &'t Target,
    address: &'static str,
}

impl<'t> Client<'t> {
    /// The client at the first address.
    pub(crate) fn first(target: &'t Target) -> Self {
        let address = match target.sources {
            Sources::Loopback => "127.0.0.1",
            Sources::Forwarded => "203.0.113.7",
        };
        Self { target, address }
    }

    /// A client at a second address, which is a different source.
    pub(crate) fn second(target: &'t Target) -> Self {
        let address = match target.sources {
            Sources::Loopback => "127.0.0.2",
            Sources::Forwarded => "198.51.100.8",
        };
        Self { target, address }
    }

    /// The address of this client.
    pub(crate) fn address(&self) -> &'static str {
        self.address
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], b"").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Response {
        self.request("POST", path, &[], body.as_bytes()).await
    }

    /// Registers a peer, which must succeed.
    pub(crate) async fn register(&self, body: &Value) -> Response {
        let response = self.post("/register", &body.to_string()).await;
        assert_eq!(response.status, 200, "{}", response.text());
        response
    }

    /// Registers peers that publish only `archetypes`, and returns their sorted ids.
    pub(crate) async fn register_many(&self, count: usize, archetypes: &[&str]) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(unique("peer"));
            self.register(&json!({"peer_id": ids[ids.len() - 1], "archetypes": archetypes})).await;
        }
        ids.sort();
        ids
    }

    pub(crate) async fn heartbeat(&self, id: &str) -> Response {
        self.post("/heartbeat", &json!({ "peer_id": id }).to_string()).await
    }

    /// The ids of the peers that have `archetype`.
    pub(crate) async fn peers_with(&self, archetype: &str) -> Vec<String> {
        self.get(&format!("/discover?archetype={}", encoded(archetype))).await.ids()
    }

    /// Sends a request with a body of known length.
    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let body = Full::new(Bytes::copy_from_slice(body));
        self.send(method, path, headers, || body.clone()).await
    }

    /// Sends a request. A body of unknown length is sent in chunks, unless the headers specify its
    /// length.
    pub(crate) async fn send<B>(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Fn() -> B,
    ) -> Response
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let rest = self.target.base_url.strip_prefix("http://").expect("a base URL of plain HTTP");
        let (authority, stage) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let request = || {
            let mut request = Request::builder()
                .method(method)
                .uri(format!("{stage}{path}"))
                .header(HOST, authority)
                .header(CONNECTION, "close");
            if let Sources::Forwarded = self.target.sources {
                request = request.header("x-forwarded-for", self.address);
            }
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            request.body(body()).expect("a request")
        };
        let from: Option<IpAddr> = match self.target.sources {
            Sources::Loopback => Some(self.address.parse().expect("an address")),
            Sources::Forwarded => None,
        };
        for _ in 1..MAX_ATTEMPTS {
            let sent = Instant::now();
            let response = send(authority, from, request()).await;
            if response.status != 503 || sent.elapsed() < STORE_TIMEOUT {
                return response;
            }
        }
        send(authority, from, request()).await
    }
}

/// A name that no other case uses, so that cases can share a service.
pub(crate) fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{}-{:x}-{count}", std::process::id(), fastrand::u32(..))
}

/// A value, encoded for a query string.
pub(crate) fn encoded(value: &str) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

/// Parses a time as legacy clients do, without a time zone and in whole seconds. Returns seconds
/// since the epoch.
pub(crate) fn naive_time(value: &Value) -> i64 {
    let text = value.as_str().expect("a time");
    assert_eq!(text.len(), 19, "{text}");
    let time =
        jiff::civil::DateTime::strptime("%Y-%m-%dT%H:%M:%S", text).expect("a naive time in whole seconds");
    time.to_zoned(jiff::tz::TimeZone::UTC).expect("a time").timestamp().as_second()
}
