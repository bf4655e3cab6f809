//! What a line of the audit log says.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use aurora_discovery_protocol::{
    BlockReason, Code, DeregisterRequest, DiscoverBounds, PeerId, PublicKey, RegisterBody, Subject,
    Timestamp, Ttl,
};
use axum::response::Response;
use serde::Serialize;

use crate::access::Scope;
use crate::error::Failure;
use crate::route::Route;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    Registered,
    Deregistered,
    Refused,
    Evicted,
    Blocked,
    Unblocked,
}

/// What a request did, or that it was refused. A handler adds what it did to the extensions of its
/// response. For a refused request, [`Audited::of_refusal`] creates this value.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Audited {
    pub(crate) action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer_id: Option<PeerId>,
    /// The key that signed the registration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signed_by: Option<PublicKey>,
    /// The peer, the key or the source addresses that an operator evicted, blocked or unblocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Subject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<BlockReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duration_seconds: Option<u32>,
    /// The number of peers that an operator evicted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) evicted: Option<u64>,
}

/// The peers whose renewals were refused in a heartbeat for several peers, and the code of each
/// refusal. It is an extension of the response, which itself is a success.
#[derive(Clone, Debug)]
pub(crate) struct RefusedPeers(pub(crate) Vec<(PeerId, Code)>);

impl From<Action> for Audited {
    fn from(action: Action) -> Self {
        Self {
            action,
            peer_id: None,
            signed_by: None,
            subject: None,
            reason: None,
            duration_seconds: None,
            evicted: None,
        }
    }
}

impl Audited {
    /// Adds this to the extensions of a response.
    pub(crate) fn on(self, mut response: Response) -> Response {
        response.extensions_mut().insert(self);
        response
    }

    /// What the log says about a refused request, or `None` if it says nothing. Requests that
    /// exceed a rate limit are left out, because they would fill the log. Requests that change no
    /// peer are left out too, unless they were refused for lack of an API key with the required
    /// scope.
    pub(crate) fn of_refusal(route: Route, failure: &Failure, body: &[u8]) -> Option<Self> {
        let scope = route.scope()?;
        let changes_peers = scope != Scope::Read && !matches!(route, Route::Mail | Route::Mailbox);
        let lacks_key = matches!(failure.refusal.code, Code::Unauthorized | Code::Forbidden);
        if failure.refusal.code == Code::RateLimited || (!changes_peers && !lacks_key) {
            return None;
        }
        Some(Self { peer_id: peer_in(body), ..Action::Refused.into() })
    }
}

/// The peer that a request is about, if its body names one.
fn peer_in(body: &[u8]) -> Option<PeerId> {
    const ANY: RangeInclusive<Ttl> = Ttl::from_secs(0)..=Ttl::from_secs(u32::MAX);
    if let Ok(request) = DeregisterRequest::from_body(body) {
        return Some(request.peer_id);
    }
    match RegisterBody::from_body(body, ANY, DiscoverBounds::new(1, u32::MAX)).ok()? {
        RegisterBody::Signed(request) => Some(request.signed.peer_id().clone()),
        RegisterBody::Unsigned(request) => Some(request.peer_id),
    }
}

/// A line of the log.
#[derive(Serialize)]
pub(crate) struct Entry<'a> {
    /// When the response was ready, in UTC.
    pub(crate) time: Timestamp,
    #[serde(flatten)]
    pub(crate) audited: &'a Audited,
    pub(crate) client: IpAddr,
    /// The name of the API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_key: Option<&'a str>,
    pub(crate) path: &'static str,
    pub(crate) status: u16,
    /// The error code of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<Code>,
    pub(crate) request_id: &'a str,
}

impl Entry<'_> {
    pub(super) fn to_line(&self) -> String {
        // Serializing these types never fails.
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}
