//! The settings as the README lists them.

use std::io::{self, Write as _};

use clap::Arg;

use super::file::is_setting;
use crate::failure::Failure;

/// Prints a Markdown table of all settings.
pub(crate) fn print_table() -> Result<(), Failure> {
    Ok(io::stdout().write_all(table().as_bytes())?)
}

fn table() -> String {
    let mut table = String::from("| flag | environment | default | what it says |\n|---|---|---|---|\n");
    let command = super::command();
    let serve = command.find_subcommand(super::SERVE);
    for arg in serve.into_iter().flat_map(|serve| serve.get_arguments()).filter(|arg| is_setting(arg)) {
        table.push_str(&row(arg));
    }
    table
}

fn row(arg: &Arg) -> String {
    let environment = arg.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
    let says = arg.get_help().map(|help| help.to_string().replace('|', "\\|")).unwrap_or_default();
    format!("| `{}` | {environment} | {} | {says} |\n", flag(arg), default(arg))
}

fn flag(arg: &Arg) -> String {
    let long = arg.get_long().unwrap_or_default();
    let value = arg.get_value_names().and_then(|names| names.first()).map(|name| name.as_str());
    match value {
        Some(value) if !is_switch(arg) => format!("--{long} {value}"),
        _ => format!("--{long}"),
    }
}

fn default(arg: &Arg) -> String {
    let values: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    match values.join(" ") {
        _ if is_switch(arg) => "off".to_owned(),
        none if none.is_empty() => String::new(),
        value => format!("`{value}`"),
    }
}

/// Whether a flag may stand without a value.
fn is_switch(arg: &Arg) -> bool {
    arg.is_require_equals_set()
}
