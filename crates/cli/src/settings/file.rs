//! The file of settings: TOML whose keys are the names of the flags.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};
use toml::Value;

/// The settings that a file holds, as text, by the name of their flag.
#[derive(Debug, Default)]
pub(crate) struct SettingsFile {
    path: PathBuf,
    settings: BTreeMap<String, String>,
}

impl SettingsFile {
    /// Reads a file; an error names the file, the key and the rule.
    pub(crate) fn read(path: PathBuf) -> Result<Self, String> {
        let name = path.display();
        let text = fs::read_to_string(&path).map_err(|error| format!("{name} can't be read: {error}"))?;
        let table: toml::Table =
            text.parse().map_err(|error| format!("{name} is not TOML: {}", one_line(&error)))?;
        let mut settings = BTreeMap::new();
        for (key, value) in table {
            let flag = key.replace('_', "-");
            let text = as_text(value)
                .ok_or_else(|| format!("{name}: {key} must be text, a number, true or false"))?;
            if settings.insert(flag.clone(), text).is_some() {
                return Err(format!("{name}: {flag} is set twice, with - and with _"));
            }
        }
        Ok(Self { path, settings })
    }

    /// Whether the file sets this, by the id of its argument.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.settings.contains_key(&id.replace('_', "-"))
    }

    /// Makes the file's values the defaults of the subcommand's flags.
    pub(crate) fn apply(&self, mut command: Command, subcommand: &str) -> Result<Command, String> {
        let known: Vec<Arg> = command
            .find_subcommand(subcommand)
            .map(|found| found.get_arguments().filter(|arg| is_setting(arg)).cloned().collect())
            .unwrap_or_default();
        for (key, value) in &self.settings {
            let arg = known
                .iter()
                .find(|arg| arg.get_long() == Some(key))
                .ok_or_else(|| self.unknown(key, &known))?;
            check(arg, value)
                .map_err(|rule| format!("{}: {key} = {value:?}: {rule}", self.path.display()))?;
            let (id, value) = (arg.get_id().clone(), value.clone());
            command = command.mut_subcommand(subcommand, |subcommand| {
                subcommand.mut_arg(id.as_str(), |arg| arg.default_value(value))
            });
        }
        Ok(command)
    }

    fn unknown(&self, key: &str, known: &[Arg]) -> String {
        let names: Vec<_> = known.iter().filter_map(|arg| arg.get_long()).collect();
        format!("{}: {key} is no setting; there are {}", self.path.display(), names.join(", "))
    }
}

/// Whether a flag is a setting: all are but the one that names the file.
pub(crate) fn is_setting(arg: &Arg) -> bool {
    arg.get_long().is_some_and(|long| long != super::CONFIG)
}

/// Checks a value by the rule of its flag, alone, so that an error can say where it stands.
fn check(arg: &Arg, value: &str) -> Result<(), String> {
    let probe = Command::new("settings").no_binary_name(true).arg(arg.clone());
    let flag = format!("--{}={value}", arg.get_long().unwrap_or_default());
    probe.try_get_matches_from([flag]).map(drop).map_err(|error| rule(&error))
}

/// The rule that a value broke, out of clap's error.
fn rule(error: &clap::Error) -> String {
    if let Some(source) = std::error::Error::source(error) {
        return source.to_string();
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) => format!("must be one of {}", values.join(", ")),
        _ => "must have a value that its flag takes".to_owned(),
    }
}

fn as_text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(switch) => Some(switch.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

/// A parser's message that spans lines to draw the place, as one line.
fn one_line(error: &toml::de::Error) -> String {
    let place = error.to_string();
    let place = place.lines().next().unwrap_or_default();
    format!("{}: {}", place.trim_start_matches("TOML parse error ").trim(), error.message())
}
