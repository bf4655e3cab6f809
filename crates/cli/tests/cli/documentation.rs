//! The parts of the documentation that the command generates.

use std::path::Path;
use std::{env, fs};

use crate::command::run;

const SETTINGS_BEGIN: &str = "<!-- settings:begin -->\n";
const SETTINGS_END: &str = "<!-- settings:end -->";

/// Compares the text between two markers in a document of `docs/` with the output of the command.
/// `UPDATE=1 cargo test` rewrites it.
pub(crate) fn section_is(document: &str, begin: &str, end: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(document);
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(begin).unwrap();
    let (written, after) = rest.split_once(end).unwrap();
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{before}{begin}{expected}{end}{after}")).unwrap();
    } else {
        assert_eq!(written, expected, "run this test alone with UPDATE=1 to write the section");
    }
}

#[test]
fn the_documentation_lists_every_setting_that_the_command_declares() {
    section_is("settings.md", SETTINGS_BEGIN, SETTINGS_END, &run(&["settings"]).out);
}
