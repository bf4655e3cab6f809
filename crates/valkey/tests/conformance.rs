//! Runs the conformance suite of stores on a Valkey server.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/server.rs"]
mod support;

use std::sync::Arc;

use async_trait::async_trait;
use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::conformance::{Guarantees, Restart, Subject, export};
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

#[tokio::test]
async fn peers_move_to_another_registry_with_all_that_is_kept_of_them() {
    let (from, to) = (OnValkey::default(), OnValkey::default());
    export::peers_move_to_another_store_with_all_that_is_kept_of_them(&from, &to).await;
}

#[tokio::test]
async fn an_import_replaces_no_known_peer() {
    export::an_import_replaces_no_known_peer(&OnValkey::default(), &OnValkey::default()).await;
}
