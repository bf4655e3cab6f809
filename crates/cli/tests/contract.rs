//! The HTTP contract holds for the command as users start it: `serve` with its flags, on real ports and with real time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a command that does not start fails the test")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use aurora_contract_tests::{Needs, Target};

aurora_contract_tests::contract_suite!(serve);

/// The command, ended with the case.
struct Serving(Mutex<Child>);

impl Drop for Serving {
    fn drop(&mut self) {
        let child = self.0.get_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

async fn serve(needs: Needs) -> Option<Target> {
    if needs.winding {
        return None;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_aurora-discovery"));
    command.args(["serve", "--memory", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
    if let Some(max_peers) = needs.max_peers {
        command.args(["--max-peers", &max_peers.to_string()]);
    }
    let mut child = command.spawn().unwrap();
    let mut announced = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut announced).unwrap();
    let url =
        announced.split(' ').find(|word| word.starts_with("http://")).expect("the address is announced");
    Some(Target::new(url, Serving(Mutex::new(child))))
}
