//! What the service passes to handlers in addition to the head of a request.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use bytes::Bytes;
use http::request::Parts;

use crate::access::Access;
use crate::connection::state::ConnectionState;
use crate::error::Failure;

/// What the service knows about a request in addition to its head. The service passes it to the
/// handlers as an extension of the request. Their extractors, `Context` and `RequestBody`, take
/// what they need from it.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    /// The source address of the request, in canonical form.
    pub(crate) source: IpAddr,
    /// The body, or why it could not be read. Only a handler that needs the body reports this.
    pub(crate) body: Result<Bytes, Failure>,
    /// What the API key of the request permits.
    pub(crate) access: Access,
    /// The connection that the request came on, if the transport keeps its state.
    pub(crate) connection: Option<Arc<ConnectionState>>,
}

impl RequestContext {
    /// The context of the request that has these parts.
    pub(crate) fn of(parts: &Parts) -> Result<&Self, Failure> {
        parts.extensions.get().ok_or_else(|| Failure::internal("the router was called without the service"))
    }
}

/// An extractor for the body of a request. It fails with the reason if the body could not be read.
pub(crate) struct RequestBody(pub(crate) Bytes);

impl<S: Sync> FromRequestParts<S> for RequestBody {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        RequestContext::of(parts)?.body.clone().map(Self)
    }
}
