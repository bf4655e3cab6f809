//! Writes counts of the function's requests as JSON lines on standard output. Lambda copies these
//! lines to CloudWatch, where an operator can query them. This needs neither an agent nor a request
//! to AWS.
//!
//! If the operator enables it, a few of the counts become CloudWatch metrics, through the embedded
//! metric format. They are off by default, because CloudWatch charges more for each such metric
//! than for all the logs of a small network. The metrics that Lambda, API Gateway and DynamoDB
//! publish themselves are free of charge.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aurora_discovery_http::Route;
use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{MetricValue, Registry};
use http::StatusCode;
use serde_json::{Map, Value, json};

/// The namespace in CloudWatch.
const NAMESPACE: &str = "AuroraDiscovery";
/// The counts that can become metrics; `aurora-discovery cost` includes their price.
const METRICS: [&str; 4] = ["Registrations", "Heartbeats", "Refusals", "Failures"];
/// A process with few requests writes at most one line in this time, which is the resolution of
/// CloudWatch metrics.
const INTERVAL: Duration = Duration::from_secs(60);
/// A line is also due after this many requests, so that a process that ends soon has logged most of
/// its counts.
const REQUESTS_PER_LINE: u64 = 100;

/// Counts responses, and writes the counts as lines of JSON.
#[derive(Debug)]
pub(crate) struct Metrics {
    counts: Mutex<Counts>,
    as_metrics: bool,
}

#[derive(Debug)]
struct Counts {
    since: Instant,
    requests: u64,
    responses: BTreeMap<&'static str, u64>,
    slowest: Duration,
    sum: Duration,
    /// The store's counters at the time of the last line.
    last_logged: BTreeMap<&'static str, u64>,
}

impl Metrics {
    /// Starts counting. With `as_metrics`, some of the counts become CloudWatch metrics.
    pub(crate) fn new(as_metrics: bool) -> Self {
        Self { counts: Mutex::new(Counts::new(Instant::now())), as_metrics }
    }

    /// Counts a response.
    pub(crate) fn record(&self, path: &str, status: StatusCode, latency: Duration) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.requests += 1;
        counts.sum += latency;
        counts.slowest = counts.slowest.max(latency);
        *counts.responses.entry(count_name(path, status)).or_default() += 1;
    }

    /// Writes a line if one is due.
    pub(crate) fn write_if_due(&self, registry: &Registry, now: Timestamp) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let due = counts.requests >= REQUESTS_PER_LINE || counts.since.elapsed() >= INTERVAL;
        if due && counts.requests > 0 {
            let line = counts.line(registry, now, self.as_metrics);
            // The store's counters never reset, so their last values are kept for the next line.
            let last_logged = std::mem::take(&mut counts.last_logged);
            *counts = Counts { last_logged, ..Counts::new(Instant::now()) };
            // An error is ignored. It means that standard output is closed, so nothing would read
            // the line.
            let _ = writeln!(io::stdout().lock(), "{line}");
        }
    }
}

/// The part of a line that tells CloudWatch which of the counts are metrics.
fn metric_format(now: Timestamp) -> Value {
    let metrics: Vec<Value> = METRICS.iter().map(|name| json!({"Name": name, "Unit": "Count"})).collect();
    json!({"Timestamp": now.as_millis(), "CloudWatchMetrics": [
        {"Namespace": NAMESPACE, "Dimensions": [["FunctionName"]], "Metrics": metrics}
    ]})
}

/// The name under which a response is counted.
fn count_name(path: &str, status: StatusCode) -> &'static str {
    let is = |route: Route| route.path() == path;
    match status.as_u16() {
        500.. => "Failures",
        400.. => "Refusals",
        _ if is(Route::Register) => "Registrations",
        _ if is(Route::Heartbeat) => "Heartbeats",
        _ if is(Route::Discover) => "Discovers",
        _ if is(Route::Deregister) => "Deregistrations",
        _ => "Others",
    }
}

impl Counts {
    fn new(since: Instant) -> Self {
        Self {
            since,
            requests: 0,
            responses: BTreeMap::new(),
            slowest: Duration::ZERO,
            sum: Duration::ZERO,
            last_logged: BTreeMap::new(),
        }
    }

    /// The counts as a JSON object.
    fn line(&mut self, registry: &Registry, now: Timestamp, as_metrics: bool) -> Value {
        let mut line = Map::new();
        if as_metrics {
            line.insert("_aws".to_owned(), metric_format(now));
        }
        let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
        line.insert("FunctionName".to_owned(), function.into());
        // Each line has a value for every metric, because CloudWatch expects a value for each
        // metric that the line declares.
        line.extend(METRICS.iter().map(|name| ((*name).to_owned(), 0.into())));
        line.extend(self.responses.iter().map(|(name, count)| ((*name).to_owned(), (*count).into())));
        line.insert("Requests".to_owned(), self.requests.into());
        line.insert("SumMillis".to_owned(), (self.sum.as_secs_f64() * 1e3).into());
        line.insert("SlowestMillis".to_owned(), (self.slowest.as_secs_f64() * 1e3).into());
        line.extend(self.store_counters(registry));
        Value::Object(line)
    }

    /// By how much each of the store's counters has increased since the last line.
    fn store_counters(&mut self, registry: &Registry) -> Vec<(String, Value)> {
        let figures = registry.store().metrics().into_iter();
        figures
            .filter_map(|figure| match figure.value {
                MetricValue::Counter(value) => {
                    let previous = self.last_logged.insert(figure.name, value).unwrap_or_default();
                    Some((figure.name.to_owned(), value.saturating_sub(previous).into()))
                }
                MetricValue::Gauge(_) | MetricValue::Histogram { .. } => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_counted_by_its_route_and_status() {
        for (path, status, counted) in [
            ("/register", 200, "Registrations"),
            ("/heartbeat", 200, "Heartbeats"),
            ("/heartbeat", 404, "Refusals"),
            ("/discover", 503, "Failures"),
            ("/discover", 200, "Discovers"),
            ("/health", 200, "Others"),
        ] {
            assert_eq!(count_name(path, StatusCode::from_u16(status).unwrap()), counted);
        }
    }
}
