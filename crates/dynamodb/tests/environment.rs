//! Tests that the Region, the credentials, the endpoint and the proxy come from the same sources as
//! for AWS's own tools.
//!
//! Each case runs in a separate process with its own environment. A local server records the
//! requests of these processes. It acts as their HTTP proxy, and responds to the requests to AWS
//! itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/server.rs"]
mod server;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_dynamodb::{DynamoOptions, connect};
use http::header::AUTHORIZATION;
use http::{Method, Request};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::process::Command;

use server::serve;

/// The timeout of one attempt. The response with the container's credentials takes longer, namely
/// `SLOW`.
const ATTEMPT: Duration = Duration::from_millis(400);
const SLOW: Duration = Duration::from_millis(900);

/// A local server that acts as the proxy, and responds like AWS.
struct Aws {
    address: SocketAddr,
    /// Method, URI and access key of each request.
    requests: Arc<Mutex<Vec<String>>>,
}

impl Aws {
    async fn start() -> Self {
        let requests = Arc::new(Mutex::default());
        let recorded = Arc::clone(&requests);
        let address = serve(move |request| respond(request, Arc::clone(&recorded))).await;
        Self { address, requests }
    }

    /// The requests of a process that calls DynamoDB once with these environment variables. An
    /// attempt that a busy machine delays beyond its timeout is repeated, so repeated requests count
    /// once.
    async fn requests_with(&self, variables: &[(&str, &str)]) -> Vec<String> {
        let home = tempfile::tempdir().unwrap();
        let proxy = format!("http://{}", self.address);
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "caller", "--ignored", "--nocapture"])
            .env_clear()
            .env("HOME", home.path())
            .envs([("AWS_EC2_METADATA_DISABLED", "true"), ("HTTP_PROXY", &proxy), ("HTTPS_PROXY", &proxy)])
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .status();
        assert!(status.await.unwrap().success());
        let mut requests = std::mem::take(&mut *self.requests.lock());
        requests.dedup();
        requests
    }
}

async fn respond(request: Request<Incoming>, recorded: Arc<Mutex<Vec<String>>>) -> (u16, String) {
    let authorization = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    let signed = authorization.and_then(|text| text.split(['=', ',']).nth(1)).unwrap_or("anonymous");
    recorded.lock().push(format!("{} {} by {signed}", request.method(), request.uri()));
    let keys = r#""SecretAccessKey":"s","Token":"t","Expiration":"2099-01-01T00:00:00Z""#;
    match (request.method(), request.uri().path()) {
        // A request for a tunnel is refused. The tests only check the destination that was
        // recorded.
        (&Method::CONNECT, _) => (403, String::new()),
        (&Method::GET, "/credentials") => {
            tokio::time::sleep(SLOW).await;
            (200, format!(r#"{{"AccessKeyId":"CONTAINER",{keys}}}"#))
        }
        _ if request.uri().host() == Some("sts.example") => {
            let action = if signed == "anonymous" { "AssumeRoleWithWebIdentity" } else { "AssumeRole" };
            (200, ASSUMED_ROLE.replace("ACTION", action))
        }
        _ => (400, r#"{"__type":"x#ResourceNotFoundException","message":"none"}"#.to_owned()),
    }
}

const ASSUMED_ROLE: &str = "<ACTIONResponse><ACTIONResult><Credentials>\
    <AccessKeyId>ROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
    <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></ACTIONResult></ACTIONResponse>";

/// This is not a test. The other tests start it as the process that calls DynamoDB.
#[tokio::test]
#[ignore = "started by the other tests"]
async fn caller() {
    let mut options = DynamoOptions::new("t");
    options.attempt_timeout = ATTEMPT;
    let client = connect(&options).await.expect("a client");
    let called = client.describe_table().table_name("t").send();
    let _ = tokio::time::timeout(Duration::from_secs(120), called).await.expect("the call ends");
}

/// Writes an AWS configuration file.
fn profile(folder: &Path, text: &str) -> String {
    let file = folder.join("config");
    fs::write(&file, text).unwrap();
    file.to_string_lossy().into_owned()
}

const ENDPOINT: (&str, &str) = ("AWS_ENDPOINT_URL_DYNAMODB", "http://table.example");
const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "ENVIRONMENT"), ("AWS_SECRET_ACCESS_KEY", "s")];

#[tokio::test]
async fn the_region_and_a_credential_process_are_read_from_a_profile() {
    let (aws, folder) = (Aws::start().await, tempfile::tempdir().unwrap());
    let printed = r#"{"Version": 1, "AccessKeyId": "PROCESS", "SecretAccessKey": "s"}"#;
    let config = format!("[default]\nregion = eu-west-3\ncredential_process = /bin/echo '{printed}'\n");
    let config = profile(folder.path(), &config);
    let requests = aws.requests_with(&[ENDPOINT, ("AWS_CONFIG_FILE", &config)]).await;
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert!(requests[0].starts_with("POST http://table.example/ by PROCESS/"), "{requests:?}");
    assert!(requests[0].ends_with("/eu-west-3/dynamodb/aws4_request"), "{requests:?}");
}

#[tokio::test]
async fn a_loopback_endpoint_is_called_without_the_proxy() {
    let aws = Aws::start().await;
    for host in ["127.0.0.1", "localhost"] {
        let endpoint = format!("http://{host}:{}", aws.address.port());
        let requests = aws.requests_with(&[("AWS_ENDPOINT_URL_DYNAMODB", &endpoint)]).await;
        // The recorded URI is only a path, so the request did not go through a proxy. A request to
        // a proxy would have the whole URL.
        assert!(requests.len() == 1 && requests[0].starts_with("POST / by local/"), "{requests:?}");
    }
}

#[tokio::test]
async fn a_role_is_assumed_with_a_profiles_keys_and_with_a_web_identity() {
    let (aws, folder) = (Aws::start().await, tempfile::tempdir().unwrap());
    let config = "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = base\n\
                  [profile base]\naws_access_key_id = BASE\naws_secret_access_key = s\n";
    let config = profile(folder.path(), config);
    let token = folder.path().join("token");
    fs::write(&token, "a web identity").unwrap();
    let token = token.to_string_lossy();
    let by_profile = [("AWS_CONFIG_FILE", config.as_str())];
    let by_web_identity = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_ref()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r"),
    ];
    for (variables, assumed_by) in [(&by_profile[..], "BASE/"), (&by_web_identity[..], "anonymous")] {
        let common = [ENDPOINT, ("AWS_ENDPOINT_URL_STS", "http://sts.example"), ("AWS_REGION", "eu-west-3")];
        let requests = aws.requests_with(&[&common[..], variables].concat()).await;
        assert!(
            requests[0].starts_with(&format!("POST http://sts.example/ by {assumed_by}")),
            "{requests:?}"
        );
        assert!(requests[1].starts_with("POST http://table.example/ by ROLE/"), "{requests:?}");
    }
}

#[tokio::test]
async fn container_credentials_may_take_longer_than_the_timeout_of_an_attempt() {
    let aws = Aws::start().await;
    let source = format!("http://{}/credentials", aws.address);
    let requests = aws
        .requests_with(&[
            ENDPOINT,
            ("AWS_REGION", "eu-west-3"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &source),
            ("NO_PROXY", "127.0.0.1"),
        ])
        .await;
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert!(requests[0].starts_with("GET /credentials "), "without the proxy: {requests:?}");
    assert!(requests[1].starts_with("POST http://table.example/ by CONTAINER/"), "{requests:?}");
}

#[tokio::test]
async fn fips_and_dual_stack_variables_select_the_endpoint_that_is_called_through_the_proxy() {
    let aws = Aws::start().await;
    for (variables, host) in [
        (&[][..], "dynamodb.us-east-1.amazonaws.com"),
        (&[("AWS_USE_FIPS_ENDPOINT", "true")], "dynamodb-fips.us-east-1.amazonaws.com"),
        (&[("AWS_USE_DUALSTACK_ENDPOINT", "true")], "dynamodb.us-east-1.api.aws"),
    ] {
        let region = [("AWS_REGION", "us-east-1")];
        let requests = aws.requests_with(&[&KEYS[..], &region, variables].concat()).await;
        assert_eq!(requests[0], format!("CONNECT {host}:443 by anonymous"));
    }
}
