//! The workers of a branch, and which of them may have a next step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::supervise::Supervised;

/// All workers. One that is taken to be changed is looked at next, and so is one whose time has come. All others have nothing
/// to do, and cost nothing: with a thousand of them, an answer to one would otherwise be followed by a look at each.
#[derive(Debug)]
pub(super) struct Roster {
    workers: BTreeMap<String, Supervised>,
    /// Those that something has happened to.
    awake: BTreeSet<String>,
    /// When others may have a next step without anything happening. An earlier time of a worker may stand here too: at that
    /// time the worker is looked at in vain.
    times: BTreeSet<(Duration, String)>,
    /// How often a worker was looked at.
    #[cfg(test)]
    pub(super) looks: usize,
}

impl Roster {
    /// Workers of which nothing is known.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a String>, now: Duration) -> Self {
        let workers: BTreeMap<_, _> = names.map(|name| (name.clone(), Supervised::new(now))).collect();
        Self {
            awake: workers.keys().cloned().collect(),
            workers,
            times: BTreeSet::new(),
            #[cfg(test)]
            looks: 0,
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Supervised> {
        self.workers.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.workers.keys()
    }

    /// A worker that something happens to.
    pub(super) fn change(&mut self, name: &str) -> Option<&mut Supervised> {
        let worker = self.workers.get_mut(name)?;
        self.awake.insert(name.to_owned());
        Some(worker)
    }

    /// The same; where there is none, it is a new one.
    pub(super) fn change_or_add(&mut self, name: &str, now: Duration) -> &mut Supervised {
        self.awake.insert(name.to_owned());
        self.workers.entry(name.to_owned()).or_insert_with(|| Supervised::new(now))
    }

    /// Something happens to all.
    pub(super) fn change_all(&mut self) {
        self.awake.extend(self.workers.keys().cloned());
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.workers.remove(name);
    }

    /// The next worker to look at: what comes of it is its [`Supervised::step`]. One that waits is to [`Roster::rest`].
    pub(super) fn next(&mut self, now: Duration) -> Option<(String, &mut Supervised)> {
        while let Some(name) = self.awake.pop_first().or_else(|| self.due(now)) {
            if self.workers.contains_key(&name) {
                #[cfg(test)]
                {
                    self.looks += 1;
                }
                return self.workers.get_mut(&name).map(|worker| (name, worker));
            }
        }
        None
    }

    fn due(&mut self, now: Duration) -> Option<String> {
        self.times.first().is_some_and(|(time, _)| *time <= now).then(|| self.times.pop_first())?.map(|(_, name)| name)
    }

    /// It is looked at again when something happens to it, or else at its time.
    pub(super) fn rest(&mut self, name: String, now: Duration) {
        if let Some(time) = self.workers.get(&name).and_then(|worker| worker.deadline(now)) {
            self.times.insert((time, name));
        }
    }

    /// When a worker is to be looked at even if nothing happens.
    pub(super) fn deadline(&self, now: Duration) -> Option<Duration> {
        if self.awake.is_empty() { self.times.first().map(|(time, _)| *time) } else { Some(now) }
    }
}
