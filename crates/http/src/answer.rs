//! What a handler answers with, before it is an HTTP response.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use aurora_protocol::{ErrorBody, HealthResponse, PeerList, with_peers};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use serde::Serialize;

use crate::error::Failure;
use crate::watch::Events;

/// What a call changed, for whoever counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Nothing,
    Registered,
    /// So many leases of live peers, and so many of dormant ones.
    Renewed {
        renewed: usize,
        revived: usize,
    },
    Deregistered {
        was_live: bool,
    },
}

/// An answer: a status and a JSON body, empty where there is none.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    pub(crate) retry_after_seconds: Option<u32>,
    pub(crate) event: Event,
    /// What is sent instead of the body, as it comes.
    pub(crate) events: Option<Box<Events>>,
    /// How the body is coded, where its caller had a choice.
    pub(crate) coding: Option<Coding>,
}

/// How a large body goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
}

/// The body of a response: whole, or events as they come.
pub(crate) enum AnswerBody {
    Whole(Full<Bytes>),
    Events(Box<Events>),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(body) => Pin::new(body).poll_frame(context),
            Self::Events(events) => Pin::new(events.as_mut()).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

impl Answer {
    pub(crate) fn json(value: &impl Serialize) -> Result<Self, Failure> {
        // Most answers fit: growing a buffer costs more than its first bytes.
        let mut body = Vec::with_capacity(256);
        serde_json::to_writer(&mut body, value)?;
        Ok(Self::of(StatusCode::OK, body))
    }

    /// Events as they come.
    pub(crate) fn events(events: Events) -> Self {
        Self { events: Some(Box::new(events)), ..Self::fixed("") }
    }

    /// JSON that is written already.
    pub(crate) fn written(json: Vec<u8>) -> Self {
        Self::of(StatusCode::OK, json)
    }

    /// `value`, with a list in front where there is one.
    pub(crate) fn with_peers(peers: Option<PeerList>, value: &impl Serialize) -> Result<Self, Failure> {
        match peers {
            Some(peers) => Ok(Self::of(StatusCode::OK, Bytes::from_owner(with_peers(peers, value)?))),
            None => Self::json(value),
        }
    }

    /// The answer of `/health` that is no success and no error either: an alarm.
    pub(crate) fn unhealthy(reason: &str, retry_after_seconds: u32) -> Result<Self, Failure> {
        let body = HealthResponse { status: "unhealthy".to_owned(), reason: Some(reason.to_owned()) };
        Ok(Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            retry_after_seconds: Some(retry_after_seconds.max(1)),
            ..Self::json(&body)?
        })
    }

    pub(crate) fn fixed(json: &'static str) -> Self {
        Self {
            status: StatusCode::OK,
            body: Bytes::from_static(json.as_bytes()),
            retry_after_seconds: None,
            event: Event::Nothing,
            events: None,
            coding: None,
        }
    }

    pub(crate) fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, ..Self::fixed("") }
    }

    pub(crate) fn event(self, event: Event) -> Self {
        Self { event, ..self }
    }

    fn of(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, body: body.into(), ..Self::fixed("") }
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        let status = failure.status();
        let retry_after_seconds = failure.retry_after_seconds;
        // Strings always serialize.
        let body = serde_json::to_vec(&ErrorBody::from(failure.refusal)).unwrap_or_default();
        Self { retry_after_seconds, ..Self::of(status, body) }
    }
}
