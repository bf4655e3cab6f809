//! Stands in for API Gateway and function URLs: it turns HTTP requests into the events that AWS
//! documents, and the function's responses into HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::ConnectInfo;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::stream;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::runtime_api::RuntimeApi;

/// How long API Gateway waits for a response.
const TIMEOUT: Duration = Duration::from_secs(29);
/// The resources that the API declares in addition to `/` and `/{proxy+}`.
const RESOURCES: [&str; 5] = ["/register", "/discover", "/heartbeat", "/health", "/deregister"];

/// The kind of gateway in front of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A REST API under its own host name. The stage is in the URL but not in the event's path.
    Rest,
    /// A REST API behind a custom domain with a base path. The base path is in the URL and in the
    /// event's path.
    RestBasePath,
    /// An HTTP API under its own host name. The stage is in the URL and in the event's path.
    Http,
    /// An HTTP API behind a custom domain with a base path, which is in the URL and in the event's
    /// path.
    HttpBasePath,
    /// A function URL.
    FunctionUrl,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Rest, Self::RestBasePath, Self::Http, Self::HttpBasePath, Self::FunctionUrl];

    /// The prefix of the path in a URL.
    fn prefix(self) -> &'static str {
        match self {
            Self::Rest | Self::Http => "/dev",
            Self::RestBasePath | Self::HttpBasePath => "/p2p",
            Self::FunctionUrl => "",
        }
    }
}

/// Serves the function behind a gateway and returns its base URL. The gateway ends with the test's
/// runtime.
pub(crate) async fn start(kind: Kind, api: Arc<RuntimeApi>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router =
        Router::new().fallback(move |ConnectInfo(from): ConnectInfo<SocketAddr>, request: Request<Body>| {
            let api = Arc::clone(&api);
            async move {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, usize::MAX).await.unwrap();
                let event = event(kind, from, &parts, &body);
                let response = api.invoke(event, TIMEOUT).await.expect("the function must not fail");
                to_http(&response, parts.method == Method::HEAD)
            }
        });
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    format!("http://{address}{}", kind.prefix())
}

/// The event of a request from 203.0.113.7. In its URL, `path` follows the prefix of `kind`.
pub(crate) fn request_event(kind: Kind, method: &str, path: &str, body: &str) -> Value {
    let request = Request::builder().method(method).uri(format!("{}{path}", kind.prefix())).body(()).unwrap();
    let from = SocketAddr::from(([203, 0, 113, 7], 5678));
    event(kind, from, &request.into_parts().0, &Bytes::copy_from_slice(body.as_bytes()))
}

/// The event of a request that came from `from`.
pub(crate) fn event(kind: Kind, from: SocketAddr, parts: &Parts, body: &Bytes) -> Value {
    let request = GatewayRequest { kind, from, parts, body, id: request_id() };
    match kind {
        Kind::Rest | Kind::RestBasePath => request.rest(),
        Kind::Http | Kind::HttpBasePath | Kind::FunctionUrl => request.http(),
    }
}

/// A request that has reached the gateway, and its id.
struct GatewayRequest<'a> {
    kind: Kind,
    from: SocketAddr,
    parts: &'a Parts,
    body: &'a Bytes,
    id: String,
}

impl GatewayRequest<'_> {
    /// The event of a REST API, in payload format 1.0.
    fn rest(&self) -> Value {
        let (resource, proxy) = self.matched();
        let (full_path, method) = (self.parts.uri.path(), self.parts.method.as_str());
        let path = if self.kind == Kind::Rest { self.path_after_prefix() } else { full_path };
        let (body, encoded) = self.body(|_| true);
        json!({
            "resource": resource,
            "path": path,
            "httpMethod": method,
            "headers": one_each(self.headers(), |values| values[values.len() - 1].clone()),
            "multiValueHeaders": self.headers(),
            "queryStringParameters": one_each(self.parameters(), |values| values[values.len() - 1].clone()),
            "multiValueQueryStringParameters": none_if_empty(self.parameters()),
            "pathParameters": proxy.map(|proxy| json!({ "proxy": proxy })),
            "stageVariables": null,
            "requestContext": {
                "resourceId": "2gxmpl",
                "resourcePath": resource,
                "httpMethod": method,
                "extendedRequestId": "JJbxmplHYosFVYQ=",
                "requestTime": "10/Mar/2020:00:03:59 +0000",
                "path": full_path,
                "accountId": "123456789012",
                "protocol": "HTTP/1.1",
                "stage": "dev",
                "domainPrefix": "70ixmpl4fl",
                "requestTimeEpoch": 1_583_798_639_428_u64,
                "requestId": self.id,
                "identity": {
                    "cognitoIdentityPoolId": null, "accountId": null, "cognitoIdentityId": null, "caller": null,
                    "sourceIp": self.from.ip().to_string(), "principalOrgId": null, "accessKey": null,
                    "cognitoAuthenticationType": null, "cognitoAuthenticationProvider": null, "userArn": null,
                    "userAgent": "curl/8", "user": null
                },
                "domainName": "70ixmpl4fl.execute-api.us-east-2.amazonaws.com",
                "apiId": "70ixmpl4fl"
            },
            "body": body,
            "isBase64Encoded": encoded
        })
    }

    /// The event of an HTTP API or a function URL, in payload format 2.0.
    fn http(&self) -> Value {
        let (resource, proxy) = self.matched();
        let (method, full_path) = (self.parts.method.as_str(), self.parts.uri.path());
        let url = self.kind == Kind::FunctionUrl;
        let key = if url { "$default".to_owned() } else { format!("ANY {resource}") };
        // An HTTP API decodes the path that it names `rawPath`; a function URL does not.
        let path = if url { full_path.to_owned() } else { decoded(full_path) };
        let (body, encoded) = self.body(is_text);
        let joined = |values: &[Value]| {
            Value::from(values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","))
        };
        let mut event = json!({
            "version": "2.0",
            "routeKey": key,
            "rawPath": path,
            "rawQueryString": self.parts.uri.query().unwrap_or_default(),
            "headers": one_each(self.headers(), joined),
            "requestContext": {
                "accountId": "123456789012",
                "apiId": "r3pmxmplak",
                "domainName": "r3pmxmplak.execute-api.us-east-2.amazonaws.com",
                "domainPrefix": "r3pmxmplak",
                "http": {
                    "method": method, "path": path, "protocol": "HTTP/1.1",
                    "sourceIp": self.from.ip().to_string(), "userAgent": "curl/8"
                },
                "requestId": self.id,
                "routeKey": key,
                "stage": if url { "$default" } else { "dev" },
                "time": "10/Mar/2020:05:16:23 +0000",
                "timeEpoch": 1_583_817_383_220_u64
            },
            "isBase64Encoded": encoded
        });
        // In this format, absent values have no key.
        let optional = [
            ("body", body),
            ("queryStringParameters", one_each(self.parameters(), joined)),
            ("pathParameters", proxy.filter(|_| !url).map_or(Value::Null, |proxy| json!({ "proxy": proxy }))),
        ];
        for (key, value) in optional.into_iter().filter(|(_, value)| !value.is_null()) {
            event[key] = value;
        }
        event
    }

    /// The path of the URL after the prefix of the kind.
    fn path_after_prefix(&self) -> &str {
        let path = self.parts.uri.path().strip_prefix(self.kind.prefix()).expect("a path of this API");
        if path.is_empty() { "/" } else { path }
    }

    /// The resource that the API matches, and the value of its proxy parameter.
    fn matched(&self) -> (&str, Option<String>) {
        match self.path_after_prefix() {
            "/" => ("/", None),
            path if RESOURCES.contains(&path) => (path, None),
            path => ("/{proxy+}", Some(decoded(&path[1..]))),
        }
    }

    /// The values of each header. To `X-Forwarded-For`, the gateway appends the source address of
    /// the request; the client has claimed the address 6.6.6.6.
    fn headers(&self) -> Map<String, Value> {
        let mut headers = by_name(self.parts.headers.iter().map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        }));
        headers.insert("x-forwarded-for".to_owned(), json!([format!("6.6.6.6, {}", self.from.ip())]));
        headers
    }

    /// The decoded values of each parameter of the query.
    fn parameters(&self) -> Map<String, Value> {
        let pairs = self.parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        by_name(pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
        }))
    }

    /// The body as the event contains it, and whether it is encoded as base64. An empty body is
    /// `null`. Any other body is text if `text` accepts the headers and the bytes are UTF-8;
    /// otherwise it is base64.
    fn body(&self, text: impl Fn(&HeaderMap) -> bool) -> (Value, bool) {
        match std::str::from_utf8(self.body) {
            _ if self.body.is_empty() => (Value::Null, false),
            Ok(body) if text(&self.parts.headers) => (body.into(), false),
            _ => (BASE64_STANDARD.encode(self.body).into(), true),
        }
    }
}

/// Whether an HTTP API passes a body of this type as text.
fn is_text(headers: &HeaderMap) -> bool {
    let value =
        headers.get("content-type").map(|value| value.to_str().unwrap_or_default()).unwrap_or_default();
    ["text/", "application/json", "application/javascript", "application/xml"]
        .iter()
        .any(|text| value.starts_with(text))
}

/// Groups values by name. Each value of the map is an array.
fn by_name(pairs: impl Iterator<Item = (String, String)>) -> Map<String, Value> {
    let mut map = Map::new();
    for (name, value) in pairs {
        match map.entry(name).or_insert_with(|| json!([])) {
            Value::Array(values) => values.push(value.into()),
            _ => unreachable!("the map contains arrays only"),
        }
    }
    map
}

/// A map with a single value for each name, which `choose` makes from the values of the name.
/// `null` if the map is empty.
fn one_each(map: Map<String, Value>, choose: impl Fn(&[Value]) -> Value) -> Value {
    let chosen = map.into_iter().map(|(name, values)| (name, choose(values.as_array().unwrap())));
    none_if_empty(chosen.collect())
}

fn none_if_empty(map: Map<String, Value>) -> Value {
    if map.is_empty() { Value::Null } else { Value::Object(map) }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{:08x}-e9f4-11e8-9739-2dfe598c3fcd", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The function's response as HTTP. A response to HEAD has no length, because the function omits it
/// and the gateway does not know it.
fn to_http(response: &Value, head: bool) -> Response<Body> {
    let mut builder =
        Response::builder().status(u16::try_from(response["statusCode"].as_u64().unwrap()).unwrap());
    for (name, value) in headers(response) {
        builder = builder.header(name, value);
    }
    let body = response["body"].as_str().unwrap();
    let body = if response["isBase64Encoded"] == true {
        BASE64_STANDARD.decode(body).unwrap()
    } else {
        body.as_bytes().to_vec()
    };
    let body =
        if head { Body::from_stream(stream::empty::<Result<Bytes, Infallible>>()) } else { Body::from(body) };
    builder.body(body).unwrap()
}

/// The first value of a header in the function's response.
pub(crate) fn header<'a>(response: &'a Value, name: &str) -> Option<&'a str> {
    headers(response).find(|(other, _)| *other == name).map(|(_, value)| value)
}

/// The headers of the function's response. A gateway merges both objects.
fn headers(response: &Value) -> impl Iterator<Item = (&str, &str)> {
    let single = response["headers"].as_object().unwrap().iter().map(|(name, value)| (name, value.as_str()));
    let multiple = response["multiValueHeaders"].as_object().unwrap().iter();
    let multiple = multiple.flat_map(|(name, values)| {
        values.as_array().unwrap().iter().map(move |value| (name, value.as_str()))
    });
    single.chain(multiple).map(|(name, value)| (name.as_str(), value.unwrap()))
}
