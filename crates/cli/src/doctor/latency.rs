//! Checks the latency of requests.

use std::time::Duration;

use aurora_discovery_client::{Client, Probe};

use super::asked;
use super::finding::Finding;

const CHECK: &str = "latency";
/// Every newcomer notices if a typical request takes longer.
const SLOW: Duration = Duration::from_millis(500);
/// Clients give up after ten seconds. If one request in a hundred takes this long, the service is
/// close to that.
const VERY_SLOW: Duration = Duration::from_secs(3);

/// Requests a page `calls` times, one after the other.
pub(crate) async fn examine(client: &Client, calls: u32) -> Vec<Finding> {
    let mut times = Vec::new();
    let mut failed = 0_u32;
    for _ in 0..calls {
        match asked(client, CHECK, Probe::get("discover").parameter("limit", "1")).await {
            Ok(answer) if answer.status == 200 => times.push(answer.elapsed),
            Ok(_) => failed += 1,
            Err(finding) => return vec![finding],
        }
    }
    times.sort_unstable();
    vec![judge(&times, failed)]
}

/// `times` must be in ascending order.
fn judge(times: &[Duration], failed: u32) -> Finding {
    let (Some(median), Some(p99)) = (percentile(times, 50), percentile(times, 99)) else {
        return Finding::fail(
            CHECK,
            format!("none of {failed} calls succeeded"),
            "look into the service's log: it is overloaded or its store is away",
        );
    };
    let says = format!(
        "{} calls of /discover: p50 {:.1} ms, p99 {:.1} ms",
        times.len(),
        millis(median),
        millis(p99)
    );
    if failed > 0 {
        return Finding::warn(
            CHECK,
            format!("{says}; {failed} more were refused"),
            "look at the refusals' codes in the service's log: a throttle, an overload or a store that is away",
        );
    }
    if median > SLOW || p99 > VERY_SLOW {
        return Finding::warn(
            CHECK,
            says,
            "serve nearer to the peers; on AWS compare ms and functionMs in the API's log, and raise MemorySize if the function is slow",
        );
    }
    Finding::ok(CHECK, says)
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
    fn percentiles_are_those_of_the_calls_that_succeeded() {
        assert_eq!(percentile(&times(100), 50), Some(Duration::from_millis(50)));
        assert_eq!(percentile(&times(100), 99), Some(Duration::from_millis(99)));
        assert_eq!(percentile(&times(1), 99), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn slow_and_refused_calls_are_told() {
        assert_eq!(judge(&times(20), 0).verdict, Verdict::Ok);
        assert_eq!(judge(&times(20), 1).verdict, Verdict::Warn);
        assert_eq!(judge(&[SLOW * 2], 0).verdict, Verdict::Warn);
        assert_eq!(judge(&[], 20).verdict, Verdict::Fail);
    }
}
