//! The buckets of sources and their networks, on tokio's paused clock.

use std::time::Duration;

use aurora_discovery_protocol::Code;
use tokio::time::advance;

use super::*;

const LIMITS: RateLimits = RateLimits {
    requests: Rate { per_second: 2, burst: 10 },
    heartbeats: Rate { per_second: 1, burst: 5 },
    network_factor: 4,
    site_factor: 16,
};

impl Rates {
    /// How many requests from these addresses are accepted, each address sending `each`.
    fn accepted(&self, charge: Charge, addresses: impl IntoIterator<Item = String>, each: usize) -> usize {
        let accepted = |address: String| {
            let address: IpAddr = address.parse().unwrap();
            (0..each).filter(|_| self.take(charge, address, 1).is_ok()).count()
        };
        addresses.into_iter().map(accepted).sum()
    }

    fn one(&self, address: &str, each: usize) -> usize {
        self.accepted(Charge::Requests, [address.to_owned()], each)
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_has_a_burst_and_then_its_rate() {
    let rates = Rates::new(Some(LIMITS));
    assert_eq!(rates.one("203.0.113.7", 100), 10);
    advance(Duration::from_secs(3)).await;
    assert_eq!(rates.one("203.0.113.7", 100), 6);
    advance(Duration::from_secs(60)).await;
    rates.forget_idle_sources();
    assert_eq!(rates.one("203.0.113.7", 100), 10);
}

#[tokio::test(start_paused = true)]
async fn sources_and_heartbeats_have_buckets_of_their_own() {
    let rates = Rates::new(Some(LIMITS));
    assert_eq!(rates.one("203.0.113.7", 100), 10);
    assert_eq!(rates.one("203.0.114.7", 100), 10);
    let heartbeats = ["203.0.113.7".to_owned()];
    assert_eq!(rates.accepted(Charge::Heartbeats, heartbeats, 100), 5);
}

#[tokio::test(start_paused = true)]
async fn the_addresses_of_a_64_share_a_bucket_and_an_ipv4_mapped_address_is_ipv4() {
    let rates = Rates::new(Some(LIMITS));
    let addresses = (1..=100).map(|n| format!("2001:db8::{n:x}"));
    assert_eq!(rates.accepted(Charge::Requests, addresses, 1), 10);
    assert_eq!(rates.one("::ffff:203.0.113.7", 6), 6);
    assert_eq!(rates.one("203.0.113.7", 6), 4);
}

#[tokio::test(start_paused = true)]
async fn networks_have_larger_buckets() {
    let limited =
        |addresses: Vec<String>| Rates::new(Some(LIMITS)).accepted(Charge::Requests, addresses, 100);
    assert_eq!(limited((0..100).map(|n| format!("203.0.113.{n}")).collect()), 40, "a /24");
    assert_eq!(limited((0..100).map(|n| format!("2001:db8:0:{n:x}::1")).collect()), 40, "a /56");
    let site = (0..100).map(|n| format!("2001:db8:0:{n:x}00::1")).collect();
    assert_eq!(limited(site), 160, "a /48");
    let sites = (0..100).map(|n| format!("2001:db8:{n:x}::1")).collect();
    assert_eq!(limited(sites), 1_000, "sites are independent");
}

#[tokio::test(start_paused = true)]
async fn what_a_source_sends_beyond_its_rate_does_not_count_against_its_network() {
    let rates = Rates::new(Some(LIMITS));
    assert_eq!(rates.one("2001:db8::1", 10_000), 10);
    assert_eq!(rates.one("2001:db8:0:1::1", 10), 10);
}

#[tokio::test(start_paused = true)]
async fn connections_have_the_rates_of_requests_and_heartbeats_together() {
    let rates = Rates::new(Some(LIMITS));
    let connections = |address: &str| rates.accepted(Charge::Connections, [address.to_owned()], 100);
    assert_eq!(connections("203.0.113.7"), 15);
    advance(Duration::from_secs(2)).await;
    assert_eq!(connections("203.0.113.7"), 6);
    // A connection has caused additional work, whose cost leaves the bucket in debt. No connection
    // is accepted until the bucket has refilled enough to cover the debt.
    rates.charge(Charge::Connections, "203.0.113.7".parse().unwrap(), 60);
    advance(Duration::from_secs(20)).await;
    assert_eq!(connections("203.0.113.7"), 0);
    advance(Duration::from_secs(2)).await;
    assert_eq!(connections("203.0.113.7"), 6);
    // The cost also counted against the network. Its bucket is four times as large, so another
    // source still gets its full burst.
    assert_eq!(connections("203.0.113.8"), 15);
    rates.charge(Charge::Connections, "127.0.0.1".parse().unwrap(), 1_000_000);
    assert_eq!(connections("127.0.0.1"), 100);
}

#[tokio::test(start_paused = true)]
async fn pages_are_charged_by_their_size() {
    let rates = Rates::new(Some(LIMITS));
    let address = "203.0.113.7".parse().unwrap();
    let page = |kilobytes: usize| {
        let taken = rates.take(Charge::Pages, address, 1);
        taken.inspect(|()| rates.charge(Charge::Pages, address, kilobytes - 1)).is_ok()
    };
    // 200 kB a second, and as many at once.
    assert!(page(150) && page(1_050), "a page is made before its size is known");
    advance(Duration::from_millis(4_900)).await;
    assert!(!page(1));
    advance(Duration::from_millis(200)).await;
    assert!(page(1));
}

#[tokio::test(start_paused = true)]
async fn zero_means_no_limit_and_loopback_is_exempt() {
    let requests = Rate { per_second: 0, burst: 1 };
    let unlimited = Rates::new(Some(RateLimits { requests, ..LIMITS }));
    for charge in [Charge::Requests, Charge::Pages, Charge::Connections] {
        assert_eq!(unlimited.accepted(charge, ["203.0.113.7".to_owned()], 1_000), 1_000);
    }
    assert_eq!(Rates::new(None).one("203.0.113.7", 1_000), 1_000);
    let rates = Rates::new(Some(RateLimits { network_factor: 0, site_factor: 0, ..LIMITS }));
    let sources = (0..100).map(|n| format!("2001:db8:0:{n:x}::1"));
    assert_eq!(rates.accepted(Charge::Requests, sources, 10), 1_000);
    for loopback in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(rates.one(loopback, 1_000), 1_000, "{loopback}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_when_the_bucket_has_enough_tokens() {
    let rates = Rates::new(Some(LIMITS));
    let take = |count| rates.take(Charge::Heartbeats, "203.0.113.7".parse().unwrap(), count);
    // A count beyond the size of the bucket takes the whole bucket.
    assert_eq!(take(100), Ok(()));
    for (count, seconds) in [(1, 1), (3, 3), (100, 5)] {
        let refused = take(count).unwrap_err();
        assert_eq!((refused.refusal.code, refused.retry_after_seconds), (Code::RateLimited, Some(seconds)));
    }
    advance(Duration::from_millis(2_500)).await;
    assert_eq!(take(3).unwrap_err().retry_after_seconds, Some(1));
    assert_eq!(take(2), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_sender_has_thirty_messages_a_minute_even_without_other_rates() {
    let rates = Rates::new(None);
    let [one, other] = ["a", "b"].map(|name| PeerId::parse(name).unwrap());
    let accepted = |sender: &PeerId| (0..100).filter(|_| rates.send_mail(sender).is_ok()).count();
    assert_eq!((accepted(&one), accepted(&other)), (30, 30));
    let refusal = rates.send_mail(&one).unwrap_err();
    assert_eq!((refusal.refusal.code, refusal.retry_after_seconds), (Code::RateLimited, Some(2)));
    advance(Duration::from_secs(10)).await;
    assert_eq!(accepted(&one), 5);
    advance(Duration::from_secs(70)).await;
    rates.forget_idle_sources();
    assert_eq!(rates.senders.keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_source_sends_as_many_messages_as_sixteen_senders() {
    let rates = Rates::new(Some(LIMITS));
    let mail = |address: &str| rates.accepted(Charge::Mail, [address.to_owned()], 1_000);
    assert_eq!((mail("203.0.113.7"), mail("203.0.113.8"), mail("127.0.0.1")), (480, 480, 1_000));
}
