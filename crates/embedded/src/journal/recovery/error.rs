//! Why a directory cannot be opened, and what the operator can do about it.

use std::io;
use std::sync::Arc;

use thiserror::Error;

use crate::disk::Disk;

/// Why a directory cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process uses the directory.
    #[error("{directory} is in use by another process; stop that process, or choose another directory")]
    Locked {
        /// The directory.
        directory: String,
    },
    /// A disk operation failed, or a thread could not be started.
    #[error("could not {action} {name} in {directory}: {source}")]
    Io {
        /// The operation, as a verb.
        action: &'static str,
        /// The file, or the words `the directory`.
        name: String,
        /// The directory.
        directory: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Data that was durable cannot be read.
    #[error(
        "{name} in {directory} is damaged at byte {offset} ({detail}); restore the directory from a backup, or start \
         once with the option drop-damaged, which loses the registrations in damaged batches"
    )]
    Damaged {
        /// The file.
        name: String,
        /// The directory.
        directory: String,
        /// Where the damaged batch begins, in bytes from the start of the file.
        offset: u64,
        /// A description of the damage.
        detail: String,
    },
    /// A newer version of the program wrote the file.
    #[error(
        "{name} in {directory} has format version {version}, which this release does not support; start the newer release that wrote it"
    )]
    OtherVersion {
        /// The file.
        name: String,
        /// The directory.
        directory: String,
        /// The version of the format.
        version: u32,
    },
}

/// Builds the errors for one directory.
pub(super) struct Errors {
    directory: String,
}

impl Errors {
    pub(super) fn new(disk: &Arc<dyn Disk>) -> Self {
        Self { directory: disk.location() }
    }

    pub(super) fn locked(&self) -> OpenError {
        OpenError::Locked { directory: self.directory.clone() }
    }

    pub(super) fn io(&self, action: &'static str, name: &str, source: io::Error) -> OpenError {
        OpenError::Io { action, name: name.to_owned(), directory: self.directory.clone(), source }
    }

    pub(super) fn damaged(&self, name: &str, offset: u64, detail: &str) -> OpenError {
        let (name, directory) = (name.to_owned(), self.directory.clone());
        OpenError::Damaged { name, directory, offset, detail: detail.to_owned() }
    }

    pub(super) fn other_version(&self, name: &str, version: u32) -> OpenError {
        OpenError::OtherVersion { name: name.to_owned(), directory: self.directory.clone(), version }
    }
}
