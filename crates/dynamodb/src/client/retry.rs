//! Retries: the SDK's standard strategy, for a few more kinds of responses than the SDK retries.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::config::interceptors::{BeforeTransmitInterceptorContextRef, InterceptorContext};
use aws_sdk_dynamodb::config::retry::{ClassifyRetry, RetryAction, RetryConfig};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use serde::Deserialize;

/// Maximum number of attempts per call, including the first one. If attempts time out, the deadline
/// of the operation usually ends the call earlier.
const MAX_ATTEMPTS: u32 = 8;
/// The maximum pause before the second attempt. The maximum doubles with each further attempt, up
/// to `MAX_BACKOFF`.
const FIRST_BACKOFF: Duration = Duration::from_millis(25);
/// The limit of this doubling. With it, several attempts fit into a deadline of a few seconds.
const MAX_BACKOFF: Duration = Duration::from_millis(800);

/// How DynamoDB's error messages start for a signature that is too old or too new. A signature is
/// too old, for example, if the process was suspended between signing and sending.
const SIGNATURE_TIME_ERRORS: [&str; 2] = ["Signature expired", "Signature not yet current"];

/// The message of an error response. Only the message is searched, and not the whole body: the
/// response to a failed condition contains the stored item, and text that a peer wrote must not
/// decide whether a call is retried.
#[derive(Deserialize)]
struct ErrorMessage<'a> {
    #[serde(borrow, alias = "Message")]
    message: Cow<'a, str>,
}

/// The SDK's standard strategy: pauses with full jitter, and a token bucket that all clients of a
/// Region share. When the bucket is empty, calls are not retried, so that retries do not multiply
/// the load on a service that is down.
pub(super) fn config() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(MAX_ATTEMPTS)
        .with_initial_backoff(FIRST_BACKOFF)
        .with_max_backoff(MAX_BACKOFF)
}

/// Retries error responses that the SDK's own classifiers do not retry.
#[derive(Debug)]
pub(super) struct TransientResponse;

impl ClassifyRetry for TransientResponse {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let failed = matches!(context.output_or_error(), Some(Err(_)));
        if failed && context.response().is_some_and(is_transient_response) {
            RetryAction::transient_error()
        } else {
            RetryAction::NoActionIndicated
        }
    }

    fn name(&self) -> &'static str {
        "Transient DynamoDB response"
    }
}

/// An interceptor that counts the attempts of one call. A deletion needs the count: if a later
/// attempt finds no item, an earlier one may have deleted it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempts(Arc<AtomicU32>);

impl Attempts {
    pub(crate) fn were_several(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 1
    }
}

impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "Attempts"
    }

    fn read_before_attempt(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Whether the response to a failed call indicates that the same call may succeed a moment later.
pub(crate) fn is_transient_response(response: &HttpResponse) -> bool {
    let body = response.body().bytes().unwrap_or_default();
    match response.status().as_u16() {
        // The call succeeded, but the body of the response cannot be parsed.
        200..300 => true,
        // A proxy between this process and DynamoDB may respond with 408 or 429.
        408 | 429 | 500.. => true,
        _ => serde_json::from_slice(body).is_ok_and(|error: ErrorMessage<'_>| {
            SIGNATURE_TIME_ERRORS.iter().any(|start| error.message.starts_with(start))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_errors_proxy_errors_and_outdated_signatures_are_transient() {
        let is_transient = |status: u16, body: &'static str| {
            is_transient_response(&HttpResponse::new(status.try_into().unwrap(), body.into()))
        };
        for (status, expected) in
            [(200, true), (400, false), (403, false), (408, true), (429, true), (500, true), (505, true)]
        {
            assert_eq!(is_transient(status, "{}"), expected, "{status}");
        }
        assert!(is_transient(400, r#"{"message":"Signature expired: 20261126T1 is now earlier than"}"#));
        assert!(!is_transient(400, r#"{"message":"The request signature we calculated"}"#));
        let stored =
            r#"{"message":"The conditional request failed","Item":{"reg":{"S":"Signature expired"}}}"#;
        assert!(!is_transient(400, stored), "text that a peer wrote must not count");
    }
}
