//! Tests of names that are locked to a key.

use aurora_discovery_protocol::{PublicKey, Timestamp, Ttl};

use super::*;
use crate::{Source, TokenHash, WebOrigin};

const DAY: u64 = 86_400;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + seconds)
}

fn key(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; PublicKey::LEN])
}

fn signed(number: u8, seq: u64, replaces: Option<u8>) -> Signing {
    let replaces = replaces.map(key);
    Signing::Signed(Signature { key: key(number), seq, replaces, record: "a.b.c".into() })
}

fn claim(token: Option<u8>) -> Claim {
    Claim {
        source: Source::of("203.0.113.7".parse().unwrap()),
        page: WebOrigin::None,
        token: token.map(|byte| TokenHash::from_bytes([byte; TokenHash::LEN])),
        holder_rule_disabled: false,
    }
}

/// A peer of key 1 and token 1, whose lease ends at 300, and which is locked since `since`.
fn locked(since: u64, left_at: Option<u64>) -> Standing {
    let token = TokenHash::from_bytes([1; TokenHash::LEN]);
    let holder = Holder { source: claim(None).source, token, page: None, token_only: true };
    let lock = Lock { key: key(1), seq: 5, since: at(since), left_at: left_at.map(at) };
    let ttl = Ttl::from_secs(100);
    Standing { holder, proven_at: at(200), ttl, expires_at: at(300), lock: Some(lock) }
}

fn check(peer: &Standing, token: Option<u8>, signing: &Signing, now: u64) -> Result<(), PutResult> {
    let put = Replacement { claim: &claim(token), token_only: false, signing };
    peer.check_registration(&put, at(now))
}

#[test]
fn a_key_beats_a_token_and_nothing_else_beats_a_key() {
    let peer = locked(100, None);
    for now in [250, 499] {
        for token in [None, Some(1)] {
            let locked = Err(PutResult::Locked { key: key(1) });
            assert_eq!(check(&peer, token, &Signing::Unsigned, now), locked);
            assert_eq!(check(&peer, token, &signed(2, 99, None), now), locked);
            assert_eq!(check(&peer, token, &signed(2, 99, Some(3)), now), locked);
            assert_eq!(check(&peer, token, &signed(1, 5, None), now), Err(PutResult::Stale { seq: 5 }));
            assert_eq!(check(&peer, token, &signed(1, 6, None), now), Ok(()));
            assert_eq!(check(&peer, token, &signed(2, 6, Some(1)), now), Ok(()), "a rotation");
        }
    }
    for signing in [Signing::Unsigned, signed(2, 1, None)] {
        assert_eq!(check(&peer, None, &signing, 500), Ok(()), "held for 200 s, free 200 s after the lease");
    }
}

#[test]
fn a_lock_lasts_at_most_30_days_after_the_lease() {
    let held_long = Standing { expires_at: at(90 * DAY), ..locked(0, None) };
    assert_eq!(held_long.known_until(0), at(120 * DAY));
    assert_eq!(locked(100, None).known_until(DAY * 1_000), at(500));
    assert_eq!(locked(100, Some(250)).known_until(DAY * 1_000), at(850), "a tombstone");
}

#[test]
fn ignored_locks_leave_the_rule_of_the_token() {
    let peer = locked(100, None);
    assert!(matches!(check(&peer, None, &Signing::Ignored, 250), Err(PutResult::Held(_))));
    assert_eq!(check(&peer, Some(1), &Signing::Ignored, 250), Ok(()));
}

#[test]
fn the_first_signature_needs_the_token_of_a_live_name_even_from_its_address() {
    let mut peer = Standing { lock: None, ..locked(100, None) };
    peer.holder.token_only = false;
    assert_eq!(check(&peer, None, &Signing::Unsigned, 250), Ok(()));
    assert!(matches!(check(&peer, None, &signed(2, 1, None), 250), Err(PutResult::Held(_))));
    assert_eq!(check(&peer, Some(1), &signed(2, 1, None), 250), Ok(()));
    assert_eq!(check(&peer, None, &signed(2, 1, None), 300), Ok(()));
}

#[test]
fn a_name_counts_as_held_since_its_lock_began() {
    let Signing::Signed(signature) = signed(2, 6, Some(1)) else { panic!("signed") };
    let since =
        |before: Option<Standing>, now: u64| Standing::sign(before.as_ref(), &signature, at(now)).lock.since;
    assert_eq!(since(None, 250), at(250));
    assert_eq!(since(Some(locked(100, None)), 250), at(100));
    assert_eq!(since(Some(locked(100, None)), 499), at(100), "dormant");
    assert_eq!(since(Some(locked(100, None)), 500), at(500), "the lock has ended");
    assert_eq!(since(Some(locked(100, Some(250))), 260), at(260), "a deregistered peer");
}
