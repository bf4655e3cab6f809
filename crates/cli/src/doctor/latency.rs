//! Checks the latency of requests.

use std::time::Duration;

use aurora_discovery_client::{Client, Probe};

use super::finding::Finding;
use super::send_probe;
use super::test_peer::describe_refusal;

const CHECK: &str = "latency";
/// The median latency above which the doctor warns, because every peer that joins notices the
/// delay.
const SLOW: Duration = Duration::from_millis(500);
/// The 99th percentile of the latencies above which the doctor warns. Clients give up after ten
/// seconds, and a service that is this slow may reach that limit under a higher load.
const VERY_SLOW: Duration = Duration::from_secs(3);

/// Requests a page `requests` times, one after the other.
pub(crate) async fn examine(client: &Client, requests: u32) -> Vec<Finding> {
    let mut times = Vec::new();
    let mut refusals = Vec::new();
    for _ in 0..requests {
        match send_probe(client, CHECK, Probe::get("discover").parameter("limit", "1")).await {
            Ok(response) if response.status == 200 => times.push(response.elapsed),
            Ok(response) => refusals.push(describe_refusal(&response)),
            Err(finding) => return vec![finding],
        }
    }
    times.sort_unstable();
    vec![judge(&times, &refusals)]
}

/// `times` must be in ascending order.
fn judge(times: &[Duration], refusals: &[String]) -> Finding {
    let last = refusals.last().map(|refusal| format!("; the last: {refusal}")).unwrap_or_default();
    let (Some(median), Some(p99)) = (percentile(times, 50), percentile(times, 99)) else {
        return Finding::fail(
            CHECK,
            format!("none of {} requests succeeded{last}", refusals.len()),
            "check the service's log: it is overloaded, or its store is unavailable",
        );
    };
    let message = format!(
        "{} requests to /discover: p50 {:.1} ms, p99 {:.1} ms",
        times.len(),
        millis(median),
        millis(p99)
    );
    if !refusals.is_empty() {
        return Finding::warn(
            CHECK,
            format!("{message}; {} more were rejected{last}", refusals.len()),
            "check the error codes in the service's log: throttling, overload or an unavailable store",
        );
    }
    if median > SLOW || p99 > VERY_SLOW {
        return Finding::warn(
            CHECK,
            message,
            "deploy the service closer to the peers; on AWS compare ms and functionMs in the API's log, and raise MemorySize if the function is slow",
        );
    }
    Finding::ok(CHECK, message)
}

/// The time within which `percent` of the requests were done.
fn percentile(times: &[Duration], percent: usize) -> Option<Duration> {
    times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    fn times(count: u64) -> Vec<Duration> {
        (1..=count).map(Duration::from_millis).collect()
    }

    #[test]
    fn percentiles_use_the_nearest_rank() {
        assert_eq!(percentile(&times(100), 50), Some(Duration::from_millis(50)));
        assert_eq!(percentile(&times(100), 99), Some(Duration::from_millis(99)));
        assert_eq!(percentile(&times(1), 99), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn slow_and_rejected_requests_are_reported() {
        let refused = ["HTTP 503, request 7: x".to_owned()];
        assert_eq!(judge(&times(20), &[]).verdict, Verdict::Ok);
        assert_eq!(judge(&times(20), &refused).verdict, Verdict::Warn);
        assert_eq!(judge(&[SLOW * 2], &[]).verdict, Verdict::Warn);
        let none = judge(&[], &refused);
        assert_eq!(none.verdict, Verdict::Fail);
        assert!(none.message.ends_with("HTTP 503, request 7: x"), "{}", none.message);
    }
}
