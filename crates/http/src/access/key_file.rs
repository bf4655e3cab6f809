//! The file with the API keys. The operator can make the service read it again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{InvalidKeys, KeyRing, Keys};

/// Why a file of keys can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A line of the file is not a valid key.
    #[error("{}: {source}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The number of the line, and what is wrong with it.
        source: InvalidKeys,
    },
}

/// A file with API keys, and the keys in use.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
    ring: KeyRing,
}

impl KeyFile {
    /// Reads the keys of a file.
    ///
    /// # Errors
    /// The file can't be read, or one of its lines is not a valid key. The error has that line's
    /// number.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        Ok(Self { path: path.to_owned(), ring: KeyRing::new(read(path)?) })
    }

    /// Reads the file again, and replaces the keys in use. Returns the number of keys in the file.
    ///
    /// # Errors
    /// The file can't be read or has an invalid line. The previous keys then stay in use.
    pub fn reload(&self) -> Result<usize, KeyFileError> {
        let keys = read(&self.path)?;
        let count = keys.len();
        self.ring.replace(keys);
        Ok(count)
    }

    pub(crate) fn ring(&self) -> &KeyRing {
        &self.ring
    }
}

fn read(path: &Path) -> Result<Keys, KeyFileError> {
    let text =
        fs::read_to_string(path).map_err(|source| KeyFileError::Read { path: path.to_owned(), source })?;
    Keys::parse(&text).map_err(|source| KeyFileError::Invalid { path: path.to_owned(), source })
}
