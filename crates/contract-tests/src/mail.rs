//! `POST /mail`, `POST /mailbox`, and the mail of heartbeats.

use aurora_discovery_protocol::{
    Freshness, MessageTerms, PeerId, RecordTerms, RegisterRequest, SecretKey, SignedMessage, SignedRecord,
    SignedTokenHash,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::client::{Client, naive_time, unique};
use crate::wire::Response;
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

/// A peer with a signed registration. Its lease token is its name.
struct Peer<'t> {
    client: Client<'t>,
    name: String,
    key: SecretKey,
}

impl<'t> Peer<'t> {
    /// Registers a peer with a random key. With `mail`, it has a mailbox.
    async fn register(client: Client<'t>, mail: bool) -> Self {
        let mut random = [0; 32];
        fastrand::fill(&mut random);
        let (name, key) = (unique("peer"), SecretKey::from_random(&random));
        let now = now(&client).await;
        let terms = RecordTerms {
            seq: now * 1_000,
            freshness: Freshness::IssuedAt(now),
            token_hash: SignedTokenHash(Sha256::digest(name.as_bytes()).into()),
            audience: None,
            replaces: None,
        };
        let registration = RegisterRequest { mail, ..RegisterRequest::new(id(&name)) };
        let record = SignedRecord::sign(&registration, &terms, &key).expect("a record");
        client.register(&json!({ "signed": record.as_str() })).await;
        Self { client, name, key }
    }

    /// Two peers with mailboxes, at different addresses.
    async fn pair(target: &'t Target) -> [Self; 2] {
        let first = Self::register(Client::first(target), true).await;
        [first, Self::register(Client::second(target), true).await]
    }

    async fn message(&self, to: &str, sid: &str) -> SignedMessage {
        let terms = MessageTerms { sid, issued_at: now(&self.client).await, kind: "offer", sdp: "v=0\r\n" };
        SignedMessage::sign(&id(&self.name), &id(to), &terms, &self.key).expect("a message")
    }

    /// Sends a message with a random session id.
    async fn send(&self, to: &str) -> Response {
        let sid = format!("{:032x}", fastrand::u128(..));
        self.post(to, &self.message(to, &sid).await).await
    }

    async fn post(&self, to: &str, message: &SignedMessage) -> Response {
        let body = json!({"to": to, "lease_token": self.name, "message": message.as_str()});
        self.client.post("/mail", &body.to_string()).await
    }

    async fn mailbox(&self, acknowledge: &[Value]) -> Value {
        let body = json!({"peer_id": self.name, "lease_token": self.name, "acknowledge": acknowledge});
        self.client.post("/mailbox", &body.to_string()).await.ok()
    }

    async fn heartbeat(&self, more: &Value) -> Value {
        let mut body = json!({"peer_id": self.name, "lease_token": self.name});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        self.client.post("/heartbeat", &body.to_string()).await.ok()
    }
}

fn id(name: &str) -> PeerId {
    PeerId::parse(name).expect("an id")
}

/// The time of the service, in seconds.
async fn now(client: &Client<'_>) -> u64 {
    let page = client.get("/discover?limit=1").await.ok();
    u64::try_from(naive_time(&page["timestamp"])).expect("a time after 1970")
}

fn count(mail: &Value) -> usize {
    mail["mail"].as_array().expect("a list").len()
}

pub async fn a_message_waits_for_its_receiver_until_it_is_acknowledged(target: &Target) {
    let [one, two] = Peer::pair(target).await;
    assert_eq!(two.mailbox(&[]).await["mail"], json!([]));
    let message = one.message(&two.name, "0123456789abcdef").await;
    let sent = one.post(&two.name, &message).await;
    assert_eq!((sent.status, sent.text()), (202, r#"{"expires_in_seconds":60}"#));
    for _ in 0..2 {
        let waiting = two.mailbox(&[json!("0000000000000000")]).await;
        let keys: Vec<_> = waiting.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["mail", "next_poll_seconds"]);
        assert_eq!(count(&waiting), 1);
        let mail = &waiting["mail"][0];
        let keys: Vec<_> = mail.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["from", "id", "message", "sent_seconds_ago"]);
        assert_eq!((&mail["from"], &mail["message"]), (&json!(one.name), &json!(message.as_str())));
    }
    assert_eq!(one.mailbox(&[]).await["mail"], json!([]), "only the receiver has the message");
    let mail_id = two.mailbox(&[]).await["mail"][0]["id"].clone();
    for _ in 0..2 {
        assert_eq!(two.mailbox(std::slice::from_ref(&mail_id)).await["mail"], json!([]));
    }
}

pub async fn a_heartbeat_fetches_and_acknowledges_mail(target: &Target) {
    let [one, two] = Peer::pair(target).await;
    assert_eq!(two.heartbeat(&json!({"mail": true})).await["mail"], json!([]));
    one.send(&two.name).await;
    assert_eq!(two.heartbeat(&json!({})).await.get("mail"), None, "mail was not requested");
    let mail = two.heartbeat(&json!({"mail": true})).await["mail"].clone();
    assert_eq!((mail.as_array().map(Vec::len), &mail[0]["from"]), (Some(1), &json!(one.name)));
    let rest = two.heartbeat(&json!({"mail": true, "acknowledge": [mail[0]["id"]]})).await;
    assert_eq!(rest["mail"], json!([]));
    assert_eq!(two.mailbox(&[]).await["mail"], json!([]));
}

pub async fn a_message_to_an_absent_peer_is_refused_at_once(target: &Target) {
    let [one, two] = Peer::pair(target).await;
    one.send(&unique("absent")).await.refused(404, "peer_not_registered", Some("to"));
    let body = json!({"peer_id": two.name, "lease_token": two.name}).to_string();
    two.client.post("/deregister", &body).await.ok();
    one.send(&two.name).await.refused(404, "peer_not_registered", Some("to"));
    two.send(&one.name).await.refused(404, "peer_not_registered", None);
    two.client.post("/mailbox", &body).await.refused(404, "peer_not_registered", None);
}

pub async fn only_a_signed_peer_that_asks_for_it_has_a_mailbox(target: &Target) {
    let one = Peer::register(Client::first(target), true).await;
    let quiet = Peer::register(Client::second(target), false).await;
    one.send(&quiet.name).await.refused(409, "no_mailbox", Some("to"));
    quiet.send(&one.name).await.refused(409, "no_mailbox", None);
    let body = json!({"peer_id": quiet.name, "lease_token": quiet.name});
    quiet.client.post("/mailbox", &body.to_string()).await.refused(409, "no_mailbox", None);
    assert_eq!(quiet.heartbeat(&json!({"mail": true})).await.get("mail"), None);
    let unsigned = unique("unsigned");
    let lease = one.client.register(&json!({"peer_id": unsigned, "mail": true})).await.ok();
    one.send(&unsigned).await.refused(409, "no_mailbox", Some("to"));
    let body = json!({"peer_id": unsigned, "lease_token": lease["lease_token"]}).to_string();
    one.client.post("/mailbox", &body).await.refused(409, "no_mailbox", None);
}

pub async fn a_mailbox_opens_only_with_the_lease_token_and_from_any_address(target: &Target) {
    let [one, two] = Peer::pair(target).await;
    one.send(&two.name).await;
    for token in [json!(one.name), json!("guessed")] {
        let body = json!({"peer_id": two.name, "lease_token": token}).to_string();
        two.client.post("/mailbox", &body).await.refused(403, "not_holder", None);
    }
    for token in [Value::Null, json!("")] {
        let body = json!({"peer_id": two.name, "lease_token": token}).to_string();
        two.client.post("/mailbox", &body).await.refused(400, "invalid_field", Some("lease_token"));
    }
    let elsewhere = Peer { client: Client::first(target), name: two.name.clone(), key: two.key };
    assert_eq!(count(&elsewhere.mailbox(&[]).await), 1, "from any address");
}

pub async fn a_message_names_its_sender_and_is_signed_by_its_key(target: &Target) {
    let [one, two] = Peer::pair(target).await;
    let message = one.message(&two.name, "0123456789abcdef").await;
    let body = json!({"to": two.name, "lease_token": two.name, "message": message.as_str()});
    two.client.post("/mail", &body.to_string()).await.refused(403, "not_holder", None);
    let forger = Peer { client: Client::second(target), name: one.name.clone(), key: two.key };
    forger.send(&one.name).await.refused(401, "invalid_signature", Some("message"));
    let two_name = two.name;
    let other = one.message(&one.name, "0123456789abcdef").await;
    one.post(&two_name, &other).await.refused(400, "invalid_field", Some("message.to"));
    let mut long = json!({"to": two_name, "lease_token": one.name, "message": "a.".repeat(3_000)});
    one.client.post("/mail", &long.to_string()).await.refused(400, "invalid_field", Some("message"));
    long["message"] = json!("a.b.c");
    one.client.post("/mail", &long.to_string()).await.refused(400, "invalid_field", Some("message"));
}

pub async fn a_repeated_message_is_refused(target: &Target) {
    let [one, two] = Peer::pair(target).await;
    let message = one.message(&two.name, "0123456789abcdef").await;
    assert_eq!(one.post(&two.name, &message).await.status, 202);
    one.post(&two.name, &message).await.refused(409, "repeated_message", Some("message.sid"));
    let waiting = two.mailbox(&[]).await;
    assert_eq!(count(&waiting), 1);
    two.mailbox(&[waiting["mail"][0]["id"].clone()]).await;
    one.post(&two.name, &message).await.refused(409, "repeated_message", Some("message.sid"));
    // A session belongs to its sender, so a reply with the same session id is not a repetition.
    let answer = two.message(&one.name, "0123456789abcdef").await;
    assert_eq!(two.post(&one.name, &answer).await.status, 202);
}

pub async fn one_sender_can_not_fill_a_mailbox(target: &Target) {
    let [one, two] = Peer::pair(target).await;
    for _ in 0..2 {
        assert_eq!(one.send(&two.name).await.status, 202);
    }
    one.send(&two.name).await.refused(429, "mailbox_full", None);
    let three = Peer::register(Client::first(target), true).await;
    assert_eq!(three.send(&two.name).await.status, 202);
    assert_eq!(count(&two.mailbox(&[]).await), 3);
}

pub async fn a_request_that_waits_gets_the_next_message(target: &Target) {
    let [one, two] = Peer::pair(target).await;
    if two.mailbox(&[]).await["next_poll_seconds"] != json!(0) {
        // On this service requests cannot wait for mail. It responds at once, and asks clients to
        // poll.
        let body = json!({"peer_id": two.name, "lease_token": two.name, "wait_seconds": 25});
        let response = two.client.post("/mailbox", &body.to_string()).await.ok();
        assert_eq!(response, json!({"mail": [], "next_poll_seconds": 5}));
        return;
    }
    let body = json!({"peer_id": two.name, "lease_token": two.name, "wait_seconds": 20}).to_string();
    let (waiting, sent) = tokio::join!(two.client.post("/mailbox", &body), one.send(&two.name));
    assert_eq!((sent.status, count(&waiting.ok())), (202, 1));
    let refused = body.replace("20", "26");
    two.client.post("/mailbox", &refused).await.refused(400, "invalid_field", Some("wait_seconds"));
}
