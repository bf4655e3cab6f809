//! What becomes of a lease that nobody renews.

use std::time::Duration;

use aurora_client::{Client, Error};
use tokio::time::{Instant, sleep_until};

use super::finding::Finding;
use super::lease::wait_until_listed;
use super::reach::explain;
use super::throwaway::{Throwaway, refusal};

const CHECK: &str = "expiry";
/// The shortest lease that a service grants unless its operator says otherwise.
const LEASE_SECONDS: u32 = 30;
/// A lease lasts at most a third longer than was answered, and a list may be some seconds late.
const LATEST: Duration = Duration::from_secs(30 + 10 + 6);
/// Looked at this much before the end, for an answer takes time.
const BEFORE_THE_END: Duration = Duration::from_secs(2);

/// Takes the shortest lease and waits for its end.
pub(crate) async fn examine(client: &Client, peer: &mut Throwaway) -> Vec<Finding> {
    if peer.registered.is_none() {
        return Vec::new();
    }
    vec![match wait_for_the_end(client, peer).await {
        Ok(finding) => finding,
        Err(error) => {
            let (says, fix) = explain(&error);
            Finding::fail(CHECK, says, fix)
        }
    }]
}

async fn wait_for_the_end(client: &Client, peer: &mut Throwaway) -> Result<Finding, Error> {
    let began = Instant::now();
    let lease = Duration::from_secs(LEASE_SECONDS.into());
    let answer = peer.register(client, Some(LEASE_SECONDS), None).await?;
    if answer.status != 200 {
        return Ok(Finding::warn(
            CHECK,
            format!("a lease of {LEASE_SECONDS} s: {}", refusal(&answer)),
            "to see leases end, let MinLeaseSeconds (--ttl-min) be 30 or less",
        ));
    }
    sleep_until(began + lease - BEFORE_THE_END).await;
    if !peer.is_listed(client).await? {
        return Ok(Finding::fail(
            CHECK,
            "the peer was no longer listed before its lease had ended",
            "run NTP on every machine that serves: their clocks differ",
        ));
    }
    if wait_until_listed(client, peer, false, LATEST.saturating_sub(began.elapsed())).await?.is_none() {
        return Ok(Finding::fail(
            CHECK,
            format!(
                "the peer is still listed {} s after it registered for {LEASE_SECONDS} s",
                LATEST.as_secs()
            ),
            "run NTP on every machine that serves, and let no cache answer /discover",
        ));
    }
    let ended = began.elapsed().as_secs();
    let revived = peer.heartbeat(client).await?;
    Ok(match revived.status {
        200 => Finding::ok(
            CHECK,
            format!("a lease of {LEASE_SECONDS} s ended after {ended} s, and a heartbeat revived the peer"),
        ),
        404 => Finding::warn(
            CHECK,
            format!(
                "a lease of {LEASE_SECONDS} s ended after {ended} s, and no heartbeat revives it: today's peers never register twice"
            ),
            "set RevivalHours (--revival-hours) above 0, 24 unless there is a reason",
        ),
        _ => Finding::fail(
            CHECK,
            format!("/heartbeat: {}", refusal(&revived)),
            "look into the service's log under the request's id",
        ),
    })
}
