//! A page of peers as a table.

use aurora_discovery_protocol::{Address, PageInfo, Peer, Timestamp};

use crate::escape::escape;
use crate::table;

const MILLIS_PER_SECOND: u64 = 1_000;

/// The columns of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// The columns of the legacy view.
    Legacy,
    /// The columns of the legacy view, and two more: when the lease ends, and when the peer
    /// registered.
    Full,
    /// The columns of the legacy view without the time at which the peer was last seen, because the
    /// stream of changes does not contain it.
    Followed,
}

/// The table of peers from a response at `now`, cut to `width` columns if given.
pub(crate) fn lines<'p>(
    peers: impl IntoIterator<Item = &'p Peer>,
    now: Timestamp,
    detail: Detail,
    width: Option<usize>,
) -> Vec<String> {
    let rows: Vec<_> = peers.into_iter().map(|peer| row(peer, now, detail)).collect();
    table::lines(headings(detail), &rows, width)
}

/// The number of listed peers, and the total.
pub(crate) fn summary(figures: &PageInfo) -> String {
    let about = if figures.total_is_estimate { "about " } else { "" };
    let total = figures.total;
    let listed = u64::try_from(figures.count).unwrap_or(u64::MAX);
    // With --fill, peers that do not match are listed in addition to those counted in `total`.
    if listed > total && !figures.total_is_estimate {
        let (verb, others) = (if total == 1 { "peer matches" } else { "peers match" }, listed - total);
        return format!("{total} live {verb}, {others} other{} listed", if others == 1 { "" } else { "s" });
    }
    format!("{} of {about}{total} live peer{}", figures.count, if total == 1 { "" } else { "s" })
}

fn headings(detail: Detail) -> &'static [&'static str] {
    match detail {
        Detail::Legacy => &["PEER", "ADDRESS", "SEEN", "ARCHETYPES", "METADATA"],
        Detail::Full => &["PEER", "ADDRESS", "SEEN", "EXPIRES", "AGE", "ARCHETYPES", "METADATA"],
        Detail::Followed => &["PEER", "ADDRESS", "ARCHETYPES", "METADATA"],
    }
}

fn row(peer: &Peer, now: Timestamp, detail: Detail) -> Vec<String> {
    let seen = now.millis_since(peer.last_seen.unwrap_or(now)) / MILLIS_PER_SECOND;
    let mut cells = vec![peer.peer_id.to_string(), socket_address(&peer.address, peer.port)];
    if detail != Detail::Followed {
        cells.push(duration(seen));
    }
    if detail == Detail::Full {
        cells.push(peer.expires_in_seconds.map(duration).unwrap_or_default());
        cells.push(peer.registered_seconds_ago.map(duration).unwrap_or_default());
    }
    let archetypes: Vec<_> = peer.archetypes.as_slice().iter().map(|name| escape(name.as_str())).collect();
    cells.push(archetypes.join(", "));
    cells.push(match peer.metadata.as_str() {
        "{}" => String::new(),
        metadata => escape(metadata).into_owned(),
    });
    cells
}

/// An address with its port, as used to connect to it.
fn socket_address(address: &Address, port: u16) -> String {
    match address {
        _ if port == 0 => address.to_string(),
        Address::Ip(ip) if ip.is_ipv6() => format!("[{ip}]:{port}"),
        _ => format!("{address}:{port}"),
    }
}

/// A duration in its two largest units.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use aurora_discovery_protocol::DiscoverResponse;

    use super::*;

    const BODY: &str = r#"{"peers":[
        {"peer_id":"a","address":"2001:db8::1","port":9000,"archetypes":["\u202epepino","ethics"],"last_seen":"2025-10-02T11:58:30","metadata":{ "v": "\u001b" },"expires_in_seconds":5,"registered_seconds_ago":90061},
        {"peer_id":"browser","address":"10.0.0.1","port":0,"archetypes":[],"last_seen":"2025-10-02T12:00:00","metadata":{}}
        ],"count":2,"timestamp":"2025-10-02T12:00:00","total":7,"total_is_estimate":true}"#;

    #[test]
    fn text_from_peers_is_escaped_in_the_table() {
        let response = DiscoverResponse::from_body(BODY.as_bytes()).unwrap();
        let shown = lines(&response.page.peers, response.timestamp, Detail::Full, None);
        assert_eq!(
            shown,
            [
                "PEER     ADDRESS             SEEN    EXPIRES  AGE     ARCHETYPES              METADATA",
                r#"a        [2001:db8::1]:9000  1m 30s  5s       1d 01h  \u{202e}pepino, ethics  { "v": "\u001b" }"#,
                "browser  10.0.0.1            0s",
            ]
        );
        assert_eq!(summary(&response.page.info), "2 of about 7 live peers");
    }

    #[test]
    fn the_legacy_view_has_no_columns_for_the_lease() {
        let response = DiscoverResponse::from_body(BODY.as_bytes()).unwrap();
        let shown = lines(&response.page.peers, response.timestamp, Detail::Legacy, Some(30));
        assert!(!shown[0].contains("EXPIRES"));
        assert!(shown.iter().all(|line| line.chars().count() <= 30));
    }
}
