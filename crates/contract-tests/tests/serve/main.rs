//! The suite on the server of `aurora-discovery-http` with the embedded store: in memory, on disk,
//! and behind a proxy. Also tests the suite itself, with a proxy that distorts the traffic.
#![allow(clippy::unwrap_used, reason = "a service that does not start fails the test")]

mod distorted;
mod service;

use aurora_discovery_contract_tests::{Needs, Sources, Target};

use service::start;

mod in_memory {
    aurora_discovery_contract_tests::contract_suite!(super::in_memory);
}

mod on_disk {
    aurora_discovery_contract_tests::contract_suite!(super::on_disk);
}

mod behind_a_proxy {
    aurora_discovery_contract_tests::contract_suite!(super::behind_a_proxy);
}

async fn in_memory(needs: Needs) -> Option<Target> {
    Some(start(needs, None, 0).await)
}

async fn on_disk(needs: Needs) -> Option<Target> {
    Some(start(needs, Some(tempfile::tempdir().unwrap()), 0).await)
}

async fn behind_a_proxy(needs: Needs) -> Option<Target> {
    Some(Target { sources: Sources::Forwarded, ..start(needs, None, 1).await })
}
