//! The lease keeper.

use std::time::Duration;

use aurora_discovery_client::{Client, ClientOptions, Error, Event, LeaseKeeper, RegisterRequest};
use tokio::sync::mpsc::unbounded_channel;

use crate::peer::{deregistered, keep, registered, registered_as, renewed};
use crate::server::{Action, ScriptedServer, refuse};

#[tokio::test]
async fn a_keeper_registers_once_renews_the_lease_and_deregisters_when_stopped() {
    let server = ScriptedServer::start(|_, received| match received.path() {
        "/register" => registered(300),
        "/heartbeat" => renewed(300),
        _ => deregistered(),
    })
    .await;
    let (keeper, mut events) = keep(&server);
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    assert!(matches!(events.recv().await, Some(Event::Renewed(_))));
    assert!(matches!(events.recv().await, Some(Event::Renewed(_))));
    keeper.stop().await.unwrap();
    assert!(matches!(events.recv().await, Some(Event::Deregistered)));
    let received = server.received();
    assert_eq!(received.iter().filter(|received| received.path() == "/register").count(), 1);
    for later in &received[1..] {
        assert_eq!(later.body, r#"{"peer_id":"p","lease_token":"the-token"}"#, "{}", later.line);
    }
    assert_eq!(received.last().unwrap().path(), "/deregister");
}

#[tokio::test]
async fn a_forgotten_peer_registers_again_with_its_token() {
    let server = ScriptedServer::start(|n, received| match received.path() {
        "/register" => registered(300),
        "/heartbeat" if n == 1 => refuse(404, "peer_not_registered"),
        _ => renewed(300),
    })
    .await;
    let (_keeper, mut events) = keep(&server);
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    assert!(matches!(events.recv().await, Some(Event::Forgotten)));
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    assert!(matches!(events.recv().await, Some(Event::Renewed(_))));
    assert!(server.received()[2].body.contains(r#""lease_token":"the-token""#));
}

#[tokio::test]
async fn a_rate_limited_keeper_waits_as_told_and_does_not_register_again() {
    let server = ScriptedServer::start(|n, received| match received.path() {
        "/register" => registered_as(300, 1, "the-token", "127.0.0.1"),
        "/heartbeat" if n == 1 => {
            let body = r#"{"error":"too many requests","code":"rate_limited"}"#;
            // The test waits in real time, because the server has a real socket.
            Action::Respond(429, &[("retry-after", "1")], body.to_owned())
        }
        _ => renewed(300),
    })
    .await;
    let (_keeper, mut events) = keep(&server);
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    let Some(Event::Failed { retry_in, .. }) = events.recv().await else { panic!("it is not a failure") };
    assert!(retry_in >= Duration::from_secs(1), "{retry_in:?}");
    assert!(matches!(events.recv().await, Some(Event::Renewed(_))));
    let received = server.received();
    let paths: Vec<_> = received.iter().map(|received| received.path()).collect();
    assert_eq!(paths[..3], ["/register", "/heartbeat", "/heartbeat"]);
    assert!(received[2].at - received[1].at >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_keeper_continues_through_failures_past_the_end_of_its_lease() {
    let server = ScriptedServer::start(|n, received| match (n, received.path()) {
        (_, "/register") => registered(1),
        (1..6, _) => Action::HangUp,
        _ => renewed(1),
    })
    .await;
    let (_keeper, mut events) = keep(&server);
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    let mut failures = 0;
    let mut expired = 0;
    loop {
        match events.recv().await.unwrap() {
            Event::Failed { .. } => failures += 1,
            Event::Expired => expired += 1,
            Event::Renewed(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(events.recv().await, Some(Event::Recovered { .. })));
    assert_eq!((failures, expired <= 1), (5, true));
}

#[tokio::test]
async fn an_expired_lease_is_reported_once() {
    let server = ScriptedServer::start(|_, received| match received.path() {
        "/register" => registered(0),
        _ => Action::HangUp,
    })
    .await;
    let (_keeper, mut events) = keep(&server);
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    assert!(matches!(events.recv().await, Some(Event::Failed { .. })));
    assert!(matches!(events.recv().await, Some(Event::Expired)));
    assert!(matches!(events.recv().await, Some(Event::Failed { .. })));
    assert!(matches!(events.recv().await, Some(Event::Failed { .. })));
}

#[tokio::test]
async fn a_permanent_refusal_ends_the_keeper() {
    let server = ScriptedServer::start(|_, _| refuse(400, "invalid_field")).await;
    let (mut keeper, mut events) = keep(&server);
    assert!(keeper.ended().await.is_err());
    assert!(matches!(events.recv().await, Some(Event::Refused { retry_in: None, .. })));
    assert!(keeper.stop().await.is_ok());
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn an_id_that_another_client_holds_is_retried() {
    let server =
        ScriptedServer::start(|n, _| if n == 0 { refuse(403, "not_holder") } else { registered(300) }).await;
    let (_keeper, mut events) = keep(&server);
    assert!(matches!(events.recv().await, Some(Event::Refused { retry_in: Some(_), .. })));
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    assert!(matches!(events.recv().await, Some(Event::Recovered { .. })));
}

#[tokio::test]
async fn a_dropped_keeper_does_not_deregister_its_peer() {
    let server = ScriptedServer::start(|_, _| registered(300)).await;
    let (keeper, mut events) = keep(&server);
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    drop(keeper);
    assert!(events.recv().await.is_none());
    assert_eq!(server.received().len(), 1);
}

/// A service that accepts everything.
async fn accepting() -> ScriptedServer {
    ScriptedServer::start(|_, received| match received.path() {
        "/register" => registered(300),
        "/heartbeat" => renewed(300),
        _ => deregistered(),
    })
    .await
}

fn keep_until_panic(
    server: &ScriptedServer,
    panics: impl Fn(&Event) -> bool + Send + 'static,
) -> LeaseKeeper {
    let registration = RegisterRequest::builder("p").build().unwrap();
    let client = Client::new(ClientOptions::new(&server.endpoint).retries(0)).unwrap();
    LeaseKeeper::start(client, registration, move |event| assert!(!panics(&event), "a bug in the handler"))
}

#[tokio::test]
async fn a_panic_of_the_event_handler_is_an_error_and_stopping_still_deregisters_the_peer() {
    for panics in [(|event: &Event| matches!(event, Event::Registered(_))) as fn(&Event) -> bool, |event| {
        matches!(event, Event::Renewed(_))
    }] {
        let server = accepting().await;
        let mut keeper = keep_until_panic(&server, panics);
        for _ in 0..2 {
            let error = keeper.ended().await.unwrap_err();
            assert!(
                matches!(&error, Error::HandlerPanicked { message } if message.contains("a bug")),
                "{error}"
            );
        }
        let before = server.received().len();
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(server.received().len(), before, "no heartbeat follows the panic");
        assert!(matches!(keeper.stop().await, Err(Error::HandlerPanicked { .. })));
        let received = server.received();
        assert_eq!(received.len(), before + 2, "one heartbeat proves that the lease is still held");
        assert_eq!(received.last().unwrap().path(), "/deregister");
        assert_eq!(received.last().unwrap().body, r#"{"peer_id":"p","lease_token":"the-token"}"#);
    }
}

#[tokio::test]
async fn a_panic_while_the_keeper_stops_is_an_error_after_the_peer_was_deregistered() {
    let server = accepting().await;
    let (sender, mut events) = unbounded_channel();
    let registration = RegisterRequest::builder("p").build().unwrap();
    let keeper = LeaseKeeper::start(Client::new(&server.endpoint).unwrap(), registration, move |event| {
        assert!(!matches!(event, Event::Deregistered), "a bug in the handler");
        let _ = sender.send(event);
    });
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    assert!(matches!(keeper.stop().await, Err(Error::HandlerPanicked { .. })));
    let received = server.received();
    assert_eq!(received.iter().filter(|received| received.path() == "/deregister").count(), 1);
}

#[tokio::test]
async fn a_panic_before_the_peer_is_registered_deregisters_nothing() {
    let server = ScriptedServer::start(|_, _| Action::HangUp).await;
    let mut keeper = keep_until_panic(&server, |event| matches!(event, Event::Failed { .. }));
    assert!(matches!(keeper.ended().await, Err(Error::HandlerPanicked { .. })));
    assert!(matches!(keeper.stop().await, Err(Error::HandlerPanicked { .. })));
    assert!(server.received().iter().all(|received| received.path() == "/register"));
}

#[tokio::test]
async fn waiting_for_the_end_may_be_cancelled() {
    let server = accepting().await;
    let (mut keeper, mut events) = keep(&server);
    assert!(tokio::time::timeout(Duration::from_millis(10), keeper.ended()).await.is_err());
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    keeper.stop().await.unwrap();
}
