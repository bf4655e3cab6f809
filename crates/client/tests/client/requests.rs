//! Single requests. These tests wait in real time, because they use a real server on a real socket,
//! which does not follow a paused clock.

use std::time::Duration;

use aurora_discovery_client::{
    Archetype, ChangesRequest, Client, ClientOptions, Code, DiscoverRequest, Error, HeartbeatEntries,
    HeartbeatRequest, HeartbeatResult, HeartbeatsRequest, PeerId, Probe, RegisterRequest, StreamExt as _,
    TryStreamExt as _, reqwest,
};

use crate::server::{Action, ScriptedServer, ok, refuse};

const HEARTBEAT: &str = r#"{"message":"Heartbeat updated","peer_id":"p","timestamp":"2025-10-02T12:00:00","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":300,"heartbeat_interval_seconds":100}"#;

fn client(endpoint: &str) -> Client {
    Client::new(endpoint).unwrap()
}

fn heartbeat() -> HeartbeatRequest {
    HeartbeatRequest::new("p".parse().unwrap())
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
async fn transient_failures_are_retried_until_a_response_arrives() {
    for failure in [
        (|| refuse(500, "internal")) as fn() -> Action,
        || refuse(503, "unavailable"),
        || Action::Respond(502, &[], "<html>Bad gateway</html>".to_owned()),
        || Action::HangUp,
    ] {
        let server = ScriptedServer::start(move |n, _| if n < 2 { failure() } else { ok(HEARTBEAT) }).await;
        assert_eq!(
            client(&server.endpoint).heartbeat(&heartbeat()).await.unwrap().heartbeat_interval_seconds,
            100
        );
        assert_eq!(server.received().len(), 3);
    }
}

#[tokio::test]
async fn a_request_that_times_out_is_retried() {
    let server = ScriptedServer::start(|n, _| if n == 0 { Action::Stall } else { ok(HEARTBEAT) }).await;
    let impatient = ClientOptions::new(&server.endpoint).timeout(Duration::from_secs(1)).retries(20);
    Client::new(impatient).unwrap().heartbeat(&heartbeat()).await.unwrap();
    assert!(server.received().len() > 1, "if the machine pauses, a later response may be late as well");
}

#[tokio::test]
async fn a_refusal_is_not_retried_and_carries_the_reason_of_the_service() {
    for (status, code, expected) in [
        (400, "invalid_field", Code::InvalidField),
        (403, "not_holder", Code::NotHolder),
        (404, "peer_not_registered", Code::PeerNotRegistered),
        (501, "not_available_here", Code::NotAvailableHere),
    ] {
        let server = ScriptedServer::start(move |_, _| refuse(status, code)).await;
        let error = client(&server.endpoint).heartbeat(&heartbeat()).await.unwrap_err();
        assert_eq!(error.code(), Some(expected));
        assert!(error.to_string().contains("because"), "{error}");
        assert_eq!(server.received().len(), 1);
    }
}

#[tokio::test]
async fn retry_after_is_honored() {
    let busy = || {
        Action::Respond(503, &[("retry-after", "1")], r#"{"error":"busy","code":"unavailable"}"#.to_owned())
    };
    let server = ScriptedServer::start(move |n, _| if n == 0 { busy() } else { ok(HEARTBEAT) }).await;
    client(&server.endpoint).heartbeat(&heartbeat()).await.unwrap();
    let received = server.received();
    assert!(received[1].at - received[0].at >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_retry_after_beyond_the_patience_is_returned_to_the_caller() {
    let busy = || {
        Action::Respond(
            429,
            &[("retry-after", "3600")],
            r#"{"error":"slower","code":"rate_limited"}"#.to_owned(),
        )
    };
    let server = ScriptedServer::start(move |_, _| busy()).await;
    let error = client(&server.endpoint).heartbeat(&heartbeat()).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn retries_are_bounded() {
    let server = ScriptedServer::start(|_, _| Action::HangUp).await;
    let error = client(&server.endpoint).heartbeat(&heartbeat()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert_eq!(server.received().len(), 4);
}

#[tokio::test]
async fn a_response_outside_the_contract_is_a_protocol_error() {
    for action in [
        (|| ok("<html>")) as fn() -> Action,
        || ok("{}"),
        || Action::Respond(301, &[("location", "/")], String::new()),
    ] {
        let server = ScriptedServer::start(move |_, _| action()).await;
        let error = client(&server.endpoint).heartbeat(&heartbeat()).await.unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error}");
        assert_eq!(server.received().len(), 1);
    }
}

#[tokio::test]
async fn a_response_body_is_bounded() {
    let server = ScriptedServer::start(|_, _| ok(" ".repeat(9 * 1024 * 1024))).await;
    let patient = ClientOptions::new(&server.endpoint).retries(0);
    let error = Client::new(patient).unwrap().heartbeat(&heartbeat()).await.unwrap_err();
    assert!(error.to_string().contains("8 MiB"), "{error}");
}

#[tokio::test]
async fn the_path_of_the_endpoint_prefixes_every_request() {
    for stage in ["/dev", "/p2p/dev/"] {
        let server = ScriptedServer::start(|_, _| ok(HEARTBEAT)).await;
        client(&format!("{}{stage}", server.endpoint)).heartbeat(&heartbeat()).await.unwrap();
        let expected = format!("POST {}/heartbeat HTTP/1.1", stage.trim_end_matches('/'));
        let received = server.received();
        assert_eq!(received[0].line, expected);
        assert!(received[0].headers["user-agent"].to_str().unwrap().starts_with("aurora-discovery-client/"));
    }
}

#[tokio::test]
async fn a_query_is_sent_with_every_parameter_encoded() {
    let server = ScriptedServer::start(|_, _| ok(page(&["a"], None))).await;
    let request = DiscoverRequest {
        archetypes: vec![Archetype::parse("two words").unwrap(), Archetype::parse("é&").unwrap()],
        exclude: Some(PeerId::parse("a&b=c").unwrap()),
        ..DiscoverRequest::new(5)
    };
    let response = client(&server.endpoint).discover(&request).await.unwrap();
    assert_eq!(response.page.peers[0].peer_id.as_str(), "a");
    let expected = "GET /discover?archetype=two+words&archetype=%C3%A9%26&limit=5&exclude=a%26b%3Dc HTTP/1.1";
    assert_eq!(server.received()[0].line, expected);
}

#[tokio::test]
async fn an_enumeration_follows_the_cursor_to_the_last_page() {
    let server = ScriptedServer::start(|_, received| {
        if received.line.contains("cursor=x%2B") {
            ok(page(&["c"], None))
        } else {
            ok(page(&["a", "b"], Some("x+")))
        }
    })
    .await;
    let mut enumeration = client(&server.endpoint).enumerate(DiscoverRequest::new(2));
    let mut ids = Vec::new();
    while let Some(response) = enumeration.next_page().await.unwrap() {
        ids.extend(response.page.peers.into_iter().map(|peer| peer.peer_id.to_string()));
    }
    assert_eq!(ids, ["a", "b", "c"]);
    assert!(server.received().iter().all(|received| received.line.contains("order=all")));
}

#[tokio::test]
async fn an_enumeration_is_a_stream_of_pages_or_of_peers() {
    let server = ScriptedServer::start(|_, received| {
        if received.line.contains("cursor=x") {
            ok(page(&["c"], None))
        } else {
            ok(page(&["a", "b"], Some("x")))
        }
    })
    .await;
    let client = client(&server.endpoint);
    let pages: Vec<_> = client.enumerate(DiscoverRequest::new(2)).pages().try_collect().await.unwrap();
    assert_eq!(pages.iter().map(|page| page.page.peers.len()).collect::<Vec<_>>(), [2, 1]);
    let mut peers = client.enumerate(DiscoverRequest::new(2)).peers();
    assert_eq!(server.received().len(), 2, "a stream sends no request before it is polled");
    let mut ids = Vec::new();
    while let Some(peer) = peers.next().await {
        ids.push(peer.unwrap().peer_id.to_string());
    }
    assert_eq!(ids, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_stream_of_peers_ends_after_an_error() {
    let server = ScriptedServer::start(|n, _| match n {
        0 => ok(page(&["a"], Some("x"))),
        _ => refuse(400, "cursor_expired"),
    })
    .await;
    let peers: Vec<_> = client(&server.endpoint).enumerate(DiscoverRequest::new(1)).peers().collect().await;
    assert_eq!(peers.len(), 2);
    assert_eq!(peers[1].as_ref().unwrap_err().code(), Some(Code::CursorExpired));
}

#[tokio::test]
async fn a_peer_whose_metadata_fits_no_double_does_not_fail_the_page() {
    for number in ["1e999", &"7".repeat(400)] {
        let metadata = format!(r#"{{ "n" : {number}, "v": "1.0" }}"#);
        let body = page(&["a", "b"], None).replacen("{}", &metadata, 1);
        let server = ScriptedServer::start(move |_, _| ok(body.as_str())).await;
        let response = client(&server.endpoint).discover(&DiscoverRequest::default()).await.unwrap();
        assert_eq!(response.page.peers.len(), 2);
        let received = &response.page.peers[0].metadata;
        assert_eq!(received.as_str(), metadata);
        // A caller can still read another key of the metadata. Only reading the number itself
        // fails, because no double can hold it.
        #[derive(serde::Deserialize)]
        struct Version {
            v: String,
        }
        assert_eq!(received.to_value::<Version>().unwrap().v, "1.0");
        assert!(received.to_value::<serde_json::Value>().is_err());
    }
}

#[tokio::test]
async fn headers_of_the_caller_are_sent_with_every_request_and_hidden_from_debug() {
    let server = ScriptedServer::start(|_, received| {
        if received.line.starts_with("POST") { ok(HEARTBEAT) } else { ok(page(&[], None)) }
    })
    .await;
    let options = ClientOptions::new(&server.endpoint)
        .header("Authorization", "Bearer the-key")
        .header("x-tenant", "the-tenant");
    assert!(format!("{options:?}").contains("Authorization"));
    let client = Client::new(&options).unwrap();
    client.heartbeat(&heartbeat()).await.unwrap();
    client.discover(&DiscoverRequest::default()).await.unwrap();
    client.probe(Probe::get("discover")).await.unwrap();
    for received in server.received() {
        assert_eq!(received.headers["authorization"], "Bearer the-key");
        assert_eq!(received.headers["x-tenant"], "the-tenant");
    }
    for shown in [format!("{options:?}"), format!("{client:?}"), format!("{client:#?}")] {
        assert!(!shown.contains("the-key") && !shown.contains("the-tenant"), "{shown}");
    }
}

#[tokio::test]
async fn requests_go_through_the_proxy_of_the_options() {
    let proxy = ScriptedServer::start(|_, _| ok(HEARTBEAT)).await;
    let url = proxy.endpoint.replace("http://", "http://user:the-password@");
    let options = ClientOptions::new("http://service.invalid/dev").proxy(url).retries(0);
    let client = Client::new(&options).unwrap();
    client.heartbeat(&heartbeat()).await.unwrap();
    let received = &proxy.received()[0];
    assert_eq!(received.line, "POST http://service.invalid/dev/heartbeat HTTP/1.1");
    assert_eq!(received.headers["proxy-authorization"], "Basic dXNlcjp0aGUtcGFzc3dvcmQ=");
    let shown = format!("{options:?} {client:?}");
    assert!(!shown.contains("password"), "{shown}");
}

#[tokio::test]
async fn an_http_client_of_the_caller_is_used_within_the_time_limit_of_the_options() {
    let server = ScriptedServer::start(|n, _| if n == 0 { ok(HEARTBEAT) } else { Action::Stall }).await;
    let within = |http: &reqwest::Client, timeout| {
        let options = ClientOptions::new(&server.endpoint).http_client(http.clone());
        Client::new(options.timeout(timeout).retries(0)).unwrap()
    };
    let http = reqwest::Client::builder()
        .user_agent("the-callers-own")
        .tls_backend_preconfigured(tls())
        .build()
        .unwrap();
    // The response may take long if the machine pauses.
    within(&http, Duration::from_secs(60)).heartbeat(&heartbeat()).await.unwrap();
    assert_eq!(server.received()[0].headers["user-agent"], "the-callers-own");
    let stalled = within(&http, Duration::from_secs(1)).heartbeat(&heartbeat()).await;
    assert!(matches!(stalled, Err(Error::TimedOut { .. })), "{stalled:?}");
}

fn tls() -> rustls::ClientConfig {
    let provider = rustls::crypto::ring::default_provider();
    rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

#[tokio::test]
async fn an_enumeration_whose_cursor_does_not_advance_is_an_error() {
    let server = ScriptedServer::start(|_, _| ok(page(&["a"], Some("x")))).await;
    let mut enumeration = client(&server.endpoint).enumerate(DiscoverRequest::new(2));
    assert!(enumeration.next_page().await.unwrap().is_some());
    assert!(enumeration.next_page().await.is_err());
}

#[tokio::test]
async fn an_unhealthy_service_is_a_response_and_not_an_error() {
    let sick = r#"{"status":"unhealthy","reason":"the disk is full"}"#;
    let server = ScriptedServer::start(move |_, _| Action::Respond(503, &[], sick.to_owned())).await;
    let health = client(&server.endpoint).health().await.unwrap();
    assert_eq!((health.status.as_str(), health.reason.as_deref()), ("unhealthy", Some("the disk is full")));
}

#[tokio::test]
async fn a_registration_omits_optional_keys_that_are_not_set() {
    let response = r#"{"message":"Peer registered successfully","peer_id":"p","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":300,"heartbeat_interval_seconds":100,"observed_address":"127.0.0.1","lease_token":"t"}"#;
    let server = ScriptedServer::start(move |_, _| ok(response)).await;
    client(&server.endpoint).register(&RegisterRequest::new(PeerId::parse("p").unwrap())).await.unwrap();
    assert_eq!(server.received()[0].body, r#"{"peer_id":"p","port":0,"archetypes":[],"metadata":{}}"#);
}

#[tokio::test]
async fn heartbeats_for_many_peers_return_a_result_for_each() {
    let body = r#"{"message":"Heartbeats updated","timestamp":"2025-10-02T12:00:00","renewed":1,"results":[{"peer_id":"a","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":300,"heartbeat_interval_seconds":100},{"peer_id":"b","error":"no such peer","code":"peer_not_registered"}]}"#;
    let server = ScriptedServer::start(move |_, _| ok(body)).await;
    let request =
        HeartbeatsRequest { peer_ids: HeartbeatEntries::parse(&["a", "b"]).unwrap(), discover: None };
    let response = client(&server.endpoint).heartbeats(&request).await.unwrap();
    assert_eq!(response.renewed, 1);
    assert!(matches!(response.results[1], HeartbeatResult::Refused { code: Code::PeerNotRegistered, .. }));
    assert_eq!(server.received()[0].body, r#"{"peer_ids":["a","b"]}"#);
}

#[tokio::test]
async fn a_probe_is_sent_once_and_returns_any_status_with_its_headers() {
    let server = ScriptedServer::start(|_, _| {
        Action::Respond(503, &[("x-twice", "a"), ("X-Twice", "b")], "not now".to_owned())
    })
    .await;
    let probe = Probe::options("register").header("Origin", "https://page.example").parameter("a", "b c");
    let response = client(&server.endpoint).probe(probe).await.unwrap();
    assert_eq!((response.status, response.body.as_slice()), (503, &b"not now"[..]));
    assert_eq!(response.all("x-twice"), ["a", "b"]);
    assert_eq!((response.header("x-twice"), response.header("date")), (Some("a"), None));
    let received = server.received();
    assert_eq!(received.len(), 1);
    assert!(received[0].line.starts_with("OPTIONS /register?a=b+c "), "{}", received[0].line);
    assert_eq!(received[0].headers["origin"], "https://page.example");
}

#[test]
fn a_client_reports_the_host_and_port_of_its_endpoint() {
    for (endpoint, host, port) in [
        ("http://127.0.0.1:8080", "127.0.0.1", 8080),
        ("https://x.execute-api.us-east-1.amazonaws.com/dev", "x.execute-api.us-east-1.amazonaws.com", 443),
        ("http://[::1]/", "::1", 80),
    ] {
        assert_eq!(client(endpoint).authority(), (host.to_owned(), port));
    }
}

#[tokio::test]
async fn requests_for_changes_continue_at_the_cursor_of_the_previous_response() {
    let delta = |since: &str| {
        let timestamp = r#""timestamp":"2025-10-02T12:00:00""#;
        let body = format!(
            r#"{{"joined":[],"changed":[],"left":["p"],"count":1,"since":"{since}","more":false,{timestamp}}}"#
        );
        ok(&body)
    };
    let server = ScriptedServer::start(move |n, _| delta(if n == 0 { "c1" } else { "c2" })).await;
    let client = client(&server.endpoint);
    let mut request = ChangesRequest::new(10);
    for expected in ["c1", "c2"] {
        let response = client.changes(&request).await.unwrap();
        assert_eq!((response.info.since.as_str(), response.left[0].as_str()), (expected, "p"));
        request.since = Some(response.info.since);
    }
    let lines: Vec<_> = server.received().into_iter().map(|received| received.line).collect();
    assert_eq!(
        lines,
        ["GET /discover?limit=10&since=now HTTP/1.1", "GET /discover?limit=10&since=c1 HTTP/1.1"]
    );
}
