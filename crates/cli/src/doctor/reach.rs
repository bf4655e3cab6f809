//! Checks whether the endpoint can be reached over a secure connection, and whether a discovery
//! service responds.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aurora_discovery_client::{Client, Error, Probe, ProbeResponse};
use aurora_discovery_http::certificate_expiry;
use serde_json::Value;

use super::finding::Finding;
use super::test_peer::outcome;

/// The title of the OpenAPI document, which identifies the service.
const TITLE: &str = "Aurora Discovery";

/// The text by which the doctor recognises the response to plain HTTP on a TLS port.
const SERVES_HTTPS: &str = "This port serves HTTPS";
const SECONDS_PER_DAY: u64 = 24 * 3_600;
/// The doctor warns about a certificate with fewer days left. ACME clients renew a certificate 30
/// days before it expires, so the renewal has probably failed.
const RENEWAL_DAYS: u64 = 14;

/// Runs these checks. Also returns whether the other checks can succeed.
pub(crate) async fn examine(client: &Client) -> (Vec<Finding>, bool) {
    let health = match client.probe(Probe::get("health")).await {
        Ok(health) => health,
        Err(error) => {
            let (message, fix) = explain(&error);
            return (vec![Finding::fail("reach", message, fix)], false);
        }
    };
    let took = health.elapsed.as_millis();
    let mut findings = vec![
        Finding::ok("reach", format!("{} responds; the first request took {took} ms", client.endpoint())),
        transport(client, health.certificate.as_deref(), SystemTime::now()),
    ];
    let (service, is_ours) = service(&health);
    findings.push(service);
    if is_ours {
        findings.push(version(client.probe(Probe::get("openapi.json")).await.ok().as_ref()));
    }
    (findings, is_ours)
}

/// The meaning of a failed request, and how to fix it.
pub(crate) fn explain(error: &Error) -> (String, String) {
    let message = error.to_string();
    let fix = match error {
        Error::Unreachable { cause, .. } => unreachable(cause),
        Error::Certificate { cause, .. } => unreachable(&format!("certificate: {cause}")),
        Error::TimedOut { .. } => {
            "open the port in the firewall or security group of the service, or check its load"
        }
        _ => {
            "check that --endpoint is the URL of the service, on AWS with its stage (the output ApiEndpoint)"
        }
    };
    (message, fix.to_owned())
}

/// How to fix a failed connection, by the words in its `cause`. The system, the resolver, TLS and
/// HTTP phrase causes differently.
fn unreachable(cause: &str) -> &'static str {
    let cause = cause.to_ascii_lowercase();
    // The first match counts, so specific words come before general ones.
    let causes = [
        ("ca:true", "make a certificate for the server, as the message says, and pass it with --ca-cert"),
        ("subject alternative name", "make a certificate for the name in --endpoint, as the message says"),
        (
            "unknownissuer",
            "pass the certificate of the authority with --ca-cert, or serve the whole chain, leaf first (--tls-cert)",
        ),
        (
            "expired",
            "renew the certificate; the service reads changed files within a minute, or at once on SIGHUP",
        ),
        ("not valid yet", "correct the clock of this machine, or of the machine that issued the certificate"),
        (
            "not valid for name",
            "use a host name that is in the certificate, or get a certificate for this name",
        ),
        (
            "certificate",
            "pass the certificate of the authority with --ca-cert, or serve a trusted certificate (--tls-cert)",
        ),
        ("invalidcontenttype", "the port serves plain HTTP: begin --endpoint with http://, or enable TLS"),
        ("handshake eof", "the port may serve plain HTTP: begin --endpoint with http://, or enable TLS"),
        ("lookup", "correct the host name in --endpoint, or its DNS record"),
        (
            "refused",
            "start the service there, or correct host and port; `serve` listens only on loopback unless --listen is set",
        ),
        ("http", "the port does not serve plain HTTP: begin --endpoint with https:// if it serves TLS"),
        (
            "closed",
            "the port may serve TLS: begin --endpoint with https://; otherwise check the log of the service or the proxy",
        ),
    ];
    causes
        .iter()
        .find(|(word, _)| cause.contains(word))
        .map_or("check host and port, the network path, and that the service is running", |(_, fix)| fix)
}

/// Whether the connection to the service is secure.
fn transport(client: &Client, certificate: Option<&[u8]>, now: SystemTime) -> Finding {
    let (host, _) = client.authority();
    let is_local = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    if client.endpoint().starts_with("https://") {
        certificate_finding(&host, certificate.and_then(certificate_expiry), now)
    } else if is_local {
        Finding::ok("tls", "plain HTTP, which does not leave this machine")
    } else {
        Finding::warn(
            "tls",
            "plain HTTP: others on the network path can read lease tokens and change responses",
            "serve with --tls-cert and --tls-key, or behind a proxy that terminates TLS, and use https://",
        )
    }
}

/// The finding about a trusted certificate that expires at this time, in seconds since 1970.
fn certificate_finding(host: &str, expires_at: Option<u64>, now: SystemTime) -> Finding {
    let trusted = format!("the certificate is valid for {host} and trusted");
    let Some(expires_at) = expires_at else { return Finding::ok("tls", trusted) };
    let left = (UNIX_EPOCH + Duration::from_secs(expires_at)).duration_since(now).unwrap_or_default();
    let days = left.as_secs() / SECONDS_PER_DAY;
    let message = format!("{trusted}; it expires in {days} days");
    if days >= RENEWAL_DAYS {
        return Finding::ok("tls", message);
    }
    let fix = "renew the certificate; the service reads changed files within a minute, or at once on SIGHUP";
    Finding::warn("tls", message, fix)
}

fn service(health: &ProbeResponse) -> (Finding, bool) {
    let body: Value = serde_json::from_slice(&health.body).unwrap_or_default();
    let server = health.header("server").map(|name| format!(" by {name}")).unwrap_or_default();
    let seen = format!("/health returns {}{server}", outcome(health));
    if body["status"] == "healthy" && health.status == 200 {
        return (Finding::ok("service", "healthy"), true);
    }
    if body["status"] == "unhealthy" {
        let reason = body["reason"].as_str().unwrap_or("without a reason");
        let fix = "fix the cause (for a full disk, free some space; the service recovers by itself); heartbeats and discovery continue";
        return (Finding::fail("service", format!("unhealthy: {reason}"), fix), true);
    }
    if body["code"] == "unavailable" || health.status == 503 {
        let fix = "check the service's log; behind a proxy or gateway, check that it reaches the service";
        return (Finding::fail("service", format!("{seen}: it is unavailable"), fix), false);
    }
    if let Some(location) = health.header("location").filter(|_| (300..400).contains(&health.status)) {
        let fix =
            format!("use the target of the redirect as --endpoint, without the path /health: {location}");
        return (
            Finding::fail("service", format!("{seen}, a redirect, which peers don't follow"), fix),
            false,
        );
    }
    if String::from_utf8_lossy(&health.body).contains(SERVES_HTTPS) {
        return (
            Finding::fail(
                "service",
                format!("{seen}: the port serves HTTPS"),
                "begin --endpoint with https://",
            ),
            false,
        );
    }
    // API Gateway sends this body for a path outside of any stage.
    let gateway = body["message"].is_string() && matches!(health.status, 403 | 404);
    let fix = if gateway {
        "add the stage to --endpoint, such as /dev; the stack's output ApiEndpoint is the complete URL"
    } else {
        "check host, port and path of --endpoint: a server other than Aurora Discovery responds there"
    };
    (Finding::fail("service", format!("{seen}, which is not a response of Aurora Discovery"), fix), false)
}

fn version(document: Option<&ProbeResponse>) -> Finding {
    let document: Value =
        document.and_then(|response| serde_json::from_slice(&response.body).ok()).unwrap_or_default();
    let version = document["info"]["version"].as_str();
    match version.filter(|_| document["info"]["title"] == TITLE) {
        Some(version) => Finding::ok("version", format!("API version {version}")),
        None => Finding::warn(
            "version",
            "no /openapi.json of Aurora Discovery: an older service, or a proxy that forwards only some paths",
            "deploy the current version, or forward every path to the service",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn a_certificate_with_less_than_14_days_left_is_a_warning() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (days, verdict) in [(15, Verdict::Ok), (13, Verdict::Warn), (0, Verdict::Warn)] {
            let finding = certificate_finding("h", Some(1_000_000 + days * SECONDS_PER_DAY), now);
            assert_eq!(finding.verdict, verdict, "{days}");
            assert!(finding.message.contains(&format!("in {days} days")), "{}", finding.message);
        }
        assert_eq!(certificate_finding("h", None, now).verdict, Verdict::Ok);
    }

    #[test]
    fn each_cause_of_a_failed_connection_has_a_fix() {
        for (cause, fix) in [
            ("it is a CA certificate (CA:TRUE)", "as the message says"),
            ("invalid peer certificate: UnknownIssuer", "--ca-cert"),
            (
                "invalid peer certificate: certificate expired: verification time 2 (UNIX), but certificate is not valid after 1",
                "renew",
            ),
            ("invalid peer certificate: certificate not valid yet: verification time 1", "clock"),
            (
                "invalid peer certificate: certificate not valid for name \"a\"",
                "a host name that is in the certificate",
            ),
            ("invalid peer certificate: BadSignature", "a trusted certificate"),
            ("received corrupt message of type InvalidContentType", "http://"),
            ("tls handshake eof", "plain HTTP"),
            ("failed to lookup address information: Name or service not known", "DNS"),
            ("Connection refused (os error 111)", "start the service"),
            ("invalid HTTP version parsed", "https://"),
            ("connection closed before message completed", "https://"),
            ("No route to host (os error 113)", "the network path"),
        ] {
            assert!(unreachable(cause).contains(fix), "{cause}: {}", unreachable(cause));
        }
    }
}
