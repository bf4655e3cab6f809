//! The metrics that a store reports about its own work.

/// One metric that a store reports about its own work, for monitoring.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreMetric {
    /// The name: lower case, with the unit if there is one, without the prefix `aurora_`.
    pub name: &'static str,
    /// A description of one sentence, without a full stop.
    pub help: &'static str,
    /// The kind and the value.
    pub value: MetricValue,
}

/// The kind and the value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricValue {
    /// A count since the start of the process.
    Counter(u64),
    /// A value that can rise and fall.
    Gauge(f64),
    /// A distribution: how many values are less than or equal to each bound.
    Histogram {
        /// The upper bounds in ascending order, each with the cumulative number of values up to it.
        buckets: Vec<(f64, u64)>,
        /// The sum of all values.
        sum: f64,
        /// The number of all values, including those above the last bound.
        count: u64,
    },
}
