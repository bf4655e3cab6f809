//! A service that is put to the test.

use std::any::Any;
use std::fmt;

/// What a case needs of the service that it is run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Room for this many peers and no more; `None`: for all that a case registers.
    pub max_peers: Option<u64>,
    /// A clock that a case winds by letting time pass.
    pub winding: bool,
}

impl Needs {
    /// Nothing in particular. Other cases may run on the same service at once.
    pub const NONE: Self = Self { max_peers: None, winding: false };
}

/// How a case calls from two addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// From 127.0.0.1 and 127.0.0.2: the service is reached without a proxy, on this machine.
    Loopback,
    /// By what `X-Forwarded-For` says: the case stands for the one proxy that the service trusts.
    Forwarded,
}

/// A running service, and what its way of running allows. It runs until this is dropped.
pub struct Target {
    /// Where it is: `http://host:port`, and a stage where there is one (`/dev`).
    pub base_url: String,
    /// How a case calls from two addresses.
    pub sources: Sources,
    /// Whether it is told where a request came from. Not so behind an emulator that names one address for all of them.
    pub sees_sources: bool,
    /// Whether a body that says no type reaches it where it is no text. Not so behind an emulator that refuses it by itself.
    pub sees_bytes: bool,
    /// Whether an answer to a HEAD says no length but that of the GET. An emulator may count the bytes that it has: none.
    pub tells_length: bool,
    /// Whether browsers on other pages may read its answers.
    pub cors: bool,
    /// Whether bodies reach it as they are sent: in chunks, or with a length that lies. Not so behind a gateway.
    pub sees_transfer: bool,
    /// Whether it remembers what changed, for those who follow.
    pub remembers: bool,
    /// Winds its clock by so many seconds, if its clock can be wound.
    pub pass: Option<Box<dyn Fn(u64) + Send + Sync>>,
    /// What keeps it running.
    pub guard: Box<dyn Any + Send + Sync>,
}

impl Target {
    /// The service at `base_url`, with everything else as `serve` has it.
    pub fn new(base_url: impl Into<String>, guard: impl Any + Send + Sync) -> Self {
        Self {
            base_url: base_url.into().trim_end_matches('/').to_owned(),
            sources: Sources::Loopback,
            sees_sources: true,
            sees_bytes: true,
            tells_length: true,
            cors: true,
            sees_transfer: true,
            remembers: true,
            pass: None,
            guard: Box::new(guard),
        }
    }

    /// Lets time pass for the service.
    pub(crate) fn pass(&self, seconds: u64) {
        self.pass.as_ref().expect("the target's clock can be wound")(seconds);
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.base_url).finish_non_exhaustive()
    }
}
