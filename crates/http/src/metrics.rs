//! The service's counters, gauges and histograms, all declared here.

use std::fmt;
use std::time::Duration;

use aurora_discovery_protocol::Code;
use aurora_discovery_registry::{Evicted, GrantedLease, Swept};
use http::StatusCode;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Metric;

use crate::route::Route;

/// Upper bounds of the latency buckets, in seconds. The lowest is for responses that only read
/// memory. Requests that reach the default deadline of ten seconds are above the highest.
const LATENCY_BOUNDS: [f64; 13] =
    [0.000_02, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];
/// Classes of statuses, starting at 200.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];
/// The label of all paths that are not part of the API.
const OTHER_PATHS: &str = "other";

/// The counters of the service since it started. `/network` reads the same counters.
#[derive(Debug)]
pub(crate) struct Metrics {
    descriptions: Vec<Description>,
    pub(crate) registrations: Counter,
    pub(crate) signed_registrations: Counter,
    renewals: Counter,
    pub(crate) revivals: Counter,
    pub(crate) deregistrations: Counter,
    pub(crate) dormant_deregistrations: Counter,
    pub(crate) expiries: Counter,
    evictions: Counter,
    /// Live peers that operators evicted.
    pub(crate) operator_evictions: Counter,
    dormant_operator_evictions: Counter,
    pub(crate) audit_lines_lost: Counter,
    pub(crate) pages: Counter,
    pub(crate) deltas: Counter,
    pub(crate) watch_begun: Counter,
    pub(crate) watch_observers_begun: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) connections_displaced: Counter,
    pub(crate) requests_shed: Counter,
    pub(crate) watch_events: Counter,
    pub(crate) watch_resets: Counter,
    pub(crate) watch_cut_off: Counter,
    pub(crate) watch_sent_away: Counter,
    pub(crate) watch_streams: Gauge,
    pub(crate) watch_observers: Gauge,
    pub(crate) mail_waits: Gauge,
    connections_open: Gauge,
    requests_in_flight: Gauge,
    refusals: Family<[(&'static str, &'static str); 1], Counter>,
    /// One entry for each route, in order, and one for all other paths.
    routes: Vec<RouteMetrics>,
}

/// A metric with its name and help. They are kept here, because the library's registry would append
/// a full stop to each help text.
#[derive(Debug)]
struct Description {
    name: &'static str,
    help: &'static str,
    metric: Box<dyn Metric>,
}

/// The series of one route, looked up once instead of for every request.
#[derive(Debug)]
struct RouteMetrics {
    by_class: [Counter; CLASSES.len()],
    latency: Histogram,
}

#[derive(Default)]
struct Descriptions(Vec<Description>);

impl Descriptions {
    fn add<M: Metric + Clone>(&mut self, name: &'static str, help: &'static str, metric: M) -> M {
        self.0.push(Description { name, help, metric: Box::new(metric.clone()) });
        metric
    }

    fn counter(&mut self, name: &'static str, help: &'static str) -> Counter {
        self.add(name, help, Counter::default())
    }

    fn gauge(&mut self, name: &'static str, help: &'static str) -> Gauge {
        self.add(name, help, Gauge::default())
    }

    fn refusals(&mut self) -> Family<[(&'static str, &'static str); 1], Counter> {
        let help = "Requests refused, by error code";
        let refusals = self.add("refusals", help, Family::default());
        for code in Code::ALL {
            // Creates the series at zero, so that a monitoring system sees the first increase.
            drop(refusals.get_or_create(&[("code", code.as_str())]));
        }
        refusals
    }

    fn routes(&mut self) -> Vec<RouteMetrics> {
        let help = "Requests handled, by path and class of status";
        let responses = self.add("requests", help, Family::<[(&str, &str); 2], Counter>::default());
        let help = "Time from the receipt of a request with its body to its response, in seconds, by path";
        let latencies: Family<[(&str, &str); 1], Histogram> =
            Family::new_with_constructor(|| Histogram::new(LATENCY_BOUNDS));
        let latencies = self.add("request_duration_seconds", help, latencies);
        let paths = Route::ALL.into_iter().map(Route::path).chain([OTHER_PATHS]);
        paths
            .map(|path| RouteMetrics {
                by_class: CLASSES
                    .map(|class| responses.get_or_create(&[("route", path), ("status", class)]).clone()),
                latency: latencies.get_or_create(&[("route", path)]).clone(),
            })
            .collect()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut all = Descriptions::default();
        let mut metrics = Self {
            registrations: all.counter("registrations", "Registrations accepted"),
            signed_registrations: all
                .counter("signed_registrations", "Registrations accepted that lock their name to a key"),
            renewals: all.counter("renewals", "Heartbeats that renewed a live peer's lease"),
            revivals: all.counter("revivals", "Heartbeats that revived a dormant peer"),
            deregistrations: all.counter("deregistrations", "Peers that deregistered"),
            dormant_deregistrations: all
                .counter("dormant_deregistrations", "Dormant peers that deregistered"),
            expiries: all.counter("expiries", "Leases that expired"),
            evictions: all.counter("evictions", "Dormant peers that were deleted"),
            operator_evictions: all.counter("operator_evictions", "Live peers that operators evicted"),
            dormant_operator_evictions: all
                .counter("dormant_operator_evictions", "Dormant peers that operators evicted"),
            audit_lines_lost: all
                .counter("audit_lines_lost", "Lines of the audit log that could not be written"),
            pages: all.counter(
                "pages",
                "Pages of peers returned, including those within other responses, except to observers",
            ),
            deltas: all.counter("deltas", "Lists of changes since a cursor returned"),
            watch_begun: all.counter("watch_begun", "Streams of /watch opened"),
            watch_observers_begun: all
                .counter("watch_observers_begun", "Streams of /watch opened with view=observer"),
            connections_refused: all
                .counter("connections_refused", "Connections refused because a limit was reached"),
            connections_displaced: all.counter(
                "connections_displaced",
                "Connections that waited for their clients and were closed to admit others",
            ),
            requests_shed: all.counter("requests_shed", "Requests refused because too many were in flight"),
            watch_events: all.counter("watch_events", "Changes sent to watchers"),
            watch_resets: all
                .counter("watch_resets", "Reset events sent to watchers that had missed changes"),
            watch_cut_off: all.counter("watch_cut_off", "Streams closed because their clients did not read"),
            watch_sent_away: all.counter(
                "watch_sent_away",
                "Streams ended because all streams together exceeded the limit of bytes per second",
            ),
            watch_streams: all.gauge("watch_streams", "Open streams of /watch"),
            watch_observers: all.gauge("watch_observers", "Open streams of /watch with view=observer"),
            mail_waits: all.gauge("mail_waits", "Requests and streams that wait for mail"),
            connections_open: all.gauge("connections_open", "Open connections"),
            requests_in_flight: all.gauge("requests_in_flight", "Requests in progress"),
            refusals: all.refusals(),
            routes: all.routes(),
            descriptions: Vec::new(),
        };
        metrics.descriptions = all.0;
        metrics
    }
}

impl Metrics {
    /// Counts a response that is ready to be sent.
    pub(crate) fn responded(
        &self,
        route: Option<Route>,
        status: StatusCode,
        refusal: Option<Code>,
        latency: Duration,
    ) {
        // The entry after the last route is that of all other paths.
        let metrics = &self.routes[route.map_or(Route::ALL.len(), |route| route as usize)];
        // Statuses below 200 and above 599 do not occur. `clamp` ensures that the index is valid
        // even if they do.
        let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
        metrics.by_class[class].inc();
        metrics.latency.observe(latency.as_secs_f64());
        if let Some(code) = refusal {
            self.refusals.get_or_create(&[("code", code.as_str())]).inc();
        }
    }

    /// Counts the leases that heartbeats have renewed or revived.
    pub(crate) fn renewed<'a>(&self, leases: impl IntoIterator<Item = &'a GrantedLease>) {
        for lease in leases {
            if lease.revived { &self.revivals } else { &self.renewals }.inc();
        }
    }

    pub(crate) fn deregistered(&self, was_live: bool) {
        self.deregistrations.inc();
        if !was_live {
            self.dormant_deregistrations.inc();
        }
    }

    pub(crate) fn evicted_by_operator(&self, evicted: Evicted) {
        self.operator_evictions.inc_by(evicted.live);
        self.dormant_operator_evictions.inc_by(evicted.dormant);
    }

    pub(crate) fn swept(&self, swept: Swept) {
        self.expiries.inc_by(swept.expired);
        self.evictions.inc_by(swept.evicted);
    }

    /// Counts one more request in flight until the guard is dropped.
    pub(crate) fn request_in_flight(&self) -> GaugeGuard<'_> {
        GaugeGuard::new(&self.requests_in_flight)
    }

    /// The number of requests whose handlers run.
    pub(crate) fn requests_in_progress(&self) -> i64 {
        self.requests_in_flight.get()
    }

    /// Counts one more connection until the guard is dropped.
    pub(crate) fn connection_open(&self) -> GaugeGuard<'_> {
        GaugeGuard::new(&self.connections_open)
    }

    /// Writes all metrics, in the order of their declaration.
    pub(crate) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.descriptions.iter().try_for_each(|Description { name, help, metric }| {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        })
    }
}

/// Adds one to a gauge until it is dropped.
pub(crate) struct GaugeGuard<'a>(&'a Gauge);

impl<'a> GaugeGuard<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for GaugeGuard<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_is_its_own_index() {
        for (index, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route as usize, index);
        }
    }
}
