//! The cost of `serve` on a small virtual machine of the operator's own, without API Gateway,
//! Lambda and DynamoDB.

use serde::Serialize;

use crate::bill::{BYTES_PER_GB, RESPONSE_HEAD_BYTES};
use crate::prices::Prices;
use crate::workload::{MONTH_HOURS, Month, Workload};

/// The requests per second that one small machine serves. A request takes about 30 µs of processor
/// time (`bench/speed`), and the machine of the built-in list may use a fifth of a core on average.
const MAX_REQUESTS_PER_SECOND: f64 = 5_000.0;
/// The peers that one small machine serves. A peer takes about 600 B of memory (`bench/size`), so a
/// million peers and the system fit into 1 GB.
const MAX_PEERS: f64 = 1_000_000.0;

/// The bill of a month for one machine, in US dollars.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct MachineBill {
    pub(crate) machine: f64,
    pub(crate) disk: f64,
    /// The public IPv4 address.
    pub(crate) address: f64,
    pub(crate) egress: f64,
    pub(crate) total: f64,
    /// Whether one such machine is large enough for the network.
    pub(crate) is_sufficient: bool,
}

impl MachineBill {
    /// The cost of serving `workload`, whose totals are `month`.
    pub(crate) fn of(workload: &Workload, month: &Month, prices: &Prices) -> Self {
        let machine = prices.machine_per_hour * MONTH_HOURS;
        let disk = prices.machine_disk_gb * prices.machine_disk_per_gb_month;
        let address = prices.machine_address_per_hour * MONTH_HOURS;
        let bytes = month.body_bytes + month.requests * RESPONSE_HEAD_BYTES;
        let egress = bytes / BYTES_PER_GB * prices.egress_per_gb;
        Self {
            machine,
            disk,
            address,
            egress,
            total: machine + disk + address + egress,
            is_sufficient: workload.peers <= MAX_PEERS
                && month.requests_per_second() <= MAX_REQUESTS_PER_SECOND,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::tests::hundred_peers;

    fn bill(peers: f64) -> MachineBill {
        let workload = Workload { peers, ..hundred_peers(60.0, false) };
        MachineBill::of(&workload, &workload.month(), &Prices::built_in().unwrap())
    }

    #[test]
    fn a_small_machine_costs_the_same_for_ten_peers_and_for_a_hundred_but_for_the_traffic() {
        let (ten, hundred) = (bill(10.0), bill(100.0));
        // 720 hours at 0.0084 and at 0.005 USD, and 8 GB at 0.08 USD.
        assert_eq!(format!("{:.2}", ten.total - ten.egress), "10.29");
        assert!((hundred.total - ten.total - (hundred.egress - ten.egress)).abs() < 1e-9);
        assert!(hundred.egress > 5.0 * ten.egress);
    }

    #[test]
    fn a_network_that_is_too_large_for_one_machine_is_reported() {
        assert!(bill(200_000.0).is_sufficient);
        // 288,000 peers send 4,800 heartbeats and 960 discovers a second.
        assert!(!bill(288_000.0).is_sufficient && !bill(2_000_000.0).is_sufficient);
    }
}
