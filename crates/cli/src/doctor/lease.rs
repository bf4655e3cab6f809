//! Checks the whole life of a lease: registration, listing, renewal, end.

use std::time::Duration;

use aurora_discovery_client::{Client, Error, ProbeResponse};
use tokio::time::{Instant, sleep};

use super::finding::Finding;
use super::reach::explain;
use super::throwaway::{Throwaway, refusal};

const CHECK: &str = "lease";
/// The maximum delay of a list: five seconds, which the API allows for a shared store, and one
/// second for the network.
const LAG: Duration = Duration::from_secs(6);
/// The interval between two requests for the list.
const LOOK: Duration = Duration::from_millis(250);
/// Today's peers ignore peers whose `last_seen` is more than 300 s ago, so heartbeats must be well
/// within that.
const LONGEST_INTERVAL: u32 = 200;

/// Registers a peer, waits until it is listed, and renews its lease.
pub(crate) async fn examine(client: &Client, peer: &mut Throwaway) -> Vec<Finding> {
    match live(client, peer).await {
        Ok(findings) => findings,
        Err(error) => vec![broken(&error)],
    }
}

/// Ends the lease, and checks that it has ended.
pub(crate) async fn leave(client: &Client, peer: &Throwaway) -> Vec<Finding> {
    if peer.registered.is_none() {
        return Vec::new();
    }
    vec![match leave_and_look(client, peer).await {
        Ok(finding) => finding,
        Err(error) => broken(&error),
    }]
}

async fn live(client: &Client, peer: &mut Throwaway) -> Result<Vec<Finding>, Error> {
    let answer = peer.register(client, None, None).await?;
    let Some(registered) = peer.registered.clone() else {
        if answer.status == 200 {
            return Ok(vec![Finding::warn(
                CHECK,
                "/register succeeds and tells neither observed_address nor lease_token: an older service",
                "deploy the current version; today's peers need no change for it",
            )]);
        }
        return Ok(vec![Finding::fail(CHECK, format!("/register: {}", refusal(&answer)), mends(&answer))]);
    };
    let Some(listed_after) = wait_until_listed(client, peer, true, LAG).await? else {
        return Ok(vec![Finding::fail(
            CHECK,
            format!("registered, and not listed within {} s", LAG.as_secs()),
            "let all processes behind this endpoint share one table (--store dynamodb), or send every call to one; and let no cache answer /discover",
        )]);
    };
    let renewed = peer.heartbeat(client).await?;
    if renewed.status != 200 {
        let fix = if renewed.status == 404 {
            "let all processes behind this endpoint share one table (--store dynamodb), or send every call to one"
        } else {
            mends(&renewed)
        };
        return Ok(vec![Finding::fail(CHECK, format!("/heartbeat: {}", refusal(&renewed)), fix)]);
    }
    let interval = registered.heartbeat_interval_seconds;
    let says = format!(
        "registered for {} s, listed after {} ms, renewed; the service asks for a heartbeat each {interval} s",
        registered.ttl_seconds.as_secs(),
        listed_after.as_millis(),
    );
    Ok(vec![if interval > LONGEST_INTERVAL {
        Finding::warn(
            CHECK,
            format!("{says}, and peers that judge by last_seen drop whoever was seen more than 300 s ago"),
            "set HeartbeatIntervalMaxSeconds (--heartbeat-interval-max) to 200 or less while there are such peers",
        )
    } else {
        Finding::ok(CHECK, says)
    }])
}

async fn leave_and_look(client: &Client, peer: &Throwaway) -> Result<Finding, Error> {
    let answer = peer.deregister(client).await?;
    if answer.status != 200 {
        return Ok(Finding::fail("leave", format!("/deregister: {}", refusal(&answer)), mends(&answer)));
    }
    if wait_until_listed(client, peer, false, LAG).await?.is_none() {
        return Ok(Finding::fail(
            "leave",
            format!("deregistered, and still listed after {} s", LAG.as_secs()),
            "let all processes behind this endpoint share one table, and let no cache answer /discover",
        ));
    }
    let again = peer.heartbeat(client).await?;
    Ok(if again.status == 404 {
        Finding::ok("leave", "deregistered, no longer listed, and its heartbeat is refused")
    } else {
        Finding::fail(
            "leave",
            format!("deregistered, and its heartbeat still gets HTTP {}", again.status),
            "let all processes behind this endpoint share one table (--store dynamodb), or send every call to one",
        )
    })
}

/// The time until the peer was listed, or no longer listed; `None` if it took too long.
pub(crate) async fn wait_until_listed(
    client: &Client,
    peer: &Throwaway,
    listed: bool,
    most: Duration,
) -> Result<Option<Duration>, Error> {
    let started = Instant::now();
    loop {
        if peer.is_listed(client).await? == listed {
            return Ok(Some(started.elapsed()));
        }
        if started.elapsed() >= most {
            return Ok(None);
        }
        sleep(LOOK).await;
    }
}

fn broken(error: &Error) -> Finding {
    let (says, fix) = explain(error);
    Finding::fail(CHECK, says, fix)
}

/// How to fix a refusal.
fn mends(answer: &ProbeResponse) -> &'static str {
    match answer.status {
        403 => "let the service see one address for one caller: behind a proxy, --trusted-hops",
        429 => "wait; if peers get this too, raise ThrottleRate and ThrottleBurst",
        503 => {
            "read the reason: a bound (--max-peers, --max-peers-per-source; behind a proxy --trusted-hops), a full disk, or a table that throttles"
        }
        404 | 405 => "let every path and method through to the service",
        _ => "look into the service's log under the request's id",
    }
}
