//! Handles SIGHUP: reloads the certificate, its key, the API keys and the filter of the log, and
//! reopens the audit log.

use std::env;
use std::sync::Arc;

use aurora_discovery_http::{AuditLog, KeyFile, Tls};
use aurora_discovery_settings::ParseError;
use tokio::task::spawn_blocking;

use crate::args::Command;
use crate::log::Log;
use crate::settings;

/// Reloads everything, and logs the result. If a file can't be used, its previous content stays in
/// effect.
pub(super) async fn reload(log: &Log, tls: Option<Arc<Tls>>, keys: Option<KeyFile>, audit: Option<AuditLog>) {
    if let Some(audit) = audit {
        audit.reopen();
    }
    // Parsing the settings reads a file and resolves host names. If the runtime shuts down, the
    // results do not matter.
    let settings = spawn_blocking(|| settings::parse(env::args_os()).map(|args| args.command));
    if let Ok(settings) = settings.await {
        set_filter(log, settings);
    }
    if let Some(tls) = tls {
        let _ = spawn_blocking(move || reload_certificate(&tls)).await;
    }
    if let Some(keys) = keys {
        let _ = spawn_blocking(move || reload_keys(&keys)).await;
    }
}

fn reload_keys(keys: &KeyFile) {
    match keys.reload() {
        Ok(count) => tracing::info!(keys = count, "read the API keys again"),
        Err(error) => {
            tracing::error!(cause = %error, "the API keys can't be read again; the previous ones stay in use");
        }
    }
}

/// Applies the log filter of the settings file, which may have changed. Flags and the environment
/// can't change.
fn set_filter(log: &Log, settings: Result<Command, ParseError>) {
    match settings {
        Ok(Command::Serve(args)) => {
            tracing::info!(filter = %args.log.log, "read the settings of the log again");
            log.set_filter(args.log.log);
        }
        // This can't happen, because the command line still names `serve`.
        Ok(_) => {}
        Err(error) => {
            tracing::error!(cause = %error, "the settings can't be read again; the log stays as it is");
        }
    }
}

fn reload_certificate(tls: &Tls) {
    match tls.reload() {
        Ok(_) => tracing::info!(expires_at = tls.expires_at(), "read the certificate and its key again"),
        Err(error) => tracing::error!(
            cause = %error,
            "the certificate can't be read again; the previous one stays in use"
        ),
    }
}
