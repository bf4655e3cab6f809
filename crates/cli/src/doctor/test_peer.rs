//! A peer that exists only during the checks.

use aurora_discovery_client::{Client, Error, Probe, ProbeResponse};
use aurora_discovery_protocol::{ErrorBody, RegisterResponse};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// A peer with a unique id, and with an archetype that no other peer carries.
pub(crate) struct TestPeer {
    name: String,
    /// Whether the service accepted a registration.
    pub(crate) is_accepted: bool,
    /// The response to the last registration that was accepted. `None` if there was none, or if the
    /// service is of an older version whose response lacks some keys.
    pub(crate) registered: Option<RegisterResponse>,
}

impl TestPeer {
    pub(crate) fn new() -> Self {
        Self {
            name: format!("aurora-doctor-{:016x}", fastrand::u64(..)),
            is_accepted: false,
            registered: None,
        }
    }

    /// Registers the peer, optionally with a lease of `ttl_seconds` and with an additional
    /// header.
    pub(crate) async fn register(
        &mut self,
        client: &Client,
        ttl_seconds: Option<u32>,
        header: Option<(&str, &str)>,
    ) -> Result<ProbeResponse, Error> {
        // If a proxy changes the source address between two requests, the token still proves that
        // the doctor is the holder.
        let token = self.registered.as_ref().and_then(|registered| registered.lease_token.clone());
        let body = json!({
            "peer_id": self.name, "archetypes": [self.name], "ttl_seconds": ttl_seconds, "lease_token": token,
        });
        let mut probe = Probe::post("register", body.to_string());
        if let Some((name, value)) = header {
            probe = probe.header(name, value);
        }
        let response = client.probe(probe).await?;
        self.is_accepted |= response.status == 200;
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

    /// The body of a request that only the holder may send. Its token identifies the holder even if
    /// proxies or NATs change the source address from one request to the next.
    fn proof(&self) -> Value {
        let token = self.registered.as_ref().and_then(|registered| registered.lease_token.clone());
        json!({"peer_id": self.name, "lease_token": token})
    }

    /// The response to a request for the peers that carry its archetype.
    pub(crate) async fn list(&self, client: &Client) -> Result<ProbeResponse, Error> {
        client.probe(Probe::get("discover").parameter("archetype", &self.name)).await
    }

    /// Whether it is in this list; `None` if the response is not a list.
    pub(crate) fn is_listed_in(&self, response: &ProbeResponse) -> Option<bool> {
        if response.status == 200 { lists(&response.body, &self.name) } else { None }
    }
}

/// Whether a page lists a peer. Malformed entries of other peers are ignored.
fn lists(page: &[u8], name: &str) -> Option<bool> {
    #[derive(Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        peers: Vec<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Entry {
        peer_id: String,
    }
    let page: Page<'_> = serde_json::from_slice(page).ok()?;
    let is_own =
        |peer: &&RawValue| serde_json::from_str(peer.get()).is_ok_and(|entry: Entry| entry.peer_id == name);
    Some(page.peers.iter().any(is_own))
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
    format!("{}: {reason}", outcome(response))
}

/// The status of a response, and the id under which the service logged the request.
pub(crate) fn outcome(response: &ProbeResponse) -> String {
    let id = response.header("x-request-id").map(|id| format!(", request {id}")).unwrap_or_default();
    format!("HTTP {}{id}", response.status)
}

/// The fix that tells the operator to look for the cause of a response in the log.
pub(crate) fn search_log(response: &ProbeResponse) -> String {
    match response.header("x-request-id") {
        Some(id) => format!("search the service's log for request {id}"),
        None => {
            "search the service's log for requests at this time: the response has no x-request-id".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_entry_of_a_stranger_does_not_hide_the_peer() {
        let strangers = r#"{"peer_id":7},3,{"peer_id":"x","port":"no","metadata":{"n":1e999}}"#;
        let page = |own: &str| format!(r#"{{"peers":[{strangers}{own}],"count":3}}"#);
        assert_eq!(lists(page(r#",{"peer_id":"own"}"#).as_bytes(), "own"), Some(true));
        assert_eq!(lists(page("").as_bytes(), "own"), Some(false));
    }

    #[test]
    fn a_body_without_a_list_does_not_show_that_a_peer_is_gone() {
        for body in ["", "<html>", "{}", r#"{"peers":{}}"#] {
            assert_eq!(lists(body.as_bytes(), "own"), None, "{body}");
        }
    }
}
