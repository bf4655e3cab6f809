//! Helpers for the tests: the Valkey server that `scripts/valkey run` has started for all of them,
//! servers that a single test starts, and the peers and requests that the tests use.
#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "proxy.rs"]
pub(crate) mod proxy;

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use aurora_discovery_protocol::{Address, Archetypes, Metadata, PeerId, Registration, Timestamp, Ttl};
use aurora_discovery_registry::{
    Claim, Limits, PutRequest, PutResult, Query, Signing, Source, Store, StoreError, TokenHash, WebOrigin,
};
use aurora_discovery_valkey::{ValkeyOptions, ValkeyStore};
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

/// The variables that `scripts/valkey run` sets: the URL of the server, and the path of its
/// program.
const URL: &str = "AURORA_TEST_VALKEY_URL";
const SERVER: &str = "AURORA_TEST_VALKEY_SERVER";

/// A timeout that no step of a test exceeds, even on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_759_406_400);
pub(crate) const TTL: Ttl = Ttl::from_secs(300);
/// A time at which the revival window of a peer that registered at [`NOW`] has ended.
pub(crate) const EVICTED: Timestamp = NOW.plus_millis(2 * 86_400_000);

/// The options of a registry that no other test uses. Its store trusts the time of the caller, and
/// waits longer than by default, because on a busy machine the server's disk may take seconds.
pub(crate) fn fresh_registry() -> ValkeyOptions {
    let url = env::var(URL).expect("`scripts/valkey run` sets AURORA_TEST_VALKEY_URL");
    let mut options = registry_on(url);
    (options.deadline, options.response_timeout) = (LONG, LONG);
    options
}

/// The options of a registry on a server or a proxy at this port, with the default timeouts.
pub(crate) fn registry_at(port: u16) -> ValkeyOptions {
    registry_on(format!("redis://{}:{port}", own_address()))
}

/// The loopback address of this test process. A server cannot bind to port 0, so a test picks a
/// free port for it. No other process can take the port meanwhile, because none uses this address.
pub(crate) fn own_address() -> Ipv4Addr {
    let [_, b, c, d] = process::id().to_be_bytes();
    // The upper half of 127.0.0.0/8, because programs normally use addresses in the lower half.
    Ipv4Addr::new(127, b | 0x80, c, d)
}

fn registry_on(url: String) -> ValkeyOptions {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut options = ValkeyOptions::new(url);
    options.name = format!("test-{}-{}", process::id(), COUNT.fetch_add(1, Relaxed));
    options.store_time = false;
    options
}

/// Opens a store. Retries, because some tests set timeouts that a busy machine exceeds.
pub(crate) async fn open(options: &ValkeyOptions) -> ValkeyStore {
    let started = Instant::now();
    loop {
        match ValkeyStore::open(options.clone(), Limits::default()).await {
            Ok(store) => return store,
            Err(error) => assert!(started.elapsed() < LONG, "the server can't be used: {error}"),
        }
    }
}

/// A connection to the server, for commands of the test itself.
pub(crate) async fn connection(options: &ValkeyOptions) -> MultiplexedConnection {
    let client = redis::Client::open(options.url.as_str()).expect("a URL");
    client.get_multiplexed_async_connection().await.expect("the server is up")
}

/// Sends a command, and ignores what it returns.
pub(crate) async fn send(connection: &mut MultiplexedConnection, command: &str) {
    let mut words = command.split(' ');
    let mut built = redis::cmd(words.next().expect("a command"));
    words.for_each(|word| _ = built.arg(word));
    let _: redis::Value = built.query_async(connection).await.expect("the command works");
}

pub(crate) fn peer(name: &str) -> PeerId {
    PeerId::parse(name).expect("an id")
}

pub(crate) fn claim(from: &str) -> Claim {
    let source = Source::of(from.parse().expect("an address"));
    Claim { source, page: WebOrigin::None, token: None, holder_rule_disabled: false }
}

pub(crate) fn registration(name: &str, from: &str) -> PutRequest {
    PutRequest {
        registration: Registration {
            peer_id: peer(name),
            address: Address::parse("192.0.2.1").expect("an address").expect("one that is listed"),
            port: 9_000,
            archetypes: Archetypes::parse(&["pepino"]).expect("archetypes"),
            metadata: Metadata::parse("{}").expect("metadata"),
        },
        ttl: TTL,
        claim: claim(from),
        token_only: false,
        new_token: TokenHash::from_bytes(fastrand::u128(..).to_be_bytes()),
        signing: Signing::Unsigned,
    }
}

/// Registers a peer from its home address.
pub(crate) async fn register(store: &ValkeyStore, name: &str) -> Result<PutResult, StoreError> {
    store.put(registration(name, HOME), NOW).await
}

/// Registers a peer from its home address, and repeats that until it is acknowledged: some tests set
/// timeouts that a busy machine exceeds.
pub(crate) async fn register_surely(store: &ValkeyStore, name: &str) {
    eventually("the peer is registered", || async { register(store, name).await == STORED }).await;
}

pub(crate) const HOME: &str = "203.0.113.7";
pub(crate) const STORED: Result<PutResult, StoreError> = Ok(PutResult::Stored { token_kept: false });

/// The number of live peers that the store lists.
pub(crate) async fn listed(store: &ValkeyStore, now: Timestamp) -> Result<u64, StoreError> {
    let query = Query {
        archetypes: Vec::new(),
        exclude: None,
        view: aurora_discovery_protocol::View::default(),
        limit: 1_000,
        page_bytes: 1 << 20,
        diverse: false,
        fill: false,
    };
    store.sample(&query, now).await.map(|page| page.total.value())
}

/// Waits until a condition holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

/// Waits until the registry on the server has no peers.
pub(crate) async fn until_empty(options: &ValkeyOptions) {
    let key = format!("{{aurora:{}}}:leases", options.name);
    eventually("the server has no peers", || async {
        let mut connection = connection(options).await;
        redis::cmd("HLEN").arg(&key).query_async::<u64>(&mut connection).await == Ok(0)
    })
    .await;
}

fn valkey() -> String {
    env::var(SERVER).expect("`scripts/valkey run` sets AURORA_TEST_VALKEY_SERVER")
}

/// A server that only one test uses. It is killed when it is dropped.
pub(crate) struct OwnServer {
    program: String,
    process: Child,
    directory: TempDir,
    port: u16,
}

impl OwnServer {
    pub(crate) async fn start() -> Self {
        Self::run(&valkey(), &[]).await
    }

    /// Starts a replica. It has all data of the primary when this returns.
    pub(crate) async fn replica_of(primary: &Self) -> Self {
        let port = primary.port.to_string();
        let replica = Self::run(&valkey(), &["--replicaof", &own_address().to_string(), &port]).await;
        eventually("the replica is synced", || async {
            let mut connection = connection(&replica.registry()).await;
            let info: String = redis::cmd("INFO").query_async(&mut connection).await.expect("it is up");
            info.contains("master_link_status:up")
        })
        .await;
        replica
    }

    /// Starts this program, which must accept the arguments of a Valkey server, with the arguments
    /// `more` in addition.
    pub(crate) async fn run(program: &str, more: &[&str]) -> Self {
        let port =
            TcpListener::bind((own_address(), 0)).and_then(|free| free.local_addr()).expect("a port").port();
        let directory = tempfile::tempdir().expect("a directory");
        let process = Self::spawn(program, &directory, port, more);
        let server = Self { program: program.to_owned(), process, directory, port };
        server.wait_until_ready().await;
        server
    }

    fn spawn(program: &str, directory: &TempDir, port: u16, more: &[&str]) -> Child {
        Command::new(program)
            .args(["--bind", &own_address().to_string()])
            .args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
            .args(["--port", &port.to_string(), "--loglevel", "warning"])
            .arg("--dir")
            .arg(directory.path())
            .args(more)
            .stdout(Stdio::null())
            .spawn()
            .expect("the server starts")
    }

    /// Kills the server as a crash would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }

    pub(crate) async fn restart(&mut self) {
        self.process = Self::spawn(&self.program, &self.directory, self.port, &[]);
        self.wait_until_ready().await;
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn registry(&self) -> ValkeyOptions {
        registry_at(self.port)
    }

    pub(crate) fn registry_named(&self, name: &str) -> ValkeyOptions {
        let mut options = self.registry();
        name.clone_into(&mut options.name);
        options
    }

    async fn wait_until_ready(&self) {
        let url = format!("redis://{}:{}", own_address(), self.port);
        let client = redis::Client::open(url).expect("a URL");
        eventually("the server starts", || async {
            let Ok(mut connection) = client.get_multiplexed_async_connection().await else { return false };
            redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
        })
        .await;
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
