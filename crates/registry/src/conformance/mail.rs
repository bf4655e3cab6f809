//! Messages that wait for their receivers.

use std::task::{Context, Poll, Waker};

use aurora_discovery_protocol::{MailId, Timestamp};

use super::Subject;
use super::harness::{
    HOLDER_SOURCE, Harness, PutRequestBuilder as _, TTL, at, at_millis, claim_with, id, peer, token,
};
use crate::{Delivery, KnownPeer, Letter, Lock, Mailboxes, SidHash, Source};

/// How long a message waits, in seconds.
const LIFE: u64 = 60;
/// How long a session is remembered, in seconds.
const SEEN: u64 = 120;

/// A message of `from`. Messages with different numbers have different ids, sessions and sources.
fn letter(from: &str, number: u64, now: Timestamp) -> Letter {
    let from_id = id(from);
    Letter {
        id: MailId::new(number),
        sid: SidHash::of(&from_id, &format!("session-{number}")),
        from: from_id,
        source: source(&format!("10.0.{}.{}", number / 256, number % 256)),
        message: format!("header.{from}-{number}.signature").into(),
        sent_at: now,
    }
}

fn source(text: &str) -> Source {
    Source::of(text.parse().expect("an address"))
}

impl Harness {
    fn mailboxes(&self) -> Option<&dyn Mailboxes> {
        let mailboxes = self.store.mailboxes();
        assert_eq!(mailboxes.is_some(), self.guarantees.mail, "the guarantee of mailboxes");
        mailboxes
    }
}

async fn deliver(mailboxes: &dyn Mailboxes, to: &str, letter: Letter, now: Timestamp) -> Delivery {
    mailboxes.deliver(&id(to), letter, now).await.expect("delivering does not fail")
}

async fn collect(mailboxes: &dyn Mailboxes, of: &str, acknowledged: &[u64], now: Timestamp) -> Vec<Letter> {
    let ids: Vec<_> = acknowledged.iter().copied().map(MailId::new).collect();
    mailboxes.collect(&id(of), &ids, now).await.expect("collecting does not fail")
}

/// Delivers a message, which must succeed.
async fn send(mailboxes: &dyn Mailboxes, to: &str, letter: Letter, now: Timestamp) {
    assert_eq!(deliver(mailboxes, to, letter, now).await, Delivery::Delivered);
}

pub async fn a_message_waits_until_it_is_acknowledged(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let Some(mailboxes) = harness.mailboxes() else { return };
    assert_eq!(collect(mailboxes, "b", &[], at(0)).await, []);
    let one = letter("a", 1, at_millis(7));
    send(mailboxes, "b", one.clone(), at_millis(7)).await;
    for second in [1, 2] {
        assert_eq!(
            collect(mailboxes, "b", &[2], at(second)).await,
            std::slice::from_ref(&one),
            "the id of no message"
        );
    }
    assert_eq!(collect(mailboxes, "b", &[1], at(3)).await, []);
    assert_eq!(collect(mailboxes, "b", &[1], at(3)).await, [], "again");
}

pub async fn messages_wait_in_the_order_in_which_they_were_sent(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let Some(mailboxes) = harness.mailboxes() else { return };
    let sent = [letter("z", 9, at(0)), letter("a", 1, at(0)), letter("m", 5, at(1))];
    for letter in sent.clone() {
        send(mailboxes, "b", letter, at(1)).await;
    }
    assert_eq!(collect(mailboxes, "b", &[], at(2)).await, sent);
    assert_eq!(collect(mailboxes, "b", &[1], at(2)).await, [sent[0].clone(), sent[2].clone()]);
    assert_eq!(collect(mailboxes, "b", &[5, 9], at(2)).await, []);
}

pub async fn a_message_waits_for_its_receiver_alone(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let Some(mailboxes) = harness.mailboxes() else { return };
    send(mailboxes, "b", letter("a", 1, at(0)), at(0)).await;
    assert_eq!(collect(mailboxes, "B", &[1], at(0)).await, []);
    assert_eq!(collect(mailboxes, "a", &[1], at(0)).await, []);
    assert_eq!(collect(mailboxes, "b", &[], at(0)).await.len(), 1);
    // The same session may be offered to another peer.
    send(mailboxes, "c", letter("a", 1, at(0)), at(0)).await;
    assert_eq!(collect(mailboxes, "c", &[], at(0)).await.len(), 1);
}

pub async fn a_message_waits_for_a_minute(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let Some(mailboxes) = harness.mailboxes() else { return };
    send(mailboxes, "b", letter("a", 1, at(0)), at(0)).await;
    send(mailboxes, "b", letter("a", 2, at(1)), at(1)).await;
    harness.sweep(at_millis(LIFE * 1_000 - 1)).await;
    assert_eq!(collect(mailboxes, "b", &[], at_millis(LIFE * 1_000 - 1)).await.len(), 2);
    assert_eq!(collect(mailboxes, "b", &[], at(LIFE)).await, [letter("a", 2, at(1))]);
    harness.sweep(at(LIFE + 1)).await;
    assert_eq!(collect(mailboxes, "b", &[], at(LIFE + 1)).await, []);
}

pub async fn a_session_is_refused_again_for_two_minutes(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let Some(mailboxes) = harness.mailboxes() else { return };
    send(mailboxes, "b", letter("a", 1, at(0)), at(0)).await;
    let again = |now| Letter { id: MailId::new(77), ..letter("a", 1, now) };
    assert_eq!(deliver(mailboxes, "b", again(at(1)), at(1)).await, Delivery::Repeated);
    assert_eq!(collect(mailboxes, "b", &[1], at(2)).await, []);
    for now in [at(3), at_millis(SEEN * 1_000 - 1)] {
        harness.sweep(now).await;
        assert_eq!(deliver(mailboxes, "b", again(now), now).await, Delivery::Repeated);
    }
    assert_eq!(collect(mailboxes, "b", &[], at(SEEN)).await, []);
    send(mailboxes, "b", again(at(SEEN)), at(SEEN)).await;
    send(mailboxes, "b", letter("c", 1, at(SEEN)), at(SEEN)).await;
}

pub async fn a_mailbox_has_eight_messages_and_two_of_one_sender(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let Some(mailboxes) = harness.mailboxes() else { return };
    for number in [1, 2] {
        send(mailboxes, "b", letter("flood", number, at(0)), at(0)).await;
    }
    let third = deliver(mailboxes, "b", letter("flood", 3, at(0)), at(0)).await;
    assert_eq!(third, Delivery::MailboxFull);
    for number in 4..10 {
        send(mailboxes, "b", letter(&format!("peer-{number}"), number, at(0)), at(0)).await;
    }
    let ninth = letter("late", 10, at(0));
    assert_eq!(deliver(mailboxes, "b", ninth.clone(), at(0)).await, Delivery::MailboxFull);
    assert_eq!(collect(mailboxes, "b", &[], at(0)).await.len(), 8);
    send(mailboxes, "c", letter("flood", 11, at(0)), at(0)).await;
    // The session of a refused message is not remembered, so the message may be sent again.
    // Acknowledging a message makes room for it.
    assert_eq!(collect(mailboxes, "b", &[1], at(0)).await.len(), 7);
    send(mailboxes, "b", ninth, at(0)).await;
    // The expiry of a message makes room, too.
    send(mailboxes, "b", letter("flood", 12, at(LIFE)), at(LIFE)).await;
    assert_eq!(collect(mailboxes, "b", &[], at(LIFE)).await.len(), 1);
}

pub async fn a_mailbox_has_sixteen_kibibytes(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let Some(mailboxes) = harness.mailboxes() else { return };
    let long = |number, bytes| Letter {
        message: "x".repeat(bytes).into(),
        ..letter(&format!("peer-{number}"), number, at(0))
    };
    for number in 0..4 {
        send(mailboxes, "b", long(number, 4_096), at(0)).await;
    }
    assert_eq!(deliver(mailboxes, "b", long(4, 1), at(0)).await, Delivery::MailboxFull);
    assert_eq!(collect(mailboxes, "b", &[2], at(0)).await.len(), 3);
    assert_eq!(deliver(mailboxes, "b", long(4, 4_097), at(0)).await, Delivery::MailboxFull);
    send(mailboxes, "b", long(4, 4_096), at(0)).await;
    let waiting = collect(mailboxes, "b", &[], at(0)).await;
    assert!(waiting.iter().all(|letter| letter.message.len() == 4_096));
}

pub async fn a_source_has_four_messages_in_a_mailbox(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let Some(mailboxes) = harness.mailboxes() else { return };
    let from = |number: u64, text: &str| Letter {
        source: source(text),
        ..letter(&format!("peer-{number}"), number, at(0))
    };
    for number in 0..4 {
        send(mailboxes, "b", from(number, "203.0.113.7"), at(0)).await;
    }
    let fifth = deliver(mailboxes, "b", from(4, "203.0.113.7"), at(0)).await;
    assert_eq!(fifth, Delivery::SourceFull);
    send(mailboxes, "b", from(5, "203.0.113.8"), at(0)).await;
    for number in 10..18 {
        send(mailboxes, "c", from(number, "127.0.0.1"), at(0)).await;
    }
}

pub async fn concurrent_messages_stay_within_the_bounds(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    if harness.mailboxes().is_none() {
        return;
    }
    let tasks: Vec<_> = (0..24)
        .map(|number| {
            let store = harness.store.clone();
            tokio::spawn(async move {
                let mailboxes = store.mailboxes().expect("mailboxes");
                let letter = letter(&format!("peer-{number}"), number, at(0));
                mailboxes.deliver(&id("b"), letter, at(0)).await
            })
        })
        .collect();
    let mut delivered = 0;
    for task in tasks {
        // A shared store may be too busy for one of many requests, which then fails. It is unknown
        // whether the message of that request was stored.
        match task.await.expect("no panic") {
            Ok(Delivery::Delivered) => delivered += 1,
            Ok(other) => assert_eq!(other, Delivery::MailboxFull),
            Err(_) => {}
        }
    }
    let mailboxes = harness.mailboxes().expect("mailboxes");
    let waiting = collect(mailboxes, "b", &[], at(0)).await;
    assert!(delivered <= waiting.len() && waiting.len() <= 8, "{delivered} of {}", waiting.len());
    assert!(delivered > 0, "no message was delivered");
}

pub async fn an_acknowledgement_and_a_message_at_once_lose_nothing(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let Some(mailboxes) = harness.mailboxes() else { return };
    for number in 0..20 {
        let (old, new) = (2 * number, 2 * number + 1);
        send(mailboxes, "b", letter("a", old, at(0)), at(0)).await;
        let store = harness.store.clone();
        let sending = tokio::spawn(async move {
            let mailboxes = store.mailboxes().expect("mailboxes");
            mailboxes.deliver(&id("b"), letter("c", new, at(0)), at(0)).await
        });
        collect(mailboxes, "b", &[old], at(0)).await;
        assert_eq!(sending.await.expect("no panic"), Ok(Delivery::Delivered));
        assert_eq!(collect(mailboxes, "b", &[], at(0)).await, [letter("c", new, at(0))]);
        collect(mailboxes, "b", &[new], at(0)).await;
    }
}

pub async fn a_signal_tells_of_messages_that_arrive(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let Some(mailboxes) = harness.mailboxes() else { return };
    let Some(mut signal) = mailboxes.signal(&id("b")) else { return };
    let mut poll = || signal.poll_arrival(&mut Context::from_waker(Waker::noop()));
    send(mailboxes, "c", letter("a", 1, at(0)), at(0)).await;
    assert_eq!(poll(), Poll::Pending, "a message to another peer");
    for number in [2, 3] {
        send(mailboxes, "b", letter("a", number, at(0)), at(0)).await;
        // The signal may come some time after the delivery, so the test waits for it.
        std::future::poll_fn(|context| signal.poll_arrival(context)).await;
        assert_eq!(collect(mailboxes, "b", &[], at(0)).await.len() as u64, number - 1);
    }
}

pub async fn a_store_knows_live_and_dormant_peers_and_their_records(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let Some(mailboxes) = harness.mailboxes() else { return };
    let known =
        async |name: &str, now| mailboxes.peer(&id(name), now).await.expect("a look-up does not fail");
    assert_eq!(known("p", at(0)).await, None);
    harness.register(&peer("p").signed_by(1, 7), at(0)).await;
    harness.register(&peer("unsigned").with_new_token(token(9)), at(0)).await;
    let KnownPeer { standing, record } = known("p", at(1)).await.expect("a known peer");
    assert_eq!(record.as_deref(), Some("header.p-1-7.signature"));
    assert!(standing.is_live(at(1)) && standing.holder.token == token(1));
    assert!(matches!(standing.lock, Some(Lock { seq: 7, left_at: None, .. })));
    let unsigned = known("unsigned", at(1)).await.expect("a known peer");
    assert_eq!((unsigned.record, unsigned.standing.lock), (None, None));
    assert_eq!(unsigned.standing.holder.token, token(9));
    let end = harness.lease_end("p", at(1)).await;
    assert_eq!(standing.expires_at, end);
    let dormant = known("p", end).await.expect("a dormant peer");
    assert!(!dormant.standing.is_live(end), "it is not live");
    harness.renew_as("p", &claim_with(token(1), HOLDER_SOURCE), at(TTL)).await;
    assert!(known("p", at(TTL)).await.is_some_and(|peer| peer.standing.is_live(at(TTL))));
    harness.remove("p", &claim_with(token(1), HOLDER_SOURCE), at(TTL)).await;
    assert_eq!(known("p", at(TTL)).await, None, "a deregistered peer");
}
