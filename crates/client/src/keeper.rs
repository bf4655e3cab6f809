//! The lease keeper, which keeps one peer registered.

use std::time::Duration;

use aurora_discovery_protocol::{
    Code, DeregisterRequest, HeartbeatRequest, HeartbeatResponse, RegisterRequest, RegisterResponse,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::retry::full_jitter;
use crate::{Client, Error};

/// The minimum interval between two heartbeats, whatever the service requests, so that no response
/// can make a peer flood the service.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(500);
/// How much earlier than requested a heartbeat may be sent, as a ratio of the interval. Peers that
/// started together spread out over time, and no heartbeat is sent late.
const INTERVAL_JITTER: f64 = 0.1;
/// The upper bound of the first wait after a failure, in addition to the client's retries.
const FIRST_CEILING: Duration = Duration::from_secs(1);
/// The upper bound of any wait while there has not been a lease yet.
const HIGHEST_CEILING: Duration = Duration::from_secs(60);

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
    Lost,
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
    Left,
}

/// Keeps one peer registered, in a separate task. It registers the peer, sends heartbeats at the
/// interval that the service requests, registers the peer again if the service no longer knows it,
/// and retries transient failures without limit.
///
/// [`LeaseKeeper::stop`] deregisters the peer. Dropping the keeper does not: as after a crash, the
/// lease ends by itself.
#[derive(Debug)]
pub struct LeaseKeeper {
    stop: Option<oneshot::Sender<()>>,
    /// `None` after the task has been awaited.
    task: Option<JoinHandle<Result<(), Error>>>,
}

impl LeaseKeeper {
    /// Starts to keep `registration`. Events are passed to `on_event`, which must not block. If the
    /// registration has a `discover` request, it is included in every request.
    ///
    /// # Panics
    /// If it is called outside of a tokio runtime.
    pub fn start(
        client: Client,
        registration: RegisterRequest,
        on_event: impl FnMut(Event) + Send + 'static,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let keeping = Keeping { client, registration, on_event, lease: None, trouble: None };
        Self { stop: Some(stop), task: Some(tokio::spawn(keeping.run(stopped))) }
    }

    /// Waits until the keeper stops because the service permanently refuses the registration.
    ///
    /// # Errors
    /// The refusal.
    pub async fn ended(&mut self) -> Result<(), Error> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let result = task.await;
        self.task = None;
        result.unwrap_or(Ok(()))
    }

    /// Deregisters the peer and stops.
    ///
    /// # Errors
    /// The errors of [`Client::deregister`], except that an unknown peer counts as success.
    pub async fn stop(mut self) -> Result<(), Error> {
        if let Some(stop) = self.stop.take() {
            // The keeper may already have stopped. `ended` then returns its result.
            let _ = stop.send(());
        }
        self.ended().await
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

struct Keeping<F> {
    client: Client,
    registration: RegisterRequest,
    on_event: F,
    lease: Option<Lease>,
    trouble: Option<Trouble>,
}

/// A lease as the client knows it. It is measured from before the request was sent, so that the
/// service's lease does not end earlier.
#[derive(Clone, Copy)]
struct Lease {
    ends: Instant,
    interval: Duration,
}

/// The failures since the last success.
struct Trouble {
    since: Instant,
    failures: u32,
    lost: bool,
}

impl<F: FnMut(Event) + Send> Keeping<F> {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) -> Result<(), Error> {
        loop {
            let stop = tokio::select! {
                result = self.step_and_pause() => result.map(|()| false)?,
                _ = &mut stopped => true,
            };
            if stop {
                return self.leave().await;
            }
        }
    }

    async fn step_and_pause(&mut self) -> Result<(), Error> {
        let pause = self.step().await?;
        sleep(pause).await;
        Ok(())
    }

    /// Sends one request. Returns how long to wait before the next one.
    async fn step(&mut self) -> Result<Duration, Error> {
        let called_at = Instant::now();
        let outcome = match self.lease {
            Some(_) => self.renew(called_at).await,
            None => self.register(called_at).await,
        };
        match outcome {
            Ok(lease) => Ok(self.succeeded(lease)),
            Err(error) if self.lease.is_none() && is_final(&error) => {
                (self.on_event)(Event::Refused { reason: error.to_string() });
                Err(error)
            }
            Err(error) => Ok(self.failed(error, Instant::now())),
        }
    }

    async fn register(&mut self, called_at: Instant) -> Result<Lease, Error> {
        let answer = self.client.register(&self.registration).await?;
        self.registration.lease_token = Some(answer.lease_token.clone());
        let lease = Lease::new(called_at, answer.ttl_seconds.as_millis(), answer.heartbeat_interval_seconds);
        (self.on_event)(Event::Registered(Box::new(answer)));
        Ok(lease)
    }

    async fn renew(&mut self, called_at: Instant) -> Result<Lease, Error> {
        let request = HeartbeatRequest {
            peer_id: self.registration.peer_id.clone(),
            discover: self.registration.discover.clone(),
        };
        match self.client.heartbeat(&request).await {
            Ok(answer) => {
                let lease =
                    Lease::new(called_at, answer.ttl_seconds.as_millis(), answer.heartbeat_interval_seconds);
                (self.on_event)(Event::Renewed(Box::new(answer)));
                Ok(lease)
            }
            Err(error) if error.code() == Some(Code::PeerNotRegistered) => {
                (self.on_event)(Event::Forgotten);
                self.lease = None;
                self.register(called_at).await
            }
            Err(error) => Err(error),
        }
    }

    fn succeeded(&mut self, lease: Lease) -> Duration {
        self.lease = Some(lease);
        if let Some(trouble) = self.trouble.take() {
            (self.on_event)(Event::Recovered { after: trouble.since.elapsed() });
        }
        // Jitter only shortens the interval. The next heartbeat is therefore never later than the
        // service requested, and the client has the margin for lost heartbeats that the service has
        // planned.
        lease.interval.mul_f64(1.0 - INTERVAL_JITTER * fastrand::f64())
    }

    fn failed(&mut self, error: Error, now: Instant) -> Duration {
        let trouble = self.trouble.get_or_insert(Trouble { since: now, failures: 0, lost: false });
        trouble.failures = trouble.failures.saturating_add(1);
        let highest = self.lease.map_or(HIGHEST_CEILING, |lease| lease.interval);
        let is_lost = self.lease.is_some_and(|lease| lease.ends <= now);
        let pause = pause(trouble.failures, highest, is_lost, fastrand::f64());
        // `Retry-After` is capped, so that it cannot delay the next attempt by much more than one
        // heartbeat interval. The jitter on top spreads out clients that got the same value.
        let retry_in = error.retry_after().map_or(pause, |asked| asked.min(highest).saturating_add(pause));
        let lost_now = is_lost && !trouble.lost;
        trouble.lost |= lost_now;
        (self.on_event)(Event::Failed { error, retry_in });
        if lost_now {
            (self.on_event)(Event::Lost);
        }
        retry_in
    }

    async fn leave(mut self) -> Result<(), Error> {
        let RegisterRequest { peer_id, lease_token, .. } = self.registration;
        match self.client.deregister(&DeregisterRequest { peer_id, lease_token }).await {
            Err(error) if error.code() != Some(Code::PeerNotRegistered) => Err(error),
            _ => {
                (self.on_event)(Event::Left);
                Ok(())
            }
        }
    }
}

impl Lease {
    fn new(called_at: Instant, ttl_millis: u64, interval_seconds: u32) -> Self {
        Self {
            ends: called_at + Duration::from_millis(ttl_millis),
            interval: Duration::from_secs(interval_seconds.into()).max(SHORTEST_INTERVAL),
        }
    }
}

/// The wait after a failure. While the lease runs, retries are fast at first, to save it. After it
/// has ended, there is nothing left to save, and retries are about as frequent as heartbeats.
/// Otherwise all clients would come back at once at the end of a long outage.
fn pause(failures: u32, highest: Duration, is_lost: bool, random: f64) -> Duration {
    if is_lost {
        highest.mul_f64(f64::midpoint(1.0, random))
    } else {
        full_jitter(failures, FIRST_CEILING, highest, random)
    }
}

/// Whether a retry cannot help, because the request itself is refused. A lease that another client
/// holds is not final, because it may end.
fn is_final(error: &Error) -> bool {
    match error {
        Error::Options(_) => true,
        Error::Refused { status, .. } => matches!(status, 400 | 401 | 404 | 405 | 413 | 501),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_fought_for_and_once_it_is_lost_nobody_asks_more_than_twice_as_often_as_it_beat() {
        let interval = Duration::from_secs(100);
        assert!(pause(1, interval, false, 1.0) <= FIRST_CEILING);
        assert!(pause(20, interval, false, 0.01) <= interval / 50);
        assert_eq!([0.0, 1.0].map(|random| pause(20, interval, true, random)), [interval / 2, interval]);
    }
}
