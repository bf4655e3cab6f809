//! Checks what happens to a lease without heartbeats.

use std::time::Duration;

use aurora_discovery_client::{Client, Error};
use tokio::time::{Instant, sleep_until};

use super::finding::Finding;
use super::lease::wait_until_listed;
use super::reach::explain;
use super::test_peer::{TestPeer, describe_refusal, outcome, search_log};

const CHECK: &str = "expiry";
/// The service may extend a lease by one third, that is, by the lease divided by this number.
const MAX_EXTENSION_PART: u32 = 3;
/// The maximum time until a change is visible in a list: see `lease::LAG`.
const LAG: Duration = Duration::from_secs(6);
/// How long before the end of the lease the list is requested. The response must arrive while the
/// lease still runs.
const BEFORE_THE_END: Duration = Duration::from_secs(2);

/// Registers a peer with a lease of `lease_seconds` and waits for its end.
pub(crate) async fn examine(client: &Client, peer: &mut TestPeer, lease_seconds: u32) -> Vec<Finding> {
    if peer.registered.is_none() {
        return vec![Finding::unchecked(CHECK, "no response to /register says how long the lease is")];
    }
    vec![match wait_for_expiry(client, peer, lease_seconds).await {
        Ok(finding) => finding,
        Err(error) => {
            let (message, fix) = explain(&error);
            Finding::fail(CHECK, message, fix)
        }
    }]
}

async fn wait_for_expiry(client: &Client, peer: &mut TestPeer, seconds: u32) -> Result<Finding, Error> {
    let began = Instant::now();
    let lease = Duration::from_secs(seconds.into());
    // The store may extend a lease by a third, and a list may lag behind.
    let latest = lease + lease / MAX_EXTENSION_PART + LAG;
    let response = peer.register(client, Some(seconds), None).await?;
    if response.status != 200 {
        return Ok(Finding::warn(
            CHECK,
            format!("a lease of {seconds} s: {}", describe_refusal(&response)),
            "use a lease that the service grants: --expiry=SECONDS between MinLeaseSeconds (--ttl-min) and MaxLeaseSeconds (--ttl-max)",
        ));
    }
    sleep_until(began + lease.saturating_sub(BEFORE_THE_END)).await;
    let list = peer.list(client).await?;
    let Some(is_listed) = peer.is_listed_in(&list) else {
        return Ok(Finding::fail(
            CHECK,
            format!("/discover: {}", describe_refusal(&list)),
            search_log(&list),
        ));
    };
    // Only a response that arrived before the end of the lease shows that the lease ended too
    // early.
    if !is_listed && began.elapsed() < lease {
        return Ok(Finding::fail(
            CHECK,
            format!("the peer was no longer listed before its lease had ended ({})", outcome(&list)),
            "run NTP on every host of the service: their clocks differ",
        ));
    }
    if let Err(last) = wait_until_listed(client, peer, false, latest.saturating_sub(began.elapsed())).await? {
        return Ok(Finding::fail(
            CHECK,
            format!(
                "the peer is still listed {} s after it registered for {seconds} s ({last})",
                latest.as_secs()
            ),
            "run NTP on every host of the service, and don't cache /discover",
        ));
    }
    let ended = began.elapsed().as_secs();
    let revived = peer.heartbeat(client).await?;
    Ok(match revived.status {
        200 => Finding::ok(
            CHECK,
            format!("a lease of {seconds} s ended after {ended} s, and a heartbeat revived the peer"),
        ),
        404 => Finding::warn(
            CHECK,
            format!(
                "a lease of {seconds} s ended after {ended} s, and a heartbeat does not revive it: legacy clients never register again"
            ),
            "set RevivalHours (--revival-hours) to the default of 24, or to another value above 0",
        ),
        _ => {
            Finding::fail(CHECK, format!("/heartbeat: {}", describe_refusal(&revived)), search_log(&revived))
        }
    })
}
