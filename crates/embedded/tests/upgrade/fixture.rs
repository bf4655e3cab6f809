//! Fixtures: copies of the data directories of earlier releases, and the peers in them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aurora_discovery_embedded::{EmbeddedOptions, EmbeddedStore};
use aurora_discovery_protocol::{Address, Archetypes, Metadata, PeerId, Registration, Timestamp};
use aurora_discovery_registry::Limits;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A copy of a release's data directory, which the test may open and change.
pub(crate) struct Fixture {
    source: PathBuf,
    copy: TempDir,
    /// When the release last wrote. The test opens the store at this time, because dormant peers
    /// are evicted after a day.
    pub(crate) now: Timestamp,
    pub(crate) peers: Vec<ExpectedPeer>,
    pub(crate) deregistered: Vec<String>,
}

/// The contents of `expected.json`.
#[derive(Deserialize)]
struct Expected {
    written_at: u64,
    peers: Vec<ExpectedPeer>,
    deregistered: Vec<String>,
}

/// A peer as the release stored it.
#[derive(Deserialize)]
pub(crate) struct ExpectedPeer {
    pub(crate) peer_id: String,
    address: String,
    port: u16,
    archetypes: Vec<String>,
    metadata: Value,
    pub(crate) ttl_seconds: u32,
    pub(crate) lease_token: String,
    pub(crate) registered_at: u64,
    pub(crate) live: bool,
}

impl Fixture {
    /// A copy of each fixture.
    pub(crate) fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let mut sources: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        sources.sort();
        let fixtures: Vec<_> = sources.into_iter().map(Self::copy).collect();
        assert!(fixtures.iter().any(Self::has_checkpoint) && !fixtures.iter().all(Self::has_checkpoint));
        fixtures
    }

    /// Another copy in the original state.
    pub(crate) fn fresh(&self) -> Self {
        Self::copy(self.source.clone())
    }

    fn copy(source: PathBuf) -> Self {
        let expected = fs::read(source.join("expected.json")).unwrap();
        let Expected { written_at, peers, deregistered } = serde_json::from_slice(&expected).unwrap();
        let copy = tempfile::tempdir().unwrap();
        for file in fs::read_dir(source.join("data")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        Self { source, copy, now: Timestamp::from_secs(written_at), peers, deregistered }
    }

    pub(crate) fn open(&self, now: Timestamp) -> Arc<EmbeddedStore> {
        self.open_within(Limits::default(), now)
    }

    pub(crate) fn open_within(&self, limits: Limits, now: Timestamp) -> Arc<EmbeddedStore> {
        let directory = Some(self.copy.path().to_owned());
        EmbeddedStore::open(EmbeddedOptions { directory, limits, ..EmbeddedOptions::default() }, now)
            .unwrap_or_else(|error| panic!("{self}: {error}"))
    }

    pub(crate) fn has_checkpoint(&self) -> bool {
        self.source.file_name().unwrap().to_str().unwrap().ends_with("-checkpoint")
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = &ExpectedPeer> {
        self.peers.iter().filter(|peer| peer.live)
    }

    pub(crate) fn dormant(&self) -> impl Iterator<Item = &ExpectedPeer> {
        self.peers.iter().filter(|peer| !peer.live)
    }

    /// The expected listing of the live peers, ordered by id.
    pub(crate) fn listed(&self) -> Vec<Value> {
        self.listed_if(|peer| peer.live)
    }

    /// The expected listing of the selected peers while they are live, ordered by id.
    pub(crate) fn listed_if(&self, is_live: impl Fn(&ExpectedPeer) -> bool) -> Vec<Value> {
        let mut listed: Vec<_> =
            self.peers.iter().filter(|peer| is_live(peer)).map(ExpectedPeer::listed).collect();
        listed.sort_by_key(|peer| peer["peer_id"].to_string());
        listed
    }
}

impl fmt::Display for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.display().fmt(f)
    }
}

impl ExpectedPeer {
    pub(crate) fn registration(&self) -> Registration {
        Registration {
            peer_id: PeerId::parse(&self.peer_id).unwrap(),
            address: Address::parse(&self.address).unwrap().unwrap(),
            port: self.port,
            archetypes: Archetypes::parse(&self.archetypes).unwrap(),
            metadata: Metadata::parse(&self.metadata.to_string()).unwrap(),
        }
    }

    fn listed(&self) -> Value {
        let Self { peer_id, address, port, archetypes, metadata, .. } = self;
        json!({
            "peer_id": peer_id, "address": address, "port": port,
            "archetypes": archetypes, "metadata": metadata,
        })
    }
}
