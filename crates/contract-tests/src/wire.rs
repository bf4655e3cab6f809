//! Single HTTP/1.1 requests, each on a separate connection.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use hyper::client::conn::http1::handshake;
use hyper::header::HeaderMap;
use hyper::{Method, Request, Version};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

/// The time limit for a response. It is long, because the machine may pause.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(120);

/// A response with its complete body.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Response {
    /// The value of a header, which must not be repeated.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is repeated");
        value.map(|value| value.to_str().expect("a header in ASCII"))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    pub(crate) fn read<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The parsed body of a successful response.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.read()
    }

    /// The keys of the object in a successful response, sorted.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.ok().as_object().expect("an object").keys().cloned().collect()
    }

    /// The ids of the listed peers, sorted.
    pub(crate) fn ids(&self) -> Vec<String> {
        let body = self.ok();
        let peers = body["peers"].as_array().expect("a list of peers");
        let mut ids: Vec<_> =
            peers.iter().map(|peer| peer["peer_id"].as_str().expect("an id").to_owned()).collect();
        ids.sort();
        ids
    }

    /// Asserts that the response is an error in the form that the API defines, and returns its
    /// message.
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

/// Sends one request from the address `from` on a separate connection to the service at
/// `authority`.
pub(crate) async fn send<B>(authority: &str, from: Option<IpAddr>, request: Request<B>) -> Response
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    timeout(RESPONSE_TIMEOUT, send_without_timeout(authority, from, request))
        .await
        .expect("a response in time")
}

async fn send_without_timeout<B>(authority: &str, from: Option<IpAddr>, request: Request<B>) -> Response
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let is_head = request.method() == Method::HEAD;
    let stream = connect(authority, from).await;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.expect("a connection");
    let connection = tokio::spawn(connection.without_shutdown());
    let (head, body) = sender.send_request(request).await.expect("a response").into_parts();
    assert_eq!(head.version, Version::HTTP_11);
    let body = body.collect().await.expect("a whole body").to_bytes();
    if is_head {
        // hyper does not read a body after the response to a HEAD request. Bytes that the service
        // sends nevertheless are detected here.
        let rest = connection.await.expect("a connection").expect("no bytes after the response");
        let mut bytes = rest.read_buf.to_vec();
        rest.io.into_inner().read_to_end(&mut bytes).await.expect("an end");
        assert_eq!(bytes, b"", "a body after HEAD");
    }
    Response { status: head.status.as_u16(), headers: head.headers, body }
}

async fn connect(authority: &str, from: Option<IpAddr>) -> TcpStream {
    let address = lookup_host(authority).await.expect("a host").next().expect("an address");
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.expect("a socket");
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0)).expect("a local address");
    }
    socket.connect(address).await.expect("a connection")
}
