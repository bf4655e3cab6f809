//! Calls of DynamoDB: signed, sent, and tried again while that may help.
//!
//! The store calls eight actions in JSON, so that this is all of a client that it needs. AWS's own SDK took two thirds of a
//! heartbeat's processor time (decision 9); its ways to find credentials are used still.

mod credentials;
mod error;
mod retry;
mod sign;
mod target;
mod transport;

use std::fmt;
use std::sync::Arc;
#[cfg(feature = "stand-in")]
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use aurora_exchange::{Answer, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::options::DynamoOptions;
use credentials::{Credentials, Keys};
pub use error::{CallError, ConnectError, Refusal};
use retry::Retries;
use sign::{Signable, Signature, Signer};
use target::Target;
use transport::Transport;

/// The version of DynamoDB's interface, in front of an action's name.
const INTERFACE: &str = "DynamoDB_20120810";
const CONTENT_TYPE: &str = "application/x-amz-json-1.0";
const USER_AGENT: &str = concat!("aurora-discovery/", env!("CARGO_PKG_VERSION"));

/// What makes calls of one endpoint of DynamoDB, over connections that are kept. Clones share them.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    /// The endpoint's host and port.
    host: String,
    signer: Signer,
    credentials: Credentials,
    transport: Transport,
    attempt_timeout: Duration,
    retries: Retries,
    #[cfg(feature = "stand-in")]
    observer: OnceLock<Observer>,
}

/// Sees each call's action and body.
#[cfg(feature = "stand-in")]
type Observer = Box<dyn Fn(&str, &[u8]) + Send + Sync>;

/// A client of the endpoint that `options` name, or of AWS's own in the Region.
///
/// Region and credentials come from the environment or, with the feature `credential-chain`, from wherever AWS's own tools find
/// them (profile, container, machine). At a loopback endpoint, where nobody checks them, neither need be set.
///
/// # Errors
/// [`ConnectError`] says what is missing or malformed. Nothing is called yet.
pub async fn connect(options: &DynamoOptions) -> Result<Client, ConnectError> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let Target { endpoint, region, credentials } = target::find(options, variable).await?;
    let host = endpoint.authority().map(ToString::to_string).unwrap_or_default();
    let transport = Transport::to(&endpoint)?;
    Ok(Client(Arc::new(Inner {
        host,
        signer: Signer::new(region),
        credentials,
        transport,
        attempt_timeout: options.attempt_timeout,
        retries: Retries::default(),
        #[cfg(feature = "stand-in")]
        observer: OnceLock::new(),
    })))
}

impl Client {
    /// Calls an action by its name, such as `GetItem`, with what it asks for, and reads its answer; both as DynamoDB's reference
    /// has them in JSON.
    ///
    /// What may pass by itself (throttling, 5xx, time-outs, broken connections, unreadable answers) is tried again, so that a write
    /// may be carried out twice.
    ///
    /// # Errors
    /// [`CallError`] once nothing more is tried.
    pub async fn call<T: DeserializeOwned>(
        &self,
        action: &str,
        asked: &(impl Serialize + Sync),
    ) -> Result<T, CallError> {
        let body = serde_json::to_vec(asked).map_err(|error| CallError::Unmade(error.to_string()))?;
        let attempt = async || {
            // Boxed: whatever awaits a call holds its future, and copies it when it moves.
            let answer = Box::pin(self.attempt(action, &body)).await?;
            serde_json::from_slice(&answer).map_err(|error| CallError::Garbled(error.to_string()))
        };
        self.0.retries.run(attempt).await
    }

    /// Shows everything that is called from now on to `observer`; the first one stays.
    #[cfg(feature = "stand-in")]
    pub fn observe(&self, observer: impl Fn(&str, &[u8]) + Send + Sync + 'static) {
        let _ = self.0.observer.set(Box::new(observer));
    }

    /// One attempt, within its time. New keys may take longer than that: the verb's deadline bounds them.
    async fn attempt(&self, action: &str, body: &[u8]) -> Result<Vec<u8>, CallError> {
        let keys = self.0.credentials.now().await?;
        let exchange = self.exchange(action, body, &keys);
        let ended = tokio::time::timeout(self.0.attempt_timeout, exchange).await;
        let ended = ended.unwrap_or(Err(CallError::TimedOut));
        if ended.as_ref().is_err_and(CallError::is_about_keys) {
            self.0.credentials.refused(&keys);
        }
        ended
    }

    async fn exchange(&self, action: &str, body: &[u8], keys: &Keys) -> Result<Vec<u8>, CallError> {
        let inner = &*self.0;
        #[cfg(feature = "stand-in")]
        if let Some(observe) = inner.observer.get() {
            observe(action, body);
        }
        let target = format!("{INTERFACE}.{action}");
        let signable = Signable { host: &inner.host, content_type: CONTENT_TYPE, target: &target, body };
        let Signature { date, authorization } = inner.signer.sign(&signable, keys, SystemTime::now());
        let headers = [
            ("host", inner.host.as_str()),
            ("content-type", CONTENT_TYPE),
            ("user-agent", USER_AGENT),
            ("x-amz-target", &target),
            ("x-amz-date", &date),
            ("authorization", &authorization),
            ("x-amz-security-token", keys.token.as_deref().unwrap_or_default()),
        ];
        let sent = headers.len() - usize::from(keys.token.is_none());
        let request = Request::post("/", &headers[..sent], body);
        let request = request.map_err(|error| CallError::Unmade(error.to_string()))?;
        let Answer { status, body: answer, .. } = inner.transport.send(&request).await?;
        if (200..300).contains(&status) {
            Ok(answer)
        } else {
            Err(CallError::Refused(Refusal::read(status, &answer)))
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("transport", &self.0.transport).finish_non_exhaustive()
    }
}
