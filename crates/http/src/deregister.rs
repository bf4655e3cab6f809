//! `POST /deregister`

use aurora_protocol::{DeregisterRequest, DeregisterResponse};

use crate::answer::{Answer, Event};
use crate::call::Call;
use crate::error::Failure;

pub(crate) async fn deregister(call: Call<'_>) -> Result<Answer, Failure> {
    let DeregisterRequest { peer_id, lease_token } = DeregisterRequest::from_body(&call.body)?;
    let was_live = call.registry.deregister(&peer_id, lease_token.as_ref(), call.source, call.now).await?;
    let response = DeregisterResponse { message: "Peer deregistered".to_owned(), peer_id };
    Ok(Answer::json(&response)?.event(Event::Deregistered { was_live }))
}
