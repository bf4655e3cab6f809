//! Finds out whether an id is free, without changing a registration.

use aurora_discovery_protocol::{Code, HeartbeatRequest, LeaseToken, RegisterRequest};

use crate::{Client, Error};

/// Whether another client may hold the id of `registration`. This is so if the service knows the
/// id, and the registration has no token or not the current one.
///
/// A keeper that must not replace a live registration calls this first, and makes its registration
/// token-only if another client may hold the id. The API cannot make a registration conditional on
/// a free id, but two of its rules together have that effect:
///
/// - A heartbeat with a wrong token changes nothing. It gets 404 for an unknown id and 403 for a
///   known one, live or dormant.
/// - A token-only registration does not replace a live one whose token it lacks. It can replace a
///   dormant one.
///
/// The second rule alone would keep the keeper from replacing a live registration. But if the
/// response to a token-only registration is lost, the id is reserved under a token that no client
/// knows. The keeper therefore sends a token-only registration only for an id that another client
/// may hold.
///
/// A live registration is replaced nevertheless in two cases:
///
/// - Two keepers that register an unknown id at the same moment may replace each other. The first
///   one then reports that it was taken over.
/// - With a service of an older version, which ignores tokens in heartbeats, a live registration is
///   replaced.
pub(super) async fn is_known(client: &Client, registration: &RegisterRequest) -> Result<bool, Error> {
    let own = registration.lease_token.clone();
    let has_token = own.is_some();
    let wrong = || LeaseToken::from_random(fastrand::u128(..).to_le_bytes());
    let request = HeartbeatRequest {
        lease_token: Some(own.unwrap_or_else(wrong)),
        ..HeartbeatRequest::new(registration.peer_id.clone())
    };
    match client.heartbeat(&request).await {
        Ok(_) => Ok(!has_token),
        Err(error) => match error.code() {
            Some(Code::NotHolder) => Ok(true),
            Some(Code::PeerNotRegistered) => Ok(false),
            _ => Err(error),
        },
    }
}

/// Sends a heartbeat with the token of `registration`. Returns the refusal of the service if
/// another client holds the id, and otherwise `None`.
pub(super) async fn held_by_another(
    client: &Client,
    registration: &RegisterRequest,
) -> Result<Option<Error>, Error> {
    let request = HeartbeatRequest {
        lease_token: registration.lease_token.clone(),
        ..HeartbeatRequest::new(registration.peer_id.clone())
    };
    match client.heartbeat(&request).await {
        Ok(_) => Ok(None),
        Err(error) => match error.code() {
            Some(Code::NotHolder) => Ok(Some(error)),
            Some(Code::PeerNotRegistered) => Ok(None),
            _ => Err(error),
        },
    }
}
