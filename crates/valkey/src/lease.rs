//! Leases as text, which is how they are stored and compared on the server.

use std::fmt::Write as _;

use aurora_discovery_embedded::replica::LeaseState;
use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{Source, TokenHash};

/// The text of a field without a value.
const NONE: &str = "-";

/// Formats a lease as seven fields separated by single spaces:
///
/// 1. when the lease ends,
/// 2. when the peer was last seen,
/// 3. when the peer registered,
/// 4. when a request last proved that its sender is the holder,
/// 5. when the peer deregistered, if it did,
/// 6. the hash of its token,
/// 7. the source whose unproven heartbeats keep the peer alive, if there is one.
///
/// Times are decimal milliseconds since the Unix epoch. The hash and the source are lower-case
/// hexadecimal. A field without a value is `-`.
///
/// `commit.lua` compares leases as texts, so each lease has exactly one text. For all changes but
/// those of the kind `delete`, it ignores the last field, because the index in memory forgets that
/// source when the lease ends.
pub(crate) fn to_text(lease: &LeaseState) -> String {
    let LeaseState { expires_at, last_seen, registered_at, proven_at, left_at, token, kept_by } = lease;
    let mut text = String::with_capacity(128);
    for time in [expires_at, last_seen, registered_at, proven_at] {
        let _ = write!(text, "{} ", time.as_millis());
    }
    match left_at {
        Some(left_at) => _ = write!(text, "{} ", left_at.as_millis()),
        None => _ = write!(text, "{NONE} "),
    }
    push_hex(&mut text, &token.to_bytes());
    text.push(' ');
    match kept_by {
        Some(source) => push_hex(&mut text, &source.to_bytes()),
        None => text.push_str(NONE),
    }
    text
}

/// Parses a text of [`to_text`]. `None` for anything else.
pub(crate) fn parse(text: &[u8]) -> Option<LeaseState> {
    let text = std::str::from_utf8(text).ok()?;
    let mut fields = text.split(' ');
    let mut next = || fields.next();
    let [expires_at, last_seen, registered_at, proven_at] = [next()?, next()?, next()?, next()?];
    let (left_at, token, kept_by) = (next()?, next()?, next()?);
    let lease = LeaseState {
        expires_at: time(expires_at)?,
        last_seen: time(last_seen)?,
        registered_at: time(registered_at)?,
        proven_at: time(proven_at)?,
        left_at: if left_at == NONE { None } else { Some(time(left_at)?) },
        token: TokenHash::from_bytes(hex(token)?),
        kept_by: if kept_by == NONE { None } else { Some(Source::from_bytes(hex(kept_by)?)?) },
    };
    // A different text for the same lease, for example with a leading zero, is not accepted. The
    // script compares texts, so it would refuse every change of that peer.
    (to_text(&lease) == text).then_some(lease)
}

fn time(digits: &str) -> Option<Timestamp> {
    digits.parse().ok().map(Timestamp::from_millis)
}

/// Appends bytes as lower-case hexadecimal digits.
pub(crate) fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
}

/// Parses hexadecimal digits of exactly `N` bytes.
pub(crate) fn hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != 2 * N || !digits.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> LeaseState {
        LeaseState {
            expires_at: Timestamp::from_millis(1_759_406_700_123),
            last_seen: Timestamp::from_millis(1_759_406_400_123),
            registered_at: Timestamp::from_millis(1_759_000_000_000),
            proven_at: Timestamp::from_millis(1_759_406_300_000),
            left_at: None,
            token: TokenHash::from_bytes([0xa7; TokenHash::LEN]),
            kept_by: None,
        }
    }

    #[test]
    fn the_text_of_a_lease_is_stable_and_begins_with_its_end() {
        let token = "a7".repeat(16);
        let times = "1759406700123 1759406400123 1759000000000 1759406300000";
        assert_eq!(to_text(&lease()), format!("{times} - {token} -"));
        let left_at = Some(Timestamp::from_millis(5));
        let kept_by = Some(Source::of("203.0.113.7".parse().unwrap()));
        let other = LeaseState { left_at, kept_by, ..lease() };
        assert_eq!(to_text(&other), format!("{times} 5 {token} 0400000000cb007107"));
        for lease in [lease(), other] {
            assert_eq!(parse(to_text(&lease).as_bytes()), Some(lease));
        }
    }

    #[test]
    fn a_text_that_is_no_lease_is_not_parsed() {
        let text = to_text(&lease());
        for cut in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..cut]), None, "{cut}");
        }
        for other in
            [format!("{text} "), format!("0{text}"), text.replace("a7", "A7"), text.replace(' ', "  ")]
        {
            assert_eq!(parse(other.as_bytes()), None, "{other}");
        }
        assert_eq!(parse(b"\xff"), None);
    }
}
