//! Checks that the generated parts of the documentation are up to date, and that the tests that
//! SECURITY.md names exist.

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

/// Appends all source files below a directory to `text`.
fn sources(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "py")
            || path.ends_with("scripts/attack")
        {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn the_tests_that_the_threat_model_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let document = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let (_, table) = document.split_once("<!-- threats:begin -->").unwrap();
    let (table, _) = table.split_once("<!-- threats:end -->").unwrap();
    let mut written = String::new();
    for directory in ["crates", "scripts"] {
        sources(&root.join(directory), &mut written);
    }
    let rows: Vec<_> = table.lines().skip(3).filter(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 10, "{}", rows.len());
    for row in rows {
        let tests = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap();
        let names: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row} names no test");
        for name in names {
            let declaration = match name.strip_prefix("scripts/attack ") {
                Some(attack) => format!("\"{attack}\""),
                None => format!("fn {name}("),
            };
            assert!(written.contains(&declaration), "there is no test {name}");
        }
    }
}
