//! Tests that all processes that share a store enforce a block.

use std::sync::Arc;

use aurora_discovery_protocol::{
    BlockReason, BlockRequest, DiscoverRequest, HeartbeatEntries, HeartbeatEntry, PeerId, RegisterRequest,
    Subject, Timestamp, Ttl,
};
use aurora_discovery_registry::{Caller, Error, Evicted, Limits, Registry, WebOrigin};
use futures_util::FutureExt as _;

use crate::reference::Reference;
use crate::signed::{key, signed, terms, token};

const HOME: &str = "203.0.113.7";
const AWAY: &str = "198.51.100.1";

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + seconds)
}

fn caller(address: &str) -> Caller {
    Caller { address: address.parse().unwrap(), page: WebOrigin::None }
}

fn process(store: &Reference) -> Registry {
    Registry::new(Arc::new(store.clone()), Limits::default()).unwrap()
}

async fn register(process: &Registry, id: &str, from: &str, now: u64) -> Result<(), Error> {
    let request = RegisterRequest::new(PeerId::parse(id).unwrap());
    process.register(request, &caller(from), at(now)).await.map(drop)
}

async fn block(process: &Registry, now: u64) -> Evicted {
    block_subject(process, Subject::parse("source", "203.0.113.0/24").unwrap(), now).await
}

async fn block_subject(process: &Registry, subject: Subject, now: u64) -> Evicted {
    let (reason, duration) = (BlockReason::parse("a test").unwrap(), Ttl::from_secs(600));
    process.block(BlockRequest { subject, reason, duration }, "ops", at(now)).await.unwrap()
}

async fn live(process: &Registry, now: u64) -> u64 {
    process.discover(DiscoverRequest::new(10), at(now)).await.unwrap().info.total
}

#[tokio::test]
async fn another_process_obeys_a_block_and_evicts_whom_it_let_in() {
    let store = Reference::correct().shared();
    let (one, other, mut enforced) = (process(&store), process(&store), None);
    assert_eq!(other.obey_blocks(&mut enforced, at(0)).await, Ok(0));
    register(&one, "p", HOME, 0).await.unwrap();
    register(&one, "away", AWAY, 0).await.unwrap();
    assert_eq!(block(&one, 1).await, Evicted { live: 1, dormant: 0 });
    assert_eq!(register(&one, "p", HOME, 1).await, Err(Error::Blocked { until: at(601) }));
    register(&other, "q", HOME, 2).await.unwrap();
    assert_eq!(other.obey_blocks(&mut enforced, at(4)).await, Ok(0), "the copy is not five seconds old");
    assert_eq!(live(&other, 4).await, 2);
    assert_eq!(other.obey_blocks(&mut enforced, at(5)).await, Ok(1));
    assert_eq!(live(&other, 5).await, 1);
    assert!(matches!(register(&other, "q", HOME, 5).await, Err(Error::Blocked { .. })));
    assert_eq!(other.obey_blocks(&mut enforced, at(10)).await, Ok(0), "the block has been enforced");
    register(&other, "q", AWAY, 10).await.unwrap();
}

#[tokio::test]
async fn without_the_task_a_request_reads_the_blocks_after_eight_seconds() {
    let store = Reference::correct().shared();
    let (one, other) = (process(&store), process(&store));
    register(&other, "p", HOME, 0).await.unwrap();
    block(&one, 1).await;
    register(&other, "q", HOME, 7).await.unwrap();
    let (q, home) = (PeerId::parse("q").unwrap(), caller(HOME));
    assert!(matches!(other.heartbeat(&q, None, &home, at(8)).await, Err(Error::Blocked { .. })));
    assert!(matches!(register(&other, "q", HOME, 8).await, Err(Error::Blocked { .. })));
    let subject = Subject::parse("source", "203.0.113.0/24").unwrap();
    one.unblock(&subject, at(9)).await.unwrap();
    assert_eq!(one.unblock(&subject, at(9)).await, Err(Error::NotBlocked));
    register(&other, "q", HOME, 16).await.unwrap();
}

#[tokio::test]
async fn a_block_is_enforced_although_its_request_ended_early() {
    for store in [Reference::correct(), Reference::correct().shared()] {
        let (process, mut enforced) = (process(&store), None);
        assert_eq!(process.obey_blocks(&mut enforced, at(0)).await, Ok(0));
        register(&process, "p", HOME, 0).await.unwrap();
        assert!(block(&process, 1).now_or_never().is_none(), "dropped before the peers are deleted");
        assert_eq!(live(&process, 1).await, 1);
        assert_eq!(process.obey_blocks(&mut enforced, at(1)).await, Ok(1));
        assert_eq!(live(&process, 1).await, 0);
    }
}

#[tokio::test]
async fn a_block_is_enforced_although_the_process_stopped_early() {
    let store = Reference::correct();
    let stopped = process(&store);
    register(&stopped, "p", HOME, 0).await.unwrap();
    assert!(block(&stopped, 1).now_or_never().is_none(), "dropped before the peers are deleted");
    let restarted = process(&store);
    assert_eq!(restarted.obey_blocks(&mut None, at(2)).await, Ok(1));
    assert_eq!(live(&restarted, 2).await, 0);
}

#[tokio::test]
async fn a_peer_of_a_blocked_key_is_refused_before_it_is_evicted() {
    let store = Reference::correct().shared();
    let (one, other) = (process(&store), process(&store));
    let (p, q) = (PeerId::parse("p").unwrap(), PeerId::parse("q").unwrap());
    let (home, mine) = (caller(HOME), token("mine"));
    other.register_signed(signed("q", 2, &terms(at(0))), &home, at(0)).await.unwrap();
    block_subject(&one, Subject::Key(key(1).public()), 1).await;
    // The other process does not know of the block yet, so it accepts the peer.
    other.register_signed(signed("p", 1, &terms(at(2))), &home, at(2)).await.unwrap();
    let blocked = Error::Blocked { until: at(601) };
    assert_eq!(one.heartbeat(&p, Some(&mine), &home, at(3)).await, Err(blocked.clone()));
    let entry = |peer: &PeerId| HeartbeatEntry { peer_id: peer.clone(), lease_token: Some(mine.clone()) };
    let both = HeartbeatEntries::new(vec![entry(&p), entry(&q)]).unwrap();
    let results = one.heartbeats(&both, &home, at(3)).await;
    assert_eq!(results[0], Err(blocked.clone()));
    assert!(results[1].is_ok(), "{results:?}");
    assert_eq!(one.deregister(&p, Some(&mine), &home, at(3)).await, Err(blocked));
    assert_eq!(live(&one, 3).await, 2, "nothing has changed");
    one.unblock(&Subject::Key(key(1).public()), at(4)).await.unwrap();
    one.heartbeat(&p, Some(&mine), &home, at(4)).await.unwrap();
    one.deregister(&p, Some(&mine), &home, at(4)).await.unwrap();
}

#[tokio::test]
async fn a_blocked_source_deregisters_no_peer() {
    let process = process(&Reference::correct());
    register(&process, "p", AWAY, 0).await.unwrap();
    block(&process, 0).await;
    let p = PeerId::parse("p").unwrap();
    assert!(matches!(process.deregister(&p, None, &caller(HOME), at(1)).await, Err(Error::Blocked { .. })));
    process.deregister(&p, None, &caller(AWAY), at(1)).await.unwrap();
}
