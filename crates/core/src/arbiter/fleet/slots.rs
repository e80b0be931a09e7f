//! The numbered places of a watcher's workers: which are free, and which wait out a back-off.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arbiter::fleet::history::Backoff;
use crate::arbiter::ids::Wid;

/// What is remembered of a place between two workers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct SlotHistory {
    /// Consecutive early deaths.
    early_deaths: u32,
    /// Consecutive failed launches.
    failures: u32,
}

/// A watcher's places. A number is used by one worker at a time; the lowest free one is taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Slots {
    /// Numbers at or below `highest` that nobody uses.
    free: BTreeSet<Wid>,
    highest: u32,
    /// Places that wait before their next worker; nobody else may take them.
    backing_off: BTreeMap<Wid, Backoff>,
    /// Places whose back-off is over and whose next worker is not launched yet.
    due: BTreeSet<Wid>,
    histories: BTreeMap<Wid, SlotHistory>,
    /// Places that stay empty: `respawn = False` and the worker is gone.
    pub(in crate::arbiter) left_empty: u32,
}

impl Slots {
    /// The place for the next worker: one that is due, else the lowest free number.
    pub(in crate::arbiter) fn take(&mut self) -> Wid {
        if let Some(wid) = self.due.pop_first() {
            return wid;
        }
        self.free.pop_first().unwrap_or_else(|| {
            self.highest += 1;
            Wid(self.highest)
        })
    }

    /// The worker in this place is gone; anybody may have it.
    pub(in crate::arbiter) fn release(&mut self, wid: Wid) {
        self.free.insert(wid);
        while self.highest > 0 && self.free.remove(&Wid(self.highest)) {
            self.highest -= 1;
        }
    }

    /// The worker in this place is gone; its successor waits.
    pub(in crate::arbiter) fn back_off(&mut self, wid: Wid, backoff: Backoff) {
        self.backing_off.insert(wid, backoff);
    }

    /// The places that wait, and why.
    pub(in crate::arbiter) fn backoffs(&self) -> impl Iterator<Item = (Wid, &Backoff)> {
        self.backing_off.iter().map(|(wid, backoff)| (*wid, backoff))
    }

    /// The successor need not wait (any more).
    pub(in crate::arbiter) fn make_due(&mut self, wid: Wid) {
        self.backing_off.remove(&wid);
        self.due.insert(wid);
    }

    /// Gives up a place that waits, the highest first; `None` if none waits.
    pub(in crate::arbiter) fn cancel_one(&mut self) -> Option<Wid> {
        let wid = self.due.pop_last().or_else(|| self.backing_off.pop_last().map(|(wid, _)| wid))?;
        self.histories.remove(&wid);
        self.release(wid);
        Some(wid)
    }

    /// Forgets everything but the numbers in use, and returns the places that waited.
    pub(in crate::arbiter) fn clear(&mut self) -> Vec<Wid> {
        let mut waited = Vec::new();
        while let Some(wid) = self.cancel_one() {
            waited.push(wid);
        }
        self.histories.clear();
        self.left_empty = 0;
        waited
    }

    /// Ends every back-off and forgets why, and returns the places that waited.
    pub(in crate::arbiter) fn end_backoffs(&mut self) -> Vec<Wid> {
        let waited: Vec<Wid> = self.backing_off.keys().copied().collect();
        for wid in &waited {
            self.make_due(*wid);
        }
        self.histories.clear();
        self.left_empty = 0;
        waited
    }

    pub(in crate::arbiter) fn waiting(&self) -> usize {
        self.backing_off.len()
    }

    pub(in crate::arbiter) fn due(&self) -> usize {
        self.due.len()
    }

    #[cfg(debug_assertions)]
    pub(in crate::arbiter) fn is_backing_off(&self, wid: Wid) -> bool {
        self.backing_off.contains_key(&wid)
    }

    /// A worker died before it had lived `min_uptime`: how many in a row now.
    pub(in crate::arbiter) fn count_early_death(&mut self, wid: Wid) -> u32 {
        let history = self.histories.entry(wid).or_default();
        history.early_deaths = history.early_deaths.saturating_add(1);
        history.early_deaths
    }

    /// A launch failed: how many in a row now.
    pub(in crate::arbiter) fn count_failure(&mut self, wid: Wid) -> u32 {
        let history = self.histories.entry(wid).or_default();
        history.failures = history.failures.saturating_add(1);
        history.failures
    }

    /// Whether the launch that comes is another try of one that failed.
    pub(in crate::arbiter) fn tries_again(&self, wid: Wid) -> bool {
        self.histories.get(&wid).is_some_and(|history| history.failures > 0)
    }

    /// A launch succeeded.
    pub(in crate::arbiter) fn launched(&mut self, wid: Wid) {
        if let Some(history) = self.histories.get_mut(&wid) {
            history.failures = 0;
        }
    }

    /// A worker lived long enough, or its death was asked for.
    pub(in crate::arbiter) fn reset_backoff(&mut self, wid: Wid) {
        self.histories.remove(&wid);
    }
}

/// How long the k-th wait in a row lasts: 100 ms, doubled each time, at most `bound`.
pub(in crate::arbiter) fn back_off(k: u32, bound: Duration) -> Duration {
    let doublings = k.saturating_sub(1).min(20);
    Duration::from_millis(100 << doublings).min(bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbiter::fleet::history::Cause;

    #[test]
    fn the_lowest_free_number_is_taken() {
        let mut slots = Slots::default();
        assert_eq!([slots.take(), slots.take(), slots.take()], [Wid(1), Wid(2), Wid(3)]);
        slots.release(Wid(2));
        assert_eq!([slots.take(), slots.take()], [Wid(2), Wid(4)]);
        for wid in 1..=4 {
            slots.release(Wid(wid));
        }
        assert_eq!(slots, Slots::default());
    }

    #[test]
    fn a_place_that_waits_is_nobody_elses() {
        let mut slots = Slots::default();
        let first = slots.take();
        slots.back_off(first, Backoff { cause: Cause::Exit(1), times: 1, wait: Duration::ZERO });
        assert_eq!(slots.take(), Wid(2));
        slots.make_due(first);
        assert_eq!(slots.take(), first);
    }

    #[test]
    fn waits_double_up_to_the_bound() {
        let bound = Duration::from_secs(5);
        let waits: Vec<u128> = (1..=8).map(|k| back_off(k, bound).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(back_off(u32::MAX, bound), bound);
    }
}
