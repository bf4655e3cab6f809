//! What is said of the network as a whole.

use serde::{Deserialize, Serialize};

use crate::{Archetype, Timestamp};

/// The answer to `/network`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkResponse {
    /// When the service answered.
    pub timestamp: Timestamp,
    /// Live peers.
    pub peers: u64,
    /// The most frequent archetypes, the most frequent first.
    pub archetypes: Vec<ArchetypePeers>,
    /// What came and went lately; left out where no process sees all of it, and until a minute was seen.
    #[serde(flatten)]
    pub rates: Option<NetworkRates>,
    /// Which share of the live peers, from 0 to 1, no list has named during their last lease: an estimate. Left out where the store
    /// can't know.
    #[serde(flatten, with = "undiscovered_ratio")]
    pub undiscovered_ratio: Option<f64>,
    /// What endangers the network, a sentence each; empty where nothing is known to.
    pub at_risk: Vec<String>,
}

impl NetworkResponse {
    /// Most archetypes that are named.
    pub const MAX_ARCHETYPES: usize = 100;
}

/// `undiscovered_ratio`, and the deprecated name of the same value for one release.
mod undiscovered_ratio {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Keys {
        #[serde(skip_serializing_if = "Option::is_none")]
        undiscovered_ratio: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        introduced_to_nobody_share: Option<f64>,
    }

    pub(super) fn serialize<S: Serializer>(ratio: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        Keys { undiscovered_ratio: *ratio, introduced_to_nobody_share: *ratio }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        let keys = Keys::deserialize(deserializer)?;
        Ok(keys.undiscovered_ratio.or(keys.introduced_to_nobody_share))
    }
}

/// How many live peers carry an archetype.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchetypePeers {
    /// The archetype.
    pub archetype: Archetype,
    /// Its live peers.
    pub peers: u64,
}

/// What came and went over the last minutes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkRates {
    /// How many whole minutes the rates are taken over, 1 to 5.
    pub minutes: u64,
    /// Peers that registered and were not live.
    pub joins_per_minute: f64,
    /// Peers that deregistered.
    pub leaves_per_minute: f64,
    /// Leases that ended in silence.
    pub expiries_per_minute: f64,
    /// Dormant peers that a heartbeat brought back.
    pub revivals_per_minute: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_known_is_left_out() {
        let sparse = r#"{"timestamp":"2025-10-02T12:00:00","peers":1,"archetypes":[{"archetype":"a","peers":1}],"at_risk":[]}"#;
        let read: NetworkResponse = serde_json::from_str(sparse).unwrap();
        assert_eq!((read.rates, read.undiscovered_ratio), (None, None));
        assert_eq!(serde_json::to_string(&read).unwrap(), sparse);
        let whole = r#"{"timestamp":"2025-10-02T12:00:00","peers":1,"archetypes":[],"minutes":5,"joins_per_minute":0.5,"leaves_per_minute":0.0,"expiries_per_minute":1.0,"revivals_per_minute":0.0,"undiscovered_ratio":0.25,"introduced_to_nobody_share":0.25,"at_risk":["x"]}"#;
        let read: NetworkResponse = serde_json::from_str(whole).unwrap();
        assert_eq!(read.undiscovered_ratio, Some(0.25));
        assert_eq!(serde_json::to_string(&read).unwrap(), whole);
        for one in ["undiscovered_ratio", "introduced_to_nobody_share"] {
            let other = whole.replace(&format!("\"{one}\":0.25,"), "");
            assert_eq!(serde_json::from_str::<NetworkResponse>(&other).unwrap(), read, "without {one}");
        }
    }
}
