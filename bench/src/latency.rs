//! Latencies of one kind of request, and their percentiles.

use std::time::Duration;

/// All latencies, the number of requests that were refused for overload, and the number that failed
/// for another reason.
#[derive(Default)]
pub(crate) struct Latencies {
    nanoseconds: Vec<u64>,
    refused: u64,
    failed: u64,
}

impl Latencies {
    /// Records one request by its status; `None` if its connection broke.
    pub(crate) fn record(&mut self, latency: Duration, status: Option<u16>) {
        self.nanoseconds.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        match status {
            Some(200) => {}
            Some(503) => self.refused += 1,
            _ => self.failed += 1,
        }
    }

    /// Counts and percentiles in microseconds, as JSON.
    pub(crate) fn summary(mut self) -> serde_json::Value {
        self.nanoseconds.sort_unstable();
        serde_json::json!({
            "sent": self.nanoseconds.len(),
            "refused": self.refused,
            "failed": self.failed,
            "p50_us": self.microseconds_at(500),
            "p99_us": self.microseconds_at(990),
            "p99_9_us": self.microseconds_at(999),
        })
    }

    /// The latency that `per_mille` of the requests do not exceed; the latencies must be sorted.
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
    fn percentiles_use_the_nearest_rank_and_503_is_not_a_failure() {
        let mut latencies = Latencies::default();
        for milliseconds in (1..=1_000).rev() {
            let status =
                [Some(200), Some(503), None][usize::from(milliseconds < 10) + usize::from(milliseconds < 3)];
            latencies.record(Duration::from_millis(milliseconds), status);
        }
        let summary = latencies.summary();
        assert_eq!(summary["sent"], 1_000);
        assert_eq!(summary["refused"], 7);
        assert_eq!(summary["failed"], 2);
        assert_eq!(summary["p50_us"], 500_000);
        assert_eq!(summary["p99_us"], 990_000);
        assert_eq!(summary["p99_9_us"], 999_000);
    }
}
