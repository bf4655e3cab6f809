//! Who waits for changes of what.

use std::sync::Arc;

use hashbrown::HashMap;

use super::bell::Bell;
use super::change::{Change, Filter};

/// What a watcher is interested in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    All,
    /// The carriers of an archetype, hashed.
    Carriers(u64),
}

/// What somebody watches, while anybody does.
struct Interest {
    watchers: usize,
    /// How many changes there were with the last one that concerned it.
    last: u64,
    /// Whether it is among those that ring next, and how many changes there were before the first that it rings for.
    ringing: Option<u64>,
    /// Who wants to be woken by the next, by number.
    waiting: HashMap<u64, Arc<Bell>>,
}

/// All that is watched. A change of what nobody watches costs a look-up, and wakes nobody.
#[derive(Default)]
pub(super) struct Interests {
    topics: HashMap<Topic, Interest>,
    /// Topics that somebody waits for and that a change has concerned.
    ringing: Vec<Topic>,
    watchers: u64,
}

impl Topic {
    /// What a filter is interested in.
    pub(super) fn of(filter: &Filter) -> impl Iterator<Item = Self> {
        let all = filter.wanted.is_empty().then_some(Self::All);
        all.into_iter().chain(filter.wanted.iter().copied().map(Self::Carriers))
    }
}

impl Interests {
    /// Lets one more watch; answers its number. Where nobody did before, whatever came until now may concern it.
    pub(super) fn add(&mut self, filter: &Filter, end: u64) -> u64 {
        for topic in Topic::of(filter) {
            let fresh = || Interest { watchers: 0, last: end, ringing: None, waiting: HashMap::new() };
            self.topics.entry(topic).or_insert_with(fresh).watchers += 1;
        }
        self.watchers += 1;
        self.watchers
    }

    /// One watches no more.
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

    /// Notes whom a change concerns, which is the `count`th. Answers whether anybody is to be woken.
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

    /// Whether anything behind the first `count` changes may match a filter.
    pub(super) fn has_news(&self, filter: &Filter, count: u64) -> bool {
        Topic::of(filter).any(|topic| self.topics.get(&topic).is_some_and(|interest| interest.last > count))
    }

    /// Has a watcher woken by the next change that concerns it.
    pub(super) fn wait(&mut self, filter: &Filter, number: u64, bell: &Arc<Bell>) {
        for topic in Topic::of(filter) {
            if let Some(interest) = self.topics.get_mut(&topic) {
                interest.waiting.entry(number).or_insert_with(|| bell.clone());
            }
        }
    }

    /// Whom to wake: everybody who waits for what a change has concerned. They wait no longer, and know from where on to look.
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
