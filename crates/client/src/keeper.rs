//! The lease keeper, which keeps one peer registered.

mod failure_backoff;
mod lease;
mod lookup;
mod observed_address;
mod options;
mod release;
mod saved_token;
mod task;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use aurora_discovery_protocol::{HeartbeatResponse, RegisterRequest, RegisterResponse};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};

use crate::{Client, Error};
pub use options::KeeperOptions;
use release::HeldLease;
use saved_token::SavedToken;
use task::{Task, panic_message};

/// An event in the life of a lease.
#[derive(Debug)]
pub enum Event {
    /// The peer was registered, for the first time or again after it was lost.
    Registered(Box<RegisterResponse>),
    /// The lease was renewed.
    Renewed(Box<HeartbeatResponse>),
    /// The lease token is on disk, and the registration is now token-only (see
    /// [`KeeperOptions::token_file`]).
    Secured {
        /// The token file.
        path: PathBuf,
    },
    /// The lease token could not be written to the token file, so that the registration is not
    /// token-only. The keeper retries after each heartbeat.
    Unsecured {
        /// The reason.
        error: Error,
    },
    /// The service saw the peer at a new address, and the keeper has registered it there. This
    /// happens only if the registration names no address.
    Moved {
        /// The address that was listed.
        from: IpAddr,
        /// The address that is listed now.
        to: IpAddr,
    },
    /// The service no longer knows the peer. The keeper registers it again immediately.
    Forgotten,
    /// Another client has taken over the id of the peer, for example after this machine was
    /// suspended and the lease had ended. The keeper registers the peer again when the other lease
    /// has ended.
    TakenOver {
        /// What the service said about the other lease, as a sentence.
        reason: String,
    },
    /// A request failed. The keeper will retry.
    Failed {
        /// The reason.
        error: Error,
        /// The time until the next attempt.
        retry_in: Duration,
    },
    /// The lease ended before it could be renewed. Other clients may no longer find the peer. The
    /// keeper continues to try.
    Expired,
    /// A request succeeded after failures.
    Recovered {
        /// The time since the first failure.
        after: Duration,
    },
    /// The service refuses the registration.
    Refused {
        /// The refusal, as a sentence.
        reason: String,
        /// The time until the next attempt, if another client holds the id or another key has
        /// locked it. `None` if the refusal is permanent, so that the keeper has stopped.
        retry_in: Option<Duration>,
    },
    /// The peer was deregistered. The keeper has stopped.
    Deregistered,
}

/// Keeps one peer registered, in a separate task. The task registers the peer, sends heartbeats at
/// the interval that the service requests, and retries transient failures without limit. It
/// registers the peer again if the service no longer knows it, or if its address changes. Its lease
/// token proves that it is the holder, so it notices when another client takes over the id.
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
    /// The lease that the keeper still held when its event handler panicked. `stop` releases it.
    held: Option<HeldLease>,
}

/// How the task ended.
#[derive(Debug)]
struct Ended {
    result: Result<(), Error>,
    held: Option<HeldLease>,
}

impl LeaseKeeper {
    /// Starts to keep `registration`, with default options. Events are passed to `on_event`, which
    /// must not block. If the registration has a `discover` request, the keeper also sends it with
    /// each heartbeat, and the events `Registered` and `Renewed` contain the peers.
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
        Self::spawn(Task::new(client, registration, None, true, on_event))
    }

    /// Starts to keep `registration`, as [`LeaseKeeper::start`] does, with these options. If there
    /// is a token file, first reads it and checks that it can be written. A token in the file takes
    /// precedence over the one in `registration`.
    ///
    /// # Errors
    /// [`Error::TokenFile`] if the token file cannot be read or written. [`Error::Options`] if the
    /// options have a key and the operating system returns no random bytes. In both cases, nothing
    /// was registered.
    ///
    /// # Panics
    /// If it is called outside of a tokio runtime.
    pub fn start_with(
        client: Client,
        registration: RegisterRequest,
        options: KeeperOptions,
        on_event: impl FnMut(Event) + Send + 'static,
    ) -> Result<Self, Error> {
        let signer = options.signer()?;
        let KeeperOptions { token_file, replace, .. } = options;
        let saved_token = token_file.map(SavedToken::open).transpose()?;
        let mut task = Task::new(client, registration, saved_token, replace, on_event);
        if let Some(signer) = signer {
            task.sign_with(signer);
        }
        Ok(Self::spawn(task))
    }

    fn spawn(task: Task<impl FnMut(Event) + Send + 'static>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(task.run(stopped));
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

    /// Deregisters the peer and stops, also after a panic of the event handler.
    ///
    /// A peer that another client has taken over is not deregistered. To find that out, the keeper
    /// first sends a heartbeat with its token, which the service refuses if another client holds
    /// the id. A deregistration would not be refused in every case: from the current holder's
    /// address, the service accepts it with any token.
    ///
    /// # Errors
    /// [`Error::HandlerPanicked`], or the errors of [`Client::heartbeat`] and
    /// [`Client::deregister`]. A peer that is unknown or was taken over is not an error. If the
    /// service has refused the registration permanently, and [`LeaseKeeper::ended`] has not
    /// returned that refusal, this method returns it.
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
        if let Some(held) = self.held.take()
            && let Err(error) = held.release().await
        {
            // The caller gets the panic as the error, because it came first. This later error is
            // only logged.
            tracing::warn!(%error, peer_id = %held.peer_id, "a peer could not be deregistered");
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
