//! What `/discover` takes and lists.

use crate::support::Service;

async fn populated() -> Service {
    let service = Service::start().await;
    for (id, archetypes) in [("a", r#""x""#), ("b", r#""x","y""#), ("c", r#""two words""#), ("d", "")] {
        let body = format!(r#"{{"peer_id":"{id}","port":1,"archetypes":[{archetypes}]}}"#);
        service.post("/register", &body).await.ok();
    }
    service
}

#[tokio::test]
async fn archetypes_may_repeat_and_any_of_them_matches() {
    let service = populated().await;
    for (query, ids) in [
        ("", &["a", "b", "c", "d"][..]),
        ("?archetype=", &["a", "b", "c", "d"]),
        ("?reputation=true&archetype=x", &["a", "b"]),
        ("?archetype=x&archetype=two+words", &["a", "b", "c"]),
        ("?archetype=two%20words", &["c"]),
        ("?archetype=unknown", &[]),
        ("?archetype=x&exclude=a", &["b"]),
        ("?exclude=a&limit=1000", &["b", "c", "d"]),
    ] {
        assert_eq!(service.get(&format!("/discover{query}")).await.ids(), ids, "{query}");
    }
}

#[tokio::test]
async fn a_limit_cuts_the_list_and_the_total_still_counts_all() {
    let service = populated().await;
    let page = service.get("/discover?limit=2&exclude=d").await;
    assert_eq!(page.ids().len(), 2);
    assert_eq!(page.ok()["total"], 3);
}

#[tokio::test]
async fn an_enumeration_goes_on_by_its_cursor_to_the_last_page() {
    let service = populated().await;
    let (mut listed, mut query) = (Vec::new(), "order=all&limit=1".to_owned());
    loop {
        let page = service.get(&format!("/discover?{query}")).await;
        listed.extend(page.ids());
        match page.ok()["next_cursor"].as_str() {
            Some(cursor) => query = format!("limit=1&cursor={cursor}"),
            None => break,
        }
        assert!(listed.len() <= 4, "{listed:?}");
    }
    listed.sort();
    assert_eq!(listed, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_cursor_is_good_for_its_own_query_only() {
    let service = populated().await;
    let page = service.get("/discover?order=all&limit=1").await.ok();
    let cursor = page["next_cursor"].as_str().unwrap();
    let other = service.get(&format!("/discover?archetype=x&cursor={cursor}")).await;
    other.refused(400, "invalid_cursor", Some("cursor"));
}

#[tokio::test]
async fn the_full_view_says_more_and_the_seeds_exactly_six_keys() {
    let service = populated().await;
    service.clock.pass(7);
    let keys = |page: serde_json::Value| page["peers"][0].as_object().unwrap().len();
    assert_eq!(keys(service.get("/discover").await.ok()), 6);
    assert_eq!(keys(service.get("/discover?view=seed").await.ok()), 6);
    let full = service.get("/discover?view=full&archetype=y").await.ok();
    assert_eq!(full["peers"][0]["expires_in_seconds"], 293);
    assert_eq!(full["peers"][0]["registered_seconds_ago"], 7);
}
