//! What the store and its two tasks share.

use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::Duration;

use aurora_discovery_embedded::replica::Replica;
use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{Limits, StoreClock, StoreError};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::confirmation::Confirmation;
use crate::connection::Connector;
use crate::counters::Counters;
use crate::entry::StreamId;
use crate::failure::{OpenError, unavailable};
use crate::keys::Keys;
use crate::mail::MailConnection;
use crate::options::ValkeyOptions;
use crate::queue::Queue;

/// How old the replica may be before no lease is ended by it, and no change decided by it. The contract
/// promises that a change of another process is visible after five seconds.
const MAX_LAG: Duration = Duration::from_secs(5);

/// What the store and its two tasks share.
pub(crate) struct Shared {
    pub(crate) options: ValkeyOptions,
    pub(crate) connector: Connector,
    pub(crate) keys: Keys,
    pub(crate) replica: Replica,
    pub(crate) queue: Queue,
    pub(crate) clock: StoreClock,
    pub(crate) counters: Counters,
    pub(crate) mail: MailConnection,
    /// Held by the writer during a batch, and by the follower while it reads all peers.
    pub(crate) write_or_load_lock: tokio::sync::Mutex<()>,
    /// The last entry of the log that the replica has.
    pub(crate) position: watch::Sender<StreamId>,
    pub(crate) closed: AtomicBool,
    /// How long the replica may be listed without the server: the default lease.
    listed_for: Duration,
    /// Whether the replica has to be filled again.
    outdated: AtomicBool,
    /// When the replica had everything that was in the log.
    current_at: Mutex<Option<Instant>>,
    /// The latest time for which leases were ended, in milliseconds.
    expired_until: AtomicU64,
    /// Why the last registration was not durable.
    not_durable: Mutex<Option<String>>,
}

impl Shared {
    pub(crate) fn new(options: ValkeyOptions, limits: Limits) -> Result<Self, OpenError> {
        Ok(Self {
            connector: Connector::new(&options)?,
            keys: Keys::new(&options.name),
            listed_for: Duration::from_secs(limits.ttl_default.as_secs().into()),
            replica: Replica::new(limits),
            queue: Queue::default(),
            clock: StoreClock::new(Duration::from_micros(1)),
            counters: Counters::default(),
            mail: MailConnection::default(),
            write_or_load_lock: tokio::sync::Mutex::default(),
            position: watch::Sender::default(),
            closed: AtomicBool::new(false),
            outdated: AtomicBool::new(false),
            current_at: Mutex::default(),
            expired_until: AtomicU64::new(0),
            not_durable: Mutex::default(),
            options,
        })
    }

    /// What confirms a registration, if a response of the server is not enough.
    pub(crate) fn confirmation(&self) -> Option<Confirmation> {
        Confirmation::required(&self.options)
    }

    /// The replica has everything that was in the log at this moment.
    pub(crate) fn set_current(&self, at: Instant) {
        *self.current_at.lock() = Some(at);
        self.outdated.store(false, Release);
    }

    /// The replica lacks something that the log no longer has. It may still be listed.
    pub(crate) fn set_outdated(&self) {
        self.outdated.store(true, Release);
    }

    /// Keeps whether the last registration was durable.
    pub(crate) fn set_durable(&self, durable: &Result<(), String>) {
        *self.not_durable.lock() = durable.as_ref().err().cloned();
    }

    pub(crate) fn check_durable(&self) -> Result<(), StoreError> {
        match &*self.not_durable.lock() {
            Some(cause) => Err(unavailable(format!("the last registration was not confirmed: {cause}"))),
            None => Ok(()),
        }
    }

    pub(crate) fn check_open(&self) -> Result<(), StoreError> {
        if self.closed.load(Relaxed) { Err(unavailable("the store is closed")) } else { Ok(()) }
    }

    /// Whether changes may be decided: the replica is current, and the time is known.
    pub(crate) fn check_current(&self) -> Result<(), StoreError> {
        self.check_open()?;
        if self.options.store_time && self.clock.is_stale() {
            return Err(unavailable("Valkey has not told the time for a minute"));
        }
        if self.is_current() { Ok(()) } else { Err(unavailable("Valkey does not respond")) }
    }

    /// The time for which the replica may be listed. While the replica is not current, it stands still,
    /// because the replica does not have the heartbeats that other processes received.
    pub(crate) fn listed_time(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        self.check_open()?;
        if self.is_current() {
            self.expired_until.fetch_max(now.as_millis(), Relaxed);
            return Ok(now);
        }
        let is_too_old = self.current_at.lock().is_none_or(|at| at.elapsed() > self.listed_for);
        if is_too_old {
            return Err(unavailable("Valkey has not responded for longer than a lease"));
        }
        Ok(now.min(Timestamp::from_millis(self.expired_until.load(Relaxed))))
    }

    fn is_current(&self) -> bool {
        !self.outdated.load(Acquire) && self.current_at.lock().is_some_and(|at| at.elapsed() < MAX_LAG)
    }
}
