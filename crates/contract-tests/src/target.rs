//! The service under test.

use std::any::Any;
use std::fmt;

/// What a case requires of the service that it runs against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The maximum number of peers that the service accepts. `None` means enough for any case.
    pub max_peers: Option<u64>,
    /// A clock that the case can advance.
    pub settable_clock: bool,
}

impl Needs {
    /// No requirements. Other cases may use the same service at the same time.
    pub const NONE: Self = Self { max_peers: None, settable_clock: false };
}

/// How a case sends requests from two addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// From 127.0.0.1 and 127.0.0.2. The service runs on this machine, without a proxy.
    Loopback,
    /// With the header `X-Forwarded-For`. The case takes the place of the one proxy that the
    /// service trusts.
    Forwarded,
}

/// A running service, and what its environment supports.
pub struct Target {
    /// The URL of the service: `http://host:port`, followed by a stage if there is one (`/dev`).
    pub base_url: String,
    /// How a case sends requests from two addresses.
    pub sources: Sources,
    /// Whether the service sees the source address of a request. An emulator may report the same
    /// address for all clients.
    pub sees_sources: bool,
    /// Whether the service receives a body that is not text and has no content type. An emulator
    /// may reject it.
    pub passes_binary_bodies: bool,
    /// Whether the response to a HEAD request has either the `Content-Length` of the response to a
    /// GET, or none. An emulator may send the length of the empty body.
    pub keeps_head_length: bool,
    /// Whether web pages from other origins may read the responses.
    pub cors: bool,
    /// Whether bodies reach the service as they are sent: in chunks, or with a wrong length. A
    /// gateway reads the whole body first, and sends it on in another form.
    pub passes_bodies_unchanged: bool,
    /// Whether a header that a request repeats reaches the service each time. An emulator may pass
    /// only one of them.
    pub passes_repeated_headers: bool,
    /// Whether the service has a change log.
    pub has_change_log: bool,
    /// The API key with which a case may administer the service. `None` if the service has no such
    /// key, and therefore no administration.
    pub admin_key: Option<String>,
    /// Advances the clock of the service by a number of seconds, if that is possible.
    pub advance_clock: Option<Box<dyn Fn(u64) + Send + Sync>>,
    /// Keeps the service running.
    pub guard: Box<dyn Any + Send + Sync>,
}

impl Target {
    /// The service at `base_url`, with everything else as for `aurora-discovery serve` without API
    /// keys. `guard` keeps the service running.
    pub fn new(base_url: impl Into<String>, guard: impl Any + Send + Sync) -> Self {
        Self {
            base_url: base_url.into().trim_end_matches('/').to_owned(),
            sources: Sources::Loopback,
            sees_sources: true,
            passes_binary_bodies: true,
            keeps_head_length: true,
            cors: true,
            passes_bodies_unchanged: true,
            passes_repeated_headers: true,
            has_change_log: true,
            admin_key: None,
            advance_clock: None,
            guard: Box::new(guard),
        }
    }

    /// Advances the clock of the service.
    pub(crate) fn advance_clock(&self, seconds: u64) {
        self.advance_clock.as_ref().expect("the target's clock can be advanced")(seconds);
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.base_url).finish_non_exhaustive()
    }
}
