//! What the service counts: plain atomics where requests pass, described once, written as text when somebody asks.

mod histogram;
mod listener;
mod text;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use aurora_protocol::{Code, Timestamp};
use aurora_registry::Swept;
use http::StatusCode;

use crate::answer::Event;
use crate::network::{History, Moment};
use crate::route::Route;

use histogram::Histogram;

pub(crate) use listener::serve_metrics;
pub(crate) use text::write_metrics;

/// Most archetypes that are counted by name: each is a series that a monitoring system keeps for months.
pub(crate) const MAX_ARCHETYPES: usize = 50;

/// The service's figures since it started.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    registrations: AtomicU64,
    renewals: AtomicU64,
    revivals: AtomicU64,
    deregistrations: AtomicU64,
    dormant_deregistrations: AtomicU64,
    expiries: AtomicU64,
    evictions: AtomicU64,
    pages: AtomicU64,
    deltas: AtomicU64,
    streams_begun: AtomicU64,
    /// What of the above, and how many peers there were, in the last minutes.
    pub(crate) history: History,
    connections_open: AtomicU64,
    connections_refused: AtomicU64,
    in_flight: AtomicU64,
    shed: AtomicU64,
    streams: AtomicU64,
    events: AtomicU64,
    stream_resets: AtomicU64,
    streams_cut_off: AtomicU64,
    refusals: [AtomicU64; Code::ALL.len()],
    /// One for each route, in their order, and one for all other paths.
    routes: [RouteMetrics; Route::ALL.len() + 1],
}

#[derive(Debug, Default)]
struct RouteMetrics {
    /// Answers of the classes 2xx to 5xx.
    classes: [AtomicU64; CLASSES.len()],
    latency: Histogram,
}

const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// A plain figure: its name, what it says, and whether it only ever counts up.
struct Plain {
    name: &'static str,
    help: &'static str,
    counts_up: bool,
    value: fn(&Metrics) -> &AtomicU64,
}

const fn counter(name: &'static str, help: &'static str, value: fn(&Metrics) -> &AtomicU64) -> Plain {
    Plain { name, help, counts_up: true, value }
}

const fn gauge(name: &'static str, help: &'static str, value: fn(&Metrics) -> &AtomicU64) -> Plain {
    Plain { name, help, counts_up: false, value }
}

const PLAIN: [Plain; 18] = [
    counter("registrations", "Registrations accepted", |m| &m.registrations),
    counter("renewals", "Heartbeats that renewed a live peer's lease", |m| &m.renewals),
    counter("revivals", "Heartbeats that revived a dormant peer", |m| &m.revivals),
    counter("deregistrations", "Peers that deregistered", |m| &m.deregistrations),
    counter("dormant_deregistrations", "Of these, dormant ones", |m| &m.dormant_deregistrations),
    counter("expiries", "Leases that ended in silence", |m| &m.expiries),
    counter("evictions", "Dormant peers that were deleted", |m| &m.evictions),
    counter("pages", "Pages of peers answered, those that rode along included", |m| &m.pages),
    counter("deltas", "Questions for what changed since a position that were answered", |m| &m.deltas),
    counter("watch_begun", "Streams of /watch that were opened", |m| &m.streams_begun),
    counter("connections_refused", "Connections over the bound, turned away", |m| &m.connections_refused),
    counter("requests_shed", "Requests turned away because too many were in flight", |m| &m.shed),
    counter("watch_events", "Changes told to those who watch", |m| &m.events),
    counter("watch_resets", "Times that one who watches was told to start anew", |m| &m.stream_resets),
    counter("watch_cut_off", "Streams cut off because their clients did not read", |m| &m.streams_cut_off),
    gauge("watch_streams", "Streams of /watch that are open", |m| &m.streams),
    gauge("connections_open", "Connections that are open", |m| &m.connections_open),
    gauge("requests_in_flight", "Requests that are being answered", |m| &m.in_flight),
];

impl Metrics {
    /// Counts an answer that is ready to be sent.
    pub(crate) fn answered(&self, route: Option<Route>, status: StatusCode, event: Event, latency: Duration) {
        let metrics = &self.routes[route.map_or(Route::ALL.len(), |route| route as usize)];
        let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
        metrics.classes[class].fetch_add(1, Relaxed);
        metrics.latency.observe(latency);
        match event {
            Event::Nothing => {}
            Event::Registered => add(&self.registrations, 1),
            Event::Renewed { renewed, revived } => {
                add(&self.renewals, renewed);
                add(&self.revivals, revived);
            }
            Event::Deregistered { was_live } => {
                add(&self.deregistrations, 1);
                add(&self.dormant_deregistrations, (!was_live).into());
            }
        }
    }

    pub(crate) fn watch_began(&self, reset: bool) {
        self.streams.fetch_add(1, Relaxed);
        self.streams_begun.fetch_add(1, Relaxed);
        self.stream_resets.fetch_add(reset.into(), Relaxed);
    }

    pub(crate) fn watch_told(&self, events: usize) {
        add(&self.events, events);
    }

    pub(crate) fn watch_reset(&self) {
        self.stream_resets.fetch_add(1, Relaxed);
    }

    pub(crate) fn watch_ended(&self, cut_off: bool) {
        self.streams.fetch_sub(1, Relaxed);
        self.streams_cut_off.fetch_add(cut_off.into(), Relaxed);
    }

    pub(crate) fn refused(&self, code: Code) {
        self.refusals[code as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn swept(&self, swept: Swept) {
        self.expiries.fetch_add(swept.expired, Relaxed);
        self.evictions.fetch_add(swept.evicted, Relaxed);
    }

    /// Counts a page of peers that is answered.
    pub(crate) fn paged(&self) {
        self.pages.fetch_add(1, Relaxed);
    }

    /// Counts an answer to what changed since a position.
    pub(crate) fn followed(&self) {
        self.deltas.fetch_add(1, Relaxed);
    }

    /// What is counted at `now`, when so many peers are live.
    pub(crate) fn moment(&self, live: u64, at: Timestamp) -> Moment {
        Moment {
            at,
            live,
            // Dormant ones left the lists when their leases ended.
            left: self
                .deregistrations
                .load(Relaxed)
                .saturating_sub(self.dormant_deregistrations.load(Relaxed)),
            expired: self.expiries.load(Relaxed),
            revived: self.revivals.load(Relaxed),
            pages: self.pages.load(Relaxed),
            follows: self.deltas.load(Relaxed) + self.streams_begun.load(Relaxed),
            streams: self.streams.load(Relaxed),
        }
    }

    pub(crate) fn connection_refused(&self) {
        self.connections_refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn shed(&self) {
        self.shed.fetch_add(1, Relaxed);
    }

    /// Counts one more request in flight, and one less when the guard is dropped.
    pub(crate) fn enter(&self) -> Present<'_> {
        Present::new(&self.in_flight)
    }

    /// Counts one more connection, and one less when the guard is dropped.
    pub(crate) fn connect(&self) -> Present<'_> {
        Present::new(&self.connections_open)
    }
}

fn add(counter: &AtomicU64, count: usize) {
    if count > 0 {
        counter.fetch_add(count as u64, Relaxed);
    }
}

/// Counts as one for as long as it lives.
pub(crate) struct Present<'a> {
    gauge: &'a AtomicU64,
    others: u64,
}

impl<'a> Present<'a> {
    fn new(gauge: &'a AtomicU64) -> Self {
        Self { gauge, others: gauge.fetch_add(1, Relaxed) }
    }

    /// How many others there were when it came.
    pub(crate) fn others(&self) -> u64 {
        self.others
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.gauge.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_and_route_has_a_place_of_its_own() {
        for (place, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, place);
        }
        for (place, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route as usize, place);
        }
    }
}
