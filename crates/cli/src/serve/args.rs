//! The arguments of `serve`.

use std::path::PathBuf;

use aurora_discovery_settings::{
    EmbeddedArgs, LogArgs, RegistryArgs, ServerArgs, ServiceArgs, Sources, TableArgs, ValkeyArgs,
};
use clap::{Args, ValueEnum};

use super::data::data_directory;
use crate::failure::Failure;
use crate::log::LogFormat;

/// Settings of `serve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    /// Read settings from this TOML file, whose keys are the names of the flags.
    #[arg(long, env = "AURORA_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Check the settings and the certificate, and end without starting the service.
    #[arg(long, conflicts_with = "print_config")]
    pub(crate) check: bool,
    /// Print the effective settings with their sources, as a settings file, and end without
    /// starting the service.
    #[arg(long)]
    pub(crate) print_config: bool,

    /// Where registrations are stored: in this process, or on a Valkey server or a DynamoDB table
    /// that several processes can share.
    #[arg(
        long,
        env = "AURORA_STORE",
        default_value = "embedded",
        value_name = "STORE",
        help_heading = "Store"
    )]
    pub(crate) store: StoreKind,
    /// The data directory; by default systemd's `STATE_DIRECTORY`, or else `aurora-discovery` in
    /// the user's data directory.
    #[arg(long, env = "AURORA_DATA", value_name = "DIRECTORY", help_heading = "Store")]
    pub(crate) data: Option<PathBuf>,
    /// Store everything in memory; the data is lost when the process ends.
    #[arg(long, env = "AURORA_MEMORY", help_heading = "Store")]
    pub(crate) memory: bool,
    /// Start even if records in the middle of the journal are damaged, and drop these records.
    #[arg(long, env = "AURORA_DROP_DAMAGED", help_heading = "Store")]
    pub(crate) drop_damaged: bool,
    #[command(flatten, next_help_heading = "Store")]
    pub(crate) valkey: ValkeyArgs,
    #[command(flatten, next_help_heading = "Store")]
    pub(crate) table: TableArgs,
    #[command(flatten, next_help_heading = "Leases and bounds")]
    pub(crate) registry: RegistryArgs,
    #[command(flatten, next_help_heading = "Bounds of the embedded store")]
    pub(crate) embedded: EmbeddedArgs,
    #[command(flatten, next_help_heading = "Connections")]
    pub(crate) server: ServerArgs,
    /// Serve HTTPS with a certificate for this machine that the service makes itself and keeps in
    /// the data directory; clients trust it with --ca-cert.
    #[arg(long, env = "AURORA_TLS_SELF_SIGNED", help_heading = "Connections")]
    pub(crate) tls_self_signed: bool,
    #[command(flatten, next_help_heading = "Requests and responses")]
    pub(crate) service: ServiceArgs,
    #[command(flatten, next_help_heading = "Log")]
    pub(crate) log: LogArgs,
    /// The format of the log on standard error; auto means text on a terminal and JSON otherwise.
    #[arg(
        long,
        env = "AURORA_LOG_FORMAT",
        default_value = "auto",
        value_name = "FORMAT",
        help_heading = "Log"
    )]
    pub(crate) log_format: LogFormat,

    /// The effective settings, as the text of a settings file.
    #[arg(skip)]
    pub(crate) effective: String,
    /// The source of each value.
    #[arg(skip)]
    pub(crate) sources: Sources,
}

impl ServeArgs {
    /// The directory of the registry; `None` for a registry in memory.
    ///
    /// # Errors
    /// If neither a setting nor the environment names a directory. The current directory is not the
    /// default, because a service that is started from another directory would find no peers.
    pub(super) fn directory(&self) -> Result<Option<PathBuf>, Failure> {
        if self.memory {
            return Ok(None);
        }
        data_directory(self.data.clone(), self.sources.name("data")).map(Some)
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
