//! The arguments of `serve`.

use std::path::PathBuf;

use aurora_discovery_settings::{
    EmbeddedArgs, LogArgs, RegistryArgs, ServerArgs, ServiceArgs, Sources, TableArgs,
};
use clap::{Args, ValueEnum};

use super::data::default_directory;
use crate::log::LogFormat;

/// Settings of `serve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    /// Read settings from this TOML file, under the names of the flags.
    #[arg(long, env = "AURORA_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// What keeps the registry: this process, or a DynamoDB table that any number of processes share.
    #[arg(long, env = "AURORA_STORE", default_value = "embedded", value_name = "STORE")]
    pub(crate) store: StoreKind,
    /// Where to keep the registry; left out: `aurora-discovery` in the user's data directory.
    #[arg(long, env = "AURORA_DATA", value_name = "DIRECTORY")]
    pub(crate) data: Option<PathBuf>,
    /// Keep the registry in memory only: it ends with the process.
    #[arg(long, env = "AURORA_MEMORY")]
    pub(crate) memory: bool,
    /// Start although records in the middle of the journal are damaged, without them.
    #[arg(long, env = "AURORA_DROP_DAMAGED")]
    pub(crate) drop_damaged: bool,
    #[command(flatten)]
    pub(crate) table: TableArgs,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    #[command(flatten)]
    pub(crate) embedded: EmbeddedArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    /// How it is logged, on standard error; auto: text on a terminal, JSON otherwise.
    #[arg(long, env = "AURORA_LOG_FORMAT", default_value = "auto", value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,

    /// The source of each value.
    #[arg(skip)]
    pub(crate) sources: Sources,
}

impl ServeArgs {
    /// The directory of the registry; `None` for a registry in memory.
    pub(super) fn directory(&self) -> Option<PathBuf> {
        (!self.memory).then(|| self.data.clone().unwrap_or_else(default_directory))
    }
}

/// What keeps the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreKind {
    /// This process, in memory and on its disk.
    Embedded,
    /// A DynamoDB table.
    Dynamodb,
}
