//! `cost`: the month's bill of the stack on AWS. Nothing is asked or sent: counts, units and a price list.

mod advice;
mod args;
mod bill;
mod prices;
mod text;
mod units;
mod workload;

use serde::Serialize;

use advice::Saving;
pub(crate) use args::CostArgs;
use bill::{Bill, Door};
use prices::{BUILT_IN, Prices};
use workload::{Cadence, MONTH_DAYS, Month, Workload};

use crate::failure::Failure;
use crate::verb::{print, print_json};

/// The longest interval of heartbeats that the service asks for unless an operator allows more, in seconds.
const STEERED_MOST: f64 = 200.0;
/// How today's peers call: a heartbeat each 30 s, and each 10 s a discover without a limit, which lists 1,000.
const TODAY: Cadence = Cadence {
    heartbeat_seconds: 30.0,
    beats_per_call: 1.0,
    discover_seconds: 10.0,
    discover_limit: 1_000.0,
    riding: false,
};

/// Prints the bill.
pub(crate) fn run(args: &CostArgs) -> Result<(), Failure> {
    if args.print_prices {
        return print(BUILT_IN.trim_end());
    }
    let prices = Prices::read(args.prices.as_deref()).map_err(|error| Failure::flag("--prices", error))?;
    let report = Report::new(args.workload()?, prices);
    if args.json { print_json(&report) } else { print(text::render(&report).trim_end()) }
}

/// All that the command says.
#[derive(Debug, Serialize)]
struct Report {
    month_days: f64,
    prices: Prices,
    scenarios: Vec<Scenario>,
    /// What would lower the first scenario's bill by a REST API.
    savings: Vec<Saving>,
}

/// A network, and what it costs by each way in.
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
    fn new(given: Workload, prices: Prices) -> Self {
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

    /// The bills in the order of the doors.
    fn bills(&self) -> [&Bill; 3] {
        [&self.rest_api, &self.http_api, &self.function_url]
    }
}
