//! `serve --check`: checks the settings without starting the service.

use aurora_discovery_http::{IceServers, KeyFile, Tls};

use super::StoreKind;
use super::args::ServeArgs;
use crate::failure::Failure;

/// Checks the settings, and that the certificate, its key, the file of API keys and the secret of
/// the TURN servers can be used. Opens neither a store nor a port.
///
/// # Errors
/// The error with which `serve` would end.
pub(super) fn check(args: &ServeArgs) -> Result<(), Failure> {
    let serving = args.server.options(&args.service, &args.sources)?;
    let limits = match args.store {
        StoreKind::Embedded => {
            args.directory()?;
            let mut limits = args.registry.limits(&args.sources)?;
            args.embedded.apply(&mut limits);
            limits
        }
        StoreKind::Valkey => {
            check_valkey(args)?;
            let mut limits = args.registry.limits(&args.sources)?;
            args.embedded.apply(&mut limits);
            limits
        }
        StoreKind::Dynamodb => {
            check_table(args)?;
            args.registry.table_limits(&args.sources)?
        }
    };
    limits.check().map_err(|error| Failure::Usage(error.to_string()))?;
    if let Some(files) = &serving.tls {
        Tls::load(files).map_err(Failure::other)?;
    }
    if let Some(file) = &serving.keys {
        KeyFile::load(file).map_err(Failure::other)?;
    }
    IceServers::load(&serving.ice).map_err(Failure::other)?;
    Ok(())
}

#[cfg(feature = "valkey")]
fn check_valkey(args: &ServeArgs) -> Result<(), Failure> {
    args.valkey.options(&args.sources)?;
    Ok(())
}

#[cfg(not(feature = "valkey"))]
fn check_valkey(args: &ServeArgs) -> Result<(), Failure> {
    Err(super::not_in_this_build(&args.sources, "valkey"))
}

#[cfg(feature = "dynamodb")]
fn check_table(args: &ServeArgs) -> Result<(), Failure> {
    args.table.options(&args.sources)?;
    Ok(())
}

#[cfg(not(feature = "dynamodb"))]
fn check_table(args: &ServeArgs) -> Result<(), Failure> {
    Err(super::not_in_this_build(&args.sources, "dynamodb"))
}
