//! `GET /network`

use serde_json::Value;

use crate::caller::{Caller, naive_time, unique};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

pub async fn the_networks_figures_are_answered(target: &Target) {
    let caller = Caller::home(target);
    let before = caller.get("/network").await.ok()["peers"].as_u64().expect("a count");
    caller.fill(4, &[&unique("a"), &unique("b")]).await;
    let answer = caller.get("/network").await.ok();
    naive_time(&answer["timestamp"]);
    assert!(answer["peers"].as_u64().expect("a count") >= before.max(4), "{answer}");
    let archetypes = answer["archetypes"].as_array().expect("a list");
    assert!((1..=100).contains(&archetypes.len()));
    let counts: Vec<_> = archetypes.iter().map(|one| one["peers"].as_u64().expect("a count")).collect();
    assert!(counts.is_sorted_by(|more, fewer| more >= fewer), "the most frequent first: {counts:?}");
    for one in archetypes {
        let keys: Vec<_> = one.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["archetype", "peers"]);
    }
}

pub async fn what_is_at_risk_is_said_in_sentences(target: &Target) {
    let caller = Caller::home(target);
    caller.fill(2, &[]).await;
    let answer = caller.get("/network").await.ok();
    let risks = answer["at_risk"].as_array().expect("a list");
    assert!(risks.iter().all(|risk| risk.as_str().is_some_and(|sentence| sentence.contains(' '))));
}

pub async fn rates_come_together_or_not_at_all(target: &Target) {
    let answer = Caller::home(target).get("/network").await.ok();
    let rates = ["joins_per_minute", "leaves_per_minute", "expiries_per_minute", "revivals_per_minute"];
    let known = answer["minutes"].as_u64();
    assert!(known.is_none_or(|minutes| (1..=5).contains(&minutes)), "{answer}");
    for name in rates {
        assert_eq!(
            answer[name].as_f64().is_some_and(|rate| rate >= 0.0),
            known.is_some(),
            "{name}: {answer}"
        );
    }
    let ratio = &answer["undiscovered_ratio"];
    assert!(*ratio == Value::Null || ratio.as_f64().is_some_and(|ratio| (0.0..=1.0).contains(&ratio)));
}

pub async fn the_deprecated_name_of_the_undiscovered_ratio_has_the_same_value(target: &Target) {
    let answer = Caller::home(target).get("/network").await.ok();
    assert_eq!(answer.get("undiscovered_ratio"), answer.get("introduced_to_nobody_share"), "{answer}");
}
