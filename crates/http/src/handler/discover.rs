//! `GET /discover`: the live peers, or the changes since a cursor (`since`).

use aurora_discovery_protocol::{
    ChangesRequest, DeltaInfo, DiscoverRequest, DiscoverResponse, View, delta_body,
};
use aurora_discovery_registry::{ChangesPage, Discovered};
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
    if parameters.iter().any(|(name, _)| name == ChangesRequest::SINCE) {
        let request = ChangesRequest::from_parameters(parameters.into_iter(), bounds)?;
        context.may_make_page(request.limit).await?;
        return changes(&context, request);
    }
    let request = DiscoverRequest::from_parameters(parameters.into_iter(), bounds)?;
    context.may_make_page(request.limit).await?;
    let view = request.view;
    let Discovered { peers, info } = context.registry().discover(request, context.now).await?;
    context.count_page(view);
    json_with_peers(Some(peers), &DiscoverResponse { page: info, timestamp: context.timestamp() })
}

fn changes(context: &Context, request: ChangesRequest) -> Result<Response, Failure> {
    let is_observer = request.view == View::Observer;
    let ChangesPage { joined, changed, left, since, more } =
        context.registry().changes(request, context.now)?;
    if !is_observer {
        context.metrics().deltas.inc();
    }
    let count = joined.len() + changed.len() + left.len();
    let figures = DeltaInfo { count, since, more, timestamp: context.timestamp() };
    Ok(Response::new(Body::from(delta_body(&joined, &changed, &left, &figures)?)))
}
