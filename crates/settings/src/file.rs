//! The settings file: TOML whose keys are the names of flags.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command};
use toml::Value;

use crate::rule::broken_rule;
use crate::{SettingError, Sources};

/// The settings from a file: their values as text, by the name of the flag.
#[derive(Debug, Default)]
pub struct SettingsFile {
    path: PathBuf,
    settings: BTreeMap<String, String>,
}

impl SettingsFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// The file can't be read or is not TOML, a key has a value of a type that no setting accepts,
    /// or a setting is set twice.
    pub fn read(path: PathBuf) -> Result<Self, SettingError> {
        let name = path.display();
        let invalid = |rule: String| SettingError::new(format!("{name}{rule}"));
        let text = fs::read_to_string(&path).map_err(|error| invalid(format!(" can't be read: {error}")))?;
        let table: toml::Table =
            text.parse().map_err(|error| invalid(format!(" is not valid TOML: {}", one_line(&error))))?;
        let mut settings = BTreeMap::new();
        for (key, value) in table {
            // Authors of TOML files write `ttl_min` as often as `ttl-min`, so both are accepted.
            let flag = key.replace('_', "-");
            let text = as_text(value)
                .ok_or_else(|| invalid(format!(": {key} must be a string, a number or a boolean")))?;
            if settings.insert(flag.clone(), text).is_some() {
                return Err(invalid(format!(": {flag} is set twice, once with - and once with _")));
            }
        }
        Ok(Self { path, settings })
    }

    /// Makes the file's values the defaults of the flags of `command`, except for the flag with the
    /// id `config`.
    ///
    /// # Errors
    ///
    /// A key that is not a setting, or a value that breaks its rule.
    pub fn apply(&self, mut command: Command, config: &str) -> Result<Command, SettingError> {
        let known: Vec<Arg> = command
            .get_arguments()
            .filter(|arg| is_setting(arg) && arg.get_id() != config)
            .cloned()
            .collect();
        for (key, value) in &self.settings {
            let arg = known
                .iter()
                .find(|arg| arg.get_long() == Some(key))
                .ok_or_else(|| self.unknown(key, &known))?;
            // A default that breaks its rule makes clap panic in debug builds, and its error would
            // not name the file. The value is therefore checked first.
            check(arg, value).map_err(|rule| {
                SettingError::new(format!("{}: {key} = {value:?}: {rule}", self.path.display()))
            })?;
            // clap then gives flags and environment variables precedence by itself.
            command = command.mut_arg(arg.get_id(), |arg| arg.default_value(value.clone()));
        }
        Ok(command)
    }

    /// Records in `sources` which values came from the file.
    pub fn record_sources(&self, sources: &mut Sources) {
        for key in self.settings.keys() {
            sources.set_in_file(&key.replace('-', "_"), format!("{key} in {}", self.path.display()));
        }
    }

    fn unknown(&self, key: &str, known: &[Arg]) -> SettingError {
        let names: Vec<_> = known.iter().filter_map(|arg| arg.get_long()).collect();
        SettingError::new(format!(
            "{}: {key} is not a setting; the settings are {}",
            self.path.display(),
            names.join(", ")
        ))
    }
}

fn is_setting(arg: &Arg) -> bool {
    arg.get_long().is_some() && matches!(arg.get_action(), ArgAction::Set)
}

/// Checks a value against the rule of its flag separately, so that an error can name the file and
/// the key.
fn check(arg: &Arg, value: &str) -> Result<(), String> {
    let probe = Command::new("settings").no_binary_name(true).arg(arg.clone());
    let flag = format!("--{}={value}", arg.get_long().unwrap_or_default());
    probe.try_get_matches_from([flag]).map(drop).map_err(|error| broken_rule(&error))
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

/// The message of a TOML error in one line. The original message spans several lines to show the
/// position.
fn one_line(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let position = text.lines().next().unwrap_or_default();
    format!("{}: {}", position.trim_start_matches("TOML parse error ").trim(), error.message())
}
