//! The options of a lease keeper.

use std::path::PathBuf;

use aurora_discovery_protocol::SecretKey;

use crate::{Error, Signer, TokenFile};

/// The options of a lease keeper, for [`LeaseKeeper::start_with`](crate::LeaseKeeper::start_with).
///
/// ```
/// use aurora_discovery_client::KeeperOptions;
///
/// let options = KeeperOptions::new().token_file("/var/lib/alice/lease.token");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct KeeperOptions {
    pub(super) token_file: Option<TokenFile>,
    pub(super) replace: bool,
    pub(super) key: Option<SecretKey>,
    pub(super) replaces_key: Option<SecretKey>,
    pub(super) audience: Option<String>,
}

impl KeeperOptions {
    /// The options of [`LeaseKeeper::start`](crate::LeaseKeeper::start): no token file, and a live
    /// registration from the same address is replaced.
    pub fn new() -> Self {
        Self { token_file: None, replace: true, key: None, replaces_key: None, audience: None }
    }

    /// Keeps the lease token in this file, which is created if it does not exist. With the token, a
    /// restarted peer can prove from any address that it is the holder.
    ///
    /// Once the token is on disk, the registration becomes token-only: without the token, no client
    /// can replace, renew or deregister it, not even from the same address. This holds while its
    /// lease runs and for three lease durations after its end. A signed registration
    /// ([`KeeperOptions::key`]) needs no such step, because only the key can replace it, and only
    /// the token can renew or deregister it.
    pub fn token_file(self, path: impl Into<PathBuf>) -> Self {
        Self { token_file: Some(TokenFile::new(path)), ..self }
    }

    /// Signs the registration with this key, which locks the name to the key: while the name is
    /// locked, no client without the key can register it, and a restarted peer needs no token. See
    /// [`KeyFile`](crate::KeyFile).
    pub fn key(self, key: SecretKey) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Names the old key, to which the name is still locked, if [`KeeperOptions::key`] is a new
    /// one.
    pub fn replaces_key(self, old: SecretKey) -> Self {
        Self { replaces_key: Some(old), ..self }
    }

    /// Names the only service that may accept the signed registrations.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        Self { audience: Some(audience.into()), ..self }
    }

    /// Whether the keeper may replace a live registration from the same address without its token.
    /// By default it may, so that a peer that crashed can register again at once. If it may not, it
    /// waits until the lease ends, and two keepers of one id on one host do not take over each
    /// other's registration.
    ///
    /// This option does not matter in three cases. The keeper always replaces a registration whose
    /// token it has, or whose name is locked to its key. It never replaces one that was taken over
    /// from it, but waits until the other lease ends.
    pub fn replace(self, replace: bool) -> Self {
        Self { replace, ..self }
    }

    /// The signer of the registrations, or `None` without a key.
    pub(super) fn signer(&self) -> Result<Option<Signer>, Error> {
        let Some(key) = self.key.clone() else { return Ok(None) };
        let mut signer = Signer::new(key)?;
        if let Some(old) = &self.replaces_key {
            signer = signer.replacing(old.clone());
        }
        if let Some(audience) = &self.audience {
            signer = signer.for_audience(audience);
        }
        Ok(Some(signer))
    }
}

impl Default for KeeperOptions {
    fn default() -> Self {
        Self::new()
    }
}
