//! The real `bootstrap`, as a process with the environment that Lambda gives it.

use std::env;
use std::process::{Child, Command, Stdio};

/// A running `bootstrap`, which ends with the test.
pub(crate) struct Bootstrap(pub(crate) Child);

impl Bootstrap {
    /// Starts the process with `runtime_api` as the address of the Runtime API.
    pub(crate) fn start(runtime_api: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = program();
        command.envs(
            [
                ("AWS_LAMBDA_RUNTIME_API", runtime_api),
                ("AWS_LAMBDA_FUNCTION_NAME", "aurora-discovery-test"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
                ("AWS_REGION", "us-east-1"),
                ("AWS_ACCESS_KEY_ID", "local"),
                ("AWS_SECRET_ACCESS_KEY", "local"),
                ("AURORA_LOG", "warn"),
            ]
            .iter()
            .chain(settings)
            .copied(),
        );
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().expect("bootstrap must start"))
    }
}

/// The command that runs `bootstrap`: the binary of this build, unless `AURORA_BOOTSTRAP` names
/// another program, such as a release build, or an emulator that runs a binary of another
/// architecture.
pub(crate) fn program() -> Command {
    Command::new(env::var_os("AURORA_BOOTSTRAP").unwrap_or_else(|| env!("CARGO_BIN_EXE_bootstrap").into()))
}

impl Drop for Bootstrap {
    fn drop(&mut self) {
        // In some tests the process has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
