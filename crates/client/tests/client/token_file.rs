//! The token file of a lease keeper.

use std::fs;
use std::path::{Path, PathBuf};

use aurora_discovery_client::{Error, Event, KeeperOptions};

use crate::peer::{Clock, deregistered, keep_with, registered_as, renewed_from};
use crate::server::{Received, ScriptedServer};

const TTL: u32 = 300;
const INTERVAL: u32 = 100;
const HOME: &str = "192.0.2.1";

/// A service that accepts everything, and whose registrations get the token `new_token`. It calls
/// `before` before each response.
async fn service(
    new_token: &'static str,
    mut before: impl FnMut(usize, &Received) + Send + 'static,
) -> ScriptedServer {
    ScriptedServer::start(move |n, received| {
        before(n, received);
        match received.path() {
            "/register" => registered_as(TTL, INTERVAL, new_token, HOME),
            "/heartbeat" => renewed_from(TTL, INTERVAL, HOME),
            _ => deregistered(),
        }
    })
    .await
}

fn with_file(path: &Path) -> KeeperOptions {
    KeeperOptions::new().token_file(path)
}

fn bodies(server: &ScriptedServer) -> Vec<String> {
    server.received().into_iter().map(|received| received.body).collect()
}

#[tokio::test]
async fn a_registration_becomes_token_only_once_its_token_is_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("p.token");
    let on_disk = path.clone();
    let server = service("first", move |n, received| {
        if n == 0 {
            assert!(!on_disk.exists());
            assert!(!received.body.contains("token"), "{}", received.body);
        } else {
            assert_eq!(fs::read_to_string(&on_disk).unwrap(), "first\n");
        }
    })
    .await;
    let (keeper, mut events) = keep_with(&server, with_file(&path)).unwrap();
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    let Some(Event::Secured { path: secured }) = events.recv().await else { panic!("not secured") };
    assert_eq!(secured, path);
    let bodies = bodies(&server);
    assert_eq!(bodies.len(), 2);
    assert!(bodies[1].contains(r#""lease_token":"first","token_only":true"#), "{}", bodies[1]);
    keeper.stop().await.unwrap();
}

#[tokio::test]
async fn a_restarted_peer_proves_with_its_token_file_that_it_is_the_holder() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("p.token");
    fs::write(&path, "first\n").unwrap();
    let server = service("first", |_, _| {}).await;
    let (_keeper, mut events) = keep_with(&server, with_file(&path)).unwrap();
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    assert!(matches!(events.recv().await, Some(Event::Secured { .. })));
    let bodies = bodies(&server);
    assert!(bodies[0].contains(r#""lease_token":"first""#), "{}", bodies[0]);
    assert!(!bodies[0].contains("token_only"), "the service may have forgotten the token: {}", bodies[0]);
    assert!(bodies[1].contains(r#""lease_token":"first","token_only":true"#), "{}", bodies[1]);
}

#[tokio::test]
async fn a_new_token_replaces_the_one_in_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("p.token");
    fs::write(&path, "stale").unwrap();
    let server = service("second", |_, _| {}).await;
    let (_keeper, mut events) = keep_with(&server, with_file(&path)).unwrap();
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    assert!(matches!(events.recv().await, Some(Event::Secured { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
    assert!(bodies(&server)[1].contains(r#""lease_token":"second","token_only":true"#));
}

/// Deletes the directory during the first registration, so that the token cannot be written. A
/// crash between the registration and the write has the same result.
async fn registered_without_a_saved_token(path: &Path) -> ScriptedServer {
    let directory = path.parent().unwrap().to_owned();
    service("first", move |n, _| {
        if n == 0 {
            fs::remove_dir(&directory).unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn a_crash_before_the_token_is_written_leaves_a_registration_that_needs_no_token() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state/p.token");
    fs::create_dir(path.parent().unwrap()).unwrap();
    let server = registered_without_a_saved_token(&path).await;
    let (keeper, mut events) = keep_with(&server, with_file(&path)).unwrap();
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    assert!(matches!(events.recv().await, Some(Event::Unsecured { error: Error::TokenFile { .. } })));
    drop(keeper);
    fs::create_dir(path.parent().unwrap()).unwrap();
    let (_keeper, mut events) = keep_with(&server, with_file(&path)).unwrap();
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    assert!(matches!(events.recv().await, Some(Event::Secured { .. })));
    let bodies = bodies(&server);
    assert_eq!(bodies.len(), 3);
    assert!(bodies[..2].iter().all(|body| !body.contains("token")), "{bodies:?}");
}

#[tokio::test]
async fn a_token_that_could_not_be_written_is_written_after_the_next_heartbeat() {
    let clock = Clock::pause();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state/p.token");
    fs::create_dir(path.parent().unwrap()).unwrap();
    let server = registered_without_a_saved_token(&path).await;
    let (_keeper, mut events) = keep_with(&server, with_file(&path)).unwrap();
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    let Some(Event::Unsecured { error }) = events.recv().await else { panic!("secured") };
    assert!(error.to_string().contains("state/p.token cannot be written: "), "{error}");
    fs::create_dir(path.parent().unwrap()).unwrap();
    clock.advance(100).await;
    assert!(matches!(events.recv().await, Some(Event::Renewed(_))));
    assert!(matches!(events.recv().await, Some(Event::Secured { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "first\n");
}

#[tokio::test]
async fn a_token_file_that_cannot_be_used_is_an_error_before_anything_is_registered() {
    let directory = tempfile::tempdir().unwrap();
    let unreadable = directory.path().join("no token");
    fs::write(&unreadable, "two words").unwrap();
    let unwritable = directory.path().join("missing/p.token");
    let server = service("first", |_, _| {}).await;
    let paths: [(PathBuf, &str); 3] = [
        (unreadable, "does not contain a lease token"),
        (unwritable, "cannot be written"),
        (directory.path().to_owned(), "cannot be read"),
    ];
    for (path, problem) in paths {
        let error = keep_with(&server, with_file(&path)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("the token file {} {problem}: ", path.display())), "{error}");
    }
    assert!(server.received().is_empty());
}
