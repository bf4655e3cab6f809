//! Runs the command.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

/// The command, without settings from the environment. The time zone is UTC, because the doctor
/// reports any other one.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aurora-discovery"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AURORA_")) {
        command.env_remove(name);
    }
    command.env("TZ", "UTC").args(arguments).stdin(Stdio::null());
    command
}

/// The result of a command.
pub(crate) struct Completed {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn run(arguments: &[&str]) -> Completed {
    run_with(arguments, &[])
}

/// Runs the command with these environment variables.
pub(crate) fn run_with(arguments: &[&str], variables: &[(&str, &str)]) -> Completed {
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, OsStr::new(value))).collect();
    run_with_bytes(arguments, &variables)
}

/// Runs the command with environment variables whose values need not be text.
pub(crate) fn run_with_bytes(arguments: &[&str], variables: &[(&str, &OsStr)]) -> Completed {
    let Output { status, stdout, stderr } =
        command(arguments).envs(variables.iter().copied()).output().unwrap();
    Completed {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

/// A command that keeps running. It is killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Standard error, if the test reads it.
    log: Option<Lines<BufReader<ChildStderr>>>,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    /// Starts the command with these environment variables.
    fn start_with(arguments: &[&str], variables: &[(&str, &OsStr)]) -> Self {
        let mut command = command(arguments);
        command.envs(variables.iter().copied());
        Self::spawn(command)
    }

    /// Starts the command as `nohup` does, with SIGHUP ignored.
    pub(crate) fn start_without_hangups(arguments: &[&str]) -> Self {
        let original = command(arguments);
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(original.get_program());
        shell.args(original.get_args()).stdin(Stdio::null());
        for (name, _) in original.get_envs() {
            shell.env_remove(name);
        }
        Self::spawn(shell)
    }

    pub(crate) fn spawn(command: Command) -> Self {
        Self::spawn_with(command, Stdio::inherit())
    }

    /// Starts the command with this standard error.
    pub(crate) fn spawn_with(mut command: Command, stderr: impl Into<Stdio>) -> Self {
        command.stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, log: None }
    }

    /// Starts the command, and keeps its log for the test.
    fn start_logging(arguments: &[&str]) -> Self {
        let mut command = command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let log = Some(BufReader::new(child.stderr.take().unwrap()).lines());
        Self { child, lines, log }
    }

    /// The next line of the log that contains `text`.
    pub(crate) fn log_line(&mut self, text: &str) -> Value {
        let log = self.log.as_mut().unwrap();
        let line = log.map(Result::unwrap).find(|line| line.contains(text));
        serde_json::from_str(&line.unwrap_or_else(|| panic!("the log has no line with {text}"))).unwrap()
    }

    /// The rest of the log of a command that has ended.
    pub(crate) fn rest_of_log(&mut self) -> String {
        self.log.as_mut().unwrap().map(Result::unwrap).collect()
    }

    /// Waits for the next line of output.
    pub(crate) fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// The next line that contains `text`.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the command to end. Returns its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A service on a free port.
pub(crate) struct Service {
    pub(crate) endpoint: String,
    pub(crate) running: Running,
}

impl Service {
    pub(crate) fn in_memory() -> Self {
        Self::start(&["--memory"])
    }

    pub(crate) fn on(directory: &Path) -> Self {
        Self::start(&["--data", directory.to_str().unwrap()])
    }

    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    /// Starts the service with these environment variables.
    pub(crate) fn start_with(arguments: &[&str], variables: &[(&str, &OsStr)]) -> Self {
        let listen = ["--listen", "127.0.0.1:0"];
        Self::listening(&[&listen, arguments].concat(), variables)
    }

    /// Starts a service at this address.
    pub(crate) fn at(address: &str, directory: &Path) -> Self {
        Self::listening(&["--listen", address, "--data", directory.to_str().unwrap()], &[])
    }

    /// Starts a service in memory whose log the test reads.
    pub(crate) fn logging(arguments: &[&str]) -> Self {
        Self::logging_at("127.0.0.1:0", arguments)
    }

    /// Like `logging`, at this address.
    pub(crate) fn logging_at(address: &str, arguments: &[&str]) -> Self {
        let serve = ["serve", "--listen", address, "--memory"];
        Self::of(Running::start_logging(&[&serve, arguments].concat()))
    }

    fn listening(arguments: &[&str], variables: &[(&str, &OsStr)]) -> Self {
        let serve = ["serve", "--log", "error"];
        Self::of(Running::start_with(&[&serve, arguments].concat(), variables))
    }

    /// The service that a command runs.
    pub(crate) fn of(mut running: Running) -> Self {
        let line = running.line();
        let endpoint = line.split(' ').find(|word| word.starts_with("http")).unwrap().to_owned();
        Self { endpoint, running }
    }

    /// Runs a subcommand against this service.
    pub(crate) fn call(&self, arguments: &[&str]) -> Completed {
        run(&[arguments, &["--endpoint", &self.endpoint]].concat())
    }
}
