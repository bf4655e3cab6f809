//! `bootstrap`: the HTTP API behind API Gateway (REST and HTTP) and function URLs, on a DynamoDB
//! table.
//!
//! The process reads its settings and builds the DynamoDB client, the store and the router once,
//! before it requests its first event. `lambda_runtime` fetches events and delivers responses, and
//! `lambda_http` translates between events and HTTP.

mod event;
mod handler;
mod init_error;
mod log;
mod metrics;
mod route;
mod settings;

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use aurora_discovery_dynamodb::{DynamoStore, connect};
use aurora_discovery_registry::Registry;
use lambda_runtime::{Runtime, service_fn};

use handler::Handler;
use settings::{Settings, SettingsError};

/// The variable in which Lambda passes the address of its Runtime API.
const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";

/// Why the process ends with an error.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("the async runtime cannot be started: {0}")]
    AsyncRuntime(#[from] io::Error),
    #[error("the Runtime API cannot be reached, or its response is malformed: {}", with_causes(.0.as_ref()))]
    RuntimeApi(lambda_runtime::Error),
}

fn main() -> ExitCode {
    if std::env::var_os(RUNTIME_API).is_none() {
        return report(&format!(
            "{RUNTIME_API} is not set: this program runs on AWS Lambda only; elsewhere, use `aurora-discovery serve`"
        ));
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure.to_string()),
    }
}

fn run() -> Result<(), Failure> {
    // One event at a time needs one thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let handler = match start().await {
            Ok(handler) => handler,
            Err(error) => {
                init_error::report(&error).await;
                return Err(error.into());
            }
        };
        let events = Runtime::new(service_fn(|event| handler.handle(event)));
        events.run().await.map_err(Failure::RuntimeApi)
    })
}

async fn start() -> Result<Handler, SettingsError> {
    let settings = Settings::read()?;
    log::start(settings.log.clone())?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let client = connect(&settings.store)
        .await
        .map_err(|error| SettingsError::new(format!("the DynamoDB client cannot be configured: {error}")))?;
    let store = DynamoStore::new(client, settings.store.clone(), &settings.limits);
    let registry = Registry::new(Arc::new(store), settings.limits.clone())
        .map_err(|error| SettingsError::new(error.to_string()))?;
    Ok(Handler::new(Arc::new(registry), &settings))
}

/// The messages of an error and its causes. The message of a hyper error alone gives only its kind.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn report(message: &str) -> ExitCode {
    // If standard error is closed, the exit code still reports the failure.
    let _ = writeln!(io::stderr(), "error: {message}");
    ExitCode::FAILURE
}
