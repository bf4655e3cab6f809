//! `POST /deregister`

use aurora_discovery_protocol::{DeregisterRequest, DeregisterResponse};
use axum::response::Response;

use super::context::Context;
use crate::audit::{Action, Audited};
use crate::error::Failure;
use crate::request_context::RequestBody;
use crate::response::json;

pub(crate) async fn deregister(
    context: Context,
    RequestBody(body): RequestBody,
) -> Result<Response, Failure> {
    let DeregisterRequest { peer_id, lease_token } = DeregisterRequest::from_body(&body)?;
    let registry = context.registry();
    let was_live = registry.deregister(&peer_id, lease_token.as_ref(), &context.caller, context.now).await?;
    context.metrics().deregistered(was_live);
    let response =
        json(&DeregisterResponse { message: "Peer deregistered".to_owned(), peer_id: peer_id.clone() })?;
    Ok(Audited { peer_id: Some(peer_id), ..Action::Deregistered.into() }.on(response))
}
