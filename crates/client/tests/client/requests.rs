//! Single requests. These tests wait in real time, because they use a real server on a real socket,
//! which does not follow a paused clock.

use std::time::Duration;

use aurora_discovery_client::{Client, ClientOptions, Error, Probe};
use aurora_discovery_protocol::{
    Archetype, Code, DiscoverRequest, FollowRequest, HeartbeatRequest, HeartbeatResult, HeartbeatsRequest,
    PeerId, PeerIds, RegisterRequest,
};

use crate::server::{Act, Scripted, ok, refuse};

const BEAT: &str = r#"{"message":"Heartbeat updated","peer_id":"p","timestamp":"2025-10-02T12:00:00","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":300,"heartbeat_interval_seconds":100}"#;

fn client(endpoint: &str) -> Client {
    Client::new(&ClientOptions::new(endpoint)).unwrap()
}

fn beat() -> HeartbeatRequest {
    HeartbeatRequest { peer_id: PeerId::parse("p").unwrap(), discover: None }
}

fn page(ids: &[&str], cursor: Option<&str>) -> String {
    let peers: Vec<_> = ids
        .iter()
        .map(|id| {
            format!(
                r#"{{"peer_id":"{id}","address":"10.0.0.1","port":1,"archetypes":[],"last_seen":"2025-10-02T12:00:00","metadata":{{}}}}"#
            )
        })
        .collect();
    let cursor = cursor.map(|cursor| format!(r#","next_cursor":"{cursor}""#)).unwrap_or_default();
    format!(
        r#"{{"peers":[{}],"count":{},"timestamp":"2025-10-02T12:00:00","total":9{cursor}}}"#,
        peers.join(","),
        ids.len()
    )
}

#[tokio::test]
async fn failures_that_may_pass_are_tried_again_until_an_answer_comes() {
    for failure in [
        (|| refuse(500, "internal")) as fn() -> Act,
        || refuse(503, "unavailable"),
        || Act::Respond(502, &[], "<html>Bad gateway</html>".to_owned()),
        || Act::HangUp,
    ] {
        let server = Scripted::start(move |n, _| if n < 2 { failure() } else { ok(BEAT) }).await;
        assert_eq!(
            client(&server.endpoint).heartbeat(&beat()).await.unwrap().heartbeat_interval_seconds,
            100
        );
        assert_eq!(server.seen().len(), 3);
    }
}

#[tokio::test]
async fn a_call_that_is_never_answered_is_tried_again() {
    let server = Scripted::start(|n, _| if n == 0 { Act::Stall } else { ok(BEAT) }).await;
    let hasty = ClientOptions { timeout: Duration::from_secs(1), ..ClientOptions::new(&server.endpoint) };
    Client::new(&hasty).unwrap().heartbeat(&beat()).await.unwrap();
    assert!(server.seen().len() > 1, "where this machine pauses, an answer may come too late as well");
}

#[tokio::test]
async fn a_refusal_is_never_tried_again_and_says_what_the_service_said() {
    for (status, code, expected) in [
        (400, "invalid_field", Code::InvalidField),
        (403, "not_holder", Code::NotHolder),
        (404, "peer_not_registered", Code::PeerNotRegistered),
        (501, "not_available_here", Code::NotAvailableHere),
    ] {
        let server = Scripted::start(move |_, _| refuse(status, code)).await;
        let error = client(&server.endpoint).heartbeat(&beat()).await.unwrap_err();
        assert_eq!(error.code(), Some(expected));
        assert!(error.to_string().contains("because"), "{error}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let busy =
        || Act::Respond(503, &[("retry-after", "1")], r#"{"error":"busy","code":"unavailable"}"#.to_owned());
    let server = Scripted::start(move |n, _| if n == 0 { busy() } else { ok(BEAT) }).await;
    client(&server.endpoint).heartbeat(&beat()).await.unwrap();
    let seen = server.seen();
    assert!(seen[1].at - seen[0].at >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_wait_longer_than_the_patience_is_the_callers_to_know() {
    let busy = || {
        Act::Respond(
            429,
            &[("retry-after", "3600")],
            r#"{"error":"slower","code":"rate_limited"}"#.to_owned(),
        )
    };
    let server = Scripted::start(move |_, _| busy()).await;
    let error = client(&server.endpoint).heartbeat(&beat()).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn retries_are_bounded() {
    let server = Scripted::start(|_, _| Act::HangUp).await;
    let error = client(&server.endpoint).heartbeat(&beat()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn what_is_no_answer_of_the_contract_is_said_so() {
    for act in [
        (|| ok("<html>")) as fn() -> Act,
        || ok("{}"),
        || Act::Respond(301, &[("location", "/")], String::new()),
    ] {
        let server = Scripted::start(move |_, _| act()).await;
        let error = client(&server.endpoint).heartbeat(&beat()).await.unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn an_answer_is_read_up_to_a_bound_only() {
    let server = Scripted::start(|_, _| ok(" ".repeat(9 * 1024 * 1024))).await;
    let patient = ClientOptions { retries: 0, ..ClientOptions::new(&server.endpoint) };
    let error = Client::new(&patient).unwrap().heartbeat(&beat()).await.unwrap_err();
    assert!(error.to_string().contains("8 MiB"), "{error}");
}

#[tokio::test]
async fn a_path_in_the_endpoint_is_kept_in_front() {
    for stage in ["/dev", "/p2p/dev/"] {
        let server = Scripted::start(|_, _| ok(BEAT)).await;
        client(&format!("{}{stage}", server.endpoint)).heartbeat(&beat()).await.unwrap();
        let expected = format!("POST {}/heartbeat HTTP/1.1", stage.trim_end_matches('/'));
        let seen = server.seen();
        assert_eq!(seen[0].line, expected);
        assert!(seen[0].headers["user-agent"].to_str().unwrap().starts_with("aurora-discovery-client/"));
    }
}

#[tokio::test]
async fn a_query_is_asked_with_every_parameter_encoded() {
    let server = Scripted::start(|_, _| ok(page(&["a"], None))).await;
    let request = DiscoverRequest {
        archetypes: vec![Archetype::parse("two words").unwrap(), Archetype::parse("é&").unwrap()],
        exclude: Some(PeerId::parse("a&b=c").unwrap()),
        ..DiscoverRequest::new(5)
    };
    let answer = client(&server.endpoint).discover(&request).await.unwrap();
    assert_eq!(answer.page.peers[0].peer_id.as_str(), "a");
    let expected = "GET /discover?archetype=two+words&archetype=%C3%A9%26&limit=5&exclude=a%26b%3Dc HTTP/1.1";
    assert_eq!(server.seen()[0].line, expected);
}

#[tokio::test]
async fn an_enumeration_follows_the_cursor_to_the_last_page() {
    let server = Scripted::start(|_, seen| {
        if seen.line.contains("cursor=x%2B") {
            ok(page(&["c"], None))
        } else {
            ok(page(&["a", "b"], Some("x+")))
        }
    })
    .await;
    let mut enumeration = client(&server.endpoint).enumerate(DiscoverRequest::new(2));
    let mut ids = Vec::new();
    while let Some(answer) = enumeration.next_page().await.unwrap() {
        ids.extend(answer.page.peers.into_iter().map(|peer| peer.peer_id.to_string()));
    }
    assert_eq!(ids, ["a", "b", "c"]);
    assert!(server.seen().iter().all(|seen| seen.line.contains("order=all")));
}

#[tokio::test]
async fn an_enumeration_that_stands_still_ends_with_an_error() {
    let server = Scripted::start(|_, _| ok(page(&["a"], Some("x")))).await;
    let mut enumeration = client(&server.endpoint).enumerate(DiscoverRequest::new(2));
    assert!(enumeration.next_page().await.unwrap().is_some());
    assert!(enumeration.next_page().await.is_err());
}

#[tokio::test]
async fn an_unhealthy_service_is_an_answer() {
    let sick = r#"{"status":"unhealthy","reason":"the disk is full"}"#;
    let server = Scripted::start(move |_, _| Act::Respond(503, &[], sick.to_owned())).await;
    let health = client(&server.endpoint).health().await.unwrap();
    assert_eq!((health.status.as_str(), health.reason.as_deref()), ("unhealthy", Some("the disk is full")));
}

#[tokio::test]
async fn a_registration_leaves_out_what_was_not_said() {
    let answer = r#"{"message":"Peer registered successfully","peer_id":"p","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":300,"heartbeat_interval_seconds":100,"observed_address":"127.0.0.1","lease_token":"t"}"#;
    let server = Scripted::start(move |_, _| ok(answer)).await;
    client(&server.endpoint).register(&RegisterRequest::new(PeerId::parse("p").unwrap())).await.unwrap();
    assert_eq!(server.seen()[0].body, r#"{"peer_id":"p","port":0,"archetypes":[],"metadata":{}}"#);
}

#[tokio::test]
async fn heartbeats_for_many_tell_what_became_of_each() {
    let body = r#"{"message":"Heartbeats updated","timestamp":"2025-10-02T12:00:00","renewed":1,"results":[{"peer_id":"a","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":300,"heartbeat_interval_seconds":100},{"peer_id":"b","error":"no such peer","code":"peer_not_registered"}]}"#;
    let server = Scripted::start(move |_, _| ok(body)).await;
    let request = HeartbeatsRequest { peer_ids: PeerIds::parse(&["a", "b"]).unwrap(), discover: None };
    let answer = client(&server.endpoint).heartbeats(&request).await.unwrap();
    assert_eq!(answer.renewed, 1);
    assert!(matches!(answer.results[1], HeartbeatResult::Refused { code: Code::PeerNotRegistered, .. }));
    assert_eq!(server.seen()[0].body, r#"{"peer_ids":["a","b"]}"#);
}

#[tokio::test]
async fn a_probe_is_sent_once_and_any_status_answers_it_with_its_headers() {
    let server = Scripted::start(|_, _| {
        Act::Respond(503, &[("x-twice", "a"), ("X-Twice", "b")], "not now".to_owned())
    })
    .await;
    let probe = Probe::options("register").header("Origin", "https://page.example").parameter("a", "b c");
    let answer = client(&server.endpoint).probe(probe).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (503, &b"not now"[..]));
    assert_eq!(answer.all("x-twice"), ["a", "b"]);
    assert_eq!((answer.header("x-twice"), answer.header("date")), (Some("a"), None));
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].line.starts_with("OPTIONS /register?a=b+c "), "{}", seen[0].line);
    assert_eq!(seen[0].headers["origin"], "https://page.example");
}

#[test]
fn a_client_says_which_host_and_port_it_calls() {
    for (endpoint, host, port) in [
        ("http://127.0.0.1:8080", "127.0.0.1", 8080),
        ("https://x.execute-api.us-east-1.amazonaws.com/dev", "x.execute-api.us-east-1.amazonaws.com", 443),
        ("http://[::1]/", "::1", 80),
    ] {
        assert_eq!(client(endpoint).authority(), (host.to_owned(), port));
    }
}

#[tokio::test]
async fn who_follows_asks_behind_the_answer_before() {
    let delta = |since: &str| {
        let timestamp = r#""timestamp":"2025-10-02T12:00:00""#;
        let body = format!(
            r#"{{"joined":[],"changed":[],"left":["p"],"count":1,"since":"{since}","more":false,{timestamp}}}"#
        );
        ok(&body)
    };
    let server = Scripted::start(move |n, _| delta(if n == 0 { "c1" } else { "c2" })).await;
    let client = client(&server.endpoint);
    let mut request = FollowRequest::new(10);
    for expected in ["c1", "c2"] {
        let answer = client.changes(&request).await.unwrap();
        assert_eq!((answer.figures.since.as_str(), answer.left[0].as_str()), (expected, "p"));
        request.since = Some(answer.figures.since);
    }
    let asked: Vec<_> = server.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(
        asked,
        ["GET /discover?limit=10&since=now HTTP/1.1", "GET /discover?limit=10&since=c1 HTTP/1.1"]
    );
}
