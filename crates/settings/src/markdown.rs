//! The table of settings in the documentation.

use clap::{Arg, Command};

/// A Markdown table of the settings of `command`: every argument that has an environment variable,
/// except for the one that names the settings file.
pub fn markdown_table(command: &Command, config: &str) -> String {
    let head = "| flag | environment | default | description |\n|---|---|---|---|\n".to_owned();
    let settings = command.get_arguments().filter(|arg| arg.get_env().is_some() && arg.get_id() != config);
    settings.fold(head, |table, arg| table + &row(arg))
}

fn row(arg: &Arg) -> String {
    let environment = arg.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
    // An unescaped `|` would end the cell of the table.
    let description = arg.get_help().map(|help| help.to_string().replace('|', "\\|")).unwrap_or_default();
    format!("| `{}` | {environment} | {} | {description} |\n", flag(arg), default(arg))
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

/// Whether a flag can be given without a value.
fn is_switch(arg: &Arg) -> bool {
    arg.is_require_equals_set()
}
