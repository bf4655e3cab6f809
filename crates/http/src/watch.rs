//! `GET /watch`: who comes and goes, as server-sent events.

mod events;
mod frame;
mod place;

use std::sync::Arc;
use std::time::Duration;

use aurora_protocol::FollowRequest;
use aurora_registry::Registry;
use tokio::sync::watch;

use crate::answer::Answer;
use crate::call::Call;
use crate::error::Failure;
use crate::metrics::Metrics;

pub(crate) use events::Events;
use place::Places;

/// How many may watch, and how they are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WatchOptions {
    pub(crate) max_watchers: usize,
    pub(crate) keep_alive: Duration,
}

/// All that watch.
pub(crate) struct Watchers {
    options: WatchOptions,
    places: Places,
    metrics: Arc<Metrics>,
    /// Says that all streams are to end.
    end: watch::Sender<bool>,
}

impl Watchers {
    pub(crate) fn new(options: WatchOptions, metrics: Arc<Metrics>) -> Self {
        let places = Places::new(options.max_watchers);
        Self { options, places, metrics, end: watch::Sender::new(false) }
    }

    /// Ends all streams; those that watched come back by themselves.
    pub(crate) fn end(&self) {
        self.end.send_replace(true);
    }
}

pub(crate) fn watch(call: &Call<'_>) -> Result<Answer, Failure> {
    let mut request = call.watching()?;
    // A browser that reconnects says where it was, and repeats the query that it began with.
    if let Some(last) = call.last_event_id.filter(|last| !last.is_empty()) {
        let last = String::from_utf8_lossy(last).into_owned();
        request.since = Some(last).filter(|last| FollowRequest::is_cursor(last));
    }
    let place = call.watchers.places.take(call.source);
    let watching = Registry::watch(call.registry, request, call.now)?;
    let place = place.ok_or_else(|| {
        Failure::unavailable(
            "as many watch as may, in all or from your address; try again later, or ask /discover with since",
        )
    })?;
    Ok(Answer::events(Events::new(watching, place, call.watchers)))
}
