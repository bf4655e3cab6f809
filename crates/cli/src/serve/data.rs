//! The default directory of the registry.

use std::env::{self, split_paths};
use std::ffi::OsString;
use std::path::PathBuf;

use crate::failure::Failure;

/// The name of the directory within the user's data directory.
const NAME: &str = "aurora-discovery";

/// The directory that a setting names, or the default. `setting` is the name of the setting.
///
/// # Errors
/// If neither the setting nor the environment names a directory.
pub(crate) fn data_directory(named: Option<PathBuf>, setting: &str) -> Result<PathBuf, Failure> {
    let rule = "is required, because none of STATE_DIRECTORY, XDG_DATA_HOME and HOME is set; name a \
                directory, or let `serve` store nothing with --memory";
    named.or_else(default_directory).ok_or_else(|| Failure::flag(setting, rule))
}

/// The directory of the registry: the state directory that systemd provides, or else a directory in
/// the user's data directory. `None` if the environment names neither.
fn default_directory() -> Option<PathBuf> {
    directory(|name| env::var_os(name).filter(|value| !value.is_empty()))
}

fn directory(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // A unit may have several state directories, and this service needs one.
    let state = variable("STATE_DIRECTORY").and_then(|paths| split_paths(&paths).next());
    state.or_else(|| Some(data_home(variable)?.join(NAME)))
}

fn data_home(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let under_home = if cfg!(target_os = "macos") { "Library/Application Support" } else { ".local/share" };
    // The XDG specification requires relative paths to be ignored.
    let chosen = variable("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    chosen.or_else(|| Some(PathBuf::from(variable("HOME")?).join(under_home)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory_of(variables: &[(&str, &str)]) -> Option<PathBuf> {
        directory(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn xdg_data_home_takes_precedence_over_home() {
        let home = ("HOME", "/home/a");
        let absolute = directory_of(&[("XDG_DATA_HOME", "/data"), home]);
        assert_eq!(absolute, Some(PathBuf::from("/data/aurora-discovery")));
        let relative = directory_of(&[("XDG_DATA_HOME", "data"), home]);
        assert!(relative.unwrap().starts_with("/home/a"));
    }

    #[test]
    fn the_first_state_directory_of_systemd_takes_precedence() {
        let variables = [("STATE_DIRECTORY", "/var/lib/one:/var/lib/two"), ("XDG_DATA_HOME", "/data")];
        assert_eq!(directory_of(&variables), Some(PathBuf::from("/var/lib/one")));
    }

    #[test]
    fn without_any_variable_there_is_no_default() {
        assert_eq!(directory_of(&[]), None);
    }
}
