#![doc = include_str!("../README.md")]

mod advice;
mod bill;
mod cluster;
mod machine;
mod mail;
mod prices;
mod text;
mod units;
mod workload;
mod worst;

use serde::Serialize;

use advice::Saving;
use bill::{Bill, EndpointKind};
use cluster::ClusterBill;
use machine::MachineBill;
pub use mail::Mail;
use mail::MailBill;
pub use prices::{BUILT_IN as BUILT_IN_PRICES, PriceError, Prices};
pub use workload::{Architecture, Cadence, Function, Workload};
use workload::{MONTH_DAYS, Month};
use worst::WorstBill;

/// The longest heartbeat interval that the service requests by default, in seconds.
const MAX_REQUESTED_SECONDS: f64 = 200.0;
/// The cadence of legacy clients: a heartbeat every 30 s, and every 10 s a discover without a
/// limit, which lists up to 1,000 peers.
const LEGACY_CADENCE: Cadence = Cadence {
    heartbeat_seconds: 30.0,
    heartbeats_per_request: 1.0,
    discover_seconds: 10.0,
    discover_limit: 1_000.0,
    discover_in_heartbeat: false,
};

/// The bills of a network: with the given cadence, with the cadence that the service requests, and
/// with legacy clients.
#[derive(Debug, Serialize)]
pub struct Report {
    month_days: f64,
    prices: Prices,
    scenarios: Vec<Scenario>,
    /// The changes that would lower the bill of the first scenario behind a REST API.
    savings: Vec<Saving>,
    /// The price of a mailbox, first if idle peers poll, and then if only their heartbeats fetch
    /// mail.
    mail: [MailBill; 2],
    /// The worst bill that one caller can cause, for each kind of request.
    worst: [WorstBill; 5],
    /// The price of as many requests as in `worst`, without the work that they cause.
    requests_alone: f64,
}

/// A network, and its cost with each kind of endpoint and on machines of the operator's own.
#[derive(Debug, Serialize)]
struct Scenario {
    name: &'static str,
    workload: Workload,
    month: Month,
    rest_api: Bill,
    http_api: Bill,
    function_url: Bill,
    /// `serve` on a small machine of the operator's own.
    own_machine: MachineBill,
    /// Three machines of the operator's own: Valkey on all three, and `serve` on two of them.
    own_cluster: ClusterBill,
}

impl Report {
    /// The bills of a network at these prices.
    pub fn new(given: Workload, prices: Prices) -> Self {
        let with = |cadence: Cadence| Workload { cadence, ..given };
        // The service requests heartbeats at intervals of a third of the lease, so that a lease
        // survives two lost heartbeats.
        let requested = Cadence {
            heartbeat_seconds: (given.lease_seconds / 3.0).clamp(1.0, MAX_REQUESTED_SECONDS),
            discover_in_heartbeat: true,
            ..given.cadence
        };
        let scenarios = [
            ("as given", given),
            ("as the service requests", with(requested)),
            ("legacy clients", with(LEGACY_CADENCE)),
        ]
        .map(|(name, workload)| Scenario::new(name, workload, &prices))
        .into();
        Self {
            month_days: MONTH_DAYS,
            savings: advice::savings(&given, &prices),
            mail: mail::bills(&given, &prices),
            worst: worst::bills(&prices),
            requests_alone: worst::requests_alone(&prices),
            scenarios,
            prices,
        }
    }
}

impl Scenario {
    fn new(name: &'static str, workload: Workload, prices: &Prices) -> Self {
        let [rest_api, http_api, function_url] =
            EndpointKind::ALL.map(|endpoint| Bill::of(&workload, endpoint, prices));
        let month = workload.month();
        let own_machine = MachineBill::of(&workload, &month, prices);
        let own_cluster = ClusterBill::of(&workload, &month, prices);
        Self { name, workload, month, rest_api, http_api, function_url, own_machine, own_cluster }
    }

    /// The bills, in the order of the kinds of endpoint.
    fn bills(&self) -> [&Bill; 3] {
        [&self.rest_api, &self.http_api, &self.function_url]
    }
}
