//! The body of `/register`, signed or not.

use std::ops::RangeInclusive;

use serde::{Serialize, Serializer};

use super::{FIELD, SignedRecord};
use crate::object::{Object, string};
use crate::request::{discover, lease_token};
use crate::{DiscoverBounds, DiscoverRequest, Invalid, LeaseToken, Refusal, RegisterRequest, Ttl};

/// The keys that belong in the payload of a signed registration. The body must not have them next to
/// the key `signed`.
const SIGNED_KEYS: [&str; 8] =
    ["peer_id", "address", "port", "archetypes", "metadata", "ttl_seconds", "token_only", "mail"];

/// The body of `/register`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterBody {
    /// A registration without a signature.
    Unsigned(RegisterRequest),
    /// A signed registration.
    Signed(SignedRegisterRequest),
}

/// The body of `/register` for a signed registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignedRegisterRequest {
    /// The signed registration.
    #[serde(serialize_with = "as_text")]
    pub signed: SignedRecord,
    /// The current lease token of the peer. It is needed when the first signed registration of a
    /// name replaces an unsigned one that still holds the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_token: Option<LeaseToken>,
    /// A request for peers to list in the same response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discover: Option<DiscoverRequest>,
}

fn as_text<S: Serializer>(record: &SignedRecord, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(record.as_str())
}

impl RegisterBody {
    /// Removes the request for peers from the body and returns it.
    pub fn take_discover(&mut self) -> Option<DiscoverRequest> {
        match self {
            Self::Unsigned(request) => request.discover.take(),
            Self::Signed(request) => request.discover.take(),
        }
    }

    /// Reads a body. `ttl` is the range of leases that the service grants, and `bounds` apply to the
    /// `discover` key. The signature of a signed registration is not verified.
    ///
    /// # Errors
    /// A [`Refusal`] that names the key and the rule it breaks.
    pub fn from_body(body: &[u8], ttl: RangeInclusive<Ttl>, bounds: DiscoverBounds) -> Result<Self, Refusal> {
        let object = Object::from_body(body)?;
        let Some(signed) = object.raw(FIELD) else {
            return RegisterRequest::from_object(&object, ttl, bounds).map(Self::Unsigned);
        };
        if let Some(key) = SIGNED_KEYS.into_iter().find(|key| object.has(key)) {
            let rule = Invalid::rule("must be in the payload of signed, and not beside it");
            return Err(object.refuse(key, rule));
        }
        let text = string(signed).map_err(|invalid| object.refuse(FIELD, invalid))?;
        Ok(Self::Signed(SignedRegisterRequest {
            signed: SignedRecord::parse(&text)?,
            lease_token: lease_token(&object)?,
            discover: discover(&object, bounds)?,
        }))
    }
}
