//! `POST /register`

use aurora_protocol::{RegisterRequest, RegisterResponse};

use crate::answer::{Answer, Event};
use crate::call::Call;
use crate::error::Failure;

pub(crate) async fn register(call: Call<'_>) -> Result<Answer, Failure> {
    let mut request = RegisterRequest::from_body(&call.body, call.registry.limits().inline_discover)?;
    let page = call.page(request.discover.take()).await?;
    let registered = call.registry.register(request, call.source, call.now).await?;
    let (peers, figures) = page.turn(&call).await?;
    let response = RegisterResponse {
        message: "Peer registered successfully".to_owned(),
        peer_id: registered.peer_id,
        ttl_expires: registered.lease.ttl_expires,
        ttl_seconds: registered.lease.ttl,
        heartbeat_interval_seconds: registered.lease.heartbeat_interval_seconds,
        observed_address: call.source.to_string(),
        lease_token: registered.lease_token,
        page: figures,
    };
    Ok(Answer::with_peers(peers, &response)?.event(Event::Registered))
}
