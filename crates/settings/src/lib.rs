#![doc = include_str!("../README.md")]

mod environment;
#[cfg(feature = "file")]
mod file;
mod limits;
mod listen;
mod log;
mod markdown;
mod rule;
mod server;
mod service;
mod source;
mod table;
mod unknown;
mod valkey;

pub use environment::{ParseError, allow_switch_values, ignore_empty_variables, matches, parse};
#[cfg(feature = "file")]
pub use file::SettingsFile;
pub use limits::{EmbeddedArgs, RegistryArgs};
pub use log::LogArgs;
pub use markdown::markdown_table;
pub use server::{ServerArgs, UrlList, stun_urls, turn_urls};
pub use service::ServiceArgs;
pub use source::{Source, Sources};
pub use table::TableArgs;
pub use unknown::unknown_variables;
pub use valkey::ValkeyArgs;

/// A setting that breaks its rule, as a sentence that names its source and the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingError(String);

impl SettingError {
    /// An error with this text.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}
