//! Responses of `/mailbox` that wait for messages.
//!
//! The head of such a response is sent at once, and its body when a message arrives or the wait is
//! over. While a request waits, no handler runs for it. It therefore does not count against
//! `max_in_flight`, and the time limit of handlers does not apply. It counts against `max_watchers`
//! instead, because it occupies its connection like a stream of `/watch`.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_protocol::{LeaseToken, Mail, MailId, MailboxResponse, PeerId, Timestamp};
use aurora_discovery_registry::{Caller, Error, Letter, MailSignal};
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream::{once, unfold};
use http::HeaderName;
use http::header::CONTENT_TYPE;
use tokio::time::{Instant, sleep_until};

use crate::budget::Share;
use crate::connection::state::StreamGuard;
use crate::service::Service;

/// After how many seconds a client polls again where requests can't wait: often enough to connect
/// within seconds, and seldom enough to cost little on AWS.
const POLL_SECONDS: u32 = 5;
/// After how many seconds a client polls again if the service stops while its request waits.
const STOPPING_SECONDS: u32 = 1;
/// Prevents nginx from buffering events.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Messages as a response lists them.
pub(crate) fn listed(letters: Vec<Letter>, now: Timestamp) -> Vec<Mail> {
    letters.into_iter().map(|letter| listed_letter(letter, now)).collect()
}

fn listed_letter(letter: Letter, now: Timestamp) -> Mail {
    Mail {
        id: letter.id,
        from: letter.from,
        message: letter.message.into(),
        sent_seconds_ago: now.millis_since(letter.sent_at) / 1_000,
    }
}

/// After how many seconds the client should send its next request. It is 0 if that request can wait
/// for a message, which the transport and the store must permit.
pub(crate) fn next_poll_seconds(service: &Service, peer: &PeerId) -> u32 {
    let may_wait = !service.options.max_mail_wait.is_zero() && service.registry.mail_signal(peer).is_some();
    if may_wait { 0 } else { POLL_SECONDS }
}

/// A response that waits. Until it is dropped, it holds the permit of a watcher and counts in the
/// metric `mail_waits`.
pub(crate) struct Wait {
    service: Arc<Service>,
    connection: Option<StreamGuard>,
    _permit: Share,
}

impl Wait {
    pub(crate) fn new(service: Arc<Service>, permit: Share, connection: Option<StreamGuard>) -> Self {
        service.metrics.mail_waits.inc();
        Self { service, connection, _permit: permit }
    }

    /// Records that data will be sent within `interval`.
    fn progress(&self, interval: Duration) {
        self.connection.iter().for_each(|connection| connection.progress(interval));
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.service.metrics.mail_waits.dec();
    }
}

/// A client that waits for the messages of one peer.
pub(crate) struct MailReader {
    pub(crate) peer: PeerId,
    pub(crate) token: LeaseToken,
    pub(crate) caller: Caller,
    pub(crate) signal: Box<dyn MailSignal>,
    pub(crate) waiting: Wait,
}

/// Why a reader no longer waits.
enum Woken {
    /// Messages may have arrived.
    Arrival,
    /// The deadline has passed.
    TimeOut,
    /// The service stops.
    End,
}

impl MailReader {
    /// A response with the messages that arrive first, or without any after `wait`.
    pub(crate) fn response(mut self, wait: Duration) -> Response {
        self.waiting.progress(wait);
        let deadline = Instant::now() + wait;
        let body = async move {
            let (mail, next_poll_seconds) = self.next(deadline).await;
            let response = MailboxResponse { mail, next_poll_seconds };
            // Serializing strings and numbers never fails.
            Ok::<_, Infallible>(Bytes::from(serde_json::to_vec(&response).unwrap_or_default()))
        };
        Response::new(Body::from_stream(once(body)))
    }

    /// Waits for messages until `deadline`. Returns those that have arrived, and after how many
    /// seconds the client should poll again.
    async fn next(&mut self, deadline: Instant) -> (Vec<Mail>, u32) {
        let mut end = Box::pin(self.waiting.service.watchers.ended());
        let mut is_last = false;
        loop {
            match self.woken(deadline, end.as_mut()).await {
                Woken::Arrival => {}
                // The mailbox is read once more, because the signal of a store that other processes
                // share may have been lost.
                Woken::TimeOut => is_last = true,
                Woken::End => return (Vec::new(), STOPPING_SECONDS),
            }
            match self.collect().await {
                // No message is left: they have expired, or another request has acknowledged them.
                // The reader continues to wait.
                Ok((letters, _)) if letters.is_empty() && !is_last => {}
                Ok((letters, now)) => return (listed(letters, now), 0),
                // This response can't report the error, because its head has been sent. If the
                // error persists, the next request gets it.
                Err(_) => return (Vec::new(), 0),
            }
        }
    }

    /// A stream of server-sent events, one for each message. It ends when the lease has ended, when
    /// another client has registered the peer, when the mailbox can't be read, or when the service
    /// stops.
    pub(crate) fn events(self, letters: Vec<Letter>, now: Timestamp) -> Response {
        let retry = format!("retry: {}\n\n", 1_000 + fastrand::u32(..=4_000)).into_bytes();
        let mut events = Events {
            end: Box::pin(self.waiting.service.watchers.ended()),
            sent: HashSet::new(),
            first: Some(retry),
            reader: self,
        };
        let first = events.frame(letters, now);
        events.first.get_or_insert_default().extend(first);
        let frames = unfold(events, |mut events| async move {
            let frame = events.next().await?;
            Some((Ok::<_, Infallible>(Bytes::from(frame)), events))
        });
        let headers = [(CONTENT_TYPE, "text/event-stream"), (X_ACCEL_BUFFERING, "no")];
        (headers, Body::from_stream(frames)).into_response()
    }

    /// Waits for a message, the deadline, or the end of the service.
    async fn woken(
        &mut self,
        deadline: Instant,
        end: Pin<&mut (impl Future<Output = ()> + Send + ?Sized)>,
    ) -> Woken {
        tokio::select! {
            () = end => Woken::End,
            () = poll_fn(|context| self.signal.poll_arrival(context)) => Woken::Arrival,
            () = sleep_until(deadline) => Woken::TimeOut,
        }
    }

    /// The messages that wait, and the time at which they were read.
    async fn collect(&mut self) -> Result<(Vec<Letter>, Timestamp), Error> {
        let service = &self.waiting.service;
        let now = service.options.clock.now();
        let letters = service.registry.collect_mail(&self.peer, &self.token, &[], &self.caller, now).await?;
        Ok((letters, now))
    }
}

/// A stream of messages.
struct Events {
    reader: MailReader,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The messages that were sent and are not acknowledged yet.
    sent: HashSet<MailId>,
    /// The first frame, until it is sent.
    first: Option<Vec<u8>>,
}

impl Events {
    /// The next frame; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Vec<u8>> {
        let keep_alive = self.reader.waiting.service.watchers.keep_alive();
        // The connection has taken the previous frame, so its client reads.
        self.reader.waiting.progress(keep_alive);
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let deadline = Instant::now() + keep_alive;
        loop {
            let woken = self.reader.woken(deadline, self.end.as_mut()).await;
            if let Woken::End = woken {
                return None;
            }
            // Reading the mailbox also checks that the peer is still live, and that the token still
            // belongs to it. If not, the stream ends.
            let (letters, now) = self.reader.collect().await.ok()?;
            let frame = self.frame(letters, now);
            match woken {
                Woken::TimeOut if frame.is_empty() => return Some(b": keep-alive\n\n".to_vec()),
                Woken::Arrival if frame.is_empty() => {}
                Woken::Arrival | Woken::TimeOut | Woken::End => return Some(frame),
            }
        }
    }

    /// The events of the messages that were not sent yet.
    fn frame(&mut self, letters: Vec<Letter>, now: Timestamp) -> Vec<u8> {
        let waiting: HashSet<_> = letters.iter().map(|letter| letter.id).collect();
        let mut frame = Vec::new();
        for letter in letters.into_iter().filter(|letter| !self.sent.contains(&letter.id)) {
            let id = letter.id;
            // Serializing strings and numbers never fails, and writes no line break.
            let json = serde_json::to_string(&listed_letter(letter, now)).unwrap_or_default();
            frame.extend_from_slice(format!("id: {id}\nevent: mail\ndata: {json}\n\n").as_bytes());
        }
        self.sent = waiting;
        frame
    }
}
