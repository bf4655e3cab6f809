//! The handlers, one for each path, and their common input.

mod admin;
mod context;
mod deregister;
mod discover;
mod health;
mod heartbeat;
mod inline_page;
mod mail;
mod network;
mod prometheus;
mod register;
mod watch;

use axum::body::Body;

pub(crate) use admin::{block, blocks, evict, unblock};
pub(crate) use deregister::deregister;
pub(crate) use discover::discover;
pub(crate) use health::{health, livez, readyz};
pub(crate) use heartbeat::heartbeat;
pub(crate) use mail::{mail, mailbox};
pub(crate) use network::network;
pub(crate) use prometheus::prometheus;
pub(crate) use register::register;
pub(crate) use watch::watch;

use crate::error::Failure;
use crate::gzip::decompress;

/// `GET /openapi.json`: the description of the API (`openapi.json` of this crate), which the binary
/// contains compressed.
pub(crate) async fn openapi() -> Result<Body, Failure> {
    let compressed = include_bytes!(concat!(env!("OUT_DIR"), "/openapi.json.gz"));
    let document = decompress(compressed).map_err(|error| Failure::internal(error.to_string()))?;
    Ok(Body::from(document))
}
