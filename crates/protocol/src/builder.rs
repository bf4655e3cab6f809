//! Builders of requests from plain text. A builder parses each value when it is set. `build`
//! reports the first value that breaks its rule, with the name of its key.

use std::fmt::Display;

use crate::{
    Address, Archetype, Archetypes, DeregisterRequest, DiscoverRequest, Fill, HeartbeatRequest, Invalid,
    LeaseToken, Metadata, Order, PeerId, Refusal, RegisterRequest, Ttl, View,
};

/// A request of which some values are set, or the refusal of the first invalid value.
#[derive(Clone, Debug)]
struct Building<T>(Result<T, Refusal>);

impl<T> Building<T> {
    /// Calls `set` to set a value, unless an earlier value was refused. If `set` fails, its refusal
    /// replaces the request.
    fn set(&mut self, set: impl FnOnce(&mut T) -> Result<(), Refusal>) {
        if let Ok(request) = &mut self.0
            && let Err(refusal) = set(request)
        {
            self.0 = Err(refusal);
        }
    }
}

/// Builds a [`RegisterRequest`]. See [`RegisterRequest::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct RegisterRequestBuilder(Building<RegisterRequest>);

impl RegisterRequest {
    /// Builds a registration from plain values.
    ///
    /// ```
    /// use aurora_discovery_protocol::RegisterRequest;
    ///
    /// let request = RegisterRequest::builder("alice")
    ///     .address("192.168.1.100")
    ///     .port(9000)
    ///     .archetypes(["chess", "go"])
    ///     .metadata(r#"{"version": "1.0.0"}"#)
    ///     .build()?;
    /// assert_eq!(request.port, 9000);
    ///
    /// let refusal = RegisterRequest::builder("a name with spaces").build().unwrap_err();
    /// assert_eq!(refusal.field.as_deref(), Some("peer_id"));
    /// # Ok::<(), aurora_discovery_protocol::Refusal>(())
    /// ```
    pub fn builder(peer_id: impl Display) -> RegisterRequestBuilder {
        let peer_id = PeerId::parse(&peer_id.to_string());
        let request = peer_id.map(Self::new).map_err(|invalid| invalid.in_field("peer_id"));
        RegisterRequestBuilder(Building(request))
    }
}

impl RegisterRequestBuilder {
    /// The address at which the peer can be reached: an IP address or a DNS name. Without it, the
    /// service uses the source address of the request.
    pub fn address(self, address: impl Display) -> Self {
        let address = Address::parse(&address.to_string());
        self.set("address", address, |request, address| request.address = address)
    }

    /// The port. Without it, or with 0, the peer accepts no connections.
    pub fn port(self, port: u16) -> Self {
        self.set("port", Ok(port), |request, port| request.port = port)
    }

    /// Adds an archetype, a tag by which other peers find this one.
    pub fn archetype(self, archetype: impl Display) -> Self {
        self.archetypes([archetype])
    }

    /// Adds several archetypes.
    pub fn archetypes(mut self, archetypes: impl IntoIterator<Item = impl Display>) -> Self {
        self.0.set(|request| {
            let mut texts: Vec<_> = request.archetypes.as_slice().iter().map(Archetype::to_string).collect();
            texts.extend(archetypes.into_iter().map(|archetype| archetype.to_string()));
            request.archetypes =
                Archetypes::parse(&texts).map_err(|invalid| invalid.in_field("archetypes"))?;
            Ok(())
        });
        self
    }

    /// The metadata: a JSON object as text, or a `serde_json::Value`.
    pub fn metadata(self, metadata: impl Display) -> Self {
        let metadata = Metadata::parse(&metadata.to_string());
        self.set("metadata", metadata, |request, metadata| request.metadata = metadata)
    }

    /// The requested duration of the lease, in seconds. Without it, the service's default applies.
    pub fn ttl_seconds(self, seconds: u32) -> Self {
        self.set("ttl_seconds", Ok(seconds), |request, seconds| request.ttl = Some(Ttl::from_secs(seconds)))
    }

    /// The current lease token, for a peer that may already be registered.
    pub fn lease_token(self, token: LeaseToken) -> Self {
        self.set("lease_token", Ok(token), |request, token| request.lease_token = Some(token))
    }

    /// Whether only the token may change, renew or end the registration from now on. Set it only
    /// after the token has been saved. A peer that loses its token cannot register under its id
    /// until three lease durations after the end of its last lease.
    pub fn token_only(self, token_only: bool) -> Self {
        self.set("token_only", Ok(token_only), |request, token_only| request.token_only = token_only)
    }

    /// Whether the peer has a mailbox. It has an effect in a signed registration only.
    pub fn mail(self, mail: bool) -> Self {
        self.set("mail", Ok(mail), |request, mail| request.mail = mail)
    }

    /// A request for peers to list in the same response.
    pub fn discover(self, discover: DiscoverRequest) -> Self {
        self.set("discover", Ok(discover), |request, discover| request.discover = Some(discover))
    }

    /// The finished request.
    ///
    /// # Errors
    /// A [`Refusal`] that names the first key whose value breaks its rule.
    pub fn build(self) -> Result<RegisterRequest, Refusal> {
        self.0.0
    }

    fn set<V>(
        mut self,
        field: &'static str,
        value: Result<V, Invalid>,
        set: impl FnOnce(&mut RegisterRequest, V),
    ) -> Self {
        self.0.set(|request| {
            set(request, value.map_err(|invalid| invalid.in_field(field))?);
            Ok(())
        });
        self
    }
}

/// Builds a [`DiscoverRequest`]. See [`DiscoverRequest::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct DiscoverRequestBuilder(Building<DiscoverRequest>);

impl DiscoverRequest {
    /// The limit of a request that sets none. A peer that regularly requests about twenty others
    /// stays connected to the network.
    pub const DEFAULT_LIMIT: u32 = 20;

    /// Builds a query from plain values. A query without any value requests a sample of all peers.
    ///
    /// ```
    /// use aurora_discovery_protocol::DiscoverRequest;
    ///
    /// let request =
    ///     DiscoverRequest::builder().archetype("chess").exclude("alice").limit(50).build()?;
    /// assert_eq!(request.limit, 50);
    /// # Ok::<(), aurora_discovery_protocol::Refusal>(())
    /// ```
    pub fn builder() -> DiscoverRequestBuilder {
        DiscoverRequestBuilder(Building(Ok(Self::default())))
    }
}

impl Default for DiscoverRequest {
    /// A request for a sample of [`DiscoverRequest::DEFAULT_LIMIT`] of all peers.
    fn default() -> Self {
        Self::new(Self::DEFAULT_LIMIT)
    }
}

impl DiscoverRequestBuilder {
    /// Selects peers that carry this archetype. If it is called several times, peers that carry any
    /// of the archetypes are selected.
    pub fn archetype(self, archetype: impl Display) -> Self {
        let archetype = Archetype::parse(&archetype.to_string());
        self.set("archetype", archetype, |request, archetype| request.archetypes.push(archetype))
    }

    /// The maximum number of peers in one response.
    pub fn limit(self, limit: u32) -> Self {
        let valid = if limit == 0 { Err(Invalid::rule("must be at least 1")) } else { Ok(limit) };
        self.set("limit", valid, |request, limit| request.limit = limit)
    }

    /// A peer to leave out of the list, normally the caller itself.
    pub fn exclude(self, peer_id: impl Display) -> Self {
        let peer_id = PeerId::parse(&peer_id.to_string());
        self.set("exclude", peer_id, |request, peer_id| request.exclude = Some(peer_id))
    }

    /// Whether to return a sample or an enumeration.
    pub fn order(self, order: Order) -> Self {
        self.set("order", Ok(order), |request, order| request.order = order)
    }

    /// The position at which an enumeration continues: `next_cursor` of the previous page.
    pub fn cursor(self, cursor: impl Into<String>) -> Self {
        self.set("cursor", Ok(cursor.into()), |request, cursor| {
            request.order = Order::All;
            request.cursor = Some(cursor);
        })
    }

    /// The representation of each peer.
    pub fn view(self, view: View) -> Self {
        self.set("view", Ok(view), |request, view| request.view = view)
    }

    /// How to fill the list when fewer than `limit` peers match.
    pub fn fill(self, fill: Fill) -> Self {
        self.set("fill", Ok(fill), |request, fill| request.fill = Some(fill))
    }

    /// The finished request.
    ///
    /// # Errors
    /// A [`Refusal`] that names the first parameter whose value breaks its rule.
    pub fn build(mut self) -> Result<DiscoverRequest, Refusal> {
        self.0.set(|request| {
            request.archetypes.sort_unstable();
            request.archetypes.dedup();
            if request.archetypes.len() > DiscoverRequest::MAX_ARCHETYPES {
                return Err(Invalid::rule("must be given at most 8 times").in_parameter("archetype"));
            }
            Ok(())
        });
        self.0.0
    }

    fn set<V>(
        mut self,
        parameter: &'static str,
        value: Result<V, Invalid>,
        set: impl FnOnce(&mut DiscoverRequest, V),
    ) -> Self {
        self.0.set(|request| {
            set(request, value.map_err(|invalid| invalid.in_parameter(parameter))?);
            Ok(())
        });
        self
    }
}

impl HeartbeatRequest {
    /// A heartbeat of one peer.
    pub const fn new(peer_id: PeerId) -> Self {
        Self { peer_id, lease_token: None, mail: false, acknowledge: Vec::new(), discover: None }
    }
}

impl DeregisterRequest {
    /// A deregistration without a token, for a caller at the address that registered the peer.
    pub const fn new(peer_id: PeerId) -> Self {
        Self { peer_id, lease_token: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builder_reports_the_first_key_that_breaks_its_rule() {
        let register =
            |text: &str| RegisterRequest::builder(text).address("224.0.0.1").metadata("[]").build();
        assert_eq!(register("p").unwrap_err().field.as_deref(), Some("address"));
        assert_eq!(register("").unwrap_err().field.as_deref(), Some("peer_id"));
        let archetypes = RegisterRequest::builder("p").archetype("a").archetypes(["b", "a", " c"]).build();
        assert_eq!(archetypes.unwrap_err().field.as_deref(), Some("archetypes"));
        let limit = DiscoverRequest::builder().limit(0).archetype(" ").build().unwrap_err();
        assert_eq!((limit.field.as_deref(), limit.code), (Some("limit"), crate::Code::InvalidParameter));
        let nine = (0..9).fold(DiscoverRequest::builder(), DiscoverRequestBuilder::archetype);
        assert_eq!(nine.build().unwrap_err().field.as_deref(), Some("archetype"));
    }

    #[test]
    fn a_built_request_has_every_value_that_was_set() {
        let built = RegisterRequest::builder("p")
            .address(std::net::Ipv4Addr::LOCALHOST)
            .port(1)
            .archetype("a")
            .archetypes(["b"])
            .metadata(serde_json::json!({"n": 1}))
            .ttl_seconds(60)
            .lease_token(LeaseToken::parse("t").unwrap())
            .token_only(true)
            .discover(DiscoverRequest::new(3))
            .build()
            .unwrap();
        assert_eq!(
            serde_json::to_string(&built).unwrap(),
            r#"{"peer_id":"p","address":"127.0.0.1","port":1,"archetypes":["a","b"],"metadata":{"n":1},"ttl_seconds":60,"lease_token":"t","token_only":true,"discover":{"archetype":[],"limit":3}}"#
        );
        let query = DiscoverRequest::builder().archetype("b").archetype("a").cursor("c").view(View::Full);
        let names: Vec<_> = query.build().unwrap().parameters().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["archetype", "archetype", "limit", "order", "cursor", "view"]);
    }
}
