//! `completions` and `man`.

use std::fs;

use crate::command::run;

#[test]
fn completions_know_the_subcommands_and_flags() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = run(&["completions", shell]);
        assert_eq!((output.code, output.err.as_str()), (0, ""), "{shell}");
        for word in ["discover", "keep", "shutdown-grace", "endpoint"] {
            assert!(output.out.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(run(&["completions", "tcsh"]).code, 2);
}

#[test]
fn there_is_a_manual_page_for_each_subcommand() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(&["man", directory.path().to_str().unwrap()]);
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    for (name, word) in [("aurora-discovery", "SUBCOMMANDS"), ("aurora-discovery-serve", "ttl\\-min")] {
        let page = fs::read_to_string(directory.path().join(format!("{name}.1"))).unwrap();
        assert!(page.contains(".TH") && page.contains(word), "{name}");
    }
    assert_eq!(run(&["man", "no/such/directory"]).code, 2);
}
