//! `cargo lambda`, a stranger's imitation of Lambda: it serves a function over HTTP as a function URL, and hands it events.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// The program; scripts/setup installs it into .tools/venv/bin.
const PROGRAM: &str = "cargo-lambda";
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(40);
/// How often another program may be quicker to take the port that was free.
const ATTEMPTS: u32 = 5;

/// A running `cargo lambda watch` without a function of its own. It ends with the test.
pub(crate) struct CargoLambda {
    port: u16,
    watch: Child,
}

impl CargoLambda {
    pub(crate) async fn start() -> Self {
        for _ in 0..ATTEMPTS {
            let mut emulator = Self::watch(free_port());
            if emulator.listens().await {
                return emulator;
            }
        }
        panic!("{PROGRAM} ended {ATTEMPTS} times before it listened");
    }

    /// Its Runtime API alone, because the function is built and started already. Its own CORS headers would stand beside the function's.
    fn watch(port: u16) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["lambda", "watch", "--only-lambda-apis", "--ignore-changes", "--disable-cors"]);
        command.args(["--invoke-address", "127.0.0.1", "--invoke-port", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let watch = command.spawn().expect("cargo-lambda starts: scripts/setup puts it into .tools/venv/bin");
        Self { port, watch }
    }

    /// Whether it listens and did not end instead; it says neither.
    async fn listens(&mut self) -> bool {
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_err() {
            if self.watch.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(began.elapsed() < PATIENCE, "{PROGRAM} does not listen");
            sleep(Duration::from_millis(10)).await;
        }
        true
    }

    /// Where it serves the function over HTTP.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What `AWS_LAMBDA_RUNTIME_API` says.
    pub(crate) fn runtime_api(&self) -> String {
        format!("{}/.rt", self.url())
    }

    /// Sends an event by `cargo lambda invoke`: what the function answers, or what is said of its error.
    pub(crate) fn invoke(&self, event: &Value) -> Result<Value, String> {
        let mut command = Command::new(PROGRAM);
        command.args(["lambda", "invoke", "--invoke-address", "127.0.0.1", "--invoke-port"]);
        command.args([&self.port.to_string(), "--data-ascii", &event.to_string()]);
        let Output { status, stdout, stderr } = command.output().expect("cargo lambda invoke runs");
        if status.success() {
            Ok(serde_json::from_slice(&stdout).expect("the answer is JSON"))
        } else {
            Err(String::from_utf8(stderr).expect("UTF-8"))
        }
    }
}

impl Drop for CargoLambda {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        let _ = self.watch.kill();
        let _ = self.watch.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
