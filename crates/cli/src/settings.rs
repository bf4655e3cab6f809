//! Settings from three places, each declared once by [`crate::serve::ServeArgs`]: a flag beats the environment, the
//! environment beats the file, the file beats the default.

mod file;
mod markdown;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::BoolishValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory as _, FromArgMatches as _};

use crate::args::{Args, Command};
use crate::failure::Failure;
use crate::serve::ServeArgs;

use file::SettingsFile;
pub(crate) use markdown::print_table;

/// The subcommand that has settings.
const SERVE: &str = "serve";
/// The flag that names the file.
const CONFIG: &str = "config"; // its id and its name

/// Why the command line and the settings can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParseError {
    /// The command line or the environment breaks a rule, or help was asked for.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// The file breaks a rule, or settings contradict each other.
    #[error("{0}")]
    Settings(String),
}

impl ParseError {
    /// Says what is wrong, or prints the help that was asked for; gives the code that the command exits with.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::CommandLine(error) => {
                // Where the output is gone, the exit code still tells.
                let _ = error.print();
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(u8::MAX))
            }
            Self::Settings(message) => Failure::Usage(message.clone()).report(),
        }
    }
}

/// Reads the command line, the environment, and the file of settings where one is named.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Args, ParseError> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut command = command();
    let mut file = SettingsFile::default();
    if let Some(path) = config_path(&command, &arguments) {
        file = SettingsFile::read(path).map_err(ParseError::Settings)?;
        command = file.apply(command, SERVE).map_err(ParseError::Settings)?;
    }
    let matches = command.try_get_matches_from(arguments)?;
    let mut args = Args::from_arg_matches(&matches)?;
    if let (Command::Serve(serve), Some(matches)) = (&mut args.command, matches.subcommand_matches(SERVE)) {
        choose_memory_or_data(serve, matches, &file).map_err(ParseError::Settings)?;
    }
    Ok(args)
}

/// The command line, every switch of `serve` taking a value too (`--memory=false`), so that a stronger place can switch
/// off what a weaker one switched on.
fn command() -> clap::Command {
    Args::command().mut_subcommand(SERVE, |serve| {
        serve.mut_args(|arg| if matches!(arg.get_action(), ArgAction::SetTrue) { switch(arg) } else { arg })
    })
}

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

/// The file that the command line or the environment names; whatever else is wrong there is reported later.
fn config_path(command: &clap::Command, arguments: &[OsString]) -> Option<PathBuf> {
    let lenient = command.clone().ignore_errors(true);
    let matches = lenient.try_get_matches_from(arguments).ok()?;
    matches.subcommand_matches(SERVE)?.get_one(CONFIG).cloned()
}

/// Where the registry is kept is one question with two settings: the one from the stronger place counts.
fn choose_memory_or_data(
    serve: &mut ServeArgs,
    matches: &ArgMatches,
    file: &SettingsFile,
) -> Result<(), String> {
    if !serve.memory || serve.data.is_none() {
        return Ok(());
    }
    let strength = |id: &str| match matches.value_source(id) {
        Some(ValueSource::CommandLine) => 3,
        Some(ValueSource::EnvVariable) => 2,
        _ => u8::from(file.has(id)),
    };
    match strength("memory").cmp(&strength("data")) {
        std::cmp::Ordering::Less => serve.memory = false,
        std::cmp::Ordering::Greater => serve.data = None,
        std::cmp::Ordering::Equal => {
            return Err("memory and data exclude each other: choose one place for the registry".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::serve::LogFormat;

    fn serve(arguments: &[&str], file: Option<&str>) -> Result<ServeArgs, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("aurora.toml");
        let mut words: Vec<OsString> = ["aurora-discovery", "serve"].map(OsString::from).to_vec();
        if let Some(text) = file {
            fs::write(&path, text).unwrap();
            words.extend(["--config".into(), path.into()]);
        }
        words.extend(arguments.iter().map(OsString::from));
        match parse(words).map_err(|error| error.to_string())?.command {
            Command::Serve(serve) => Ok(*serve),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let file =
            "listen = \"127.0.0.1:1\"\nttl-min = 7\nttl_max = 700\nno-cors = true\nlog_format = \"json\"\n";
        let given = serve(&["--ttl-min", "8", "--no-cors=false"], Some(file)).unwrap();
        assert_eq!(given.listen.port(), 1);
        assert_eq!((given.ttl_min, given.ttl_max), (8, 700));
        assert!(!given.no_cors);
        assert_eq!(given.log_format, LogFormat::Json);
        assert_eq!(given.trusted_hops, 0);
    }

    #[test]
    fn a_switch_may_be_given_bare_or_with_its_value() {
        assert!(serve(&["--memory"], None).unwrap().memory);
        assert!(serve(&["--memory=true"], None).unwrap().memory);
        assert!(!serve(&["--memory=false"], None).unwrap().memory);
        assert!(!serve(&[], None).unwrap().memory);
        assert!(serve(&["--memory=perhaps"], None).is_err());
    }

    #[test]
    fn a_mistake_in_the_file_is_named_with_its_key_and_rule() {
        for (file, words) in [
            ("ttl-mim = 7", &["ttl-mim", "no setting", "ttl-min"][..]),
            ("ttl-min = 0", &["ttl-min", "0 is not in 1..=86400"]),
            ("ttl-min = \"soon\"", &["ttl-min", "invalid digit"]),
            ("listen = \"here\"", &["listen", "invalid socket address"]),
            ("log-format = \"xml\"", &["log-format", "auto, text, json"]),
            ("data = [1]", &["data", "must be text, a number, true or false"]),
            ("config = \"other\"", &["config", "no setting"]),
            ("ttl-min = 1\nttl_min = 2", &["ttl-min", "twice"]),
            ("memory = true\ndata = \"x\"", &["memory and data exclude each other"]),
            ("= 1", &["line 1"]),
        ] {
            let error = serve(&[], Some(file)).unwrap_err();
            for word in words {
                assert!(error.contains(word), "{file}: {error}");
            }
            assert!(error.contains("aurora.toml") || error.contains("exclude"), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        let error = serve(&["--config", "no/such/file.toml"], None).unwrap_err();
        assert!(error.contains("no/such/file.toml"), "{error}");
    }

    #[test]
    fn memory_and_data_exclude_each_other_unless_one_is_stronger() {
        assert!(serve(&["--memory", "--data", "d"], None).is_err());
        let memory = serve(&["--memory"], Some("data = \"d\"")).unwrap();
        assert_eq!((memory.memory, memory.data), (true, None));
        let data = serve(&["--data", "d"], Some("memory = true")).unwrap();
        assert_eq!((data.memory, data.data), (false, Some("d".into())));
    }
}
