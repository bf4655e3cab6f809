//! `cargo lambda`, an independent emulator of Lambda. It serves a function over HTTP as a function
//! URL does, and delivers single events to it.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// The program; scripts/setup installs it into .tools/venv/bin.
const PROGRAM: &str = "cargo-lambda";
/// The timeout for events that must happen.
const LONG_TIMEOUT: Duration = Duration::from_secs(120);

/// A running `cargo lambda watch` that does not start a function itself. It ends with the test.
pub(crate) struct CargoLambda {
    address: SocketAddrV4,
    watch: Child,
}

impl CargoLambda {
    pub(crate) async fn start() -> Self {
        let mut emulator = Self::watch(free_address());
        let start = Instant::now();
        while TcpStream::connect(emulator.address).await.is_err() {
            // The emulator reports neither that it listens nor why it can't, so this tries to
            // connect.
            let ended = emulator.watch.try_wait().unwrap();
            assert!(ended.is_none(), "{PROGRAM} ended before it listened: {ended:?}");
            assert!(start.elapsed() < LONG_TIMEOUT, "{PROGRAM} does not listen");
            sleep(Duration::from_millis(10)).await;
        }
        emulator
    }

    /// Starts `cargo lambda watch` with only its Lambda APIs, because the test starts the function
    /// itself. CORS is off, because the emulator would add its own headers to the function's.
    fn watch(address: SocketAddrV4) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["lambda", "watch", "--only-lambda-apis", "--ignore-changes", "--disable-cors"]);
        command.args([
            "--invoke-address",
            &address.ip().to_string(),
            "--invoke-port",
            &address.port().to_string(),
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let watch = command
            .spawn()
            .expect("cargo-lambda must be installed; scripts/setup installs it into .tools/venv/bin");
        Self { address, watch }
    }

    /// The URL at which it serves the function.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The value of `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn runtime_api(&self) -> String {
        format!("{}/.rt", self.url())
    }

    /// Sends an event with `cargo lambda invoke`. Returns the function's response, or the message
    /// about its error.
    pub(crate) fn invoke(&self, event: &Value) -> Result<Value, String> {
        let mut command = Command::new(PROGRAM);
        command.args(["lambda", "invoke", "--invoke-address", &self.address.ip().to_string()]);
        command.args(["--invoke-port", &self.address.port().to_string(), "--data-ascii", &event.to_string()]);
        let Output { status, stdout, stderr } = command.output().expect("cargo lambda invoke runs");
        if status.success() {
            Ok(serde_json::from_slice(&stdout).expect("the response is JSON"))
        } else {
            Err(String::from_utf8(stderr).expect("UTF-8"))
        }
    }
}

impl Drop for CargoLambda {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.watch.kill();
        let _ = self.watch.wait();
    }
}

/// A free port at a loopback address on which no other test process listens, so that no other
/// process can take it before the emulator does.
fn free_address() -> SocketAddrV4 {
    let [_, b, c, d] = std::process::id().to_be_bytes();
    // The upper half of 127.0.0.0/8, because programs normally use addresses in the lower half.
    let own = Ipv4Addr::new(127, b | 0x80, c, d);
    let port = TcpListener::bind((own, 0)).unwrap().local_addr().unwrap().port();
    SocketAddrV4::new(own, port)
}
