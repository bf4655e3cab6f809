//! `GET /discover`

use aurora_protocol::DiscoverResponse;
use aurora_registry::Discovered;

use crate::answer::Answer;
use crate::call::Call;
use crate::error::Failure;

pub(crate) async fn discover(call: Call<'_>) -> Result<Answer, Failure> {
    let request = call.query()?;
    let Discovered { peers, figures } = call.registry.discover(request, call.now).await?;
    call.metrics.paged();
    Answer::with_peers(Some(peers), &DiscoverResponse { page: figures, timestamp: call.now })
}
