//! The state that the store shares with its two tasks, the writer and the follower.

use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::Duration;

use aurora_discovery_embedded::replica::{Applied, RemoteState, Replica};
use aurora_discovery_protocol::{PeerId, Timestamp};
use aurora_discovery_registry::{Limits, StoreClock, StoreError};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::confirmation::Confirmation;
use crate::connection::{Connector, SharedConnection};
use crate::counters::Counters;
use crate::entry::StreamId;
use crate::failure::{OpenError, unavailable};
use crate::keys::Keys;
use crate::options::ValkeyOptions;
use crate::queue::Queue;

/// How long the replica (the copy of all peers in memory) counts as current after it had all
/// entries of the log. While it does not count as current, no lease ends and no change is decided.
/// The service promises its clients that they see a change of another process after at most this
/// time.
const MAX_LAG: Duration = Duration::from_secs(5);

/// The state that the store shares with its two tasks.
pub(crate) struct Shared {
    pub(crate) options: ValkeyOptions,
    pub(crate) connector: Connector,
    pub(crate) keys: Keys,
    pub(crate) replica: Replica,
    pub(crate) queue: Queue,
    pub(crate) clock: StoreClock,
    pub(crate) counters: Counters,
    /// The connection for mailboxes, and for peers that are read again after a conflict.
    pub(crate) connection: SharedConnection,
    /// The writer holds this lock while it writes a batch, and the follower while it loads all
    /// peers, so that the two never happen at once.
    pub(crate) write_or_load_lock: tokio::sync::Mutex<()>,
    /// The last entry of the log that the replica has. Requests wait for it after a conflict.
    pub(crate) position: watch::Sender<StreamId>,
    pub(crate) closed: AtomicBool,
    /// Whether the follower must load all peers, because the replica may have a change that the
    /// server does not have.
    pub(crate) load_requested: AtomicBool,
    /// How long peers may be listed from the replica while the server does not respond: one default
    /// lease duration.
    max_list_age: Duration,
    /// Whether all peers are being loaded, or have to be loaded again because the load failed.
    outdated: AtomicBool,
    /// The last time at which the replica had everything that was in the log.
    current_at: Mutex<Option<Instant>>,
    /// The latest time for which peers were listed, or leases were ended, while the replica was
    /// current, in milliseconds since the epoch.
    last_listed_at: AtomicU64,
    /// Why the last changes that must be durable were not confirmed. `None` if they were.
    not_durable: Mutex<Option<String>>,
}

impl Shared {
    pub(crate) fn new(options: ValkeyOptions, limits: Limits) -> Result<Self, OpenError> {
        Ok(Self {
            connector: Connector::new(&options)?,
            keys: Keys::new(&options.name),
            max_list_age: Duration::from_secs(limits.ttl_default.as_secs().into()),
            replica: Replica::new(limits),
            queue: Queue::default(),
            clock: StoreClock::new(Duration::from_micros(1)),
            counters: Counters::default(),
            connection: SharedConnection::default(),
            write_or_load_lock: tokio::sync::Mutex::default(),
            position: watch::Sender::default(),
            closed: AtomicBool::new(false),
            load_requested: AtomicBool::new(false),
            outdated: AtomicBool::new(false),
            current_at: Mutex::default(),
            last_listed_at: AtomicU64::new(0),
            not_durable: Mutex::default(),
            options,
        })
    }

    /// The confirmation that the options require. `None` if the response to the script is enough.
    pub(crate) fn confirmation(&self) -> Option<Confirmation> {
        Confirmation::required(&self.options)
    }

    /// Applies the state of a peer on the server to the replica.
    pub(crate) fn apply(&self, peer: &PeerId, state: RemoteState<'_>) -> Applied {
        self.replica.apply(peer, state, || {
            self.queue.overtake(peer);
            true
        })
    }

    /// Records that the replica has everything that was in the log at this time.
    pub(crate) fn set_current(&self, at: Instant) {
        *self.current_at.lock() = Some(at);
        self.outdated.store(false, Release);
    }

    /// Records that the replica lacks changes that the follower can't read from the log. Peers may
    /// still be listed from the replica.
    pub(crate) fn set_outdated(&self) {
        self.outdated.store(true, Release);
    }

    /// Records whether the last durable changes were confirmed, or why not.
    pub(crate) fn set_durable(&self, durable: &Result<(), String>) {
        *self.not_durable.lock() = durable.as_ref().err().cloned();
    }

    /// Fails if the last durable changes were not confirmed.
    pub(crate) fn check_durable(&self) -> Result<(), StoreError> {
        match &*self.not_durable.lock() {
            Some(cause) => Err(unavailable(format!("the last registration was not confirmed: {cause}"))),
            None => Ok(()),
        }
    }

    /// Fails if the store is closed.
    pub(crate) fn check_open(&self) -> Result<(), StoreError> {
        if self.closed.load(Relaxed) { Err(unavailable("the store is closed")) } else { Ok(()) }
    }

    /// Fails unless changes may be decided: the store is open, and the replica is current. If the
    /// options make the caller use the server's time, the store must also have read that time
    /// within the last minute.
    pub(crate) fn check_current(&self) -> Result<(), StoreError> {
        self.check_open()?;
        if self.options.store_time && self.clock.is_stale() {
            return Err(unavailable("Valkey has not told the time for a minute"));
        }
        if self.is_current() { Ok(()) } else { Err(unavailable("Valkey does not respond")) }
    }

    /// The time at which leases are judged when peers are listed from the replica. While the
    /// replica is current, this is `now`. While it is not, this time does not advance and no lease
    /// ends, because the replica lacks the heartbeats that other processes have received in the
    /// meantime.
    ///
    /// # Errors
    /// Fails if the store is closed, or if the replica was last current more than one default lease
    /// duration ago, or never.
    pub(crate) fn time_for_lists(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        self.check_open()?;
        if self.is_current() {
            self.last_listed_at.fetch_max(now.as_millis(), Relaxed);
            return Ok(now);
        }
        let is_too_old = self.current_at.lock().is_none_or(|at| at.elapsed() > self.max_list_age);
        if is_too_old {
            return Err(unavailable("Valkey has not responded for longer than a lease"));
        }
        Ok(now.min(Timestamp::from_millis(self.last_listed_at.load(Relaxed))))
    }

    fn is_current(&self) -> bool {
        !self.outdated.load(Acquire) && self.current_at.lock().is_some_and(|at| at.elapsed() < MAX_LAG)
    }
}
