//! Key rotation: the old key of a name signs a statement that a new key replaces it.
//!
//! The statement is a JWS of the type `aurora-rotation+jws` by the old key. Its payload names the
//! peer, the new key, and the `seq` of the one record that may contain the statement. Because of
//! the `seq`, the statement cannot be used again after the name has been rotated to another key.

use super::jws::{Jws, invalid_signature};
use super::{SignedRecord, safe_integer};
use crate::object::{Object, string};
use crate::request::peer_id;
use crate::{PeerId, PublicKey, Refusal, SecretKey};

const ROTATION_TYPE: &str = "aurora-rotation+jws";
const FIELD: &str = "signed.replaces";
const PATH: &str = "signed.replaces.";

/// Checks that the statement `text` belongs to `record`, verifies its signature, and returns the
/// old key, which signed it.
pub(super) fn old_key(text: &str, record: &SignedRecord) -> Result<PublicKey, Refusal> {
    let jws = Jws::parse(text, ROTATION_TYPE, FIELD)?;
    let payload = Object::in_text(&jws.payload, PATH)?;
    let new_key = payload.required("key", |value| PublicKey::parse(&string(value)?))?;
    let is_for_record = payload.required("peer_id", peer_id)? == record.claims.peer_id
        && payload.required("seq", safe_integer)? == record.claims.seq
        && new_key == record.claimed_key();
    if !is_for_record {
        return Err(invalid_signature(FIELD, "must name the peer_id, the seq and the key of this record"));
    }
    jws.verify()
}

/// Signs, with `old`, the statement that the key `new` replaces `old` for the name `peer`. Only the
/// record with this `seq` may contain the statement.
pub(super) fn sign(peer: &PeerId, seq: u64, old: &SecretKey, new: PublicKey) -> String {
    let payload = serde_json::json!({ "peer_id": peer, "key": new, "seq": seq });
    Jws::sign(&payload.to_string(), ROTATION_TYPE, old)
}
