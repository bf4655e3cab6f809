//! Why a subcommand failed, and how the command reports it.

use std::io::{self, Write as _};
use std::process::ExitCode;

use aurora_discovery_settings::{ParseError, SettingError};

use crate::escape::escape;

/// Exit code of a failure.
const FAILED: u8 = 1;
/// Exit code of a mistake on the command line or in the settings, the same as clap's.
const USAGE_ERROR: u8 = 2;

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A request to the service failed.
    #[error(transparent)]
    Request(#[from] aurora_discovery_client::Error),
    /// Output could not be written.
    #[error("the output can't be written: {0}")]
    Output(#[from] io::Error),
    /// The command line or the settings break a rule, or the user requested help.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The arguments are invalid, as a sentence that names the argument and the rule.
    #[error("{0}")]
    Usage(String),
    /// Any other failure, as a sentence that the user can act on.
    #[error("{0}")]
    Other(String),
    /// The subcommand has already printed its own message.
    #[error("failed")]
    AlreadyReported,
    /// The program that `keep` ran ended with this exit code.
    #[error("failed")]
    ProgramEnded(u8),
    /// The log already has the message; the command ends with this exit code.
    #[error("failed")]
    Logged(u8),
}

impl Failure {
    /// Rejects the value of `flag`.
    pub(crate) fn flag(flag: &str, rule: impl std::fmt::Display) -> Self {
        Self::Usage(format!("{flag} {rule}"))
    }

    /// A failure with a sentence that the user can act on.
    pub(crate) fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }

    #[cfg(feature = "dynamodb")]
    pub(crate) fn dynamodb_unavailable(error: &aurora_discovery_dynamodb::ConnectError) -> Self {
        Self::Other(format!("can't connect to DynamoDB: {error}"))
    }

    /// The exit code of a failure whose message `report` prints as a sentence. `None` if the
    /// message is printed in another way, or not at all.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        match self {
            // The reader of the output, such as `head`, has closed it. This needs no message.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Self::Parse(ParseError::CommandLine(_))
            | Self::AlreadyReported
            | Self::ProgramEnded(_)
            | Self::Logged(_) => None,
            Self::Parse(ParseError::Setting(_)) | Self::Usage(_) => Some(USAGE_ERROR),
            Self::Request(_) | Self::Output(_) | Self::Other(_) => Some(FAILED),
        }
    }

    /// Reports the failure on standard error. Returns the exit code of the command.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::AlreadyReported => ExitCode::from(FAILED),
            Self::ProgramEnded(code) | Self::Logged(code) => ExitCode::from(*code),
            Self::Parse(ParseError::CommandLine(error)) => {
                // If the output is closed, the exit code still reports the failure.
                let _ = error.print();
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(u8::MAX))
            }
            _ => self.exit_code().map_or(ExitCode::SUCCESS, |code| print_error(self, code)),
        }
    }
}

impl From<SettingError> for Failure {
    fn from(error: SettingError) -> Self {
        ParseError::from(error).into()
    }
}

/// Prints a warning on standard error.
pub(crate) fn warn(message: impl std::fmt::Display) {
    // If standard error is closed, the warning has no reader.
    let _ = writeln!(io::stderr(), "warning: {}", escape(&message.to_string()));
}

fn print_error(failure: &Failure, code: u8) -> ExitCode {
    // If standard error is closed, the exit code still reports the failure.
    let _ = writeln!(io::stderr(), "error: {}", escape(&failure.to_string()));
    ExitCode::from(code)
}
