//! Notices that the service sees the peer at a new address.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// The address from which the service sees the peer's requests.
#[derive(Debug, Default)]
pub(super) struct ObservedAddress {
    /// The address at the last registration, which is the one that is listed.
    registered: Option<IpAddr>,
    /// The new address from which the last heartbeat was sent.
    candidate: Option<IpAddr>,
    /// Whether two consecutive heartbeats came from `candidate`.
    is_confirmed: bool,
    /// When the peer last tried to register its new address.
    tried_at: Option<Instant>,
}

impl ObservedAddress {
    /// Records the address of a registration. Returns the previous address and the new one if they
    /// differ.
    pub(super) fn registered(&mut self, observed: &str) -> Option<(IpAddr, IpAddr)> {
        let (previous, current) = (self.registered, parse(observed));
        *self = Self { registered: current, tried_at: self.tried_at, ..Self::default() };
        previous.zip(current).filter(|(from, to)| from != to)
    }

    /// Records the address of a heartbeat. A service of an older version reports none.
    pub(super) fn heartbeat(&mut self, observed: Option<IpAddr>) {
        let seen = observed.map(|address| address.to_canonical());
        // A host with IPv4 and IPv6 may use either for a request. A change of the family is
        // therefore not a move.
        let is_new = |seen: &IpAddr| {
            self.registered.is_some_and(|listed| listed != *seen && listed.is_ipv4() == seen.is_ipv4())
        };
        let candidate = seen.filter(is_new);
        self.is_confirmed = candidate.is_some() && candidate == self.candidate;
        self.candidate = candidate;
    }

    /// Whether the peer has to register its new address. It tries at most once per `lease`, so that
    /// a peer that alternates between two addresses does not register all the time.
    pub(super) fn has_moved(&self, lease: Duration) -> bool {
        self.is_confirmed && self.tried_at.is_none_or(|at| at.elapsed() >= lease)
    }

    /// Records an attempt to register the new address, if there is one.
    pub(super) fn tried(&mut self) {
        if self.is_confirmed {
            self.tried_at = Some(Instant::now());
        }
    }
}

fn parse(observed: &str) -> Option<IpAddr> {
    observed.parse().ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(300);

    fn after(heartbeats: &[Option<&str>]) -> bool {
        let mut address = ObservedAddress::default();
        address.registered("192.0.2.1");
        heartbeats.iter().for_each(|observed| address.heartbeat(observed.map(|text| text.parse().unwrap())));
        address.has_moved(LEASE)
    }

    #[test]
    fn two_consecutive_heartbeats_from_the_same_new_address_are_a_move() {
        let (home, away, other) = (Some("192.0.2.1"), Some("192.0.2.2"), Some("192.0.2.3"));
        assert!(after(&[away, away]));
        assert!(after(&[other, away, Some("::ffff:192.0.2.2")]));
        for none in [&[away][..], &[away, home, away], &[away, other], &[away, None, away], &[home, home]] {
            assert!(!after(none), "{none:?}");
        }
    }

    #[test]
    fn an_address_of_the_other_family_is_no_move() {
        let v6 = Some("2001:db8::1");
        assert!(!after(&[v6, v6, v6]));
        assert!(!after(&[Some("192.0.2.2"), v6, Some("192.0.2.2")]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_moves_at_most_once_in_a_lease() {
        let mut address = ObservedAddress::default();
        assert_eq!(address.registered("192.0.2.1"), None);
        let beat_twice = |address: &mut ObservedAddress, from: &str| {
            address.heartbeat(from.parse().ok());
            address.heartbeat(from.parse().ok());
        };
        beat_twice(&mut address, "192.0.2.2");
        address.tried();
        let [one, two] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        assert_eq!(address.registered("192.0.2.2"), Some((one, two)));
        beat_twice(&mut address, "192.0.2.1");
        assert!(!address.has_moved(LEASE));
        tokio::time::advance(LEASE).await;
        assert!(address.has_moved(LEASE));
    }
}
