//! `POST /heartbeat`

use aurora_protocol::{HeartbeatRequest, HeartbeatResponse};

use crate::answer::{Answer, Event};
use crate::call::Call;
use crate::error::Failure;

pub(crate) async fn heartbeat(call: Call<'_>) -> Result<Answer, Failure> {
    let request = HeartbeatRequest::from_body(&call.body, call.registry.limits().inline_discover)?;
    let page = call.page(request.discover).await?;
    let lease = call.registry.heartbeat(&request.peer_id, call.now).await?;
    let (peers, figures) = page.turn(&call).await?;
    let response = HeartbeatResponse {
        message: "Heartbeat updated".to_owned(),
        peer_id: request.peer_id,
        timestamp: call.now,
        ttl_expires: lease.ttl_expires,
        ttl_seconds: lease.ttl,
        heartbeat_interval_seconds: lease.heartbeat_interval_seconds,
        page: figures,
    };
    let event = if lease.revived { Event::Revived } else { Event::Renewed };
    Ok(Answer::with_peers(peers, &response)?.event(event))
}
