//! The settings of Aurora Discovery, each declared once.
//!
//! A setting is a field of one of the [`clap::Args`] groups of this crate: [`RegistryArgs`],
//! [`EmbeddedArgs`], [`TableArgs`], [`ServiceArgs`], [`ServerArgs`] and [`LogArgs`]. That
//! declaration provides its flag, its environment variable, its key in the settings file, its
//! default, its rule and its documentation. `serve` includes all groups. The function on AWS Lambda
//! includes those that apply to it, and reads them with [`parse`] and no arguments, that is, from
//! the environment only.
//!
//! Flags take precedence over the environment, the environment over the file, and the file over the
//! default. An environment variable that is set but empty counts as unset, because templates and
//! Compose files leave empty variables for settings without a value. [`Sources`] records which of
//! them was used, so that an error can name it.

mod environment;
#[cfg(feature = "file")]
mod file;
mod limits;
mod log;
mod markdown;
mod rule;
mod server;
mod service;
mod source;
mod table;

pub use environment::{ParseError, allow_values, ignore_empty, matches, parse};
#[cfg(feature = "file")]
pub use file::SettingsFile;
pub use limits::{EmbeddedArgs, RegistryArgs};
pub use log::LogArgs;
pub use markdown::markdown;
pub use server::ServerArgs;
pub use service::ServiceArgs;
pub use source::{Source, Sources};
pub use table::TableArgs;

/// A setting that breaks its rule, as a sentence that names its source and the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingError(String);

impl SettingError {
    /// The error with this text.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}
