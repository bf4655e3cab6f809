//! `order=all`: enumerations, page by page.

use serde_json::{Value, json};

use crate::client::{Client, unique};
use crate::wire::Response;
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

fn next_cursor(response: &Response) -> Option<String> {
    response.ok().get("next_cursor").map(|cursor| cursor.as_str().expect("a text").to_owned())
}

/// All pages of the enumeration for `query`. Before each further page, calls `between` with the
/// number of pages so far.
async fn pages(client: &Client<'_>, query: &str, between: impl AsyncFn(usize)) -> Vec<Response> {
    let mut pages = vec![client.get(&format!("/discover?order=all&{query}")).await];
    while let Some(cursor) = next_cursor(&pages[pages.len() - 1]) {
        between(pages.len()).await;
        pages.push(client.get(&format!("/discover?order=all&{query}&cursor={cursor}")).await);
        assert!(pages.len() < 200, "the enumeration has no end");
    }
    pages
}

fn ids(pages: &[Response]) -> Vec<String> {
    let mut ids: Vec<_> = pages.iter().flat_map(Response::ids).collect();
    ids.sort();
    ids
}

pub async fn an_enumeration_lists_each_peer_once(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    let all = client.register_many(9, &[&a]).await;
    for limit in [1, 4, 9, 100] {
        let pages = pages(&client, &format!("archetype={a}&limit={limit}"), async |_| {}).await;
        assert_eq!(ids(&pages), all);
        assert!(pages.iter().all(|page| page.ids().len() <= limit));
    }
}

pub async fn an_enumeration_lists_each_steady_peer_during_churn(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    let steady = client.register_many(12, &[&a]).await;
    let leaving = client.register_many(12, &[&a]).await;
    let churn = async |page: usize| {
        client.register(&json!({"peer_id": unique("joining"), "archetypes": [a]})).await;
        client.heartbeat(&steady[page % 12]).await.ok();
        client.register(&json!({"peer_id": steady[page * 5 % 12], "archetypes": [a]})).await;
        client.post("/deregister", &json!({"peer_id": leaving[page % 12]}).to_string()).await;
    };
    let mut listed = ids(&pages(&client, &format!("archetype={a}&limit=3"), churn).await);
    listed.retain(|id| steady.contains(id));
    assert_eq!(listed, steady);
}

pub async fn a_cursor_implies_an_enumeration(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    client.register_many(3, &[&a]).await;
    let first = client.get(&format!("/discover?order=all&archetype={a}&limit=2")).await;
    let cursor = next_cursor(&first).expect("a next page");
    let second = client.get(&format!("/discover?archetype={a}&limit=2&cursor={cursor}")).await;
    assert_eq!((second.ids().len(), next_cursor(&second)), (1, None));
}

pub async fn a_cursor_is_valid_only_for_its_query(target: &Target) {
    let (client, a, b) = (Client::first(target), unique("a"), unique("b"));
    client.register_many(3, &[&a, &b]).await;
    let both = format!("order=all&limit=1&archetype={a}&archetype={b}");
    let cursor = next_cursor(&client.get(&format!("/discover?{both}")).await).expect("a next page");
    for other in [format!("archetype={a}"), String::new()] {
        let response = client.get(&format!("/discover?order=all&limit=1&{other}&cursor={cursor}")).await;
        response.refused(400, "invalid_cursor", Some("cursor"));
    }
    let turned = format!("order=all&limit=1&archetype={b}&archetype={a}");
    client.get(&format!("/discover?{turned}&cursor={cursor}")).await.ok();
}

pub async fn a_modified_cursor_is_rejected(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    client.register_many(2, &[&a]).await;
    let query = format!("/discover?order=all&limit=1&archetype={a}");
    let cursor = next_cursor(&client.get(&query).await).expect("a next page");
    let long = "A".repeat(1_000);
    for bad in ["", "x", "%00", "AAAAAAAAAAAAAAAA", &cursor[1..], &cursor[..cursor.len() - 2], &long] {
        client.get(&format!("{query}&cursor={bad}")).await.refused(400, "invalid_cursor", Some("cursor"));
    }
}

pub async fn a_sample_has_no_next_page(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    client.register_many(3, &[&a]).await;
    assert_eq!(next_cursor(&client.get(&format!("/discover?archetype={a}&limit=1")).await), None);
    let response = client.get(&format!("/discover?order=sample&archetype={a}&cursor=x")).await;
    response.refused(400, "invalid_parameter", Some("cursor"));
}

pub async fn a_page_of_a_mebibyte_continues_on_the_next_page(target: &Target) {
    const PEERS: usize = 280;
    let (client, a) = (Client::first(target), unique("a"));
    let metadata: Value = json!({"x": "y".repeat(4_000)});
    for _ in 0..PEERS {
        client.register(&json!({"peer_id": unique("peer"), "archetypes": [a], "metadata": metadata})).await;
    }
    let sample = client.get(&format!("/discover?archetype={a}")).await;
    assert!((200..PEERS).contains(&sample.ids().len()), "{}", sample.ids().len());
    let pages = pages(&client, &format!("archetype={a}"), async |_| {}).await;
    let mut listed = ids(&pages);
    listed.dedup();
    assert_eq!(listed.len(), PEERS);
    for page in [vec![sample], pages].concat() {
        // The limit of a page, 1 MiB, applies to its peers. The other 1,024 bytes are for the
        // counts, the time and the cursor.
        assert!(page.body.len() <= (1 << 20) + 1_024, "{}", page.body.len());
    }
}
