//! `enable` and `disable`, and what is remembered of `stop`, `incr` and `decr` where a watcher has `remember`.
//!
//! The core keeps what is remembered by the names of watchers, and gives all of it to the daemon with each change
//! ([`Action::Remember`]), which writes it into the `state_file`. Without one it counts until circusd ends.

use crate::arbiter::action::Action;
use crate::arbiter::fleet::memory::{Count, Memories, Memory};
use crate::arbiter::ids::WatcherKey;
use crate::arbiter::requests::change::Dispatch;
use crate::arbiter::state::Arbiter;
use crate::arbiter::time::Now;
use crate::base::Level;
use crate::proto::{Object, ReplyTo, Selection};

impl Arbiter {
    /// What an earlier circusd has remembered. It is to be told before the first event.
    pub fn recall(&mut self, memories: Memories) {
        self.memories = memories;
        for key in self.fleet.keys() {
            self.remind(key);
            if self.is_to_stay_stopped(key)
                && let Some(watcher) = self.fleet.watchers.get_mut(&key)
            {
                watcher.wanted = false;
            }
        }
    }

    /// What is remembered.
    pub fn memories(&self) -> &Memories {
        &self.memories
    }

    /// Whether what is remembered outlives circusd.
    fn is_lasting(&self) -> bool {
        self.circus.state_file.as_ref().is_some_and(|path| !path.is_empty())
    }

    /// Makes a watcher that comes from the file what is remembered of it.
    pub(in crate::arbiter) fn remind(&mut self, key: WatcherKey) {
        let Some(watcher) = self.fleet.watchers.get_mut(&key) else { return };
        let (name, file) = (watcher.name().to_lowercase(), watcher.baseline().numprocesses);
        let Some(memory) = self.memories.get(&name) else { return };
        memory.apply(watcher);
        if memory.numprocesses.is_some_and(|count| count.file != file) {
            self.remember(&name, |memory| memory.numprocesses = None);
        }
    }

    /// Whether a watcher was told to stop, and does not start with circusd because of that.
    pub(in crate::arbiter) fn is_to_stay_stopped(&self, key: WatcherKey) -> bool {
        self.fleet.get(key).is_some_and(|watcher| watcher.config.remember) && self.is_remembered_as_stopped(key)
    }

    pub(in crate::arbiter) fn is_remembered_as_stopped(&self, key: WatcherKey) -> bool {
        let memory = self.fleet.get(key).and_then(|watcher| self.memories.get(&watcher.name().to_lowercase()));
        memory.is_some_and(|memory| memory.stopped)
    }

    /// Changes what is remembered of a watcher.
    fn remember(&mut self, name: &str, change: impl FnOnce(&mut Memory)) {
        let name = name.to_lowercase();
        let mut memory = self.memories.get(&name).cloned().unwrap_or_default();
        change(&mut memory);
        let before =
            if memory.is_empty() { self.memories.remove(&name) } else { self.memories.insert(name, memory.clone()) };
        if before.unwrap_or_default() != memory && self.is_lasting() {
            self.outbox.act(Action::Remember(self.memories.clone()));
        }
    }

    /// A command has told these watchers to stop, or to start.
    pub(in crate::arbiter) fn remember_stopped(&mut self, keys: &[WatcherKey], stopped: bool) {
        for key in keys {
            let Some(watcher) = self.fleet.get(*key).filter(|watcher| watcher.config.remember) else { continue };
            let name = watcher.name().to_owned();
            self.remember(&name, |memory| memory.stopped = stopped);
        }
    }

    /// A command has changed how many processes a watcher wants.
    pub(in crate::arbiter) fn remember_number(&mut self, key: WatcherKey) {
        let Some(watcher) = self.fleet.get(key).filter(|watcher| watcher.config.remember) else { return };
        let count = Count { file: watcher.baseline().numprocesses, wanted: watcher.config.numprocesses };
        let (name, count) = (watcher.name().to_owned(), (count.file != count.wanted).then_some(count));
        self.remember(&name, |memory| memory.numprocesses = count);
    }

    /// A command has removed a watcher.
    pub(in crate::arbiter) fn forget_memory(&mut self, name: &str) {
        self.remember(name, |memory| *memory = Memory::default());
    }

    /// `enable` and `disable`: whether watchers start with circusd. With `now` they start, or stop, as well.
    pub(in crate::arbiter) fn enable(
        &mut self,
        to: &ReplyTo,
        selection: &Selection,
        (enabled, now_too, waiting): (bool, bool, bool),
        now: Now,
    ) -> Dispatch {
        self.phase.at_work()?;
        for key in self.select(selection)? {
            let Some(watcher) = self.fleet.watchers.get_mut(&key) else { continue };
            let word = (watcher.baseline().autostart != enabled).then_some(enabled);
            watcher.enabled = word;
            std::sync::Arc::make_mut(&mut watcher.config).autostart = enabled;
            let name = watcher.name().to_owned();
            self.outbox.log(Level::Info, format!("{name} {}", if enabled { "enabled" } else { "disabled" }));
            self.remember(&name, |memory| memory.enabled = word);
            self.update_activation(key, now);
        }
        match (now_too, enabled) {
            (false, _) => {
                let lasts = self.is_lasting();
                Ok(Some(Object::from_iter([("remembered".to_owned(), lasts.into())])))
            }
            (true, true) => self.start(to, Some(selection), waiting, now),
            (true, false) => self.stop(to, Some(selection), waiting, now),
        }
    }
}
