//! The largest bill that one caller can cause. For each kind of request, it is computed as if the
//! caller sent the most expensive requests for a whole month, at the default throttle of the API,
//! behind a REST API.
//!
//! One caller has one source, so it has at most [`PEERS_PER_SOURCE`] live peers of its own. It can
//! also send heartbeats for the peers of others. That adds few writes: the store writes a lease at
//! most three times per lease duration, and the peers' own heartbeats cause such writes anyway.
//!
//! The bytes and the read units of a page are bounded (`MaxPageBytes`), and a page in the response
//! to a request that changes peers has only a share of that bound. Without the bound, a page of 1
//! MiB with a thousand peers would cost 54 times as much as its request.

use serde::Serialize;

use crate::bill::{BYTES_PER_GB, EndpointKind, MILLION};
use crate::prices::Prices;
use crate::workload::MONTH_SECONDS;

/// The default of the template's `ThrottleRate`, in requests per second.
const THROTTLE: f64 = 200.0;
/// The default bounds of the registry on a table.
const ARCHETYPES_PER_PEER: f64 = 8.0;
const PEERS_PER_SOURCE: f64 = 1_024.0;
/// The shortest lease that a peer may request, in seconds.
const SHORTEST_LEASE: f64 = 30.0;
/// Write units of the largest item. It has 4 KiB of metadata, and archetypes that take twice as
/// many bytes when they are escaped.
const LARGEST_ITEM: f64 = 7.0;
/// Read units of a strongly consistent read of that item. An eventually consistent read takes half
/// as many.
const LARGEST_ITEM_READ: f64 = 2.0;
/// Write units for creating or deleting a marker, with its index entry.
const MARKER: f64 = 2.0;
/// The peers in one heartbeat request, and the bytes of each result with the longest id.
const HEARTBEATS_PER_REQUEST: f64 = 100.0;
const RESULT_BYTES: f64 = 230.0;
/// The maximum number of bytes of a page, which may cost one read unit for each KiB of this
/// maximum.
const PAGE_BYTES: f64 = 131_072.0;
const BYTES_PER_READ: f64 = 1_024.0;
/// The bytes and read units of a page in the response to a registration are divided by this number.
/// In the response to heartbeats, they are divided by [`HEARTBEATS_PER_REQUEST`].
const REGISTRATION_SHARE: f64 = 16.0;
/// Read units by which a page may exceed its bound, because the cost of a read is known only
/// afterwards. The store may have begun four reads, each of a hundred index entries of the largest
/// size, 670 bytes.
const EXCESS_READS: f64 = 4.0 * 100.0 * 670.0 / 8_192.0;
/// Read units by which a page in the response to a request that changes peers may exceed its bound.
/// For such a page, the store reads less at a time. The excess is one more range of index entries
/// for each of eight archetypes, at half a unit each, and the largest peer.
const EXCESS_READS_WITH_CHANGES: f64 = 8.0 / 2.0 + LARGEST_ITEM_READ / 2.0;
/// Read units for a newcomer from a source with many peers. To count the peers of the source, the
/// store reads up to four times as many index entries as the source may have peers, with 85 bytes
/// each, and up to a hundred peers.
const COUNT_READS: f64 = 4.0 * PEERS_PER_SOURCE * 85.0 / 8_192.0 + 100.0 * LARGEST_ITEM_READ / 2.0;
/// The billed duration of a request in milliseconds, including the time in which the function waits
/// for its reads and writes.
const BILLED_MILLIS: f64 = 100.0;
/// The memory of the function.
const MEMORY_GB: f64 = 0.25;

/// The bill for one kind of request at the throttle, in US dollars a month.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct WorstBill {
    pub(crate) requests: &'static str,
    pub(crate) write_units_per_request: f64,
    pub(crate) read_units_per_request: f64,
    pub(crate) dollars: f64,
    /// `dollars` divided by the price of the requests alone.
    pub(crate) times_requests: f64,
}

/// The price of a month of requests at the throttle to the API and to Lambda, without the duration,
/// the units and the traffic that the requests cause.
pub(crate) fn requests_alone(prices: &Prices) -> f64 {
    THROTTLE * MONTH_SECONDS / MILLION * request_price(prices)
}

/// The price of a million requests to the API and to Lambda.
fn request_price(prices: &Prices) -> f64 {
    prices.rest_per_million + prices.lambda_requests_per_million
}

/// The worst bill of each kind of request.
pub(crate) fn bills(prices: &Prices) -> [WorstBill; 5] {
    [
        bill("registrations", worst_registration(), prices),
        bill("registrations with a page", with_page(worst_registration(), REGISTRATION_SHARE), prices),
        bill("heartbeats of 100 peers", worst_heartbeats(), prices),
        bill(
            "heartbeats of 100 peers with a page",
            with_page(worst_heartbeats(), HEARTBEATS_PER_REQUEST),
            prices,
        ),
        bill("discovers", worst_discover(), prices),
    ]
}

/// The write units, read units and bytes of the most expensive registration.
///
/// A peer that replaces all its archetypes deletes a marker for each old one and writes a marker
/// for each new one. It also writes its own item and the marker of its source. A newcomer writes
/// less. But it may evict a dormant peer of its source, which costs as many writes as the newcomer
/// itself. At a source with the maximum number of live peers, a newcomer is admitted only when the
/// lease of one of these peers ends. At the throttle, newcomers are therefore only about one in six
/// registrations.
fn worst_registration() -> [f64; 3] {
    let replaced = LARGEST_ITEM + MARKER + 2.0 * MARKER * ARCHETYPES_PER_PEER;
    let whole_peer = LARGEST_ITEM + 1.0 + MARKER * (ARCHETYPES_PER_PEER + 1.0);
    let newcomers = PEERS_PER_SOURCE / SHORTEST_LEASE / THROTTLE;
    let writes = (1.0 - newcomers) * replaced + newcomers * 2.0 * whole_peer;
    let reads = LARGEST_ITEM_READ + newcomers * COUNT_READS;
    [writes, reads, 400.0]
}

/// The write units, read units and bytes of the most expensive discover: its page has the maximum
/// number of bytes, and its reads reach their bound. In a small network, a page costs a share of a
/// scan instead, for which the same bound applies.
fn worst_discover() -> [f64; 3] {
    [0.0, PAGE_BYTES / BYTES_PER_READ + EXCESS_READS, PAGE_BYTES]
}

/// Adds a page to a request. The bytes and the reads of the page are divided by `share`.
fn with_page([writes, reads, bytes]: [f64; 3], share: f64) -> [f64; 3] {
    let page_bytes = PAGE_BYTES / share;
    [writes, reads + page_bytes / BYTES_PER_READ + EXCESS_READS_WITH_CHANGES, bytes + page_bytes]
}

/// The write units, read units and bytes of the largest heartbeat request.
///
/// Each request has a hundred heartbeats, and each heartbeat reads a peer. The caller has
/// [`PEERS_PER_SOURCE`] live peers and as many dormant ones. Each of them is written three times
/// per lease duration.
fn worst_heartbeats() -> [f64; 3] {
    let writes = 2.0 * PEERS_PER_SOURCE * LARGEST_ITEM * 3.0 / SHORTEST_LEASE / THROTTLE;
    [writes, LARGEST_ITEM_READ * HEARTBEATS_PER_REQUEST, RESULT_BYTES * HEARTBEATS_PER_REQUEST]
}

fn bill(requests: &'static str, [writes, reads, bytes]: [f64; 3], prices: &Prices) -> WorstBill {
    let per_million = request_price(prices)
        + BILLED_MILLIS / 1_000.0 * MEMORY_GB * prices.arm64_per_gb_second * MILLION
        + writes * prices.write_units_per_million
        + reads * prices.read_units_per_million
        + (bytes + EndpointKind::Rest.head_bytes()) * MILLION / BYTES_PER_GB * prices.egress_per_gb;
    WorstBill {
        requests,
        write_units_per_request: writes,
        read_units_per_request: reads,
        dollars: THROTTLE * MONTH_SECONDS / MILLION * per_million,
        times_requests: per_million / request_price(prices),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_request_costs_at_most_ten_times_its_requests() {
        let prices = Prices::built_in().unwrap();
        let alone = requests_alone(&prices);
        assert!((1_910.0..1_925.0).contains(&alone), "{alone}");
        for worst in &bills(&prices) {
            assert!((8.0..=10.0).contains(&worst.times_requests), "{worst:?}");
            assert!((worst.dollars / alone - worst.times_requests).abs() < 1e-9);
        }
    }

    #[test]
    fn pages_of_a_megabyte_and_a_thousand_peers_would_cost_fifty_times_their_requests() {
        let prices = Prices::built_in().unwrap();
        let [traffic, small] = [1_048_576.0, 225.0 * 20.0].map(|bytes| bill("", [0.0, 0.0, bytes], &prices));
        assert!((24.0..26.0).contains(&traffic.times_requests), "{traffic:?}");
        assert!(small.times_requests < 2.0, "{small:?}");
        let whole = bill("", [0.0, 857.5, 1_048_576.0], &prices);
        assert!((50.0..55.0).contains(&whole.times_requests), "{whole:?}");
    }

    /// The registration writes a new source marker. If it comes from another IPv4 /16 or IPv6 /32,
    /// the index entry of the peer changes as well.
    #[test]
    fn a_registration_that_moves_to_another_source_costs_less_than_ten_times_its_request() {
        let prices = Prices::built_in().unwrap();
        let writes = LARGEST_ITEM + 2.0 * MARKER + 2.0 * MARKER * ARCHETYPES_PER_PEER;
        let moved = bill("", [writes, LARGEST_ITEM_READ, 400.0], &prices);
        assert!(moved.times_requests < 10.0, "{moved:?}");
    }

    #[test]
    fn a_registration_with_32_archetypes_would_cost_more_than_twenty_times_its_request() {
        let prices = Prices::built_in().unwrap();
        let writes = LARGEST_ITEM + 1.0 + 2.0 * MARKER * 32.0;
        assert!(bill("", [writes, LARGEST_ITEM_READ, 400.0], &prices).times_requests > 20.0);
    }

    #[test]
    fn the_bounds_are_those_of_the_template_and_the_store() {
        let template = include_str!("../../../Infrastructure/P2P/cloudformation.yaml");
        let default = |parameter: &str| {
            let (_, after) = template.split_once(&format!("\n  {parameter}:\n")).unwrap();
            let (_, value) = after.split_once("Default: ").unwrap();
            value.lines().next().unwrap().parse::<f64>().unwrap()
        };
        for (parameter, value) in [
            ("ThrottleRate", THROTTLE),
            ("MaxArchetypesPerPeer", ARCHETYPES_PER_PEER),
            ("MaxPeersPerSource", PEERS_PER_SOURCE),
            ("MinLeaseSeconds", SHORTEST_LEASE),
            ("MaxPageBytes", PAGE_BYTES),
        ] {
            assert!((default(parameter) - value).abs() < 1e-9, "{parameter}");
        }
        let bound = include_str!("../../dynamodb/src/source_bound.rs");
        assert!(bound.contains("MAX_READ: usize = 100;") && bound.contains("MAX_COUNTED: u64 = 4;"));
        let sample = include_str!("../../dynamodb/src/sample.rs");
        assert!(sample.contains("MAX_SPARE_WINDOWS: usize = 4;"));
        let window = include_str!("../../dynamodb/src/window.rs");
        assert!(window.contains("LARGE_MEAN: u64 = 100;"));
        let settings = include_str!("../../settings/src/limits.rs");
        assert!(settings.contains("BYTES_PER_READ_UNIT: u32 = 1_024;"));
        let limits = include_str!("../../registry/src/limits.rs");
        assert!(limits.contains("REGISTRATION_AS_RENEWALS: usize = 16;"));
    }
}
