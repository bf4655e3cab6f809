//! `GET /discover`: who is there, or with `since` who came and went.

use aurora_protocol::{DeltaFigures, DiscoverResponse, FollowRequest, delta_body};
use aurora_registry::{Changed, Discovered};

use crate::answer::Answer;
use crate::call::{Asked, Call};
use crate::error::Failure;

pub(crate) async fn discover(call: Call<'_>) -> Result<Answer, Failure> {
    let request = match call.query()? {
        Asked::Page(request) => request,
        Asked::Changes(request) => return changes(&call, request),
    };
    let Discovered { peers, figures } = call.registry.discover(request, call.now).await?;
    call.metrics.paged();
    Answer::with_peers(Some(peers), &DiscoverResponse { page: figures, timestamp: call.now })
}

fn changes(call: &Call<'_>, request: FollowRequest) -> Result<Answer, Failure> {
    let Changed { joined, changed, left, since, more } = call.registry.changes(request, call.now)?;
    call.metrics.followed();
    let count = joined.len() + changed.len() + left.len();
    let figures = DeltaFigures { count, since, more, timestamp: call.now };
    Ok(Answer::written(delta_body(&joined, &changed, &left, &figures)?))
}
