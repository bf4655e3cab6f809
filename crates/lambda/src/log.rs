//! The log: JSON lines on standard error, which Lambda forwards to CloudWatch.

use std::io;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, registry};

use crate::settings::SettingsError;

/// Starts the log.
pub(crate) fn start(filter: Targets) -> Result<(), SettingsError> {
    let lines = layer().json().flatten_event(true).with_writer(io::stderr).with_filter(filter);
    let started = registry().with(lines).try_init();
    started.map_err(|error| SettingsError::new(format!("the log cannot be started: {error}")))
}
