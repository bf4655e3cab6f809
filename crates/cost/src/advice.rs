//! Changes that would lower the bill, with the amount that each saves.

use serde::Serialize;

use crate::bill::{Bill, Door};
use crate::prices::Prices;
use crate::workload::{Cadence, Workload};

/// Smaller savings are not reported, in US dollars a month.
const WORTH_SAYING: f64 = 0.01;
/// The longest heartbeat interval that is safe for clients that judge peers by `last_seen`, in
/// seconds.
const LONGEST_INTERVAL: f64 = 200.0;
/// If heartbeats come later than a third of the lease by up to this factor, then sending them
/// slightly earlier would halve the writes.
const JUST_ABOVE: f64 = 1.1;
/// The proposed interval, as a part of that third. The rest is for round trips and timers.
const JUST_BELOW: f64 = 0.98;
/// The sample size that keeps a network connected.
const ENOUGH_PEERS: f64 = 20.0;
/// The number of peers per host in the example of a host that runs several.
const AGENTS_OF_A_HOST: f64 = 10.0;
/// The minimum memory of a function.
const LEAST_MEMORY_MB: f64 = 128.0;

/// A change that lowers the bill.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Saving {
    /// The change, in words for the operator.
    pub(crate) change: String,
    /// The savings in US dollars a month if only this change is made.
    pub(crate) saves: f64,
}

/// The changes that would lower the bill of `workload` behind a REST API, largest savings first.
pub(crate) fn savings(workload: &Workload, prices: &Prices) -> Vec<Saving> {
    let now = Bill::of(workload, Door::Rest, prices);
    let mut savings: Vec<Saving> = changes(workload)
        .into_iter()
        .map(|(change, changed)| (change, Bill::of(&changed, Door::Rest, prices).total))
        .chain([(
            "ApiType=HTTP; what the gateway refuses by itself is then answered in AWS's own shape".to_owned(),
            Bill::of(workload, Door::Http, prices).total,
        )])
        .map(|(change, total)| Saving { change, saves: now.total - total })
        .filter(|saving| saving.saves >= WORTH_SAYING)
        .collect();
    savings.sort_by(|a, b| b.saves.total_cmp(&a.saves));
    savings.push(Saving {
        change: "Alarms=false; nobody is then told when something fails".to_owned(),
        saves: now.alarms,
    });
    savings
}

fn changes(workload: &Workload) -> Vec<(String, Workload)> {
    let with = |cadence: Cadence| Workload { cadence, ..*workload };
    let mut changes: Vec<(String, Workload)> =
        calls(workload).into_iter().map(|(change, cadence)| (change, with(cadence))).collect();
    let third = third(workload);
    let longer = (workload.cadence.heartbeat_seconds * 2.0).min(LONGEST_INTERVAL);
    if longer > third && longer > workload.cadence.heartbeat_seconds {
        let lease_seconds = workload.lease_seconds * 2.0;
        let cadence = Cadence { heartbeat_seconds: longer, ..workload.cadence };
        changes.push((
            format!("twice the lease ({lease_seconds:.0} s) and a heartbeat each {longer:.0} s"),
            Workload { lease_seconds, ..with(cadence) },
        ));
    }
    if workload.custom_metrics {
        changes.push((
            "CustomMetrics=false; the function's log holds the same counts".to_owned(),
            Workload { custom_metrics: false, ..*workload },
        ));
    }
    if workload.function.memory_mb > LEAST_MEMORY_MB {
        let mut smaller = *workload;
        smaller.function.memory_mb = LEAST_MEMORY_MB;
        changes.push(("MemorySize=128, as far as requests don't take longer for it".to_owned(), smaller));
    }
    changes
}

/// What peers could change while keeping the same lease.
fn calls(workload: &Workload) -> Vec<(String, Cadence)> {
    let now = workload.cadence;
    let third = third(workload);
    let mut calls = Vec::new();
    if !now.riding && now.discover_seconds > 0.0 {
        let change = "let the discover ride along with a heartbeat (\"discover\" in its body)";
        calls.push((change.to_owned(), Cadence { riding: true, ..now }));
    }
    if now.beats_per_call < AGENTS_OF_A_HOST && workload.peers > AGENTS_OF_A_HOST {
        let change =
            format!("hosts that run {AGENTS_OF_A_HOST} peers each beat for them in one call (\"peer_ids\")");
        calls.push((change, Cadence { beats_per_call: AGENTS_OF_A_HOST, ..now }));
    }
    if now.heartbeat_seconds < third {
        let change = format!("a heartbeat each {third:.0} s, as the service asks for");
        calls.push((change, Cadence { heartbeat_seconds: third, ..now }));
    }
    if now.heartbeat_seconds >= third && now.heartbeat_seconds < third * JUST_ABOVE {
        let heartbeat_seconds = third * JUST_BELOW;
        let change = format!("a heartbeat each {heartbeat_seconds:.0} s: only every second one then writes");
        calls.push((change, Cadence { heartbeat_seconds, ..now }));
    }
    if now.discover_seconds > 0.0 {
        let discover_seconds = now.discover_seconds * 2.0;
        calls.push((format!("a discover each {discover_seconds:.0} s"), Cadence { discover_seconds, ..now }));
    }
    if now.discover_limit > ENOUGH_PEERS {
        let change = format!("a discover of {ENOUGH_PEERS}, which keeps a network connected");
        calls.push((change, Cadence { discover_limit: ENOUGH_PEERS, ..now }));
    }
    calls
}

/// The heartbeat interval that the service asks for.
fn third(workload: &Workload) -> f64 {
    (workload.lease_seconds / 3.0).min(LONGEST_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::tests::hundred;

    fn named(workload: &Workload) -> Vec<Saving> {
        savings(workload, &Prices::built_in().unwrap())
    }

    #[test]
    fn the_largest_saving_comes_first_and_each_is_what_the_change_saves() {
        let savings = named(&hundred(60.0, false));
        assert!(savings.iter().any(|saving| saving.change.starts_with("ApiType=HTTP")), "{savings:?}");
        assert!(savings.windows(2).rev().skip(1).all(|pair| pair[0].saves >= pair[1].saves), "{savings:?}");
        let riding = savings.iter().find(|saving| saving.change.contains("ride along")).unwrap();
        // 864,000 fewer requests to the API, to Lambda and in the log, and as many fewer response
        // heads.
        assert!((3.0..3.6).contains(&riding.saves), "{riding:?}");
    }

    #[test]
    fn nothing_is_proposed_that_is_done_already() {
        let mut workload = hundred(200.0, true);
        workload.lease_seconds = 600.0;
        workload.function.memory_mb = 128.0;
        workload.cadence.beats_per_call = 10.0;
        let savings = named(&workload);
        for done in [
            "ride along",
            "CustomMetrics",
            "peer_ids",
            "MemorySize",
            "as the service asks for",
            "twice the lease",
        ] {
            assert!(savings.iter().all(|saving| !saving.change.contains(done)), "{done}: {savings:?}");
        }
    }

    #[test]
    fn a_heartbeat_that_just_misses_a_third_of_the_lease_is_told_so() {
        let savings = named(&hundred(100.0, true));
        assert!(savings.iter().any(|saving| saving.change.contains("each 98 s")), "{savings:?}");
        let sooner = named(&hundred(60.0, true));
        assert!(sooner.iter().all(|saving| !saving.change.contains("every second one")), "{sooner:?}");
    }
}
