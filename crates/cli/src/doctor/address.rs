//! Checks whether the service sees the caller's own address, which it uses for peers that register
//! without one.

use std::net::{IpAddr, Ipv4Addr};

use aurora_discovery_client::{Client, Probe};
use aurora_discovery_protocol::ErrorBody;
use tokio::net::{UdpSocket, lookup_host};

use super::finding::Finding;
use super::reach::explain;
use super::test_peer::{TestPeer, describe_refusal, search_log};

const CHECK: &str = "address";
const X_FORWARDED_FOR: &str = "x-forwarded-for";
/// An address reserved for documentation, which no client has. The doctor sends it in
/// `X-Forwarded-For`. If the service reports it as the source address, the service trusts a header
/// that any client can forge.
const FORGED: &str = "192.0.2.77";

/// The finding if the service refuses requests because its proxies do not pass on the client's
/// address.
pub(crate) async fn unknown_client(client: &Client) -> Option<Finding> {
    let response = client.probe(Probe::get("discover").parameter("limit", "1")).await.ok()?;
    let error: ErrorBody = serde_json::from_slice(&response.body).ok()?;
    let is_unknown = error.field.is_some_and(|field| field.eq_ignore_ascii_case(X_FORWARDED_FOR));
    (response.status == 400 && is_unknown).then(|| {
        Finding::fail(
            CHECK,
            format!("the service does not know its clients, and refuses their requests: {}", error.error),
            "set --trusted-hops to the number of your own proxies between clients and the service, and configure each \
             to append to X-Forwarded-For",
        )
    })
}

/// Compares the address that the service sees with this machine's own, and checks that the service
/// does not accept a forged one.
pub(crate) async fn examine(client: &Client, peer: &mut TestPeer) -> Vec<Finding> {
    let Some(registered) = &peer.registered else {
        let reason = "no response to /register says from which address the service saw this machine";
        return vec![Finding::unchecked(CHECK, reason)];
    };
    let Ok(observed) = registered.observed_address.parse::<IpAddr>() else {
        let message = format!(
            "the service reported the address {:?}, which is not an IP address",
            registered.observed_address
        );
        return vec![Finding::fail(CHECK, message, "deploy the current version of the service")];
    };
    let route = route(client).await;
    match peer.register(client, None, Some((X_FORWARDED_FOR, FORGED))).await {
        Err(error) => {
            let (message, fix) = explain(&error);
            vec![Finding::fail(CHECK, message, fix)]
        }
        Ok(_) if peer.registered.as_ref().is_some_and(|again| again.observed_address == FORGED) => {
            vec![Finding::fail(
                CHECK,
                "the service accepts any address that a client writes into X-Forwarded-For",
                "lower --trusted-hops to the number of your own proxies, and block direct access to the service",
            )]
        }
        Ok(response) if response.status != 200 => {
            vec![Finding::fail(
                CHECK,
                format!("/register with X-Forwarded-For: {}", describe_refusal(&response)),
                search_log(&response),
            )]
        }
        Ok(_) => vec![judge(observed, route)],
    }
}

/// The two ends of the connection to the service, as this machine sees them.
#[derive(Clone, Copy, Debug)]
struct Route {
    local: IpAddr,
    remote: IpAddr,
}

/// The addresses of a connection to the service. Connecting a UDP socket sends nothing; the system
/// only selects the local address.
async fn route(client: &Client) -> Option<Route> {
    let (host, port) = client.authority();
    let remote = lookup_host((host.as_str(), port)).await.ok()?.next()?;
    let unspecified = if remote.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(unspecified).await.ok()?;
    socket.connect(remote).await.ok()?;
    Some(Route { local: socket.local_addr().ok()?.ip(), remote: remote.ip() })
}

fn judge(observed: IpAddr, route: Option<Route>) -> Finding {
    let Some(Route { local, remote }) = route else {
        return Finding::warn(
            CHECK,
            format!("the service sees this machine as {observed}, and this machine's own address is unknown"),
            format!("check that {observed} is the address of this machine or of its network, not of a proxy"),
        );
    };
    // The four cases below are: a direct connection, a NAT, certainly a proxy, and a NAT or a
    // proxy.
    let proxied = "set --trusted-hops to the number of your own proxies, and configure each to append to X-Forwarded-For";
    if observed == local {
        Finding::ok(CHECK, format!("the service sees this machine as {observed}, its own address"))
    } else if is_private(local) && !is_private(observed) && !is_private(remote) {
        Finding::ok(
            CHECK,
            format!("the service sees this machine as {observed}, the public address of its network"),
        )
    } else if observed.is_loopback() || (is_private(observed) && !is_private(remote)) {
        Finding::fail(
            CHECK,
            format!(
                "the service sees every client as {observed}, the address of a proxy, so all peers share one holder, one source and one address"
            ),
            proxied,
        )
    } else {
        Finding::warn(
            CHECK,
            format!(
                "the service sees this machine as {observed}, but its address is {local}: there is a NAT or a proxy between them"
            ),
            format!(
                "if {observed} is your own proxy, {proxied}; otherwise peers that accept connections should register their --address"
            ),
        )
    }
}

/// Whether an address is valid only within one network.
fn is_private(address: IpAddr) -> bool {
    const SHARED: u8 = 64; // 100.64.0.0/10, for carrier-grade NAT
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address == Ipv4Addr::UNSPECIFIED
                || (first == 100 && second & 0b1100_0000 == SHARED)
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn the_observed_address_is_compared_with_both_ends_of_the_connection() {
        for (observed, local, remote, verdict, message) in [
            ("10.0.0.5", "10.0.0.5", "10.0.0.9", Verdict::Ok, "its own address"),
            ("203.0.113.7", "192.168.1.4", "198.51.100.1", Verdict::Ok, "public address"),
            ("203.0.113.7", "100.72.1.4", "198.51.100.1", Verdict::Ok, "public address"),
            ("127.0.0.1", "203.0.113.7", "198.51.100.1", Verdict::Fail, "every client"),
            ("127.0.0.1", "10.0.0.5", "10.0.0.9", Verdict::Fail, "every client"),
            ("10.1.2.3", "192.168.1.4", "198.51.100.1", Verdict::Fail, "every client"),
            ("fd00::1", "2001:db8::5", "2001:db8::1", Verdict::Fail, "every client"),
            ("10.0.0.77", "10.0.0.5", "10.0.0.9", Verdict::Warn, "NAT or a proxy"),
            ("198.51.100.9", "203.0.113.7", "198.51.100.1", Verdict::Warn, "NAT or a proxy"),
        ] {
            let route = Route { local: local.parse().unwrap(), remote: remote.parse().unwrap() };
            let finding = judge(observed.parse().unwrap(), Some(route));
            assert_eq!(
                (finding.verdict, finding.message.contains(message)),
                (verdict, true),
                "{observed}: {finding:?}"
            );
        }
        assert_eq!(judge("10.0.0.5".parse().unwrap(), None).verdict, Verdict::Warn);
    }
}
