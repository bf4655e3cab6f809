//! `GET /sd/prometheus`: the live peers as targets for Prometheus (`http_sd_configs`).

use aurora_discovery_protocol::{Address, Archetype, DiscoverRequest, Invalid, Order, Peer, View};
use axum::response::Response;
use http::Uri;
use serde::Serialize;

use super::context::Context;
use crate::error::Failure;
use crate::query::parameters;
use crate::response::json;

/// The maximum number of peers that may match. Prometheus requests all of them at once, and a
/// longer list could take much of the service's time and memory.
const MAX_PEERS: usize = 10_000;

/// A target and its labels, as Prometheus reads them.
#[derive(Serialize)]
struct TargetGroup {
    targets: [String; 1],
    labels: Labels,
}

#[derive(Serialize)]
struct Labels {
    __meta_aurora_peer_id: String,
    /// The archetypes with a comma before and after each. Prometheus formats lists of tags like
    /// this, so that a rule can match one tag between commas.
    __meta_aurora_archetypes: String,
}

pub(crate) async fn prometheus(context: Context, uri: Uri) -> Result<Response, Failure> {
    let mut parameters = parameters(uri.query().unwrap_or_default())?;
    // As everywhere, unknown parameters are ignored.
    parameters.retain(|(name, _)| name == "archetype");
    let bounds = context.registry().limits().discover;
    let request = DiscoverRequest::from_parameters(parameters.into_iter(), bounds)?;
    let mut request =
        DiscoverRequest { order: Order::All, limit: bounds.max, view: View::Observer, ..request };
    let (mut groups, mut matching) = (Vec::new(), 0);
    loop {
        context.may_make_page(request.limit).await?;
        let page = context.registry().discover(request.clone(), context.now).await?;
        let peers: Vec<Peer> = serde_json::from_slice(&page.peers.to_array())?;
        matching += peers.len();
        groups.extend(peers.iter().filter(|peer| peer.port > 0).map(group));
        if matching > MAX_PEERS {
            let rule = Invalid::rule("must select fewer peers: more than 10000 match");
            return Err(rule.in_parameter("archetype").into());
        }
        match page.info.next_cursor {
            Some(cursor) => request.cursor = Some(cursor),
            None => break,
        }
    }
    json(&groups)
}

fn group(peer: &Peer) -> TargetGroup {
    let target = match &peer.address {
        Address::Ip(ip) if ip.is_ipv6() => format!("[{ip}]:{}", peer.port),
        address => format!("{address}:{}", peer.port),
    };
    let archetypes = peer.archetypes.as_slice().iter().map(Archetype::as_str).map(|name| format!("{name},"));
    TargetGroup {
        targets: [target],
        labels: Labels {
            __meta_aurora_peer_id: peer.peer_id.to_string(),
            __meta_aurora_archetypes: std::iter::once(",".to_owned()).chain(archetypes).collect(),
        },
    }
}
