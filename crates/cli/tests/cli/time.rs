//! On the embedded store, neither a pause of the process nor a step of the wall clock changes when
//! a lease ends.
//!
//! These tests wait in real time, because they are about the system's clocks and a real process.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aurora_discovery_protocol::Timestamp;

use crate::command::Service;

/// The lease of the peers. It leaves some seconds for a slow machine to run a few commands.
const LEASE: Duration = Duration::from_secs(4);
/// How much longer a lease may seem to last: a busy machine delays commands, and the service treats
/// a delay of more than a second as a pause.
const SLACK: Duration = Duration::from_secs(4);
const DAY: i64 = 86_400;
const PEERS: [&str; 3] = ["alice", "bob", "carol"];
/// The options of a service that deletes a peer as soon as its lease has ended.
const FORGETFUL: [&str; 5] = ["--memory", "--ttl-min", "1", "--revival-hours", "0"];

fn register(service: &Service) {
    for peer in PEERS {
        let registered = service.call(&["register", peer, "--ttl", &LEASE.as_secs().to_string()]);
        assert_eq!(registered.code, 0, "{}", registered.err);
    }
}

fn renew(service: &Service) {
    let renewed = service.call(&[&["heartbeat"], &PEERS[..]].concat());
    assert_eq!(renewed.code, 0, "{}{}", renewed.out, renewed.err);
}

fn discover(service: &Service) -> serde_json::Value {
    serde_json::from_str(&service.call(&["discover", "--json"]).out).unwrap()
}

/// Waits until no peer is listed. Asserts that the leases last neither too long nor too short.
fn assert_leases_end(service: &Service, last_renewal: Instant) {
    while discover(service)["count"] != 0 {
        let lasted = last_renewal.elapsed();
        assert!(lasted < LEASE + LEASE / 3 + SLACK, "a lease of {LEASE:?} lasts for {lasted:?}");
        sleep(Duration::from_millis(200));
    }
    assert!(last_renewal.elapsed() >= LEASE, "a lease of {LEASE:?} ended after {:?}", last_renewal.elapsed());
}

/// Asserts that the times in responses are the system's, shifted by `shift` seconds.
fn assert_shown_time(service: &Service, shift: i64) {
    let page = discover(service);
    let system = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    for time in [&page["timestamp"], &page["peers"][0]["last_seen"]] {
        let time = Timestamp::parse(time.as_str().unwrap()).unwrap();
        let shown = i64::try_from(time.as_millis() / 1_000).unwrap();
        // The tolerance covers `last_seen`: the lease was renewed up to a few seconds ago.
        assert!((shown - system - shift).abs() <= 8, "{time} is shown at {system} + {shift}");
    }
}

#[test]
fn a_process_that_is_stopped_for_two_leases_forgets_no_peer() {
    let service = Service::start(&FORGETFUL);
    register(&service);
    for _ in 0..2 {
        service.running.signal("STOP");
        sleep(2 * LEASE);
        service.running.signal("CONT");
        renew(&service);
    }
    let last_renewal = Instant::now();
    // After a pause, the service's clock is behind the wall clock. Within a fraction of a second,
    // the service measures the difference again, and shown times include it.
    sleep(Duration::from_millis(500));
    assert_shown_time(&service, 0);
    assert_leases_end(&service, last_renewal);
}

/// The library that fakes the wall clock (Debian's package `faketime`), if it is installed.
pub(crate) fn libfaketime() -> Option<PathBuf> {
    let directories = fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok).map(|entry| entry.path());
    directories.map(|path| path.join("faketime/libfaketimeMT.so.1")).find(|library| library.exists())
}

fn step(file: &Path, shift: i64) {
    // The file is replaced in one step, so that the service never reads a part of it.
    let new = file.with_extension("new");
    fs::write(&new, format!("{shift:+}")).unwrap();
    fs::rename(&new, file).unwrap();
    // The service and the test read the new time within a second.
    sleep(Duration::from_millis(1_500));
}

#[test]
fn steps_of_the_wall_clock_by_a_day_move_no_lease() {
    let Some(library) = libfaketime() else {
        eprintln!("skipped: libfaketime is not installed (Debian: apt-get install faketime)");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("time");
    step(&file, 0);
    let service = Service::start_with(
        &FORGETFUL,
        &[
            ("LD_PRELOAD", library.as_os_str()),
            ("FAKETIME_TIMESTAMP_FILE", file.as_os_str()),
            ("FAKETIME_NO_CACHE", "1".as_ref()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".as_ref()),
        ],
    );
    register(&service);
    for shift in [DAY, -DAY, DAY, 0] {
        step(&file, shift);
        renew(&service);
        assert_shown_time(&service, shift);
    }
    let last_renewal = Instant::now();
    renew(&service);
    step(&file, -DAY);
    assert_leases_end(&service, last_renewal);
}
