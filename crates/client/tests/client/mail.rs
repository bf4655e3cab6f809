//! Mail.

use std::time::{Duration, Instant};

use aurora_discovery_client::{
    Client, ClientOptions, Error, LeaseToken, MailId, MailRequest, MailboxRequest, MessageTerms, PeerId,
    SecretKey, SignedMessage,
};

use crate::server::{Action, ScriptedServer, ok};

fn id(text: &str) -> PeerId {
    PeerId::parse(text).unwrap()
}

fn token() -> LeaseToken {
    LeaseToken::parse("t").unwrap()
}

fn message() -> SignedMessage {
    let terms =
        MessageTerms { sid: "0123456789abcdef", issued_at: 1_800_000_000, kind: "offer", sdp: "v=0\r\n" };
    SignedMessage::sign(&id("a"), &id("b"), &terms, &SecretKey::from_random(&[1; 32])).unwrap()
}

fn fetch(acknowledge: Vec<MailId>, wait_seconds: u32) -> MailboxRequest {
    MailboxRequest { peer_id: id("b"), lease_token: token(), acknowledge, wait_seconds }
}

#[tokio::test]
async fn a_message_arrives_as_it_was_signed() {
    let sent = message();
    let waiting = format!(
        r#"{{"mail":[{{"id":"00000000000000ff","from":"a","message":"{}","sent_seconds_ago":1}}],"next_poll_seconds":5}}"#,
        sent.as_str()
    );
    let server = ScriptedServer::start(move |_, received| match received.path() {
        "/mail" => Action::Respond(202, &[], r#"{"expires_in_seconds":60}"#.to_owned()),
        _ => ok(waiting.as_str()),
    })
    .await;
    let client = Client::new(server.endpoint.as_str()).unwrap();
    let request = MailRequest { to: id("b"), lease_token: token(), message: sent.clone() };
    assert_eq!(client.mail(&request).await.unwrap().expires_in_seconds, 60);
    let response = client.mailbox(&fetch(vec![MailId::new(7)], 25)).await.unwrap();
    assert_eq!((response.next_poll_seconds, response.mail.len()), (5, 1));
    assert_eq!((response.mail[0].id, &response.mail[0].from), (MailId::new(255), &id("a")));
    let message = SignedMessage::parse(&response.mail[0].message).unwrap();
    assert_eq!(message.verify().unwrap(), SecretKey::from_random(&[1; 32]).public());
    assert_eq!((message.kind(), message.sdp().as_str()), ("offer", "v=0\r\n"));
    let bodies: Vec<_> = server.received().into_iter().map(|received| received.body).collect();
    assert_eq!(bodies[0], format!(r#"{{"to":"b","lease_token":"t","message":"{}"}}"#, sent.as_str()));
    assert_eq!(
        bodies[1],
        r#"{"peer_id":"b","lease_token":"t","acknowledge":["0000000000000007"],"wait_seconds":25}"#
    );
}

#[tokio::test]
async fn the_time_for_which_the_service_waits_is_added_to_the_time_limit() {
    let server = ScriptedServer::start(|_, _| Action::Stall).await;
    let options = ClientOptions::new(&server.endpoint).timeout(Duration::from_millis(100)).retries(0);
    let client = Client::new(options).unwrap();
    for (wait_seconds, limit) in [(0, Duration::from_millis(100)), (1, Duration::from_millis(1_100))] {
        let started = Instant::now();
        let error = client.mailbox(&fetch(Vec::new(), wait_seconds)).await.unwrap_err();
        assert!(matches!(error, Error::TimedOut { timeout, .. } if timeout == limit), "{error:?}");
        assert!(started.elapsed() >= limit, "{:?}", started.elapsed());
    }
}
