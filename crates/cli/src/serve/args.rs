//! The arguments of `serve`.

use std::path::PathBuf;

use aurora_discovery_settings::{
    EmbeddedArgs, LogArgs, RegistryArgs, ServerArgs, ServiceArgs, Sources, TableArgs, ValkeyArgs,
};
use clap::{Args, ValueEnum};

use super::data::default_directory;
use crate::failure::Failure;
use crate::log::LogFormat;

/// Settings of `serve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    /// Read settings from this TOML file, whose keys are the names of the flags.
    #[arg(long, env = "AURORA_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Where registrations are stored: in this process, or on a Valkey server or a DynamoDB table
    /// that several processes can share.
    #[arg(long, env = "AURORA_STORE", default_value = "embedded", value_name = "STORE")]
    pub(crate) store: StoreKind,
    /// The data directory; by default systemd's `STATE_DIRECTORY`, or else `aurora-discovery` in
    /// the user's data directory.
    #[arg(long, env = "AURORA_DATA", value_name = "DIRECTORY")]
    pub(crate) data: Option<PathBuf>,
    /// Store everything in memory; the data is lost when the process ends.
    #[arg(long, env = "AURORA_MEMORY")]
    pub(crate) memory: bool,
    /// Start even if records in the middle of the journal are damaged, and drop these records.
    #[arg(long, env = "AURORA_DROP_DAMAGED")]
    pub(crate) drop_damaged: bool,
    #[command(flatten)]
    pub(crate) valkey: ValkeyArgs,
    #[command(flatten)]
    pub(crate) table: TableArgs,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    #[command(flatten)]
    pub(crate) embedded: EmbeddedArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Serve HTTPS with a certificate for this machine that the service makes itself and keeps in
    /// the data directory; clients trust it with --ca-cert.
    #[arg(long, env = "AURORA_TLS_SELF_SIGNED")]
    pub(crate) tls_self_signed: bool,
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    /// The format of the log on standard error; auto means text on a terminal and JSON otherwise.
    #[arg(long, env = "AURORA_LOG_FORMAT", default_value = "auto", value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,

    /// The source of each value.
    #[arg(skip)]
    pub(crate) sources: Sources,
}

impl ServeArgs {
    /// The directory of the registry; `None` for a registry in memory.
    ///
    /// # Errors
    /// If neither a setting nor the environment names a directory. The current directory is not a
    /// default: a start from another one would find no peers.
    pub(super) fn directory(&self) -> Result<Option<PathBuf>, Failure> {
        if self.memory {
            return Ok(None);
        }
        let directory = self.data.clone().or_else(default_directory);
        let rule = "is required, because none of STATE_DIRECTORY, XDG_DATA_HOME and HOME is set; name a \
                    directory, or use --memory to store nothing";
        directory.map(Some).ok_or_else(|| Failure::flag(self.sources.name("data"), rule))
    }
}

/// Where registrations are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreKind {
    /// This process, in memory and on its disk.
    Embedded,
    /// A Valkey server.
    Valkey,
    /// A DynamoDB table.
    Dynamodb,
}
