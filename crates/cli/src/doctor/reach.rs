//! Checks whether the endpoint can be reached over a secure connection, and whether a discovery
//! service responds.

use std::net::IpAddr;

use aurora_discovery_client::{Client, Error, Probe, ProbeResponse};
use serde_json::Value;

use super::finding::Finding;

/// The title of the OpenAPI document, which identifies the service.
const TITLE: &str = "Aurora Discovery";

/// Runs these checks. Also returns whether the other checks are worth running.
pub(crate) async fn examine(client: &Client) -> (Vec<Finding>, bool) {
    let health = match client.probe(Probe::get("health")).await {
        Ok(health) => health,
        Err(error) => {
            let (says, fix) = explain(&error);
            return (vec![Finding::fail("reach", says, fix)], false);
        }
    };
    let took = health.elapsed.as_millis();
    let mut findings = vec![
        Finding::ok("reach", format!("{} answers; the first call took {took} ms", client.endpoint())),
        way(client),
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
    let says = error.to_string();
    let fix = match error {
        Error::Unreachable { cause, .. } => unreachable(cause),
        Error::TimedOut { .. } => {
            "open the port in the firewall or security group in front of the service, or look at its load"
        }
        _ => "check that --endpoint is the service's own, on AWS with its stage (the output ApiEndpoint)",
    };
    (says, fix.to_owned())
}

/// The message comes from the system, the resolver, TLS or HTTP, which all phrase it differently.
fn unreachable(cause: &str) -> &'static str {
    let cause = cause.to_ascii_lowercase();
    let causes = [
        (
            "unknownissuer",
            "name the authority's certificate by --ca-cert, or serve the whole chain, leaf first (--tls-cert)",
        ),
        ("expired", "renew the certificate and restart the service: it reads certificates at its start"),
        ("not valid yet", "set this machine's clock, or the one that issued the certificate"),
        ("not valid for name", "call the service by a name in its certificate, or get one for this name"),
        (
            "certificate",
            "name the authority's certificate by --ca-cert, or serve a certificate that is trusted (--tls-cert)",
        ),
        (
            "invalidcontenttype",
            "the port speaks plain HTTP: begin --endpoint with http://, or serve TLS there",
        ),
        ("lookup", "correct the host's name in --endpoint, or its entry in the DNS"),
        (
            "refused",
            "start the service there, or correct host and port; `serve` listens on loopback only unless --listen says otherwise",
        ),
        ("http", "the port does not speak plain HTTP: begin --endpoint with https:// if it speaks TLS"),
        (
            "closed",
            "the port may speak TLS: begin --endpoint with https://; else look into the log of the service or the proxy",
        ),
    ];
    causes
        .iter()
        .find(|(word, _)| cause.contains(word))
        .map_or("check host and port, the network between, and that the service runs", |(_, fix)| fix)
}

/// Whether the connection to the service is secure.
fn way(client: &Client) -> Finding {
    let (host, _) = client.authority();
    let is_local = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    if client.endpoint().starts_with("https://") {
        Finding::ok("tls", format!("the certificate is valid for {host} and trusted"))
    } else if is_local {
        Finding::ok("tls", "plain HTTP, which does not leave this machine")
    } else {
        Finding::warn(
            "tls",
            "plain HTTP: whoever is on the way can read lease tokens and change answers",
            "serve with --tls-cert and --tls-key, or behind a proxy that ends TLS, and call it by https://",
        )
    }
}

fn service(health: &ProbeResponse) -> (Finding, bool) {
    let body: Value = serde_json::from_slice(&health.body).unwrap_or_default();
    let server = health.header("server").map(|name| format!(" by {name}")).unwrap_or_default();
    let seen = format!("/health answers with HTTP {}{server}", health.status);
    if body["status"] == "healthy" && health.status == 200 {
        return (Finding::ok("service", "healthy"), true);
    }
    if body["status"] == "unhealthy" {
        let reason = body["reason"].as_str().unwrap_or("it does not say why");
        let fix = "mend what the reason names (a full disk: make room, it heals by itself); heartbeats and discovery go on";
        return (Finding::fail("service", format!("unhealthy: {reason}"), fix), true);
    }
    if body["code"] == "unavailable" || health.status == 503 {
        let fix = "look into the service's log; behind a proxy or gateway, check that it reaches the service";
        return (Finding::fail("service", format!("{seen}: it can't answer now"), fix), false);
    }
    if let Some(location) = health.header("location").filter(|_| (300..400).contains(&health.status)) {
        let fix = format!("call what it sends to instead, without the path /health: {location}");
        return (
            Finding::fail("service", format!("{seen}, which sends elsewhere; peers don't follow"), fix),
            false,
        );
    }
    let gateway = body["message"].is_string() && matches!(health.status, 403 | 404);
    let fix = if gateway {
        "add the stage to --endpoint, such as /dev: the stack's output ApiEndpoint is the whole of it"
    } else {
        "check host, port and path of --endpoint: something else than Aurora Discovery answers there"
    };
    (Finding::fail("service", format!("{seen} and not as Aurora Discovery does"), fix), false)
}

fn version(document: Option<&ProbeResponse>) -> Finding {
    let document: Value =
        document.and_then(|answer| serde_json::from_slice(&answer.body).ok()).unwrap_or_default();
    let version = document["info"]["version"].as_str();
    match version.filter(|_| document["info"]["title"] == TITLE) {
        Some(version) => Finding::ok("version", format!("contract {version}")),
        None => Finding::warn(
            "version",
            "no /openapi.json of Aurora Discovery: an older service, or a proxy that lets only some paths through",
            "deploy the current version, or let every path through to the service",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_from_connecting_is_told_with_what_mends_it() {
        for (cause, fix) in [
            ("invalid peer certificate: UnknownIssuer", "--ca-cert"),
            (
                "invalid peer certificate: certificate expired: verification time 2 (UNIX), but certificate is not valid after 1",
                "renew",
            ),
            ("invalid peer certificate: certificate not valid yet: verification time 1", "clock"),
            (
                "invalid peer certificate: certificate not valid for name \"a\"",
                "by a name in its certificate",
            ),
            ("invalid peer certificate: BadSignature", "a certificate that is trusted"),
            ("received corrupt message of type InvalidContentType", "http://"),
            ("failed to lookup address information: Name or service not known", "DNS"),
            ("Connection refused (os error 111)", "start the service"),
            ("invalid HTTP version parsed", "https://"),
            ("connection closed before message completed", "https://"),
            ("No route to host (os error 113)", "the network between"),
        ] {
            assert!(unreachable(cause).contains(fix), "{cause}: {}", unreachable(cause));
        }
    }
}
