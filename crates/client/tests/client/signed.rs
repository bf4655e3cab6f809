//! Signed registrations.

use aurora_discovery_client::{
    Client, Code, Event, KeeperOptions, LeaseKeeper, PeerId, RegisterRequest, SecretKey, SignedRecord, Signer,
};
use tokio::sync::mpsc::unbounded_channel;

use crate::peer::{deregistered, renewed};
use crate::server::{Action, Received, ScriptedServer, ok, refuse};

fn key(number: u8) -> SecretKey {
    SecretKey::from_random(&[number; 32])
}

fn registration() -> RegisterRequest {
    RegisterRequest { port: 9000, ..RegisterRequest::new(PeerId::parse("p").unwrap()) }
}

/// The record that a request carries, verified.
fn record(received: &Received) -> SignedRecord {
    let body: serde_json::Value = serde_json::from_str(&received.body).unwrap();
    let record = SignedRecord::parse(body["signed"].as_str().unwrap()).unwrap();
    assert_eq!(record.verify().unwrap(), key(1).public());
    record
}

fn accepted() -> Action {
    ok(format!(
        r#"{{"message":"Peer registered successfully","peer_id":"p","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":300,"heartbeat_interval_seconds":0,"observed_address":"127.0.0.1","signed_by":"{}"}}"#,
        key(1).public()
    ))
}

fn stale(status: u16, code: &str, more: &str) -> Action {
    Action::Respond(status, &[], format!(r#"{{"error":"because","code":"{code}",{more}}}"#))
}

fn client(server: &ScriptedServer) -> Client {
    Client::new(server.endpoint.as_str()).unwrap()
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_by_the_service() {
    let server = ScriptedServer::start(|n, _| match n {
        // The service's clock is in the year 2000, so the local one is ahead of it.
        0 => stale(401, "stale_signature", r#""timestamp":"2000-01-01T00:00:00","nonce":"a-nonce""#),
        _ => accepted(),
    })
    .await;
    let mut signer = Signer::new(key(1)).unwrap();
    for _ in 0..2 {
        let response = signer.register(&client(&server), &registration()).await.unwrap();
        assert_eq!(response.signed_by, Some(key(1).public()));
    }
    let records: Vec<_> = server.received().iter().map(record).collect();
    assert!(records[0].seq() > 1_600_000_000_000, "by the local clock");
    assert_eq!(format!("{:?}", records[1].freshness()), r#"Nonce("a-nonce")"#);
    let in_2000 = 946_684_800_000..946_684_800_000 + 3_600_000;
    assert!(in_2000.contains(&records[1].seq()) && in_2000.contains(&records[2].seq()), "{records:?}");
    assert!(records[2].seq() > records[1].seq(), "{records:?}");
    assert!(format!("{:?}", records[2].freshness()).starts_with("IssuedAt(9466"), "{records:?}");
}

#[tokio::test]
async fn a_later_record_that_the_service_knows_is_followed_by_a_higher_number() {
    let server = ScriptedServer::start(|n, _| match n {
        0 => stale(409, "stale_record", r#""seq":9007199254740000"#),
        _ => accepted(),
    })
    .await;
    let mut signer = Signer::new(key(1)).unwrap();
    signer.register(&client(&server), &registration()).await.unwrap();
    assert_eq!(record(&server.received()[1]).seq(), 9_007_199_254_740_001);
}

#[tokio::test]
async fn a_refusal_that_signing_again_does_not_change_is_returned() {
    let server =
        ScriptedServer::start(|_, _| stale(401, "stale_signature", r#""timestamp":"2000-01-01T00:00:00""#))
            .await;
    let mut signer = Signer::new(key(1)).unwrap();
    let error = signer.register(&client(&server), &registration()).await.unwrap_err();
    assert_eq!((error.code(), server.received().len()), (Some(Code::StaleSignature), 3));
    let server = ScriptedServer::start(|_, _| refuse(403, "name_locked")).await;
    let error = signer.register(&client(&server), &registration()).await.unwrap_err();
    assert_eq!((error.code(), server.received().len()), (Some(Code::NameLocked), 1));
}

#[tokio::test]
async fn a_keeper_signs_and_renews_with_the_token_whose_hash_it_signed() {
    let server = ScriptedServer::start(|n, received| match received.path() {
        "/register" => accepted(),
        "/heartbeat" if n == 1 => refuse(404, "peer_not_registered"),
        "/heartbeat" => renewed(300),
        _ => deregistered(),
    })
    .await;
    let (sender, mut events) = unbounded_channel();
    let options = KeeperOptions::new().key(key(1)).replaces_key(key(2));
    let keeper = LeaseKeeper::start_with(client(&server), registration(), options, move |event| {
        let _ = sender.send(event);
    })
    .unwrap();
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    assert!(matches!(events.recv().await, Some(Event::Forgotten)));
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    assert!(matches!(events.recv().await, Some(Event::Renewed(_))));
    keeper.stop().await.unwrap();
    let received = server.received();
    let any_ttl =
        aurora_discovery_client::Ttl::from_secs(0)..=aurora_discovery_client::Ttl::from_secs(u32::MAX);
    let first = record(&received[0]).content(any_ttl.clone()).unwrap();
    assert_eq!(first.replaces, Some(key(2).public()));
    let second = record(&received[2]);
    assert!(second.seq() > record(&received[0]).seq());
    let second = second.content(any_ttl).unwrap();
    assert_eq!(second.replaces, None, "the rotation is done");
    assert_eq!(second.token_hash, first.token_hash);
    let heartbeat: serde_json::Value = serde_json::from_str(&received[3].body).unwrap();
    let token = heartbeat["lease_token"].as_str().unwrap();
    assert!(!received[0].body.contains(token), "the token is sent with heartbeats only");
}
