//! Tests that all processes that share a store enforce a block.

use std::sync::Arc;

use aurora_discovery_protocol::{
    BlockReason, BlockRequest, DiscoverRequest, PeerId, RegisterRequest, Subject, Timestamp, Ttl,
};
use aurora_discovery_registry::{Caller, Error, Evicted, Limits, Registry, WebOrigin};

use crate::reference::Reference;

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
    let subject = Subject::parse("source", "203.0.113.0/24").unwrap();
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
