//! Events as Lambda brings them, and the requests that they are.
//!
//! Three kinds are requests: those of a REST API (payload format 1.0), of an HTTP API (2.0), and of a function URL (2.0 as well).
//! Only what the contract reads is taken out of them, so that nothing else in an event can make it unreadable. What is none of the
//! three (a schedule's event, a warm-up) is [`Event::Other`].

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use aurora_http::RequestId;
use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::route::{Matched, PROXY};

/// What must be escaped for a query to stand in a URI; what was escaped already stays as it was.
const UNFIT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
/// As [`UNFIT`], for a path.
const UNFIT_IN_PATH: &AsciiSet = &UNFIT.add(b'?');

/// What Lambda brings.
#[derive(Debug)]
pub(crate) enum Event {
    /// A request.
    Request(Box<GatewayRequest>),
    /// Anything else.
    Other,
}

/// A request, and what its gateway says of it.
#[derive(Debug)]
pub(crate) struct GatewayRequest {
    pub(crate) request: Request<Body>,
    /// Where it came from, as the gateway saw it; `None` where it came from nowhere, as the console's test calls do.
    pub(crate) source: Option<IpAddr>,
    /// The gateway's name for it.
    pub(crate) request_id: Option<RequestId>,
    /// What its event is written in, and so its answer.
    pub(crate) format: PayloadFormat,
}

/// How a gateway and its function write to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayloadFormat {
    /// 1.0, of REST APIs.
    One,
    /// 2.0, of HTTP APIs and function URLs.
    Two,
}

impl Event {
    /// Reads an event; only a gateway's that breaks its format is an error.
    pub(crate) fn read(event: &[u8]) -> Result<Self, String> {
        match serde_json::from_slice::<Fields<'_>>(event) {
            Ok(Fields { request_context: None, .. }) => Ok(Self::Other),
            Ok(fields) => Ok(Self::Request(Box::new(fields.into_request()?))),
            // Whoever wakes the function up may send what they like, but a gateway's event must be read.
            Err(error) if serde_json::from_slice::<Kind>(event).is_ok() => Err(error.to_string()),
            Err(_) => Ok(Self::Other),
        }
    }
}

/// What every gateway's event has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    #[serde(rename = "requestContext")]
    _request_context: IgnoredAny,
}

/// The fields of both payload formats; each kind of gateway fills its own.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    request_context: Option<RequestContext>,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
    path_parameters: Option<HashMap<String, Option<String>>>,
    // Payload format 1.0.
    resource: Option<String>,
    path: Option<String>,
    http_method: Option<String>,
    query_string_parameters: Option<BTreeMap<String, Option<String>>>,
    multi_value_query_string_parameters: Option<BTreeMap<String, Option<Vec<Option<String>>>>>,
    // Payload format 2.0.
    route_key: Option<String>,
    raw_path: Option<String>,
    raw_query_string: Option<String>,
    /// Read only where they are needed: a gateway sends a dozen.
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    request_id: Option<String>,
    stage: Option<String>,
    /// Payload format 1.0.
    identity: Option<Caller>,
    /// Payload format 2.0.
    http: Option<Http>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Caller {
    source_ip: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Http {
    method: String,
    #[serde(flatten)]
    caller: Caller,
}

impl Fields<'_> {
    fn into_request(mut self) -> Result<GatewayRequest, String> {
        let context = self.request_context.take().ok_or("the event has no request context")?;
        let method = match &context.http {
            Some(http) => &http.method,
            None => self.http_method.as_ref().ok_or("the event has no method")?,
        };
        let method = Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
        let mut request = Request::new(self.take_body()?);
        *request.method_mut() = method;
        let format = if context.http.is_some() { PayloadFormat::Two } else { PayloadFormat::One };
        if format == PayloadFormat::Two {
            // A REST API passes bytes through only where that was set up, and compresses by itself.
            request.headers_mut().extend(self.accept_encoding()?);
            *request.uri_mut() = uri(&self.matched_by_key(&context).path(), self.raw_query_string.as_deref());
        } else {
            *request.uri_mut() = uri(&self.matched_by_resource(&context).path(), self.query().as_deref());
        }
        let caller = context.http.map(|http| http.caller).or(context.identity);
        let source = caller.and_then(|caller| caller.source_ip?.parse::<IpAddr>().ok());
        let request_id =
            context.request_id.and_then(|id| RequestId::accept(&HeaderValue::try_from(id).ok()?));
        let source = source.map(|source| source.to_canonical());
        Ok(GatewayRequest { request, source, request_id, format })
    }

    fn take_body(&mut self) -> Result<Body, String> {
        let Some(body) = self.body.take() else { return Ok(Body::empty()) };
        if !self.is_base64_encoded {
            return Ok(Body::from(body));
        }
        let bytes =
            BASE64_STANDARD.decode(body).map_err(|error| format!("the body is not base64: {error}"))?;
        Ok(Body::from(bytes))
    }

    fn accept_encoding(&self) -> Result<HeaderMap, String> {
        let Some(headers) = self.headers else { return Ok(HeaderMap::new()) };
        let headers: HashMap<String, Option<String>> =
            serde_json::from_str(headers.get()).map_err(|error| format!("the event's headers: {error}"))?;
        let accepted =
            headers.into_iter().filter(|(name, _)| name.eq_ignore_ascii_case(ACCEPT_ENCODING.as_str()));
        let values = accepted.filter_map(|(_, value)| HeaderValue::try_from(value?).ok());
        Ok(values.map(|value| (ACCEPT_ENCODING, value)).collect())
    }

    /// Payload format 1.0 names the resource.
    fn matched_by_resource<'a>(&'a self, context: &'a RequestContext) -> Matched<'a> {
        Matched {
            resource: self.resource.as_deref(),
            proxy: self.proxy(),
            raw_path: self.path.as_deref().unwrap_or("/"),
            stage: context.stage.as_deref(),
        }
    }

    /// Payload format 2.0 has it behind a method: `ANY /{proxy+}`.
    fn matched_by_key<'a>(&'a self, context: &'a RequestContext) -> Matched<'a> {
        let resource = self.route_key.as_deref().and_then(|key| key.split_once(' '));
        Matched {
            resource: resource.map(|(_, resource)| resource),
            proxy: self.proxy(),
            raw_path: self.raw_path.as_deref().unwrap_or("/"),
            stage: context.stage.as_deref(),
        }
    }

    fn proxy(&self) -> Option<&str> {
        self.path_parameters.as_ref()?.get(PROXY)?.as_deref()
    }

    /// The query of payload format 1.0, which comes decoded, as it was written.
    fn query(&self) -> Option<String> {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pair = |name: &String, value: &Option<String>| {
            format!("{}={}", encoded(name), encoded(value.as_deref().unwrap_or_default()))
        };
        let pairs: Vec<String> =
            match (&self.multi_value_query_string_parameters, &self.query_string_parameters) {
                (Some(parameters), _) => parameters
                    .iter()
                    .flat_map(|(name, values)| values.iter().flatten().map(move |value| pair(name, value)))
                    .collect(),
                (None, Some(parameters)) => {
                    parameters.iter().map(|(name, value)| pair(name, value)).collect()
                }
                (None, None) => return None,
            };
        Some(pairs.join("&"))
    }
}

/// The URI of a path and a query; `/` where they are too long for one.
fn uri(path: &str, query: Option<&str>) -> Uri {
    let path: Cow<'_, str> = utf8_percent_encode(path, UNFIT_IN_PATH).into();
    let whole = match query.filter(|query| !query.is_empty()) {
        Some(query) => format!("{path}?{}", utf8_percent_encode(query, UNFIT)),
        None => path.into_owned(),
    };
    Uri::try_from(whole).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#""requestContext":{},"httpMethod":"GET","path":"/""#;
    const TWO: &str = r#""requestContext":{"http":{"method":"GET"}},"rawPath":"/""#;

    fn accepted(fields: &str, headers: &str) -> Result<Vec<HeaderValue>, String> {
        match Event::read(format!("{{{fields},{headers}}}").as_bytes())? {
            Event::Request(call) => {
                Ok(call.request.headers().get_all(ACCEPT_ENCODING).iter().cloned().collect())
            }
            Event::Other => Err("no request".to_owned()),
        }
    }

    #[test]
    fn headers_are_read_where_they_count_and_can_be_anything_elsewhere() {
        assert_eq!(
            accepted(TWO, r#""headers":{"Accept-\u0045ncoding":"g\u007aip","x":null}"#).unwrap(),
            ["gzip"]
        );
        assert_eq!(accepted(TWO, r#""head\u0065rs":{"accept-encoding":"gzip"}"#).unwrap(), ["gzip"]);
        for none in
            [r#""headers":null"#, r#""headers":{}"#, r#""headers":{"accept-encoding":"\n"}"#, r#""x":1"#]
        {
            assert!(accepted(TWO, none).unwrap().is_empty(), "{none}");
        }
        for odd in [r#""headers":{"accept-encoding":7}"#, r#""headers":[]"#] {
            assert!(accepted(TWO, odd).unwrap_err().contains("headers"), "{odd}");
            assert!(accepted(ONE, odd).unwrap().is_empty(), "{odd}");
        }
    }

    #[test]
    fn only_what_a_gateway_sent_can_be_an_error() {
        for other in ["", "7", "{", r#"{"headers":7}"#, r#"{"requestContext":null,"httpMethod":"GET"}"#] {
            assert!(matches!(Event::read(other.as_bytes()), Ok(Event::Other)), "{other}");
        }
        for broken in
            [r#"{"requestContext":7}"#, r#"{"requestContext":{}}"#, r#"{"requestContext":{},"body":7}"#]
        {
            assert!(Event::read(broken.as_bytes()).is_err(), "{broken}");
        }
        assert!(Event::read(b"{\"requestContext\":{},\"httpMethod\":\"GET\",\"body\":\"\xff\"}").is_err());
    }
}
