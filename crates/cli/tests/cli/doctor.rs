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

use crate::command::{Completed, Service, run, run_with};
use crate::proxy::{Destination, Proxy, authority};
use crate::tls::certificates;

/// The doctor's findings about an endpoint.
struct Examination {
    code: i32,
    findings: Vec<Value>,
}

impl Examination {
    /// The verdict, the observation and the fix of one check.
    fn finding(&self, check: &str) -> (&str, &str, &str) {
        let found = self.findings.iter().find(|finding| finding["check"] == check);
        let found = found.unwrap_or_else(|| panic!("nothing of {check}: {:?}", self.findings));
        let text = |key: &str| found[key].as_str().unwrap_or_default();
        (text("verdict"), text("says"), text("fix"))
    }

    /// Asserts the verdict of a check, a part of its observation, and a part of its fix.
    fn assert_finding(&self, check: &str, verdict: &str, message: &str, fix: &str) {
        let found = self.finding(check);
        assert!(found.0 == verdict && found.1.contains(message) && found.2.contains(fix), "{found:?}");
        assert_eq!(self.code, i32::from(self.findings.iter().any(|finding| finding["verdict"] == "fail")));
    }

    /// Asserts that only these checks report problems. Latency is ignored, because it depends on
    /// the load of this machine.
    fn assert_problems_only_in(&self, checks: &[&str]) {
        for finding in &self.findings {
            let expected =
                finding["check"] == "latency" || checks.iter().any(|check| finding["check"] == *check);
            assert!(expected || finding["verdict"] == "ok", "{finding}");
        }
    }
}

fn examine(endpoint: &str, arguments: &[&str]) -> Examination {
    let Completed { code, out, err } =
        run(&[&["doctor", "--json", "--calls", "5", "--endpoint", endpoint], arguments].concat());
    assert_eq!(err, "");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["endpoint"], &report["healthy"]), (&endpoint.into(), &(code == 0).into()));
    Examination { code, findings: report["findings"].as_array().unwrap().clone() }
}

/// Examines a service until the check of the expiry has this verdict, but a limited number of times.
/// The verdict may be another one if the machine pauses for seconds while the short lease runs.
fn examine_expiry(verdict: &str, examine: impl Fn() -> Examination) -> Examination {
    const ATTEMPTS: usize = 10;
    let mut examinations = (0..ATTEMPTS).map(|_| examine());
    let examination = examinations.find(|examination| examination.finding("expiry").0 == verdict);
    examination.unwrap_or_else(|| panic!("the verdict is never {verdict}"))
}

#[test]
fn a_healthy_service_has_no_problems_and_keeps_no_test_peer() {
    let service = Service::in_memory();
    let examination = examine(&service.endpoint, &[]);
    examination.assert_problems_only_in(&[]);
    for check in ["reach", "tls", "service", "version", "cors", "cache", "clock", "lease", "address", "leave"]
    {
        assert_eq!(examination.finding(check).0, "ok");
    }
    assert!(examination.finding("latency").1.starts_with("5 requests to /discover: p50 "));
    assert_eq!(examination.code, 0);
    assert!(service.call(&["discover"]).out.ends_with("0 of 0 live peers\n"));
}

#[test]
fn each_finding_and_each_fix_is_a_line_of_text() {
    let service = Service::start(&["--memory", "--no-cors"]);
    let output = service.call(&["doctor"]);
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    let (how_fast, lines): (Vec<&str>, Vec<&str>) = output.out.lines().partition(|line| {
        line.contains("requests to /discover") || line.contains("deploy the service closer")
    });
    assert!(!how_fast.is_empty(), "{}", output.out);
    let at = lines.iter().position(|line| line.starts_with("warn  cors      off:")).unwrap();
    assert!(
        lines[at + 1].trim_start().starts_with("fix: if they should: set EnableCORS=true"),
        "{}",
        output.out
    );
    assert_eq!(
        lines.iter().filter(|line| line.starts_with("ok    ")).count(),
        lines.len() - 2,
        "{}",
        output.out
    );
}

#[test]
fn cors_headers_that_a_proxy_duplicates_removes_or_replaces_are_reported() {
    const ALLOW: &str = "access-control-allow-origin: *";
    let service = Service::in_memory();
    let twice = Proxy::editing(&service.endpoint, |_, head| format!("{head}\r\n{ALLOW}"));
    examine(&twice.endpoint, &[]).assert_finding(
        "cors",
        "fail",
        "appears twice (*, *)",
        "remove it from the proxy",
    );

    let joined = Proxy::editing(&service.endpoint, |_, head| head.replace(ALLOW, &format!("{ALLOW}, *")));
    examine(&joined.endpoint, &[]).assert_finding(
        "cors",
        "fail",
        "appears twice (*, *)",
        "remove it from the proxy",
    );

    let not_on_errors = Proxy::editing(&service.endpoint, |_, head| {
        if head.starts_with("HTTP/1.1 404") { head.replace(ALLOW, "x: y") } else { head }
    });
    examine(&not_on_errors.endpoint, &[]).assert_finding(
        "cors",
        "fail",
        "an error (HTTP 404, request ",
        "on errors too",
    );

    let address = authority(&service.endpoint);
    let no_options = Proxy::routing(move |line| {
        if line.starts_with("OPTIONS") {
            Destination::Response("HTTP/1.1 405 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        } else {
            Destination::Service(address)
        }
    });
    examine(&no_options.endpoint, &[]).assert_finding("cors", "fail", "HTTP 405", "forward OPTIONS requests");

    let unread =
        Proxy::editing(&service.endpoint, |_, head| head.replace("access-control-expose-headers", "x"));
    examine(&unread.endpoint, &[]).assert_finding(
        "cors",
        "warn",
        "may not read Retry-After",
        "Expose-Headers",
    );
}

#[test]
fn a_cached_list_of_peers_is_reported() {
    let service = Service::in_memory();
    let kept = Proxy::editing(&service.endpoint, |_, head| format!("{head}\r\nage: 7"));
    examine(&kept.endpoint, &[]).assert_finding("cache", "fail", "7 s old", "disable caching");
    let bare = Proxy::editing(&service.endpoint, |_, head| head.replace("cache-control", "x"));
    examine(&bare.endpoint, &[]).assert_finding("cache", "warn", "lacks Cache-Control", "pass through");
}

#[test]
fn a_proxy_that_hides_client_addresses_is_reported() {
    let service = Service::in_memory();
    let proxy = Proxy::editing(&service.endpoint, |_, head| head);
    let examination = examine(&proxy.endpoint, &[]);
    examination.assert_finding("address", "fail", "sees every client as 127.0.0.2", "--trusted-hops");
    examination.assert_problems_only_in(&["address"]);
}

#[test]
fn a_service_that_trusts_forged_forwarded_headers_is_reported() {
    let service = Service::start(&["--memory", "--trusted-hops", "1"]);
    let address = authority(&service.endpoint);
    let gullible = Proxy::routing(move |_| Destination::ServiceWithClient(address));
    let examination = examine(&gullible.endpoint, &[]);
    examination.assert_finding("address", "fail", "writes into X-Forwarded-For", "lower --trusted-hops");
    examination.assert_problems_only_in(&["address"]);
}

#[test]
fn a_service_that_expects_more_proxies_than_there_are_is_reported() {
    let service = Service::start(&["--memory", "--trusted-hops", "1"]);
    let examination = examine(&service.endpoint, &[]);
    examination.assert_finding(
        "address",
        "fail",
        "X-Forwarded-For has no valid IP address",
        "set --trusted-hops",
    );
    examination.assert_problems_only_in(&["address", "version"]);
}

#[test]
fn processes_behind_one_endpoint_without_a_shared_registry_are_reported() {
    let services = [Service::in_memory(), Service::in_memory()];
    let [one, other] = services.each_ref().map(|service| authority(&service.endpoint));
    for (request, message) in
        [("GET /discover", "not listed within 6 s"), ("POST /heartbeat", "/heartbeat: HTTP 404")]
    {
        let split = Proxy::routing(move |line| {
            Destination::Service(if line.starts_with(request) { other } else { one })
        });
        examine(&split.endpoint, &[]).assert_finding("lease", "fail", message, "share one table");
    }
}

#[test]
fn a_service_that_accepts_registrations_and_lists_no_peer_is_reported() {
    let service = Service::in_memory();
    let address = authority(&service.endpoint);
    // Simulates a service of an older version, whose response to a registration lacks most keys.
    let forgetful = Proxy::routing(move |line| {
        if line.starts_with("POST /register") {
            Destination::Response("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"message\":\"ok\"}")
        } else {
            Destination::Service(address)
        }
    });
    let examination = examine(&forgetful.endpoint, &["--expiry=1"]);
    assert_eq!(examination.code, 1);
    let failed = examination.findings.iter().find(|found| found["verdict"] == "fail").unwrap();
    assert_eq!(failed["check"], "lease");
    let message = failed["says"].as_str().unwrap();
    assert!(message.contains("not listed within 6 s (/discover: HTTP 200, request "), "{message}");
    for check in ["address", "expiry"] {
        examination.assert_finding(check, "warn", "not checked", "run the doctor again");
    }
}

#[test]
fn a_malformed_peer_of_a_stranger_does_not_count_against_the_service() {
    let service = Service::in_memory();
    let address = authority(&service.endpoint);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let page = format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n\
         {{\"peers\":[{{\"peer_id\":7,\"metadata\":{{\"n\":1e999}}}}],\"count\":1,\"total\":1,\"timestamp\":\"{}\"}}",
        Timestamp::from_secs(now)
    );
    // On a busy machine the timestamp may be old when the doctor reads it, and the doctor then
    // warns about the clock. In either case its finding must be about the clock and not about the
    // malformed peer.
    let page: &'static str = Box::leak(page.into_boxed_str());
    let poisoned = Proxy::routing(move |line| {
        if line.starts_with("GET /discover?limit=1 ") {
            Destination::Response(page)
        } else {
            Destination::Service(address)
        }
    });
    let examination = examine(&poisoned.endpoint, &[]);
    assert!(examination.finding("clock").1.contains("clock"), "{:?}", examination.finding("clock"));
    assert_eq!(examination.finding("lease").0, "ok");
}

#[test]
fn a_time_zone_other_than_utc_is_reported_with_the_remedy_for_legacy_clients() {
    let service = Service::in_memory();
    let arguments = ["doctor", "--calls", "1", "--endpoint", &service.endpoint];
    let output = run_with(&arguments, &[("TZ", "Europe/Berlin")]);
    assert_eq!(output.code, 0);
    let lines: Vec<&str> = output.out.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("warn  zone ")).unwrap();
    assert!(lines[at].contains("Europe/Berlin") && lines[at + 1].contains("TZ=UTC"), "{}", output.out);
}

#[test]
fn a_full_registry_is_reported_with_the_limit_to_raise() {
    let service = Service::start(&["--memory", "--max-peers", "1", "--revival-hours", "0"]);
    assert_eq!(service.call(&["register", "alice"]).code, 0);
    let examination = examine(&service.endpoint, &[]);
    examination.assert_finding("lease", "fail", "registry_full", "--max-peers");
    for check in ["address", "leave"] {
        examination.assert_finding(check, "warn", "not checked", "run the doctor again");
    }
    examination.assert_problems_only_in(&["lease", "address", "leave"]);
}

#[test]
fn a_lease_that_the_service_does_not_grant_is_reported_with_its_setting() {
    let service = Service::start(&["--memory", "--ttl-min", "60"]);
    let examination = examine(&service.endpoint, &["--expiry"]);
    examination.assert_finding("expiry", "warn", "ttl_seconds", "--expiry=SECONDS");
    assert_eq!(examination.finding("leave").0, "ok");
}

#[test]
fn the_end_of_a_lease_and_its_revival_are_checked() {
    let service = Service::start(&["--memory", "--ttl-min", "1"]);
    let examination = examine_expiry("ok", || examine(&service.endpoint, &["--expiry=3"]));
    examination.assert_finding("expiry", "ok", "a lease of 3 s ended after", "");
    examination.assert_problems_only_in(&[]);
    let without_revival = Service::start(&["--memory", "--ttl-min", "1", "--revival-hours", "0"]);
    let examination = examine_expiry("warn", || examine(&without_revival.endpoint, &["--expiry=2"]));
    examination.assert_finding(
        "expiry",
        "warn",
        "a heartbeat does not revive it",
        "RevivalHours (--revival-hours)",
    );
}

#[test]
fn a_lease_that_ends_early_is_reported() {
    let services = [Service::start(&["--memory", "--ttl-min", "1"]), Service::in_memory()];
    let [address, elsewhere] = services.each_ref().map(|service| authority(&service.endpoint));
    // Up to the registration with the short lease, requests reach the right registry. From then on,
    // another registry responds.
    let examination = examine_expiry("fail", || {
        let registered = AtomicUsize::new(0);
        let early = Proxy::routing(move |line| {
            let times =
                registered.fetch_add(usize::from(line.starts_with("POST /register")), Ordering::SeqCst);
            Destination::Service(if times >= 3 && line.starts_with("GET /discover") {
                elsewhere
            } else {
                address
            })
        });
        examine(&early.endpoint, &["--expiry=2"])
    });
    examination.assert_finding("expiry", "fail", "before its lease had ended", "NTP");
}

/// Examines a service whose clock is `ahead` seconds ahead.
fn examine_with_clock(ahead: u64) -> Examination {
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
fn a_wrong_clock_is_reported_with_its_machine() {
    let late = examine_with_clock(90);
    late.assert_finding("clock", "warn", "s ahead of this machine's", "run NTP on the service's machine");
    late.assert_problems_only_in(&["clock"]);
    examine_with_clock(200).assert_finding(
        "clock",
        "fail",
        "s ahead of this machine's",
        "run NTP on the service's machine",
    );
    assert_eq!(examine_with_clock(0).finding("clock").0, "ok");
}

#[test]
fn a_certificate_of_an_unknown_authority_is_reported_unless_the_authority_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let paths = certificates(directory.path());
    let [ca, cert, key] = paths.each_ref().map(|path| path.to_str().unwrap());
    let service = Service::start(&["--memory", "--tls-cert", cert, "--tls-key", key]);
    let other = tempfile::tempdir().unwrap();
    let [other_ca, ..] = certificates(other.path());
    let distrusting = examine(&service.endpoint, &["--ca-cert", other_ca.to_str().unwrap()]);
    distrusting.assert_finding("reach", "fail", "certificate", "--ca-cert");

    let trusting = examine(&service.endpoint, &["--ca-cert", ca]);
    trusting.assert_finding("tls", "ok", "valid for 127.0.0.1", "");
    trusting.assert_problems_only_in(&[]);

    let by_name = service.endpoint.replace("127.0.0.1", "localhost");
    examine(&by_name, &["--ca-cert", ca]).assert_finding(
        "reach",
        "fail",
        "localhost",
        "a host name that is in the certificate",
    );

    let plain = service.endpoint.replace("https", "http");
    examine(&plain, &[]).assert_finding("service", "fail", "serves HTTPS", "https://");
}

#[test]
fn a_failed_connection_and_a_foreign_server_are_distinguished() {
    // Nothing listens on port 1, because only root may listen there.
    examine("http://127.0.0.1:1", &[]).assert_finding("reach", "fail", "refused", "start the service there");
    let service = Service::in_memory();
    let tls = service.endpoint.replace("http", "https");
    examine(&tls, &[]).assert_finding("reach", "fail", "can't be reached", "plain HTTP");
    for (response, message, fix) in [
        (
            "HTTP/1.1 200 OK\r\nserver: shop\r\nconnection: close\r\n\r\n<html>",
            "HTTP 200 by shop",
            "a server other than",
        ),
        (
            "HTTP/1.1 403 No\r\nconnection: close\r\n\r\n{\"message\":\"Missing Authentication Token\"}",
            "HTTP 403",
            "add the stage",
        ),
        ("HTTP/1.1 503 No\r\nconnection: close\r\n\r\nno backend", "it is unavailable", "behind a proxy"),
        (
            "HTTP/1.1 301 No\r\nlocation: https://a.example/health\r\nconnection: close\r\n\r\n",
            "HTTP 301, a redirect",
            "https://a.example",
        ),
    ] {
        let web = Proxy::routing(move |_| Destination::Response(response));
        let examination = examine(&web.endpoint, &[]);
        examination.assert_finding("service", "fail", message, fix);
        examination.assert_finding("skipped", "warn", "not checked", "run the doctor again");
        assert_eq!(examination.findings.len(), 4, "{:?}", examination.findings);
    }
}

#[test]
fn an_older_service_is_reported() {
    let service = Service::in_memory();
    let address = authority(&service.endpoint);
    let older = Proxy::routing(move |line| {
        if line.contains("openapi") {
            Destination::Response("HTTP/1.1 404 No\r\nconnection: close\r\n\r\n{}")
        } else {
            Destination::Service(address)
        }
    });
    examine(&older.endpoint, &[]).assert_finding(
        "version",
        "warn",
        "older service",
        "deploy the current version",
    );
}
