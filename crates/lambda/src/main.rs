//! `bootstrap`: the contract behind API Gateway (REST and HTTP) and function URLs, on a DynamoDB table.
//!
//! What a process needs is made once, before it asks for its first event: settings, client, store, router. An event becomes a
//! request to the route that the gateway matched; see `event`.

mod answer;
mod event;
mod handler;
mod log;
mod metrics;
mod route;
mod runtime_api;
mod settings;

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use aurora_dynamodb::{DynamoStore, connect};
use aurora_registry::Registry;
use tokio::time::timeout;

use handler::Handler;
use runtime_api::{FunctionError, RuntimeApi, RuntimeApiError};
use settings::{Settings, SettingsError};

/// Where Lambda says that its Runtime API is.
const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";
/// How long Lambda's own endpoint, on the same machine, may take to hear why the process ends.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why the process ends.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("the system refuses timers or sockets: {0}")]
    System(#[from] io::Error),
    #[error(transparent)]
    RuntimeApi(#[from] RuntimeApiError),
}

fn main() -> ExitCode {
    let Ok(runtime_api) = std::env::var(RUNTIME_API) else {
        return report(&format!(
            "{RUNTIME_API} is not set: AWS Lambda starts this program; `aurora-discovery serve` serves elsewhere"
        ));
    };
    match run(RuntimeApi::at(&runtime_api)) {
        Ok(never) => match never {},
        Err(failure) => report(&failure.to_string()),
    }
}

fn run(mut api: RuntimeApi) -> Result<Infallible, Failure> {
    // One event at a time needs one thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let handler = match start().await {
            Ok(handler) => handler,
            Err(error) => {
                let told = FunctionError { kind: "Runtime.InitError", message: error.to_string() };
                // Where that fails, the exit code still tells.
                let _ = timeout(PATIENCE, api.fail_to_start(&told)).await;
                return Err(error.into());
            }
        };
        loop {
            handler.serve_next(&mut api).await?;
        }
    })
}

async fn start() -> Result<Handler, SettingsError> {
    let settings = Settings::read()?;
    log::start(settings.log.clone())?;
    let client = connect(&settings.store)
        .await
        .map_err(|error| SettingsError::new(format!("DynamoDB can't be called: {error}")))?;
    let store = DynamoStore::new(client, settings.store.clone(), &settings.limits);
    let registry = Registry::new(Arc::new(store), settings.limits.clone())
        .map_err(|error| SettingsError::new(error.to_string()))?;
    Ok(Handler::new(Arc::new(registry), &settings))
}

fn report(message: &str) -> ExitCode {
    // Where standard error is gone, the exit code still tells.
    let _ = writeln!(io::stderr(), "error: {message}");
    ExitCode::FAILURE
}
