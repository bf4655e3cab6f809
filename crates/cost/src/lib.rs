//! Estimates the monthly cost of Aurora Discovery on AWS, by part and by kind of endpoint.
//!
//! It works offline, from counts, measured DynamoDB units, and a dated price list that an operator
//! may replace.
//!
//! ```
//! use aurora_discovery_cost::{Architecture, Cadence, Function, Prices, Report, Workload};
//!
//! let workload = Workload {
//!     peers: 100.0,
//!     lease_seconds: 300.0,
//!     archetypes: 2.0,
//!     starts_per_day: 1.0,
//!     cadence: Cadence {
//!         heartbeat_seconds: 60.0,
//!         beats_per_call: 1.0,
//!         discover_seconds: 300.0,
//!         discover_limit: 20.0,
//!         riding: false,
//!     },
//!     function: Function { memory_mb: 256.0, architecture: Architecture::Arm64, billed_millis: 5.0 },
//!     custom_metrics: false,
//! };
//! let report = Report::new(workload, Prices::built_in()?);
//! assert!(report.to_string().contains("REST API"));
//! # Ok::<(), aurora_discovery_cost::PriceError>(())
//! ```

mod advice;
mod bill;
mod prices;
mod text;
mod units;
mod workload;

use serde::Serialize;

use advice::Saving;
use bill::{Bill, Door};
pub use prices::{BUILT_IN as BUILT_IN_PRICES, PriceError, Prices};
pub use workload::{Architecture, Cadence, Function, Workload};
use workload::{MONTH_DAYS, Month};

/// The longest heartbeat interval that the service asks for by default, in seconds.
const STEERED_MOST: f64 = 200.0;
/// The cadence of legacy clients: a heartbeat every 30 s, and every 10 s a discover without a
/// limit, which lists 1,000.
const TODAY: Cadence = Cadence {
    heartbeat_seconds: 30.0,
    beats_per_call: 1.0,
    discover_seconds: 10.0,
    discover_limit: 1_000.0,
    riding: false,
};

/// The bills of a network: with the given cadence, with the cadence that the service asks for, and
/// with legacy clients.
#[derive(Debug, Serialize)]
pub struct Report {
    month_days: f64,
    prices: Prices,
    scenarios: Vec<Scenario>,
    /// The changes that would lower the bill of the first scenario behind a REST API.
    savings: Vec<Saving>,
}

/// A network, and its cost with each kind of endpoint.
#[derive(Debug, Serialize)]
struct Scenario {
    name: &'static str,
    workload: Workload,
    month: Month,
    rest_api: Bill,
    http_api: Bill,
    function_url: Bill,
}

impl Report {
    /// The bills of a network at these prices.
    pub fn new(given: Workload, prices: Prices) -> Self {
        let with = |cadence: Cadence| Workload { cadence, ..given };
        let steered = Cadence {
            heartbeat_seconds: (given.lease_seconds / 3.0).clamp(1.0, STEERED_MOST),
            riding: true,
            ..given.cadence
        };
        let scenarios =
            [("as given", given), ("as the service steers", with(steered)), ("today's clients", with(TODAY))]
                .map(|(name, workload)| Scenario::new(name, workload, &prices))
                .into();
        Self { month_days: MONTH_DAYS, savings: advice::savings(&given, &prices), scenarios, prices }
    }
}

impl Scenario {
    fn new(name: &'static str, workload: Workload, prices: &Prices) -> Self {
        let [rest_api, http_api, function_url] = Door::ALL.map(|door| Bill::of(&workload, door, prices));
        Self { name, workload, month: workload.month(), rest_api, http_api, function_url }
    }

    /// The bills, in the order of the kinds of endpoint.
    fn bills(&self) -> [&Bill; 3] {
        [&self.rest_api, &self.http_api, &self.function_url]
    }
}
