//! The findings of the doctor.

use serde::Serialize;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// No problem.
    Ok,
    /// Works, but affects some clients.
    Warn,
    /// Must be fixed.
    Fail,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The name of the check.
    pub(crate) check: &'static str,
    pub(crate) verdict: Verdict,
    /// What the check observed, in a sentence.
    #[serde(rename = "says")]
    pub(crate) message: String,
    /// How to fix the problem, in a sentence; `None` if there is none.
    pub(crate) fix: Option<String>,
}

impl Finding {
    pub(crate) fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, message: message.into(), fix: None }
    }

    pub(crate) fn warn(check: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, message: message.into(), fix: Some(fix.into()) }
    }

    /// A check that could not be carried out. It is reported because a missing finding would look
    /// like a success.
    pub(crate) fn unchecked(check: &'static str, reason: &str) -> Self {
        let fix = "fix the problem that is reported above, and run the doctor again";
        Self::warn(check, format!("not checked: {reason}"), fix)
    }

    pub(crate) fn fail(check: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, message: message.into(), fix: Some(fix.into()) }
    }
}
