//! The bodies of requests.

use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::object::{Object, boolean, integer, string, strings};
use crate::{
    Address, Archetypes, DiscoverBounds, DiscoverRequest, LeaseToken, MailId, Metadata, PeerId, Refusal, Ttl,
};

/// The maximum size of a request body, in bytes. The largest unsigned registration takes at most
/// half of it, even if every character outside ASCII is escaped.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// The body of `/register`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegisterRequest {
    /// The peer's id.
    pub peer_id: PeerId,
    /// The address at which the peer can be reached. `None` means the source address of the
    /// request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// The port. 0 means that the peer accepts no connections.
    pub port: u16,
    /// The archetypes that the peer carries.
    pub archetypes: Archetypes,
    /// The metadata of the peer.
    pub metadata: Metadata,
    /// The requested duration of the lease. `None` means the service's default.
    #[serde(rename = "ttl_seconds", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Ttl>,
    /// The lease token. It proves that the caller holds the live lease that this registration
    /// replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_token: Option<LeaseToken>,
    /// Whether only the token may change, renew or end the registration from now on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub token_only: bool,
    /// Whether the peer has a mailbox. It has an effect in a signed registration only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mail: bool,
    /// A request for peers to list in the same response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discover: Option<DiscoverRequest>,
}

impl RegisterRequest {
    /// A registration with only an id. The peer gets the source address of the request and accepts
    /// no connections.
    pub fn new(peer_id: PeerId) -> Self {
        Self {
            peer_id,
            address: None,
            port: 0,
            archetypes: Archetypes::default(),
            metadata: Metadata::default(),
            ttl: None,
            lease_token: None,
            token_only: false,
            mail: false,
            discover: None,
        }
    }

    /// Reads a body. `ttl` is the range of leases that the service grants, and `bounds` apply to
    /// the `discover` key.
    ///
    /// # Errors
    /// A [`Refusal`] that names the key and the rule it breaks.
    pub fn from_body(body: &[u8], ttl: RangeInclusive<Ttl>, bounds: DiscoverBounds) -> Result<Self, Refusal> {
        Self::from_object(&Object::from_body(body)?, ttl, bounds)
    }

    pub(crate) fn from_object(
        object: &Object<'_>,
        ttl: RangeInclusive<Ttl>,
        bounds: DiscoverBounds,
    ) -> Result<Self, Refusal> {
        // The registration is parsed before `discover`, whose `exclude` usually repeats the peer's
        // id. An invalid id is therefore reported as `peer_id` and not as `discover.exclude`.
        let request = registration(object, ttl)?;
        Ok(Self { lease_token: lease_token(object)?, discover: discover(object, bounds)?, ..request })
    }
}

/// Reads the keys that unsigned and signed registrations have in common.
pub(crate) fn registration(
    object: &Object<'_>,
    ttl: RangeInclusive<Ttl>,
) -> Result<RegisterRequest, Refusal> {
    let (shortest, longest) = (ttl.start().as_secs(), ttl.end().as_secs());
    Ok(RegisterRequest {
        peer_id: object.required("peer_id", peer_id)?,
        address: object.optional("address", |value| Address::parse(&string(value)?))?.flatten(),
        port: object.optional("port", port)?.unwrap_or(0),
        archetypes: object
            .optional("archetypes", |value| Archetypes::parse(&strings(value)?))?
            .unwrap_or_default(),
        metadata: object.optional("metadata", Metadata::from_raw)?.unwrap_or_default(),
        ttl: object.optional("ttl_seconds", |value| integer(value, shortest, longest))?.map(Ttl::from_secs),
        lease_token: None,
        token_only: object.optional("token_only", boolean)?.unwrap_or(false),
        mail: false,
        discover: None,
    })
}

/// The body of `/heartbeat` for one peer. [`crate::Heartbeat`] reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeartbeatRequest {
    /// The peer whose lease to renew.
    pub peer_id: PeerId,
    /// The lease token, which proves that the caller is the holder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_token: Option<LeaseToken>,
    /// Whether the response should contain the messages that wait in the peer's mailbox.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mail: bool,
    /// The ids of the messages that the peer has received. The service deletes these messages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub acknowledge: Vec<MailId>,
    /// A request for peers to list in the same response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discover: Option<DiscoverRequest>,
}

/// The body of `/deregister`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeregisterRequest {
    /// The peer to deregister.
    pub peer_id: PeerId,
    /// The lease token, which proves that the caller is the holder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_token: Option<LeaseToken>,
}

impl DeregisterRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// A [`Refusal`] that names the key and the rule it breaks.
    pub fn from_body(body: &[u8]) -> Result<Self, Refusal> {
        let object = Object::from_body(body)?;
        Ok(Self { peer_id: object.required("peer_id", peer_id)?, lease_token: lease_token(&object)? })
    }
}

pub(crate) fn peer_id(value: &RawValue) -> Result<PeerId, crate::Invalid> {
    PeerId::parse(&string(value)?)
}

fn port(value: &RawValue) -> Result<u16, crate::Invalid> {
    let port = integer(value, 0, u32::from(u16::MAX))?;
    Ok(u16::try_from(port).unwrap_or(u16::MAX))
}

pub(crate) fn lease_token(object: &Object<'_>) -> Result<Option<LeaseToken>, Refusal> {
    object.optional("lease_token", |value| LeaseToken::parse(&string(value)?))
}

pub(crate) fn discover(
    object: &Object<'_>,
    bounds: DiscoverBounds,
) -> Result<Option<DiscoverRequest>, Refusal> {
    object.raw("discover").map(|value| DiscoverRequest::from_value(value, bounds)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, Order};

    const TTL: RangeInclusive<Ttl> = Ttl::from_secs(10)..=Ttl::from_secs(600);
    const BOUNDS: DiscoverBounds = DiscoverBounds::new(20, 100);

    fn register(body: &str) -> Result<RegisterRequest, Refusal> {
        RegisterRequest::from_body(body.as_bytes(), TTL, BOUNDS)
    }

    #[test]
    fn a_registration_of_the_original_service_is_accepted() {
        let request = register(
            r#"{"peer_id": "uuid-or-identifier", "address": "192.168.1.100", "port": 9000, "archetypes": ["pepino", "ethics"],
                "metadata": {"version": "1.0.0", "capabilities": ["tensor-exchange"]}, "reputation": {"unknown": [1]}}"#,
        )
        .unwrap();
        assert_eq!(request.port, 9000);
        assert_eq!(request.archetypes.as_slice().len(), 2);
        assert_eq!(request.metadata.as_str(), r#"{"version": "1.0.0", "capabilities": ["tensor-exchange"]}"#);
    }

    #[test]
    fn register_requests_round_trip() {
        let sparse = RegisterRequest::new(PeerId::parse("p").unwrap());
        assert_eq!(register(&serde_json::to_string(&sparse).unwrap()).unwrap(), sparse);
        let whole = register(
            r#"{"peer_id":"p","address":"::1","port":1,"archetypes":["a"],"metadata":{"n":1e99},"ttl_seconds":60,
                "lease_token":"t","discover":{"archetype":["a","b"],"limit":3,"exclude":"p","view":"full","cursor":"c"}}"#,
        )
        .unwrap();
        assert_eq!(register(&serde_json::to_string(&whole).unwrap()).unwrap(), whole);
        let filled = register(r#"{"peer_id":"p","discover":{"archetype":"a","fill":"any"}}"#).unwrap();
        assert_eq!(register(&serde_json::to_string(&filled).unwrap()).unwrap(), filled);
    }

    #[test]
    fn an_integer_is_accepted_in_any_json_notation() {
        for port in ["9000", "9000.0", "9e3", "90.00e2"] {
            let request = register(&format!(r#"{{"peer_id":"p","port":{port}}}"#)).unwrap();
            assert_eq!(request.port, 9000, "{port}");
        }
        for port in ["9000.5", "-1.0", "65536.0", "1e999", "\"9000\""] {
            let refusal = register(&format!(r#"{{"peer_id":"p","port":{port}}}"#)).unwrap_err();
            assert_eq!(refusal.field.unwrap(), "port", "{port}");
        }
    }

    #[test]
    fn null_is_equivalent_to_a_missing_key() {
        let sparse = register(r#"{"peer_id":"p"}"#).unwrap();
        let nulls = r#"{"peer_id":"p","address":null,"port":null,"archetypes":null,"metadata":null,"ttl_seconds":null,
                        "lease_token":null,"discover":null}"#;
        assert_eq!(register(nulls).unwrap(), sparse);
        assert_eq!(sparse.metadata.as_str(), "{}");
        assert_eq!(sparse.address, None);
    }

    #[test]
    fn a_refusal_repeats_only_a_short_part_of_the_input() {
        let long = "x".repeat(10_000);
        for body in [format!(r#""{long}""#), format!(r#"{{"{long}":1,"{long}":1}}"#)] {
            let refusal = register(&body).unwrap_err();
            assert!(refusal.message.len() < 200, "{}", refusal.message);
        }
    }

    #[test]
    fn every_refusal_names_its_key() {
        for (body, field) in [
            (r#"{}"#, "peer_id"),
            (r#"{"peer_id":null}"#, "peer_id"),
            (r#"{"peer_id":7}"#, "peer_id"),
            (r#"{"peer_id":"a b"}"#, "peer_id"),
            (r#"{"peer_id":"\ud800"}"#, "peer_id"),
            (r#"{"peer_id":"p","address":"224.0.0.1"}"#, "address"),
            (r#"{"peer_id":"p","address":1}"#, "address"),
            (r#"{"peer_id":"p","port":65536}"#, "port"),
            (r#"{"peer_id":"p","port":-1}"#, "port"),
            (r#"{"peer_id":"p","port":1.5}"#, "port"),
            (r#"{"peer_id":"p","port":"9000"}"#, "port"),
            (r#"{"peer_id":"p","port":true}"#, "port"),
            (r#"{"peer_id":"p","archetypes":"pepino"}"#, "archetypes"),
            (r#"{"peer_id":"p","archetypes":[1]}"#, "archetypes"),
            (r#"{"peer_id":"p","archetypes":[""]}"#, "archetypes"),
            (r#"{"peer_id":"p","metadata":[]}"#, "metadata"),
            (r#"{"peer_id":"p","metadata":{"a":1,"a":1}}"#, "metadata"),
            (r#"{"peer_id":"p","ttl_seconds":0}"#, "ttl_seconds"),
            (r#"{"peer_id":"p","ttl_seconds":1e-3}"#, "ttl_seconds"),
            (r#"{"peer_id":"p","lease_token":""}"#, "lease_token"),
            (r#"{"peer_id":"p","discover":[]}"#, "discover"),
            (r#"{"peer_id":"p","discover":{"limit":1,"limit":1}}"#, "discover"),
            (r#"{"peer_id":"p","discover":{"limit":101}}"#, "discover.limit"),
            (r#"{"peer_id":"p","discover":{"archetype":5}}"#, "discover.archetype"),
            (r#"{"peer_id":"p","discover":{"order":"newest"}}"#, "discover.order"),
            (r#"{"peer_id":"p","discover":{"fill":"all"}}"#, "discover.fill"),
            (r#"{"peer_id":"p","discover":{"fill":"any","order":"all"}}"#, "discover.fill"),
        ] {
            let refusal = register(body).unwrap_err();
            assert_eq!(refusal.code, Code::InvalidField, "{body}");
            assert_eq!(refusal.field.as_deref(), Some(field), "{body}");
            assert!(refusal.message.starts_with(field), "{body}: {refusal}");
        }
    }

    #[test]
    fn a_wrong_lease_is_refused_with_the_leases_that_the_service_grants() {
        for ttl in ["0", "9", "601", "4294967296", "-1", "60.5", "\"60\"", "true", "[60]"] {
            let refusal = register(&format!(r#"{{"peer_id":"p","ttl_seconds":{ttl}}}"#)).unwrap_err();
            assert_eq!(refusal.message, "ttl_seconds must be an integer from 10 to 600", "{ttl}");
        }
    }

    #[test]
    fn a_body_that_is_not_a_json_object_is_refused() {
        for body in [
            "",
            "[]",
            "7",
            "null",
            "{",
            r#"{"peer_id":"p"} x"#,
            "\u{feff}{}",
            r#"{"peer_id":"p","peer_id":"p"}"#,
            r#"{"x":1,"\u0078":2}"#,
        ] {
            assert_eq!(register(body).unwrap_err().code, Code::InvalidBody, "{body}");
        }
        assert_eq!(
            RegisterRequest::from_body(b"{\"\xff\":1}", TTL, BOUNDS).unwrap_err().code,
            Code::InvalidBody
        );
    }

    #[test]
    fn a_registration_can_contain_a_discover_request() {
        let inline = |discover: &str| {
            register(&format!(r#"{{"peer_id":"p","discover":{discover}}}"#)).unwrap().discover.unwrap()
        };
        let discover = inline(r#"{"archetype":["b","a"],"order":"all","exclude":"p"}"#);
        assert_eq!((discover.limit, discover.order, discover.archetypes.len()), (20, Order::All, 2));
        assert_eq!(inline(r#"{"archetype":"a"}"#).archetypes.len(), 1);
        assert_eq!(inline("{}"), DiscoverRequest::new(20));
    }
}
