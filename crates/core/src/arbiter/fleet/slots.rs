//! The numbered places of a watcher's workers: which are free, and which wait out a back-off.
//!
//! A place has one worker. In a reload it is handed over before that one has gone: the worker that is to go holds no place
//! any more, and its successor has the same number.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arbiter::fleet::history::Backoff;
use crate::arbiter::ids::Wid;

/// What is remembered of a place between two workers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct SlotHistory {
    /// Consecutive early deaths.
    early_deaths: u32,
    /// How long the last workers lived that exited and should not have, within the window: see [`Slots::count_exit`].
    lives: VecDeque<Duration>,
    /// Consecutive failed launches.
    failures: u32,
}

/// The places that were tried in a start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct FirstTries {
    /// All below were taken up.
    next: u32,
    tried: BTreeSet<Wid>,
}

/// A watcher's places. A number is used by one worker at a time; the lowest free one is taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Slots {
    /// Numbers at or below `highest` that are not in use.
    free: BTreeSet<Wid>,
    highest: u32,
    /// Places that wait before their next worker; no other worker may take them.
    backing_off: BTreeMap<Wid, Backoff>,
    /// Places whose back-off is over and whose next worker is not launched yet.
    due: BTreeSet<Wid>,
    histories: BTreeMap<Wid, SlotHistory>,
    /// While a start is under way: which places have been tried.
    first_tries: Option<FirstTries>,
    /// Places that stay empty: `respawn = False` and the worker is gone.
    pub(in crate::arbiter) left_empty: u32,
}

impl Slots {
    /// The place for the next worker of so many: one that was not tried yet in this start, one that is due, else the
    /// lowest free number.
    pub(in crate::arbiter) fn take(&mut self, wanted: u32) -> Wid {
        if let Some(wid) = self.take_untried(wanted) {
            return wid;
        }
        if let Some(wid) = self.due.pop_first() {
            return wid;
        }
        self.free.pop_first().unwrap_or_else(|| {
            self.highest += 1;
            Wid(self.highest)
        })
    }

    fn take_untried(&mut self, wanted: u32) -> Option<Wid> {
        let next = self.first_tries.as_ref()?.next;
        let mut fresh = next..=wanted;
        let found = fresh.find(|number| *number > self.highest || self.free.contains(&Wid(*number)));
        let number = found.unwrap_or(wanted.saturating_add(1));
        if let Some(first_tries) = &mut self.first_tries {
            first_tries.next = number.saturating_add(1);
        }
        found?;
        self.free.extend((self.highest + 1..number).map(Wid));
        self.free.remove(&Wid(number));
        self.highest = self.highest.max(number);
        Some(Wid(number))
    }

    /// A start begins: each place is tried once before any is tried again. `used`: those whose workers run already.
    pub(in crate::arbiter) fn begin_tries(&mut self, used: BTreeSet<Wid>) {
        self.first_tries = Some(FirstTries { next: 1, tried: used });
    }

    /// A worker of this place has run, or the place waits after a try.
    pub(in crate::arbiter) fn tried(&mut self, wid: Wid) {
        if let Some(first_tries) = &mut self.first_tries {
            first_tries.tried.insert(wid);
        }
    }

    /// Whether each of so many places was tried in this start.
    pub(in crate::arbiter) fn all_tried(&self, wanted: u32) -> bool {
        let tried = self.first_tries.as_ref().map(|first_tries| &first_tries.tried);
        tried.is_some_and(|tried| {
            tried.len() >= wanted as usize && tried.range(..=Wid(wanted)).count() >= wanted as usize
        })
    }

    pub(in crate::arbiter) fn end_tries(&mut self) {
        self.first_tries = None;
    }

    /// The successor of this slot's worker takes the slot while that one still runs.
    pub(in crate::arbiter) fn hand_over(&mut self, wid: Wid) {
        self.due.insert(wid);
    }

    /// The slot is its former worker's again, whatever became of the successor.
    pub(in crate::arbiter) fn take_back(&mut self, wid: Wid) {
        self.due.remove(&wid);
        self.backing_off.remove(&wid);
        self.free.extend((self.highest + 1..wid.0).map(Wid));
        self.free.remove(&wid);
        self.highest = self.highest.max(wid.0);
    }

    /// The worker in this slot is gone; the next one may have it.
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
        self.first_tries = None;
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

    /// How many workers in a row died before they had lived `min_uptime`.
    pub(in crate::arbiter) fn early_deaths(&self, wid: Wid) -> u32 {
        self.histories.get(&wid).map_or(0, |history| history.early_deaths)
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

    /// A worker exited after min_uptime that should not have: how many did within so much time that this slot's workers
    /// ran. The pauses between them do not count, so that a back-off cannot push its own causes out of the window. One
    /// that has lived for `steady`, and twice as long as any of those before it, is the first of a new count.
    pub(in crate::arbiter) fn count_exit(
        &mut self,
        wid: Wid,
        lived: Duration,
        window: Duration,
        steady: Duration,
    ) -> u32 {
        let trusted = steady.max(self.exits(wid).1.saturating_mul(TRUSTED));
        let lives = &mut self.histories.entry(wid).or_default().lives;
        if lived >= trusted {
            lives.clear();
        }
        lives.push_back(lived);
        let mut ran: Duration = lives.iter().sum();
        while ran > window || lives.len() > MAX_LIVES {
            ran -= lives.pop_front().unwrap_or(ran);
        }
        u32::try_from(lives.len()).unwrap_or(u32::MAX)
    }

    /// Those exits, and the longest of those lives.
    pub(in crate::arbiter) fn exits(&self, wid: Wid) -> (u32, Duration) {
        let lives = self.histories.get(&wid).map(|history| &history.lives);
        let count = lives.map_or(0, VecDeque::len);
        (
            u32::try_from(count).unwrap_or(u32::MAX),
            lives.and_then(|lives| lives.iter().max().copied()).unwrap_or_default(),
        )
    }

    /// A worker has lived for min_uptime: launches succeed, and exits are not early ones.
    pub(in crate::arbiter) fn lived_for_min_uptime(&mut self, wid: Wid) {
        let history = self.histories.entry(wid).or_default();
        (history.early_deaths, history.failures) = (0, 0);
    }

    /// A worker has done what it should: what its predecessors did is of no weight.
    pub(in crate::arbiter) fn forget_exits(&mut self, wid: Wid) {
        self.histories.remove(&wid);
    }
}

/// A worker that has lived so many times as long as any of those that exited before it is trusted.
pub(in crate::arbiter) const TRUSTED: u32 = 2;
/// So many exits of a slot are remembered: a wait has doubled to any bound by then.
const MAX_LIVES: usize = 64;

/// How long the k-th wait in a row lasts: 100 ms, doubled each time, at most `bound`.
pub(in crate::arbiter) fn back_off(k: u32, bound: Duration) -> Duration {
    let doublings = k.saturating_sub(1).min(20);
    Duration::from_millis(100 << doublings).min(bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbiter::outcome::Cause;

    #[test]
    fn the_lowest_free_number_is_taken() {
        let mut slots = Slots::default();
        assert_eq!([slots.take(9), slots.take(9), slots.take(9)], [Wid(1), Wid(2), Wid(3)]);
        slots.release(Wid(2));
        assert_eq!([slots.take(9), slots.take(9)], [Wid(2), Wid(4)]);
        for wid in 1..=4 {
            slots.release(Wid(wid));
        }
        assert_eq!(slots, Slots::default());
    }

    #[test]
    fn slot_that_is_handed_over_is_the_next_to_be_taken_and_can_be_taken_back() {
        let mut slots = Slots::default();
        for _ in 0..3 {
            slots.take(9);
        }
        slots.hand_over(Wid(2));
        assert_eq!(slots.take(9), Wid(2));
        slots.release(Wid(2));
        slots.release(Wid(3));
        slots.take_back(Wid(3));
        assert_eq!([slots.take(9), slots.take(9)], [Wid(2), Wid(4)]);
    }

    #[test]
    fn slot_that_backs_off_is_not_given_away() {
        let mut slots = Slots::default();
        let first = slots.take(9);
        let cause = Cause::Exit { exit_code: 1, lived: Duration::ZERO };
        slots.back_off(first, Backoff { cause, times: 1, wait: Duration::ZERO });
        assert_eq!(slots.take(9), Wid(2));
        slots.make_due(first);
        assert_eq!(slots.take(9), first);
    }

    #[test]
    fn exits_count_within_the_time_that_workers_ran() {
        let mut slots = Slots::default();
        let wid = slots.take(9);
        let [window, steady] = [100, 50].map(Duration::from_secs);
        let mut count = |lived| slots.count_exit(wid, Duration::from_secs(lived), window, steady);
        assert_eq!([count(30), count(40), count(30)], [1, 2, 3], "all within 100 s");
        assert_eq!([count(1), count(1)], [3, 4], "the first has left the window");
        assert_eq!(count(79), 3, "it pushes the two longest out of the window");
        assert_eq!(count(101), 0, "a long life leaves nothing");
        assert_eq!((0..100).map(|_| count(0)).last(), Some(64));
        assert_eq!(count(49), 64, "it is not steady");
        assert_eq!(count(51), 64, "it is not twice the longest");
        slots.forget_exits(wid);
        assert_eq!(slots.exits(wid), (0, Duration::ZERO));
    }

    #[test]
    fn worker_that_lives_twice_as_long_begins_a_new_count() {
        let mut slots = Slots::default();
        let wid = slots.take(9);
        let [window, steady] = [300, 10].map(Duration::from_secs);
        let mut count = |lived| slots.count_exit(wid, Duration::from_secs(lived), window, steady);
        assert_eq!([2, 2, 2, 9].map(&mut count), [1, 2, 3, 4], "one that has not lived for 10 s is not trusted");
        assert_eq!([18, 20].map(&mut count), [1, 2]);
        assert_eq!([20, 41].map(&mut count), [3, 1]);
        // A loop whose workers live for 10 s and for 25 s in turns is caught, since the longest counts from then on.
        assert_eq!([10, 25, 10, 25].map(count), [2, 3, 4, 5]);
    }

    #[test]
    fn waits_double_up_to_the_bound() {
        let bound = Duration::from_secs(5);
        let waits: Vec<u128> = (1..=8).map(|k| back_off(k, bound).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(back_off(u32::MAX, bound), bound);
    }
}
