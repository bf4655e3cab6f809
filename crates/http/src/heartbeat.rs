//! `POST /heartbeat`

use aurora_protocol::{
    Heartbeat, HeartbeatRequest, HeartbeatResponse, HeartbeatResult, HeartbeatsRequest, HeartbeatsResponse,
    PeerId,
};
use aurora_registry::{Error, Renewed};

use crate::answer::{Answer, Event};
use crate::call::Call;
use crate::error::Failure;

pub(crate) async fn heartbeat(call: Call<'_>) -> Result<Answer, Failure> {
    match Heartbeat::from_body(&call.body, call.registry.limits().inline_discover)? {
        Heartbeat::One(request) => one(call, request).await,
        Heartbeat::Many(request) => many(call, request).await,
    }
}

async fn one(call: Call<'_>, request: HeartbeatRequest) -> Result<Answer, Failure> {
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
    Ok(Answer::with_peers(peers, &response)?.event(renewed(&[Ok(lease)])))
}

async fn many(call: Call<'_>, request: HeartbeatsRequest) -> Result<Answer, Failure> {
    let page = call.page(request.discover).await?;
    let peer_ids = request.peer_ids.as_slice();
    let leases = call.registry.heartbeats(peer_ids, call.now).await;
    // Where the store answered for nobody, there is nothing to tell apart.
    if let Some(Err(error)) = leases.first()
        && leases.iter().all(|lease| matches!(lease, Err(Error::Store(_))))
    {
        return Err(error.clone().into());
    }
    let (peers, figures) = page.turn(&call).await?;
    let event = renewed(&leases);
    let response = HeartbeatsResponse {
        message: "Heartbeats updated".to_owned(),
        timestamp: call.now,
        renewed: leases.iter().filter(|lease| lease.is_ok()).count(),
        results: peer_ids.iter().zip(leases).map(|(peer_id, lease)| result(peer_id, lease)).collect(),
        page: figures,
    };
    Ok(Answer::with_peers(peers, &response)?.event(event))
}

fn result(peer_id: &PeerId, lease: Result<Renewed, Error>) -> HeartbeatResult {
    let peer_id = peer_id.clone();
    match lease {
        Ok(lease) => HeartbeatResult::Renewed {
            peer_id,
            ttl_expires: lease.ttl_expires,
            ttl_seconds: lease.ttl,
            heartbeat_interval_seconds: lease.heartbeat_interval_seconds,
        },
        Err(error) => {
            let refusal = Failure::from(error).refusal;
            HeartbeatResult::Refused { peer_id, error: refusal.message.into_owned(), code: refusal.code }
        }
    }
}

fn renewed(leases: &[Result<Renewed, Error>]) -> Event {
    let all = leases.iter().flatten();
    let revived = all.clone().filter(|lease| lease.revived).count();
    Event::Renewed { renewed: all.count() - revived, revived }
}
