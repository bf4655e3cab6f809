//! `GET /network`

use aurora_discovery_protocol::NetworkResponse;
use axum::response::Response;

use super::context::Context;
use crate::error::Failure;
use crate::network::figures;
use crate::response::json;

pub(crate) async fn network(context: Context) -> Result<Response, Failure> {
    let census = context.registry().store().census(NetworkResponse::MAX_ARCHETYPES, context.now).await?;
    json(&figures(&context.service, census, context.now))
}
