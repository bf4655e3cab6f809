//! Requests of web pages. A browser sends them from its user's address, even if the page comes from
//! another origin than the service. It names the page's origin in the header `Origin`.

use serde_json::{Value, json};

use crate::client::{Client, unique};
use crate::wire::Response;
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

const OWN: (&str, &str) = ("origin", "https://own.example");
const OTHER: (&str, &str) = ("origin", "https://other.example");
const HIDDEN: (&str, &str) = ("origin", "null");

/// Posts `body` as plain text, as a page can without a CORS preflight.
async fn post(client: &Client<'_>, path: &str, origin: &[(&str, &str)], body: &Value) -> Response {
    let headers = [&[("content-type", "text/plain;charset=UTF-8")], origin].concat();
    client.request("POST", path, &headers, body.to_string().as_bytes()).await
}

pub async fn a_web_page_can_neither_replace_nor_deregister_a_peer_of_its_visitor(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    let id = &client.register_many(1, &[&a]).await[0];
    let body = json!({ "peer_id": id });
    for origin in [OWN, HIDDEN] {
        for path in ["/register", "/deregister"] {
            post(&client, path, &[origin], &body).await.refused(403, "not_holder", None);
        }
        post(&client, "/heartbeat", &[origin], &body).await.ok();
    }
    assert_eq!(client.peers_with(&a).await, [id.as_str()]);
}

pub async fn a_web_page_can_change_what_it_registered_itself(target: &Target) {
    let (client, body) = (Client::first(target), json!({"peer_id": unique("peer")}));
    for _ in 0..2 {
        post(&client, "/register", &[OWN], &body).await.ok();
        post(&client, "/heartbeat", &[OWN], &body).await.ok();
    }
    for path in ["/register", "/deregister"] {
        post(&client, path, &[OTHER], &body).await.refused(403, "not_holder", None);
    }
    post(&client, "/deregister", &[OWN], &body).await.ok();
}

pub async fn a_hidden_origin_or_several_origins_prove_nothing(target: &Target) {
    let client = Client::first(target);
    let cases = [&[HIDDEN][..], &[OWN, OWN]];
    for origins in cases.into_iter().filter(|case| case.len() == 1 || target.passes_repeated_headers) {
        let body = json!({"peer_id": unique("peer")});
        post(&client, "/register", origins, &body).await.ok();
        post(&client, "/register", origins, &body).await.refused(403, "not_holder", None);
        post(&client, "/deregister", origins, &body).await.refused(403, "not_holder", None);
        client.post("/deregister", &body.to_string()).await.ok();
    }
}

pub async fn a_token_proves_the_holder_from_any_page(target: &Target) {
    let (client, id) = (Client::first(target), unique("peer"));
    let lease = client.register(&json!({ "peer_id": id })).await.ok();
    let body = json!({"peer_id": id, "lease_token": lease["lease_token"]});
    for path in ["/heartbeat", "/register", "/deregister"] {
        post(&client, path, &[OTHER], &body).await.ok();
    }
}
