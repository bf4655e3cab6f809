//! The options of a Valkey store.

use std::fmt;
use std::time::Duration;

/// The options of a Valkey store, in addition to the registry's `Limits`.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValkeyOptions {
    /// Where the server is: `redis://`, `rediss://` (with TLS), `valkey://` or `valkeys://`, then
    /// `[user[:password]@]host[:port][/database]`. With `+sentinel` after the scheme, the hosts are
    /// Sentinels, separated by commas, and the path is `/service[/database]`.
    pub url: String,
    /// The password. It replaces the password in the URL, if there is one.
    pub password: Option<String>,
    /// The certificates of the authorities that TLS connections trust, in PEM format. They replace
    /// those that the system trusts.
    pub ca_certificates: Option<Vec<u8>>,
    /// The name of the registry. Registries with different names can share a server, because their
    /// keys differ.
    pub name: String,
    /// The number of replicas that must have a registration on disk before it is acknowledged, in
    /// addition to the primary. With weak durability, they must have it only in memory.
    pub replicas: u32,
    /// Whether to accept a server that can't confirm that a change is on disk. A crash of the
    /// server may then lose registrations that were acknowledged.
    pub weak_durability: bool,
    /// How long one operation may take, including retries, before it fails as unavailable. The
    /// default is 5 s, which is shorter than the ten seconds that clients wait.
    pub deadline: Duration,
    /// How long the server may take to respond to a command before the connection counts as broken.
    /// The default is 3 s, which is longer than a busy disk takes to sync.
    pub response_timeout: Duration,
    /// Whether the caller takes `now` from [`ValkeyStore::clock`](crate::ValkeyStore::clock). If
    /// `true`, changes fail as unavailable once the store has not read the server's time for a
    /// minute. If `false`, the caller uses a clock of its own, as tests do.
    pub store_time: bool,
}

/// Shows neither the password nor the URL, which may contain the password.
impl fmt::Debug for ValkeyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValkeyOptions").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ValkeyOptions {
    /// Options with this URL. All other fields have their defaults.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password: None,
            ca_certificates: None,
            name: "default".to_owned(),
            replicas: 0,
            weak_durability: false,
            deadline: Duration::from_secs(5),
            response_timeout: Duration::from_secs(3),
            store_time: true,
        }
    }
}
