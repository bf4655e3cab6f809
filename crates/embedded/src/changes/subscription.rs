//! The subscriptions of the watchers: which watcher waits for which changes.
//!
//! Watchers are registered by topic: an archetype, or all peers. A change looks up its own topics
//! only, so its cost does not depend on the number of watchers. If watchers wait for a topic, the
//! change adds the topic to the list of pending topics, unless the list has it already. The
//! watchers are woken later, after the index is unlocked.

use std::sync::Arc;

use hashbrown::HashMap;

use super::change::{Change, Filter};
use super::signal::WakeSignal;

/// What a watcher subscribes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    All,
    /// The peers with one archetype, which is given by its hash.
    Archetype(u64),
}

/// The state of a topic. It exists as long as the topic has watchers.
struct TopicState {
    watchers: usize,
    /// The number of changes up to and including the latest one that concerned the topic.
    last: u64,
    /// While the topic is on the list of pending topics: the offset of the first change that its
    /// watchers have not been woken for.
    pending: Option<u64>,
    /// The signals of the watchers that wait for the next change, by watcher number.
    waiting: HashMap<u64, Arc<WakeSignal>>,
}

/// All topics. A change of a topic without watchers costs one look-up and wakes no watcher.
#[derive(Default)]
pub(super) struct Subscriptions {
    topics: HashMap<Topic, TopicState>,
    /// Topics with waiting watchers that must be woken for a change.
    pending: Vec<Topic>,
    watchers: u64,
}

impl Topic {
    /// The topics of a filter.
    pub(super) fn of(filter: &Filter) -> impl Iterator<Item = Self> {
        let all = filter.wanted.is_empty().then_some(Self::All);
        all.into_iter().chain(filter.wanted.iter().copied().map(Self::Archetype))
    }
}

impl Subscriptions {
    /// Registers a watcher and returns its number. For a topic without watchers, earlier changes
    /// were not tracked, so all changes up to `end` are assumed to concern it.
    pub(super) fn add(&mut self, filter: &Filter, end: u64) -> u64 {
        for topic in Topic::of(filter) {
            let new_topic = || TopicState { watchers: 0, last: end, pending: None, waiting: HashMap::new() };
            self.topics.entry(topic).or_insert_with(new_topic).watchers += 1;
        }
        self.watchers += 1;
        self.watchers
    }

    /// Unregisters a watcher.
    pub(super) fn remove(&mut self, filter: &Filter, number: u64) {
        for topic in Topic::of(filter) {
            let Some(state) = self.topics.get_mut(&topic) else { continue };
            state.waiting.remove(&number);
            state.watchers -= 1;
            // Topics come from clients, so their state must not outlive their watchers.
            if state.watchers == 0 {
                self.topics.remove(&topic);
            }
        }
    }

    /// Records the change with the number `count` for its topics. Returns whether any watcher
    /// must be woken.
    pub(super) fn record(&mut self, change: &Change, count: u64) -> bool {
        // Without watchers, the archetypes of the change need not be looked up.
        if self.topics.is_empty() {
            return false;
        }
        for topic in change.archetypes().map(Topic::Archetype).chain([Topic::All]) {
            let Some(state) = self.topics.get_mut(&topic) else { continue };
            state.last = count;
            if !state.waiting.is_empty() && state.pending.is_none() {
                // The offset of a change is one less than its number, because numbers start at 1.
                state.pending = Some(count - 1);
                self.pending.push(topic);
            }
        }
        !self.pending.is_empty()
    }

    /// Records that an earlier change of these topics is now part of the change with the number
    /// `count`. The watchers of these topics were woken for the earlier change. A watcher that has
    /// not read it yet now finds it at the number `count`.
    pub(super) fn advance(&mut self, archetypes: impl Iterator<Item = u64>, count: u64) {
        for topic in archetypes.map(Topic::Archetype) {
            if let Some(state) = self.topics.get_mut(&topic) {
                state.last = count;
            }
        }
    }

    /// Whether any change from offset `offset` on may match a filter. A `true` may be wrong (see
    /// [`Subscriptions::add`]); a `false` is always right.
    pub(super) fn may_have_changes(&self, filter: &Filter, offset: u64) -> bool {
        Topic::of(filter).any(|topic| self.topics.get(&topic).is_some_and(|state| state.last > offset))
    }

    /// Registers a watcher to be woken by the next change that concerns it.
    pub(super) fn wait(&mut self, filter: &Filter, number: u64, signal: &Arc<WakeSignal>) {
        for topic in Topic::of(filter) {
            if let Some(state) = self.topics.get_mut(&topic) {
                state.waiting.entry(number).or_insert_with(|| signal.clone());
            }
        }
    }

    /// The signals of all watchers that wait for a pending topic. These watchers stop waiting, and
    /// each signal records the offset of the first change that concerns its watcher.
    pub(super) fn take_signals(&mut self) -> Vec<Arc<WakeSignal>> {
        let mut signals = Vec::new();
        for topic in std::mem::take(&mut self.pending) {
            if let Some(state) = self.topics.get_mut(&topic) {
                let offset = state.pending.take().unwrap_or_default();
                let waiting = state.waiting.drain().map(|(_, signal)| signal);
                signals.extend(waiting.inspect(|signal| signal.record(offset)));
            }
        }
        signals
    }

    #[cfg(test)]
    pub(super) fn topics(&self) -> usize {
        self.topics.len()
    }
}
