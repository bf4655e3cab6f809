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
/// How long keys serve before their source, which did not give better ones, is asked again.
const PAUSE: Duration = Duration::from_secs(10);
/// How long keys serve that do not say when they end: whoever changes those of a profile need not start the service anew.
const WITHOUT_AN_END: Duration = Duration::from_secs(15 * 60);

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
                    expires_at: given.expiry().or_else(|| SystemTime::now().checked_add(WITHOUT_AN_END)),
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

    /// Forgets keys that were refused, unless they have only just been given.
    pub(super) fn refused(&self, keys: &Keys) {
        let mut held = self.held.lock();
        if held.as_ref().is_some_and(|held| *held.keys == *keys && held.ask_again <= Instant::now()) {
            *held = None;
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use aws_credential_types::Credentials as Given;
    use aws_credential_types::provider::error::CredentialsError;
    use aws_credential_types::provider::{ProvideCredentials, future};

    use super::*;

    /// Gives keys that last for so many seconds, one after the other, or fails.
    #[derive(Clone, Debug)]
    struct Source(Arc<Mutex<VecDeque<Option<u64>>>>);

    impl ProvideCredentials for Source {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let mut answers = self.0.lock();
            let id = answers.len().to_string();
            future::ProvideCredentials::ready(match answers.pop_front().expect("an answer is left") {
                Some(seconds) => {
                    let expiry = SystemTime::now() + Duration::from_secs(seconds);
                    Ok(Given::new(id, "secret", Some("token".to_owned()), Some(expiry), "test"))
                }
                None => Err(CredentialsError::provider_error("the source is down")),
            })
        }
    }

    /// A chain whose source has these answers, and the source. Keys are named by how many answers were left.
    fn chain_of(answers: &[Option<u64>]) -> (Chain, Source) {
        let source = Source(Arc::new(Mutex::new(answers.iter().copied().collect())));
        (Chain { source: SharedCredentialsProvider::new(source.clone()), held: Mutex::default() }, source)
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_last_are_asked_for_once() {
        let (chain, source) = chain_of(&[Some(3_600)]);
        for _ in 0..3 {
            let keys = chain.now().await.unwrap();
            assert_eq!((keys.id.as_str(), keys.token.as_deref()), ("1", Some("token")));
        }
        assert!(source.0.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_end_soon_serve_while_their_source_fails_and_it_is_asked_again_after_a_pause() {
        let (chain, source) = chain_of(&[Some(100), None, Some(3_600)]);
        assert_eq!(chain.now().await.unwrap().id, "3");
        for (left, id) in [(2, "3"), (1, "3"), (0, "1")] {
            for _ in 0..3 {
                assert_eq!(chain.now().await.unwrap().id, id);
            }
            assert_eq!(source.0.lock().len(), left);
            tokio::time::advance(PAUSE).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_were_refused_are_asked_for_anew_but_not_at_once() {
        let (chain, source) = chain_of(&[Some(3_600), Some(3_600)]);
        let keys = chain.now().await.unwrap();
        chain.refused(&keys);
        assert_eq!(chain.now().await.unwrap().id, "2", "new ones were only just given");
        tokio::time::advance(PAUSE).await;
        chain.refused(&Keys::for_nobody());
        assert_eq!(chain.now().await.unwrap().id, "2", "others were refused");
        chain.refused(&keys);
        assert_eq!(chain.now().await.unwrap().id, "1");
        assert!(source.0.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn without_valid_keys_the_source_is_asked_each_time_and_its_failure_told() {
        let (chain, source) = chain_of(&[None, Some(0), None, Some(3_600)]);
        let error = chain.now().await.unwrap_err();
        assert!(matches!(&error, CallError::Unmade(why) if why.contains("the source is down")), "{error}");
        assert_eq!(chain.now().await.unwrap().id, "3");
        assert!(chain.now().await.is_err(), "keys that have ended are not used");
        assert_eq!(chain.now().await.unwrap().id, "1");
        assert!(source.0.lock().is_empty());
    }
}
