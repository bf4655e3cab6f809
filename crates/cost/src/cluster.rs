//! The cost of `serve` on Valkey, on three virtual machines of the operator's own. The service
//! survives the failure of any one of them.

use serde::Serialize;

use crate::bill::{BYTES_PER_GB, RESPONSE_HEAD_BYTES};
use crate::prices::Prices;
use crate::units;
use crate::workload::{MONTH_HOURS, Month, Workload};

/// The number of machines. Each runs a Valkey server and a Sentinel.
const MACHINES: f64 = 3.0;
/// The number of machines that also run the service, and have a public address.
const SERVICES: f64 = 2.0;
/// The capacity of the small machine of the built-in list, which has 1 GB. A peer takes about 1.3
/// kB of memory in the service and in Valkey together, so these peers take 130 MB. The system and
/// the log of changes take up to half of the memory.
const SMALL: Capacity = Capacity { peers: 100_000.0, requests_per_second: 1_000.0 };
/// The capacity of the large machine of the built-in list, which has two cores and 4 GB. Half of
/// the memory stays free for the pages that are copied while Valkey rewrites its append-only file.
const LARGE: Capacity = Capacity { peers: 1_200_000.0, requests_per_second: 25_000.0 };
/// Bytes that are sent between machines for each written change: from a service to the primary of
/// Valkey, and from the primary to two replicas and to both services.
const BYTES_PER_CHANGE: f64 = 1_500.0;
/// Bytes that are sent between machines for each message. The message is sent five times: to the
/// primary, from the primary to each of the two replicas, and twice from the primary to the
/// receiver's service. That service reads the mailbox once to fetch the message, and once more to
/// acknowledge it. Writing the acknowledgement takes another 1,000 bytes.
const BYTES_PER_MESSAGE: f64 = 5.0 * (units::MESSAGE_BYTES + 200.0) + 1_000.0;
/// AWS bills traffic between zones twice: in the zone that it leaves, and in the zone where it
/// arrives.
const BILLED_ENDS: f64 = 2.0;

/// The largest network that a machine can serve.
struct Capacity {
    peers: f64,
    requests_per_second: f64,
}

impl Capacity {
    fn is_sufficient(&self, workload: &Workload, month: &Month) -> bool {
        workload.peers <= self.peers && month.requests_per_second() <= self.requests_per_second
    }
}

/// The bill of a month for three machines, in US dollars.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ClusterBill {
    /// The type of the machines.
    pub(crate) machine_name: String,
    pub(crate) machines: f64,
    pub(crate) disks: f64,
    /// The public IPv4 addresses of the two services.
    pub(crate) addresses: f64,
    /// The traffic between the machines, which are in three different zones.
    pub(crate) between_zones: f64,
    pub(crate) egress: f64,
    pub(crate) total: f64,
    /// Whether the machines are large enough for the network.
    pub(crate) is_sufficient: bool,
}

impl ClusterBill {
    /// The cost of serving `workload`, whose totals are `month`.
    pub(crate) fn of(workload: &Workload, month: &Month, prices: &Prices) -> Self {
        let (name, per_hour) = if SMALL.is_sufficient(workload, month) {
            (&prices.machine_name, prices.machine_per_hour)
        } else {
            (&prices.large_machine_name, prices.large_machine_per_hour)
        };
        let machines = MACHINES * per_hour * MONTH_HOURS;
        let disks = MACHINES * prices.machine_disk_gb * prices.machine_disk_per_gb_month;
        let addresses = SERVICES * prices.machine_address_per_hour * MONTH_HOURS;
        let changes = month.written_heartbeats + month.changes;
        let moved = changes * BYTES_PER_CHANGE + month.mail.messages * BYTES_PER_MESSAGE;
        let between_zones = moved / BYTES_PER_GB * BILLED_ENDS * prices.between_zones_per_gb;
        let bytes = month.body_bytes + month.requests * RESPONSE_HEAD_BYTES;
        let egress = bytes / BYTES_PER_GB * prices.egress_per_gb;
        Self {
            machine_name: name.clone(),
            machines,
            disks,
            addresses,
            between_zones,
            egress,
            total: machines + disks + addresses + between_zones + egress,
            is_sufficient: LARGE.is_sufficient(workload, month),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::MachineBill;
    use crate::workload::tests::hundred_peers;

    fn bill(peers: f64) -> (ClusterBill, MachineBill) {
        let workload = Workload { peers, ..hundred_peers(60.0, false) };
        let (month, prices) = (workload.month(), Prices::built_in().unwrap());
        (ClusterBill::of(&workload, &month, &prices), MachineBill::of(&workload, &month, &prices))
    }

    #[test]
    fn three_machines_cost_three_times_one_apart_from_the_traffic_and_one_address() {
        let (three, one) = bill(100.0);
        assert_eq!(three.machine_name, "t4g.micro");
        assert!((three.machines - 3.0 * one.machine).abs() < 1e-9);
        assert!((three.disks - 3.0 * one.disk).abs() < 1e-9);
        assert!((three.addresses - 2.0 * one.address).abs() < 1e-9);
        assert!((three.egress - one.egress).abs() < 1e-9);
        // 2.16 million written heartbeats and 6,000 changes of 1,500 B, at 0.02 USD per GB.
        assert_eq!(format!("{:.3}", three.between_zones), "0.061");
        let parts = three.machines + three.disks + three.addresses + three.between_zones + three.egress;
        assert!((three.total - parts).abs() < 1e-9);
    }

    #[test]
    fn a_larger_network_needs_larger_machines_and_a_very_large_one_other_machines() {
        let names = [1_000.0, 10_000.0, 1_000_000.0].map(|peers| bill(peers).0.machine_name);
        assert_eq!(names, ["t4g.micro", "t4g.micro", "c7g.large"]);
        assert!(bill(1_000_000.0).0.is_sufficient && !bill(1_300_000.0).0.is_sufficient);
    }
}
