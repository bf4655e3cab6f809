//! In whose name calls are made.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::error::CallError;
#[cfg(feature = "credential-chain")]
use chain::Chain;
#[cfg(feature = "credential-chain")]
pub(super) use chain::chain;

#[cfg(feature = "credential-chain")]
mod chain;

/// What calls are signed with.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
    /// When they are good no more, if ever.
    pub(super) expires_at: Option<SystemTime>,
}

impl Keys {
    /// What a loopback endpoint does not check.
    pub(super) fn for_nobody() -> Self {
        Self { id: "local".to_owned(), secret: "local".to_owned(), token: None, expires_at: None }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Keys").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Where keys come from.
#[derive(Debug)]
pub(super) enum Credentials {
    /// The same ones as long as the process lives.
    Fixed(Arc<Keys>),
    /// Ones that expire and are asked for anew.
    #[cfg(feature = "credential-chain")]
    Chain(Chain),
}

impl Credentials {
    /// What the environment's variables hold, as on Lambda.
    pub(super) fn of_variables(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let (id, secret) = (variable("AWS_ACCESS_KEY_ID")?, variable("AWS_SECRET_ACCESS_KEY")?);
        let token = variable("AWS_SESSION_TOKEN");
        Some(Self::Fixed(Arc::new(Keys { id, secret, token, expires_at: None })))
    }

    /// What a loopback endpoint does not check.
    pub(super) fn for_nobody() -> Self {
        Self::Fixed(Arc::new(Keys::for_nobody()))
    }

    /// The keys for a call that is made now.
    pub(super) async fn now(&self) -> Result<Arc<Keys>, CallError> {
        match self {
            Self::Fixed(keys) => Ok(Arc::clone(keys)),
            #[cfg(feature = "credential-chain")]
            Self::Chain(chain) => chain.now().await,
        }
    }

    /// These keys were refused: their source is to be asked for others, where it can be.
    pub(super) fn refused(&self, keys: &Keys) {
        match self {
            Self::Fixed(_) => tracing::debug!(?keys, "the keys of the environment were refused"),
            #[cfg(feature = "credential-chain")]
            Self::Chain(chain) => chain.refused(keys),
        }
    }
}

#[cfg(not(feature = "credential-chain"))]
impl Credentials {
    pub(super) fn missing() -> super::error::ConnectError {
        let both = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set";
        super::error::ConnectError(both.to_owned())
    }
}
