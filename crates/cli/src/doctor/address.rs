//! Checks whether the service sees the caller's own address, which it uses for peers that register
//! without one.

use std::net::{IpAddr, Ipv4Addr};

use aurora_discovery_client::Client;
use tokio::net::{UdpSocket, lookup_host};

use super::finding::Finding;
use super::reach::explain;
use super::throwaway::Throwaway;

const CHECK: &str = "address";
/// An address reserved for documentation, which no client has. If the service sees it, it has
/// accepted a forged claim.
const FORGED: &str = "192.0.2.77";

/// Compares the address that the service sees with this machine's own, and tries to claim another
/// one.
pub(crate) async fn examine(client: &Client, peer: &mut Throwaway) -> Vec<Finding> {
    let Some(registered) = &peer.registered else { return Vec::new() };
    let Ok(observed) = registered.observed_address.parse::<IpAddr>() else {
        let says = format!("the service saw {:?}, which is no address", registered.observed_address);
        return vec![Finding::fail(CHECK, says, "deploy the current version of the service")];
    };
    let ends = route(client).await;
    match peer.register(client, None, Some(("x-forwarded-for", FORGED))).await {
        Err(error) => {
            let (says, fix) = explain(&error);
            vec![Finding::fail(CHECK, says, fix)]
        }
        Ok(_) if peer.registered.as_ref().is_some_and(|again| again.observed_address == FORGED) => {
            vec![Finding::fail(
                CHECK,
                "a caller is seen by whatever address it writes into X-Forwarded-For",
                "lower --trusted-hops to the number of proxies that you run in front, and let nothing reach the service around them",
            )]
        }
        Ok(_) => vec![judge(observed, ends)],
    }
}

/// The two ends of the connection to the service, as this machine sees them.
#[derive(Clone, Copy, Debug)]
struct Ends {
    here: IpAddr,
    there: IpAddr,
}

/// The address from which this machine connects to the service. This sends nothing.
async fn route(client: &Client) -> Option<Ends> {
    let (host, port) = client.authority();
    let there = lookup_host((host.as_str(), port)).await.ok()?.next()?;
    let any = if there.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await.ok()?;
    socket.connect(there).await.ok()?;
    Some(Ends { here: socket.local_addr().ok()?.ip(), there: there.ip() })
}

fn judge(observed: IpAddr, ends: Option<Ends>) -> Finding {
    let Some(Ends { here, there }) = ends else {
        return Finding::ok(CHECK, format!("the service sees this machine as {observed}"));
    };
    let proxied =
        "count the proxies that you run in front by --trusted-hops, and let each append to X-Forwarded-For";
    if observed == here {
        Finding::ok(CHECK, format!("the service sees this machine as {observed}, its own address"))
    } else if is_private(here) && !is_private(observed) && !is_private(there) {
        Finding::ok(
            CHECK,
            format!("the service sees this machine as {observed}, the public side of its network"),
        )
    } else if observed.is_loopback() || (is_private(observed) && !is_private(there)) {
        Finding::fail(
            CHECK,
            format!(
                "the service sees every caller as {observed}, a proxy's: one holder, one source, one address for all peers"
            ),
            proxied,
        )
    } else {
        Finding::warn(
            CHECK,
            format!(
                "the service sees this machine as {observed}, and it calls from {here}: a network's border or a proxy is between"
            ),
            format!(
                "if {observed} is a proxy of yours, {proxied}; else peers that can be dialled should register their --address"
            ),
        )
    }
}

/// Whether an address is valid only within one network.
fn is_private(address: IpAddr) -> bool {
    const SHARED: u8 = 64; // 100.64.0.0/10, between providers and their customers
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
    fn the_address_seen_is_judged_by_where_caller_and_service_are() {
        for (observed, here, there, verdict, says) in [
            ("10.0.0.5", "10.0.0.5", "10.0.0.9", Verdict::Ok, "its own address"),
            ("203.0.113.7", "192.168.1.4", "198.51.100.1", Verdict::Ok, "public side"),
            ("203.0.113.7", "100.72.1.4", "198.51.100.1", Verdict::Ok, "public side"),
            ("127.0.0.1", "203.0.113.7", "198.51.100.1", Verdict::Fail, "every caller"),
            ("127.0.0.1", "10.0.0.5", "10.0.0.9", Verdict::Fail, "every caller"),
            ("10.1.2.3", "192.168.1.4", "198.51.100.1", Verdict::Fail, "every caller"),
            ("fd00::1", "2001:db8::5", "2001:db8::1", Verdict::Fail, "every caller"),
            ("10.0.0.77", "10.0.0.5", "10.0.0.9", Verdict::Warn, "is between"),
            ("198.51.100.9", "203.0.113.7", "198.51.100.1", Verdict::Warn, "is between"),
        ] {
            let ends = Ends { here: here.parse().unwrap(), there: there.parse().unwrap() };
            let finding = judge(observed.parse().unwrap(), Some(ends));
            assert_eq!(
                (finding.verdict, finding.says.contains(says)),
                (verdict, true),
                "{observed}: {finding:?}"
            );
        }
        assert_eq!(judge("10.0.0.5".parse().unwrap(), None).verdict, Verdict::Ok);
    }
}
