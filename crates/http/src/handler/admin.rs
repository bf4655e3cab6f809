//! `POST /admin/evict`, `POST /admin/block`, `POST /admin/unblock` and `GET /admin/blocks`: the
//! requests of operators.

use aurora_discovery_protocol::{
    BlockRequest, BlockResponse, BlocksResponse, EvictResponse, SubjectRequest, UnblockResponse,
};
use axum::response::Response;

use super::context::Context;
use crate::audit::{Action, Audited};
use crate::error::Failure;
use crate::request_context::RequestBody;
use crate::response::json;

pub(crate) async fn evict(context: Context, RequestBody(body): RequestBody) -> Result<Response, Failure> {
    let SubjectRequest { subject } = SubjectRequest::from_body(&body)?;
    let evicted = context.registry().evict(&subject, context.now).await?;
    context.metrics().evicted_by_operator(evicted);
    let evicted = evicted.total();
    let response = json(&EvictResponse { message: "Peers evicted".to_owned(), evicted })?;
    Ok(Audited { subject: Some(subject), evicted: Some(evicted), ..Action::Evicted.into() }.on(response))
}

pub(crate) async fn block(context: Context, RequestBody(body): RequestBody) -> Result<Response, Failure> {
    let request = BlockRequest::from_body(&body)?;
    let (subject, reason, duration) = (request.subject.clone(), request.reason.clone(), request.duration);
    let by = context.access.key_name().map_or("", AsRef::as_ref);
    let evicted = context.registry().block(request, by, context.now).await?;
    context.metrics().evicted_by_operator(evicted);
    let evicted = evicted.total();
    let response = json(&BlockResponse { message: "Blocked".to_owned(), evicted })?;
    let audited = Audited {
        subject: Some(subject),
        evicted: Some(evicted),
        reason: Some(reason),
        duration_seconds: Some(duration.as_secs()),
        ..Action::Blocked.into()
    };
    Ok(audited.on(response))
}

pub(crate) async fn unblock(context: Context, RequestBody(body): RequestBody) -> Result<Response, Failure> {
    let SubjectRequest { subject } = SubjectRequest::from_body(&body)?;
    context.registry().unblock(&subject, context.now).await?;
    let response = json(&UnblockResponse { message: "Unblocked".to_owned() })?;
    Ok(Audited { subject: Some(subject), ..Action::Unblocked.into() }.on(response))
}

pub(crate) async fn blocks(context: Context) -> Result<Response, Failure> {
    let blocks = context.registry().blocks(context.now).await?;
    json(&BlocksResponse { count: blocks.len(), blocks })
}
