//! All metrics in the OpenMetrics text format.

use std::fmt;
use std::sync::Arc;

use aurora_discovery_protocol::NetworkResponse;
use aurora_discovery_registry::{Census, MetricValue, StoreMetric};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::metrics::Metrics;
use crate::process::ProcessFigures;

/// The prefix of the names of all metrics except those about the process.
const PREFIX: &str = "aurora";

/// All metrics as OpenMetrics text. If `process` is `None`, those about the process are left out.
pub(crate) fn exposition(figures: Figures, process: Option<ProcessFigures>) -> Result<String, fmt::Error> {
    let mut own = Registry::with_prefix(PREFIX);
    own.register_collector(Box::new(figures));
    let mut common = Registry::default();
    if let Some(process) = process {
        common.register_collector(Box::new(process));
    }
    let mut text = String::new();
    text::encode_registry(&mut text, &own)?;
    text::encode_registry(&mut text, &common)?;
    text::encode_eof(&mut text)?;
    Ok(text)
}

/// The figures of the service, its store and the network.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) metrics: Arc<Metrics>,
    /// The peers, if they could be counted.
    pub(crate) census: Option<Census>,
    /// The response of `/network`, if the peers could be counted.
    pub(crate) network: Option<NetworkResponse>,
    pub(crate) store: Vec<StoreMetric>,
    pub(crate) is_healthy: bool,
    /// The number of blocks in force, as this process knows them.
    pub(crate) blocks: usize,
    /// When the TLS certificate expires, in seconds since 1970, if there is one.
    pub(crate) certificate_expires_at: Option<u64>,
}

/// A gauge's name, its description, and its value.
type Gauge = (&'static str, &'static str, f64);

/// Gauges for the figures of `/network`, except counts of peers and figures that are unknown.
fn network_gauges(network: &NetworkResponse) -> Vec<Gauge> {
    let mut gauges = vec![("network_risks", "Risks that /network reports", network.at_risk.len() as f64)];
    if let Some(rates) = &network.rates {
        gauges.extend([
            ("joins_per_minute", "Peers that joined, over the last minutes", rates.joins_per_minute),
            ("leaves_per_minute", "Peers that deregistered, over the last minutes", rates.leaves_per_minute),
            ("expiries_per_minute", "Leases that expired, over the last minutes", rates.expiries_per_minute),
            (
                "revivals_per_minute",
                "Dormant peers that were revived, over the last minutes",
                rates.revivals_per_minute,
            ),
        ]);
    }
    if let Some(ratio) = network.undiscovered_ratio {
        let help =
            "Ratio of live peers that no page listed during their last lease; new peers count as listed";
        let deprecated = "Deprecated: use aurora_undiscovered_ratio";
        gauges
            .extend([("undiscovered_ratio", help, ratio), ("introduced_to_nobody_share", deprecated, ratio)]);
    }
    gauges
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_state(&mut encoder)?;
        self.metrics.encode(&mut encoder)?;
        if let Some(census) = &self.census {
            encode_census(census, &mut encoder)?;
        }
        for (name, help, value) in self.network.as_ref().map(network_gauges).unwrap_or_default() {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
        self.store.iter().try_for_each(|figure| encode_figure(figure, &mut encoder))
    }
}

impl Figures {
    fn encode_state(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "The version of the service";
        let mut build = encoder.encode_descriptor("build", help, None, MetricType::Info)?;
        build.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        let help = "Whether the service keeps its guarantees, as /health reports it: 1 or 0";
        let healthy = encoder.encode_descriptor("healthy", help, None, MetricType::Gauge)?;
        encode_gauge(healthy, self.is_healthy.into())?;
        let help = "Blocks of operators in force, as this process knows them";
        let blocks = encoder.encode_descriptor("blocks", help, None, MetricType::Gauge)?;
        encode_gauge(blocks, u64::try_from(self.blocks).unwrap_or(u64::MAX))?;
        if let Some(expires_at) = self.certificate_expires_at {
            let name = "tls_certificate_expiration_timestamp_seconds";
            let help = "When the TLS certificate expires, in seconds since 1970";
            encode_gauge(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?, expires_at)?;
        }
        Ok(())
    }
}

fn encode_census(census: &Census, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let totals = [
        ("peers_live", "Peers with a current lease", census.live),
        ("peers_dormant", "Expired peers that a heartbeat can revive", census.dormant),
        ("archetypes", "Different archetypes of live peers", census.archetypes),
    ];
    for (name, help, value) in totals {
        encode_gauge(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?, value)?;
    }
    let help = "Live peers per archetype, for archetypes that several sources have used for some time";
    let mut family = encoder.encode_descriptor("archetype_peers", help, None, MetricType::Gauge)?;
    for (archetype, peers) in &census.by_archetype {
        encode_gauge(family.encode_family(&[("archetype", archetype.as_str())])?, *peers)?;
    }
    Ok(())
}

fn encode_figure(figure: &StoreMetric, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let name = format!("store_{}", figure.name);
    // Each store defines its own metrics, so their descriptors are not declared in `metrics.rs`.
    let kind = match figure.value {
        MetricValue::Counter(_) => MetricType::Counter,
        MetricValue::Gauge(_) => MetricType::Gauge,
        MetricValue::Histogram { .. } => MetricType::Histogram,
    };
    let mut metric = encoder.encode_descriptor(&name, figure.help, None, kind)?;
    match &figure.value {
        MetricValue::Counter(value) => encode_counter(metric, *value),
        MetricValue::Gauge(value) => ConstGauge::new(*value).encode(metric),
        MetricValue::Histogram { buckets, sum, count } => {
            metric.encode_histogram::<NoLabelSet>(*sum, *count, &counts_per_bucket(buckets, *count), None)
        }
    }
}

fn encode_counter(encoder: MetricEncoder<'_>, value: u64) -> fmt::Result {
    ConstCounter::new(value).encode(encoder)
}

fn encode_gauge(encoder: MetricEncoder<'_>, value: u64) -> fmt::Result {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder)
}

/// Converts cumulative counts into counts per bucket, as the encoder expects.
fn counts_per_bucket(cumulative: &[(f64, u64)], count: u64) -> Vec<(f64, u64)> {
    let mut below = 0;
    cumulative
        .iter()
        .copied()
        // The last bucket is always infinite, and its count is the total.
        .filter(|(bound, _)| bound.is_finite())
        .chain([(f64::INFINITY, count)])
        .map(|(bound, total)| {
            // The difference to the previous bound is the number of values in this bucket.
            let own = total.saturating_sub(below);
            below = total;
            (bound, own)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use aurora_discovery_protocol::{Archetype, NetworkRates, Timestamp};

    use super::*;

    #[test]
    fn the_exposition_contains_the_figures_of_the_service_the_store_and_the_network() {
        let figures = vec![
            StoreMetric {
                name: "journal_bytes",
                help: "Bytes of the journal",
                value: MetricValue::Gauge(1.5),
            },
            StoreMetric { name: "syncs", help: "Syncs", value: MetricValue::Counter(3) },
            StoreMetric {
                name: "sync_seconds",
                help: "How long a sync takes",
                value: MetricValue::Histogram { buckets: vec![(0.1, 1), (0.2, 3)], sum: 0.9, count: 4 },
            },
        ];
        let hostile = Archetype::parse("a\"} evil{x=\"\\").unwrap();
        let census = Census { live: 7, dormant: 2, archetypes: 1, by_archetype: vec![(hostile, 5)] };
        let rates = NetworkRates {
            minutes: 5,
            joins_per_minute: 1.5,
            leaves_per_minute: 0.0,
            expiries_per_minute: 0.0,
            revivals_per_minute: 0.0,
        };
        let network = NetworkResponse {
            timestamp: Timestamp::default(),
            peers: 7,
            archetypes: Vec::new(),
            rates: Some(rates),
            undiscovered_ratio: Some(0.25),
            at_risk: vec!["x".to_owned()],
        };
        let figures = Figures {
            metrics: Arc::default(),
            census: Some(census),
            network: Some(network),
            store: figures,
            is_healthy: false,
            blocks: 3,
            certificate_expires_at: Some(1_759_406_400),
        };
        let text = exposition(figures, Some(ProcessFigures::read(SystemTime::UNIX_EPOCH))).unwrap();
        for line in [
            concat!("aurora_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "aurora_healthy 0",
            "aurora_blocks 3",
            "aurora_tls_certificate_expiration_timestamp_seconds 1759406400",
            "process_start_time_seconds 0",
            "aurora_peers_live 7",
            "aurora_peers_dormant 2",
            "aurora_joins_per_minute 1.5",
            "aurora_undiscovered_ratio 0.25",
            "# HELP aurora_introduced_to_nobody_share Deprecated: use aurora_undiscovered_ratio",
            "aurora_introduced_to_nobody_share 0.25",
            "aurora_network_risks 1.0",
            "aurora_pages_total 0",
            r#"aurora_archetype_peers{archetype="a\"} evil{x=\"\\"} 5"#,
            "aurora_store_journal_bytes 1.5",
            "aurora_store_syncs_total 3",
            r#"aurora_store_sync_seconds_bucket{le="0.2"} 3"#,
            r#"aurora_store_sync_seconds_bucket{le="+Inf"} 4"#,
            "aurora_store_sync_seconds_sum 0.9",
            "aurora_registrations_total 0",
            r#"aurora_refusals_total{code="not_holder"} 0"#,
            r#"aurora_requests_total{route="/discover",status="2xx"} 0"#,
            r#"aurora_request_duration_seconds_bucket{le="0.0001",route="/heartbeat"} 0"#,
            "# EOF",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is missing in\n{text}");
        }
    }
}
