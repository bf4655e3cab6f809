//! The settings of `serve`: flags take precedence over the environment, the environment over the
//! file, and the file over the defaults.

use std::ffi::OsString;
use std::path::PathBuf;

use aurora_discovery_settings::{
    ParseError, SettingError, SettingsFile, Source, Sources, allow_switch_values, ignore_empty_variables,
};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, ArgMatches, CommandFactory as _, FromArgMatches as _};

use crate::args::{Args, Command};
use crate::failure::Failure;
use crate::output::print;
use crate::serve::ServeArgs;

/// The subcommand that has settings.
const SERVE: &str = "serve";
/// The id and the name of the flag that names the file.
const CONFIG: &str = "config";

/// Reads the command line, the environment, and the settings file if one is named.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Args, ParseError> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut command = ignore_empty_variables(command());
    // The file supplies defaults to clap, so it must be read before the command line is parsed.
    let mut file = SettingsFile::default();
    if let Some(path) = config_path(&command, &arguments) {
        file = SettingsFile::read(path)?;
        let serve = file.apply(subcommand(&command), CONFIG)?;
        command = command.mut_subcommand(SERVE, |_| serve);
    }
    let matches = aurora_discovery_settings::matches(&mut command, &arguments).map_err(with_suggestion)?;
    let mut args = Args::from_arg_matches(&matches)?;
    if let (Command::Serve(serve), Some(matches)) = (&mut args.command, matches.subcommand_matches(SERVE)) {
        // clap reports values from the file as defaults, so `record_sources` corrects their
        // sources.
        serve.sources = Sources::of(&subcommand(&command), matches, Source::Flag);
        file.record_sources(&mut serve.sources);
        choose_memory_or_data(serve)?;
        serve.effective = effective(&subcommand(&command), matches, serve);
    }
    Ok(args)
}

/// The settings as the text of a settings file, each with the source of its value unless that is
/// the default.
fn effective(command: &clap::Command, matches: &ArgMatches, serve: &ServeArgs) -> String {
    let is_setting = |arg: &&Arg| matches!(arg.get_action(), ArgAction::Set) && arg.get_id() != CONFIG;
    let settings = command.get_arguments().filter(is_setting);
    let lines = settings.filter_map(|arg| {
        let id = arg.get_id().as_str();
        let value = match id {
            // These two values are read from `serve`, because `choose_memory_or_data` may have
            // dropped one of them there.
            "memory" => serve.memory.to_string(),
            "data" => serve.data.as_ref()?.to_string_lossy().into_owned(),
            _ => matches.get_raw(id)?.next()?.to_string_lossy().into_owned(),
        };
        let source = match serve.sources.source(id) {
            Source::Default => "",
            Source::File => " # from the settings file",
            Source::Environment => " # from the environment",
            Source::Flag => " # from the command line",
        };
        Some(format!("{} = {}{source}\n", arg.get_long()?, toml_value(&value)))
    });
    lines.collect()
}

/// A value as TOML: a number or a truth value as it is, and any other text as a string. A JSON
/// string is also a TOML string.
fn toml_value(text: &str) -> String {
    let is_plain = text.parse::<u64>().is_ok_and(|number| number.to_string() == text);
    if is_plain || matches!(text, "true" | "false") {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

/// Prints the settings as the documentation lists them.
pub(crate) fn print_table() -> Result<(), Failure> {
    print(aurora_discovery_settings::markdown_table(&subcommand(&command()), CONFIG).trim_end())
}

/// Warnings about environment variables that are named like settings but are not settings.
pub(crate) fn unknown_variables() -> Vec<String> {
    aurora_discovery_settings::unknown_variables(&command())
}

/// The declaration of the command. The switches of `serve` accept a value, as when the command line
/// is parsed.
pub(crate) fn declaration() -> clap::Command {
    Args::command().mut_subcommand(SERVE, allow_switch_values)
}

fn command() -> clap::Command {
    // `aurora-discovery serve --version` would otherwise name a program `aurora-discovery-serve`.
    let named = |subcommand: clap::Command| subcommand.display_name("aurora-discovery");
    declaration().mut_subcommands(named)
}

/// Adds a suggestion to the error for an unknown subcommand: the subcommand that the user probably
/// meant. If none is known, keeps clap's suggestions, without hidden subcommands.
fn with_suggestion(mut error: ParseError) -> ParseError {
    if let ParseError::CommandLine(error) = &mut error
        && let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
    {
        match suggestion(word) {
            Some(tip) => {
                error.remove(ContextKind::SuggestedSubcommand);
                let _ = error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
            }
            None => hide_hidden(error),
        }
    }
    error
}

/// The subcommand to use, if the user has typed the name that other programs give to it.
fn suggestion(word: &str) -> Option<&'static str> {
    Some(match word {
        "list" | "ls" | "peers" => "`aurora-discovery discover` lists the live peers",
        "watch" | "follow" => "`aurora-discovery discover --watch` follows changes",
        "status" | "stats" => {
            "`aurora-discovery health` prints the state of the service, and `aurora-discovery network` statistics"
        }
        "start" | "run" | "server" => "`aurora-discovery serve` runs the service",
        "unregister" | "leave" | "remove" => "`aurora-discovery deregister` ends a peer's registration",
        _ => return None,
    })
}

/// Removes subcommands that the help does not list from clap's suggestions of similar ones.
fn hide_hidden(error: &mut clap::Error) {
    let command = Args::command();
    let is_listed = |name: &String| command.find_subcommand(name).is_some_and(|found| !found.is_hide_set());
    if let Some(ContextValue::Strings(similar)) = error.remove(ContextKind::SuggestedSubcommand) {
        let similar: Vec<_> = similar.into_iter().filter(is_listed).collect();
        if !similar.is_empty() {
            let _ = error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(similar));
        }
    }
}

fn subcommand(command: &clap::Command) -> clap::Command {
    command.find_subcommand(SERVE).cloned().unwrap_or_default()
}

/// The settings file that the command line or the environment names. Mistakes in other arguments
/// are ignored here, and reported when the command line is parsed.
fn config_path(command: &clap::Command, arguments: &[OsString]) -> Option<PathBuf> {
    let lenient = command.clone().ignore_errors(true);
    let matches = lenient.try_get_matches_from(arguments).ok()?;
    matches.subcommand_matches(SERVE)?.get_one(CONFIG).cloned()
}

/// If `--memory` and `--data` are both set, keeps the one from the source with the higher
/// precedence. For example, `--memory` on the command line overrides a data directory in the file.
/// Fails if both come from the same source.
fn choose_memory_or_data(serve: &mut ServeArgs) -> Result<(), SettingError> {
    if !serve.memory || serve.data.is_none() {
        return Ok(());
    }
    let sources = &serve.sources;
    match sources.source("memory").cmp(&sources.source("data")) {
        std::cmp::Ordering::Less => serve.memory = false,
        std::cmp::Ordering::Greater => serve.data = None,
        std::cmp::Ordering::Equal => {
            let (memory, data) = (sources.name("memory"), sources.name("data"));
            return Err(SettingError::new(format!(
                "memory and data exclude each other, and both {memory} and {data} are set; set only one of them"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::log::LogFormat;

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
    fn a_flag_overrides_the_file_and_the_file_overrides_the_default() {
        let file =
            "listen = \"127.0.0.1:1\"\nttl-min = 7\nttl_max = 700\nno-cors = true\nlog_format = \"json\"\n";
        let given = serve(&["--ttl-min", "8", "--no-cors=false"], Some(file)).unwrap();
        assert_eq!(given.server.listen.port(), 1);
        assert_eq!((given.registry.ttl_min, given.registry.ttl_max), (8, 700));
        assert!(!given.service.no_cors);
        assert_eq!(given.log_format, LogFormat::Json);
        assert_eq!(given.server.trusted_hops, 0);
    }

    #[test]
    fn a_host_name_to_listen_on_is_resolved() {
        let given = serve(&["--metrics-listen", "localhost:2"], Some("listen = \"localhost:1\"")).unwrap();
        assert_eq!(given.server.listen, "127.0.0.1:1".parse().unwrap());
        assert_eq!(given.server.metrics_listen, Some("127.0.0.1:2".parse().unwrap()));
    }

    #[test]
    fn the_effective_settings_are_a_settings_file_that_leads_to_the_same_settings() {
        let file = "ttl-min = 7\nlog-format = \"json\"\nmemory = true\n";
        let given = serve(&["--ttl-max", "700", "--data", "a \"b\"", "--no-cors"], Some(file)).unwrap();
        let text = &given.effective;
        for line in [
            "ttl-min = 7 # from the settings file\n",
            "ttl-max = 700 # from the command line\n",
            "log-format = \"json\" # from the settings file\n",
            "data = \"a \\\"b\\\"\" # from the command line\n",
            "memory = false",
            "no-cors = true # from the command line\n",
            "listen = \"127.0.0.1:8080\"\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        let again = serve(&[], Some(text)).unwrap();
        assert_eq!(again.registry.ttl_max, 700);
        assert_eq!((again.data, again.memory), (given.data, false));
    }

    #[test]
    fn a_switch_may_have_a_value() {
        assert!(serve(&["--memory"], None).unwrap().memory);
        assert!(serve(&["--memory=true"], None).unwrap().memory);
        assert!(!serve(&["--memory=false"], None).unwrap().memory);
        assert!(!serve(&[], None).unwrap().memory);
        assert!(serve(&["--memory=perhaps"], None).is_err());
    }

    #[test]
    fn an_error_in_the_settings_file_names_the_key_and_the_rule() {
        for (file, words) in [
            ("ttl-mim = 7", &["ttl-mim", "not a setting", "ttl-min"][..]),
            ("ttl-min = 0", &["ttl-min", "0 is not in 1..=86400"]),
            ("ttl-min = \"soon\"", &["ttl-min", "invalid digit"]),
            ("listen = \"here\"", &["listen", "must be an address or a host name, and a port"]),
            ("log-format = \"xml\"", &["log-format", "auto, text, json"]),
            ("data = [1]", &["data", "must be a string, a number or a boolean"]),
            ("config = \"other\"", &["config", "not a setting"]),
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
    fn an_error_about_a_missing_settings_file_names_it() {
        let error = serve(&["--config", "no/such/file.toml"], None).unwrap_err();
        assert!(error.contains("no/such/file.toml"), "{error}");
    }

    #[test]
    fn memory_and_data_exclude_each_other_unless_one_takes_precedence() {
        assert!(serve(&["--memory", "--data", "d"], None).is_err());
        let memory = serve(&["--memory"], Some("data = \"d\"")).unwrap();
        assert_eq!((memory.memory, memory.data), (true, None));
        let data = serve(&["--data", "d"], Some("memory = true")).unwrap();
        assert_eq!((data.memory, data.data), (false, Some("d".into())));
    }
}
