//! `export` and `import`.

use std::fs::{self, File};
use std::path::Path;

use crate::command::{Completed, Service, command, run};

/// The peers of a data directory, as `export` writes them.
fn export(arguments: &[&str]) -> String {
    let output = run(&[&["export"], arguments].concat());
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    output.out
}

/// Imports the text of an export.
fn import(arguments: &[&str], exported: &str) -> Completed {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("export");
    fs::write(&path, exported).unwrap();
    let mut command = command(&[&["import"], arguments].concat());
    let output = command.stdin(File::open(path).unwrap()).output().unwrap();
    Completed {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a service on a directory, and registers two peers there: alice with a new token in a file,
/// and bob without a token. Then stops the service.
fn fill(data: &Path, token: &str) {
    let mut service = Service::on(data);
    let alice = ["register", "alice", "--port", "9000", "--archetype", "pepino", "--token-file", token];
    assert_eq!(service.call(&alice).code, 0);
    assert_eq!(service.call(&["register", "bob"]).code, 0);
    service.running.signal("TERM");
    assert_eq!(service.running.wait(), Some(0));
}

/// Checks that alice's token renews her lease on this service, and that another one does not.
fn alice_is_held(service: &Service, token: &str) {
    let stranger = service.call(&["heartbeat", "alice", "--token", "wrong"]);
    assert!(stranger.code == 1 && stranger.err.contains("not_holder"), "{}", stranger.err);
    let listed = service.call(&["discover"]).out;
    assert!(listed.contains("alice  127.0.0.1:9000") && listed.ends_with("2 of 2 live peers\n"), "{listed}");
    assert_eq!(service.call(&["heartbeat", "alice", "--token-file", token]).code, 0);
}

#[test]
fn a_network_moves_to_another_directory_and_its_tokens_stay_valid() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (from, to, token) = (path("from"), path("to"), path("token"));
    fill(Path::new(&from), &token);
    let exported = export(&["--data", &from]);
    assert_eq!(exported.lines().count(), 4, "{exported}");
    assert!(exported.ends_with("{\"peers\":2}\n"), "{exported}");
    let secret = fs::read_to_string(&token).unwrap();
    assert!(!exported.contains(secret.trim()), "an export has no tokens");
    let imported = import(&["--data", &to], &exported);
    assert_eq!((imported.code, imported.out.as_str()), (0, "2 peers imported\n"), "{}", imported.err);
    let again = import(&["--data", &to], &exported);
    assert_eq!((again.code, again.out.as_str()), (0, "0 peers imported\n"));
    assert!(again.err.contains("2 peers were already known"), "{}", again.err);
    alice_is_held(&Service::on(Path::new(&to)), &token);
}

#[test]
fn an_import_reports_what_it_cannot_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (from, to) = (path("from"), path("to"));
    fill(Path::new(&from), &path("token"));
    let exported = export(&["--data", &from]);
    let truncated: String = exported.lines().take(3).map(|line| format!("{line}\n")).collect();
    let broken = exported.replace("\"port\":9000", "\"port\":90000");
    let later = exported.replace("\"aurora_discovery_export\":1", "\"aurora_discovery_export\":2");
    for (text, message) in [
        (truncated.as_str(), "the export is not complete"),
        (&broken, "is not the state of a peer"),
        (&later, "a later version"),
        ("", "does not begin as an export does"),
    ] {
        let output = import(&["--data", &to], text);
        assert!(output.code == 1 && output.err.contains(message), "{message}: {}", output.err);
    }
    let missing = run(&["export", "--data", &path("missing")]);
    assert!(missing.code == 2 && missing.err.contains("is no directory"), "{}", missing.err);
    assert!(!Path::new(&path("missing")).exists(), "an export creates nothing");
}

/// Moves a network from a directory to a shared store, which the arguments name, and from there to
/// another directory.
#[cfg(feature = "stand-in")]
pub(crate) fn moves_through_a_shared_store(store: &[&str], start: impl FnOnce() -> Service) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (from, to, token) = (path("from"), path("to"), path("token"));
    fill(Path::new(&from), &token);
    let imported = import(store, &export(&["--data", &from]));
    assert_eq!((imported.code, imported.out.as_str()), (0, "2 peers imported\n"), "{}", imported.err);
    let service = start();
    alice_is_held(&service, &token);
    drop(service);
    let back = import(&["--data", &to], &export(store));
    assert_eq!((back.code, back.out.as_str()), (0, "2 peers imported\n"), "{}", back.err);
    alice_is_held(&Service::on(Path::new(&to)), &token);
}
