//! A page of peers that a registration or a heartbeat requests and gets in its response.

use aurora_discovery_protocol::{DiscoverRequest, PageInfo, PeerList, View};
use aurora_discovery_registry::{Discovered, Writes};

use super::context::Context;
use crate::error::Failure;

/// The page that a request may ask for in its body.
pub(super) enum InlinePage {
    /// The request asks for no page.
    None,
    /// The page is fetched after the request has taken effect. `Writes` are the changes that the
    /// request makes to the store. On a store whose reads and writes cost money, a request with
    /// more writes gets a smaller page, so that the total cost of a request is bounded.
    Requested(DiscoverRequest, Writes),
    /// The page was fetched, in this view, before the request took effect.
    Fetched(Discovered, View),
}

impl InlinePage {
    /// Prepares the page before the request changes anything.
    ///
    /// A cursor may be rejected, and a rejected request must not change anything, so a page with a
    /// cursor is fetched now. Any other page is fetched afterwards, so that it shows the effect of
    /// the request.
    pub(super) async fn begin(
        context: &Context,
        request: Option<DiscoverRequest>,
        writes: Writes,
    ) -> Result<Self, Failure> {
        if let Some(request) = &request {
            context.may_read()?;
            context.may_make_page(request.limit).await?;
        }
        Ok(match request {
            None => Self::None,
            Some(request) if request.cursor.is_none() => Self::Requested(request, writes),
            Some(request) => {
                let view = request.view;
                Self::Fetched(context.registry().discover_beside(writes, request, context.now).await?, view)
            }
        })
    }

    /// The list of peers and the figures about it. The handler calls this after the request has
    /// taken effect.
    pub(super) async fn finish(
        self,
        context: &Context,
    ) -> Result<(Option<PeerList>, Option<PageInfo>), Failure> {
        let (Discovered { peers, info }, view) = match self {
            Self::None => return Ok((None, None)),
            Self::Requested(request, writes) => {
                let view = request.view;
                (context.registry().discover_beside(writes, request, context.now).await?, view)
            }
            Self::Fetched(page, view) => (page, view),
        };
        context.count_page(view);
        Ok((Some(peers), Some(info)))
    }
}
