//! The suite that every store must pass. The name of each case is the statement of the contract
//! ([`Store`]) that it tests.
//!
//! The crate of a store runs the suite with one line in its tests, which expands to one test per
//! case:
//!
//! ```ignore
//! aurora_discovery_registry::conformance_suite!(MySubject::default());
//! ```
//!
//! The suite needs no clock, because time is an argument. Each case advances it explicitly.
#![allow(missing_docs, reason = "a case's name says what it proves")]
#![allow(clippy::expect_used, clippy::panic, reason = "a case fails by panicking")]

use std::sync::Arc;

use async_trait::async_trait;
use aurora_discovery_protocol::Timestamp;

use crate::{Limits, Store};

pub mod address;
pub mod bounds;
mod cases;
pub mod census;
pub mod diverse;
pub mod enumeration;
pub mod export;
pub mod fairness;
pub mod fill;
pub mod growth;
mod harness;
pub mod holder;
pub mod known;
pub mod lifecycle;
pub mod mail;
pub mod model;
pub mod network;
pub mod operator;
pub mod page;
pub mod proof;
pub mod race;
pub mod restart;
pub mod sampling;
pub mod signed;
mod statistics;
pub mod token_only;
pub mod unproven;
pub mod values;

/// A store under test. Each case uses a separate subject.
#[async_trait]
pub trait Subject: Send + Sync {
    /// Opens the store within `limits`. It is empty when it is opened for the first time. When it
    /// is opened again after [`Store::close`], it contains the peers that [`Guarantees::restart`]
    /// describes.
    async fn open(&self, limits: &Limits, now: Timestamp) -> Arc<dyn Store>;

    /// What the store guarantees where the contract leaves a choice.
    fn guarantees(&self) -> Guarantees {
        Guarantees::default()
    }
}

/// What a store guarantees where the contract leaves a choice. The defaults are those of a store
/// that keeps all peers in memory, enforces every bound exactly and counts exactly.
#[derive(Clone, Debug)]
pub struct Guarantees {
    /// What the store contains after it was closed and opened again.
    pub restart: Restart,
    /// Which bounds of [`Limits`] the store enforces.
    pub bounds: Bounds,
    /// Whether `total` is exact even if a page does not hold all matching peers.
    pub exact_totals: bool,
    /// Whether `census` is exact and reflects changes immediately.
    pub exact_census: bool,
    /// Whether the store keeps mailboxes.
    pub mail: bool,
    /// The size of the larger cases.
    pub scale: Scale,
}

impl Default for Guarantees {
    fn default() -> Self {
        Self {
            restart: Restart::Empty,
            bounds: Bounds::default(),
            exact_totals: true,
            exact_census: true,
            mail: true,
            scale: Scale::default(),
        }
    }
}

/// What a store contains after it was closed and opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Nothing, because it keeps everything in memory.
    Empty,
    /// Everything. Leases continued to run in the meantime, because other processes serve the same
    /// peers.
    LeasesContinue,
    /// Everything. Each peer that was live has one whole lease.
    LeasesRenewed,
}

/// Which bounds of [`Limits`] a store enforces.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// `max_peers`.
    pub peers: bool,
    /// `max_bytes`.
    pub bytes: bool,
    /// `max_peers_per_source`.
    pub sources: bool,
    /// `max_peers_per_network` and `max_peers_per_site`.
    pub networks: bool,
    /// `max_peers_per_address`.
    pub addresses: bool,
    /// `max_peers_per_host`.
    pub hosts: bool,
    /// The bound on the peers that one source keeps alive by unproven heartbeats.
    pub unproven: bool,
    /// The bound on the peers of one source, live and dormant: a newcomer beyond it evicts the
    /// longest dormant peer of its source.
    pub known: bool,
    /// `max_archetypes`.
    pub archetypes: bool,
    /// Whether the bounds are exact when many peers register concurrently.
    pub exact_in_races: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            peers: true,
            bytes: true,
            sources: true,
            networks: true,
            addresses: true,
            hosts: true,
            unproven: true,
            known: true,
            archetypes: true,
            exact_in_races: true,
        }
    }
}

/// The size of the larger cases.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// The number of peers in a network that does not fit into one page.
    pub peers: u32,
    /// The number of samples in a statistical case.
    pub draws: u32,
    /// The number of steps in a random history.
    pub steps: u32,
}

impl Default for Scale {
    fn default() -> Self {
        Self { peers: 200, draws: 600, steps: 2_000 }
    }
}
