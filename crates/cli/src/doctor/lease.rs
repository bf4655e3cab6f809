//! Checks the whole life of a lease: registration, listing, renewal, end.

use std::time::Duration;

use aurora_discovery_client::{Client, Error, ProbeResponse};
use aurora_discovery_protocol::RegisterResponse;
use tokio::time::{Instant, sleep};

use super::finding::Finding;
use super::reach::explain;
use super::test_peer::{TestPeer, describe_refusal, outcome, search_log};

const CHECK: &str = "lease";
const LEAVE: &str = "leave";
/// The maximum time until a change is visible in a list: five seconds, which the API allows for a
/// shared store, and one second for the network.
const LAG: Duration = Duration::from_secs(6);
/// The interval between two requests for the list.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The longest heartbeat interval that the check accepts, in seconds. Legacy clients ignore peers
/// whose `last_seen` is more than 300 s ago, so the interval must be clearly shorter.
const MAX_INTERVAL_SECONDS: u32 = 200;

/// Registers a peer, waits until it is listed, and renews its lease.
pub(crate) async fn examine(client: &Client, peer: &mut TestPeer) -> Vec<Finding> {
    match check_lease(client, peer).await {
        Ok(findings) => findings,
        Err(error) => vec![broken(&error)],
    }
}

/// Ends the lease, and checks that it has ended.
pub(crate) async fn deregister(client: &Client, peer: &TestPeer) -> Vec<Finding> {
    if !peer.is_accepted {
        return vec![Finding::unchecked(LEAVE, "no peer could be registered")];
    }
    vec![match deregister_and_check(client, peer).await {
        Ok(finding) => finding,
        Err(error) => broken(&error),
    }]
}

async fn check_lease(client: &Client, peer: &mut TestPeer) -> Result<Vec<Finding>, Error> {
    let response = peer.register(client, None, None).await?;
    if !peer.is_accepted {
        return Ok(vec![Finding::fail(
            CHECK,
            format!("/register: {}", describe_refusal(&response)),
            fix_for(&response),
        )]);
    }
    let mut findings = Vec::new();
    if peer.registered.is_none() {
        findings.push(Finding::warn(
            CHECK,
            "/register succeeds without observed_address and lease_token: an older version of the service",
            "deploy the current version; legacy clients need no change for it",
        ));
    }
    findings.push(check_renewal(client, peer).await?);
    Ok(findings)
}

/// Waits until the registered peer is listed, and renews its lease.
async fn check_renewal(client: &Client, peer: &TestPeer) -> Result<Finding, Error> {
    let listed_after = match wait_until_listed(client, peer, true, LAG).await? {
        Ok(listed_after) => listed_after,
        Err(last) => {
            return Ok(Finding::fail(
                CHECK,
                format!("registered, but not listed within {} s ({last})", LAG.as_secs()),
                "let all processes behind this endpoint share one table (--store dynamodb), or route all requests to one; and don't cache /discover",
            ));
        }
    };
    let renewed = peer.heartbeat(client).await?;
    if renewed.status != 200 {
        // A 404 here usually means that one process lists the peer, and that another process, which
        // received the heartbeat, does not know it. The two processes then have different
        // registries.
        let fix = if renewed.status == 404 {
            "let all processes behind this endpoint share one table (--store dynamodb), or route all requests to one"
                .to_owned()
        } else {
            fix_for(&renewed)
        };
        return Ok(Finding::fail(CHECK, format!("/heartbeat: {}", describe_refusal(&renewed)), fix));
    }
    Ok(judge_interval(peer.registered.as_ref(), listed_after))
}

fn judge_interval(registered: Option<&RegisterResponse>, listed_after: Duration) -> Finding {
    let listed_after = listed_after.as_millis();
    let Some(registered) = registered else {
        return Finding::ok(CHECK, format!("registered, listed after {listed_after} ms, renewed"));
    };
    let interval = registered.heartbeat_interval_seconds;
    let message = format!(
        "registered for {} s, listed after {listed_after} ms, renewed; the service requests a heartbeat every {interval} s",
        registered.ttl_seconds.as_secs(),
    );
    if interval > MAX_INTERVAL_SECONDS {
        Finding::warn(
            CHECK,
            format!("{message}, but legacy clients ignore peers whose last_seen is more than 300 s ago"),
            "set HeartbeatIntervalMaxSeconds (--heartbeat-interval-max) to 200 or less while there are legacy clients",
        )
    } else {
        Finding::ok(CHECK, message)
    }
}

async fn deregister_and_check(client: &Client, peer: &TestPeer) -> Result<Finding, Error> {
    let response = peer.deregister(client).await?;
    if response.status != 200 {
        return Ok(Finding::fail(
            LEAVE,
            format!("/deregister: {}", describe_refusal(&response)),
            fix_for(&response),
        ));
    }
    if let Err(last) = wait_until_listed(client, peer, false, LAG).await? {
        return Ok(Finding::fail(
            LEAVE,
            format!("deregistered, but still listed after {} s ({last})", LAG.as_secs()),
            "let all processes behind this endpoint share one table, and don't cache /discover",
        ));
    }
    // A heartbeat must not revive a peer that was deregistered.
    let again = peer.heartbeat(client).await?;
    Ok(if again.status == 404 {
        Finding::ok(LEAVE, "deregistered, no longer listed, and its heartbeat is rejected")
    } else {
        Finding::fail(
            LEAVE,
            format!("deregistered, but its heartbeat still gets {}", outcome(&again)),
            "let all processes behind this endpoint share one table (--store dynamodb), or route all requests to one",
        )
    })
}

/// Waits until the peer is listed, or no longer listed if `listed` is false. Returns how long that
/// took, or a description of the last response to /discover if it took longer than `timeout`.
pub(crate) async fn wait_until_listed(
    client: &Client,
    peer: &TestPeer,
    listed: bool,
    timeout: Duration,
) -> Result<Result<Duration, String>, Error> {
    let started = Instant::now();
    loop {
        let list = peer.list(client).await?;
        let is_listed = peer.is_listed_in(&list);
        if is_listed == Some(listed) {
            return Ok(Ok(started.elapsed()));
        }
        if started.elapsed() >= timeout {
            let last = if is_listed.is_some() { outcome(&list) } else { describe_refusal(&list) };
            return Ok(Err(format!("/discover: {last}")));
        }
        sleep(POLL_INTERVAL).await;
    }
}

fn broken(error: &Error) -> Finding {
    let (message, fix) = explain(error);
    Finding::fail(CHECK, message, fix)
}

/// How to fix the cause of a refused request.
fn fix_for(response: &ProbeResponse) -> String {
    let fix = match response.status {
        403 => "let the service see a constant address for each client: behind a proxy, set --trusted-hops",
        429 => "wait; if peers get this error too, raise ThrottleRate and ThrottleBurst",
        503 => {
            "check the reason: a limit (--max-peers, --max-peers-per-source; behind a proxy also --trusted-hops), a full disk or a throttled table"
        }
        404 | 405 => "forward every path and method to the service",
        _ => return search_log(response),
    };
    fix.to_owned()
}
