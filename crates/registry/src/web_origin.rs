//! The web page that a request came from.

use sha2::{Digest, Sha256};

/// The origin of the page that sent a request, as the `Origin` header states it.
///
/// Any page that a user visits can make the user's browser send requests, which come from the
/// user's address. The address of such a request therefore does not prove that the user's own
/// client sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WebOrigin {
    /// There is no `Origin` header: the request does not come from a page.
    #[default]
    None,
    /// The page hides its origin (`null`), or the header is not one origin. Two such pages never
    /// count as the same page.
    Opaque,
    /// The page has this origin.
    Page(OriginHash),
}

/// The stored form of an origin: 8 bytes of its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OriginHash([u8; Self::LEN]);

impl WebOrigin {
    /// The origin that an `Origin` header states.
    pub fn of_header(value: &[u8]) -> Self {
        // A serialized origin has a scheme and no white space. Browsers write it in lower case.
        let is_origin = value.is_ascii()
            && value.windows(3).any(|window| window == b"://")
            && !value.iter().any(|byte| byte.is_ascii_whitespace() || *byte == b',');
        if !is_origin {
            return Self::Opaque;
        }
        let digest = Sha256::digest(value.to_ascii_lowercase());
        let mut kept = [0; OriginHash::LEN];
        kept.copy_from_slice(&digest[..OriginHash::LEN]);
        Self::Page(OriginHash(kept))
    }

    /// The origin of the page, if it has one that can be compared.
    pub const fn page(self) -> Option<OriginHash> {
        match self {
            Self::Page(origin) => Some(origin),
            Self::None | Self::Opaque => None,
        }
    }

    /// Whether the address of a request from this origin may count as proof that its client is the
    /// holder. `registered_by` is the page that made the registration, or `None` if no page with a
    /// known origin made it.
    pub fn trusts_address(self, registered_by: Option<OriginHash>) -> bool {
        match self {
            Self::None => true,
            Self::Opaque => false,
            Self::Page(origin) => registered_by == Some(origin),
        }
    }
}

impl OriginHash {
    /// The length in bytes.
    pub const LEN: usize = 8;

    /// The hash as bytes for a store.
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        self.0
    }

    /// Reads a hash that a store has kept.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_compared_without_regard_to_case() {
        assert_eq!(
            WebOrigin::of_header(b"https://App.example"),
            WebOrigin::of_header(b"https://app.example")
        );
        assert_ne!(WebOrigin::of_header(b"https://a.example"), WebOrigin::of_header(b"http://a.example"));
        assert_ne!(WebOrigin::of_header(b"http://a.example"), WebOrigin::of_header(b"http://a.example:81"));
    }

    #[test]
    fn a_header_that_is_not_one_origin_is_opaque() {
        for value in ["null", "", "a.example", "http://a http://b", "http://a,http://b", "http://é"] {
            assert_eq!(WebOrigin::of_header(value.as_bytes()), WebOrigin::Opaque, "{value}");
        }
    }

    #[test]
    fn only_the_same_page_or_no_page_at_all_may_rely_on_its_address() {
        let page = |text: &str| WebOrigin::of_header(text.as_bytes());
        let (own, other) = (page("https://own.example"), page("https://other.example"));
        for (request, registered_by, trusted) in [
            (WebOrigin::None, WebOrigin::None, true),
            (WebOrigin::None, own, true),
            (own, own, true),
            (own, other, false),
            (own, WebOrigin::None, false),
            (WebOrigin::Opaque, WebOrigin::Opaque, false),
            (WebOrigin::Opaque, WebOrigin::None, false),
        ] {
            assert_eq!(
                request.trusts_address(registered_by.page()),
                trusted,
                "{request:?} {registered_by:?}"
            );
        }
    }
}
