//! Every watcher there is, and the names that lead to them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::ids::WatcherKey;
use crate::base::CollectOrdered as _;
use crate::config::WatcherConfig;
use crate::proto::Fault;

/// The watchers, also those that were removed and are still stopping.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Fleet {
    pub(in crate::arbiter) watchers: BTreeMap<WatcherKey, Watcher>,
    /// Lower-case names; of two watchers with the same name, the later one.
    names: HashMap<String, WatcherKey>,
    next: u32,
}

fn unknown(name: &str) -> Fault {
    Fault::message(format!("program {name} not found"))
}

impl Fleet {
    pub(in crate::arbiter) fn get(&self, key: WatcherKey) -> Option<&Watcher> {
        self.watchers.get(&key)
    }

    pub(in crate::arbiter) fn keys(&self) -> Vec<WatcherKey> {
        self.watchers.keys().copied().collect()
    }

    /// The watcher of this name, in any case.
    pub(in crate::arbiter) fn find(&self, name: &str) -> Result<WatcherKey, Fault> {
        self.names.get(&name.to_lowercase()).copied().ok_or_else(|| unknown(name))
    }

    pub(in crate::arbiter) fn named(&self, name: &str) -> Result<&Watcher, Fault> {
        self.watchers.get(&self.find(name)?).ok_or_else(|| unknown(name))
    }

    pub(in crate::arbiter) fn named_mut(&mut self, name: &str) -> Result<&mut Watcher, Fault> {
        let key = self.find(name)?;
        self.watchers.get_mut(&key).ok_or_else(|| unknown(name))
    }

    /// The watchers that clients see.
    pub(in crate::arbiter) fn shown(&self) -> impl Iterator<Item = &Watcher> {
        self.watchers.values().filter(|watcher| !watcher.removed)
    }

    /// Every watcher, the greatest priority first, and among equals in order of arrival.
    pub(in crate::arbiter) fn by_priority(&self) -> Vec<WatcherKey> {
        let mut keys = self.keys();
        keys.sort_by_key(|key| Reverse(self.priority(*key)));
        keys
    }

    pub(in crate::arbiter) fn priority(&self, key: WatcherKey) -> i64 {
        self.get(key).map_or(0, |watcher| watcher.config.priority)
    }

    /// Those of them that start by themselves.
    pub(in crate::arbiter) fn autostarting(&self, mut keys: Vec<WatcherKey>) -> Vec<WatcherKey> {
        keys.retain(|key| self.get(*key).is_some_and(|w| w.config.autostart && !w.removed));
        keys
    }

    /// Those of them that a reload of all means: not those that a command has stopped, or that do not start by themselves.
    pub(in crate::arbiter) fn wanted(&self, mut keys: Vec<WatcherKey>) -> Vec<WatcherKey> {
        keys.retain(|key| {
            self.get(*key).is_some_and(|watcher| !watcher.removed && (watcher.is_up() || watcher.wanted))
        });
        keys
    }

    /// Those of them that clients see.
    pub(in crate::arbiter) fn visible(&self, mut keys: Vec<WatcherKey>) -> Vec<WatcherKey> {
        keys.retain(|key| self.get(*key).is_some_and(|watcher| !watcher.removed));
        keys
    }

    /// A watcher of the file.
    pub(in crate::arbiter) fn register(&mut self, config: Arc<WatcherConfig>) -> WatcherKey {
        let mut watcher = Watcher::new(WatcherKey(self.next), Arc::clone(&config));
        watcher.wanted = config.autostart;
        watcher.set_baseline(config);
        self.insert(watcher)
    }

    /// A watcher that came by `add`.
    pub(in crate::arbiter) fn register_dynamic(&mut self, config: WatcherConfig) -> WatcherKey {
        self.insert(Watcher::new(WatcherKey(self.next), Arc::new(config)))
    }

    fn insert(&mut self, mut watcher: Watcher) -> WatcherKey {
        let key = watcher.key;
        self.next += 1;
        let before = self.watchers.values().filter(|other| other.removed && other.resource == watcher.resource);
        watcher.predecessors = before.map(|other| other.key).collect_set();
        self.names.insert(watcher.name().to_lowercase(), key);
        self.watchers.insert(key, watcher);
        key
    }

    /// No name leads to this watcher any more; later ones of its name wait until it is gone.
    pub(in crate::arbiter) fn mark_removed(&mut self, key: WatcherKey) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        watcher.removed = true;
        let resource = watcher.resource.clone();
        for (_, later) in self.watchers.range_mut(key..).skip(1).filter(|(_, later)| later.resource == resource) {
            later.predecessors.insert(key);
        }
        self.index_names();
    }

    /// Finds out anew which names lead where.
    fn index_names(&mut self) {
        let shown = self.watchers.iter().filter(|(_, watcher)| !watcher.removed);
        self.names = shown.map(|(key, watcher)| (watcher.name().to_lowercase(), *key)).collect();
    }

    /// Takes a watcher out, and returns those that waited until it was gone.
    pub(in crate::arbiter) fn remove(&mut self, key: WatcherKey) -> Option<(Watcher, Vec<WatcherKey>)> {
        let watcher = self.watchers.remove(&key)?;
        let later = self.watchers.range_mut(key..);
        let freed = later.filter_map(|(later, other)| other.predecessors.remove(&key).then_some(*later)).collect();
        Some((watcher, freed))
    }
}
