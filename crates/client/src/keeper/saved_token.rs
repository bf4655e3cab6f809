//! The token file of a keeper, and the token that is in it.

use std::path::Path;

use aurora_discovery_protocol::LeaseToken;
use tokio::task::spawn_blocking;

use crate::{Error, TokenFile};

/// A token file, and the token that it contains now.
#[derive(Debug)]
pub(super) struct SavedToken {
    file: TokenFile,
    token: Option<LeaseToken>,
}

impl SavedToken {
    /// Reads the file and checks that it can be written.
    pub(super) fn open(file: TokenFile) -> Result<Self, Error> {
        let token = file.read()?;
        file.check_writable()?;
        Ok(Self { file, token })
    }

    pub(super) fn token(&self) -> Option<&LeaseToken> {
        self.token.as_ref()
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Writes `token`, unless it is in the file already.
    pub(super) async fn save(&mut self, token: &LeaseToken) -> Result<(), Error> {
        if self.token.as_ref() == Some(token) {
            return Ok(());
        }
        let (file, new) = (self.file.clone(), token.clone());
        let written = spawn_blocking(move || file.write(&new)).await;
        written.unwrap_or_else(|stopped| {
            // The runtime is shutting down.
            Err(Error::TokenFile { path: self.path().to_owned(), cause: stopped.to_string() })
        })?;
        self.token = Some(token.clone());
        Ok(())
    }
}
