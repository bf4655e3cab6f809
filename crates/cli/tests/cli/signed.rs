//! Signed registrations: keys, `register --key`, `keep --key` and `verify`.

use std::os::unix::fs::PermissionsExt as _;

use crate::command::{Completed, Running, Service, run};

fn ok(output: Completed) -> String {
    assert_eq!((output.code, output.err.as_str()), (0, ""), "{}", output.out);
    output.out
}

#[test]
fn keygen_makes_a_key_that_only_its_owner_can_read_and_never_replaces_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alice.key");
    let printed = ok(run(&["keygen", path.to_str().unwrap()]));
    assert!(printed.starts_with("did:key:z6Mk"), "{printed}");
    let before = std::fs::read_to_string(&path).unwrap();
    assert!(before.contains("\"crv\":\"Ed25519\""), "a JSON Web Key");
    let again = run(&["keygen", path.to_str().unwrap()]);
    assert!(again.code == 1 && again.err.contains("cannot be created"), "{}", again.err);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_signed_name_is_registered_by_its_key_only_and_its_record_can_be_verified() {
    let service = Service::in_memory();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (key, other) = (at("alice.key"), at("other.key"));
    let registered = ok(service.call(&["register", "alice", "--key", &key]));
    assert!(registered.contains("the id is locked to did:key:z6Mk"), "{registered}");
    for arguments in [&["register", "alice"][..], &["register", "alice", "--key", &other]] {
        let refused = service.call(arguments);
        assert!(refused.code == 1 && refused.err.contains("name_locked"), "{}", refused.err);
    }
    ok(service.call(&["register", "alice", "--key", &key, "--port", "9000"]));
    ok(service.call(&["register", "alice", "--key", &other, "--replaces-key", &key]));
    let back = service.call(&["register", "alice", "--key", &key]);
    assert!(back.err.contains("name_locked"), "{}", back.err);

    let listed = ok(service.call(&["discover", "--full", "--json"]));
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let record = listed["peers"][0]["signed"].as_str().unwrap();
    let verified = ok(run(&["verify", record]));
    assert!(verified.starts_with("alice is signed by did:key:z6Mk"), "{verified}");
    let (parts, signature) = record.rsplit_once('.').unwrap();
    let other_start = if signature.starts_with('A') { "B" } else { "A" };
    let tampered = format!("{parts}.{other_start}{}", &signature[1..]);
    for arguments in [
        &["verify", &tampered][..],
        &["verify", record, "--key", "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw"],
    ] {
        assert_eq!(run(arguments).code, 1, "{arguments:?}");
    }
}

#[test]
fn keep_registers_a_crashed_peer_again_by_its_key() {
    let service = Service::in_memory();
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("alice.key");
    let arguments = ["keep", "alice", "--key", key.to_str().unwrap(), "--endpoint", &service.endpoint];
    let mut crashed = Running::start(&arguments);
    crashed.line_with("is registered until");
    crashed.signal("KILL");
    crashed.wait();
    let mut restarted = Running::start(&arguments);
    restarted.line_with("is registered until");
    restarted.signal("TERM");
    assert_eq!(restarted.wait(), Some(0));
    assert!(ok(service.call(&["discover"])).ends_with("0 of 0 live peers\n"));
}
