//! Why a verb failed, and how the command says so.

use std::io::{self, Write as _};
use std::process::ExitCode;

use aurora_settings::{ParseError, SettingError};

use crate::escape::escape;

/// Exit code of a failure.
const FAILED: u8 = 1;
/// Exit code of a mistake on the command line or in the settings, as clap's own.
const MISUSED: u8 = 2;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A call of the service failed.
    #[error(transparent)]
    Call(#[from] aurora_client::Error),
    /// Output could not be written.
    #[error("the output can't be written: {0}")]
    Output(#[from] io::Error),
    /// The command line or the settings break a rule, or help was asked for.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// What was asked can't be done as it was asked.
    #[error("{0}")]
    Usage(String),
    /// Anything else, as a sentence a person can act on.
    #[error("{0}")]
    Other(String),
    /// The verb has said on its own what is wrong.
    #[error("failed")]
    Said,
}

impl Failure {
    /// The refusal of what stands after `flag`.
    pub(crate) fn flag(flag: &str, rule: impl std::fmt::Display) -> Self {
        Self::Usage(format!("{flag} {rule}"))
    }

    /// A failure that is a sentence a person can act on.
    pub(crate) fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }

    #[cfg(feature = "dynamodb")]
    pub(crate) fn no_dynamodb(error: &aurora_dynamodb::ConnectError) -> Self {
        Self::Other(format!("DynamoDB can't be called: {error}"))
    }

    /// Says on standard error what failed; gives the code that the command exits with.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Said => ExitCode::from(FAILED),
            // Whoever read the output has enough of it, as `head` has.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Self::Parse(ParseError::CommandLine(error)) => {
                // Where the output is gone, the exit code still tells.
                let _ = error.print();
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(u8::MAX))
            }
            Self::Parse(ParseError::Setting(_)) | Self::Usage(_) => say(self, MISUSED),
            Self::Call(_) | Self::Output(_) | Self::Other(_) => say(self, FAILED),
        }
    }
}

impl From<SettingError> for Failure {
    fn from(error: SettingError) -> Self {
        ParseError::from(error).into()
    }
}

/// Says on standard error what is wrong but passes.
pub(crate) fn warn(message: impl std::fmt::Display) {
    // Where standard error is gone, there is nobody to warn.
    let _ = writeln!(io::stderr(), "warning: {}", escape(&message.to_string()));
}

fn say(failure: &Failure, code: u8) -> ExitCode {
    // Where standard error is gone too, the exit code still tells.
    let _ = writeln!(io::stderr(), "error: {}", escape(&failure.to_string()));
    ExitCode::from(code)
}
