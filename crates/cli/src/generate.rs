//! `completions` and `man`: files that packages install beside the command. They are generated from
//! the declaration of its arguments.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use crate::failure::Failure;
use crate::output::print;
use crate::settings;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The directory for the pages, which must exist.
    directory: PathBuf,
}

/// Prints the script that completes the command in a shell.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut settings::declaration(), "aurora-discovery", &mut script);
    print(String::from_utf8_lossy(&script).trim_end())
}

/// Writes the manual pages, one for the command and one for each subcommand.
pub(crate) fn man(args: &ManArgs) -> Result<(), Failure> {
    clap_mangen::generate_to(settings::declaration(), &args.directory).map_err(|error| {
        Failure::flag("the directory", format_args!("{}: {error}", args.directory.display()))
    })
}
