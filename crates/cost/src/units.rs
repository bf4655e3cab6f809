//! The DynamoDB units that each operation uses, and the sizes of the items in the table.
//!
//! The units are those that `bench/units` counted on DynamoDB Local. A test compares them with the
//! record in docs/decisions/0003-dynamodb-model.md.

/// Read units of a registration, which reads the peer strongly before it writes, and counts the
/// peers of its source.
const REGISTRATION_READS: f64 = 1.5;
/// Read units of a deregistration, which reads the peer strongly before it deletes it.
const DEREGISTRATION_READS: f64 = 1.0;
/// Read units of a change, which is a registration or a deregistration. This is the average,
/// because there are as many registrations as deregistrations.
pub(crate) const CHANGE_READS: f64 = (REGISTRATION_READS + DEREGISTRATION_READS) / 2.0;
/// Read units of a heartbeat: one strong read of an item of at most 4 KiB.
pub(crate) const HEARTBEAT_READS: f64 = 1.0;
/// Write units of a heartbeat that writes: one item of at most 1 KiB, and no index.
pub(crate) const HEARTBEAT_WRITES: f64 = 1.0;
/// Bytes of a message: the description of a browser, signed (`scripts/check-channels`).
pub(crate) const MESSAGE_BYTES: f64 = 1_200.0;
/// Read units of sending a message: strong reads of the sender, of the receiver and of its mailbox.
pub(crate) const SEND_READS: f64 = 3.0;
/// Write units of sending a message to an empty mailbox. With the message, the mailbox is larger
/// than 1 KiB.
pub(crate) const SEND_WRITES: f64 = 2.0;
/// Read units of fetching mail: strong reads of the peer and of its mailbox.
pub(crate) const FETCH_READS: f64 = 2.0;
/// Write units of acknowledging a message. DynamoDB bills the larger of the old item and the new
/// one.
pub(crate) const ACKNOWLEDGE_WRITES: f64 = 2.0;
/// When the store writes a renewal, the stored lease ends later than the granted one. The
/// difference is the duration of the lease divided by this number (`AHEAD` of the store).
/// Heartbeats that arrive within this time after the renewal need no write.
const AHEAD: f64 = 3.0;
/// How much later than the interval a client's next heartbeat arrives, in seconds, because the
/// client counts the interval from the last response.
const LATE_SECONDS: f64 = 0.05;

/// Bytes of a peer's item, with a registration like those of legacy clients.
const PEER_BYTES: f64 = 415.0;
/// The number of source markers of each peer. A source marker is an item by which the store counts
/// the peers of a source.
const SOURCE_MARKERS: f64 = 1.0;
/// Bytes of the marker of an archetype. A peer has one for each of its archetypes.
const MARKER_BYTES: f64 = 90.0;
/// Bytes of the source marker.
const SOURCE_MARKER_BYTES: f64 = 105.0;
/// Bytes of an index entry.
const ENTRY_BYTES: f64 = 75.0;
/// The bytes that DynamoDB adds to each item and each index entry when it bills storage.
const ITEM_OVERHEAD_BYTES: f64 = 100.0;
/// Bytes that half a read unit covers, with eventual consistency.
const HALF_UNIT_BYTES: f64 = 4_096.0;

/// Up to this number of items, the store reads all items of a network for a discover
/// (`snapshot_items` of the store).
const SNAPSHOT_ITEMS: f64 = 1_000.0;
/// How long the store reuses what it has read of a network of at most `SNAPSHOT_ITEMS` items
/// (`snapshot_hold` of the store).
const SNAPSHOT_SECONDS: f64 = 4.0;
/// Read units for each peer of a sample from a larger network. A sample of 20 of 10,000 peers took
/// 17.15 units, and a sample of 20 of a million peers took no more.
const SAMPLE_READS_PER_PEER: f64 = 0.8575;

/// Write units of registering a new peer, and of a deregistration. Each of them writes or deletes
/// the peer and all its markers, in the table and in the index.
pub(crate) fn change_writes(archetypes: f64) -> f64 {
    2.0 * items(archetypes)
}

/// The items of a peer: its own, and its markers.
fn items(archetypes: f64) -> f64 {
    1.0 + archetypes + SOURCE_MARKERS
}

/// The fraction of heartbeats that cause a write, if peers send them every `interval` seconds on a
/// lease of `lease` seconds.
pub(crate) fn write_fraction(interval: f64, lease: f64) -> f64 {
    write_fraction_for_gap(interval + LATE_SECONDS, lease)
}

/// A heartbeat writes its renewal if it arrives later than a third of the lease after the last
/// renewal that was written.
fn write_fraction_for_gap(gap: f64, lease: f64) -> f64 {
    // Heartbeats within a third of the lease after a written renewal write nothing, and the next
    // one writes.
    1.0 / ((lease / AHEAD / gap).floor() + 1.0)
}

/// Read units of one discover in a network of `peers`, if one process receives `per_second`
/// discovers a second.
pub(crate) fn discover_reads(peers: f64, archetypes: f64, limit: f64, per_second: f64) -> f64 {
    if peers * items(archetypes) > SNAPSHOT_ITEMS {
        return SAMPLE_READS_PER_PEER * limit.min(peers);
    }
    // All requests that arrive while a snapshot is in use share its cost.
    snapshot_reads(peers, archetypes) / (1.0 + SNAPSHOT_SECONDS * per_second)
}

/// Read units for reading all items of a small network.
fn snapshot_reads(peers: f64, archetypes: f64) -> f64 {
    let bytes = peers * (PEER_BYTES + archetypes * MARKER_BYTES + SOURCE_MARKER_BYTES);
    // DynamoDB bills a scan half a unit for each 4 KiB, and at least half a unit.
    (bytes / HALF_UNIT_BYTES).ceil().max(1.0) / 2.0
}

/// The bytes of the table and its index, as DynamoDB bills them.
pub(crate) fn stored_bytes(peers: f64, archetypes: f64) -> f64 {
    let markers = archetypes * (MARKER_BYTES + ITEM_OVERHEAD_BYTES);
    let source_marker = SOURCE_MARKER_BYTES + ITEM_OVERHEAD_BYTES;
    let entries = items(archetypes) * (ENTRY_BYTES + ITEM_OVERHEAD_BYTES);
    peers * (PEER_BYTES + ITEM_OVERHEAD_BYTES + markers + source_marker + entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The read units and write units of an operation in a network of `peers`, from the table in
    /// docs/decisions/0003-dynamodb-model.md.
    fn recorded(operation: &str, peers: u32) -> (f64, f64) {
        let decision = include_str!("../../../docs/decisions/0003-dynamodb-model.md");
        let start = format!("| {operation} | {peers} | ");
        let row = decision.lines().find_map(|line| line.strip_prefix(&start));
        let row = row.unwrap_or_else(|| panic!("no row {start}"));
        let figures: Vec<f64> = row.split('|').filter_map(|cell| cell.trim().parse().ok()).collect();
        (figures[0], figures[1])
    }

    fn assert_near(computed: f64, counted: f64, tolerance: f64) {
        assert!((computed - counted).abs() <= tolerance * counted, "{computed} for {counted}");
    }

    #[test]
    fn the_units_are_those_that_were_counted_on_dynamodb_local() {
        for (operation, expected) in [
            ("register, new, 2 archetypes", REGISTRATION_READS),
            ("deregister, 2 archetypes", DEREGISTRATION_READS),
        ] {
            let (reads, writes) = recorded(operation, 20);
            assert_near(expected, reads, 0.0);
            assert_near(change_writes(2.0), writes, 0.0);
        }
        for interval in [60.0, 100.0, 150.0] {
            let (reads, writes) = recorded(&format!("heartbeat each {interval} s, lease 300 s"), 1);
            assert_near(HEARTBEAT_READS, reads, 0.0);
            assert_near(HEARTBEAT_WRITES * write_fraction_for_gap(interval, 300.0), writes, 0.005);
        }
        for (operation, expected_reads, expected_writes) in [
            ("send a message to an empty mailbox", SEND_READS, SEND_WRITES),
            ("fetch mail, none", FETCH_READS, 0.0),
            ("fetch mail, one message", FETCH_READS, 0.0),
            ("fetch mail and acknowledge one message", FETCH_READS, ACKNOWLEDGE_WRITES),
        ] {
            let (reads, writes) = recorded(operation, 20);
            assert_near(expected_reads, reads, 0.0);
            assert_near(expected_writes, writes, 0.0);
        }
        let (first, _) = recorded("discover 20 of one archetype, first of a process", 100);
        assert_near(snapshot_reads(100.0, 2.0), first, 0.0);
        let (spaced, _) = recorded("discover 20 of one archetype, one each 3 s", 100);
        assert_near(discover_reads(100.0, 2.0, 20.0, 1.0 / 3.0), spaced, 0.1);
        let (large, _) = recorded("discover 20 of one archetype, one after the other", 10_000);
        assert_near(discover_reads(10_000.0, 2.0, 20.0, 1.0), large, 0.01);
    }

    /// The fraction of heartbeats that cause a write, from a simulation of a month that decides for
    /// each heartbeat as the store does.
    fn simulated(gap_millis: u64, lease_millis: u64) -> f64 {
        let (mut expires_at, mut written, mut heartbeats) = (lease_millis, 0.0, 0.0);
        for now in (gap_millis..2_592_000_000).step_by(usize::try_from(gap_millis).unwrap()) {
            heartbeats += 1.0;
            if expires_at < now + lease_millis {
                written += 1.0;
                expires_at = now + lease_millis + lease_millis / 3;
            }
        }
        written / heartbeats
    }

    #[test]
    fn the_write_fraction_matches_a_simulated_month_of_heartbeats() {
        for (interval, lease) in
            [(60, 300), (100, 300), (99, 300), (150, 300), (30, 300), (10, 300), (200, 600), (20, 60)]
        {
            let simulated = simulated(interval * 1_000 + 50, lease * 1_000);
            let interval = f64::from(u32::try_from(interval).unwrap());
            let lease = f64::from(u32::try_from(lease).unwrap());
            assert_near(write_fraction(interval, lease), simulated, 0.001);
        }
    }

    #[test]
    fn a_heartbeat_interval_of_a_third_of_the_lease_writes_every_time() {
        assert_near(write_fraction(100.0, 300.0), 1.0, 0.0);
        assert_near(write_fraction(99.0, 300.0), 0.5, 0.0);
    }

    #[test]
    fn the_constants_are_those_of_the_store() {
        let options = include_str!("../../dynamodb/src/options.rs");
        assert!(options.contains("snapshot_hold: Duration::from_secs(4)"));
        assert!(options.contains("snapshot_items: 1_000"));
        assert!(include_str!("../../dynamodb/src/renew.rs").contains("const AHEAD: u64 = 3;"));
    }
}
