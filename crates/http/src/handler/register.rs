//! `POST /register`

use aurora_discovery_protocol::{RegisterBody, RegisterResponse};
use aurora_discovery_registry::Writes;
use axum::response::Response;

use super::context::Context;
use super::inline_page::InlinePage;
use crate::audit::{Action, Audited};
use crate::error::Failure;
use crate::request_context::RequestBody;
use crate::response::json_with_peers;

pub(crate) async fn register(context: Context, RequestBody(body): RequestBody) -> Result<Response, Failure> {
    let limits = context.registry().limits();
    let leases = limits.ttl_min..=limits.ttl_max;
    let mut request = RegisterBody::from_body(&body, leases, limits.inline_discover)?;
    let page = InlinePage::begin(&context, request.take_discover(), Writes::Registration).await?;
    let registered = match request {
        RegisterBody::Unsigned(request) => {
            context.registry().register(request, &context.caller, context.now).await?
        }
        RegisterBody::Signed(request) => {
            context.registry().register_signed(request, &context.caller, context.now).await?
        }
    };
    let (peers, figures) = page.finish(&context).await?;
    context.metrics().registrations.inc();
    if registered.signed_by.is_some() {
        context.metrics().signed_registrations.inc();
    }
    let audited = Audited {
        peer_id: Some(registered.peer_id.clone()),
        signed_by: registered.signed_by,
        ..Action::Registered.into()
    };
    let ice_servers = if registered.has_mailbox { context.ice_servers(&registered.peer_id) } else { None };
    let response = RegisterResponse {
        message: "Peer registered successfully".to_owned(),
        peer_id: registered.peer_id,
        ttl_expires: registered.lease.ttl_expires,
        ttl_seconds: registered.lease.ttl,
        heartbeat_interval_seconds: registered.lease.heartbeat_interval_seconds,
        observed_address: context.caller.address.to_string(),
        lease_token: registered.lease_token,
        signed_by: registered.signed_by,
        ice_servers,
        page: figures,
    };
    Ok(audited.on(json_with_peers(peers, &response)?))
}
