//! `GET /discover`: the live peers, or the changes since a cursor (`since`).

use aurora_discovery_protocol::{DeltaFigures, DiscoverRequest, DiscoverResponse, FollowRequest, delta_body};
use aurora_discovery_registry::{Changed, Discovered};
use axum::body::Body;
use axum::response::Response;
use http::Uri;

use super::context::Context;
use crate::error::Failure;
use crate::query::parameters;
use crate::response::json_with_peers;

pub(crate) async fn discover(context: Context, uri: Uri) -> Result<Response, Failure> {
    let parameters = parameters(uri.query().unwrap_or_default())?;
    let bounds = context.registry().limits().discover;
    if parameters.iter().any(|(name, _)| name == FollowRequest::SINCE) {
        return changes(&context, FollowRequest::from_parameters(parameters.into_iter(), bounds)?);
    }
    let request = DiscoverRequest::from_parameters(parameters.into_iter(), bounds)?;
    let Discovered { peers, figures } = context.registry().discover(request, context.now).await?;
    context.metrics().pages.inc();
    json_with_peers(Some(peers), &DiscoverResponse { page: figures, timestamp: context.now })
}

fn changes(context: &Context, request: FollowRequest) -> Result<Response, Failure> {
    let Changed { joined, changed, left, since, more } = context.registry().changes(request, context.now)?;
    context.metrics().deltas.inc();
    let count = joined.len() + changed.len() + left.len();
    let figures = DeltaFigures { count, since, more, timestamp: context.now };
    Ok(Response::new(Body::from(delta_body(&joined, &changed, &left, &figures)?)))
}
