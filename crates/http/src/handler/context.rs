//! The information about a request that every handler needs.

use std::sync::Arc;

use aurora_discovery_protocol::{IceServer, PeerId, Timestamp};
use aurora_discovery_registry::{Caller, Registry, WebOrigin};
use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::ORIGIN;
use http::request::Parts;
use tokio::task::yield_now;

use crate::access::{Access, Scope};
use crate::compress::too_many_unread;
use crate::error::Failure;
use crate::metrics::Metrics;
use crate::rate::Charge;
use crate::request_context::RequestContext;
use crate::service::Service;

/// Pages of at most this many peers are made at once: they take less time than waiting for a turn
/// saves others.
const SMALL_PAGE_PEERS: u32 = 100;

/// The service, the caller, and the time of the request.
pub(crate) struct Context {
    pub(crate) service: Arc<Service>,
    pub(crate) caller: Caller,
    /// The time that leases depend on. Responses contain [`Context::timestamp`] instead.
    pub(crate) now: Timestamp,
    /// What the API key of the request permits.
    pub(crate) access: Access,
}

impl Context {
    pub(crate) fn registry(&self) -> &Registry {
        &self.service.registry
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.service.metrics
    }

    /// Asks whether the caller may list peers. The service asks so itself for routes that only list
    /// them.
    pub(crate) fn may_read(&self) -> Result<(), Failure> {
        self.access.check(Scope::Read)
    }

    /// Asks whether a page of up to `limit` peers may be made: its client must read the pages that
    /// it requests, and must not have requested too many. Otherwise the work for the page would be
    /// done before it is refused.
    ///
    /// A large page first waits for its turn. A burst of requests for large pages would otherwise
    /// delay all requests that arrive meanwhile, because the runtime only looks for those after some
    /// dozens of tasks, or when none is left.
    pub(crate) async fn may_make_page(&self, limit: u32) -> Result<(), Failure> {
        if limit > SMALL_PAGE_PEERS {
            // The semaphore is never closed.
            let _turn = self.service.page_turns.acquire().await;
            yield_now().await;
        }
        let address = self.caller.address;
        if !self.service.pending_responses.has_room(address) {
            return Err(too_many_unread());
        }
        self.service.rates.take(Charge::Pages, address, 1)
    }

    /// The STUN and TURN servers for a peer with a mailbox, if the operator has configured any.
    pub(crate) fn ice_servers(&self, peer: &PeerId) -> Option<Vec<IceServer>> {
        self.service.options.ice_servers.of_peer(peer, self.timestamp())
    }

    /// The time of the request as the response shows it.
    pub(crate) fn timestamp(&self) -> Timestamp {
        self.registry().shown(self.now)
    }
}

impl FromRequestParts<Arc<Service>> for Context {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<Service>) -> Result<Self, Failure> {
        let RequestContext { source: address, access, .. } = RequestContext::of(parts)?;
        let (address, access) = (*address, access.clone());
        let caller = Caller { address, page: web_origin(&parts.headers) };
        Ok(Self { service: service.clone(), caller, now: service.options.clock.now(), access })
    }
}

/// The web page that the request came from. Browsers send one `Origin` header; several are not one
/// origin.
fn web_origin(headers: &HeaderMap) -> WebOrigin {
    let mut values = headers.get_all(ORIGIN).iter();
    match (values.next(), values.next()) {
        (None, _) => WebOrigin::None,
        (Some(value), None) => WebOrigin::of_header(value.as_bytes()),
        (Some(_), Some(_)) => WebOrigin::Opaque,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn origin(values: &[&str]) -> WebOrigin {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ORIGIN, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        web_origin(&headers)
    }

    #[test]
    fn a_request_has_the_origin_of_its_only_origin_header() {
        assert_eq!(origin(&[]), WebOrigin::None);
        assert!(matches!(origin(&["https://app.example"]), WebOrigin::Page(_)));
        assert_ne!(origin(&["https://app.example"]), origin(&["https://other.example"]));
    }

    #[test]
    fn several_origin_headers_or_a_malformed_one_are_opaque() {
        for values in [
            &["https://app.example", "https://app.example"][..],
            &["https://app.example", "https://other.example"],
            &["null"],
            &[""],
            &["é"],
        ] {
            assert_eq!(origin(values), WebOrigin::Opaque, "{values:?}");
        }
    }
}
