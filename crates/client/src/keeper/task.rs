//! The keeper's task: registers the peer, renews its lease, and recovers from failures.
//!
//! The task is a loop. Each step registers the peer, updates its registration or sends a heartbeat.
//! The outcome determines the wait before the next step:
//!
//! - After a success: the interval that the service requested, shortened by a random jitter. No
//!   wait if the registration has to be updated.
//! - If the service no longer knows the peer, or another client has taken over the id: no wait, and
//!   the next step tries to register the peer.
//! - If the service refuses a registration because another client holds the id: the time in
//!   `Retry-After`, which may be the rest of that client's lease, but at most 300 s, plus a random
//!   wait.
//! - After any other failure: a random wait whose upper bound doubles with each failure, plus
//!   `Retry-After`. The `failure_backoff` module has the bounds.
//!
//! The loop ends when the service permanently refuses a registration, or when the event handler
//! panics.

use std::any::Any;
use std::convert::Infallible;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use aurora_discovery_protocol::{Code, HeartbeatRequest, RegisterRequest, RegisterResponse};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::failure_backoff::FailureBackoff;
use super::lease::Lease;
use super::lookup::{held_by_another, is_known};
use super::observed_address::ObservedAddress;
use super::release::{HeldLease, Release};
use super::saved_token::SavedToken;
use super::{Ended, Event};
use crate::{Client, Error, Signer};

/// How much earlier than requested a heartbeat may be sent, as a ratio of the interval. The jitter
/// spreads out peers that started together. It never makes a heartbeat late.
const INTERVAL_JITTER: f64 = 0.1;

/// The task that sends the requests.
pub(super) struct Task<F> {
    client: Client,
    /// The registration that is sent, with the current token. While the peer is registered,
    /// `token_only` is the value that the service accepted.
    registration: RegisterRequest,
    on_event: F,
    state: State,
    backoff: Option<FailureBackoff>,
    saved_token: Option<SavedToken>,
    observed_address: ObservedAddress,
    /// Signs the registrations. `None` if they are not signed.
    signer: Option<Signer>,
    /// Whether a live registration from the same address may be replaced without its token.
    may_replace: bool,
    /// Whether another client took over the id since the last registration.
    was_taken_over: bool,
    /// Whether [`Event::Secured`] was reported for this registration.
    is_secured: bool,
    /// Whether the last update failed. The next update then waits until a heartbeat has succeeded:
    /// if the service refuses updates, the keeper must still renew the lease.
    update_failed: bool,
}

/// What the task knows about the peer's registration.
#[derive(Clone, Copy)]
enum State {
    /// The peer is not registered.
    Absent,
    /// A registration was sent, and its result is unknown, because no response, or only a transient
    /// error, has arrived.
    Unresolved,
    /// Another client holds the id.
    HeldByAnother,
    /// The peer is registered.
    Held(Lease),
}

impl<F: FnMut(Event) + Send> Task<F> {
    pub(super) fn new(
        client: Client,
        mut registration: RegisterRequest,
        saved_token: Option<SavedToken>,
        may_replace: bool,
        on_event: F,
    ) -> Self {
        if let Some(token) = saved_token.as_ref().and_then(SavedToken::token) {
            registration.lease_token = Some(token.clone());
        }
        Self {
            client,
            registration,
            on_event,
            state: State::Absent,
            backoff: None,
            saved_token,
            observed_address: ObservedAddress::default(),
            signer: None,
            may_replace,
            was_taken_over: false,
            is_secured: false,
            update_failed: false,
        }
    }

    /// Makes the keeper sign its registrations. If the token file has a token, the signer uses
    /// that.
    pub(super) fn sign_with(&mut self, signer: Signer) {
        let saved = self.saved_token.as_ref().and_then(SavedToken::token).cloned();
        self.signer = Some(match saved {
            Some(token) => signer.with_token(token),
            None => signer,
        });
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
            None => self.release().await,
        };
        let panicked = matches!(result, Err(Error::HandlerPanicked { .. }));
        let held = (panicked && self.lease().is_some()).then(|| self.held_lease());
        Ended { result, held }
    }

    /// Runs steps until one fails permanently.
    async fn keep(&mut self) -> Result<Infallible, Error> {
        loop {
            let pause = self.step().await?;
            // tokio rounds the deadline of a timer up to the next millisecond, so even a zero wait
            // would take time.
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
    }

    /// Registers the peer, updates its registration, or renews its lease. Returns how long to wait
    /// before the next step.
    async fn step(&mut self) -> Result<Duration, Error> {
        let sent_at = Instant::now();
        let outcome = match self.state {
            State::Held(lease) if self.needs_update(lease) => self.update(sent_at).await,
            State::Held(_) => self.renew(sent_at).await,
            State::Absent | State::Unresolved | State::HeldByAnother => self.register(sent_at).await,
        };
        match outcome {
            Ok((lease, event)) => self.succeeded(lease, event).await,
            Err(error) => self.failed(error),
        }
    }

    async fn register(&mut self, sent_at: Instant) -> Result<(Lease, Option<Event>), Error> {
        // The first registration is normally not token-only. If it were, and the peer crashed
        // before the token was on disk, not even the peer itself could register the id while the
        // service reserves it for the holder of the token.
        let must_yield = match &self.signer {
            // For a locked name, the service accepts each newer signature by the locking key, and
            // asks for no token. The keeper could therefore replace the registration of another
            // client with the same key, such as a copy of this program. After a takeover, it
            // registers only if no other client holds the id.
            Some(_) if self.was_taken_over => {
                held_by_another(&self.client, &self.registration).await?.map_or(Ok(false), Err)?
            }
            Some(_) => false,
            None => !self.may_replace || self.was_taken_over,
        };
        self.registration.token_only = must_yield && is_known(&self.client, &self.registration).await?;
        self.is_secured = false;
        self.state = State::Unresolved;
        let response = self.send(self.registration.clone()).await.inspect_err(|error| {
            if !error.is_transient() {
                self.state = State::Absent;
            }
        })?;
        self.was_taken_over = false;
        self.registration.lease_token.clone_from(&response.lease_token);
        self.observed_address.registered(&response.observed_address);
        let lease = Lease::new(sent_at, response.ttl_seconds, response.heartbeat_interval_seconds);
        Ok((lease, Some(Event::Registered(Box::new(response)))))
    }

    /// Sends a registration, signed if there is a key. If the service returns no token for a signed
    /// registration, the response gets the token that the signer has chosen.
    async fn send(&mut self, request: RegisterRequest) -> Result<RegisterResponse, Error> {
        let Some(signer) = &mut self.signer else { return self.client.register(&request).await };
        let mut response = signer.register(&self.client, &request).await?;
        response.lease_token.get_or_insert_with(|| signer.token().clone());
        Ok(response)
    }

    /// Whether the registration has to be updated. It should be token-only if and only if the token
    /// is on disk, and it should list the address at which the service sees the peer.
    fn needs_update(&self, lease: Lease) -> bool {
        // A signed registration is not made token-only, because the signature protects the name
        // already.
        let differs = self.signer.is_none() && self.registration.token_only != self.is_saved();
        !self.update_failed && (differs || self.observed_address.has_moved(lease.ttl))
    }

    /// Registers the peer again, with its token, to change the registration that it holds.
    async fn update(&mut self, sent_at: Instant) -> Result<(Lease, Option<Event>), Error> {
        self.update_failed = true;
        self.observed_address.tried();
        let token_only = self.is_saved();
        let request = RegisterRequest { token_only, discover: None, ..self.registration.clone() };
        let response = self.send(request).await?;
        self.update_failed = false;
        self.registration.token_only = token_only;
        self.registration.lease_token = response.lease_token;
        let moved = self.observed_address.registered(&response.observed_address);
        // A registration that names an address lists that one, wherever the peer is.
        let moved = moved.filter(|_| self.registration.address.is_none());
        let lease = Lease::new(sent_at, response.ttl_seconds, response.heartbeat_interval_seconds);
        Ok((lease, moved.map(|(from, to)| Event::Moved { from, to })))
    }

    async fn renew(&mut self, sent_at: Instant) -> Result<(Lease, Option<Event>), Error> {
        let RegisterRequest { peer_id, lease_token, discover, .. } = self.registration.clone();
        let request = HeartbeatRequest { lease_token, discover, ..HeartbeatRequest::new(peer_id) };
        let response = self.client.heartbeat(&request).await?;
        if self.registration.address.is_none() {
            self.observed_address.heartbeat(response.observed_address);
        }
        let lease = Lease::new(sent_at, response.ttl_seconds, response.heartbeat_interval_seconds);
        Ok((lease, Some(Event::Renewed(Box::new(response)))))
    }

    async fn succeeded(&mut self, lease: Lease, event: Option<Event>) -> Result<Duration, Error> {
        self.state = State::Held(lease);
        let saved = self.save_token().await;
        event.map_or(Ok(()), |event| self.notify(event))?;
        if let Some(backoff) = self.backoff.take() {
            self.notify(Event::Recovered { after: backoff.since.elapsed() })?;
        }
        if let Err(error) = saved {
            self.notify(Event::Unsecured { error })?;
        }
        self.report_secured()?;
        if self.needs_update(lease) {
            return Ok(Duration::ZERO);
        }
        self.update_failed = false;
        // Jitter only shortens the interval, so the next heartbeat is never later than the service
        // requested. The service has chosen the interval so that a lease survives some lost
        // heartbeats.
        Ok(lease.interval.mul_f64(1.0 - INTERVAL_JITTER * fastrand::f64()))
    }

    async fn save_token(&mut self) -> Result<(), Error> {
        match (&mut self.saved_token, &self.registration.lease_token) {
            (Some(saved), Some(token)) => saved.save(token).await,
            _ => Ok(()),
        }
    }

    /// Whether the current token is on disk.
    fn is_saved(&self) -> bool {
        let saved = self.saved_token.as_ref().and_then(SavedToken::token);
        saved.is_some() && saved == self.registration.lease_token.as_ref()
    }

    fn report_secured(&mut self) -> Result<(), Error> {
        let is_secured = self.registration.token_only && self.is_saved();
        let was_secured = mem::replace(&mut self.is_secured, is_secured);
        match &self.saved_token {
            Some(saved) if is_secured && !was_secured => {
                let path = saved.path().to_owned();
                self.notify(Event::Secured { path })
            }
            _ => Ok(()),
        }
    }

    fn failed(&mut self, error: Error) -> Result<Duration, Error> {
        match (error.code(), self.lease()) {
            (Some(Code::PeerNotRegistered), Some(_)) => {
                self.state = State::Absent;
                self.notify(Event::Forgotten)?;
                Ok(Duration::ZERO)
            }
            (Some(Code::NotHolder), Some(_)) => {
                self.state = State::HeldByAnother;
                self.was_taken_over = true;
                self.notify(Event::TakenOver { reason: error.to_string() })?;
                Ok(Duration::ZERO)
            }
            (Some(Code::NotHolder | Code::NameLocked), None) => {
                self.state = State::HeldByAnother;
                let retry_in = self.backoff.get_or_insert_with(FailureBackoff::new).after_not_holder(&error);
                self.notify(Event::Refused { reason: error.to_string(), retry_in: Some(retry_in) })?;
                Ok(retry_in)
            }
            (_, None) if is_final(&error) => {
                self.notify(Event::Refused { reason: error.to_string(), retry_in: None })?;
                Err(error)
            }
            (_, lease) => self.retry(error, lease),
        }
    }

    fn retry(&mut self, error: Error, lease: Option<Lease>) -> Result<Duration, Error> {
        let backoff = self.backoff.get_or_insert_with(FailureBackoff::new);
        let retry_in = backoff.after_failure(&error, lease);
        let has_just_expired = backoff.reports_end_of(lease);
        self.notify(Event::Failed { error, retry_in })?;
        if has_just_expired {
            self.notify(Event::Expired)?;
        }
        Ok(retry_in)
    }

    /// Deregisters the peer, if this keeper holds it.
    async fn release(&mut self) -> Result<(), Error> {
        let may_hold = match self.state {
            State::Absent => false,
            State::HeldByAnother => return Ok(()),
            // The id may belong to this keeper or to another client at the same address. A
            // deregistration without a token would remove either registration, so none is sent. If
            // the registration is the keeper's own, its lease ends by itself.
            State::Unresolved if !self.may_replace && self.registration.lease_token.is_none() => {
                return Ok(());
            }
            State::Unresolved | State::Held(_) => true,
        };
        if may_hold && let Release::TakenOver { reason } = self.held_lease().release().await? {
            self.state = State::HeldByAnother;
            return self.notify(Event::TakenOver { reason });
        }
        self.state = State::Absent;
        self.notify(Event::Deregistered)
    }

    fn held_lease(&self) -> HeldLease {
        let RegisterRequest { peer_id, lease_token, .. } = &self.registration;
        HeldLease { client: self.client.clone(), peer_id: peer_id.clone(), token: lease_token.clone() }
    }

    fn lease(&self) -> Option<Lease> {
        match self.state {
            State::Held(lease) => Some(lease),
            State::Absent | State::Unresolved | State::HeldByAnother => None,
        }
    }

    /// Calls the event handler. A panic in it ends the task, and the handler is not called again,
    /// because its state may be inconsistent.
    fn notify(&mut self, event: Event) -> Result<(), Error> {
        catch_unwind(AssertUnwindSafe(|| (self.on_event)(event)))
            .map_err(|payload| Error::HandlerPanicked { message: panic_message(&*payload) })
    }
}

/// The text of a panic.
pub(super) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

/// Whether a retry cannot succeed, because the request itself is refused. A refusal because another
/// client holds the lease is not final, because that lease may end.
fn is_final(error: &Error) -> bool {
    match error {
        Error::Options(_) | Error::Invalid(_) => true,
        Error::Refused { status, .. } => matches!(status, 400 | 401 | 404 | 405 | 413 | 501),
        _ => false,
    }
}
