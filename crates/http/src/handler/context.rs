//! What most handlers need to know about a request.

use std::sync::Arc;

use aurora_discovery_protocol::{IceServer, PeerId, Timestamp, View};
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

/// Pages of at most this many peers are made without waiting. Larger pages wait for their turn (see
/// `Context::may_make_page`). A small page takes so little time that other requests would gain
/// nothing if it waited.
const SMALL_PAGE_PEERS: u32 = 100;

/// The service, the caller, and the time of the request. The extractor makes it from the
/// `RequestContext` and the headers.
pub(crate) struct Context {
    pub(crate) service: Arc<Service>,
    pub(crate) caller: Caller,
    /// The time that leases depend on. Its clock may leave out pauses of the process, so it may
    /// differ from the system's clock. Responses show the system's time ([`Context::timestamp`]).
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

    /// Refuses the request unless its API key permits listing peers. Handlers that include a page
    /// in another response call this. For routes that only list peers, the service checks the key
    /// before it calls the handler.
    pub(crate) fn may_read(&self) -> Result<(), Failure> {
        self.access.check(Scope::Read)
    }

    /// Refuses the request unless a page of up to `limit` peers may be made for it. Its source must
    /// have read enough of the earlier responses, and must not have used up its rate of pages. The
    /// check comes before the page is made, so that no work is wasted on a page that is refused
    /// afterwards.
    ///
    /// A large page first waits for its turn ([`Context::turn`]).
    pub(crate) async fn may_make_page(&self, limit: u32) -> Result<(), Failure> {
        if limit > SMALL_PAGE_PEERS {
            self.turn().await;
        }
        let address = self.caller.address;
        if !self.service.pending_responses.has_room(address) {
            return Err(too_many_unread());
        }
        // Charges the first kilobyte of the page. The rest is charged when its size is known.
        self.service.rates.take(Charge::Pages, address, 1)
    }

    /// Counts a page in the metrics, unless it was made for an observer, who is not part of the
    /// network.
    pub(crate) fn count_page(&self, view: View) {
        if view != View::Observer {
            self.metrics().pages.inc();
        }
    }

    /// Makes the request wait for its turn. Handlers call this for requests that may arrive in
    /// bursts of thousands, or that take long. The runtime looks for new requests only after it has
    /// run some dozens of tasks, or when no task is left to run. Without turns, a burst would
    /// therefore delay all requests that arrive meanwhile, heartbeats too.
    pub(crate) async fn turn(&self) {
        // Yielding while the permit is held lets the runtime look for new requests after every few
        // turns. The semaphore is never closed, so `acquire` does not fail.
        let _turn = self.service.turns.acquire().await;
        yield_now().await;
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

/// The web page that sent the request, from its `Origin` header. Browsers send this header at most
/// once. If a request has it several times, none of the values is trusted: the request counts as
/// one from a page that hides its origin.
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
