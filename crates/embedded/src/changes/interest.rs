//! Tracks which watchers wait for which changes.
//!
//! Watchers are registered by topic: an archetype, or all peers. A change looks up its own topics
//! only, so its cost does not depend on the number of watchers. If watchers wait for a topic, the
//! change adds the topic to the list of ringing topics, at most once until it rings. The watchers
//! are woken later, after the index is unlocked.

use std::sync::Arc;

use hashbrown::HashMap;

use super::bell::Bell;
use super::change::{Change, Filter};

/// What a watcher subscribes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    All,
    /// The peers with an archetype, which is hashed.
    Carriers(u64),
}

/// The state of a topic. It exists as long as the topic has watchers.
struct Interest {
    watchers: usize,
    /// The number of changes up to and including the latest one that concerned the topic.
    last: u64,
    /// The number of changes before the first one that the topic rings for, while it is on the list
    /// of ringing topics.
    ringing: Option<u64>,
    /// The bells of the watchers that wait for the next change, by watcher number.
    waiting: HashMap<u64, Arc<Bell>>,
}

/// All topics. A change of a topic without watchers costs one look-up and wakes no one.
#[derive(Default)]
pub(super) struct Interests {
    topics: HashMap<Topic, Interest>,
    /// Topics that have waiting watchers and that a change has concerned.
    ringing: Vec<Topic>,
    watchers: u64,
}

impl Topic {
    /// The topics of a filter.
    pub(super) fn of(filter: &Filter) -> impl Iterator<Item = Self> {
        let all = filter.wanted.is_empty().then_some(Self::All);
        all.into_iter().chain(filter.wanted.iter().copied().map(Self::Carriers))
    }
}

impl Interests {
    /// Registers a watcher and returns its number. For a topic without watchers, earlier changes
    /// were not tracked, so all changes up to `end` are assumed to concern it.
    pub(super) fn add(&mut self, filter: &Filter, end: u64) -> u64 {
        for topic in Topic::of(filter) {
            let fresh = || Interest { watchers: 0, last: end, ringing: None, waiting: HashMap::new() };
            self.topics.entry(topic).or_insert_with(fresh).watchers += 1;
        }
        self.watchers += 1;
        self.watchers
    }

    /// Unregisters a watcher.
    pub(super) fn remove(&mut self, filter: &Filter, number: u64) {
        for topic in Topic::of(filter) {
            let Some(interest) = self.topics.get_mut(&topic) else { continue };
            interest.waiting.remove(&number);
            interest.watchers -= 1;
            if interest.watchers == 0 {
                self.topics.remove(&topic);
            }
        }
    }

    /// Records the `count`th change with the topics that it concerns. Returns whether any watcher
    /// must be woken.
    pub(super) fn concern(&mut self, change: &Change, count: u64) -> bool {
        if self.topics.is_empty() {
            return false;
        }
        for topic in change.traits().map(Topic::Carriers).chain([Topic::All]) {
            let Some(interest) = self.topics.get_mut(&topic) else { continue };
            interest.last = count;
            if !interest.waiting.is_empty() && interest.ringing.is_none() {
                interest.ringing = Some(count - 1);
                self.ringing.push(topic);
            }
        }
        !self.ringing.is_empty()
    }

    /// Whether any change after the first `count` may match a filter. A `true` may be wrong (see
    /// [`Interests::add`]); a `false` is always right.
    pub(super) fn has_news(&self, filter: &Filter, count: u64) -> bool {
        Topic::of(filter).any(|topic| self.topics.get(&topic).is_some_and(|interest| interest.last > count))
    }

    /// Registers a watcher to be woken by the next change that concerns it.
    pub(super) fn wait(&mut self, filter: &Filter, number: u64, bell: &Arc<Bell>) {
        for topic in Topic::of(filter) {
            if let Some(interest) = self.topics.get_mut(&topic) {
                interest.waiting.entry(number).or_insert_with(|| bell.clone());
            }
        }
    }

    /// The bells to ring: those of all watchers that wait for a ringing topic. These watchers stop
    /// waiting, and each bell records where the news begins.
    pub(super) fn take_ringing(&mut self) -> Vec<Arc<Bell>> {
        let mut bells = Vec::new();
        for topic in std::mem::take(&mut self.ringing) {
            if let Some(interest) = self.topics.get_mut(&topic) {
                let behind = interest.ringing.take().unwrap_or_default();
                let waiting = interest.waiting.drain().map(|(_, bell)| bell);
                bells.extend(waiting.inspect(|bell| bell.note(behind)));
            }
        }
        bells
    }

    #[cfg(test)]
    pub(super) fn topics(&self) -> usize {
        self.topics.len()
    }
}
