//! Compares the service's clock with this machine's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aurora_discovery_client::{Client, Probe};
use aurora_discovery_protocol::Timestamp;
use serde::Deserialize;

use super::finding::Finding;
use super::send_probe;
use super::test_peer::{describe_refusal, search_log};

const CHECK: &str = "clock";
/// The difference of the two clocks, in seconds, above which the doctor warns. A larger difference
/// misleads clients that compare `last_seen` with their own clock.
const WARN_SECONDS: f64 = 2.0;
/// The difference, in seconds, above which the check fails. Legacy clients ignore peers whose
/// `last_seen` is more than 300 s ago. If peers send a heartbeat every 200 s, a client whose clock
/// is more than 100 s ahead of the service's may ignore live peers.
const FAIL_SECONDS: f64 = 100.0;
/// Times are rounded down to whole seconds, so they are half a second too early on average.
const ROUNDING: f64 = 0.5;

/// The part of a list that this check reads. It does not include the peers, so that a malformed
/// peer does not make this check fail.
#[derive(Deserialize)]
struct Page {
    timestamp: Timestamp,
}

/// Compares the `timestamp` of a response, and its `Date` header, with the local time.
pub(crate) async fn examine(client: &Client) -> Vec<Finding> {
    let began = now();
    let response = match send_probe(client, CHECK, Probe::get("discover").parameter("limit", "1")).await {
        Ok(response) => response,
        Err(finding) => return vec![finding],
    };
    // The service reads its clock about halfway between the request and the response.
    let local = began + response.elapsed.as_secs_f64() / 2.0;
    let uncertain = ROUNDING + response.elapsed.as_secs_f64() / 2.0;
    let Ok(page) = serde_json::from_slice::<Page>(&response.body) else {
        let message = format!("/discover has no timestamp: {}", describe_refusal(&response));
        return vec![Finding::fail(CHECK, message, search_log(&response))];
    };
    let service = Duration::from_millis(page.timestamp.as_millis()).as_secs_f64() + ROUNDING;
    let header = response.header("date").and_then(|date| httpdate::parse_http_date(date).ok());
    let header = header.map(|date| seconds(date) + ROUNDING - local);
    vec![judge(service - local, header, uncertain)]
}

/// `service` and `header` say how many seconds the service's clock and the `Date` header are ahead
/// of the local clock. Both are accurate to `uncertain` seconds.
fn judge(service: f64, header: Option<f64>, uncertain: f64) -> Finding {
    // A difference that is smaller than the uncertainty may be an error of the measurement.
    let difference = service.abs();
    if difference <= WARN_SECONDS + uncertain {
        return Finding::ok(
            CHECK,
            format!(
                "the clocks of the service and of this machine agree within {:.0} s",
                difference + uncertain
            ),
        );
    }
    let side = if service > 0.0 { "ahead of" } else { "behind" };
    let message = format!("the service's clock is {difference:.0} s {side} this machine's");
    // A proxy in front of the service writes `Date` by its own clock. If that clock agrees with the
    // local one, the service's clock is wrong.
    let other = header.filter(|ahead| ahead.abs() <= WARN_SECONDS + uncertain);
    let fix = match other {
        Some(_) => "run NTP on the service's machine: the sender of the Date header agrees with this machine",
        None => {
            "run NTP on both machines (timedatectl set-ntp true); peers compare last_seen with their own clocks"
        }
    };
    if difference > FAIL_SECONDS {
        Finding::fail(CHECK, message, fix)
    } else {
        Finding::warn(CHECK, message, fix)
    }
}

fn now() -> f64 {
    seconds(SystemTime::now())
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn the_severity_of_a_clock_difference_depends_on_its_effect_on_peers() {
        for (service, verdict, message) in [
            (0.4, Verdict::Ok, "agree within 1 s"),
            (-2.4, Verdict::Ok, "agree within 3 s"),
            (-40.0, Verdict::Warn, "40 s behind"),
            (99.0, Verdict::Warn, "99 s ahead of"),
            (101.0, Verdict::Fail, "101 s ahead of"),
        ] {
            let finding = judge(service, None, 0.6);
            assert_eq!((finding.verdict, finding.message.contains(message)), (verdict, true), "{finding:?}");
        }
    }

    #[test]
    fn the_date_header_shows_which_clock_is_wrong() {
        let fix = |header| judge(-200.0, header, 0.6).fix.unwrap();
        assert!(fix(Some(0.2)).contains("the service's machine"));
        assert!(fix(Some(-200.0)).contains("both machines"));
        assert!(fix(None).contains("both machines"));
    }
}
