//! `GET /network`

use serde_json::Value;

use crate::client::{Client, naive_time, unique};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

pub async fn the_network_figures_count_the_peers_of_each_archetype(target: &Target) {
    let client = Client::first(target);
    let before = client.get("/network").await.ok()["peers"].as_u64().expect("a count");
    client.register_many(4, &[&unique("a"), &unique("b")]).await;
    let fields = client.get("/network").await.ok();
    naive_time(&fields["timestamp"]);
    assert!(fields["peers"].as_u64().expect("a count") >= before.max(4), "{fields}");
    let archetypes = fields["archetypes"].as_array().expect("a list");
    assert!((1..=100).contains(&archetypes.len()));
    let counts: Vec<_> = archetypes.iter().map(|one| one["peers"].as_u64().expect("a count")).collect();
    assert!(counts.is_sorted_by(|more, fewer| more >= fewer), "the most frequent first: {counts:?}");
    for one in archetypes {
        let keys: Vec<_> = one.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["archetype", "peers"]);
    }
}

pub async fn risks_are_sentences(target: &Target) {
    let client = Client::first(target);
    client.register_many(2, &[]).await;
    let fields = client.get("/network").await.ok();
    let risks = fields["at_risk"].as_array().expect("a list");
    assert!(risks.iter().all(|risk| risk.as_str().is_some_and(|sentence| sentence.contains(' '))));
}

pub async fn the_rates_are_all_present_or_all_absent(target: &Target) {
    let fields = Client::first(target).get("/network").await.ok();
    let rates = ["joins_per_minute", "leaves_per_minute", "expiries_per_minute", "revivals_per_minute"];
    let known = fields["minutes"].as_u64();
    assert!(known.is_none_or(|minutes| (1..=5).contains(&minutes)), "{fields}");
    for name in rates {
        assert_eq!(
            fields[name].as_f64().is_some_and(|rate| rate >= 0.0),
            known.is_some(),
            "{name}: {fields}"
        );
    }
    let ratio = &fields["undiscovered_ratio"];
    assert!(*ratio == Value::Null || ratio.as_f64().is_some_and(|ratio| (0.0..=1.0).contains(&ratio)));
}

pub async fn the_deprecated_name_of_the_undiscovered_ratio_has_the_same_value(target: &Target) {
    let fields = Client::first(target).get("/network").await.ok();
    assert_eq!(fields.get("undiscovered_ratio"), fields.get("introduced_to_nobody_share"), "{fields}");
}
