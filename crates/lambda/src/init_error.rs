//! Reports to Lambda why the process cannot start.
//!
//! `lambda_runtime` reports only failures that occur while it runs. This program reports earlier
//! ones itself, with `lambda_runtime_api_client`, the HTTP client that `lambda_runtime` uses.

use std::fmt::Display;
use std::time::Duration;

use lambda_runtime::{Diagnostic, Error};
use lambda_runtime_api_client::body::Body;
use lambda_runtime_api_client::{PooledClient, build_request};
use tokio::time::timeout;

const PATH: &str = "/2018-06-01/runtime/init/error";
const ERROR_TYPE: &str = "Runtime.InitError";
/// How long Lambda's endpoint, on the same machine, may take to accept the report.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// Reports `error`. If the report fails, Lambda still sees the exit code of the process.
pub(crate) async fn report(error: &impl Display) {
    let diagnostic = Diagnostic { error_type: ERROR_TYPE.to_owned(), error_message: error.to_string() };
    let sent = timeout(REPORT_TIMEOUT, send(&diagnostic)).await;
    if let Err(error) = sent.unwrap_or_else(|elapsed| Err(elapsed.into())) {
        tracing::warn!(cause = %error, "could not report the start-up error to Lambda");
    }
}

async fn send(diagnostic: &Diagnostic) -> Result<(), Error> {
    let request = build_request()
        .method("POST")
        .uri(PATH)
        .header("lambda-runtime-function-error-type", ERROR_TYPE)
        .body(Body::from(serde_json::to_vec(diagnostic)?))?;
    PooledClient::builder().build().call(request).await?;
    Ok(())
}
