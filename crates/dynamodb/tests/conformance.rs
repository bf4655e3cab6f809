//! Runs the conformance suite of stores on a DynamoDB stand-in (a local server with DynamoDB's
//! API): once with snapshots, and once with lists from the index.

#[path = "support/stand_in.rs"]
mod support;

use std::sync::Arc;

use async_trait::async_trait;
use aurora_discovery_dynamodb::{CAPABILITIES, DynamoOptions};
use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::conformance::{Bounds, Guarantees, Restart, Scale, Subject, export};
use aurora_discovery_registry::{Limits, Store};
use tokio::sync::OnceCell;

/// The table of one case of the suite. It is created when the case first opens a store.
#[derive(Default)]
struct Table {
    options: OnceCell<DynamoOptions>,
    /// Whether snapshots are enabled.
    snapshots: bool,
}

#[async_trait]
impl Subject for Table {
    async fn open(&self, limits: &Limits, _now: Timestamp) -> Arc<dyn Store> {
        let fresh = async || {
            let mut options = support::fresh_table().await;
            if !self.snapshots {
                options.snapshot_items = 0;
            }
            options
        };
        let options = self.options.get_or_init(fresh).await;
        support::open_within(options, limits).await
    }

    fn guarantees(&self) -> Guarantees {
        Guarantees {
            restart: Restart::LeasesContinue,
            bounds: Bounds {
                // Without snapshots, the store enforces the limit of all peers by an estimate,
                // which is too coarse for the suite's limit of three peers.
                peers: false,
                bytes: CAPABILITIES.bounds_bytes,
                sources: CAPABILITIES.bounds_sources,
                networks: CAPABILITIES.bounds_networks,
                addresses: CAPABILITIES.bounds_addresses,
                hosts: CAPABILITIES.bounds_addresses,
                unproven: CAPABILITIES.bounds_unproven,
                known: CAPABILITIES.bounds_sources,
                archetypes: CAPABILITIES.bounds_archetypes,
                exact_in_races: false,
            },
            exact_totals: self.snapshots,
            exact_census: self.snapshots,
            mail: true,
            scale: Scale { peers: 120, draws: 400, steps: 500 },
        }
    }
}

mod small_networks_from_a_snapshot {
    use super::Table;
    aurora_discovery_registry::conformance_suite!(Table { snapshots: true, ..Table::default() });
}

mod from_the_index {
    use super::Table;
    aurora_discovery_registry::conformance_suite!(Table::default());
}

#[tokio::test]
async fn peers_move_to_another_table_with_all_that_is_kept_of_them() {
    let (from, to) = (Table::default(), Table::default());
    export::peers_move_to_another_store_with_all_that_is_kept_of_them(&from, &to).await;
}

#[tokio::test]
async fn an_import_replaces_no_known_peer() {
    export::an_import_replaces_no_known_peer(&Table::default(), &Table::default()).await;
}
