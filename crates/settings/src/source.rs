//! Where the value of a setting came from.

use std::collections::BTreeMap;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

/// Where a value came from, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The declaration.
    Default,
    /// The settings file.
    File,
    /// An environment variable.
    Environment,
    /// A flag on the command line.
    Flag,
}

/// Where the value of each setting came from, by the setting's id.
#[derive(Clone, Debug, Default)]
pub struct Sources(BTreeMap<String, (Source, String)>);

impl Sources {
    /// The sources of what `command` parsed into `matches`. A setting that was left at its default is named by its flag or its
    /// variable, as `by_default` says.
    pub fn of(command: &Command, matches: &ArgMatches, by_default: Source) -> Self {
        let entry = |arg: &Arg| {
            let id = arg.get_id().as_str();
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

    /// Where the value of a setting came from.
    pub fn source(&self, id: &str) -> Source {
        self.0.get(id).map_or(Source::Default, |(source, _)| *source)
    }

    /// What to call a setting in an error: the name under which its value was set, or could be.
    pub fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.0.get(id).map_or(id, |(_, name)| name)
    }

    /// Says that what `command` took for a default of this setting stands in a file, as `name`.
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
