//! `bootstrap` as a process under Lambda: its start, its responses to events that are not requests,
//! its timing, and its output.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test uses its part of the support")]

#[path = "support/bootstrap.rs"]
mod bootstrap;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/runtime_api.rs"]
mod runtime_api;

use std::io::Read as _;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use aurora_discovery_http::{Scopes, key_line};
use http::StatusCode;
use serde_json::{Value, json};

use bootstrap::Bootstrap;
use gateway::{Kind, header, request_event};
use runtime_api::RuntimeApi;

/// The time limit of an invocation.
const TIME: Duration = Duration::from_secs(10);

/// The store's own timeout for a table that does not respond. If the invocation has less time left,
/// the function responds earlier.
const STORE_DEADLINE: Duration = Duration::from_secs(5);

/// The setting that names the table. No test reaches this table.
const TABLE: (&str, &str) = ("AURORA_TABLE", "aurora-peers-nowhere");

fn body(response: &Value) -> Value {
    serde_json::from_str(response["body"].as_str().unwrap()).unwrap()
}

/// Ends the process if it is still running. Returns its standard output and its log.
fn end_and_read_output(mut process: Bootstrap) -> (String, String) {
    process.0.kill().unwrap();
    let (mut output, mut log) = (String::new(), String::new());
    process.0.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    process.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    (output, log)
}

#[tokio::test]
async fn an_invalid_setting_is_reported_to_lambda_before_an_event_is_requested() {
    for (settings, words) in [
        (vec![], ["AURORA_TABLE", "DynamoDB table"]),
        (vec![TABLE, ("AURORA_TTL_MIN", "0")], ["AURORA_TTL_MIN", "0 is not in 1..=86400"]),
        (vec![TABLE, ("AURORA_LOG", "loud")], ["AURORA_LOG", "level"]),
    ] {
        let api = RuntimeApi::start().await;
        let mut process = Bootstrap::start(&api.authority(), &settings);
        let error = api.init_error().await;
        let message = error["errorMessage"].as_str().unwrap();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
        assert!(!process.0.wait().unwrap().success());
        assert_eq!(api.next_requests(), 0);
    }
}

#[tokio::test]
async fn an_empty_variable_counts_as_unset() {
    let api = RuntimeApi::start().await;
    let empty = [TABLE, ("AURORA_TTL_MIN", ""), ("AURORA_NO_CORS", ""), ("AURORA_DYNAMODB_ENDPOINT", "")];
    let _process = Bootstrap::start(&api.authority(), &empty);
    assert_eq!(api.invoke(json!({}), TIME).await, Ok(Value::Null));
}

#[test]
fn outside_lambda_the_process_ends_with_an_explanation() {
    let mut command = bootstrap::program();
    let ended = command.env_remove("AWS_LAMBDA_RUNTIME_API").stderr(Stdio::piped()).output().unwrap();
    assert!(!ended.status.success());
    assert!(String::from_utf8(ended.stderr).unwrap().contains("this program runs on AWS Lambda only"));
}

#[test]
fn an_unreachable_runtime_api_ends_the_process_with_an_error() {
    // The system never assigns this port, so nothing listens on it.
    let mut process = Bootstrap::start("127.0.0.1:1", &[TABLE]);
    assert!(!process.0.wait().unwrap().success());
    let (_, log) = end_and_read_output(process);
    assert!(log.contains("the Runtime API cannot be reached"), "{log}");
}

#[tokio::test]
async fn an_event_that_is_not_a_request_succeeds_without_output() {
    let api = RuntimeApi::start().await;
    let process = Bootstrap::start(&api.authority(), &[TABLE, ("AURORA_LOG", "info")]);
    let schedule = json!({
        "version": "0", "account": "123456789012", "region": "us-east-1", "detail": {},
        "detail-type": "Scheduled Event", "source": "aws.events", "time": "2019-03-01T01:23:45Z",
        "id": "cdc73f9d-aea9-11e3-9d5a-835b769c0d9c", "resources": ["arn:aws:events:us-east-1:123456789012:rule/my-schedule"]
    });
    for event in [
        schedule,
        json!({"warmup": true}),
        json!({"body": 7}),
        json!({}),
        json!([]),
        json!("ping"),
        json!(null),
    ] {
        assert_eq!(api.invoke(event, TIME).await, Ok(Value::Null));
    }
    assert_eq!(end_and_read_output(process), (String::new(), String::new()));
}

#[tokio::test]
async fn a_response_has_the_request_id_of_the_gateway() {
    let api = RuntimeApi::start().await;
    let _process = Bootstrap::start(&api.authority(), &[TABLE]);
    for kind in Kind::ALL {
        let event = request_event(kind, "GET", "/openapi.json", "");
        let request_id = event["requestContext"]["requestId"].clone();
        let response = api.invoke(event, TIME).await.unwrap();
        assert_eq!(response["statusCode"], 200, "{kind:?}: {response}");
        assert_eq!(header(&response, "x-request-id"), request_id.as_str());
    }
}

#[tokio::test]
async fn a_request_that_needs_an_api_key_is_accepted_only_with_one() {
    let api = RuntimeApi::start().await;
    let keys = key_line("robot", Scopes::parse("write").unwrap(), "secret");
    let _process = Bootstrap::start(
        &api.authority(),
        &[TABLE, ("AURORA_KEYS_TEXT", &keys), ("AURORA_REQUIRE_KEY", "write")],
    );
    for kind in Kind::ALL {
        for (name, value, status) in [
            ("x-other", "secret", 401),
            ("X-Api-Key", "wrong", 401),
            // The key is accepted, and then the body is not.
            ("X-Api-Key", "secret", 400),
            ("authorization", "Bearer secret", 400),
        ] {
            let mut event = request_event(kind, "POST", "/register", "{}");
            event["headers"][name] = value.into();
            if event["multiValueHeaders"].is_object() {
                event["multiValueHeaders"][name] = json!([value]);
            }
            let response = api.invoke(event, TIME).await.unwrap();
            assert_eq!(response["statusCode"], status, "{kind:?} {name}: {response}");
        }
    }
}

#[tokio::test]
async fn a_response_has_exactly_the_keys_of_its_payload_format() {
    let api = RuntimeApi::start().await;
    let _process = Bootstrap::start(&api.authority(), &[TABLE]);
    for kind in Kind::ALL {
        let response = api.invoke(request_event(kind, "GET", "/openapi.json", ""), TIME).await.unwrap();
        let keys: Vec<&str> = response.as_object().unwrap().keys().map(String::as_str).collect();
        let expected: &[&str] = match kind {
            Kind::Rest | Kind::RestBasePath => {
                &["body", "headers", "isBase64Encoded", "multiValueHeaders", "statusCode"]
            }
            _ => &["body", "cookies", "headers", "isBase64Encoded", "multiValueHeaders", "statusCode"],
        };
        assert_eq!(keys, expected, "{kind:?}");
    }
}

#[tokio::test]
async fn a_malformed_gateway_event_is_an_error_and_the_next_request_succeeds() {
    let api = RuntimeApi::start().await;
    let _process = Bootstrap::start(&api.authority(), &[TABLE]);
    let mut broken = request_event(Kind::Rest, "POST", "/register", "{}");
    broken["isBase64Encoded"] = json!("no");
    let error = api.invoke(broken, TIME).await.unwrap_err();
    assert!(error["errorMessage"].as_str().unwrap().contains("expected a boolean"), "{error}");
    let mut odd = request_event(Kind::Rest, "GET", "/openapi.json", "");
    // The source address of a test call from the AWS console, and fields that the function ignores.
    odd["requestContext"]["identity"]["sourceIp"] = json!("test-invoke-source-ip");
    odd["requestContext"]["authorizer"] = json!({"claims": null, "scopes": 3});
    odd["headers"] = json!({"x-é": "é\u{0}", "empty": null});
    assert_eq!(api.invoke(odd, TIME).await.unwrap()["statusCode"], 200);
}

#[tokio::test]
async fn a_panic_fails_only_one_event() {
    let api = RuntimeApi::start().await;
    let mut process = Bootstrap::start(&api.authority(), &[TABLE]);
    let mut broken = request_event(Kind::Rest, "POST", "/register", "{}");
    broken["body"] = json!("not base64");
    broken["isBase64Encoded"] = json!(true);
    for _ in 0..3 {
        // `lambda_http` panics on this body, which no gateway sends.
        let error = api.invoke(broken.clone(), TIME).await.unwrap_err();
        let message = error["errorMessage"].as_str().unwrap();
        assert!(message.contains("panicked") && message.contains("base64"), "{error}");
        let next = api.invoke(request_event(Kind::Rest, "GET", "/openapi.json", ""), TIME).await.unwrap();
        assert_eq!(next["statusCode"], 200);
    }
    assert!(process.0.try_wait().unwrap().is_none(), "the process must not have ended");
}

// Two threads, so that the stand-in for the Runtime API still serves requests while the test waits
// for the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_rejected_by_lambda_fails_one_event_and_a_failure_of_lambda_ends_the_process() {
    let api = RuntimeApi::start().await;
    let mut process = Bootstrap::start(&api.authority(), &[TABLE]);
    let send = || api.invoke(request_event(Kind::Http, "GET", "/openapi.json", ""), TIME);
    let mut broken = request_event(Kind::Http, "POST", "/register", "{}");
    broken["isBase64Encoded"] = json!("no");
    // The statuses with which Lambda refuses a response that is malformed, out of order, too late
    // or too large.
    for refusal in
        [StatusCode::BAD_REQUEST, StatusCode::FORBIDDEN, StatusCode::GONE, StatusCode::PAYLOAD_TOO_LARGE]
    {
        api.acknowledge_with(refusal);
        send().await.unwrap();
        api.invoke(broken.clone(), TIME).await.unwrap_err();
    }
    api.acknowledge_with(StatusCode::INTERNAL_SERVER_ERROR);
    send().await.unwrap();
    assert!(!process.0.wait().unwrap().success());
    let (_, log) = end_and_read_output(process);
    assert!(log.contains("413") && log.contains("500"), "{log}");
}

#[tokio::test]
async fn a_path_or_query_of_any_bytes_gets_a_response() {
    let api = RuntimeApi::start().await;
    let _process = Bootstrap::start(&api.authority(), &[TABLE]);
    for raw in ["/é x?y#z", "//", "", "?", "/%", "/\u{0}", "http://[", &"/a".repeat(40_000)] {
        let mut v2 = request_event(Kind::FunctionUrl, "GET", "/", "");
        v2["rawPath"] = json!(raw);
        v2["rawQueryString"] = json!("a=é b#&%\u{7f}");
        let mut v1 = request_event(Kind::Rest, "GET", "/", "");
        v1["resource"] = json!("/{proxy+}");
        v1["pathParameters"] = json!({"proxy": raw});
        v1["multiValueQueryStringParameters"] = json!({"a&b": ["=#é", null], "c": null});
        for event in [v1, v2] {
            assert_eq!(api.invoke(event, TIME).await.unwrap()["statusCode"], 404, "{raw:.20}");
        }
    }
}

#[tokio::test]
async fn an_unresponsive_store_leads_to_503_within_the_time_of_the_invocation() {
    // The kernel accepts connections to this listener, but no program responds on them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let api = RuntimeApi::start().await;
    let process = Bootstrap::start(&api.authority(), &[TABLE, ("AURORA_DYNAMODB_ENDPOINT", &endpoint)]);
    api.ready().await;
    // A unit test in `handler.rs` checks the exact time. Here the response need only come before
    // the store's own timeout. The request is repeated if it does not, because the machine may
    // pause.
    let mut requests = 0;
    for time in [Duration::from_millis(700), Duration::from_secs(2)] {
        loop {
            let started = Instant::now();
            let heartbeat = request_event(Kind::Rest, "POST", "/heartbeat", r#"{"peer_id":"a"}"#);
            let response = api.invoke(heartbeat, time).await.unwrap();
            requests += 1;
            assert_eq!(
                (response["statusCode"].as_u64(), &body(&response)["code"]),
                (Some(503), &json!("unavailable"))
            );
            assert!(header(&response, "retry-after").unwrap().parse::<u32>().unwrap() >= 1);
            if started.elapsed() < STORE_DEADLINE {
                break;
            }
            assert!(requests < 10, "the function never responds in time");
        }
    }
    let (_, log) = end_and_read_output(process);
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), requests, "one line for each request: {log}");
    assert!(lines.iter().all(|line| line["status"] == 503 && line["route"] == "/heartbeat"), "{log}");
}

/// The line of counts that a process with these settings writes after a hundred requests, thirty of
/// which are refused.
async fn line_after_a_hundred_requests(settings: &[(&str, &str)]) -> Value {
    let api = RuntimeApi::start().await;
    let process = Bootstrap::start(&api.authority(), settings);
    for n in 0..100 {
        let path = if n < 30 { "/nowhere" } else { "/openapi.json" };
        api.invoke(request_event(Kind::Http, "GET", path, ""), TIME).await.unwrap();
    }
    // The line is written before the response, because Lambda may freeze the process afterwards.
    let (output, log) = end_and_read_output(process);
    assert_eq!(log, "");
    serde_json::from_str(&output).expect("one line of JSON")
}

#[tokio::test]
async fn a_hundred_requests_write_one_line_of_counts_without_metrics_by_default() {
    let line = line_after_a_hundred_requests(&[TABLE]).await;
    assert!(line.get("_aws").is_none(), "each metric costs as much as the logs of a small network: {line}");
    assert_eq!((&line["FunctionName"], &line["Refusals"]), (&json!("aurora-discovery-test"), &json!(30)));
    assert_eq!((&line["Requests"], &line["Failures"]), (&json!(100), &json!(0)));
}

#[tokio::test]
async fn counts_become_cloudwatch_metrics_if_enabled() {
    let line = line_after_a_hundred_requests(&[TABLE, ("AURORA_CUSTOM_METRICS", "true")]).await;
    let metrics = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(metrics["Dimensions"], json!([["FunctionName"]]));
    let named = metrics["Metrics"].as_array().unwrap();
    assert_eq!(named.len(), 4);
    for metric in named {
        assert!(line[metric["Name"].as_str().unwrap()].is_u64(), "{metric} has no value");
    }
    assert!(line["_aws"]["Timestamp"].as_u64().unwrap() > 1_700_000_000_000);
}
