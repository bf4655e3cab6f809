//! The doctor, on healthy services and on services that are broken in the ways in which operators
//! break them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aurora_discovery_embedded::EmbeddedStore;
use aurora_discovery_http::{Clock, Server, ServerOptions};
use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{Limits, Registry};
use serde_json::Value;

use crate::command::{Ran, Service, run};
use crate::proxy::{Proxy, Where, authority};
use crate::tls::certificates;

/// The doctor's findings about an endpoint.
struct Examined {
    code: i32,
    findings: Vec<Value>,
}

impl Examined {
    /// The verdict, the observation and the fix of one check.
    fn of(&self, check: &str) -> (&str, &str, &str) {
        let found = self.findings.iter().find(|finding| finding["check"] == check);
        let found = found.unwrap_or_else(|| panic!("nothing of {check}: {:?}", self.findings));
        let text = |key: &str| found[key].as_str().unwrap_or_default();
        (text("verdict"), text("says"), text("fix"))
    }

    /// Asserts the verdict of a check, a part of its observation, and a part of its fix.
    fn finds(&self, check: &str, verdict: &str, says: &str, fix: &str) {
        let found = self.of(check);
        assert!(found.0 == verdict && found.1.contains(says) && found.2.contains(fix), "{found:?}");
        assert_eq!(self.code, i32::from(self.findings.iter().any(|finding| finding["verdict"] == "fail")));
    }

    /// Asserts that only these checks report problems. Latency is ignored, because it depends on
    /// the load of this machine.
    fn nothing_but(&self, checks: &[&str]) {
        for finding in &self.findings {
            let expected =
                finding["check"] == "latency" || checks.iter().any(|check| finding["check"] == *check);
            assert!(expected || finding["verdict"] == "ok", "{finding}");
        }
    }
}

fn examine(endpoint: &str, arguments: &[&str]) -> Examined {
    let Ran { code, out, err } =
        run(&[&["doctor", "--json", "--calls", "5", "--endpoint", endpoint], arguments].concat());
    assert_eq!(err, "");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["endpoint"], &report["healthy"]), (&endpoint.into(), &(code == 0).into()));
    Examined { code, findings: report["findings"].as_array().unwrap().clone() }
}

#[test]
fn a_service_that_is_well_gets_no_advice_and_keeps_nothing_of_the_examination() {
    let service = Service::in_memory();
    let examined = examine(&service.endpoint, &[]);
    examined.nothing_but(&[]);
    for check in ["reach", "tls", "service", "version", "cors", "cache", "clock", "lease", "address", "leave"]
    {
        assert_eq!(examined.of(check).0, "ok");
    }
    assert!(examined.of("latency").1.starts_with("5 calls of /discover: p50 "));
    assert_eq!(examined.code, 0);
    assert!(service.call(&["discover"]).out.ends_with("0 of 0 live peers\n"));
}

#[test]
fn a_person_reads_a_line_for_each_finding_and_one_for_each_fix() {
    let service = Service::start(&["--memory", "--no-cors"]);
    let ran = service.call(&["doctor"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let (how_fast, lines): (Vec<&str>, Vec<&str>) = ran
        .out
        .lines()
        .partition(|line| line.contains("calls of /discover") || line.contains("serve nearer"));
    assert!(!how_fast.is_empty(), "{}", ran.out);
    let at = lines.iter().position(|line| line.starts_with("warn  cors      off:")).unwrap();
    assert!(lines[at + 1].trim_start().starts_with("fix: if they should: EnableCORS=true"), "{}", ran.out);
    assert_eq!(
        lines.iter().filter(|line| line.starts_with("ok    ")).count(),
        lines.len() - 2,
        "{}",
        ran.out
    );
}

#[test]
fn headers_that_a_proxy_adds_again_drops_or_answers_itself_are_found_as_a_browser_meets_them() {
    const ALLOW: &str = "access-control-allow-origin: *";
    let service = Service::in_memory();
    let twice = Proxy::editing(&service.endpoint, |_, head| format!("{head}\r\n{ALLOW}"));
    examine(&twice.endpoint, &[]).finds("cors", "fail", "comes twice (*, *)", "take it out of the proxy");

    let joined = Proxy::editing(&service.endpoint, |_, head| head.replace(ALLOW, &format!("{ALLOW}, *")));
    examine(&joined.endpoint, &[]).finds("cors", "fail", "comes twice (*, *)", "take it out of the proxy");

    let not_on_errors = Proxy::editing(&service.endpoint, |_, head| {
        if head.starts_with("HTTP/1.1 404") { head.replace(ALLOW, "x: y") } else { head }
    });
    examine(&not_on_errors.endpoint, &[]).finds("cors", "fail", "an error (HTTP 404)", "on errors too");

    let address = authority(&service.endpoint);
    let no_options = Proxy::routing(move |line| {
        if line.starts_with("OPTIONS") {
            Where::Answer("HTTP/1.1 405 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        } else {
            Where::To(address)
        }
    });
    examine(&no_options.endpoint, &[]).finds("cors", "fail", "HTTP 405", "let OPTIONS through");

    let unread =
        Proxy::editing(&service.endpoint, |_, head| head.replace("access-control-expose-headers", "x"));
    examine(&unread.endpoint, &[]).finds("cors", "warn", "may not read Retry-After", "Expose-Headers");
}

#[test]
fn a_list_from_a_cache_is_found() {
    let service = Service::in_memory();
    let kept = Proxy::editing(&service.endpoint, |_, head| format!("{head}\r\nage: 7"));
    examine(&kept.endpoint, &[]).finds("cache", "fail", "7 s old", "switch caching off");
    let bare = Proxy::editing(&service.endpoint, |_, head| head.replace("cache-control", "x"));
    examine(&bare.endpoint, &[]).finds("cache", "warn", "lacks Cache-Control", "through");
}

#[test]
fn a_proxy_whose_address_stands_for_everybodys_is_found() {
    let service = Service::in_memory();
    let proxy = Proxy::editing(&service.endpoint, |_, head| head);
    let examined = examine(&proxy.endpoint, &[]);
    examined.finds("address", "fail", "sees every caller as 127.0.0.2", "--trusted-hops");
    examined.nothing_but(&["address"]);
}

#[test]
fn a_service_that_believes_what_callers_write_about_themselves_is_found() {
    let service = Service::start(&["--memory", "--trusted-hops", "1"]);
    let examined = examine(&service.endpoint, &[]);
    examined.finds("address", "fail", "writes into X-Forwarded-For", "lower --trusted-hops");
    examined.nothing_but(&["address"]);
}

#[test]
fn services_behind_one_endpoint_that_do_not_share_their_registry_are_found() {
    let services = [Service::in_memory(), Service::in_memory()];
    let [one, other] = services.each_ref().map(|service| authority(&service.endpoint));
    for (apart, says) in
        [("GET /discover", "not listed within 6 s"), ("POST /heartbeat", "/heartbeat: HTTP 404")]
    {
        let split = Proxy::routing(move |line| Where::To(if line.starts_with(apart) { other } else { one }));
        examine(&split.endpoint, &[]).finds("lease", "fail", says, "share one table");
    }
}

#[test]
fn a_registry_without_room_is_found_with_the_bound_to_raise() {
    let service = Service::start(&["--memory", "--max-peers", "1", "--revival-hours", "0"]);
    assert_eq!(service.call(&["register", "alice"]).code, 0);
    let examined = examine(&service.endpoint, &[]);
    examined.finds("lease", "fail", "registry_full", "--max-peers");
    examined.nothing_but(&["lease"]);
}

#[test]
fn a_lease_that_can_not_be_waited_for_is_told_with_its_setting() {
    let service = Service::start(&["--memory", "--ttl-min", "60"]);
    let examined = examine(&service.endpoint, &["--expiry"]);
    examined.finds("expiry", "warn", "ttl_seconds", "--expiry=SECONDS");
    assert_eq!(examined.of("leave").0, "ok");
}

#[test]
fn the_end_of_a_lease_is_waited_for_and_its_revival_seen() {
    let service = Service::start(&["--memory", "--ttl-min", "1"]);
    let examined = examine(&service.endpoint, &["--expiry=3"]);
    examined.finds("expiry", "ok", "a lease of 3 s ended after", "");
    examined.nothing_but(&[]);
    let forgetful = Service::start(&["--memory", "--ttl-min", "1", "--revival-hours", "0"]);
    let examined = examine(&forgetful.endpoint, &["--expiry=2"]);
    examined.finds("expiry", "warn", "no heartbeat revives it", "RevivalHours (--revival-hours)");
}

#[test]
fn a_lease_that_ends_early_is_found() {
    let services = [Service::start(&["--memory", "--ttl-min", "1"]), Service::in_memory()];
    let [address, elsewhere] = services.each_ref().map(|service| authority(&service.endpoint));
    // The first requests of the examination reach the right registry. From the short lease on,
    // another registry responds.
    let registered = Arc::new(AtomicUsize::new(0));
    let early = Proxy::routing(move |line| {
        let times = registered.fetch_add(usize::from(line.starts_with("POST /register")), Ordering::SeqCst);
        Where::To(if times >= 3 && line.starts_with("GET /discover") { elsewhere } else { address })
    });
    examine(&early.endpoint, &["--expiry=2"]).finds("expiry", "fail", "before its lease had ended", "NTP");
}

/// Examines a service whose clock is `ahead` seconds ahead.
fn examine_with_clock(ahead: u64) -> Examined {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let clock = Clock::new(move || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(ahead);
        Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap())
    });
    let endpoint = runtime.block_on(async {
        let mut options = ServerOptions::default();
        options.listen = "127.0.0.1:0".parse().unwrap();
        options.service.clock = clock;
        let store = EmbeddedStore::in_memory(Limits::default());
        let registry = Arc::new(Registry::new(store, Limits::default()).unwrap());
        let server = Server::bind(options, registry).await.unwrap();
        let endpoint = format!("http://{}", server.local_addr());
        tokio::spawn(server.serve(std::future::pending()));
        endpoint
    });
    examine(&endpoint, &[])
}

#[test]
fn a_service_whose_clock_is_wrong_is_found_and_the_machine_named() {
    let late = examine_with_clock(90);
    late.finds("clock", "warn", "s ahead of this machine's", "run NTP on the service's machine");
    late.nothing_but(&["clock"]);
    examine_with_clock(200).finds(
        "clock",
        "fail",
        "s ahead of this machine's",
        "run NTP on the service's machine",
    );
    assert_eq!(examine_with_clock(0).of("clock").0, "ok");
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_found_and_trusted_when_told() {
    let directory = tempfile::tempdir().unwrap();
    let paths = certificates(directory.path());
    let [ca, cert, key] = paths.each_ref().map(|path| path.to_str().unwrap());
    let service = Service::start(&["--memory", "--tls-cert", cert, "--tls-key", key]);
    let other = tempfile::tempdir().unwrap();
    let [stranger, ..] = certificates(other.path());
    let wary = examine(&service.endpoint, &["--ca-cert", stranger.to_str().unwrap()]);
    wary.finds("reach", "fail", "certificate", "--ca-cert");

    let trusting = examine(&service.endpoint, &["--ca-cert", ca]);
    trusting.finds("tls", "ok", "valid for 127.0.0.1", "");
    trusting.nothing_but(&[]);

    let by_name = service.endpoint.replace("127.0.0.1", "localhost");
    examine(&by_name, &["--ca-cert", ca]).finds("reach", "fail", "localhost", "by a name in its certificate");

    let plain = service.endpoint.replace("https", "http");
    examine(&plain, &[]).finds("reach", "fail", "", "https://");
}

#[test]
fn what_is_not_the_service_is_told_apart() {
    // Only root can listen on port 1.
    examine("http://127.0.0.1:1", &[]).finds("reach", "fail", "refused", "start the service there");
    let service = Service::in_memory();
    let tls = service.endpoint.replace("http", "https");
    examine(&tls, &[]).finds("reach", "fail", "can't be reached", "plain HTTP");
    for (answer, says, fix) in [
        (
            "HTTP/1.1 200 OK\r\nserver: shop\r\nconnection: close\r\n\r\n<html>",
            "HTTP 200 by shop",
            "something else",
        ),
        (
            "HTTP/1.1 403 No\r\nconnection: close\r\n\r\n{\"message\":\"Missing Authentication Token\"}",
            "HTTP 403",
            "add the stage",
        ),
        ("HTTP/1.1 503 No\r\nconnection: close\r\n\r\nno backend", "can't answer now", "behind a proxy"),
        (
            "HTTP/1.1 301 No\r\nlocation: https://a.example/health\r\nconnection: close\r\n\r\n",
            "HTTP 301, which sends elsewhere",
            "https://a.example",
        ),
    ] {
        let web = Proxy::routing(move |_| Where::Answer(answer));
        let examined = examine(&web.endpoint, &[]);
        examined.finds("service", "fail", says, fix);
        assert_eq!(examined.findings.len(), 3, "the rest is not worth examining: {:?}", examined.findings);
    }
}

#[test]
fn an_older_service_is_told_as_such() {
    let service = Service::in_memory();
    let address = authority(&service.endpoint);
    let older = Proxy::routing(move |line| {
        if line.contains("openapi") {
            Where::Answer("HTTP/1.1 404 No\r\nconnection: close\r\n\r\n{}")
        } else {
            Where::To(address)
        }
    });
    examine(&older.endpoint, &[]).finds("version", "warn", "older service", "deploy the current version");
}
