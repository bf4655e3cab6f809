//! The requests of a network in a month, and the units, bytes and log lines that they cause.

use serde::Serialize;

use crate::mail::{Mail, MailMonth};
use crate::units;

/// Days of the billed month, as in the original service's estimate.
pub(crate) const MONTH_DAYS: f64 = 30.0;
pub(crate) const MONTH_HOURS: f64 = MONTH_DAYS * 24.0;
const SECONDS_PER_DAY: f64 = 86_400.0;
pub(crate) const MONTH_SECONDS: f64 = MONTH_DAYS * SECONDS_PER_DAY;

/// Bytes of the response to a heartbeat, a registration or a deregistration, measured with ids of
/// 36 characters.
const SMALL_RESPONSE_BYTES: f64 = 201.0;
/// Bytes of a page in addition to its peers.
const PAGE_BYTES: f64 = 100.0;
/// Bytes of a peer in a page, with a registration like those of legacy clients.
const LISTED_PEER_BYTES: f64 = 225.0;
/// Bytes of a peer in a compressed page. The measured peers took 42 bytes each. Real peers differ
/// more from each other, so they compress less.
const COMPRESSED_PEER_BYTES: f64 = 50.0;
/// Bytes of a compressed page in addition to its peers.
const COMPRESSED_PAGE_BYTES: f64 = 150.0;

/// How a network uses the service.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Workload {
    /// The number of live peers.
    pub peers: f64,
    /// The lease, in seconds.
    pub lease_seconds: f64,
    /// The number of archetypes of each peer.
    pub archetypes: f64,
    /// How many times a day each peer registers, and deregisters again.
    pub starts_per_day: f64,
    /// How often each peer sends requests.
    pub cadence: Cadence,
    /// The configuration of the function.
    pub function: Function,
    /// How peers use their mailboxes.
    pub mail: Mail,
    /// Whether the function's counts also become CloudWatch metrics.
    pub custom_metrics: bool,
}

/// How often each peer sends requests.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cadence {
    /// The interval of each peer's heartbeats.
    pub heartbeat_seconds: f64,
    /// How many peers' heartbeats a host sends in one request.
    #[serde(rename = "beats_per_call")]
    pub heartbeats_per_request: f64,
    /// The interval of each peer's discovers; 0 means never.
    pub discover_seconds: f64,
    /// The maximum number of peers that a discover lists.
    pub discover_limit: f64,
    /// Whether peers include their discovers in heartbeats. If there are more discovers than
    /// heartbeat requests, the rest are separate requests.
    #[serde(rename = "riding")]
    pub discover_in_heartbeat: bool,
}

/// The configuration of the function, and its time per request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Function {
    /// Its memory, in MB.
    pub memory_mb: f64,
    /// Its processor.
    pub architecture: Architecture,
    /// Milliseconds that Lambda bills for a request.
    pub billed_millis: f64,
}

/// The function's processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Architecture {
    /// AWS Graviton.
    #[cfg_attr(feature = "clap", value(name = "arm64"))]
    #[serde(rename = "arm64")]
    Arm64,
    /// Intel or AMD.
    #[cfg_attr(feature = "clap", value(name = "x86_64"))]
    #[serde(rename = "x86_64")]
    X86,
}

/// The totals of a workload in a month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Month {
    pub(crate) heartbeats: f64,
    pub(crate) discovers: f64,
    /// Discovers that are part of a heartbeat and need no request; included in `discovers`.
    #[serde(rename = "riding")]
    pub(crate) included_discovers: f64,
    /// The heartbeats whose renewal is written to DynamoDB or Valkey. After a written renewal, the
    /// heartbeats within a third of the lease need no write.
    pub(crate) written_heartbeats: f64,
    /// Registrations and deregistrations.
    pub(crate) changes: f64,
    pub(crate) requests: f64,
    pub(crate) write_units: f64,
    pub(crate) read_units: f64,
    pub(crate) stored_bytes: f64,
    pub(crate) body_bytes: f64,
    pub(crate) gb_seconds: f64,
    /// Mail; included in the other totals.
    pub(crate) mail: MailMonth,
}

impl Workload {
    /// The totals of a month.
    pub(crate) fn month(&self) -> Month {
        let Cadence {
            heartbeat_seconds,
            heartbeats_per_request,
            discover_seconds,
            discover_limit,
            discover_in_heartbeat,
        } = self.cadence;
        let heartbeats = self.peers * MONTH_SECONDS / heartbeat_seconds;
        let discovers =
            if discover_seconds > 0.0 { self.peers * MONTH_SECONDS / discover_seconds } else { 0.0 };
        // A host cannot batch more peers than the network has.
        let heartbeat_requests = heartbeats / heartbeats_per_request.min(self.peers);
        let included_discovers = if discover_in_heartbeat { discovers.min(heartbeat_requests) } else { 0.0 };
        let changes = 2.0 * self.peers * self.starts_per_day * MONTH_DAYS;
        let mail = self.mail.month(self.peers, heartbeats);
        let requests = heartbeat_requests + discovers - included_discovers + changes + mail.requests;
        let written = heartbeats * units::write_fraction(heartbeat_seconds, self.lease_seconds);
        let per_discover =
            units::discover_reads(self.peers, self.archetypes, discover_limit, discovers / MONTH_SECONDS);
        // A peer is not listed to itself.
        let page = page_bytes(discover_limit.min(self.peers - 1.0));
        Month {
            heartbeats,
            discovers,
            included_discovers,
            written_heartbeats: written,
            changes,
            requests,
            write_units: written * units::HEARTBEAT_WRITES
                + changes * units::change_writes(self.archetypes)
                + mail.write_units,
            read_units: heartbeats * units::HEARTBEAT_READS
                + discovers * per_discover
                + changes * units::CHANGE_READS
                + mail.read_units,
            stored_bytes: units::stored_bytes(self.peers, self.archetypes),
            body_bytes: (heartbeats + changes) * SMALL_RESPONSE_BYTES + discovers * page + mail.body_bytes,
            gb_seconds: self.function.gb_seconds(requests + included_discovers),
            mail,
        }
    }
}

impl Month {
    pub(crate) fn requests_per_second(&self) -> f64 {
        self.requests / MONTH_SECONDS
    }
}

impl Function {
    /// The GB-seconds of this number of requests. A discover within a heartbeat counts as a request
    /// of its own.
    fn gb_seconds(&self, requests: f64) -> f64 {
        requests * self.billed_millis / 1_000.0 * self.memory_mb / 1_024.0
    }
}

/// Bytes of a page as it leaves AWS. The smaller of the plain and the compressed size counts,
/// because browsers and legacy clients accept compression.
fn page_bytes(peers: f64) -> f64 {
    let plain = PAGE_BYTES + peers.max(0.0) * LISTED_PEER_BYTES;
    plain.min(COMPRESSED_PAGE_BYTES + peers.max(0.0) * COMPRESSED_PEER_BYTES)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A hundred peers with two archetypes each, a lease of five minutes, and a discover of 20
    /// peers every five minutes.
    pub(crate) fn hundred_peers(heartbeat_seconds: f64, discover_in_heartbeat: bool) -> Workload {
        Workload {
            peers: 100.0,
            lease_seconds: 300.0,
            archetypes: 2.0,
            starts_per_day: 1.0,
            cadence: Cadence {
                heartbeat_seconds,
                heartbeats_per_request: 1.0,
                discover_seconds: 300.0,
                discover_limit: 20.0,
                discover_in_heartbeat,
            },
            function: Function { memory_mb: 256.0, architecture: Architecture::Arm64, billed_millis: 5.0 },
            mail: Mail::default(),
            custom_metrics: false,
        }
    }

    fn whole(figure: f64) -> String {
        format!("{figure:.0}")
    }

    #[test]
    fn a_hundred_peers_with_a_heartbeat_a_minute_send_five_million_requests_a_month() {
        let month = hundred_peers(60.0, false).month();
        assert_eq!(whole(month.heartbeats), "4320000");
        assert_eq!(whole(month.discovers), "864000");
        assert_eq!(whole(month.changes), "6000");
        assert_eq!(whole(month.requests), "5190000");
        // Every second heartbeat writes one unit, and every registration or deregistration eight.
        assert_eq!(whole(month.write_units), "2208000");
        assert_eq!(whole(month.gb_seconds), "6488");
    }

    #[test]
    fn a_discover_in_a_heartbeat_costs_reads_but_no_request() {
        let (separate, included) = (hundred_peers(100.0, false).month(), hundred_peers(100.0, true).month());
        assert_eq!(whole(separate.requests - included.requests), "864000");
        assert_eq!(whole(included.included_discovers), "864000");
        assert_eq!(whole(separate.read_units), whole(included.read_units));
    }

    #[test]
    fn at_most_one_discover_is_included_in_each_heartbeat() {
        let mut workload = hundred_peers(200.0, true);
        workload.cadence.discover_seconds = 50.0;
        let month = workload.month();
        assert_eq!(whole(month.included_discovers), whole(month.heartbeats));
        assert_eq!(whole(month.requests), whole(month.discovers + month.changes));
    }

    #[test]
    fn heartbeats_for_ten_peers_in_one_request_need_a_tenth_of_the_requests_and_the_same_units() {
        let mut workload = hundred_peers(60.0, false);
        let separate = workload.month();
        workload.cadence.heartbeats_per_request = 10.0;
        let batched = workload.month();
        assert_eq!(whole(separate.requests - batched.requests), "3888000");
        assert_eq!(
            (whole(batched.write_units), whole(batched.read_units)),
            (whole(separate.write_units), whole(separate.read_units))
        );
    }

    #[test]
    fn a_network_without_discovers_pays_for_heartbeats_only() {
        let mut workload = hundred_peers(60.0, true);
        workload.cadence.discover_seconds = 0.0;
        workload.starts_per_day = 0.0;
        let month = workload.month();
        assert_eq!((whole(month.discovers), whole(month.requests)), ("0".to_owned(), "4320000".to_owned()));
        assert_eq!(whole(month.read_units), whole(month.heartbeats));
    }

    #[test]
    fn a_network_of_one_peer_has_a_finite_bill() {
        let mut workload = hundred_peers(60.0, false);
        workload.peers = 1.0;
        let month = workload.month();
        assert!(month.body_bytes > 0.0 && month.read_units.is_finite());
    }
}
