//! API keys: `keygen --scopes`, `serve --keys` and `--api-key-file`.

use std::fs;

use crate::command::{Service, run};

/// Makes a key in `directory`. Returns its path and its line in the list of keys.
fn key(directory: &tempfile::TempDir, name: &str, scopes: &str) -> (String, String) {
    let path = directory.path().join(format!("{name}.key")).to_str().unwrap().to_owned();
    let made = run(&["keygen", &path, "--scopes", scopes]);
    assert_eq!((made.code, made.err.as_str()), (0, ""));
    (path, made.out)
}

#[test]
fn keygen_makes_an_api_key_and_prints_its_line_without_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let (path, line) = key(&directory, "ops", "write,admin");
    let secret = fs::read_to_string(&path).unwrap();
    assert!(line.starts_with("ops write,admin ") && !line.contains(secret.trim()), "{line}");
    let again = run(&["keygen", &path, "--scopes", "read"]);
    assert!(again.code == 1 && again.err.contains("cannot be created"), "{}", again.err);
    let unknown = run(&["keygen", "unused.key", "--scopes", "all"]);
    assert!(unknown.code == 2 && unknown.err.contains("read, write or admin"), "{}", unknown.err);
}

#[test]
fn sighup_reads_the_keys_again_and_a_broken_file_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (alice, alice_line) = key(&directory, "alice", "write");
    let (bob, bob_line) = key(&directory, "bob", "write");
    let keys = directory.path().join("keys");
    fs::write(&keys, alice_line).unwrap();
    let mut service = Service::logging(&["--keys", keys.to_str().unwrap(), "--require-key", "write"]);
    let may_write = |service: &Service, key: &str| {
        let output = service.call(&["register", "p", "--retries", "0", "--api-key-file", key]);
        assert!(output.code == 0 || output.err.contains("unauthorized"), "{}", output.err);
        output.code == 0
    };
    assert!(service.call(&["register", "p", "--retries", "0"]).err.contains("needs a key"));
    assert!(may_write(&service, &alice) && !may_write(&service, &bob));

    fs::write(&keys, "alice write").unwrap();
    service.running.signal("HUP");
    let line = service.running.log_line("can't be read again");
    assert!(line["level"] == "ERROR" && line["cause"].as_str().unwrap().contains("line 1"), "{line}");
    assert!(may_write(&service, &alice), "the previous keys stay in use");

    fs::write(&keys, bob_line).unwrap();
    service.running.signal("HUP");
    service.running.log_line("read the API keys again");
    assert!(may_write(&service, &bob) && !may_write(&service, &alice));
}

#[test]
fn a_broken_file_of_keys_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    fs::write(&keys, "# nothing\nalice").unwrap();
    let keys = keys.to_str().unwrap();
    let output = run(&["serve", "--memory", "--listen", "127.0.0.1:0", "--keys", keys]);
    assert!(output.code == 1 && output.err.contains("line 2"), "{}", output.err);
    let output = run(&["serve", "--memory", "--require-key", "write"]);
    assert!(output.code == 2 && output.err.contains("--require-key requires"), "{}", output.err);
}

#[test]
fn the_verbs_of_operators_evict_block_and_unblock() {
    let directory = tempfile::tempdir().unwrap();
    let (ops, line) = key(&directory, "ops", "admin");
    let keys = directory.path().join("keys");
    fs::write(&keys, line).unwrap();
    let service = Service::start(&["--memory", "--keys", keys.to_str().unwrap()]);
    let admin = |arguments: &[&str]| service.call(&[arguments, &["--api-key-file", &ops]].concat());
    service.call(&["register", "alice"]);
    assert_eq!(admin(&["evict", "--peer", "alice"]).out, "1 peer evicted\n");
    assert_eq!(admin(&["blocks"]).out, "nothing is blocked\n");
    service.call(&["register", "alice"]);
    let blocked = admin(&["block", "--source", "127.0.0.0/8", "--for", "1h", "--reason", "a test"]);
    assert_eq!(blocked.out, "127.0.0.0/8 is blocked for 3600 s, 1 peer evicted\n", "{}", blocked.err);
    assert!(service.call(&["register", "alice"]).err.contains("blocked"));
    let listed = admin(&["blocks"]).out;
    assert!(
        listed.contains("127.0.0.0/8") && listed.contains("ops") && listed.contains("a test"),
        "{listed}"
    );
    let unblock = ["unblock", "--source", "127.0.0.0/8"];
    assert_eq!(admin(&unblock).out, "127.0.0.0/8 is no longer blocked\n");
    assert!(admin(&unblock).err.contains("not_found"));
    assert_eq!(service.call(&["register", "alice"]).code, 0);
    let keyless = service.call(&["blocks", "--retries", "0"]);
    assert!(keyless.code == 1 && keyless.err.contains("unauthorized"), "{}", keyless.err);
    let both = admin(&["evict", "--peer", "alice", "--source", "127.0.0.1"]);
    assert!(both.code == 2 && both.err.contains("cannot be used with"), "{}", both.err);
}

#[test]
fn sighup_opens_a_renamed_audit_log_again() {
    let directory = tempfile::tempdir().unwrap();
    let [path, old] = ["audit.jsonl", "audit.jsonl.1"].map(|name| directory.path().join(name));
    let mut service = Service::logging(&["--audit-log", path.to_str().unwrap()]);
    let wait = |path: &std::path::Path, text: &str| {
        // The service writes the audit log in another thread, so a line may follow the response.
        while !fs::read_to_string(path).is_ok_and(|lines| lines.contains(text)) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    };
    service.call(&["register", "alice"]);
    // A line that is not written yet when the file is opened again goes to the new file.
    wait(&path, "\"action\":\"registered\",\"peer_id\":\"alice\"");
    fs::rename(&path, &old).unwrap();
    service.running.signal("HUP");
    service.running.log_line("opened the audit log again");
    service.call(&["register", "bob"]);
    drop(service.call(&["deregister", "bob"]));
    wait(&path, "\"action\":\"deregistered\",\"peer_id\":\"bob\"");
    wait(&old, "\"action\":\"registered\",\"peer_id\":\"alice\"");
}
