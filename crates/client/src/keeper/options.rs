//! The options of a lease keeper.

use std::path::PathBuf;

use crate::TokenFile;

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
}

impl KeeperOptions {
    /// The options of [`LeaseKeeper::start`](crate::LeaseKeeper::start): no token file, and a live
    /// registration from the same address is replaced.
    pub fn new() -> Self {
        Self { token_file: None, replace: true }
    }

    /// Keeps the lease token in this file, which is created if it does not exist. A restarted peer
    /// then proves with it that it is the holder, from any address.
    ///
    /// Once the token is on disk, the registration becomes token-only: without the token, no client
    /// can replace, renew or deregister it while its lease runs and for three leases after, not
    /// even from the same address.
    pub fn token_file(self, path: impl Into<PathBuf>) -> Self {
        Self { token_file: Some(TokenFile::new(path)), ..self }
    }

    /// Whether the keeper may replace a live registration from the same address, for which it has
    /// no token. It may by default, so that a peer that crashed can register again at once. Without
    /// this permission it waits until the lease ends, and two keepers of one id on one host do not
    /// take over each other's registration.
    ///
    /// A registration that the keeper has the token of is always replaced. One that was taken over
    /// from the keeper never is: the keeper waits until the other lease ends.
    pub fn replace(self, replace: bool) -> Self {
        Self { replace, ..self }
    }
}

impl Default for KeeperOptions {
    fn default() -> Self {
        Self::new()
    }
}
