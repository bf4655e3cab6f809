//! The state machine in docs/peer-life.md agrees with the code: with [`Standing`], and with a store
//! that follows it.

use std::collections::BTreeSet;
use std::sync::Arc;

use aurora_discovery_protocol::{Address, LeaseToken, PeerId, Registration, Timestamp, Ttl};
use aurora_discovery_registry::conformance::Subject as _;
use aurora_discovery_registry::{
    Claim, Limits, Proof, PutRequest, PutResult, Removal, Renewal, Signing, Source, Standing, Store,
    TokenHash, WebOrigin,
};

use crate::reference::Reference;

const DOCUMENT: &str = include_str!("../../../../docs/peer-life.md");
const STATES: [&str; 7] = ["unknown", "live", "unproven", "dormant", "token-only", "reserved", "released"];
const REQUESTS: [&str; 4] = ["register", "register token-only", "heartbeat", "deregister"];
const PROOFS: [&str; 5] = ["token", "address", "network", "nothing", "wrong token"];
const TTL: Ttl = Ttl::from_secs(100);
const HOME: &str = "203.0.113.7";
const NEIGHBOUR: &str = "203.0.113.8";
const AWAY: &str = "198.51.100.1";
/// A client that has sent no request before.
const ANYONE: &str = "192.0.2.1";

/// A row of the table of transitions.
#[derive(Debug)]
struct Row {
    state: &'static str,
    event: &'static str,
    proofs: Vec<&'static str>,
    next: Vec<&'static str>,
    responses: Vec<&'static str>,
}

fn rows() -> Vec<Row> {
    let (_, table) = DOCUMENT.split_once("## Transitions").unwrap();
    let lines = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let rows = lines.map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [state, event, proofs, next, responses] = cells[..] else { panic!("five cells: {line}") };
        let proofs = if proofs == "any" { PROOFS.to_vec() } else { parts(proofs, ", ") };
        Row { state, event, proofs, next: parts(next, " or "), responses: parts(responses, " or ") }
    });
    rows.collect()
}

fn parts(cell: &'static str, separator: &str) -> Vec<&'static str> {
    cell.split(separator).filter(|part| !part.is_empty()).collect()
}

fn token(byte: u8) -> TokenHash {
    TokenHash::of(&LeaseToken::from_random([byte; 16]))
}

fn from(address: &str) -> Claim {
    Claim {
        source: Source::of(address.parse().unwrap()),
        page: WebOrigin::None,
        token: None,
        holder_rule_disabled: false,
    }
}

fn with(byte: u8, claim: Claim) -> Claim {
    Claim { token: Some(token(byte)), ..claim }
}

fn on_page(origin: &str, claim: Claim) -> Claim {
    Claim { page: WebOrigin::of_header(origin.as_bytes()), ..claim }
}

/// The claims that count as `proof` in a request of this kind.
fn claims(proof: &str, request: &str) -> Vec<Claim> {
    let page = on_page("https://app.example", from(HOME));
    let (wrong_home, wrong_away) = (with(2, from(HOME)), with(2, from(AWAY)));
    // A wrong token counts as none, except in a heartbeat.
    let counts_as_none = request != "heartbeat";
    let wrong = |claim: Claim| counts_as_none.then_some(claim);
    match proof {
        "token" => vec![with(1, from(HOME)), with(1, from(AWAY)), with(1, page)],
        "address" => std::iter::once(from(HOME)).chain(wrong(wrong_home)).collect(),
        "network" => vec![from(NEIGHBOUR)],
        "nothing" => {
            [from(AWAY), page, on_page("null", from(HOME))].into_iter().chain(wrong(wrong_away)).collect()
        }
        "wrong token" if counts_as_none => vec![],
        "wrong token" => vec![wrong_home, wrong_away],
        unknown => panic!("{unknown} is no proof"),
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + seconds)
}

fn id() -> PeerId {
    PeerId::parse("p").unwrap()
}

fn put(claim: Claim, token_only: bool) -> PutRequest {
    let registration = Registration {
        peer_id: id(),
        address: Address::from_ip(HOME.parse().unwrap()).unwrap(),
        port: 1,
        archetypes: aurora_discovery_protocol::Archetypes::default(),
        metadata: aurora_discovery_protocol::Metadata::default(),
    };
    PutRequest { registration, ttl: TTL, claim, token_only, new_token: token(1), signing: Signing::Unsigned }
}

/// A store with one peer, which registered from [`HOME`].
struct World {
    reference: Reference,
    store: Arc<dyn Store>,
    now: Timestamp,
}

impl World {
    /// One store for each way in which a peer can come into a state.
    async fn all_in(state: &str) -> Vec<Self> {
        match state {
            "unknown" => vec![Self::empty().await],
            "live" => vec![Self::registered(false, 50).await],
            "unproven" => {
                let mut world = Self::registered(false, 50).await;
                world.pass_12_leases_without_proof().await;
                vec![world]
            }
            // One peer has a recent last proof, and the last proof of the other is twelve leases
            // old.
            "dormant" => vec![Self::registered(false, 150).await, Self::registered(false, 1_200).await],
            "token-only" => vec![Self::registered(true, 50).await],
            "reserved" => vec![Self::registered(true, 100).await, Self::registered(true, 399).await],
            "released" => vec![Self::registered(true, 400).await],
            unknown => panic!("{unknown} is no state"),
        }
    }

    async fn empty() -> Self {
        let reference = Reference::correct();
        let store = reference.open(&Limits::default(), at(0)).await;
        Self { reference, store, now: at(0) }
    }

    async fn registered(token_only: bool, seconds: u64) -> Self {
        let world = Self::empty().await;
        let placement = world.store.put(put(from(HOME), token_only), at(0)).await;
        assert_eq!(placement, Ok(PutResult::Stored { token_kept: false }));
        Self { now: at(seconds), ..world }
    }

    async fn pass_12_leases_without_proof(&mut self) {
        for second in (50..1_200).step_by(50) {
            assert_eq!(self.request("heartbeat", from(AWAY), at(second)).await, "200");
        }
        self.now = at(1_200);
    }

    fn standing(&self) -> Option<Standing> {
        self.reference.standing_of(&id())
    }

    /// Sends a request to the store and returns the HTTP status with which the service would
    /// respond.
    async fn request(&self, request: &str, claim: Claim, now: Timestamp) -> &'static str {
        match request {
            "heartbeat" => match self.store.renew(&id(), &claim, now).await.unwrap() {
                Renewal::Renewed { .. } => "200",
                Renewal::Held(_) => "403",
                Renewal::Unknown => "404",
                Renewal::UnprovenLimit => "429",
            },
            "deregister" => match self.store.remove(&id(), &claim, now).await.unwrap() {
                Removal::Removed { .. } => "200",
                Removal::Held(_) => "403",
                Removal::Unknown => "404",
            },
            register => {
                let token_only = register == "register token-only";
                match self.store.put(put(claim, token_only), now).await.unwrap() {
                    PutResult::Stored { .. } => "200",
                    PutResult::Held(_) => "403",
                    PutResult::Full(_) => "503",
                    PutResult::Locked { .. } | PutResult::Stale { .. } => panic!("no name is locked"),
                }
            }
        }
    }

    /// Advances the time to an event.
    async fn pass(&mut self, event: &str) {
        let end = self.standing().unwrap().expires_at;
        match event {
            "12 leases without proof" => self.pass_12_leases_without_proof().await,
            "the lease ends" => self.now = end,
            "the reservation ends" => self.now = end.plus_millis(3 * TTL.as_millis()),
            "the revival window ends" => {
                self.now = end.plus_millis(Limits::default().revival_window_millis);
            }
            unknown => panic!("{unknown} is no event"),
        }
    }

    fn state(&self) -> &'static str {
        let window = Limits::default().revival_window_millis;
        let Some(standing) = self.standing() else { return "unknown" };
        let is_free = standing.check_replacement(&from(ANYONE), false, self.now).is_ok();
        match (standing.is_live(self.now), standing.holder.token_only) {
            (false, _) if self.now >= standing.expires_at.plus_millis(window) => "unknown",
            (true, true) => "token-only",
            (true, false) if is_free => "unproven",
            (true, false) => "live",
            (false, true) if is_free => "released",
            (false, true) => "reserved",
            (false, false) => "dormant",
        }
    }
}

/// The response that [`Standing`] alone decides.
fn decided(standing: Option<Standing>, request: &str, claim: &Claim, now: Timestamp) -> &'static str {
    let window = Limits::default().revival_window_millis;
    let Some(standing) = standing else {
        return if request.starts_with("register") { "200" } else { "404" };
    };
    let checked = match request {
        "heartbeat" => standing.check_renewal(claim, window, now).map(drop),
        "deregister" => standing.check_removal(claim, window, now),
        register => standing.check_replacement(claim, register == "register token-only", now),
    };
    if checked.is_ok() { "200" } else { "403" }
}

#[tokio::test]
async fn the_peer_of_each_state_is_in_that_state() {
    for state in STATES {
        for world in World::all_in(state).await {
            assert_eq!(world.state(), state);
        }
    }
}

#[tokio::test]
async fn the_table_has_one_row_per_request_and_state_and_agrees_with_the_code() {
    let rows = rows();
    for state in STATES {
        for request in REQUESTS {
            for proof in PROOFS {
                let claims = claims(proof, request);
                let matching: Vec<_> = rows
                    .iter()
                    .filter(|row| row.state == state && row.event == request && row.proofs.contains(&proof))
                    .collect();
                if claims.is_empty() && state != "unknown" {
                    assert!(matching.is_empty(), "a wrong token counts as none: {matching:?}");
                    continue;
                }
                let [row] = matching[..] else { panic!("{state}, {request}, {proof}: {matching:?}") };
                follow(row, &claims).await;
            }
        }
    }
}

/// Sends the request of a row with each of `claims`, and compares the response and the next state
/// with the row. Each next state in the row must be reached.
async fn follow(row: &Row, claims: &[Claim]) {
    let mut reached = BTreeSet::new();
    for claim in claims {
        for world in World::all_in(row.state).await {
            let standing = world.standing();
            let response = row.responses[0];
            assert_eq!(decided(standing, row.event, claim, world.now), response, "{row:?} {claim:?}");
            assert_eq!(world.request(row.event, *claim, world.now).await, response, "{row:?} {claim:?}");
            let window = Limits::default().revival_window_millis;
            let unproven = row.event == "heartbeat"
                && standing.is_some_and(|s| s.check_renewal(claim, window, world.now) == Ok(Proof::Unproven));
            assert_eq!(row.responses.contains(&"429"), unproven, "{row:?}: only unproven ones are bounded");
            assert!(row.next.contains(&world.state()), "{row:?} {claim:?}: {}", world.state());
            reached.insert(world.state());
            if response != "200" {
                assert_eq!(world.standing(), standing, "{row:?}: a refusal changes nothing");
            }
        }
    }
    assert!(claims.is_empty() || reached == row.next.iter().copied().collect(), "{row:?}: {reached:?}");
}

#[tokio::test]
async fn transitions_over_time_agree_with_the_table() {
    for row in rows().iter().filter(|row| !REQUESTS.contains(&row.event)) {
        assert!(row.proofs.is_empty() && row.responses.is_empty(), "{row:?}");
        for mut world in World::all_in(row.state).await {
            world.pass(row.event).await;
            assert_eq!(vec![world.state()], row.next, "{row:?}");
        }
    }
}

#[tokio::test]
async fn every_state_except_unknown_ends_at_some_time() {
    for state in STATES.into_iter().filter(|state| *state != "unknown") {
        let ends = rows().iter().any(|row| row.state == state && !REQUESTS.contains(&row.event));
        assert!(ends, "{state}");
    }
}

#[test]
fn the_diagram_shows_the_transitions_of_the_table() {
    let (_, picture) = DOCUMENT.split_once("```mermaid").unwrap();
    let (picture, _) = picture.split_once("```").unwrap();
    let name = |text: &str| text.trim().replace('_', "-");
    let drawn: BTreeSet<_> = picture
        .lines()
        .filter_map(|line| line.split_once(':').unwrap_or((line, "")).0.split_once(" --> "))
        .map(|(from, to)| (name(from), name(to)))
        .filter(|(from, _)| from != "[*]")
        .collect();
    let listed: BTreeSet<_> = rows()
        .iter()
        .flat_map(|row| row.next.iter().map(|next| (row.state.to_owned(), (*next).to_owned())))
        .filter(|(from, to)| from != to)
        .collect();
    assert_eq!(drawn, listed);
}
