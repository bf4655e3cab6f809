//! Measures how many units DynamoDB bills for each operation, and how index writes are distributed
//! over the index keys. It runs on DynamoDB Local, which counts units like AWS.
//!
//! `bench/units` runs this program, and `bench/serverless` runs it with `--json`. Time is
//! simulated, so an hour of heartbeats takes seconds.
#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aurora_discovery_dynamodb::{DynamoOptions, DynamoStore, IndexKeyCounts, connect, create_table};
use aurora_discovery_protocol::{
    Address, Archetype, Archetypes, Freshness, LeaseToken, MailId, Metadata, PeerId, RecordTerms,
    RegisterRequest, Registration, SecretKey, SignedRecord, SignedTokenHash, Timestamp, Ttl, View,
};
use aurora_discovery_registry::{
    Claim, Letter, Limits, PutRequest, Query, SidHash, Signature, Signing, Source, Store, StoreError,
    TokenHash, WebOrigin,
};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Serialize;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Number of concurrent batches while a table is filled. More would not be faster, because the
/// stand-in processes them one after the other.
const CONCURRENT_BATCHES: usize = 4;
/// Number of peers per batch.
const PEERS_PER_BATCH: u16 = 200;
/// Number of samples from which the average cost of one is computed.
const SAMPLES: u32 = 40;
/// Number of peers whose distribution over the index keys is counted.
const SPREAD_PEERS: u32 = 1_000_000;
/// The archetype that all peers have.
const COMMON: &str = "pepino";

/// The results.
#[derive(Default, Serialize)]
struct Report {
    operations: Vec<Operation>,
    tables: Vec<FilledTable>,
    spread: Spread,
}

/// The average units of one operation.
#[derive(Serialize)]
struct Operation {
    name: String,
    peers: u32,
    read_units: f64,
    write_units: f64,
}

/// A table that was filled for the measurements, and how long that took.
#[derive(Serialize)]
struct FilledTable {
    peers: u32,
    seconds: f64,
}

/// The distribution of index writes over the keys of the archetype that all peers have: the number
/// of writes to the busiest key, and to all of them.
#[derive(Default, Serialize)]
struct Spread {
    busiest_key: u64,
    common_archetype: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut bench = Bench { endpoint: std::env::var("AURORA_DYNAMODB_ENDPOINT")?, report: Report::default() };
    let mut json = false;
    let (mut sizes, mut spread) = (Vec::new(), SPREAD_PEERS);
    for word in std::env::args().skip(1) {
        match word.strip_prefix("--") {
            None => sizes.push(word.parse()?),
            Some("json") => json = true,
            Some(flag) => {
                spread = flag
                    .strip_prefix("spread=")
                    .ok_or("usage: units [--json] [--spread=PEERS] [PEERS…]")?
                    .parse()?;
            }
        }
    }
    bench.registration().await?;
    bench.heartbeats().await?;
    bench.mail().await?;
    bench.spread(spread).await?;
    for size in sizes {
        bench.discover(size).await?;
    }
    if json {
        println!("{}", serde_json::to_string(&bench.report)?);
    } else {
        print_tables(&bench.report);
    }
    Ok(())
}

struct Bench {
    endpoint: String,
    report: Report,
}

impl Bench {
    async fn registration(&mut self) -> Result<()> {
        let store = self.store("register").await?;
        store.put(registration(0), at(0)).await?;
        let name = "register, new, 2 archetypes";
        self.count(name, &store, 20, async |n| store.put(registration(n + 1), at(0)).await.map(drop)).await?;
        let name = "register again, 2 archetypes";
        self.count(name, &store, 20, async |n| store.put(registration(n + 1), at(1)).await.map(drop)).await?;
        let name = "register again from another source, 2 archetypes";
        self.count(name, &store, 20, async |n| store.put(moved(n + 1), at(1)).await.map(drop)).await?;
        let name = "register, new, signed, 2 archetypes";
        self.count(name, &store, 20, async |n| store.put(signed(n, 1)?, at(1)).await.map(drop)).await?;
        let name = "register again, signed, 2 archetypes";
        self.count(name, &store, 20, async |n| store.put(signed(n, 2)?, at(1)).await.map(drop)).await?;
        let name = "deregister, 2 archetypes";
        self.count(name, &store, 20, async |n| {
            let PutRequest { registration, claim, .. } = moved(n + 1);
            store.remove(&registration.peer_id, &claim, at(2)).await.map(drop)
        })
        .await
    }

    /// Simulates two days, so that the average includes the renewal of markers.
    async fn heartbeats(&mut self) -> Result<()> {
        const HEARTBEATS: u32 = 2 * 24 * 60;
        let store = self.store("heartbeat").await?;
        let peer = registration(0).registration.peer_id;
        for interval in [60_u32, 100, 150] {
            let count = if interval == 60 { HEARTBEATS } else { 200 };
            let start = interval * 1_000_000;
            store.put(registration(0), at(start)).await?;
            let heartbeat =
                async |n: u32| store.renew(&peer, &claim(), at(start + (n + 1) * interval)).await.map(drop);
            self.count(&format!("heartbeat each {interval} s, lease 300 s"), &store, count, heartbeat)
                .await?;
        }
        Ok(())
    }

    /// Each peer sends one message to the next, which fetches and acknowledges it. Before each of
    /// these operations, the registry reads the peers to decide who may send and receive. Those
    /// reads are counted as well.
    async fn mail(&mut self) -> Result<()> {
        let store = self.store("mail").await?;
        for n in 0..=20 {
            store.put(signed(n, 1)?, at(0)).await?;
        }
        let mailboxes = store.mailboxes().ok_or("the store has no mailboxes")?;
        let fetch = async |n: u32, acknowledged: &[MailId]| {
            mailboxes.peer(&mail_peer(n), at(1)).await?;
            mailboxes.collect(&mail_peer(n), acknowledged, at(1)).await.map(drop)
        };
        self.count("fetch mail, none", &store, 20, async |n| fetch(n + 1, &[]).await).await?;
        let name = "send a message to an empty mailbox";
        self.count(name, &store, 20, async |n| {
            mailboxes.peer(&mail_peer(n), at(1)).await?;
            mailboxes.peer(&mail_peer(n + 1), at(1)).await?;
            mailboxes.deliver(&mail_peer(n + 1), letter(n), at(1)).await.map(drop)
        })
        .await?;
        self.count("fetch mail, one message", &store, 20, async |n| fetch(n + 1, &[]).await).await?;
        let name = "fetch mail and acknowledge one message";
        self.count(name, &store, 20, async |n| fetch(n + 1, &[letter(n).id]).await).await
    }

    async fn discover(&mut self, peers: u32) -> Result<()> {
        self.fill(peers).await?;
        let store = self.store(&peers.to_string()).await?;
        let query = Query {
            archetypes: vec![Archetype::parse(COMMON)?],
            exclude: Some(registration(0).registration.peer_id),
            view: View::Legacy,
            limit: 20,
            page_bytes: 1 << 20,
            diverse: false,
            fill: false,
        };
        let sample = async |_| {
            let page = store.sample(&query, at(1)).await?;
            assert_eq!(page.peers.len(), 20);
            Ok(())
        };
        self.count("discover 20 of one archetype, first of a process", &store, 1, sample).await?;
        self.count("discover 20 of one archetype, one after the other", &store, SAMPLES, sample).await?;
        let diverse = Query { diverse: true, ..query.clone() };
        let sample = async |_| {
            let page = store.sample(&diverse, at(1)).await?;
            assert_eq!(page.peers.len(), 20);
            Ok(())
        };
        self.count("diverse discover 20 of one archetype", &store, SAMPLES, sample).await?;
        if peers <= 200 {
            self.paced(peers, &query).await?;
        }
        Ok(())
    }

    /// Simulates a hundred peers, each of which sends a discover request every five minutes.
    /// Together they send one request every three seconds. To save time, the interval between
    /// requests and the lifetime of a snapshot are a tenth of the real ones.
    async fn paced(&mut self, peers: u32, query: &Query) -> Result<()> {
        const FASTER: u32 = 10;
        let mut options = self.options(&peers.to_string());
        options.snapshot_hold /= FASTER;
        let store = Arc::new(DynamoStore::new(connect(&options).await?, options, &Limits::default()));
        store.health().await?;
        let mut tick = tokio::time::interval(Duration::from_secs(3) / FASTER);
        let sample = async |_| {
            tick.tick().await;
            store.sample(query, at(1)).await.map(drop)
        };
        self.count("discover 20 of one archetype, one each 3 s", &store, SAMPLES, sample).await
    }

    async fn fill(&mut self, peers: u32) -> Result<()> {
        let store = self.store(&peers.to_string()).await?;
        let start = Instant::now();
        let batches = registrations(peers).map(|puts| {
            let store = Arc::clone(&store);
            async move { store.write_unchecked(&puts, at(0)).await }
        });
        stream::iter(batches).buffer_unordered(CONCURRENT_BATCHES).try_collect::<()>().await?;
        self.report.tables.push(FilledTable { peers, seconds: start.elapsed().as_secs_f64() });
        Ok(())
    }

    /// Counts the index writes that the registrations of this many peers would cause. It only
    /// computes the index keys of their items, and writes nothing.
    async fn spread(&mut self, peers: u32) -> Result<()> {
        let store = self.store("spread").await?;
        let mut common = IndexKeyCounts::new();
        for puts in registrations(peers) {
            let keys = store.count_index_keys(&puts, at(0)).await?;
            for (key, count) in keys.into_iter().filter(|(key, _)| key.starts_with(COMMON)) {
                *common.entry(key).or_default() += count;
            }
        }
        self.report.spread = Spread {
            busiest_key: common.values().max().copied().unwrap_or_default(),
            common_archetype: common.values().sum(),
        };
        Ok(())
    }

    /// Runs an operation several times, and records the average number of units that it cost.
    async fn count(
        &mut self,
        name: &str,
        store: &DynamoStore,
        times: u32,
        mut operation: impl AsyncFnMut(u32) -> std::result::Result<(), StoreError>,
    ) -> Result<()> {
        let before = store.units();
        for n in 0..times {
            operation(n).await?;
        }
        let after = store.units();
        let size: u32 = self.report.tables.last().map_or(1, |table| table.peers);
        self.report.operations.push(Operation {
            name: name.to_owned(),
            peers: size,
            read_units: (after.read - before.read) / f64::from(times),
            write_units: (after.write - before.write) / f64::from(times),
        });
        Ok(())
    }

    /// Creates a store without any cached state, as in a new process, on the table with this name.
    async fn store(&self, table: &str) -> Result<Arc<DynamoStore>> {
        let options = self.options(table);
        let client = connect(&options).await?;
        create_table(&client, &options.table, false).await?;
        Ok(Arc::new(DynamoStore::new(client, options, &Limits::default())))
    }

    fn options(&self, table: &str) -> DynamoOptions {
        let mut options = DynamoOptions::new(format!("aurora-peers-units-{table}"));
        options.endpoint = Some(self.endpoint.clone());
        // A busy stand-in must not affect the results.
        options.deadline = Duration::from_secs(600);
        options.attempt_timeout = Duration::from_secs(200);
        options
    }
}

fn print_tables(report: &Report) {
    println!("| operation | peers | read units | write units |\n|---|---|---|---|");
    for Operation { name, peers, read_units, write_units } in &report.operations {
        println!("| {name} | {peers} | {read_units:.2} | {write_units:.3} |");
    }
    println!();
    for FilledTable { peers, seconds } in &report.tables {
        println!("A table of {peers} peers was filled in {seconds:.0} s.");
    }
    let Spread { busiest_key, common_archetype } = &report.spread;
    println!("The busiest index key of one archetype would get {busiest_key} of {common_archetype} writes.");
}

/// The registrations of this many peers, in batches.
fn registrations(peers: u32) -> impl Iterator<Item = Vec<PutRequest>> {
    let first = (0..peers).step_by(usize::from(PEERS_PER_BATCH));
    let batch = move |first: u32| first..peers.min(first + u32::from(PEERS_PER_BATCH));
    first.map(move |first| batch(first).map(registration_from_elsewhere).collect())
}

/// A registration from one of 256 networks, which diverse samples distinguish.
fn registration_from_elsewhere(n: u32) -> PutRequest {
    let [.., a, b, c] = n.to_be_bytes();
    let source = Source::of([20, c, a, b].into());
    PutRequest { claim: Claim { source, ..claim() }, ..registration(n) }
}

fn at(seconds: u32) -> Timestamp {
    Timestamp::from_secs(1_759_406_400 + u64::from(seconds))
}

fn claim() -> Claim {
    Claim {
        source: Source::of([203, 0, 113, 7].into()),
        page: WebOrigin::None,
        token: None,
        holder_rule_disabled: false,
    }
}

/// The registration of the same peer from another source, with the token of its first registration.
fn moved(n: u32) -> PutRequest {
    let mut put = registration(n);
    put.claim.source = Source::of([198, 51, 100, 7].into());
    put.claim.token = Some(put.new_token);
    put
}

/// The number of the first peer that signs.
const FIRST_SIGNED: u32 = 1_000_000;

/// The peer of a signed registration.
fn mail_peer(n: u32) -> PeerId {
    registration(FIRST_SIGNED + n).registration.peer_id
}

/// A message from a peer, about as long as one that a browser sends.
fn letter(n: u32) -> Letter {
    const MESSAGE_BYTES: usize = 1_200;
    let from = mail_peer(n);
    Letter {
        id: MailId::new(u64::from(n) + 1),
        sid: SidHash::of(&from, "session"),
        from,
        source: claim().source,
        message: "x".repeat(MESSAGE_BYTES).into(),
        sent_at: at(1),
    }
}

/// A signed registration with the same fields as `registration`, but of another peer.
fn signed(n: u32, seq: u64) -> std::result::Result<PutRequest, StoreError> {
    let put = registration(FIRST_SIGNED + n);
    let Registration { peer_id, address, port, archetypes, metadata } = put.registration.clone();
    let request = RegisterRequest {
        address: Some(address),
        port,
        archetypes,
        metadata,
        ..RegisterRequest::new(peer_id)
    };
    let terms = RecordTerms {
        seq,
        freshness: Freshness::IssuedAt(at(0).as_secs()),
        token_hash: SignedTokenHash([7; 32]),
        audience: None,
        replaces: None,
    };
    let key = SecretKey::from_random(&[1; 32]);
    let record = SignedRecord::sign(&request, &terms, &key)
        .map_err(|refusal| StoreError::Internal(refusal.to_string()))?;
    let signature = Signature { key: key.public(), seq, replaces: None, record: record.as_str().into() };
    Ok(PutRequest { token_only: true, signing: Signing::Signed(signature), ..put })
}

/// A registration like that of a legacy client: about 250 bytes of JSON when listed. All peers have
/// one archetype in common.
fn registration(n: u32) -> PutRequest {
    let [.., a, b, c] = n.to_be_bytes();
    let archetypes = [COMMON, ["ethics", "memory", "tensor", "vision"][usize::from(c % 4)]];
    // These ids, archetypes and metadata are all valid, so parsing them never fails.
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
    PutRequest {
        registration,
        ttl: Ttl::from_secs(300),
        claim: claim(),
        token_only: false,
        new_token: TokenHash::of(&LeaseToken::from_random(token)),
        signing: Signing::Unsigned,
    }
}
