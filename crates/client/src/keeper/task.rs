//! The keeper's task: registers the peer, renews its lease, and recovers from failures.

use std::any::Any;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use aurora_discovery_protocol::{Code, DeregisterRequest, HeartbeatRequest, RegisterRequest, Ttl};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::{Ended, Event, HeldLease};
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

/// The task that sends the requests.
pub(super) struct Task<F> {
    client: Client,
    registration: RegisterRequest,
    on_event: F,
    lease: Option<Lease>,
    outage: Option<Outage>,
}

/// A lease as the client knows it. It is measured from before the request was sent, so that the
/// service's lease does not end earlier.
#[derive(Clone, Copy)]
struct Lease {
    ends: Instant,
    interval: Duration,
}

/// The failures since the last success.
struct Outage {
    since: Instant,
    failures: u32,
    /// Whether [`Event::Expired`] was reported.
    is_expired: bool,
}

impl<F: FnMut(Event) + Send> Task<F> {
    pub(super) fn new(client: Client, registration: RegisterRequest, on_event: F) -> Self {
        Self { client, registration, on_event, lease: None, outage: None }
    }

    /// Keeps the lease until `stopped`, and then deregisters the peer.
    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>) -> Ended {
        let failed = tokio::select! {
            ended = self.keep() => match ended {
                Err(error) => Some(error),
            },
            _ = &mut stopped => None,
        };
        let result = match failed {
            Some(error) => Err(error),
            None => self.deregister().await,
        };
        let panicked = matches!(result, Err(Error::HandlerPanicked { .. }));
        let held = (panicked && self.lease.is_some())
            .then(|| HeldLease { client: self.client.clone(), request: self.deregistration() });
        Ended { result, held }
    }

    /// Keeps the lease until that is permanently impossible.
    async fn keep(&mut self) -> Result<Infallible, Error> {
        loop {
            let pause = self.step().await?;
            sleep(pause).await;
        }
    }

    /// Sends one request. Returns how long to wait before the next one.
    async fn step(&mut self) -> Result<Duration, Error> {
        let sent_at = Instant::now();
        let outcome = match self.lease {
            Some(_) => self.renew(sent_at).await,
            None => self.register(sent_at).await,
        };
        match outcome {
            Ok((lease, event)) => self.succeeded(lease, event),
            Err(error) if self.lease.is_some() && error.code() == Some(Code::PeerNotRegistered) => {
                self.lease = None;
                self.notify(Event::Forgotten)?;
                Ok(Duration::ZERO)
            }
            Err(error) if self.lease.is_none() && is_final(&error) => {
                self.notify(Event::Refused { reason: error.to_string() })?;
                Err(error)
            }
            Err(error) => self.failed(error, Instant::now()),
        }
    }

    async fn register(&mut self, sent_at: Instant) -> Result<(Lease, Event), Error> {
        let response = self.client.register(&self.registration).await?;
        self.registration.lease_token = Some(response.lease_token.clone());
        let lease = Lease::new(sent_at, response.ttl_seconds, response.heartbeat_interval_seconds);
        Ok((lease, Event::Registered(Box::new(response))))
    }

    async fn renew(&mut self, sent_at: Instant) -> Result<(Lease, Event), Error> {
        let request = HeartbeatRequest {
            discover: self.registration.discover.clone(),
            ..HeartbeatRequest::new(self.registration.peer_id.clone())
        };
        let response = self.client.heartbeat(&request).await?;
        let lease = Lease::new(sent_at, response.ttl_seconds, response.heartbeat_interval_seconds);
        Ok((lease, Event::Renewed(Box::new(response))))
    }

    fn succeeded(&mut self, lease: Lease, event: Event) -> Result<Duration, Error> {
        self.lease = Some(lease);
        self.notify(event)?;
        if let Some(outage) = self.outage.take() {
            self.notify(Event::Recovered { after: outage.since.elapsed() })?;
        }
        // Jitter only shortens the interval. The next heartbeat is therefore never later than the
        // service requested, and the client has the margin for lost heartbeats that the service has
        // planned.
        Ok(lease.interval.mul_f64(1.0 - INTERVAL_JITTER * fastrand::f64()))
    }

    fn failed(&mut self, error: Error, now: Instant) -> Result<Duration, Error> {
        let outage = self.outage.get_or_insert(Outage { since: now, failures: 0, is_expired: false });
        outage.failures = outage.failures.saturating_add(1);
        let highest = self.lease.map_or(HIGHEST_CEILING, |lease| lease.interval);
        let is_expired = self.lease.is_some_and(|lease| lease.ends <= now);
        let pause = pause(outage.failures, highest, is_expired, fastrand::f64());
        // `Retry-After` is capped, so that it cannot delay the next attempt by much more than one
        // heartbeat interval. The jitter on top spreads out clients that got the same value.
        let retry_in = error.retry_after().map_or(pause, |delay| delay.min(highest).saturating_add(pause));
        let has_just_expired = is_expired && !outage.is_expired;
        outage.is_expired |= is_expired;
        self.notify(Event::Failed { error, retry_in })?;
        if has_just_expired {
            self.notify(Event::Expired)?;
        }
        Ok(retry_in)
    }

    async fn deregister(&mut self) -> Result<(), Error> {
        deregister(&self.client, &self.deregistration()).await?;
        self.lease = None;
        self.notify(Event::Deregistered)
    }

    fn deregistration(&self) -> DeregisterRequest {
        let RegisterRequest { peer_id, lease_token, .. } = &self.registration;
        DeregisterRequest { peer_id: peer_id.clone(), lease_token: lease_token.clone() }
    }

    /// Calls the event handler. It is not called again after a panic, which ends the task, so that
    /// it cannot observe its own broken state.
    fn notify(&mut self, event: Event) -> Result<(), Error> {
        catch_unwind(AssertUnwindSafe(|| (self.on_event)(event)))
            .map_err(|payload| Error::HandlerPanicked { message: panic_message(&*payload) })
    }
}

/// Deregisters a peer. A peer that is already unknown is a success.
pub(super) async fn deregister(client: &Client, request: &DeregisterRequest) -> Result<(), Error> {
    match client.deregister(request).await {
        Err(error) if error.code() != Some(Code::PeerNotRegistered) => Err(error),
        _ => Ok(()),
    }
}

/// The text of a panic.
pub(super) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

impl Lease {
    fn new(sent_at: Instant, ttl: Ttl, interval_seconds: u32) -> Self {
        Self {
            ends: sent_at + Duration::from(ttl),
            interval: Duration::from_secs(interval_seconds.into()).max(SHORTEST_INTERVAL),
        }
    }
}

/// The wait after a failure. While the lease runs, retries are fast at first, to save it. After it
/// has ended, there is nothing left to save, and retries are about as frequent as heartbeats.
/// Otherwise all clients would come back at once at the end of a long outage.
fn pause(failures: u32, highest: Duration, is_expired: bool, random: f64) -> Duration {
    if is_expired {
        highest.mul_f64(f64::midpoint(1.0, random))
    } else {
        full_jitter(failures, FIRST_CEILING, highest, random)
    }
}

/// Whether a retry cannot help, because the request itself is refused. A lease that another client
/// holds is not final, because it may end.
fn is_final(error: &Error) -> bool {
    match error {
        Error::Options(_) | Error::Invalid(_) => true,
        Error::Refused { status, .. } => matches!(status, 400 | 401 | 404 | 405 | 413 | 501),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_fought_for_and_once_it_is_expired_nobody_asks_more_than_twice_as_often_as_it_beat() {
        let interval = Duration::from_secs(100);
        assert!(pause(1, interval, false, 1.0) <= FIRST_CEILING);
        assert!(pause(20, interval, false, 0.01) <= interval / 50);
        assert_eq!([0.0, 1.0].map(|random| pause(20, interval, true, random)), [interval / 2, interval]);
    }
}
