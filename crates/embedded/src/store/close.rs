//! Closing the store: makes all changes durable and ends all threads.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use aurora_discovery_registry::StoreError;
use tokio::sync::oneshot;

use super::{EmbeddedStore, unavailable};

impl EmbeddedStore {
    /// Ends the background work. This waits for the disk, so it runs in a separate thread.
    pub(super) async fn close_once(&self) -> Result<(), StoreError> {
        if self.shared.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let Some(journal) = self.journal.clone() else { return Ok(()) };
        let checkpointer = Arc::clone(&self.checkpointer);
        let (done, is_done) = oneshot::channel();
        let work = move || {
            checkpointer.join();
            let health = journal.health();
            journal.close();
            // The caller may have stopped waiting, so a failed send is ignored.
            let _ = done.send(health);
        };
        thread::Builder::new().name("close".to_owned()).spawn(work).map_err(|error| {
            StoreError::Internal(format!("could not start the thread that closes the store: {error}"))
        })?;
        match is_done.await {
            Ok(health) => health.map_err(|error| unavailable(&error)),
            Err(_) => Err(StoreError::Internal("the thread that closes the store panicked".to_owned())),
        }
    }
}

impl Drop for EmbeddedStore {
    /// Makes all changes durable even without [`aurora_discovery_registry::Store::close`]. Blocks
    /// on the disk.
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.checkpointer.join();
    }
}
