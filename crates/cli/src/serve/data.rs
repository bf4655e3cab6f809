//! The default directory of the registry.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// The name of the directory within the user's data directory.
const NAME: &str = "aurora-discovery";

/// The directory of this user's registry: in the platform's data directory, or else in the current
/// directory.
pub(super) fn default_directory() -> PathBuf {
    data_home(|name| env::var_os(name).filter(|value| !value.is_empty())).join(NAME)
}

fn data_home(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let under_home = |rest: &str| variable("HOME").map(|home| PathBuf::from(home).join(rest));
    // The XDG specification requires relative paths to be ignored.
    let chosen = variable("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    chosen
        .or_else(|| match env::consts::OS {
            "windows" => variable("LOCALAPPDATA").map(PathBuf::from),
            "macos" => under_home("Library/Application Support"),
            _ => under_home(".local/share"),
        })
        .unwrap_or_else(|| PathBuf::from("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home_of(variables: &[(&str, &str)]) -> PathBuf {
        data_home(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn xdg_data_home_takes_precedence_over_home() {
        assert_eq!(home_of(&[("XDG_DATA_HOME", "/data"), ("HOME", "/home/a")]), PathBuf::from("/data"));
        let relative =
            home_of(&[("XDG_DATA_HOME", "data"), ("HOME", "/home/a"), ("LOCALAPPDATA", "/home/a")]);
        assert!(relative.starts_with("/home/a"));
        assert_eq!(home_of(&[]), PathBuf::from("."));
    }
}
