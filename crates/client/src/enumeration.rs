//! Enumerations of all peers, page by page.

use aurora_discovery_protocol::{DiscoverRequest, DiscoverResponse};

use crate::{Client, Error};

/// An enumeration of all live peers that match a query. Each peer that is live from its start to
/// its end is listed exactly once.
#[derive(Debug)]
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
    pub async fn next_page(&mut self) -> Result<Option<DiscoverResponse>, Error> {
        let Some(request) = &self.next else { return Ok(None) };
        let answer = self.client.discover(request).await?;
        let cursor = answer.page.info.next_cursor.clone();
        if cursor.is_some() && cursor == request.cursor {
            return Err(self
                .client
                .unreadable(200, &"the cursor does not move on, so the list would never end"));
        }
        self.next = cursor.map(|cursor| DiscoverRequest { cursor: Some(cursor), ..request.clone() });
        Ok(Some(answer))
    }
}
