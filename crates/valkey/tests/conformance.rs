//! The conformance suite of stores on a Valkey server.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/server.rs"]
mod support;

use std::sync::Arc;

use async_trait::async_trait;
use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::conformance::{Guarantees, Restart, Subject};
use aurora_discovery_registry::{Limits, Store};
use aurora_discovery_valkey::{ValkeyOptions, ValkeyStore};

/// A separate registry for each case.
struct OnValkey(ValkeyOptions);

impl Default for OnValkey {
    fn default() -> Self {
        Self(support::fresh_registry())
    }
}

#[async_trait]
impl Subject for OnValkey {
    async fn open(&self, limits: &Limits, _now: Timestamp) -> Arc<dyn Store> {
        Arc::new(ValkeyStore::open(self.0.clone(), limits.clone()).await.expect("the server can be used"))
    }

    fn guarantees(&self) -> Guarantees {
        Guarantees { restart: Restart::LeasesContinue, ..Guarantees::default() }
    }
}

aurora_discovery_registry::conformance_suite!(OnValkey::default());
