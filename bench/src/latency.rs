//! Latencies of one kind of request, and their percentiles.

use std::time::Duration;

/// Every latency seen, and how many requests failed.
#[derive(Default)]
pub(crate) struct Latencies {
    nanoseconds: Vec<u64>,
    failed: u64,
}

impl Latencies {
    pub(crate) fn record(&mut self, latency: Duration, succeeded: bool) {
        self.nanoseconds.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        self.failed += u64::from(!succeeded);
    }

    /// Counts and percentiles in microseconds, as JSON.
    pub(crate) fn summary(mut self) -> serde_json::Value {
        self.nanoseconds.sort_unstable();
        serde_json::json!({
            "sent": self.nanoseconds.len(),
            "failed": self.failed,
            "p50_us": self.microseconds_at(500),
            "p99_us": self.microseconds_at(990),
            "p99_9_us": self.microseconds_at(999),
        })
    }

    /// The latency that `per_mille` of the requests stay within; the latencies are sorted.
    fn microseconds_at(&self, per_mille: usize) -> u64 {
        let rank = (self.nanoseconds.len() * per_mille).div_ceil(1_000).max(1) - 1;
        self.nanoseconds.get(rank).map_or(0, |nanoseconds| nanoseconds / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Latencies;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let mut latencies = Latencies::default();
        for milliseconds in (1..=1_000).rev() {
            latencies.record(Duration::from_millis(milliseconds), milliseconds != 7);
        }
        let summary = latencies.summary();
        assert_eq!(summary["sent"], 1_000);
        assert_eq!(summary["failed"], 1);
        assert_eq!(summary["p50_us"], 500_000);
        assert_eq!(summary["p99_us"], 990_000);
        assert_eq!(summary["p99_9_us"], 999_000);
    }
}
