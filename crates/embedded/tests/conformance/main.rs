//! The embedded store passes the conformance suite of stores, in memory and on a disk.
#![allow(clippy::unwrap_used, reason = "what does not open fails the test")]

use std::sync::Arc;

use async_trait::async_trait;
use aurora_discovery_embedded::{EmbeddedOptions, EmbeddedStore};
use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::conformance::{Guarantees, Restart, Subject, export, model};
use aurora_discovery_registry::{Limits, Store};
use tempfile::TempDir;

/// The store without a disk.
struct InMemory;

#[async_trait]
impl Subject for InMemory {
    async fn open(&self, limits: &Limits, _: Timestamp) -> Arc<dyn Store> {
        EmbeddedStore::in_memory(limits.clone())
    }
}

/// The store in a real directory.
struct OnDisk(TempDir);

impl OnDisk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

#[async_trait]
impl Subject for OnDisk {
    async fn open(&self, limits: &Limits, now: Timestamp) -> Arc<dyn Store> {
        let directory = Some(self.0.path().to_owned());
        let options = EmbeddedOptions { directory, limits: limits.clone(), ..EmbeddedOptions::default() };
        EmbeddedStore::open(options, now).unwrap()
    }

    fn guarantees(&self) -> Guarantees {
        Guarantees { restart: Restart::LeasesRenewed, ..Guarantees::default() }
    }
}

mod in_memory {
    aurora_discovery_registry::conformance_suite!(crate::InMemory);
}

mod on_disk {
    aurora_discovery_registry::conformance_suite!(crate::OnDisk::new());
}

#[tokio::test]
async fn long_histories_in_memory_agree_with_the_reference_model() {
    for seed in 1..=4 {
        model::history(&InMemory, 50_000, seed).await;
    }
}

#[tokio::test]
async fn long_histories_with_restarts_agree_with_the_reference_model() {
    model::history(&OnDisk::new(), 20_000, 1).await;
}

#[tokio::test]
async fn peers_move_between_memory_and_disk_with_all_that_is_kept_of_them() {
    export::peers_move_to_another_store_with_all_that_is_kept_of_them(&InMemory, &OnDisk::new()).await;
    export::peers_move_to_another_store_with_all_that_is_kept_of_them(&OnDisk::new(), &InMemory).await;
}

#[tokio::test]
async fn an_import_replaces_no_known_peer() {
    export::an_import_replaces_no_known_peer(&InMemory, &OnDisk::new()).await;
}
