//! The README's table of settings.

use std::path::Path;
use std::{env, fs};

use crate::command::run;

const BEGIN: &str = "<!-- settings:begin -->\n";
const END: &str = "<!-- settings:end -->";

/// `UPDATE=1 cargo test` writes the table instead.
#[test]
fn the_readme_lists_every_setting_as_the_command_declares_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (listed, after) = rest.split_once(END).unwrap();
    let declared = run(&["settings"]).out;
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{declared}{END}{after}")).unwrap();
    } else {
        assert_eq!(listed, declared, "run the tests with UPDATE=1 to write the table");
    }
}
