//! `POST /heartbeat`: renews the lease of one peer or of several.

use aurora_discovery_protocol::{
    Heartbeat, HeartbeatRequest, HeartbeatResponse, HeartbeatResult, HeartbeatsRequest, HeartbeatsResponse,
    Mail, PeerId,
};
use aurora_discovery_registry::{Error, GrantedLease, Writes};
use axum::response::Response;

use super::context::Context;
use super::inline_page::InlinePage;
use crate::audit::RefusedPeers;
use crate::error::Failure;
use crate::mail::listed;
use crate::rate::Charge;
use crate::request_context::RequestBody;
use crate::response::json_with_peers;

pub(crate) async fn heartbeat(context: Context, RequestBody(body): RequestBody) -> Result<Response, Failure> {
    match Heartbeat::from_body(&body, context.registry().limits().inline_discover)? {
        Heartbeat::One(request) => renew_one(context, request).await,
        Heartbeat::Many(request) => renew_batch(context, request).await,
    }
}

async fn renew_one(context: Context, mut request: HeartbeatRequest) -> Result<Response, Failure> {
    // If the request has a cursor, `begin` fetches the page now: an invalid cursor must fail the
    // request before it renews the lease.
    let page = InlinePage::begin(&context, request.discover.take(), Writes::Renewals(1)).await?;
    let token = request.lease_token.as_ref();
    let lease = context.registry().heartbeat(&request.peer_id, token, &context.caller, context.now).await?;
    let mail = waiting_mail(&context, &request).await;
    let (peers, figures) = page.finish(&context).await?;
    context.metrics().renewed([&lease]);
    let response = HeartbeatResponse {
        message: "Heartbeat updated".to_owned(),
        ttl_expires: lease.ttl_expires,
        ttl_seconds: lease.ttl,
        heartbeat_interval_seconds: lease.heartbeat_interval_seconds,
        timestamp: context.timestamp(),
        observed_address: Some(context.caller.address),
        // Only peers with a mailbox need these servers, and `mail` is `Some` only for such a peer.
        ice_servers: mail.as_ref().and_then(|_| context.ice_servers(&request.peer_id)),
        mail,
        page: figures,
        peer_id: request.peer_id,
    };
    json_with_peers(peers, &response)
}

/// The messages that wait for the peer, if the heartbeat asks for them. `None` also if reading them
/// fails. The lease is renewed already, so the heartbeat then succeeds without messages.
async fn waiting_mail(context: &Context, request: &HeartbeatRequest) -> Option<Vec<Mail>> {
    let token = request.lease_token.as_ref().filter(|_| request.mail)?;
    let (peer, acknowledged) = (&request.peer_id, request.acknowledge.as_slice());
    let letters =
        context.registry().collect_mail(peer, token, acknowledged, &context.caller, context.now).await;
    letters.ok().map(|letters| listed(letters, context.now))
}

async fn renew_batch(context: Context, request: HeartbeatsRequest) -> Result<Response, Failure> {
    // The service has already counted the request as one heartbeat. The other peers are counted
    // here.
    let count = request.peer_ids.as_slice().len();
    context.service.rates.take(Charge::Heartbeats, context.caller.address, count.saturating_sub(1))?;
    let page = InlinePage::begin(&context, request.discover, Writes::Renewals(count)).await?;
    let leases = context.registry().heartbeats(&request.peer_ids, &context.caller, context.now).await;
    // If the store failed for every peer, the request fails as a whole.
    if let Some(Err(error)) = leases.first()
        && leases.iter().all(|lease| matches!(lease, Err(Error::Store(_))))
    {
        return Err(error.clone().into());
    }
    let (peers, figures) = page.finish(&context).await?;
    context.metrics().renewed(leases.iter().flatten());
    let renewed = leases.iter().filter(|lease| lease.is_ok()).count();
    let entries = request.peer_ids.as_slice();
    let results: Vec<_> =
        entries.iter().zip(leases).map(|(entry, lease)| result(&entry.peer_id, lease)).collect();
    let refused = context.service.options.audit.as_ref().map(|_| refused(&results));
    let response = HeartbeatsResponse {
        message: "Heartbeats updated".to_owned(),
        timestamp: context.timestamp(),
        observed_address: Some(context.caller.address),
        renewed,
        results,
        page: figures,
    };
    let mut response = json_with_peers(peers, &response)?;
    if let Some(refused) = refused {
        response.extensions_mut().insert(refused);
    }
    Ok(response)
}

/// The peers whose renewals were refused, with the code of each refusal, for the audit log.
fn refused(results: &[HeartbeatResult]) -> RefusedPeers {
    let refused = |result: &HeartbeatResult| match result {
        HeartbeatResult::Refused { peer_id, code, .. } => Some((peer_id.clone(), *code)),
        HeartbeatResult::Renewed { .. } => None,
    };
    RefusedPeers(results.iter().filter_map(refused).collect())
}

fn result(peer_id: &PeerId, lease: Result<GrantedLease, Error>) -> HeartbeatResult {
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
