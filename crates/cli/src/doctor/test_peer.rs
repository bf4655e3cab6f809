//! A peer that exists only during the checks.

use aurora_discovery_client::{Client, Error, Probe, ProbeResponse};
use aurora_discovery_protocol::{DiscoverResponse, ErrorBody, RegisterResponse};
use serde_json::{Value, json};

/// A peer with a unique id, and with an archetype that no other peer carries.
pub(crate) struct TestPeer {
    name: String,
    /// The response to its last registration.
    pub(crate) registered: Option<RegisterResponse>,
}

impl TestPeer {
    pub(crate) fn new() -> Self {
        Self { name: format!("aurora-doctor-{:016x}", fastrand::u64(..)), registered: None }
    }

    /// Registers the peer, optionally with a lease of `ttl_seconds` and with an additional
    /// header.
    pub(crate) async fn register(
        &mut self,
        client: &Client,
        ttl_seconds: Option<u32>,
        header: Option<(&str, &str)>,
    ) -> Result<ProbeResponse, Error> {
        // The token proves the holder if a proxy changes the source address between two requests.
        let token = self.registered.as_ref().map(|registered| registered.lease_token.clone());
        let body = json!({
            "peer_id": self.name, "archetypes": [self.name], "ttl_seconds": ttl_seconds, "lease_token": token,
        });
        let mut probe = Probe::post("register", body.to_string());
        if let Some((name, value)) = header {
            probe = probe.header(name, value);
        }
        let response = client.probe(probe).await?;
        if let Ok(registered) = RegisterResponse::from_body(&response.body) {
            self.registered = Some(registered);
        }
        Ok(response)
    }

    pub(crate) async fn heartbeat(&self, client: &Client) -> Result<ProbeResponse, Error> {
        client.probe(Probe::post("heartbeat", self.proof().to_string())).await
    }

    pub(crate) async fn deregister(&self, client: &Client) -> Result<ProbeResponse, Error> {
        client.probe(Probe::post("deregister", self.proof().to_string())).await
    }

    /// The body of a request of the holder. The token proves it also behind proxies and NATs that
    /// change the source address from one request to the next.
    fn proof(&self) -> Value {
        let token = self.registered.as_ref().map(|registered| registered.lease_token.clone());
        json!({"peer_id": self.name, "lease_token": token})
    }

    /// Whether it is listed now.
    pub(crate) async fn is_listed(&self, client: &Client) -> Result<bool, Error> {
        let response = client.probe(Probe::get("discover").parameter("archetype", &self.name)).await?;
        let page = DiscoverResponse::from_body(&response.body);
        Ok(page.is_ok_and(|page| page.page.peers.iter().any(|peer| peer.peer_id.as_str() == self.name)))
    }
}

/// The message of a response that is not a success.
pub(crate) fn describe_refusal(response: &ProbeResponse) -> String {
    let reason = match serde_json::from_slice::<ErrorBody>(&response.body) {
        Ok(body) => format!("{} ({})", body.error, body.code),
        Err(_) => match serde_json::from_slice::<Value>(&response.body) {
            Ok(body) if body["message"].is_string() => body["message"].to_string(),
            _ => "without an error that the API defines".to_owned(),
        },
    };
    let id = response.header("x-request-id").map(|id| format!(", request {id}")).unwrap_or_default();
    format!("HTTP {}{id}: {reason}", response.status)
}
