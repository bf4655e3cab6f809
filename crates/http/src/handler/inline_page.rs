//! A page of peers that is asked for, and answered, along with a registration or a heartbeat.

use aurora_protocol::{DiscoverRequest, PageFigures, PeerList};
use aurora_registry::Discovered;

use super::context::Context;
use crate::error::Failure;

/// The page that comes along with a request, if one was asked for.
pub(super) enum InlinePage {
    None,
    Requested(DiscoverRequest),
    Fetched(Discovered),
}

impl InlinePage {
    /// Takes up the page before its request changes anything.
    ///
    /// A cursor may be refused, and a refused request must not have changed anything: such a page
    /// is fetched now. Any other is fetched afterwards, so that it shows what the request did.
    pub(super) async fn begin(context: &Context, request: Option<DiscoverRequest>) -> Result<Self, Failure> {
        Ok(match request {
            None => Self::None,
            Some(request) if request.cursor.is_none() => Self::Requested(request),
            Some(request) => Self::Fetched(context.registry().discover(request, context.now).await?),
        })
    }

    /// The list and its figures, once the request is carried out.
    pub(super) async fn finish(
        self,
        context: &Context,
    ) -> Result<(Option<PeerList>, Option<PageFigures>), Failure> {
        let Discovered { peers, figures } = match self {
            Self::None => return Ok((None, None)),
            Self::Requested(request) => context.registry().discover(request, context.now).await?,
            Self::Fetched(page) => page,
        };
        context.metrics().pages.inc();
        Ok((Some(peers), Some(figures)))
    }
}
