//! Keeps one peer registered.

use std::time::Duration;

use aurora_protocol::{
    Code, DeregisterRequest, HeartbeatRequest, HeartbeatResponse, RegisterRequest, RegisterResponse,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::retry::full_jitter;
use crate::{Client, Error};

/// The shortest time between two heartbeats, whatever the service answers: no answer may turn a peer into a flood.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(500);
/// How much earlier than asked a heartbeat may go out, as a share of the interval: peers that started together drift
/// apart, and none is ever late.
const INTERVAL_JITTER: f64 = 0.1;
/// The ceiling of the first wait after a failure, beyond the client's own retries.
const FIRST_CEILING: Duration = Duration::from_secs(1);
/// The highest ceiling of a wait while there was no lease yet.
const HIGHEST_CEILING: Duration = Duration::from_secs(60);

/// What happened to a lease.
#[derive(Debug)]
pub enum Event {
    /// The peer is registered, for the first time or again.
    Registered(Box<RegisterResponse>),
    /// The lease was renewed.
    Renewed(Box<HeartbeatResponse>),
    /// The service has nothing of the peer any more; it registers again at once.
    Forgotten,
    /// A call failed; the next follows.
    Failed {
        /// Why.
        error: Error,
        /// When the next follows.
        retry_in: Duration,
    },
    /// The lease ran out before it could be renewed: others no longer see the peer. The keeper goes on trying.
    Lost,
    /// A call succeeded after failures.
    Recovered {
        /// How long no call had succeeded, from the first failure.
        after: Duration,
    },
    /// The service will never take this registration; the keeper has ended.
    Refused {
        /// The refusal, as a sentence.
        reason: String,
    },
    /// The peer was deregistered; the keeper has ended.
    Left,
}

/// Keeps one peer registered, in a task of its own: registers, renews when the service wants it, registers again when the
/// service has forgotten the peer, and never gives up on failures that may pass.
///
/// [`LeaseKeeper::stop`] deregisters. Dropping the keeper ends it as a crash would: the lease runs out by itself.
#[derive(Debug)]
pub struct LeaseKeeper {
    stop: Option<oneshot::Sender<()>>,
    /// `None` once it was seen to end.
    task: Option<JoinHandle<Result<(), Error>>>,
}

impl LeaseKeeper {
    /// Starts to keep `registration`. What happens is told to `on_event`, which must not block. A `discover` in the
    /// registration rides along with every call.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(
        client: Client,
        registration: RegisterRequest,
        on_event: impl FnMut(Event) + Send + 'static,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let keeping = Keeping { client, registration, on_event, lease: None, trouble: None };
        Self { stop: Some(stop), task: Some(tokio::spawn(keeping.run(stopped))) }
    }

    /// Waits until the keeper ends by itself: when the service refuses the registration for good.
    ///
    /// # Errors
    /// The refusal.
    pub async fn ended(&mut self) -> Result<(), Error> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let result = task.await;
        self.task = None;
        result.unwrap_or(Ok(()))
    }

    /// Deregisters the peer and ends.
    ///
    /// # Errors
    /// As [`Client::deregister`]'s; that there was nothing to deregister is none.
    pub async fn stop(mut self) -> Result<(), Error> {
        if let Some(stop) = self.stop.take() {
            // The keeper may have ended by itself; its result says so.
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

/// A lease as the peer knows it: it ends no earlier on the service's side.
#[derive(Clone, Copy)]
struct Lease {
    ends: Instant,
    interval: Duration,
}

/// Failures since the last success.
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

    /// One call, and how long to pause after it.
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
        lease.interval.mul_f64(1.0 - INTERVAL_JITTER * fastrand::f64())
    }

    fn failed(&mut self, error: Error, now: Instant) -> Duration {
        let trouble = self.trouble.get_or_insert(Trouble { since: now, failures: 0, lost: false });
        trouble.failures = trouble.failures.saturating_add(1);
        let highest = self.lease.map_or(HIGHEST_CEILING, |lease| lease.interval);
        let is_lost = self.lease.is_some_and(|lease| lease.ends <= now);
        let pause = pause(trouble.failures, highest, is_lost, fastrand::f64());
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

/// How long to wait after a failure. Who has no lease left to lose asks about as often as it beat: the end of a long outage would
/// else bring everybody back at once.
fn pause(failures: u32, highest: Duration, is_lost: bool, random: f64) -> Duration {
    if is_lost {
        highest.mul_f64(f64::midpoint(1.0, random))
    } else {
        full_jitter(failures, FIRST_CEILING, highest, random)
    }
}

/// Whether trying again can never help: the request itself is refused. A lease that somebody else holds will end.
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
