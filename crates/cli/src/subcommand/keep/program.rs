//! The program that `keep` runs while the peer is registered.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use aurora_discovery_client::LeaseKeeper;
use tokio::process::{Child, Command};

use super::stop;
use crate::failure::{Failure, warn};
use crate::signal::ForwardedSignals;

/// As in shells, the exit code of a program that a signal ended is this plus the signal's number.
const ENDED_BY_SIGNAL: u8 = 128;
/// The exit code if the system reports neither a code nor a signal.
const ENDED_WITHOUT_CODE: u8 = 1;

/// Runs `command` until it ends, and then deregisters the peer. If the registration is permanently
/// refused meanwhile, sends the program SIGTERM.
///
/// # Errors
/// [`Failure::ProgramEnded`] with the exit code of the program, unless it is 0. The error of the
/// keeper, if the keeper ended before the program. [`Failure::Other`] if the program can't be
/// started, or the system can't report its end.
pub(super) async fn run(
    mut keeper: LeaseKeeper,
    command: &[OsString],
    mut signals: ForwardedSignals,
    grace: Duration,
) -> Result<(), Failure> {
    let mut child = match start(command) {
        Ok(child) => child,
        Err(failure) => {
            deregister(keeper, grace).await;
            return Err(failure);
        }
    };
    let mut refusal = None;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.map_err(Failure::other)?,
            signal = signals.next() => signal.send_to(&child),
            result = keeper.ended(), if refusal.is_none() => {
                refusal = Some(result);
                ForwardedSignals::stop().send_to(&child);
            }
        }
    };
    if let Some(Err(error)) = refusal {
        return Err(error.into());
    }
    deregister(keeper, grace).await;
    match exit_code(status) {
        0 => Ok(()),
        code => Err(Failure::ProgramEnded(code)),
    }
}

fn start(command: &[OsString]) -> Result<Child, Failure> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::Usage("no program is given after --".to_owned()));
    };
    let started = Command::new(program).args(arguments).spawn();
    started
        .map_err(|error| Failure::Other(format!("{} can't be started: {error}", program.to_string_lossy())))
}

/// Deregisters the peer. A failure only prints a warning, because the exit code of the command is
/// that of the program.
async fn deregister(keeper: LeaseKeeper, grace: Duration) {
    if let Err(failure) = stop(keeper, grace).await {
        warn(failure);
    }
}

/// The exit code of a program, as shells report it.
fn exit_code(status: ExitStatus) -> u8 {
    if let Some(signal) = status.signal() {
        return ENDED_BY_SIGNAL.saturating_add(u8::try_from(signal).unwrap_or_default());
    }
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(ENDED_WITHOUT_CODE)
}
