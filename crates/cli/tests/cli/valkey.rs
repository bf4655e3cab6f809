//! `serve --store valkey` as users start it: the HTTP test suite on a Valkey server, and two processes
//! on one registry.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use aurora_discovery_contract_tests::{Needs, Target};

use crate::command::{Running, Service, run, run_with};
use crate::shared_store::{two_processes_share_a_peer, unused_name};
use crate::transfer::moves_through_a_shared_store;

aurora_discovery_contract_tests::contract_suite!(serve);

/// The name of a registry that no other test uses.
fn registry() -> String {
    unused_name("serve")
}

fn url() -> String {
    std::env::var("AURORA_TEST_VALKEY_URL")
        .expect("AURORA_TEST_VALKEY_URL is not set; run this by scripts/valkey run …")
}

fn start(registry: &str, more: &[&str]) -> (String, Running) {
    let url = url();
    let mut arguments = vec!["--store", "valkey", "--valkey-url", &url, "--valkey-name", registry];
    arguments.extend(more);
    let Service { endpoint, running } = Service::start(&arguments);
    (endpoint, running)
}

/// It uses the clock of the server.
async fn serve(needs: Needs) -> Option<Target> {
    if needs.settable_clock {
        return None;
    }
    let max_peers = needs.max_peers.map(|count| format!("--max-peers={count}"));
    let more: Vec<&str> = max_peers.as_deref().into_iter().collect();
    let (url, serving) = start(&registry(), &more);
    Some(Target::new(url, serving))
}

#[tokio::test]
async fn a_peer_registered_at_one_process_is_discovered_renewed_and_deregistered_at_another() {
    let registry = registry();
    two_processes_share_a_peer(|| start(&registry, &[])).await;
}

/// Sends a command to the server, and expects `OK`.
fn command(server: &str, line: &str) {
    let mut server = TcpStream::connect(server.strip_prefix("redis://").unwrap()).unwrap();
    server.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    let mut reply = String::new();
    BufReader::new(server).read_line(&mut reply).unwrap();
    assert_eq!(reply, "+OK\r\n", "{line}");
}

/// Runs the line of the guide, and the service as the user that it creates: with the password in the
/// environment, and in a file.
#[tokio::test]
async fn the_permissions_that_the_guide_lists_are_enough() {
    let guide = include_str!("../../../../docs/operations.md");
    let line = guide.lines().find(|line| line.starts_with("ACL SETUSER aurora on >PASSWORD ")).unwrap();
    let (registry, url) = (registry(), url());
    let line = line.replace("aurora on >PASSWORD", &format!("{registry} on >a/b"));
    command(&url, &line.replace("NAME", &registry));

    let login = |login: &str| url.replace("redis://", &format!("redis://{registry}{login}@"));
    let arguments = ["--store", "valkey", "--valkey-name", &registry];
    let in_environment = login(":a%2Fb");
    let variables = [("AURORA_VALKEY_URL", OsStr::new(&in_environment))];
    let directory = tempfile::tempdir().unwrap();
    let (password, in_file) = (directory.path().join("password"), login(""));
    std::fs::write(&password, "a/b\n").unwrap();
    let password = ["--valkey-url", &in_file, "--valkey-password-file", password.to_str().unwrap()];

    let is_first = AtomicBool::new(true);
    two_processes_share_a_peer(|| {
        let Service { endpoint, running } = if is_first.swap(false, Ordering::Relaxed) {
            Service::start_with(&arguments, &variables)
        } else {
            Service::start(&[&arguments[..], &password].concat())
        };
        (endpoint, running)
    })
    .await;

    let wrong = login(":wrong");
    let refused = run_with(
        &[&["serve", "--listen", "127.0.0.1:0"], &arguments[..]].concat(),
        &[("AURORA_VALKEY_URL", &wrong)],
    );
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(
        refused.err.contains("uthentication failed") && !refused.err.contains("wrong"),
        "{}",
        refused.err
    );
    command(&url, &format!("ACL SETUSER {registry} off"));
}

#[test]
fn a_server_that_does_not_exist_is_reported_at_the_start() {
    let refused = run(&[
        "serve",
        "--store",
        "valkey",
        "--valkey-url",
        "redis://127.0.0.1:1",
        "--listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(refused.err.contains("Valkey can't be used"), "{}", refused.err);
    let nameless = run(&["serve", "--store", "valkey", "--listen", "127.0.0.1:0"]);
    assert_eq!(nameless.code, 2, "{}", nameless.err);
    assert!(nameless.err.contains("must name the Valkey server"), "{}", nameless.err);
}

#[test]
fn a_network_moves_from_a_directory_to_valkey_and_back() {
    let (name, url) = (registry(), url());
    let on_valkey = ["--store", "valkey", "--valkey-url", &url, "--valkey-name", &name];
    moves_through_a_shared_store(&on_valkey, || {
        let (endpoint, running) = start(&name, &[]);
        Service { endpoint, running }
    });
}
