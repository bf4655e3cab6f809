//! Counts the units that each operation is billed, on a stand-in that counts them as AWS does (DynamoDB Local).
//!
//! Run by `bench/units`. Time is made up, so an hour of heartbeats takes seconds.
#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::error::Error;
use std::sync::Arc;

use aurora_dynamodb::{DynamoOptions, DynamoStore, Units, connect, create_table};
use aurora_protocol::{
    Address, Archetype, Archetypes, LeaseToken, Metadata, PeerId, Registration, Timestamp, Ttl, View,
};
use aurora_registry::{Claim, Limits, Put, Query, Source, Store, StoreError, TokenHash};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Registrations under way at once.
const AT_ONCE: usize = 32;
/// Samples that an average is taken over.
const SAMPLES: u32 = 40;

#[tokio::main]
async fn main() -> Result<()> {
    let endpoint = std::env::var("AURORA_DYNAMODB_ENDPOINT")?;
    let sizes: Vec<u32> =
        std::env::args().skip(1).map(|size| size.parse()).collect::<std::result::Result<_, _>>()?;
    println!("| operation | peers | read units | write units |");
    println!("|---|---|---|---|");
    let bench = Bench { endpoint };
    bench.registration().await?;
    bench.heartbeats().await?;
    for size in sizes {
        bench.discover(size).await?;
    }
    Ok(())
}

struct Bench {
    endpoint: String,
}

impl Bench {
    async fn store(&self, table: &str) -> Result<Arc<DynamoStore>> {
        let options = self.options(table);
        let client = connect(&options).await;
        create_table(&client, &options.table, false).await?;
        Ok(Arc::new(DynamoStore::new(client, options, &Limits::default())))
    }

    async fn registration(&self) -> Result<()> {
        let store = self.store("register").await?;
        store.put(registration(0), at(0)).await?;
        let first =
            counted(&store, 20, async |n| store.put(registration(n + 1), at(0)).await.map(drop)).await?;
        row("register, new, 2 archetypes", 20, first, 20.0);
        let again =
            counted(&store, 20, async |n| store.put(registration(n + 1), at(1)).await.map(drop)).await?;
        row("register again, 2 archetypes", 20, again, 20.0);
        let gone = counted(&store, 20, async |n| {
            store.remove(&registration(n + 1).registration.peer_id, &claim(), at(2)).await.map(drop)
        });
        row("deregister, 2 archetypes", 20, gone.await?, 20.0);
        Ok(())
    }

    /// Two days, so that the renewal of markers is in the average.
    async fn heartbeats(&self) -> Result<()> {
        const BEATS: u32 = 2 * 24 * 60;
        let store = self.store("heartbeat").await?;
        store.put(registration(0), at(0)).await?;
        let peer = registration(0).registration.peer_id;
        for interval in [60_u32, 100, 150] {
            let beats = if interval == 60 { BEATS } else { 200 };
            let began = interval * 1_000_000;
            store.put(registration(0), at(began)).await?;
            let beat = async |n: u32| store.renew(&peer, at(began + (n + 1) * interval)).await.map(drop);
            let units = counted(&store, beats, beat).await?;
            row(&format!("heartbeat each {interval} s, lease 300 s"), 1, units, f64::from(beats));
        }
        Ok(())
    }

    async fn discover(&self, peers: u32) -> Result<()> {
        let filler = self.store(&peers.to_string()).await?;
        let puts = (0..peers).map(|n| filler.put(registration(n), at(0)));
        stream::iter(puts).buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await?;
        let store = self.store(&peers.to_string()).await?;
        let query = Query {
            archetypes: vec![Archetype::parse("pepino")?],
            exclude: Some(registration(0).registration.peer_id),
            view: View::Seed,
            limit: 20,
            page_bytes: 1 << 20,
            fill: false,
        };
        let first = counted(&store, 1, async |_| store.sample(&query, at(1)).await.map(drop)).await?;
        row("discover 20 of one archetype, first of a process", peers, first, 1.0);
        let next = counted(&store, SAMPLES, async |_| {
            let page = store.sample(&query, at(1)).await?;
            assert_eq!(page.peers.len(), 20);
            Ok(())
        });
        row("discover 20 of one archetype, one after the other", peers, next.await?, f64::from(SAMPLES));
        if peers <= 200 {
            self.paced(peers, &query).await?;
        }
        Ok(())
    }

    /// A hundred peers that discover once in five minutes ask once in three seconds; here all is ten times as fast.
    async fn paced(&self, peers: u32, query: &Query) -> Result<()> {
        const FASTER: u32 = 10;
        let mut options = self.options(&peers.to_string());
        options.snapshot_hold /= FASTER;
        let store = DynamoStore::new(connect(&options).await, options, &Limits::default());
        store.health().await?;
        let mut tick = tokio::time::interval(std::time::Duration::from_secs(3) / FASTER);
        let units = counted(&store, SAMPLES, async |_| {
            tick.tick().await;
            store.sample(query, at(1)).await.map(drop)
        });
        row("discover 20 of one archetype, one each 3 s", peers, units.await?, f64::from(SAMPLES));
        Ok(())
    }

    fn options(&self, table: &str) -> DynamoOptions {
        let mut options = DynamoOptions::new(format!("aurora-peers-units-{table}"));
        options.endpoint = Some(self.endpoint.clone());
        options.deadline = std::time::Duration::from_secs(60);
        options.attempt_timeout = std::time::Duration::from_secs(20);
        options
    }
}

async fn counted(
    store: &DynamoStore,
    times: u32,
    mut operation: impl AsyncFnMut(u32) -> std::result::Result<(), StoreError>,
) -> Result<Units> {
    let before = store.units();
    for n in 0..times {
        operation(n).await?;
    }
    let after = store.units();
    Ok(Units { read: after.read - before.read, write: after.write - before.write })
}

fn row(operation: &str, peers: u32, units: Units, times: f64) {
    println!("| {operation} | {peers} | {:.2} | {:.3} |", units.read / times, units.write / times);
}

fn at(seconds: u32) -> Timestamp {
    Timestamp::from_secs(1_759_406_400 + u64::from(seconds))
}

fn claim() -> Claim {
    Claim { source: Source::of([203, 0, 113, 7].into()), token: None, unguarded: false }
}

/// A registration like the seed's: about 250 bytes of JSON as it is listed, everybody with one archetype in common.
fn registration(n: u32) -> Put {
    let [.., a, b, c] = n.to_be_bytes();
    let archetypes = ["pepino", ["ethics", "memory", "tensor", "vision"][usize::from(c % 4)]];
    // Ids, addresses and metadata of constant, valid forms.
    let registration = Registration {
        peer_id: PeerId::parse(&format!("123e4567-e89b-12d3-a456-{n:012x}"))
            .unwrap_or_else(|_| unreachable!()),
        address: Address::from(std::net::IpAddr::from([10, a, b, c])),
        port: 9000,
        archetypes: Archetypes::parse(&archetypes).unwrap_or_default(),
        metadata: Metadata::parse(r#"{"version": "1.0.0", "capabilities": ["tensor-exchange"]}"#)
            .unwrap_or_default(),
    };
    let mut token = [0; 16];
    token[..4].copy_from_slice(&n.to_be_bytes());
    Put {
        registration,
        ttl: Ttl::from_secs(300),
        claim: claim(),
        new_token: TokenHash::of(&LeaseToken::from_random(token)),
    }
}
