//! Lambda's events, and the HTTP requests among them.
//!
//! Gateways send two formats: REST APIs use payload format 1.0, HTTP APIs and function URLs use
//! 2.0. `lambda_http` turns an event of either into a request and the response back into JSON. Any
//! other event, such as a schedule's, is [`Event::Other`].
//!
//! Clients control the path, the query and the headers of an event. `lambda_http` 1.3 changes or
//! rejects some of them, so [`GatewayEvent`] removes them from the event first:
//!
//! - **Path.** `lambda_http` puts the stage in front of it, keeps a custom domain's base path, and
//!   resolves dot segments. The resource that the gateway matched is independent of all three (see
//!   `route`).
//! - **Query.** An HTTP API passes a query on as the client wrote it, and `lambda_http` panics on
//!   bytes that are invalid in a URI. With such queries, any client could raise the function's
//!   error rate. For format 1.0, `lambda_http` also writes the parameters in the order of a hash
//!   map.
//! - **Headers.** A single header that is not valid HTTP makes `lambda_http` reject the whole
//!   event. The service needs only `X-Forwarded-For`, `Origin`, `Authorization`, `X-Api-Key` and,
//!   in format 2.0, `Accept-Encoding`. In format 1.0 it does not need the last one, because a REST
//!   API compresses responses itself.
//!
//! `lambda_http` also panics on a body that is marked as base64 but is not. Only AWS sets the mark,
//! and `lambda_runtime` turns the panic into a failed event. Events of an Application Load Balancer
//! are not supported.

use std::borrow::Cow;
use std::net::IpAddr;

use aurora_discovery_http::RequestId;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use lambda_http::aws_lambda_events::apigw::{ApiGatewayProxyRequest, ApiGatewayV2httpRequest};
use lambda_http::request::LambdaRequest;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::{Map, Value, from_value};

use crate::route::{MatchedRoute, PROXY};

/// The bytes to escape in the query of a URI. Escapes that are already there stay unchanged.
const ESCAPED_IN_QUERY: &AsciiSet = &CONTROLS
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
/// The bytes to escape in a path.
const ESCAPED_IN_PATH: &AsciiSet = &ESCAPED_IN_QUERY.add(b'?');

/// The header to which each proxy, and the gateway itself, appends the address from which it
/// received the request.
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// An event as Lambda delivers it.
#[derive(Debug)]
pub(crate) enum Event {
    /// An HTTP request through a gateway.
    Request(Box<GatewayEvent>),
    /// Any other event.
    Other,
}

/// An HTTP request as its gateway describes it.
#[derive(Debug)]
pub(crate) struct GatewayEvent {
    /// Method, body, context, and the encoding of the response; without path, query and headers.
    pub(crate) request: LambdaRequest,
    /// The path for the service, and the query.
    pub(crate) uri: Uri,
    /// The headers that the service reads: `Origin`, `Authorization` and `X-Api-Key`, and
    /// `Accept-Encoding` if the service may compress.
    pub(crate) headers: HeaderMap,
    /// The address that called the gateway; `None` for test calls from the AWS console, which come
    /// from no address.
    pub(crate) source: Option<IpAddr>,
    /// `X-Forwarded-For`: the addresses that sent the request to the proxies in front of the
    /// gateway and, as the last entry, to the gateway.
    pub(crate) forwarded_for: Option<HeaderValue>,
    /// The gateway's id of the request.
    pub(crate) request_id: Option<RequestId>,
}

impl<'de> Deserialize<'de> for Event {
    /// Reads an event. Every gateway's event has a `requestContext`.
    ///
    /// # Errors
    ///
    /// If the event is not JSON, or if it has a `requestContext` and violates the payload format.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Value::Object(event) = Value::deserialize(deserializer)? else { return Ok(Self::Other) };
        match event.get("requestContext") {
            None | Some(Value::Null) => Ok(Self::Other),
            Some(context) => {
                // Only payload format 2.0 has `requestContext.http`.
                let is_rest_api = context.get("http").is_none();
                let request = if is_rest_api { rest_api_event(event) } else { http_api_event(event) };
                request.map(|request| Self::Request(Box::new(request))).map_err(D::Error::custom)
            }
        }
    }
}

/// Reads a request in payload format 1.0.
fn rest_api_event(mut event: Map<String, Value>) -> serde_json::Result<GatewayEvent> {
    let headers = headers_of_service(&event);
    let forwarded_for =
        event.remove("headers").as_ref().and_then(|headers| header(headers, &X_FORWARDED_FOR));
    let _ = event.remove("multiValueHeaders");
    let query = query(&mut event);
    let mut event: ApiGatewayProxyRequest = from_value(event.into())?;
    let context = &event.request_context;
    let matched = MatchedRoute {
        resource: event.resource.as_deref(),
        proxy: event.path_parameters.get(PROXY).map(String::as_str),
        raw_path: event.path.as_deref().unwrap_or("/"),
        stage: context.stage.as_deref(),
    };
    let uri = uri(&matched.path(), &query);
    let source = address(context.identity.source_ip.as_deref());
    let request_id = request_id(context.request_id.as_deref());
    // The service uses `uri` instead, so `lambda_http` needs no path.
    event.path = None;
    Ok(GatewayEvent {
        request: LambdaRequest::ApiGatewayV1(event),
        uri,
        headers,
        source,
        forwarded_for,
        request_id,
    })
}

/// Reads a request in payload format 2.0.
fn http_api_event(mut event: Map<String, Value>) -> serde_json::Result<GatewayEvent> {
    let mut headers = headers_of_service(&event);
    let sent = event.remove("headers");
    let header = |name: HeaderName| sent.as_ref().and_then(|sent| header(sent, &name));
    let forwarded_for = header(X_FORWARDED_FOR);
    headers.extend(header(ACCEPT_ENCODING).map(|value| (ACCEPT_ENCODING, value)));
    let _ = (event.remove("cookies"), event.remove("queryStringParameters"));
    let mut event: ApiGatewayV2httpRequest = from_value(event.into())?;
    let context = &event.request_context;
    // The route key is a method followed by the resource: `ANY /{proxy+}`.
    let resource = event.route_key.as_deref().and_then(|key| key.split_once(' '));
    let matched = MatchedRoute {
        resource: resource.map(|(_, resource)| resource),
        proxy: event.path_parameters.get(PROXY).map(String::as_str),
        raw_path: event.raw_path.as_deref().unwrap_or("/"),
        stage: context.stage.as_deref(),
    };
    let uri = uri(&matched.path(), event.raw_query_string.as_deref().unwrap_or_default());
    let source = address(context.http.source_ip.as_deref());
    let request_id = request_id(context.request_id.as_deref());
    event.raw_path = None;
    event.raw_query_string = None;
    let request = LambdaRequest::ApiGatewayV2(event);
    Ok(GatewayEvent { request, uri, headers, source, forwarded_for, request_id })
}

/// The encoded query of a request in payload format 1.0, where the gateway has decoded it.
fn query(event: &mut Map<String, Value>) -> String {
    let single = event.remove("queryStringParameters");
    // A REST API sends both forms; `queryStringParameters` has only the last value of each name.
    let multiple = event.remove("multiValueQueryStringParameters").filter(Value::is_object);
    let Some(Value::Object(parameters)) = multiple.or(single) else { return String::new() };
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = parameters.iter().flat_map(|(name, values)| {
        let values = values.as_array().map_or(std::slice::from_ref(values), Vec::as_slice);
        let values = values.iter().filter_map(Value::as_str);
        values.map(move |value| format!("{}={}", encoded(name), encoded(value)))
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// All `Origin`, `Authorization` and `X-Api-Key` headers. An `Origin` that is not a valid header
/// becomes `null`, because without it the request would look as if no web page had sent it.
fn headers_of_service(event: &Map<String, Value>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in [ORIGIN, AUTHORIZATION, X_API_KEY] {
        for text in values(event, &name) {
            let value = text.as_str().and_then(|text| HeaderValue::try_from(text).ok());
            let value = value.or_else(|| (name == ORIGIN).then(|| HeaderValue::from_static("null")));
            headers.extend(value.map(|value| (name.clone(), value)));
        }
    }
    headers
}

/// All values of a header.
fn values<'a>(event: &'a Map<String, Value>, wanted: &HeaderName) -> Vec<&'a Value> {
    let of = |key: &str| -> Vec<&'a Value> {
        let headers = event.get(key).and_then(Value::as_object).into_iter().flatten();
        let headers = headers.filter(|(name, _)| name.eq_ignore_ascii_case(wanted.as_str()));
        let values = headers.flat_map(|(_, value)| match value {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        });
        values.collect()
    };
    // Format 1.0 has both keys; `headers` has only the last value of each name.
    let all = of("multiValueHeaders");
    if all.is_empty() { of("headers") } else { all }
}

fn header(headers: &Value, wanted: &HeaderName) -> Option<HeaderValue> {
    let mut headers = headers.as_object()?.iter();
    let (_, value) = headers.find(|(name, _)| name.eq_ignore_ascii_case(wanted.as_str()))?;
    HeaderValue::try_from(value.as_str()?).ok()
}

fn address(source: Option<&str>) -> Option<IpAddr> {
    Some(source?.parse::<IpAddr>().ok()?.to_canonical())
}

fn request_id(id: Option<&str>) -> Option<RequestId> {
    RequestId::accept(&HeaderValue::try_from(id?).ok()?)
}

/// The URI of a path and a query; `/` if they form no valid URI, for example because they are too
/// long.
fn uri(path: &str, query: &str) -> Uri {
    let path: Cow<'_, str> = utf8_percent_encode(path, ESCAPED_IN_PATH).into();
    let whole = match query {
        "" => path.into_owned(),
        query => format!("{path}?{}", utf8_percent_encode(query, ESCAPED_IN_QUERY)),
    };
    Uri::try_from(whole).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT_1: &str = r#""requestContext":{"httpMethod":"GET"},"httpMethod":"GET","path":"/""#;
    const FORMAT_2: &str = r#""requestContext":{"http":{"method":"GET"}},"rawPath":"/""#;

    fn read(event: &str) -> serde_json::Result<Event> {
        serde_json::from_str(event)
    }

    fn request(fields: &str, more: &str) -> Box<GatewayEvent> {
        match read(&format!("{{{fields},{more}}}")).unwrap() {
            Event::Request(request) => request,
            Event::Other => panic!("{more} is not a request"),
        }
    }

    #[test]
    fn only_accept_encoding_in_format_2_is_read_and_other_headers_may_be_malformed() {
        for accepted in [
            r#""headers":{"Accept-\u0045ncoding":"g\u007aip","x":null}"#,
            r#""head\u0065rs":{"accept-encoding":"gzip"}"#,
            r#""headers":{"accept-encoding":"gzip","x-é":"\u0001"},"cookies":7"#,
        ] {
            assert_eq!(request(FORMAT_2, accepted).headers[ACCEPT_ENCODING], "gzip", "{accepted}");
            assert!(request(FORMAT_1, accepted).headers.is_empty(), "{accepted}");
        }
        for odd in [
            r#""headers":null"#,
            r#""headers":{}"#,
            r#""headers":{"accept-encoding":"\n"}"#,
            r#""x":1"#,
            r#""headers":{"accept-encoding":7}"#,
            r#""headers":[]"#,
            r#""multiValueHeaders":{"x":[null]}"#,
        ] {
            assert!(request(FORMAT_2, odd).headers.is_empty(), "{odd}");
            assert!(request(FORMAT_1, odd).headers.is_empty(), "{odd}");
        }
    }

    #[test]
    fn the_forwarded_addresses_are_read_in_both_formats() {
        let headers = r#""headers":{"X-Forwarded-For":"203.0.113.7, 198.51.100.1"}"#;
        for format in [FORMAT_1, FORMAT_2] {
            let forwarded = request(format, headers).forwarded_for.unwrap();
            assert_eq!(forwarded, "203.0.113.7, 198.51.100.1");
            assert_eq!(request(format, r#""headers":null"#).forwarded_for, None);
        }
    }

    #[test]
    fn every_origin_header_is_read_and_a_malformed_one_counts_as_null() {
        let page = "https://app.example";
        for format in [FORMAT_1, FORMAT_2] {
            for (headers, expected) in [
                (r#""headers":{"Origin":"https://app.example","x":null}"#, &[page][..]),
                (r#""headers":{"origin":"https://app.example"},"multiValueHeaders":null"#, &[page]),
                (
                    r#""headers":{"origin":"b"},"multiValueHeaders":{"origin":["https://app.example","b"]}"#,
                    &[page, "b"],
                ),
                (r#""headers":{"origin":"b","Origin":"https://app.example"}"#, &[page, "b"]),
                (r#""headers":{"origin":"\n"}"#, &["null"]),
                (r#""headers":{"origin":7}"#, &["null"]),
                (r#""headers":{"origin":null}"#, &["null"]),
                (r#""headers":{}"#, &[]),
                (r#""headers":null"#, &[]),
                (r#""headers":[]"#, &[]),
            ] {
                let request = request(format, headers);
                let origins: Vec<_> = request.headers.get_all(ORIGIN).iter().collect();
                assert_eq!(origins, expected, "{headers}");
            }
        }
    }

    #[test]
    fn every_header_that_can_have_an_api_key_is_read_and_a_malformed_one_is_left_out() {
        let sent = r#""headers":{"X-Api-Key":"b","authorization":"\n","cookie":"c"},
            "multiValueHeaders":{"x-api-key":["a","b",7]}"#;
        for format in [FORMAT_1, FORMAT_2] {
            let headers = request(format, sent).headers;
            assert_eq!(headers.get_all(X_API_KEY).iter().collect::<Vec<_>>(), ["a", "b"]);
            assert_eq!(headers.len(), 2, "{headers:?}");
        }
        let bearer = request(FORMAT_2, r#""headers":{"Authorization":"Bearer k"}"#);
        assert_eq!(bearer.headers[AUTHORIZATION], "Bearer k");
    }

    #[test]
    fn only_an_event_with_a_request_context_can_be_malformed() {
        for other in ["7", "null", "[]", r#"{"headers":7}"#, r#"{"requestContext":null,"httpMethod":"GET"}"#]
        {
            assert!(matches!(read(other), Ok(Event::Other)), "{other}");
        }
        for broken in [
            "",
            "{",
            r#"{"requestContext":7}"#,
            r#"{"requestContext":{}}"#,
            r#"{"requestContext":{},"body":7}"#,
            r#"{"requestContext":{"http":{}}}"#,
        ] {
            assert!(read(broken).is_err(), "{broken}");
        }
        let invalid_utf8 = [b"{".as_slice(), FORMAT_1.as_bytes(), b",\"body\":\"\xff\"}"].concat();
        assert!(serde_json::from_slice::<Event>(&invalid_utf8).is_err());
    }

    #[test]
    fn all_values_of_a_parameter_are_kept_and_a_raw_query_is_not_changed() {
        let single = r#""queryStringParameters":{"archetype":"b","limit":"5"}"#;
        let multiple = r#""multiValueQueryStringParameters":{"archetype":["a","b &"],"limit":["5",null]}"#;
        for (fields, parameters, expected) in [
            (FORMAT_1, format!("{single},{multiple}"), "/?archetype=a&archetype=b%20%26&limit=5"),
            (
                FORMAT_1,
                format!(r#"{single},"multiValueQueryStringParameters":null"#),
                "/?archetype=b&limit=5",
            ),
            (FORMAT_1, r#""queryStringParameters":null"#.to_owned(), "/"),
            (
                FORMAT_2,
                format!(r#""rawQueryString":"archetype=a%26&x=<\u007f>+é",{single}"#),
                "/?archetype=a%26&x=%3C%7F%3E+%C3%A9",
            ),
            (FORMAT_2, r#""rawQueryString":"""#.to_owned(), "/"),
        ] {
            assert_eq!(request(fields, &parameters).uri, expected, "{parameters}");
        }
    }

    #[test]
    fn a_source_address_is_canonical_or_absent() {
        for (source, expected) in [
            ("::ffff:203.0.113.7", Some("203.0.113.7")),
            ("2001:DB8::1", Some("2001:db8::1")),
            ("test-invoke-source-ip", None),
        ] {
            let expected = expected.map(|address| address.parse().unwrap());
            assert_eq!(address(Some(source)), expected);
        }
    }
}
