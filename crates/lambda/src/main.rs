//! `bootstrap`: the contract behind API Gateway (REST and HTTP) and function URLs, on a DynamoDB table.
//!
//! What a process needs is made once, before it asks for its first event: settings, client, store, router. An event becomes a
//! request to the route that the gateway matched; see `event`.

mod answer;
mod event;
mod handler;
mod init_error;
mod log;
mod metrics;
mod route;
mod settings;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use aurora_dynamodb::{DynamoStore, connect};
use aurora_registry::Registry;
use lambda_runtime::{LambdaEvent, Runtime, service_fn};

use event::Event;
use handler::Handler;
use settings::{Settings, SettingsError};

/// Where Lambda says that its Runtime API is.
const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";

/// Why the process ends.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("the system refuses timers or sockets: {0}")]
    System(#[from] io::Error),
    #[error("the Runtime API failed: {0}")]
    Runtime(lambda_runtime::Error),
}

fn main() -> ExitCode {
    let Ok(runtime_api) = std::env::var(RUNTIME_API) else {
        return report(&format!(
            "{RUNTIME_API} is not set: AWS Lambda starts this program; `aurora-discovery serve` serves elsewhere"
        ));
    };
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let message = failure.to_string();
            if matches!(failure, Failure::Settings(_)) {
                init_error::send(&runtime_api, &message);
            }
            report(&message)
        }
    }
}

fn start() -> Result<(), Failure> {
    let settings = Settings::read(|name| std::env::var(name).ok())?;
    log::start(&settings.log)?;
    // One event at a time needs one thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(settings))
}

async fn run(settings: Settings) -> Result<(), Failure> {
    let client = connect(&settings.store)
        .await
        .map_err(|error| SettingsError::new(format!("DynamoDB can't be called: {error}")))?;
    let store = DynamoStore::new(client, settings.store.clone(), &settings.limits);
    let registry = Registry::new(Arc::new(store), settings.limits.clone())
        .map_err(|error| SettingsError::new(error.to_string()))?;
    let handler = Arc::new(Handler::new(Arc::new(registry), &settings));
    let service = service_fn(move |event: LambdaEvent<Event>| {
        let handler = Arc::clone(&handler);
        async move { handler.handle(event).await }
    });
    Runtime::new(service).run().await.map_err(Failure::Runtime)
}

fn report(message: &str) -> ExitCode {
    // Where standard error is gone, the exit code still tells.
    let _ = writeln!(io::stderr(), "error: {message}");
    ExitCode::FAILURE
}
