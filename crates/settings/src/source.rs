//! The source of a setting's value.

use std::collections::BTreeMap;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

/// The source of a value, lowest precedence first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The default in the declaration.
    Default,
    /// The settings file.
    File,
    /// An environment variable.
    Environment,
    /// A flag on the command line.
    Flag,
}

/// The source of each setting's value, by the setting's id.
#[derive(Clone, Debug, Default)]
pub struct Sources(BTreeMap<String, (Source, String)>);

impl Sources {
    /// The sources of the values that `command` parsed into `matches`. In errors, a setting that
    /// has its default value gets the name of its variable if `by_default` is
    /// `Source::Environment`, and otherwise that of its flag.
    pub fn of(command: &Command, matches: &ArgMatches, by_default: Source) -> Self {
        let entry = |arg: &Arg| {
            let id = arg.get_id().as_str();
            // clap reports values from the file as defaults. `set_in_file` corrects that.
            let source = match matches.value_source(id) {
                Some(ValueSource::CommandLine) => Source::Flag,
                Some(ValueSource::EnvVariable) => Source::Environment,
                _ => Source::Default,
            };
            let named_by = if source == Source::Default { by_default } else { source };
            (id.to_owned(), (source, name(arg, named_by)))
        };
        Self(command.get_arguments().map(entry).collect())
    }

    /// The source of a setting's value.
    pub fn source(&self, id: &str) -> Source {
        self.0.get(id).map_or(Source::Default, |(source, _)| *source)
    }

    /// The name of a setting in an error: the name under which its value was set, or could be set.
    pub fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.0.get(id).map_or(id, |(_, name)| name)
    }

    /// Records that the value of this setting came from a file, which clap reports as a default.
    /// `name` is the name of the setting in errors: its key and the file.
    #[cfg(feature = "file")]
    pub(crate) fn set_in_file(&mut self, id: &str, name: String) {
        match self.0.get_mut(id) {
            Some(entry) if entry.0 == Source::Default => *entry = (Source::File, name),
            _ => {}
        }
    }
}

fn name(arg: &Arg, named_by: Source) -> String {
    match arg.get_env().filter(|_| named_by == Source::Environment) {
        Some(variable) => variable.to_string_lossy().into_owned(),
        None => format!("--{}", arg.get_long().unwrap_or(arg.get_id().as_str())),
    }
}
