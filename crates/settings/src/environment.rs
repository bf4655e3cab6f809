//! Parses settings from flags and environment variables. In addition to what clap does, it ignores
//! empty variables, accepts values for switches, and names the variable in errors.

use std::ffi::OsString;

use clap::builder::{BoolishValueParser, Resettable};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Args, Command};

use crate::rule::broken_rule;
use crate::{SettingError, Source, Sources};

/// Why the settings can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The command line breaks a rule, or the user requested help or the version.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// An environment variable or the file breaks a rule, or settings contradict each other.
    #[error(transparent)]
    Setting(#[from] SettingError),
}

/// Parses a group of settings from the environment and from `arguments`. A function on AWS Lambda
/// has no arguments, so an error about a setting that has its default value names the variable
/// instead of the flag.
///
/// # Errors
///
/// An argument that `T` does not declare, or a value that breaks its rule, identified by its
/// variable or flag.
pub fn parse<T: Args>(
    arguments: impl IntoIterator<Item = impl Into<OsString>>,
) -> Result<(T, Sources), ParseError> {
    let command = Command::new("settings").no_binary_name(true).disable_help_flag(true);
    let declared = allow_switch_values(T::augment_args(command));
    let mut command = ignore_empty_variables(declared.clone());
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let matches = matches(&mut command, &arguments)?;
    // `command` no longer declares the variables that are empty. The sources are taken from
    // `declared`, which still declares all, so that an error about a default value names the
    // variable.
    let sources = Sources::of(&declared, &matches, Source::Environment);
    Ok((T::from_arg_matches(&matches)?, sources))
}

/// Parses `arguments` and the environment. An error about a value from an environment variable
/// names the variable.
///
/// # Errors
///
/// An unknown argument, a value that breaks its rule, or a request for help or the version.
pub fn matches(command: &mut Command, arguments: &[OsString]) -> Result<ArgMatches, ParseError> {
    command.try_get_matches_from_mut(arguments.iter()).map_err(|error| {
        // clap's error does not say which value is not UTF-8.
        if error.kind() == ErrorKind::InvalidUtf8
            && let Some(variable) = variable_not_in_utf8(command)
        {
            return SettingError::new(format!("{variable}: must be valid UTF-8")).into();
        }
        let invalid = error.get(ContextKind::InvalidArg);
        let Some(ContextValue::String(usage)) = invalid else { return error.into() };
        // clap shows a flag with the name of its value: `--ttl-min <SECONDS>`.
        let flag = usage.split([' ', '=', '[']).next().unwrap_or_default();
        // If the flag is given, it overrides its variable, so the error is about the flag.
        if arguments.iter().any(|word| is_flag(&word.to_string_lossy(), flag)) {
            return error.into();
        }
        match variable_of(command, flag) {
            Some(variable) => SettingError::new(format!("{variable}: {}", broken_rule(&error))).into(),
            None => error.into(),
        }
    })
}

/// Whether a word of the command line is this flag, alone or with `=` and a value.
fn is_flag(word: &str, flag: &str) -> bool {
    word.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

/// The environment variable that sets `flag`, with its value unless it is secret.
fn variable_of(command: &Command, flag: &str) -> Option<String> {
    let of_flag = |arg: &&Arg| arg.get_long().is_some_and(|long| Some(long) == flag.strip_prefix("--"));
    let found = command.get_arguments().filter(of_flag).find_map(|arg| {
        let name = arg.get_env()?;
        let value = std::env::var_os(name)?;
        // A secret must not appear in an error message, which may be logged.
        let value = if arg.is_hide_env_values_set() { String::new() } else { format!(" = {value:?}") };
        Some(format!("{}{value}", name.to_string_lossy()))
    });
    found.or_else(|| command.get_subcommands().find_map(|subcommand| variable_of(subcommand, flag)))
}

/// The environment variable whose value is refused because it is not valid UTF-8. A setting that is
/// a path accepts any bytes.
fn variable_not_in_utf8(command: &Command) -> Option<String> {
    let is_refused = |arg: &&Arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        let probe = Command::new("settings").no_binary_name(true).arg((*arg).clone());
        value.is_some_and(|value| value.to_str().is_none())
            && probe.try_get_matches_from([""; 0]).is_err_and(|error| error.kind() == ErrorKind::InvalidUtf8)
    };
    let found = command.get_arguments().find(is_refused).and_then(Arg::get_env);
    let found = found.map(|name| name.to_string_lossy().into_owned());
    found.or_else(|| command.get_subcommands().find_map(variable_not_in_utf8))
}

/// `command`, with every switch that is a setting also accepting a value (`--memory=false`). A flag
/// can then disable what the file or an environment variable enabled, and an environment variable
/// can either enable or disable a switch.
pub fn allow_switch_values(command: Command) -> Command {
    // A flag without a variable is no setting.
    let is_switch = |arg: &Arg| matches!(arg.get_action(), ArgAction::SetTrue) && arg.get_env().is_some();
    command.mut_args(|arg| if is_switch(&arg) { switch(arg) } else { arg })
}

/// Makes the value of a switch optional. Without a value, the switch is on.
fn switch(arg: Arg) -> Arg {
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .value_name("BOOL")
        .value_parser(BoolishValueParser::new())
        .default_value("false")
        .default_missing_value("true")
        .hide_default_value(true)
        .hide_possible_values(true)
}

/// `command` and its subcommands without the environment variables that are set but empty.
pub fn ignore_empty_variables(command: Command) -> Command {
    let is_empty = |arg: &Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg })
        .mut_subcommands(ignore_empty_variables)
}
