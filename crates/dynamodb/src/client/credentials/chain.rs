//! Credentials from wherever AWS's own tools find them: profile, web identity, container, machine.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Credentials, Keys};
use crate::client::error::{CallError, ConnectError, with_causes};

/// How long before they expire keys are asked for anew, so that a source that fails for minutes is no outage.
const AHEAD: Duration = Duration::from_secs(300);
/// How long keys that are still valid serve before their source, which did not give new ones, is asked again.
const PAUSE: Duration = Duration::from_secs(10);

/// What AWS's tools know of the surroundings.
pub(in crate::client) async fn chain(region: Option<String>) -> SdkConfig {
    let http = Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    }
    loader.load().await
}

/// Keys, and the source that gives new ones.
#[derive(Debug)]
pub(in crate::client) struct Chain {
    source: SharedCredentialsProvider,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    keys: Arc<Keys>,
    /// When the source may be asked again although the keys are still valid.
    ask_again: Instant,
}

impl Credentials {
    pub(in crate::client) fn from_chain(found: &SdkConfig) -> Result<Self, ConnectError> {
        let source = found.credentials_provider().ok_or_else(|| {
            ConnectError(
                "no credentials are configured: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned(),
            )
        })?;
        Ok(Self::Chain(Chain { source, held: Mutex::default() }))
    }
}

impl Chain {
    pub(super) async fn now(&self) -> Result<Arc<Keys>, CallError> {
        if let Some(keys) = self.held_now() {
            return Ok(keys);
        }
        match self.source.provide_credentials().await {
            Ok(given) => {
                let keys = Arc::new(Keys {
                    id: given.access_key_id().to_owned(),
                    secret: given.secret_access_key().to_owned(),
                    token: given.session_token().map(str::to_owned),
                    expires_at: given.expiry(),
                });
                *self.held.lock() = Some(Held { keys: Arc::clone(&keys), ask_again: Instant::now() + PAUSE });
                Ok(keys)
            }
            Err(error) => {
                let why = with_causes(&error);
                tracing::warn!(why, "the source of AWS credentials gave none");
                self.held_now().ok_or_else(|| CallError::Unmade(format!("no credentials: {why}")))
            }
        }
    }

    /// The keys that need no asking. Of those that expire soon one caller asks for new ones, and the others use them meanwhile.
    fn held_now(&self) -> Option<Arc<Keys>> {
        let mut held = self.held.lock();
        let held = held.as_mut()?;
        let now = SystemTime::now();
        if lasts_beyond(&held.keys, now + AHEAD) {
            return Some(Arc::clone(&held.keys));
        }
        if !lasts_beyond(&held.keys, now) || held.ask_again <= Instant::now() {
            held.ask_again = Instant::now() + PAUSE;
            return None;
        }
        Some(Arc::clone(&held.keys))
    }
}

fn lasts_beyond(keys: &Keys, time: SystemTime) -> bool {
    keys.expires_at.is_none_or(|end| end > time)
}
