//! Statistics of the network as a whole.

use serde::{Deserialize, Serialize};

use crate::{Archetype, Timestamp};

/// The response to `/network`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkResponse {
    /// The time of the response.
    pub timestamp: Timestamp,
    /// The number of live peers.
    pub peers: u64,
    /// The most frequent archetypes, in descending order.
    pub archetypes: Vec<ArchetypePeers>,
    /// The rates of the last minutes. They are missing during the first minute of a process. They
    /// are also missing if several processes share the store, because then no process sees every
    /// change.
    #[serde(flatten)]
    pub rates: Option<NetworkRates>,
    /// The ratio of live peers, from 0 to 1, that no page has listed for the duration of a lease.
    /// It is an estimate. It is missing if the store does not measure it.
    #[serde(flatten, with = "undiscovered_ratio")]
    pub undiscovered_ratio: Option<f64>,
    /// The risks to the network, one sentence each. Empty if none is known.
    pub at_risk: Vec<String>,
}

impl NetworkResponse {
    /// The maximum number of archetypes in the response.
    pub const MAX_ARCHETYPES: usize = 100;
}

/// Writes the value under `undiscovered_ratio` and also under its deprecated name, which will be
/// removed after one release. Reads it from either.
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

/// The number of live peers that carry an archetype.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchetypePeers {
    /// The archetype.
    pub archetype: Archetype,
    /// The number of live peers that carry it.
    pub peers: u64,
}

/// The rates at which peers came and went over the last minutes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkRates {
    /// The number of whole minutes that the rates cover, 1 to 5.
    pub minutes: u64,
    /// Peers that registered and were not live before.
    pub joins_per_minute: f64,
    /// Peers that deregistered.
    pub leaves_per_minute: f64,
    /// Leases that ended without a deregistration.
    pub expiries_per_minute: f64,
    /// Dormant peers that a heartbeat revived.
    pub revivals_per_minute: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_values_are_omitted() {
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
