//! Fills a store with a million peers and prints what each costs, and what its verbs take.
//!
//! `cargo run --release -p aurora-embedded --example index_bench [-- DIRECTORY]`: with a directory on disk, also a
//! checkpoint of it and a restart from both.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    reason = "a tool for people at a terminal"
)]

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use aurora_embedded::{EmbeddedOptions, EmbeddedStore};
use aurora_protocol::{Address, Archetype, Archetypes, Metadata, PeerId, Registration, Timestamp, Ttl, View};
use aurora_registry::{Claim, Limits, Placement, Put, Query, Renewal, Source, Store, TokenHash};

const PEERS: u32 = 1_000_000;

fn main() {
    let directory = std::env::args().nth(1).map(PathBuf::from);
    let before = resident();
    let store = open(directory.clone());
    let mut filled = 0;
    for until in [1_000, 100_000, PEERS] {
        let started = Instant::now();
        fill(&store, filled..until);
        let took = started.elapsed() / (until - filled);
        filled = until;
        let each = (resident() - before) / u64::from(until);
        println!("{until} peers: {took:?} a registration, {each} bytes a peer resident");
        sample(&store, until);
        heartbeats(&store, until);
    }
    if let Some(directory) = directory {
        restart(&store, &directory);
    }
}

fn open(directory: Option<PathBuf>) -> Arc<EmbeddedStore> {
    EmbeddedStore::open(EmbeddedOptions { directory, limits: Limits::default(), ..Default::default() }, now())
        .unwrap()
}

fn restart(store: &Arc<EmbeddedStore>, directory: &Path) {
    for form in ["the journal", "a checkpoint"] {
        wait(store.close()).unwrap();
        let started = Instant::now();
        let again = open(Some(directory.to_owned()));
        println!("restart from {form}: {:?}, {:?}", started.elapsed(), again.restored());
        let started = Instant::now();
        if form == "the journal" {
            let report = again.checkpoint().unwrap();
            println!("checkpoint: {:?}, {} bytes a peer", started.elapsed(), report.bytes / u64::from(PEERS));
        }
        wait(again.close()).unwrap();
    }
}

fn fill(store: &EmbeddedStore, peers: std::ops::Range<u32>) {
    // Many at once where there is a disk, as many connections would.
    const AT_ONCE: usize = 256;
    wait(async {
        let mut waiting = Vec::with_capacity(AT_ONCE);
        for n in peers {
            let mut call = Box::pin(store.put(put(n), now()));
            match poll(call.as_mut()) {
                Poll::Ready(placement) => assert!(matches!(placement, Ok(Placement::Placed { .. }))),
                Poll::Pending => waiting.push(call),
            }
            if waiting.len() == AT_ONCE {
                for call in waiting.drain(..) {
                    call.await.unwrap();
                }
            }
        }
        for call in waiting {
            call.await.unwrap();
        }
    });
}

fn sample(store: &EmbeddedStore, peers: u32) {
    for (name, archetypes) in
        [("all", vec![]), ("one of 10", vec!["kind-7"]), ("union of 3", vec!["kind-7", "kind-8", "role-1"])]
    {
        let archetypes = archetypes.into_iter().map(|name| Archetype::parse(name).unwrap()).collect();
        let query = Query {
            archetypes,
            exclude: Some(id(7)),
            view: View::Seed,
            limit: 50,
            page_bytes: 1 << 20,
            fill: false,
        };
        let mut times: Vec<_> = (0..2_000)
            .map(|_| {
                let started = Instant::now();
                let page = ready(store.sample(&query, now())).unwrap();
                assert_eq!(page.peers.len(), 50);
                started.elapsed()
            })
            .collect();
        times.sort_unstable();
        println!("{peers} peers: sample 50 of {name}: median {:?}, p99 {:?}", times[1_000], times[1_980]);
    }
}

fn heartbeats(store: &EmbeddedStore, peers: u32) {
    const BLOCK: u32 = 1_000;
    // The median of many blocks is a heartbeat's own time, whatever else the machine does.
    let mut times: Vec<_> = (0..200)
        .map(|_| {
            let ids: Vec<_> = (0..BLOCK).map(|_| id(fastrand::u32(..peers))).collect();
            let started = Instant::now();
            for id in &ids {
                assert!(matches!(ready(store.renew(id, now())), Ok(Renewal::Renewed { .. })));
            }
            started.elapsed() / BLOCK
        })
        .collect();
    times.sort_unstable();
    println!("{peers} peers: a heartbeat takes {:?}", times[100]);
}

fn id(n: u32) -> PeerId {
    PeerId::parse(&format!("{n:08x}-8c1f-4b6e-9a57-{:012x}", u64::from(n) * 2_654_435_761)).unwrap()
}

/// About 250 bytes of JSON, as the seed's example.
fn put(n: u32) -> Put {
    let source = IpAddr::from(Ipv4Addr::from_bits(0x0A00_0000 + n));
    let archetypes = [format!("kind-{}", n % 10), format!("role-{}", n % 7)];
    Put {
        registration: Registration {
            peer_id: id(n),
            address: Address::from(source),
            port: 9_000,
            archetypes: Archetypes::parse(&archetypes).unwrap(),
            metadata: Metadata::parse(
                r#"{"version": "1.0.0", "capabilities": ["tensor-exchange"], "load": 0.25, "region": "eu-1"}"#,
            )
            .unwrap(),
        },
        ttl: Ttl::from_secs(300),
        claim: Claim { source: Source::of(source), token: None, unguarded: false },
        new_token: TokenHash::from_bytes([n as u8; TokenHash::LEN]),
    }
}

fn now() -> Timestamp {
    Timestamp::from_secs(1_759_406_400)
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// What a call that never waits answers.
fn ready<F: Future>(future: F) -> F::Output {
    match poll(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("it waits for nothing"),
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
