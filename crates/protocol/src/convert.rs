//! Conversions between the types of the API and text, as users of a Rust library expect them:
//! `FromStr`, `TryFrom<&str>`, `AsRef<str>` and `Display`. Each one delegates to the type's own
//! parser.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::{
    Address, Archetype, Archetypes, ChangeKind, ChangesRequest, Code, DiscoverRequest, Fill, Invalid,
    LeaseToken, Metadata, Order, PeerId, PublicKey, Timestamp, Ttl, View,
};

/// Implements parsing with `FromStr` and `TryFrom<&str>`.
macro_rules! parsed_from_text {
    ($($name:ident: $parse:expr;)*) => {$(
        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                $parse(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Invalid;

            fn try_from(text: &str) -> Result<Self, Invalid> {
                text.parse()
            }
        }
    )*};
}

parsed_from_text! {
    Address: listed_address;
    Archetype: Archetype::parse;
    Code: code;
    Fill: Fill::parse;
    LeaseToken: LeaseToken::parse;
    Metadata: Metadata::parse;
    Order: Order::parse;
    PeerId: PeerId::parse;
    PublicKey: PublicKey::parse;
    Timestamp: Timestamp::parse;
    View: View::parse;
}

/// Implements `AsRef<str>` for types that hold their text.
macro_rules! borrowed_as_text {
    ($($name:ident)*) => {$(
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }
    )*};
}

borrowed_as_text!(Archetype LeaseToken Metadata PeerId);

/// Implements `Display` for types whose text is their form on the wire.
macro_rules! displayed_as_text {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )*};
}

displayed_as_text!(ChangeKind Fill Metadata Order View);

/// Parses an address that a list contains. Unlike [`Address::parse`], it refuses an empty or
/// unspecified address, which only a registration may have.
fn listed_address(text: &str) -> Result<Address, Invalid> {
    Address::parse(text)?
        .ok_or(Invalid::rule("must be the address of one host: it is empty or the unspecified address"))
}

fn code(text: &str) -> Result<Code, Invalid> {
    let known = Code::ALL.into_iter().find(|code| code.as_str() == text);
    known.ok_or(Invalid::rule("must be one of the contract's error codes"))
}

impl From<Ttl> for Duration {
    fn from(ttl: Ttl) -> Self {
        Self::from_secs(ttl.as_secs().into())
    }
}

impl<'a> IntoIterator for &'a Archetypes {
    type Item = &'a Archetype;
    type IntoIter = std::slice::Iter<'a, Archetype>;

    fn into_iter(self) -> Self::IntoIter {
        self.as_slice().iter()
    }
}

impl From<DiscoverRequest> for ChangesRequest {
    /// A request to follow, from now on, the peers that `request` selects. Its order, cursor and
    /// fill are ignored.
    fn from(request: DiscoverRequest) -> Self {
        let DiscoverRequest { archetypes, limit, exclude, view, .. } = request;
        Self { archetypes, limit, exclude, view, since: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_converts_by_the_rules_of_each_type() {
        assert_eq!("alice".parse::<PeerId>().unwrap().as_ref(), "alice");
        assert!(PeerId::try_from("a b").is_err());
        assert_eq!("10.0.0.1".parse::<Address>().unwrap().to_string(), "10.0.0.1");
        for blank in ["", "0.0.0.0", "::"] {
            assert!(blank.parse::<Address>().is_err(), "{blank}");
        }
        assert_eq!("2025-10-02T12:00:00".parse::<Timestamp>().unwrap().as_secs(), 1_759_406_400);
        assert_eq!(Metadata::try_from(r#"{"n": 1e99}"#).unwrap().to_string(), r#"{"n": 1e99}"#);
        assert_eq!(Duration::from(Ttl::from_secs(30)), Duration::from_secs(30));
    }

    #[test]
    fn every_word_of_the_contract_is_parsed_from_what_it_displays() {
        for order in [Order::Sample, Order::Diverse, Order::All] {
            assert_eq!(order.to_string().parse(), Ok(order));
        }
        for view in [View::Legacy, View::Full, View::Contact, View::Observer] {
            assert_eq!(view.to_string().parse(), Ok(view));
        }
        assert_eq!(Fill::Any.to_string().parse(), Ok(Fill::Any));
        for code in Code::ALL {
            assert_eq!(code.to_string().parse(), Ok(code));
        }
        assert!("teapot".parse::<Code>().is_err());
    }
}
