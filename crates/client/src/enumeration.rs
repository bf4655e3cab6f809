//! Enumerations of all peers, page by page.

use aurora_discovery_protocol::{DiscoverRequest, DiscoverResponse, Peer};
use futures_util::stream::{self, Stream, TryStreamExt as _};

use crate::{Client, Error};

/// An enumeration of all live peers that match a query. A peer that is live during the whole
/// enumeration is listed exactly once.
///
/// Read it page by page with [`Enumeration::next_page`], or as a `Stream` of [pages] or [peers]. In
/// each case one page is held in memory at a time.
///
/// [pages]: Enumeration::pages
/// [peers]: Enumeration::peers
#[derive(Clone, Debug)]
pub struct Enumeration {
    client: Client,
    /// The next request, or `None` after the last page.
    next: Option<DiscoverRequest>,
}

impl Enumeration {
    pub(crate) fn new(client: Client, request: DiscoverRequest) -> Self {
        Self { client, next: Some(request) }
    }

    /// The next page, or `None` after the last one. After an error, another call requests the same
    /// page again. After `cursor_expired`, the caller has to start a new enumeration.
    ///
    /// # Errors
    /// See [`Error`].
    ///
    /// # Cancel safety
    /// If the future is dropped, no page is lost: the next call requests the same page again.
    pub async fn next_page(&mut self) -> Result<Option<DiscoverResponse>, Error> {
        let Some(request) = &self.next else { return Ok(None) };
        let response = self.client.discover(request).await?;
        let cursor = response.page.info.next_cursor.clone();
        if cursor.is_some() && cursor == request.cursor {
            return Err(self.client.transport().endpoint().malformed(
                200,
                &"the cursor of the next page is that of this one, so the list would not end",
            ));
        }
        self.next = cursor.map(|cursor| DiscoverRequest { cursor: Some(cursor), ..request.clone() });
        Ok(Some(response))
    }

    /// The pages as a stream, which ends after the last page or the first error.
    ///
    /// # Cancel safety
    /// If a future that waits for the next item is dropped, no item is lost.
    pub fn pages(self) -> impl Stream<Item = Result<DiscoverResponse, Error>> + Send + Unpin {
        Box::pin(stream::try_unfold(self, |mut pages| async move {
            Ok(pages.next_page().await?.map(|page| (page, pages)))
        }))
    }

    /// The peers of all pages as a stream, which ends after the last peer or the first error. A
    /// page is requested when the peers of the previous one have been taken.
    ///
    /// # Cancel safety
    /// If a future that waits for the next item is dropped, no item is lost.
    pub fn peers(self) -> impl Stream<Item = Result<Peer, Error>> + Send + Unpin {
        self.pages().map_ok(|response| stream::iter(response.page.peers.into_iter().map(Ok))).try_flatten()
    }
}
