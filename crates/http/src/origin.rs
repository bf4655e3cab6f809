//! The source of a request, and its id.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header with the id of a request, in requests and responses.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The service trusts proxies to name the client of each request, but the headers of this request
/// do not name one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "X-Forwarded-For has no valid IP address as entry {hops} from the right, where the outermost \
     trusted proxy writes the client's address; send the request through all trusted proxies, or \
     have the operator correct the number of trusted hops"
)]
pub struct UnknownClient {
    /// The number of trusted proxies.
    pub hops: usize,
}

/// The source of a request for which the transport has no address: an address that is reserved for
/// documentation, so no client has it.
const NO_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 0));

/// The information about a request that only the transport has.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The source address of the request, in canonical form.
    pub address: IpAddr,
    /// The request's id.
    pub request_id: RequestId,
    /// How long the transport waits for the response, if that is known. A response that takes
    /// longer becomes a 503.
    pub time_left: Option<Duration>,
}

impl Default for Origin {
    /// The origin of a request without a transport.
    fn default() -> Self {
        Self { address: NO_ADDRESS, request_id: RequestId::fresh(), time_left: None }
    }
}

impl Origin {
    /// The origin of a request on a connection from `peer`, behind `trusted_hops` of the operator's
    /// proxies.
    ///
    /// Each proxy appends the address from which it received the request to `X-Forwarded-For`. With
    /// N trusted hops, the client is therefore the Nth entry from the right; entries further left
    /// are claims of the client. An incoming `x-request-id` is accepted only from a trusted hop.
    ///
    /// # Errors
    ///
    /// [`UnknownClient`] if the header has fewer entries, or that entry is not an address: the
    /// request did not pass through all hops. `peer` must not be used instead, because it may be a
    /// proxy, and all its clients would count as one.
    pub fn of(headers: &HeaderMap, peer: IpAddr, trusted_hops: usize) -> Result<Self, UnknownClient> {
        if trusted_hops == 0 {
            let address = peer.to_canonical();
            return Ok(Self { address, request_id: RequestId::fresh(), time_left: None });
        }
        let address = forwarded_for(headers, trusted_hops).ok_or(UnknownClient { hops: trusted_hops })?;
        let request_id = headers.get(X_REQUEST_ID).and_then(RequestId::accept);
        let request_id = request_id.unwrap_or_else(RequestId::fresh);
        Ok(Self { address: address.to_canonical(), request_id, time_left: None })
    }
}

fn forwarded_for(headers: &HeaderMap, hops: usize) -> Option<IpAddr> {
    let lines: Vec<&[u8]> = headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
    // Only this entry has to be valid text. The entries to its left are claims of the client, and
    // an invalid one must not hide what a trusted hop wrote.
    let entry = lines.iter().flat_map(|line| line.split(|byte| *byte == b',')).rev().nth(hops - 1)?;
    parse_entry(std::str::from_utf8(entry).ok()?.trim())
}

/// An address in the forms that proxies write: bare, in brackets, or with a port.
fn parse_entry(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    bare.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

/// The id of one request: in the response's `x-request-id` and in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The maximum length of an accepted id, in bytes.
    pub const MAX_LEN: usize = 128;
    const FRESH_LEN: usize = 16;

    /// A new id: 16 random hexadecimal digits. It distinguishes requests in the log and has no
    /// security purpose.
    pub fn fresh() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let random = fastrand::u64(..).to_be_bytes();
        let mut text = [0; Self::FRESH_LEN];
        for (pair, byte) in text.chunks_exact_mut(2).zip(random) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        Self(HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("unnamed")))
    }

    /// An id from a trusted hop. `None` unless it consists of 1 to 128 visible ASCII characters.
    pub fn accept(value: &HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let fits = (1..=Self::MAX_LEN).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
        fits.then(|| Self(value.clone()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(crate) fn into_header(self) -> HeaderValue {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "192.0.2.1";

    fn address(forwarded: &[&str], hops: usize) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        Origin::of(&headers, PEER.parse().unwrap(), hops)
            .map_or("unknown".to_owned(), |origin| origin.address.to_string())
    }

    #[test]
    fn forwarded_headers_count_only_from_trusted_hops() {
        assert_eq!(address(&["203.0.113.7"], 0), PEER);
        assert_eq!(address(&["203.0.113.7"], 1), "203.0.113.7");
        assert_eq!(address(&["6.6.6.6, 203.0.113.7"], 1), "203.0.113.7");
        assert_eq!(address(&["6.6.6.6, 203.0.113.7, 10.0.0.1"], 2), "203.0.113.7");
        assert_eq!(address(&["6.6.6.6", "203.0.113.7,10.0.0.1"], 2), "203.0.113.7");
    }

    #[test]
    fn a_client_can_not_hide_the_entry_of_a_trusted_hop() {
        assert_eq!(address(&["é, 203.0.113.7"], 1), "203.0.113.7");
        assert_eq!(address(&["é", "203.0.113.7"], 1), "203.0.113.7");
        assert_eq!(address(&["é, 203.0.113.7, 10.0.0.1"], 2), "203.0.113.7");
    }

    #[test]
    fn an_entry_may_have_brackets_or_a_port() {
        for (entry, expected) in [
            ("203.0.113.7:5678", "203.0.113.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:80", "2001:db8::7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
        ] {
            assert_eq!(address(&[entry], 1), expected, "{entry}");
        }
    }

    #[test]
    fn without_a_valid_entry_of_the_last_hop_the_client_is_unknown() {
        for (lines, hops) in [(&[][..], 1), (&["203.0.113.7"], 2), (&["unknown"], 1), (&[""], 1), (&["é"], 1)]
        {
            assert_eq!(address(lines, hops), "unknown", "{lines:?}");
        }
    }

    #[test]
    fn a_request_id_is_accepted_only_from_a_trusted_hop() {
        let accepted = |value: &str, hops| {
            let headers = [(X_REQUEST_ID, value), (X_FORWARDED_FOR, PEER)]
                .map(|(name, value)| (name, HeaderValue::from_str(value).unwrap()));
            let origin = Origin::of(&HeaderMap::from_iter(headers), PEER.parse().unwrap(), hops);
            origin.unwrap().request_id.as_str() == value
        };
        assert!(accepted("abc-1", 1));
        assert!(!accepted("abc-1", 0));
        for invalid in ["", "a b", &"x".repeat(129)] {
            assert!(!accepted(invalid, 1), "{invalid}");
        }
    }

    #[test]
    fn generated_request_ids_are_sixteen_hexadecimal_digits_and_differ() {
        let (one, other) = (RequestId::fresh(), RequestId::fresh());
        assert_ne!(one, other);
        assert!(one.as_str().len() == 16 && one.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
