//! `health`.

use crate::connect::ConnectArgs;
use crate::escape::escape;
use crate::failure::Failure;
use crate::output::print;

/// Prints the service's health. Fails unless the service is healthy.
pub(crate) async fn run(args: ConnectArgs) -> Result<(), Failure> {
    let health = args.client()?.health().await?;
    let status = escape(&health.status);
    match &health.reason {
        Some(reason) => print(format_args!("{status}: {}", escape(reason)))?,
        None => print(&status)?,
    }
    if health.status == "healthy" { Ok(()) } else { Err(Failure::AlreadyReported) }
}
