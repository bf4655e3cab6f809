//! Changes that would lower the bill, with the amount that each saves.

use serde::Serialize;

use crate::bill::{Bill, EndpointKind};
use crate::prices::Prices;
use crate::workload::{Cadence, Workload};

/// Smaller savings, in US dollars a month, are not reported, except for that of the alarms.
const MIN_SAVING_DOLLARS: f64 = 0.01;
/// The longest heartbeat interval that is safe for clients that consider a peer offline if its
/// `last_seen` is too old, in seconds.
const MAX_INTERVAL_SECONDS: f64 = 200.0;
/// If the heartbeat interval is at least a third of the lease, every heartbeat causes a write. If
/// the interval is also shorter than that third times this factor, the proposal is a slightly
/// shorter interval, which halves the writes.
const SLIGHTLY_LATE: f64 = 1.1;
/// The shorter interval is this fraction of a third of the lease. The remaining 2 % allow for round
/// trips and inexact timers.
const IN_TIME: f64 = 0.98;
/// The sample size that keeps a network connected.
const SUFFICIENT_SAMPLE: f64 = 20.0;
/// The number of peers per host that is assumed by the proposal to renew all peers of a host in one
/// request.
const PEERS_PER_HOST: f64 = 10.0;
/// The minimum memory of a function.
const MIN_MEMORY_MB: f64 = 128.0;

/// A change that lowers the bill.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Saving {
    /// The change, in words for the operator.
    pub(crate) change: String,
    /// The savings in US dollars a month if only this change is made.
    pub(crate) saves: f64,
}

/// The changes that would lower the bill of `workload` behind a REST API, largest savings first.
/// The last entry is the cost of the alarms, which is not part of the bill's total.
pub(crate) fn savings(workload: &Workload, prices: &Prices) -> Vec<Saving> {
    let now = Bill::of(workload, EndpointKind::Rest, prices);
    let mut savings: Vec<Saving> = changes(workload)
        .into_iter()
        .map(|(change, changed)| (change, Bill::of(&changed, EndpointKind::Rest, prices).total))
        .chain([(
            "ApiType=HTTP; errors of the gateway itself then have the format of AWS".to_owned(),
            Bill::of(workload, EndpointKind::Http, prices).total,
        )])
        .map(|(change, total)| Saving { change, saves: now.total - total })
        .filter(|saving| saving.saves >= MIN_SAVING_DOLLARS)
        .collect();
    savings.sort_by(|a, b| b.saves.total_cmp(&a.saves));
    savings.push(Saving {
        change: "Alarms=false; failures then notify no operator".to_owned(),
        saves: now.alarms,
    });
    savings
}

/// The proposed changes: a description of each, and the workload after it.
fn changes(workload: &Workload) -> Vec<(String, Workload)> {
    let with = |cadence: Cadence| Workload { cadence, ..*workload };
    let mut changes: Vec<(String, Workload)> =
        cadence_changes(workload).into_iter().map(|(change, cadence)| (change, with(cadence))).collect();
    let requested = requested_interval(workload);
    let longer = (workload.cadence.heartbeat_seconds * 2.0).min(MAX_INTERVAL_SECONDS);
    if longer > requested && longer > workload.cadence.heartbeat_seconds {
        let lease_seconds = workload.lease_seconds * 2.0;
        let cadence = Cadence { heartbeat_seconds: longer, ..workload.cadence };
        changes.push((
            format!("double the lease ({lease_seconds:.0} s) and send a heartbeat every {longer:.0} s"),
            Workload { lease_seconds, ..with(cadence) },
        ));
    }
    if workload.custom_metrics {
        changes.push((
            "CustomMetrics=false; the function's log has the same counts".to_owned(),
            Workload { custom_metrics: false, ..*workload },
        ));
    }
    if workload.function.memory_mb > MIN_MEMORY_MB {
        let mut smaller = *workload;
        smaller.function.memory_mb = MIN_MEMORY_MB;
        changes.push(("MemorySize=128, if requests do not become slower".to_owned(), smaller));
    }
    changes
}

/// The proposed changes that keep the lease: a description of each, and the cadence after it.
fn cadence_changes(workload: &Workload) -> Vec<(String, Cadence)> {
    let now = workload.cadence;
    let requested = requested_interval(workload);
    let mut changes = Vec::new();
    if !now.discover_in_heartbeat && now.discover_seconds > 0.0 {
        let change = "include the discover in a heartbeat (\"discover\" in its body)";
        changes.push((change.to_owned(), Cadence { discover_in_heartbeat: true, ..now }));
    }
    if now.heartbeats_per_request < PEERS_PER_HOST && workload.peers > PEERS_PER_HOST {
        let change =
            format!("hosts with {PEERS_PER_HOST} peers each renew them in one request (\"peer_ids\")");
        changes.push((change, Cadence { heartbeats_per_request: PEERS_PER_HOST, ..now }));
    }
    if now.heartbeat_seconds < requested {
        let change = format!("a heartbeat every {requested:.0} s, as the service requests");
        changes.push((change, Cadence { heartbeat_seconds: requested, ..now }));
    }
    // The store writes a renewal only if a heartbeat arrives later than a third of the lease after
    // the last renewal that it wrote.
    let third = workload.lease_seconds / 3.0;
    if now.heartbeat_seconds >= third && now.heartbeat_seconds < third * SLIGHTLY_LATE {
        let heartbeat_seconds = third * IN_TIME;
        let change = format!("a heartbeat every {heartbeat_seconds:.0} s: then only every second one writes");
        changes.push((change, Cadence { heartbeat_seconds, ..now }));
    }
    if now.discover_seconds > 0.0 {
        let discover_seconds = now.discover_seconds * 2.0;
        changes
            .push((format!("a discover every {discover_seconds:.0} s"), Cadence { discover_seconds, ..now }));
    }
    if now.discover_limit > SUFFICIENT_SAMPLE {
        let change = format!("a discover of {SUFFICIENT_SAMPLE} peers, which keeps a network connected");
        changes.push((change, Cadence { discover_limit: SUFFICIENT_SAMPLE, ..now }));
    }
    changes
}

/// The heartbeat interval that the service requests.
fn requested_interval(workload: &Workload) -> f64 {
    (workload.lease_seconds / 3.0).min(MAX_INTERVAL_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::tests::hundred_peers;

    fn named(workload: &Workload) -> Vec<Saving> {
        savings(workload, &Prices::built_in().unwrap())
    }

    #[test]
    fn savings_are_sorted_and_each_is_the_difference_to_the_current_bill() {
        let savings = named(&hundred_peers(60.0, false));
        assert!(savings.iter().any(|saving| saving.change.starts_with("ApiType=HTTP")), "{savings:?}");
        assert!(savings.windows(2).rev().skip(1).all(|pair| pair[0].saves >= pair[1].saves), "{savings:?}");
        let included = savings.iter().find(|saving| saving.change.contains("in a heartbeat")).unwrap();
        // This saves 864,000 requests to the API and to Lambda, with their log lines and response
        // heads.
        assert!((3.0..3.6).contains(&included.saves), "{included:?}");
    }

    #[test]
    fn changes_that_are_already_made_are_not_proposed() {
        let mut workload = hundred_peers(200.0, true);
        workload.lease_seconds = 600.0;
        workload.function.memory_mb = 128.0;
        workload.cadence.heartbeats_per_request = 10.0;
        let savings = named(&workload);
        for done in [
            "in a heartbeat",
            "CustomMetrics",
            "peer_ids",
            "MemorySize",
            "as the service requests",
            "double the lease",
        ] {
            assert!(savings.iter().all(|saving| !saving.change.contains(done)), "{done}: {savings:?}");
        }
    }

    #[test]
    fn a_heartbeat_slightly_later_than_a_third_of_the_lease_should_be_sent_earlier() {
        let savings = named(&hundred_peers(100.0, true));
        assert!(savings.iter().any(|saving| saving.change.contains("every 98 s")), "{savings:?}");
        let sooner = named(&hundred_peers(60.0, true));
        assert!(sooner.iter().all(|saving| !saving.change.contains("every second one")), "{sooner:?}");
        // The service requests a heartbeat every 200 s, which is half of a third of this lease.
        let long = Workload { lease_seconds: 1_200.0, ..hundred_peers(200.0, true) };
        let savings = named(&long);
        assert!(savings.iter().all(|saving| !saving.change.contains("every second one")), "{savings:?}");
    }
}
