//! Reverting decisions of a replica, and its list of evicted peers.

use aurora_discovery_registry::{Limits, Renewal, Store as _};

use super::fixture::{at, block_on, claim, id, put};
use crate::store::replica::{Change, Replica};

/// More than a lease and a revival window.
const WEEK: u64 = 7 * 24 * 3_600;
const HOME: &str = "203.0.113.1";

/// A replica with a peer, and the change of a heartbeat of this peer.
fn renewed() -> (Replica, Change) {
    let replica = Replica::new(Limits::default());
    let mut changes = Vec::new();
    replica.put(put("p", HOME, &["a"]), at(0), |change| changes.push(change));
    let renewal = replica.renew(&id("p"), &claim(HOME, None), at(200), |change| changes.push(change));
    assert!(matches!(renewal, Renewal::Renewed { .. }), "{renewal:?}");
    (replica, changes.pop().unwrap())
}

#[test]
fn a_change_is_reverted() {
    let (replica, renewal) = renewed();
    let before = renewal.before;
    assert!(replica.revert(|| vec![renewal]));
    let mut decided = None;
    replica.renew(&id("p"), &claim(HOME, None), at(200), |change| decided = change.before);
    assert_eq!(decided, before);
}

#[test]
fn a_change_of_a_peer_that_was_evicted_since_cannot_be_reverted() {
    let (replica, renewal) = renewed();
    let after = renewal.after.unwrap();
    block_on(replica.peers().sweep(at(WEEK))).unwrap();
    let evicted = replica.take_evicted();
    assert_eq!(evicted.len(), 1);
    assert_eq!(evicted[0].0, id("p"));
    assert!(evicted[0].1.is_same(&after), "it was evicted with its last lease");
    assert!(replica.take_evicted().is_empty(), "each is taken once");
    assert!(!replica.revert(|| vec![renewal]));
}
