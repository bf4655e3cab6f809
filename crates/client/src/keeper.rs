//! The lease keeper, which keeps one peer registered.

mod task;

use std::time::Duration;

use aurora_discovery_protocol::{DeregisterRequest, HeartbeatResponse, RegisterRequest, RegisterResponse};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};

use crate::{Client, Error};
use task::{Task, deregister, panic_message};

/// An event in the life of a lease.
#[derive(Debug)]
pub enum Event {
    /// The peer was registered, for the first time or again.
    Registered(Box<RegisterResponse>),
    /// The lease was renewed.
    Renewed(Box<HeartbeatResponse>),
    /// The service no longer knows the peer. The keeper registers it again immediately.
    Forgotten,
    /// A request failed. The keeper will retry.
    Failed {
        /// The reason.
        error: Error,
        /// The time until the next attempt.
        retry_in: Duration,
    },
    /// The lease ended before it could be renewed, and other clients no longer see the peer. The
    /// keeper continues to try.
    Expired,
    /// A request succeeded after failures.
    Recovered {
        /// The time since the first failure.
        after: Duration,
    },
    /// The service permanently refuses this registration. The keeper has stopped.
    Refused {
        /// The refusal, as a sentence.
        reason: String,
    },
    /// The peer was deregistered. The keeper has stopped.
    Deregistered,
}

/// Keeps one peer registered, in a separate task. It registers the peer, sends heartbeats at the
/// interval that the service requests, registers the peer again if the service no longer knows it,
/// and retries transient failures without limit.
///
/// [`LeaseKeeper::stop`] deregisters the peer. Dropping the keeper does not: as after a crash, the
/// lease ends by itself.
///
/// # Runtime
/// The task is spawned on the tokio runtime in which [`LeaseKeeper::start`] is called. The runtime
/// needs time and I/O enabled, and must keep running: a current-thread runtime sends heartbeats
/// only while it is driven.
#[derive(Debug)]
pub struct LeaseKeeper {
    stop: Option<oneshot::Sender<()>>,
    /// `None` after the task has been awaited.
    task: Option<JoinHandle<Ended>>,
    /// The message of the event handler's panic.
    panic: Option<String>,
    /// The lease that the keeper holds after a panic.
    held: Option<HeldLease>,
}

/// How the task ended.
#[derive(Debug)]
struct Ended {
    result: Result<(), Error>,
    held: Option<HeldLease>,
}

/// What is needed to deregister a peer.
#[derive(Debug)]
struct HeldLease {
    client: Client,
    request: DeregisterRequest,
}

impl LeaseKeeper {
    /// Starts to keep `registration`. Events are passed to `on_event`, which must not block. If the
    /// registration has a `discover` request, it is included in every request.
    ///
    /// If `on_event` panics, the keeper stops: it sends no more heartbeats and calls `on_event` no
    /// more, and [`LeaseKeeper::ended`] and [`LeaseKeeper::stop`] return
    /// [`Error::HandlerPanicked`].
    ///
    /// # Panics
    /// If it is called outside of a tokio runtime.
    pub fn start(
        client: Client,
        registration: RegisterRequest,
        on_event: impl FnMut(Event) + Send + 'static,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(Task::new(client, registration, on_event).run(stopped));
        Self { stop: Some(stop), task: Some(task), panic: None, held: None }
    }

    /// Waits until the keeper stops by itself, because the service permanently refuses the
    /// registration or because the event handler panicked.
    ///
    /// # Errors
    /// The refusal, which is returned once, or [`Error::HandlerPanicked`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the keeper continues, and another call waits for the same end.
    pub async fn ended(&mut self) -> Result<(), Error> {
        if let Some(task) = &mut self.task {
            let joined = task.await;
            self.task = None;
            let Ended { result, held } = joined.unwrap_or_else(Ended::by_panic);
            self.held = held;
            match result {
                Err(Error::HandlerPanicked { message }) => self.panic = Some(message),
                other => return other,
            }
        }
        self.panic.clone().map_or(Ok(()), |message| Err(Error::HandlerPanicked { message }))
    }

    /// Deregisters the peer and stops. It does so after a panic of the event handler as well.
    ///
    /// # Errors
    /// The errors of [`Client::deregister`], except that an unknown peer counts as success, or
    /// [`Error::HandlerPanicked`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the keeper stops, but the peer may still be registered. Its lease
    /// then ends by itself.
    pub async fn stop(mut self) -> Result<(), Error> {
        if let Some(stop) = self.stop.take() {
            // The keeper may already have stopped. `ended` then returns its result.
            let _ = stop.send(());
        }
        let result = self.ended().await;
        if let Some(HeldLease { client, request }) = self.held.take()
            && let Err(error) = deregister(&client, &request).await
        {
            // The panic is the error that is returned, because it came first.
            tracing::warn!(%error, peer_id = %request.peer_id, "a peer could not be deregistered");
        }
        result
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Ended {
    /// The end of a task that panicked outside of the event handler, or was aborted with its
    /// runtime.
    fn by_panic(error: JoinError) -> Self {
        let message = match error.try_into_panic() {
            Ok(payload) => panic_message(&*payload),
            Err(error) => error.to_string(),
        };
        Self { result: Err(Error::HandlerPanicked { message }), held: None }
    }
}
