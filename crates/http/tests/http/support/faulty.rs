//! The embedded store, with faults that no request can cause.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aurora_discovery_embedded::EmbeddedStore;
use aurora_discovery_protocol::{PeerId, PublicKey, Subject, Timestamp};
use aurora_discovery_registry::{
    BlockList, Census, Claim, Enumeration, Evicted, Page, Position, PutRequest, PutResult, Query, Removal,
    Renewal, Store, StoreError, Swept,
};
use tokio::time::sleep;

/// A store that fails to renew three peers. For `panics` it panics, for `breaks` it returns an
/// error, and for `stalls` it takes an hour.
pub(crate) struct FaultyStore(Arc<EmbeddedStore>);

impl FaultyStore {
    pub(crate) fn wrap(store: Arc<EmbeddedStore>) -> Arc<dyn Store> {
        Arc::new(Self(store))
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn put(&self, put: PutRequest, now: Timestamp) -> Result<PutResult, StoreError> {
        self.0.put(put, now).await
    }

    async fn renew(&self, peer: &PeerId, claim: &Claim, now: Timestamp) -> Result<Renewal, StoreError> {
        match peer.as_str() {
            "panics" => panic!("the secret of slot 7"),
            "breaks" => Err(StoreError::Internal("the secret of slot 8".to_owned())),
            "stalls" => {
                sleep(Duration::from_secs(3_600)).await;
                Ok(Renewal::Unknown)
            }
            _ => self.0.renew(peer, claim, now).await,
        }
    }

    async fn remove(&self, peer: &PeerId, claim: &Claim, now: Timestamp) -> Result<Removal, StoreError> {
        self.0.remove(peer, claim, now).await
    }

    async fn evict(&self, subjects: &[Subject], now: Timestamp) -> Result<Evicted, StoreError> {
        self.0.evict(subjects, now).await
    }

    async fn locking_keys(
        &self,
        peers: &[PeerId],
        now: Timestamp,
    ) -> Result<Vec<Option<PublicKey>>, StoreError> {
        self.0.locking_keys(peers, now).await
    }

    async fn blocks(&self) -> Result<BlockList, StoreError> {
        self.0.blocks().await
    }

    async fn replace_blocks(&self, text: &str, version: u64) -> Result<bool, StoreError> {
        self.0.replace_blocks(text, version).await
    }

    async fn sample(&self, query: &Query, now: Timestamp) -> Result<Page, StoreError> {
        self.0.sample(query, now).await
    }

    async fn enumerate(
        &self,
        query: &Query,
        after: Option<&Position>,
        now: Timestamp,
    ) -> Result<Enumeration, StoreError> {
        self.0.enumerate(query, after, now).await
    }

    async fn census(&self, archetypes: usize, now: Timestamp) -> Result<Census, StoreError> {
        self.0.census(archetypes, now).await
    }

    async fn sweep(&self, now: Timestamp) -> Result<Swept, StoreError> {
        self.0.sweep(now).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.0.health().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.0.close().await
    }
}
