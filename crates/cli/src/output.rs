//! Printing on standard output.

use std::io::{self, Write as _};

use serde::Serialize;

use crate::escape::escape_json;
use crate::failure::Failure;

/// Prints one line.
pub(crate) fn print(line: impl std::fmt::Display) -> Result<(), Failure> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

/// Prints a response as one line of JSON.
pub(crate) fn print_json(response: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string(response)
        .map_err(|error| Failure::Other(format!("the response can't be written as JSON: {error}")))?;
    print(escape_json(&json))
}
