//! Mail over real sockets: waiting requests, event streams, rates, and the audit log.

use std::time::Duration;

use aurora_discovery_protocol::{
    Freshness, MessageTerms, PeerId, RecordTerms, RegisterRequest, SecretKey, SignedMessage, SignedRecord,
    SignedTokenHash,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use crate::support::{Response, Service, TIMEOUT};

const AWAY: &str = "198.51.100.1";

fn key(number: u8) -> SecretKey {
    SecretKey::from_random(&[number; 32])
}

/// Registers a peer with a mailbox, signed with `key(by)`. Its lease token is its name.
async fn register(service: &Service, name: &str, by: u8) -> Value {
    let now = service.clock.now();
    let terms = RecordTerms {
        seq: now.as_millis(),
        freshness: Freshness::IssuedAt(now.as_secs()),
        token_hash: SignedTokenHash(Sha256::digest(name.as_bytes()).into()),
        audience: None,
        replaces: None,
    };
    let registration = RegisterRequest { mail: true, ..RegisterRequest::new(PeerId::parse(name).unwrap()) };
    let signed = SignedRecord::sign(&registration, &terms, &key(by)).unwrap();
    service.post("/register", &json!({ "signed": signed.as_str() }).to_string()).await.ok()
}

/// The body of a request that sends a message from the peer `a`, which signs with `key(1)`.
fn from_a(service: &Service, to: &str, session: u32) -> Value {
    let (from, to) = (PeerId::parse("a").unwrap(), PeerId::parse(to).unwrap());
    let sid = format!("session-{session:08}");
    let issued_at = service.clock.now().as_secs();
    let terms = MessageTerms { sid: &sid, issued_at, kind: "offer", sdp: "v=0" };
    let message = SignedMessage::sign(&from, &to, &terms, &key(1)).unwrap();
    json!({"to": to, "lease_token": "a", "message": message.as_str()})
}

async fn send(service: &Service, to: &str, session: u32) -> Response {
    service.post("/mail", &from_a(service, to, session).to_string()).await
}

fn fetch(peer: &str, more: &Value) -> String {
    let mut body = json!({"peer_id": peer, "lease_token": peer});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

async fn mailbox(service: &Service, peer: &str, more: &Value) -> Value {
    service.post("/mailbox", &fetch(peer, more)).await.ok()
}

async fn metric(service: &Service, name: &str) -> u64 {
    let response = service.client.get(format!("http://{}/metrics", service.metrics)).send().await.unwrap();
    let text = response.text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is missing")).trim_end_matches(".0").parse().unwrap()
}

async fn wait_for_metric(service: &Service, name: &str, expected: u64) {
    let changed = async { while metric(service, name).await != expected {} };
    timeout(TIMEOUT, changed).await.unwrap_or_else(|_| panic!("{name} does not become {expected}"));
}

async fn two_peers() -> Service {
    let service = Service::start().await;
    register(&service, "a", 1).await;
    register(&service, "b", 2).await;
    service
}

#[tokio::test]
async fn a_waiting_request_gets_the_message_that_arrives() {
    let service = two_peers().await;
    let wait = json!({"wait_seconds": 20});
    let (waiting, ()) = tokio::join!(mailbox(&service, "b", &wait), async {
        wait_for_metric(&service, "aurora_mail_waits", 1).await;
        let sent = send(&service, "b", 1).await;
        assert_eq!((sent.status.as_u16(), sent.json()), (202, json!({"expires_in_seconds": 60})));
    });
    assert_eq!((&waiting["mail"][0]["from"], &waiting["next_poll_seconds"]), (&json!("a"), &json!(0)));
    wait_for_metric(&service, "aurora_mail_waits", 0).await;
    let again = mailbox(&service, "b", &json!({"wait_seconds": 20})).await;
    assert_eq!(again["mail"], waiting["mail"], "a message stays until it is acknowledged");
    let acknowledged = json!({"acknowledge": [waiting["mail"][0]["id"]], "wait_seconds": 1});
    let rest = mailbox(&service, "b", &acknowledged).await;
    assert_eq!((&rest["mail"], &rest["next_poll_seconds"]), (&json!([]), &json!(0)));
    assert_eq!(metric(&service, "aurora_store_mail_acknowledged_total").await, 1);
}

#[tokio::test]
async fn a_client_that_stops_waiting_loses_no_message() {
    let service = two_peers().await;
    for session in 0..2 {
        let body = fetch("b", &json!({"wait_seconds": 20, "acknowledge": []}));
        let request = service.client.post(service.url("/mailbox")).body(body).send().await.unwrap();
        wait_for_metric(&service, "aurora_mail_waits", 1).await;
        drop(request);
        send(&service, "b", session).await;
        // The service writes the message to the closed connection, so this response is lost. The
        // message stays in the mailbox, because it has not been acknowledged.
        wait_for_metric(&service, "aurora_mail_waits", 0).await;
        let waiting = mailbox(&service, "b", &json!({})).await;
        assert_eq!(waiting["mail"].as_array().unwrap().len(), 1);
        mailbox(&service, "b", &json!({"acknowledge": [waiting["mail"][0]["id"]]})).await;
    }
}

#[tokio::test]
async fn a_message_expires_after_a_minute_and_its_session_after_two() {
    let service = two_peers().await;
    send(&service, "b", 1).await;
    service.clock.advance(59);
    assert_eq!(mailbox(&service, "b", &json!({})).await["mail"][0]["sent_seconds_ago"], 59);
    service.clock.advance(1);
    assert_eq!(mailbox(&service, "b", &json!({})).await["mail"], json!([]));
    send(&service, "b", 1).await.refused(409, "repeated_message", Some("message.sid"));
    service.clock.advance(60);
    assert_eq!(send(&service, "b", 1).await.status, 202);
    service.clock.advance(180);
    send(&service, "b", 2).await.refused(404, "peer_not_registered", None);
}

#[tokio::test]
async fn a_stale_message_is_refused_with_the_time_of_the_service() {
    let service = two_peers().await;
    let body = from_a(&service, "b", 1).to_string();
    let heartbeat = json!({"peer_id": "a", "lease_token": "a"}).to_string();
    service.clock.advance(200);
    for peer in ["a", "b"] {
        let heartbeat = json!({"peer_id": peer, "lease_token": peer}).to_string();
        service.post("/heartbeat", &heartbeat).await.ok();
    }
    service.clock.advance(101);
    service.post("/heartbeat", &heartbeat).await.ok();
    let refusal = service.post("/mail", &body).await;
    refusal.refused(401, "stale_signature", Some("message.iat"));
    assert_eq!(
        (&refusal.json()["timestamp"], refusal.json().get("nonce")),
        (&json!("2025-10-02T12:05:01"), None)
    );
}

/// An event stream of mail, parsed as a browser parses it.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(service: &Service, body: String) -> Self {
        let request = service.client.post(service.url("/mailbox")).body(body);
        let response = request.header("accept", "text/event-stream").send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The data of the next event; `None` at the end of the stream.
    async fn event(&mut self) -> Option<Value> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                if let Some(data) = block.lines().find_map(|line| line.strip_prefix("data: ")) {
                    assert!(block.contains("event: mail\n"), "{block}");
                    return Some(serde_json::from_str(data).unwrap());
                }
            }
            let chunk = self.response.chunk().await.expect("the stream is interrupted")?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test]
async fn a_stream_has_each_message_once_and_ends_with_the_registration() {
    let service = Service::with(|options| {
        options.server.service.watch_keep_alive = Duration::from_millis(50);
    });
    let service = service.await;
    register(&service, "a", 1).await;
    register(&service, "b", 2).await;
    send(&service, "b", 1).await;
    let mut stream = Stream::open(&service, fetch("b", &json!({}))).await;
    let first = stream.event().await.unwrap();
    send(&service, "b", 2).await;
    let second = stream.event().await.unwrap();
    assert_ne!(first["id"], second["id"]);
    let waiting = mailbox(&service, "b", &json!({"acknowledge": [first["id"]]})).await;
    assert_eq!((waiting["mail"].as_array().unwrap().len(), &waiting["mail"][0]), (1, &second));
    send(&service, "b", 3).await;
    let third = stream.event().await.unwrap();
    assert!(third["id"] != second["id"] && third["id"] != first["id"]);
    service.post("/deregister", &json!({"peer_id": "b", "lease_token": "b"}).to_string()).await.ok();
    assert_eq!(stream.event().await, None);
    wait_for_metric(&service, "aurora_mail_waits", 0).await;
}

#[tokio::test]
async fn only_the_holder_of_the_token_opens_a_stream() {
    let service = two_peers().await;
    let body = json!({"peer_id": "b", "lease_token": "a"}).to_string();
    let request = service.client.post(service.url("/mailbox")).body(body);
    let response = request.header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!((response.status().as_u16(), metric(&service, "aurora_mail_waits").await), (403, 0));
}

#[tokio::test]
async fn requests_that_wait_count_as_watchers() {
    let service = Service::with(|options| options.server.service.max_watchers = 1).await;
    register(&service, "b", 2).await;
    let _stream = Stream::open(&service, fetch("b", &json!({}))).await;
    let refusal = service.post("/mailbox", &fetch("b", &json!({"wait_seconds": 1}))).await;
    refusal.refused(503, "unavailable", None);
    assert_eq!(mailbox(&service, "b", &json!({})).await["mail"], json!([]), "it need not wait");
}

#[tokio::test]
async fn no_request_waits_if_the_transport_does_not_permit_it() {
    let service = Service::with(|options| options.server.service.max_mail_wait = Duration::ZERO).await;
    register(&service, "b", 2).await;
    let request = service.client.post(service.url("/mailbox")).body(fetch("b", &json!({"wait_seconds": 25})));
    let response = request.header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(body, json!({"mail": [], "next_poll_seconds": 5}));
}

#[tokio::test]
async fn a_shutdown_ends_the_requests_that_wait() {
    let mut service = two_peers().await;
    let body = fetch("b", &json!({"wait_seconds": 25}));
    let request = service.client.post(service.url("/mailbox")).body(body).send().await.unwrap();
    wait_for_metric(&service, "aurora_mail_waits", 1).await;
    service.stop();
    let body: Value = serde_json::from_str(&request.text().await.unwrap()).unwrap();
    assert_eq!(body, json!({"mail": [], "next_poll_seconds": 1}));
    service.stopped().await.unwrap();
}

#[tokio::test]
async fn a_sender_sends_thirty_messages_and_then_one_every_two_seconds() {
    let service = two_peers().await;
    let mut accepted = 0;
    let refusal = loop {
        let response = send(&service, "b", accepted).await;
        if response.status != 202 {
            break response;
        }
        accepted += 1;
        let waiting = mailbox(&service, "b", &json!({})).await;
        let ids: Vec<_> = waiting["mail"].as_array().unwrap().iter().map(|mail| &mail["id"]).collect();
        mailbox(&service, "b", &json!({ "acknowledge": ids })).await;
    };
    assert!(accepted >= 30, "{accepted}");
    refusal.refused(429, "rate_limited", None);
    assert!(refusal.header("retry-after").is_some());
    // Requests without the sender's token are refused before they count against the sender's rate.
    register(&service, "c", 3).await;
    let mut forged = from_a(&service, "b", accepted + 1);
    forged["lease_token"] = json!("c");
    for _ in 0..40 {
        service.post("/mail", &forged.to_string()).await.refused(403, "not_holder", None);
    }
}

#[tokio::test]
async fn one_source_can_not_fill_a_mailbox() {
    let service = Service::behind_a_proxy().await;
    register(&service, "b", 100).await;
    let from = async |name: &str, by: u8, address: &str| {
        register(&service, name, by).await;
        let (from, to) = (PeerId::parse(name).unwrap(), PeerId::parse("b").unwrap());
        let issued_at = service.clock.now().as_secs();
        let terms = MessageTerms { sid: "0123456789abcdef", issued_at, kind: "offer", sdp: "v=0" };
        let message = SignedMessage::sign(&from, &to, &terms, &key(by)).unwrap();
        let body = json!({"to": "b", "lease_token": name, "message": message.as_str()});
        service.client_at(address).post("/mail", &body).await
    };
    for by in 1..=4 {
        assert_eq!(from(&format!("flood-{by}"), by, AWAY).await.status, 202);
    }
    let fifth = from("flood-5", 5, AWAY).await;
    fifth.refused(429, "rate_limited", None);
    assert_eq!(from("other", 6, "203.0.113.9").await.status, 202);
}

#[tokio::test]
async fn a_peer_with_a_mailbox_gets_ice_servers() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "north").unwrap();
    let service = Service::with(|options| {
        let ice = &mut options.server.ice;
        ice.stun = vec!["stun:stun.example:3478".to_owned()];
        ice.turn = vec!["turn:turn.example:3478".to_owned()];
        ice.turn_secret = Some(secret);
    });
    let service = service.await;
    let registered = register(&service, "a", 1).await;
    let [stun, turn] = registered["ice_servers"].as_array().unwrap().as_slice() else {
        panic!("two servers")
    };
    assert_eq!(*stun, json!({"urls": ["stun:stun.example:3478"]}));
    // The time at which the credentials expire: twelve hours after noon, in seconds since 1970.
    assert_eq!(turn["username"], "1759449600:a");
    service.clock.advance(1);
    let heartbeat = async |more: Value| service.post("/heartbeat", &fetch("a", &more)).await.ok();
    let renewed = heartbeat(json!({"mail": true})).await;
    assert_eq!(renewed["ice_servers"][1]["username"], "1759449601:a");
    assert_ne!(renewed["ice_servers"][1]["credential"], turn["credential"]);
    assert_eq!(heartbeat(json!({})).await.get("ice_servers"), None);
    let unsigned = service.post("/register", r#"{"peer_id":"u","mail":true}"#).await.ok();
    assert_eq!(unsigned.get("ice_servers"), None);
}

#[tokio::test]
async fn a_full_mailbox_says_when_to_try_again() {
    let service = two_peers().await;
    for session in 1..=2 {
        assert_eq!(send(&service, "b", session).await.status, 202);
    }
    let refusal = send(&service, "b", 3).await;
    refusal.refused(429, "mailbox_full", None);
    let seconds: u32 = refusal.header("retry-after").unwrap().parse().unwrap();
    assert!((5..=10).contains(&seconds), "{seconds}");
}
