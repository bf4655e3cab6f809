//! Extracts the broken rule from an error of clap.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue};

/// The rule, without the value and the flag. The caller adds these as the user wrote them.
pub(crate) fn broken_rule(error: &clap::Error) -> String {
    // A value parser of the setting states its rule as the source of the error.
    if let Some(source) = error.source() {
        return source.to_string();
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if values.is_empty() => "must not be empty".to_owned(),
        Some(ContextValue::Strings(values)) => format!("must be one of {}", values.join(", ")),
        _ => "is not a valid value".to_owned(),
    }
}
