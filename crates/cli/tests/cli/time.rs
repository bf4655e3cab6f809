//! On the embedded store, a pause of the process ends no lease, and a step of the wall clock does
//! not change when a lease ends.
//!
//! These tests wait in real time, because they are about the system's clocks and a real process.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aurora_discovery_protocol::Timestamp;

use crate::command::Service;

/// The lease of the peers.
const LEASE: Duration = Duration::from_secs(4);
/// How long a busy machine may delay what these tests wait for. The service treats a delay of more
/// than a second as a pause, so a lease may seem to last longer.
const PATIENCE: Duration = Duration::from_secs(60);
const DAY: i64 = 86_400;
const PEERS: [&str; 3] = ["alice", "bob", "carol"];
/// The options of a service that deletes a peer as soon as its lease has ended.
const FORGETFUL: [&str; 5] = ["--memory", "--ttl-min", "1", "--revival-hours", "0"];

/// Registers the peers. Returns a time before that.
fn register(service: &Service) -> Instant {
    let begun = Instant::now();
    for peer in PEERS {
        let registered = service.call(&["register", peer, "--ttl", &LEASE.as_secs().to_string()]);
        assert_eq!(registered.code, 0, "{}", registered.err);
    }
    begun
}

/// Renews the leases. They began after `begun`, and the service was stopped for `stopped` since then.
/// Returns a time before the renewal.
fn renew(service: &Service, begun: Instant, stopped: Duration) -> Instant {
    let renewing = Instant::now();
    let renewed = service.call(&[&["heartbeat"], &PEERS[..]].concat());
    if renewed.code != 0 {
        // On a slow machine, the commands since then may have taken longer than a lease.
        let ran = begun.elapsed() - stopped;
        assert!(ran > LEASE / 2, "after {ran:?}: {}{}", renewed.out, renewed.err);
        register(service);
    }
    renewing
}

fn discover(service: &Service) -> serde_json::Value {
    serde_json::from_str(&service.call(&["discover", "--json"]).out).unwrap()
}

/// Waits until no peer is listed. Asserts that the leases last neither too long nor too short.
fn assert_leases_end(service: &Service, last_renewal: Instant) {
    while discover(service)["count"] != 0 {
        let lasted = last_renewal.elapsed();
        assert!(lasted < LEASE + PATIENCE, "a lease of {LEASE:?} lasts for {lasted:?}");
        sleep(Duration::from_millis(200));
    }
    assert!(last_renewal.elapsed() >= LEASE, "a lease of {LEASE:?} ended after {:?}", last_renewal.elapsed());
}

fn system_seconds() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// Waits until the times in responses are the system's, shifted by `shift` seconds. After a pause or
/// a step of the system's clock, the service shows the right time within a fraction of a second.
fn assert_shown_time(service: &Service, shift: i64, last_renewal: Instant) {
    let started = Instant::now();
    loop {
        let before = system_seconds();
        let renewed = before - i64::try_from(last_renewal.elapsed().as_secs()).unwrap() - 1;
        let page = discover(service);
        // All times are rounded to seconds.
        let latest = system_seconds() + 1;
        let is_shown = |time: &serde_json::Value, earliest: i64| {
            let time = Timestamp::parse(time.as_str().unwrap()).unwrap();
            (earliest - 1..=latest).contains(&(i64::try_from(time.as_secs()).unwrap() - shift))
        };
        let last_seen = &page["peers"][0]["last_seen"];
        // On a slow machine, the leases may have ended already.
        if is_shown(&page["timestamp"], before) && (last_seen.is_null() || is_shown(last_seen, renewed)) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{page} is shown at {before} + {shift}");
    }
}

#[test]
fn a_process_that_is_stopped_for_two_leases_forgets_no_peer() {
    const STOPPED: Duration = Duration::from_secs(2 * LEASE.as_secs());
    let service = Service::start(&FORGETFUL);
    let mut last_renewal = register(&service);
    for _ in 0..2 {
        service.running.signal("STOP");
        sleep(STOPPED);
        service.running.signal("CONT");
        last_renewal = renew(&service, last_renewal, STOPPED);
    }
    assert_shown_time(&service, 0, last_renewal);
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
    let mut last_renewal = register(&service);
    for shift in [DAY, -DAY, DAY, 0] {
        step(&file, shift);
        assert_shown_time(&service, shift, last_renewal);
        last_renewal = renew(&service, last_renewal, Duration::ZERO);
        assert_shown_time(&service, shift, last_renewal);
    }
    last_renewal = renew(&service, last_renewal, Duration::ZERO);
    step(&file, -DAY);
    assert_shown_time(&service, -DAY, last_renewal);
    assert_leases_end(&service, last_renewal);
}
