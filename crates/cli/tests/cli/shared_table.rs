//! `serve --store dynamodb` as users start it: the HTTP test suite on a DynamoDB stand-in, and two
//! processes on one table.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Instant;

use aurora_discovery_contract_tests::{Needs, Target};
use aurora_discovery_protocol::{HeartbeatRequest, RegisterRequest};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::command::{Running, Service, run};
use crate::shared_store::{LAG, client, id, ports, two_processes_share_a_peer, unused_name};
use crate::time::libfaketime;
use crate::transfer::moves_through_a_shared_store;

/// The suite is in a module of its own, so that a short run of the tests on a stand-in can leave it
/// out.
mod contract {
    use super::serve;

    aurora_discovery_contract_tests::contract_suite!(serve);
}

/// A new table, created by the command.
fn table() -> String {
    let name = unused_name("aurora-peers-serve");
    let created = run(&["create-table", "--table", &name, "--dynamodb-endpoint", &endpoint()]);
    assert_eq!((created.code, created.err.as_str()), (0, ""));
    name
}

fn endpoint() -> String {
    std::env::var("AURORA_DYNAMODB_ENDPOINT")
        .expect("AURORA_DYNAMODB_ENDPOINT is not set; run this by scripts/dynamodb-local run local …")
}

fn start(table: &str) -> (String, Running) {
    start_with(table, &[])
}

/// Starts the service with these environment variables.
fn start_with(table: &str, variables: &[(&str, &OsStr)]) -> (String, Running) {
    let endpoint = endpoint();
    let mut arguments = vec!["--store", "dynamodb", "--table", table, "--dynamodb-endpoint", &endpoint];
    // The suite tests the limits of the API. The defaults on a table are lower.
    arguments.extend(["--max-archetypes-per-peer", "32", "--max-page-bytes", "1048576"]);
    let Service { endpoint, running } = Service::start_with(&arguments, variables);
    (endpoint, running)
}

/// Skips the cases that need a settable clock or an exact limit of peers. On a table, the service
/// uses DynamoDB's clock, and enforces the limit by an estimate.
async fn serve(needs: Needs) -> Option<Target> {
    if needs != Needs::NONE {
        return None;
    }
    let (url, serving) = start(&table());
    Some(Target { has_change_log: false, ..Target::new(url, serving) })
}

#[tokio::test]
async fn a_peer_registered_at_one_process_is_discovered_renewed_and_deregistered_at_another() {
    let table = table();
    two_processes_share_a_peer(|| start(&table)).await;
}

#[tokio::test]
async fn a_process_whose_clock_is_a_day_off_changes_no_lease() {
    let Some(library) = libfaketime() else {
        eprintln!("skipped: libfaketime is not installed (Debian: apt-get install faketime)");
        return;
    };
    for shift in ["-1d", "+1d"] {
        let table = table();
        let (right, _first) = start(&table);
        let (wrong, _second) = start_with(
            &table,
            &[
                ("LD_PRELOAD", library.as_os_str()),
                ("FAKETIME", shift.as_ref()),
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1".as_ref()),
            ],
        );
        let (right, wrong) = (client(&right), client(&wrong));
        wrong.register(&RegisterRequest { port: 9_000, ..RegisterRequest::new(id()) }).await.unwrap();
        let mut times = Vec::new();
        for client in [&right, &wrong] {
            let renewed = client.heartbeat(&HeartbeatRequest::new(id())).await.unwrap();
            times.extend([renewed.timestamp.as_secs(), renewed.ttl_expires.as_secs() - 300]);
        }
        let (earliest, latest) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        // A busy machine may delay the second heartbeat. The wrong clock is a day off.
        assert!(latest - earliest <= 120, "{shift}: {times:?}");
        for client in [&right, &wrong] {
            assert_eq!(ports(client, |ports| !ports.is_empty()).await, [9_000], "{shift}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_registrations_and_heartbeats_from_two_processes_leave_one_registration() {
    const PORTS: std::ops::Range<u16> = 1..501;
    /// The number of concurrent requests of each kind: enough for races, and so few that none waits
    /// for as long as the store's timeout, even on a busy machine.
    const AT_ONCE: usize = 8;
    let table = table();
    let ((one, _first), (other, _second)) = (start(&table), start(&table));
    let clients = [client(&one), client(&other)];
    clients[0].register(&RegisterRequest::new(id())).await.unwrap();

    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut racing = JoinSet::new();
    for port in PORTS {
        let (registering, renewing) =
            (clients[usize::from(port % 2)].clone(), clients[usize::from(port / 2 % 2)].clone());
        let (one, other) = (Arc::clone(&permits), Arc::clone(&permits));
        racing.spawn(async move {
            let _permit = one.acquire().await;
            registering.register(&RegisterRequest { port, ..RegisterRequest::new(id()) }).await.map(drop)
        });
        racing.spawn(async move {
            let _permit = other.acquire().await;
            renewing.heartbeat(&HeartbeatRequest::new(id())).await.map(drop)
        });
    }
    for outcome in racing.join_all().await {
        outcome.expect("no request may be rejected");
    }
    let started = Instant::now();
    loop {
        let is_last = started.elapsed() > LAG;
        let listed = [ports(&clients[0], |_| true).await, ports(&clients[1], |_| true).await];
        assert!(listed.iter().all(|ports| ports.len() == 1 && PORTS.contains(&ports[0])), "{listed:?}");
        if listed[0] == listed[1] {
            return;
        }
        assert!(!is_last, "the processes still disagree: {listed:?}");
    }
}

#[test]
fn a_network_moves_from_a_directory_to_a_table_and_back() {
    let (name, endpoint) = (table(), endpoint());
    let on_table = ["--store", "dynamodb", "--table", &name, "--dynamodb-endpoint", &endpoint];
    moves_through_a_shared_store(&on_table, || {
        let (endpoint, running) = start(&name);
        Service { endpoint, running }
    });
}
