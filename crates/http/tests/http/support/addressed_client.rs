//! Clients at any address. They send the address in `X-Forwarded-For`, as if a proxy that the
//! service trusts had added it.

use http::Method;
use serde_json::{Value, json};

use super::{Response, Service};

/// A client at one address.
pub(crate) struct AddressedClient<'s> {
    service: &'s Service,
    address: String,
    origin: Option<&'static str>,
}

impl Service {
    /// A client at `address`. The service must be behind a proxy.
    pub(crate) fn client_at(&self, address: impl Into<String>) -> AddressedClient<'_> {
        AddressedClient { service: self, address: address.into(), origin: None }
    }
}

impl AddressedClient<'_> {
    /// The same client as a web page from `origin` in a browser.
    pub(crate) fn on_page(self, origin: &'static str) -> Self {
        Self { origin: Some(origin), ..self }
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        let mut headers = vec![("x-forwarded-for", self.address.as_str())];
        headers.extend(self.origin.map(|origin| ("origin", origin)));
        self.service.request(Method::POST, path, &headers, &body.to_string()).await
    }

    pub(crate) async fn register(&self, id: &str) -> Response {
        self.post("/register", &json!({ "peer_id": id })).await
    }

    pub(crate) async fn heartbeat(&self, id: &str) -> Response {
        self.post("/heartbeat", &json!({ "peer_id": id })).await
    }

    pub(crate) async fn deregister(&self, id: &str) -> Response {
        self.post("/deregister", &json!({ "peer_id": id })).await
    }

    /// Registers a peer and returns its lease token.
    pub(crate) async fn token(&self, id: &str) -> Value {
        self.register(id).await.ok()["lease_token"].clone()
    }
}

impl Service {
    /// The ids of the live peers, sorted.
    pub(crate) async fn live(&self) -> Vec<String> {
        let page = self.get("/discover").await.ok();
        let ids = page["peers"].as_array().unwrap().iter().map(|peer| peer["peer_id"].as_str().unwrap());
        let mut ids: Vec<_> = ids.map(str::to_owned).collect();
        ids.sort();
        ids
    }
}
