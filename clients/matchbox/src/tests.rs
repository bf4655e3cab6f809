//! Tests of a stay in a room, without a connection to a service.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use aurora_discovery_client::{
    Client, DiscoverResponse, DiscoveredPage, Mail, MailId, MessageTerms, PeerId as Name, RegisterRequest,
    RegisterResponse, SecretKey, SignedMessage, SignedRecord,
};
use aurora_discovery_protocol::{Freshness, RecordTerms, SignedTokenHash};
use matchbox_socket::{PeerEvent, PeerId, PeerSignal};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{JoinSet, yield_now};
use uuid::Uuid;

use crate::post::{Post, batches, id_of};
use crate::room::Room;
use crate::{AuroraSignallerBuilder, Keys, Staying};

const SID: &str = "0123456789abcdef";

fn peer(number: u8) -> PeerId {
    PeerId(Uuid::from_bytes([number; 16]))
}

fn name(number: u8) -> Name {
    Name::parse(&peer(number).to_string()).unwrap()
}

fn key(number: u8) -> SecretKey {
    SecretKey::from_random(&[number; 32])
}

/// The mail of a peer. Its requests reach no service.
fn post(number: u8) -> Post {
    let now = "2025-10-02T12:05:00";
    let response = format!(
        r#"{{"message":"","peer_id":"{}","ttl_expires":"{now}","ttl_seconds":300,"heartbeat_interval_seconds":100,"observed_address":"127.0.0.1","lease_token":"t"}}"#,
        name(number)
    );
    let response = RegisterResponse::from_body(response.as_bytes()).unwrap();
    Post::new(Client::new("http://127.0.0.1:9").unwrap(), name(number), key(number), &response).unwrap()
}

fn room(number: u8) -> (Room, UnboundedReceiver<PeerEvent>) {
    let (events, received) = unbounded_channel();
    let room = Room {
        me: peer(number),
        post: Arc::new(post(number)),
        keys: Keys::default(),
        met: HashSet::new(),
        answered: HashSet::new(),
        outboxes: HashMap::new(),
        tasks: JoinSet::new(),
        events,
    };
    (room, received)
}

fn mail(from: u8, message: &SignedMessage) -> Mail {
    Mail { id: MailId::new(1), from: name(from), message: message.as_str().to_owned(), sent_seconds_ago: 0 }
}

fn page(numbers: &[u8]) -> Option<DiscoveredPage> {
    let peers: Vec<_> = numbers.iter().map(|number| listed(&name(*number), &key(*number))).collect();
    page_of(&peers)
}

fn page_of(peers: &[String]) -> Option<DiscoveredPage> {
    let body = format!(
        r#"{{"peers":[{}],"count":{},"timestamp":"2025-10-02T12:00:00","total":9}}"#,
        peers.join(","),
        peers.len()
    );
    Some(DiscoverResponse::from_body(body.as_bytes()).unwrap().page)
}

fn listed(name: &Name, key: &SecretKey) -> String {
    let registration = RegisterRequest::builder(name.clone()).mail(true).build().unwrap();
    let terms = RecordTerms {
        seq: 1,
        freshness: Freshness::IssuedAt(1),
        token_hash: SignedTokenHash([0; 32]),
        audience: None,
        replaces: None,
    };
    let signed = SignedRecord::sign(&registration, &terms, key).unwrap();
    format!(
        r#"{{"peer_id":"{}","address":"10.0.0.1","port":0,"archetypes":[],"last_seen":"2025-10-02T12:00:00","metadata":{{}},"signed":"{}"}}"#,
        name,
        signed.as_str()
    )
}

/// The events that the socket has got since the last call.
fn told(events: &mut UnboundedReceiver<PeerEvent>) -> Vec<PeerEvent> {
    std::iter::from_fn(|| events.try_recv().ok()).collect()
}

fn offer() -> PeerSignal {
    PeerSignal::Offer("v=0\r\n".to_owned())
}

#[tokio::test]
async fn of_two_peers_the_one_with_the_smaller_id_makes_the_offer_once() {
    let (mut room, mut events) = room(5);
    room.meet(page(&[3, 7]));
    assert_eq!(told(&mut events), [PeerEvent::NewPeer(peer(7))]);
    assert_eq!(room.outboxes.keys().collect::<Vec<_>>(), [&peer(3)], "who learns that this one has joined");
    room.meet(page(&[3, 7]));
    room.take(&mail(7, &post(7).seal(&name(5), &[]).unwrap()));
    assert_eq!(told(&mut events), [], "both are known already");
    for newcomer in [4, 6] {
        room.take(&mail(newcomer, &post(newcomer).seal(&name(5), &[]).unwrap()));
    }
    assert_eq!(told(&mut events), [PeerEvent::NewPeer(peer(6))]);
    room.lose(peer(7));
    room.lose(peer(3));
    assert_eq!(told(&mut events), [PeerEvent::PeerLeft(peer(7))]);
    room.meet(page(&[7]));
    assert_eq!(told(&mut events), [PeerEvent::NewPeer(peer(7))], "it is still there");
}

#[tokio::test]
async fn signals_arrive_from_the_peer_that_signed_them() {
    let (mut room, mut events) = room(5);
    let signals = [offer(), PeerSignal::IceCandidate("{}".to_owned())];
    room.take(&mail(3, &post(3).seal(&name(5), &signals).unwrap()));
    let received = signals.map(|data| PeerEvent::Signal { sender: peer(3), data });
    assert_eq!(told(&mut events), received);
    assert!(room.keys.matches(peer(3), key(3).public()));
}

#[tokio::test]
async fn a_peer_keeps_its_first_key() {
    let (mut room, mut events) = room(5);
    room.meet(page(&[3]));
    let now = post(3).now();
    let signed = |sid, by| {
        let terms = MessageTerms { sid, issued_at: now, kind: "matchbox", sdp: "[{\"Offer\":\"\"}]" };
        mail(3, &SignedMessage::sign(&name(3), &name(5), &terms, &key(by)).unwrap())
    };
    room.take(&signed(SID, 4));
    assert_eq!(told(&mut events), []);
    room.take(&signed(SID, 3));
    assert_eq!(told(&mut events).len(), 1, "the message with another key has not used up the id");
}

#[test]
fn only_the_usual_text_of_an_id_names_a_peer() {
    let usual = peer(0xab).to_string();
    assert_eq!(id_of(&Name::parse(&usual).unwrap()), Some(peer(0xab)));
    for other in [usual.to_uppercase(), usual.replace('-', ""), format!("urn:uuid:{usual}"), "ada".to_owned()]
    {
        assert_eq!(id_of(&Name::parse(&other).unwrap()), None, "{other}");
    }
}

#[tokio::test]
async fn a_name_that_only_parses_to_the_id_of_another_peer_gets_nowhere() {
    let (mut room, mut events) = room(5);
    let upper = Name::parse(&peer(0xab).to_string().to_uppercase()).unwrap();
    room.meet(page_of(&[listed(&upper, &key(4))]));
    let now = post(3).now();
    let terms = MessageTerms { sid: SID, issued_at: now, kind: "matchbox", sdp: "[{\"Offer\":\"\"}]" };
    let message = SignedMessage::sign(&upper, &name(5), &terms, &key(4)).unwrap();
    room.take(&Mail { from: upper, ..mail(3, &message) });
    assert_eq!(told(&mut events), []);
    assert!(room.keys.matches(peer(0xab), key(0xab).public()), "its key is not taken either");
}

#[tokio::test]
async fn a_peer_that_has_sent_signals_is_not_reported_as_gone() {
    let (mut room, mut events) = room(5);
    room.meet(page(&[7]));
    room.take(&mail(7, &post(7).seal(&name(5), &[PeerSignal::Answer(String::new())]).unwrap()));
    told(&mut events);
    room.lose(peer(7));
    room.meet(page(&[7]));
    assert_eq!(told(&mut events), [], "it is neither gone nor new");
}

#[tokio::test]
async fn left_waits_for_all_rooms_and_for_those_that_are_joined_meanwhile() {
    let builder = AuroraSignallerBuilder::new(Client::new("http://127.0.0.1:9").unwrap(), Handle::current());
    builder.left().await;
    let first = Staying::new(Arc::clone(&builder.rooms));
    let clone = builder.clone();
    let waiting = tokio::spawn(async move { clone.left().await });
    yield_now().await;
    let second = Staying::new(Arc::clone(&builder.rooms));
    drop(first);
    yield_now().await;
    assert!(!waiting.is_finished());
    drop(second);
    waiting.await.unwrap();
}

#[test]
fn a_message_is_opened_once_by_its_receiver_while_it_is_new() {
    let receiver = post(5);
    let now = receiver.now();
    let message = |to, sid, issued_at, kind, sdp| {
        let terms = MessageTerms { sid, issued_at, kind, sdp };
        SignedMessage::sign(&name(3), &name(to), &terms, &key(3)).unwrap()
    };
    let good = mail(3, &message(5, SID, now - 299, "matchbox", "[]"));
    assert_eq!(receiver.open(&good).unwrap().key, key(3).public());
    assert!(receiver.open(&good).is_none(), "repeated");
    let sid = "fedcba9876543210";
    for (bad, why) in [
        (mail(3, &message(6, sid, now, "matchbox", "[]")), "for another peer"),
        (mail(4, &message(5, sid, now, "matchbox", "[]")), "under another name"),
        (mail(3, &message(5, sid, now - 400, "matchbox", "[]")), "old"),
        (mail(3, &message(5, sid, now + 400, "matchbox", "[]")), "of the future"),
        (mail(3, &message(5, sid, now, "offer", "[]")), "not of matchbox"),
        (mail(3, &message(5, sid, now, "matchbox", "v=0")), "not signals"),
    ] {
        assert!(receiver.open(&bad).is_none(), "{why}");
    }
    let forged = message(5, sid, now, "matchbox", "[]").as_str().rsplit_once('.').unwrap().0.to_owned();
    let signature = message(5, SID, now, "matchbox", "[]").as_str().rsplit_once('.').unwrap().1.to_owned();
    let forged = Mail { message: format!("{forged}.{signature}"), ..good };
    assert!(receiver.open(&forged).is_none(), "signed for another message");
}

#[test]
fn signals_are_split_so_that_each_message_has_at_most_4_kib() {
    let candidate = r#"{"candidate":"candidate:1 1 udp 2130706431 fd00::1234:5678:9abc:def0 51234 typ host","sdpMid":"","sdpMLineIndex":0,"usernameFragment":"abcdefghijklmnop"}"#;
    let signals = [vec![offer()], vec![PeerSignal::IceCandidate(candidate.to_owned()); 50]].concat();
    let groups = batches(signals.clone());
    assert!(groups.len() > 1 && groups[0].len() > 5, "{}", groups.len());
    assert_eq!(groups.concat(), signals);
    let sender = post(3);
    for group in &groups {
        sender.seal(&name(5), group).unwrap();
    }
    assert_eq!(batches(Vec::new()), [Vec::new()], "that a peer has joined");
}
