//! The stream of changes. These tests wait in real time, because they use a real server on a real
//! socket, which does not follow a paused clock.

use std::time::Duration;

use aurora_discovery_client::{
    ChangesRequest, Client, ClientOptions, Code, DiscoverRequest, Error, Watch, WatchEvent,
};

use crate::server::{Action, ScriptedServer, refuse};

const START: &str = "retry: 1\nid: c0\nevent: start\ndata: {\"since\":\"c0\"}\n\n";

/// A stream that ends after these events.
fn events(body: impl Into<String>) -> Action {
    Action::Respond(200, &[("content-type", "text/event-stream")], body.into())
}

fn joined(id: &str, cursor: &str) -> String {
    format!(
        "id: {cursor}\nevent: joined\ndata: {{\"peer_id\":\"{id}\",\"address\":\"10.0.0.1\",\"port\":1,\"archetypes\":[],\ndata: \"last_seen\":\"2025-10-02T12:00:00\",\"metadata\":{{\"n\":1e999}}}}\n\n"
    )
}

fn left(id: &str, cursor: &str) -> String {
    format!("id: {cursor}\nevent: left\ndata: {{\"peer_id\":\"{id}\"}}\n\n")
}

fn watch(server: &ScriptedServer) -> Watch {
    watch_within(server, Duration::from_secs(60))
}

fn watch_within(server: &ScriptedServer, timeout: Duration) -> Watch {
    let client = Client::new(ClientOptions::new(&server.endpoint).timeout(timeout)).unwrap();
    client.watch(DiscoverRequest::builder().archetype("chess").exclude("me").build().unwrap())
}

async fn next(watch: &mut Watch) -> WatchEvent {
    watch.next().await.unwrap().unwrap()
}

#[tokio::test]
async fn a_watch_reports_changes_as_typed_events() {
    let server = ScriptedServer::start(|_, _| {
        let changed = joined("b", "c2").replace("joined", "changed");
        events([START, &joined("a", "c1"), ": keep-alive\nid: c1\n\n", &changed, &left("a", "c3")].concat())
    })
    .await;
    let mut watch = watch(&server);
    assert!(matches!(next(&mut watch).await, WatchEvent::Started));
    assert_eq!(watch.cursor(), Some("c0"));
    let WatchEvent::Joined(peer) = next(&mut watch).await else { panic!("a peer joined") };
    assert_eq!((peer.peer_id.as_str(), peer.metadata.as_str()), ("a", r#"{"n":1e999}"#));
    assert!(matches!(next(&mut watch).await, WatchEvent::Changed(peer) if peer.peer_id.as_str() == "b"));
    assert!(matches!(next(&mut watch).await, WatchEvent::Left(id) if id.as_str() == "a"));
    assert_eq!(watch.cursor(), Some("c3"));
    let received = &server.received()[0];
    assert!(received.line.starts_with("GET /watch?archetype=chess&"), "{}", received.line);
    assert!(received.line.contains("exclude=me") && received.line.contains("since=now"), "{}", received.line);
    assert_eq!(received.headers["accept"], "text/event-stream");
}

#[tokio::test]
async fn an_interrupted_watch_resumes_at_the_latest_cursor() {
    let server = ScriptedServer::start(|n, _| match n {
        0 => events(
            [START, &joined("a", "c1"), ": keep-alive\nid: c2\n\n", "event: joined\ndata: {\"cut"].concat(),
        ),
        1 => Action::HangUp,
        2 => refuse(503, "unavailable"),
        _ => events([START.replace("c0", "c2"), joined("b", "c3")].concat()),
    })
    .await;
    let mut watch = watch(&server);
    assert!(matches!(next(&mut watch).await, WatchEvent::Started));
    assert!(matches!(next(&mut watch).await, WatchEvent::Joined(_)));
    for _ in 0..3 {
        let WatchEvent::Interrupted { error, retry_in } = next(&mut watch).await else {
            panic!("the connection failed")
        };
        assert!(error.is_transient() && retry_in < Duration::from_secs(5), "{error} {retry_in:?}");
    }
    assert!(matches!(next(&mut watch).await, WatchEvent::Resumed));
    assert!(matches!(next(&mut watch).await, WatchEvent::Joined(peer) if peer.peer_id.as_str() == "b"));
    assert!(server.received()[1..].iter().all(|received| received.line.contains("since=c2")));
}

#[tokio::test]
async fn a_reset_is_reported_and_the_watch_continues_after_it() {
    let reset =
        "id: c9\nevent: reset\ndata: {\"since\":\"c9\",\"error\":\"lost\",\"code\":\"cursor_expired\"}\n\n";
    let server = ScriptedServer::start(move |n, _| match n {
        0 => events([START, &joined("a", "c1")].concat()),
        _ => events([reset, &joined("b", "d1")].concat()),
    })
    .await;
    let mut watch = watch(&server);
    assert!(matches!(next(&mut watch).await, WatchEvent::Started));
    assert!(matches!(next(&mut watch).await, WatchEvent::Joined(_)));
    assert!(matches!(next(&mut watch).await, WatchEvent::Interrupted { .. }));
    assert!(matches!(next(&mut watch).await, WatchEvent::Reset));
    assert_eq!(watch.cursor(), Some("c9"));
    assert!(matches!(next(&mut watch).await, WatchEvent::Joined(peer) if peer.peer_id.as_str() == "b"));
}

#[tokio::test]
async fn a_watch_continues_at_the_cursor_of_the_caller() {
    let server = ScriptedServer::start(|_, _| events(START.replace("c0", "c7"))).await;
    let request = ChangesRequest { since: Some("c7".to_owned()), ..ChangesRequest::new(1) };
    let mut watch = Client::new(&server.endpoint).unwrap().watch(request);
    assert_eq!(watch.cursor(), Some("c7"));
    assert!(matches!(next(&mut watch).await, WatchEvent::Started));
    assert!(server.received()[0].line.contains("since=c7"));
}

#[tokio::test]
async fn a_permanent_failure_ends_a_watch() {
    let server = ScriptedServer::start(|_, _| refuse(501, "not_available_here")).await;
    let mut watch = watch(&server);
    assert_eq!(watch.next().await.unwrap().unwrap_err().code(), Some(Code::NotAvailableHere));
    assert!(watch.next().await.is_none());
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn a_response_that_is_no_stream_of_events_ends_a_watch() {
    for body in [
        Action::Respond(200, &[("content-type", "text/html")], "<html>".to_owned()),
        events("event: start\ndata: {}\n\n"),
        events([START, "event: left\ndata: {\"peer_id\":\"a b\"}\n\n"].concat()),
    ] {
        let mut body = Some(body);
        let server = ScriptedServer::start(move |_, _| body.take().unwrap_or(Action::HangUp)).await;
        let mut watch = watch(&server);
        let error = loop {
            match watch.next().await.unwrap() {
                Ok(event) => assert!(matches!(event, WatchEvent::Started), "{event:?}"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Protocol { .. }), "{error}");
        assert!(watch.next().await.is_none());
    }
}

#[tokio::test]
async fn a_watch_buffers_a_bounded_number_of_bytes() {
    let server = ScriptedServer::start(|_, _| events(["data: ", &"x".repeat(9 << 20)].concat())).await;
    let error = watch(&server).next().await.unwrap().unwrap_err();
    assert!(error.to_string().contains("256 KiB"), "{error}");
}

#[tokio::test]
async fn a_service_that_does_not_respond_interrupts_a_watch() {
    let server = ScriptedServer::start(|n, _| if n == 0 { Action::Stall } else { events(START) }).await;
    let mut watch = watch_within(&server, Duration::from_secs(1));
    let WatchEvent::Interrupted { error, .. } = next(&mut watch).await else { panic!("the service stalls") };
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    // If the machine pauses, a later response may be late as well.
    let event = loop {
        match next(&mut watch).await {
            WatchEvent::Interrupted { .. } => {}
            event => break event,
        }
    };
    assert!(matches!(event, WatchEvent::Started), "{event:?}");
}

#[tokio::test]
async fn a_wait_for_the_next_event_may_be_cancelled_without_losing_one() {
    let server = ScriptedServer::start(|_, _| events([START, &joined("a", "c1")].concat())).await;
    let mut watch = watch(&server);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        if let Ok(event) = tokio::time::timeout(Duration::from_micros(50), watch.next()).await {
            seen.push(event.unwrap().unwrap());
        }
    }
    assert!(matches!(seen.as_slice(), [WatchEvent::Started, WatchEvent::Joined(_)]), "{seen:?}");
}
