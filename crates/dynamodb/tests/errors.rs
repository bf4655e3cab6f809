//! Tests the errors that a caller of the store gets if DynamoDB refuses a call or fails, and the
//! number of attempts that the client makes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/server.rs"]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aurora_discovery_dynamodb::{DynamoOptions, DynamoStore, connect};
use aurora_discovery_registry::{Limits, Store as _, StoreError};

use server::serve;

/// The number of attempts per call.
const MAX_ATTEMPTS: u32 = 8;

fn refusal(code: &str, message: &str) -> String {
    format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"{message}"}}"#)
}

fn unavailable(kind: &str, retry_after_seconds: u32) -> StoreError {
    StoreError::Unavailable { reason: format!("DynamoDB GetItem failed: {kind}"), retry_after_seconds }
}

/// Makes a health check, which reads one item, while a server responds to each call with this
/// status and body. Returns the error and the number of attempts.
async fn health(status: u16, body: String) -> (StoreError, u32) {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let address = serve(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        let body = body.clone();
        async move { (status, body) }
    })
    .await;
    let error = health_at(&format!("http://{address}"), Duration::from_secs(20)).await;
    (error, calls.load(Ordering::Relaxed))
}

async fn health_at(endpoint: &str, attempt_timeout: Duration) -> StoreError {
    let mut options = DynamoOptions::new("t");
    options.endpoint = Some(endpoint.to_owned());
    options.attempt_timeout = attempt_timeout;
    options.deadline = Duration::from_secs(60);
    let client = connect(&options).await.unwrap();
    DynamoStore::new(client, options, &Limits::default()).health().await.unwrap_err()
}

#[tokio::test]
async fn errors_that_an_operator_must_fix_are_unavailable_for_longer_and_not_retried() {
    for code in [
        "ResourceNotFoundException",
        "AccessDeniedException",
        "UnrecognizedClientException",
        "ExpiredTokenException",
    ] {
        let refused = health(400, refusal(code, "arn:aws:iam::123456789012:role/secret")).await;
        assert_eq!(refused, (unavailable(code, 30), 1));
    }
}

#[tokio::test]
async fn transient_errors_are_retried_and_then_unavailable_for_a_second() {
    for (status, code) in [
        (400, "ProvisionedThroughputExceededException"),
        (400, "ThrottlingException"),
        (500, "InternalServerError"),
        (503, "ServiceUnavailable"),
    ] {
        assert_eq!(health(status, refusal(code, "x")).await, (unavailable(code, 1), MAX_ATTEMPTS));
    }
    for status in [408, 429, 501] {
        assert_eq!(
            health(status, "<html>".to_owned()).await,
            (unavailable("an unknown error", 1), MAX_ATTEMPTS)
        );
    }
}

#[tokio::test]
async fn a_response_that_cannot_be_parsed_is_retried() {
    for body in ["<html>", r#"{"Item":7}"#] {
        let malformed = health(200, body.to_owned()).await;
        assert_eq!(malformed, (unavailable("a malformed response", 1), MAX_ATTEMPTS), "{body:?}");
    }
}

#[tokio::test]
async fn a_request_with_an_outdated_signature_is_signed_again() {
    let late =
        refusal("InvalidSignatureException", "Signature expired: 20261126T120000Z is now earlier than");
    assert_eq!(health(400, late).await, (unavailable("InvalidSignatureException", 30), MAX_ATTEMPTS));
    let wrong = refusal("InvalidSignatureException", "The request signature we calculated does not match");
    assert_eq!(health(400, wrong).await, (unavailable("InvalidSignatureException", 30), 1));
}

#[tokio::test]
async fn an_unexpected_error_is_internal_and_not_retried() {
    let (error, attempts) = health(400, refusal("ValidationException", "x")).await;
    assert_eq!(error, StoreError::Internal("DynamoDB GetItem failed: ValidationException".to_owned()));
    assert_eq!(attempts, 1);
}

#[tokio::test]
async fn timeouts_and_refused_connections_have_their_own_reasons() {
    let silent = serve(|_| std::future::pending()).await;
    let error = health_at(&format!("http://{silent}"), Duration::from_millis(50)).await;
    assert_eq!(error, unavailable("no response in time", 1));
    // The system never assigns this port, so nothing listens on it.
    let error = health_at("http://127.0.0.1:1", Duration::from_secs(20)).await;
    assert_eq!(error, unavailable("no connection", 1));
}
