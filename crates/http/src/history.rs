//! The history of the network in the last minutes: the changes that this process has seen.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use aurora_discovery_protocol::{NetworkRates, Timestamp};

use crate::metrics::Metrics;

const MILLIS_PER_MINUTE: u64 = 60_000;
/// The time span of the history: long enough to smooth the rates, and short enough that they
/// describe the present.
const SPAN_MILLIS: u64 = 5 * MILLIS_PER_MINUTE;
/// The minimum time between two snapshots, which limits their number.
const STEP_MILLIS: u64 = 5_000;

/// Counts at one moment: live peers, and events since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) at: Timestamp,
    pub(crate) live: u64,
    pub(crate) left: u64,
    pub(crate) expired: u64,
    pub(crate) revived: u64,
    /// Pages of peers that were returned.
    pub(crate) pages: u64,
    /// Responses of `/discover` with the changes since a cursor, and streams of `/watch` that were
    /// opened. Here and in `streams`, the streams of observers are left out.
    pub(crate) follows: u64,
    /// Streams of `/watch` that were open at that moment.
    pub(crate) streams: u64,
}

impl Snapshot {
    /// The counts at `at`, with `live` live peers.
    pub(crate) fn of(metrics: &Metrics, live: u64, at: Timestamp) -> Self {
        Self {
            at,
            live,
            // Dormant peers that deregister are not counted, because they left the network when
            // their leases ended.
            left: metrics.deregistrations.get().saturating_sub(metrics.dormant_deregistrations.get())
                + metrics.operator_evictions.get(),
            expired: metrics.expiries.get(),
            revived: metrics.revivals.get(),
            pages: metrics.pages.get(),
            // An observer watches the network without being a part of it (`view=observer`).
            follows: metrics.deltas.get()
                + metrics.watch_begun.get().saturating_sub(metrics.watch_observers_begun.get()),
            streams: (metrics.watch_streams.get() - metrics.watch_observers.get())
                .try_into()
                .unwrap_or_default(),
        }
    }

    /// Whether no client requested peers or followed changes between this snapshot and `later`.
    fn is_silent_until(&self, later: &Self) -> bool {
        (self.pages, self.follows, self.streams) == (later.pages, later.follows, 0)
    }
}

/// The snapshots of the last five minutes and the one before them, in order.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<VecDeque<Snapshot>>);

/// What the history says about the last minutes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    /// `None` until the history covers a minute.
    pub(crate) rates: Option<NetworkRates>,
    /// For how many whole minutes no client has requested a page of peers or followed changes.
    pub(crate) silent_minutes: u64,
    /// Whether any client followed changes, by requests with a cursor or with a stream.
    pub(crate) is_followed: bool,
    /// The maximum number of live peers.
    pub(crate) max_live: u64,
}

impl History {
    /// Whether a new snapshot is due.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        let snapshots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        snapshots.back().is_none_or(|last| now < last.at || now.millis_since(last.at) >= STEP_MILLIS)
    }

    /// Records a snapshot.
    pub(crate) fn record(&self, snapshot: Snapshot) {
        let mut snapshots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // After the clock was set back, the earlier snapshots are not comparable.
        if snapshots.back().is_some_and(|last| snapshot.at < last.at) {
            snapshots.clear();
        }
        // Keeps one snapshot that is older than the span, so that the history covers the whole
        // span.
        while snapshots.get(1).is_some_and(|second| snapshot.at.millis_since(second.at) >= SPAN_MILLIS) {
            snapshots.pop_front();
        }
        snapshots.push_back(snapshot);
    }

    /// A summary of the snapshots up to `now`; `None` if there are none.
    pub(crate) fn summary(&self, now: Snapshot) -> Option<Summary> {
        let snapshots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = *snapshots.front()?;
        // The latest snapshots after which no client has requested peers or followed changes,
        // newest first. The silence began at the oldest of them.
        let silent = snapshots.iter().rev().take_while(|snapshot| snapshot.is_silent_until(&now));
        let silent_since = silent.last().filter(|_| now.streams == 0).map_or(now.at, |one| one.at);
        // A stream that was opened and closed between two snapshots shows in `follows`.
        let is_followed = now.follows != first.follows
            || now.streams > 0
            || snapshots.iter().any(|snapshot| snapshot.streams > 0);
        Some(Summary {
            rates: rates(first, now),
            silent_minutes: now.at.millis_since(silent_since) / MILLIS_PER_MINUTE,
            is_followed,
            max_live: snapshots.iter().map(|snapshot| snapshot.live).max().unwrap_or_default(),
        })
    }
}

/// Rounds `value` to a multiple of 1 / `steps`.
pub(crate) fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

fn rates(first: Snapshot, now: Snapshot) -> Option<NetworkRates> {
    let millis = now.at.millis_since(first.at);
    // The oldest snapshot may be slightly older than the span. The reported minutes are still at
    // most the span.
    let minutes = (millis / MILLIS_PER_MINUTE).min(SPAN_MILLIS / MILLIS_PER_MINUTE);
    if minutes == 0 {
        return None;
    }
    // Divides by the exact time, because snapshots are not taken on whole minutes.
    let per_minute = |count: u64| rounded(count as f64 * MILLIS_PER_MINUTE as f64 / millis as f64, 10.0);
    let since = |counted: fn(&Snapshot) -> u64| counted(&now).saturating_sub(counted(&first));
    let (left, expired, revived) = (
        since(|snapshot| snapshot.left),
        since(|snapshot| snapshot.expired),
        since(|snapshot| snapshot.revived),
    );
    // The number of live peers grows by the peers that joined or were revived, and shrinks by those
    // that left or expired. The number that joined is computed from the other numbers.
    let joined = (now.live + left + expired).saturating_sub(first.live + revived);
    Some(NetworkRates {
        minutes,
        joins_per_minute: per_minute(joined),
        leaves_per_minute: per_minute(left),
        expiries_per_minute: per_minute(expired),
        revivals_per_minute: per_minute(revived),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(seconds: u64, live: u64) -> Snapshot {
        Snapshot { at: Timestamp::from_secs(1_000_000 + seconds), live, ..Snapshot::default() }
    }

    #[test]
    fn rates_are_averages_over_the_recorded_minutes() {
        let history = History::default();
        assert_eq!(history.summary(moment(0, 3)), None);
        history.record(moment(0, 3));
        assert_eq!(history.summary(moment(59, 3)).unwrap().rates, None);
        let now = Snapshot { left: 2, expired: 4, revived: 1, ..moment(120, 10) };
        let rates = history.summary(now).unwrap().rates.unwrap();
        assert_eq!((rates.minutes, rates.leaves_per_minute, rates.expiries_per_minute), (2, 1.0, 2.0));
        // Three peers were live at first, one was revived, two left, and four expired. Ten are live
        // now, so twelve have joined.
        assert_eq!((rates.joins_per_minute, rates.revivals_per_minute), (6.0, 0.5));
    }

    #[test]
    fn snapshots_older_than_five_minutes_are_dropped() {
        let history = History::default();
        for second in (0..1_200).step_by(5) {
            let now = moment(second, 2 * second);
            assert!(history.is_due(now.at));
            history.record(now);
            assert!(!history.is_due(now.at));
        }
        let summary = history.summary(moment(1_200, 2_400)).unwrap();
        assert_eq!(summary.rates.unwrap().minutes, 5);
        assert_eq!(summary.rates.unwrap().joins_per_minute, 120.0);
        assert!(history.0.lock().unwrap().len() <= 62);
    }

    #[test]
    fn silence_is_counted_in_whole_minutes() {
        let history = History::default();
        for second in 0..40 {
            history.record(Snapshot { pages: second.min(10), ..moment(second * 5, 1) });
        }
        let after = |seconds, pages| {
            history.summary(Snapshot { pages, ..moment(seconds, 1) }).unwrap().silent_minutes
        };
        assert_eq!((after(200, 10), after(229, 10), after(230, 10), after(230, 11)), (2, 2, 3, 0));
    }

    #[test]
    fn a_client_that_follows_changes_ends_the_silence_until_it_stops() {
        let history = History::default();
        for second in (0..=200).step_by(5) {
            let follows = u64::from(second >= 40);
            let streams = u64::from((100..140).contains(&second));
            history.record(Snapshot { follows, streams, ..moment(second, 1) });
        }
        let after = |seconds, follows, streams| {
            let summary = history.summary(Snapshot { follows, streams, ..moment(seconds, 1) }).unwrap();
            (summary.silent_minutes, summary.is_followed)
        };
        assert_eq!(after(199, 1, 0), (0, true));
        assert_eq!(after(200, 1, 0), (1, true));
        assert_eq!((after(200, 2, 0), after(200, 1, 1)), ((0, true), (0, true)));
        let unwatched = History::default();
        unwatched.record(moment(0, 1));
        assert!(!unwatched.summary(moment(60, 1)).unwrap().is_followed);
    }

    #[test]
    fn a_clock_that_is_set_back_restarts_the_history() {
        let history = History::default();
        history.record(moment(10_000, 5));
        assert!(history.is_due(moment(0, 5).at));
        history.record(moment(0, 5));
        assert_eq!(history.summary(moment(60, 5)).unwrap().rates.unwrap().minutes, 1);
    }
}
