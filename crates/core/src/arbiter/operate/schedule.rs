//! The order in which watchers start and stop, the same for the daemon's start and end, for commands about several
//! watchers, and for what `reloadconfig` does.
//!
//! An [`Order`] is a graph of watchers: each one comes after those that its `after` and `requires` name, and after those with a higher
//! priority. A watcher has at least the priority of those that come after it. A [`Walk`] goes up it to start
//! watchers and down it to stop them, so that what starts first stops last.
//!
//! - Up: watchers start one after the other, `[circus] warmup_delay` apart. The next one starts when every slot of the
//!   one before has been tried; one whose slots back off has been tried. A watcher that a `before_start` hook holds up
//!   does not hold up others of its priority. A watcher whose `after` names one that is not active is held back, and
//!   starts when that one is.
//! - Down: watchers of equal priority, of which none comes after another, stop side by side; those of the next higher
//!   priority stop when they have stopped.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arbiter::core::Arbiter;
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::ids::{JobId, WalkId, WatcherKey};
use crate::arbiter::operate::dependence::{self, Unmet};
use crate::arbiter::operate::job::{Job, Then};
use crate::arbiter::operate::queue::{Operation, OperationKind, Reason, Waiter};
use crate::arbiter::operate::stuck::{self, START_TIMEOUT};
use crate::arbiter::outcome::{self, Cause, Failure};
use crate::arbiter::time::{Mono, Now, seconds};
use crate::arbiter::timers::Timer;
use crate::config::Needs;
use crate::proto::Fault;

/// Which watchers of a walk start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Which {
    /// All: they were named.
    All,
    /// As when circusd starts: those with on_demand wait for a connection.
    AsAtBoot,
}

/// Watchers, and which of them each one comes after on the way up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Order {
    /// In order of start.
    keys: Vec<WatcherKey>,
    /// The watchers that must be up before this one starts, and that stop only when this one has stopped.
    after: BTreeMap<WatcherKey, BTreeSet<WatcherKey>>,
}

impl Order {
    /// The order by `after`, and then by priority, the greatest first; among equals in the order given. Edges of `after`
    /// that would close a circle do not count.
    pub(in crate::arbiter) fn new(members: Vec<(WatcherKey, i64)>, after: &Edges) -> Self {
        if after.is_empty() {
            return Self::by_priority(members);
        }
        let own = members.iter().copied().collect();
        let mut sorter = Sorter { own, after, seen: BTreeSet::new(), sorted: Vec::with_capacity(members.len()) };
        let mut by_own = members;
        by_own.sort_by_key(|(_, priority)| std::cmp::Reverse(*priority));
        by_own.iter().for_each(|(key, priority)| sorter.visit(*key, *priority));
        let mut order = Self::by_priority(sorter.sorted);
        let place: BTreeMap<WatcherKey, usize> = order.keys.iter().enumerate().map(|(at, key)| (*key, at)).collect();
        for (key, needed) in after.iter().filter(|(key, _)| place.contains_key(key)) {
            let earlier = |needed: &&WatcherKey| place.get(needed).is_some_and(|at| *at < place[key]);
            order.after.entry(*key).or_default().extend(needed.iter().filter(earlier).copied());
        }
        order
    }

    /// The order by priority alone, the greatest first; among equals in the order given.
    fn by_priority(mut members: Vec<(WatcherKey, i64)>) -> Self {
        members.sort_by_key(|(_, priority)| std::cmp::Reverse(*priority));
        let mut order = Self::default();
        let mut above: BTreeSet<WatcherKey> = BTreeSet::new();
        // It is enough to name the next higher priority: that one comes after those above it.
        for tier in members.chunk_by(|(_, a), (_, b)| a == b) {
            let tier: BTreeSet<WatcherKey> = tier.iter().map(|(key, _)| *key).collect();
            for key in &tier {
                order.after.insert(*key, above.clone());
            }
            above = tier;
        }
        order.keys = members.into_iter().map(|(key, _)| key).collect();
        order
    }

    /// The next watcher that may start while these are not up yet. Those that wait for others come in order.
    fn next_up(&self, not_up: &BTreeSet<WatcherKey>) -> Option<WatcherKey> {
        let first = *self.keys.first()?;
        let is_up = |key: &WatcherKey| self.after.get(key).is_none_or(|before| before.is_disjoint(not_up));
        if is_up(&first) {
            return Some(first);
        }
        let to_come: BTreeSet<WatcherKey> = self.keys.iter().copied().collect();
        let is_next = |key: &&WatcherKey| self.after.get(key).is_none_or(|before| before.is_disjoint(&to_come));
        self.keys.iter().filter(is_next).find(|key| is_up(key)).copied()
    }

    /// The watchers that may stop while these have not stopped yet: no other comes after them.
    fn next_down(&self, not_stopped: &BTreeSet<WatcherKey>) -> Vec<WatcherKey> {
        let dependants = self.keys.iter().chain(not_stopped);
        let needed: BTreeSet<WatcherKey> =
            dependants.filter_map(|key| self.after.get(key)).flatten().copied().collect();
        let free = |key: &&WatcherKey| !needed.contains(key) && !not_stopped.contains(key);
        let mut free: Vec<WatcherKey> = self.keys.iter().filter(free).copied().collect();
        free.sort_unstable();
        free
    }

    /// This watcher is under way: it is not to come any more.
    fn take(&mut self, key: WatcherKey) {
        self.keys.retain(|other| *other != key);
    }
}

/// For each watcher with `after`, the watchers that it comes after.
pub(in crate::arbiter) type Edges = BTreeMap<WatcherKey, BTreeSet<WatcherKey>>;

/// Sorts watchers so that each one stands behind those that it comes after, with the greatest priority among those
/// that come after it.
struct Sorter<'a> {
    own: BTreeMap<WatcherKey, i64>,
    after: &'a Edges,
    seen: BTreeSet<WatcherKey>,
    sorted: Vec<(WatcherKey, i64)>,
}

impl Sorter<'_> {
    /// The watchers are visited in order of their priority, so the first visit brings the greatest.
    fn visit(&mut self, key: WatcherKey, priority: i64) {
        if !self.own.contains_key(&key) || !self.seen.insert(key) {
            return;
        }
        let mut needed: Vec<WatcherKey> = self.after.get(&key).into_iter().flatten().copied().collect();
        needed.sort_by_key(|key| std::cmp::Reverse(self.own.get(key).copied()));
        for needed in needed {
            self.visit(needed, priority);
        }
        self.sorted.push((key, priority));
    }
}

/// What is done with the watchers of a walk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Course {
    /// They start or reload, one after the other.
    Up {
        kind: OperationKind,
        which: Which,
        not_before: Option<Mono>,
        #[serde(default, skip_serializing_if = "Reason::is_request")]
        reason: Reason,
    },
    /// They stop: those in `removed` for good, those in `along` because they require another, and those in `restarted`
    /// start again at once.
    Down {
        removed: BTreeSet<WatcherKey>,
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        along: BTreeSet<WatcherKey>,
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        restarted: BTreeSet<WatcherKey>,
    },
}

/// Watchers that are to stop in order.
#[derive(Debug, Default)]
pub(in crate::arbiter) struct Stops {
    /// These stop.
    pub(in crate::arbiter) keys: Vec<WatcherKey>,
    /// Those of them that are forgotten then.
    pub(in crate::arbiter) removed: BTreeSet<WatcherKey>,
    /// Those of them that restart.
    pub(in crate::arbiter) restarted: BTreeSet<WatcherKey>,
    /// These stop too, as they require one of them.
    pub(in crate::arbiter) along: BTreeSet<WatcherKey>,
}

/// Watchers that start, or stop, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Walk {
    order: Order,
    course: Course,
    /// Those whose turn has come and that are not done.
    under_way: BTreeSet<WatcherKey>,
    /// It has one part: the walk.
    job: Option<JobId>,
}

impl Walk {
    fn up(order: Order, kind: OperationKind, which: Which, job: Option<JobId>) -> Self {
        let course = Course::Up { kind, which, not_before: None, reason: Reason::Requested };
        Self { order, course, under_way: BTreeSet::new(), job }
    }

    /// What a walk down does with a watcher, whose turn has come.
    fn step_down(&self, key: WatcherKey) -> Option<(OperationKind, Reason)> {
        let Course::Down { removed, along, restarted } = &self.course else { return None };
        Some(if removed.contains(&key) {
            (OperationKind::Remove, Reason::Requested)
        } else if restarted.contains(&key) {
            (OperationKind::Restart, Reason::Requested)
        } else {
            (OperationKind::Stop, if along.contains(&key) { Reason::Along } else { Reason::Requested })
        })
    }

    fn is_up(&self) -> bool {
        matches!(self.course, Course::Up { .. })
    }

    fn is_to_come(&self, key: WatcherKey) -> bool {
        self.order.keys.contains(&key)
    }

    #[cfg(debug_assertions)]
    pub(in crate::arbiter) fn job(&self) -> Option<JobId> {
        self.job
    }
}

/// Every walk that is not done.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Schedule {
    pub(in crate::arbiter) walks: BTreeMap<WalkId, Walk>,
    /// Walks that may go on.
    pub(in crate::arbiter) due: VecDeque<WalkId>,
    next: u64,
}

impl Schedule {
    fn open(&mut self, walk: Walk) -> WalkId {
        let id = WalkId(self.next);
        self.next += 1;
        self.walks.insert(id, walk);
        self.due.push_back(id);
        id
    }

    /// Whether watchers are being started in order.
    pub(in crate::arbiter) fn is_starting(&self) -> bool {
        self.walks.values().any(Walk::is_up)
    }

    /// Whether this watcher is still to start, or to reload, in some walk.
    pub(in crate::arbiter) fn is_to_come_up(&self, key: WatcherKey) -> bool {
        self.walks.values().any(|walk| walk.is_up() && walk.is_to_come(key))
    }

    /// Whether this watcher is still to stop in some walk.
    pub(in crate::arbiter) fn is_to_stop(&self, key: WatcherKey) -> bool {
        self.walks.values().any(|walk| !walk.is_up() && walk.is_to_come(key))
    }

    /// The watchers that start just now.
    pub(in crate::arbiter) fn under_way(&self) -> impl Iterator<Item = WatcherKey> {
        self.walks.values().filter(|walk| walk.is_up()).flat_map(|walk| &walk.under_way).copied()
    }

    /// Whether this watcher is still to come in some walk.
    pub(in crate::arbiter) fn is_to_come(&self, key: WatcherKey) -> bool {
        self.walks.values().any(|walk| walk.is_to_come(key))
    }
}

/// Whether a watcher that a walk waits for still makes its way: launches are paced or taken up, workers stop.
fn is_on_its_way(w: &Watcher, now: Mono) -> bool {
    let stuck = stuck::workers(w, now).next().is_some() && w.counts().dying == 0 && w.missing() == 0;
    w.running.is_some() && (!stuck || w.hooks.hold_stop())
}

/// Whether a watcher is stopped, and is to stay so for now.
pub(in crate::arbiter) fn is_idle(w: &Watcher) -> bool {
    w.state == WatcherState::Stopped && w.running.is_none() && w.waiting.is_empty()
}

impl Arbiter {
    fn order(&self, keys: &[WatcherKey]) -> Order {
        let named = |key: &&WatcherKey| self.fleet.get(**key).is_some_and(|w| !Needs::of(&w.config).is_empty());
        let edges = keys.iter().filter(named).map(|key| (*key, self.comes_after(*key, keys))).collect();
        Order::new(keys.iter().map(|key| (*key, self.fleet.priority(*key))).collect(), &edges)
    }

    /// Starts these watchers in order; a part of `job` is done with the last of them.
    pub(in crate::arbiter) fn start_in_order(&mut self, keys: Vec<WatcherKey>, job: Option<JobId>, which: Which) {
        self.schedule.open(Walk::up(self.order(&keys), OperationKind::Start, which, job));
    }

    /// Does this with these watchers in order; a part of `job` is done with the last of them.
    pub(in crate::arbiter) fn reload_in_order(
        &mut self,
        kind: OperationKind,
        why: Reason,
        keys: Vec<WatcherKey>,
        job: Option<JobId>,
    ) {
        let mut walk = Walk::up(self.order(&keys), kind, Which::All, job);
        if let Course::Up { reason, .. } = &mut walk.course {
            *reason = why;
        }
        self.schedule.open(walk);
    }

    /// Stops these watchers in order; a part of `job` is done with the last of them.
    pub(in crate::arbiter) fn stop_in_order(&mut self, stops: Stops, job: Option<JobId>) {
        let Stops { mut keys, removed, restarted, mut along } = stops;
        // A watcher that was to start, and is to stop now, does not start.
        for key in &keys {
            if !restarted.contains(key) {
                self.withdraw_from_starts(*key);
            }
            along.remove(key);
        }
        keys.extend(&along);
        let (order, under_way) = (self.order(&keys), BTreeSet::new());
        self.schedule.open(Walk { order, course: Course::Down { removed, along, restarted }, under_way, job });
    }

    /// A watcher that a walk waited for is done.
    pub(in crate::arbiter) fn walk_part_done(&mut self, id: WalkId, key: WatcherKey, now: Now) {
        self.hold_back(id, key, now);
        if let Some(walk) = self.schedule.walks.get_mut(&id) {
            walk.under_way.remove(&key);
        }
        self.walk_goes_on(id, now);
    }

    /// A watcher that a walk waited for holds it up no more.
    pub(in crate::arbiter) fn walk_goes_on(&mut self, id: WalkId, now: Now) {
        let Some(walk) = self.schedule.walks.get_mut(&id) else { return };
        let pause = seconds(self.circus.warmup_delay);
        if let Course::Up { not_before, .. } = &mut walk.course
            && pause > Duration::ZERO
            && !walk.order.keys.is_empty()
        {
            *not_before = Some(now.mono.after(pause));
        }
        self.schedule.due.push_back(id);
    }

    /// Where a hook has kept a watcher from coming up, or has failed, the watchers of lower priority in the walk do not
    /// start: they may need it. A `before_start` that returns false means that the watcher is not wanted, and holds back none.
    fn hold_back(&mut self, id: WalkId, key: WatcherKey, now: Now) {
        let Some(walk) = self.schedule.walks.get_mut(&id) else { return };
        let Course::Up { kind: OperationKind::Start, which, .. } = walk.course else { return };
        let Some(failed) = self.fleet.get(key).filter(|w| w.gave_up.as_ref().is_some_and(Failure::holds_back)) else {
            return;
        };
        let (by, priority) = (failed.name().to_owned(), failed.config.priority);
        let fleet = &self.fleet;
        let depends = |key: &&WatcherKey| {
            let waits = |w: &Watcher| which == Which::AsAtBoot && w.starts_on_demand();
            fleet.get(**key).is_some_and(|w| w.config.priority < priority && is_idle(w) && !waits(w))
        };
        let held: Vec<WatcherKey> = walk.order.keys.iter().filter(depends).copied().collect();
        held.iter().for_each(|key| walk.order.take(*key));
        let job = walk.job;
        for key in held {
            let unmet = Unmet { cause: Cause::HeldBack { by: by.clone() }, may_come: false };
            let fault = self.with(key, now, |w, cx| dependence::hold(w, Vec::new(), unmet, cx));
            if let Some(job) = job.and_then(|job| self.jobs.open.get_mut(&job)) {
                job.fault = outcome::merged(job.fault.take(), fault.flatten());
            }
        }
    }

    pub(in crate::arbiter) fn advance_walk(&mut self, id: WalkId, now: Now) {
        self.timers.cancel(Timer::Walk(id));
        let Some(walk) = self.schedule.walks.get(&id) else { return };
        if walk.order.keys.is_empty() && (walk.under_way.is_empty() || !walk.is_up()) {
            if walk.under_way.is_empty() {
                let job = walk.job;
                let was_up = self.schedule.walks.remove(&id).is_some_and(|walk| walk.is_up());
                if let Some(job) = job {
                    self.job_part_done(job, None, None);
                }
                if was_up {
                    self.log_if_none_runs();
                }
            }
            return;
        }
        match walk.course {
            Course::Up { .. } => self.advance_up(id, now),
            Course::Down { .. } => self.advance_down(id, now),
        }
    }

    /// A walk has paused, or waited for long. Watchers whose workers do not get to their program are waited for no longer.
    pub(in crate::arbiter) fn walk_timed_out(&mut self, id: WalkId, now: Now) {
        let Some(walk) = self.schedule.walks.get_mut(&id) else { return };
        if let Course::Up { not_before: None, .. } = walk.course {
            let fleet = &self.fleet;
            walk.under_way.retain(|key| fleet.get(*key).is_some_and(|w| is_on_its_way(w, now.mono)));
        }
        self.schedule.due.push_back(id);
    }

    fn advance_down(&mut self, id: WalkId, now: Now) {
        let Some(walk) = self.schedule.walks.get_mut(&id) else { return };
        let next = walk.order.next_down(&walk.under_way);
        for key in &next {
            walk.order.take(*key);
            walk.under_way.insert(*key);
        }
        for key in next {
            self.step_down(id, key, now);
        }
    }

    /// Does with a watcher what this walk down does with it.
    fn step_down(&mut self, id: WalkId, key: WatcherKey, now: Now) {
        let Some(walk) = self.schedule.walks.get(&id) else { return };
        let Some((kind, reason)) = walk.step_down(key) else { return };
        let mut waiters = vec![Waiter::Walk(id, key)];
        if let (OperationKind::Restart, Some(job)) = (kind, walk.job) {
            // The request waits until the new workers have proved themselves.
            self.jobs.expect_parts(job, 1);
            waiters.push(Waiter::Job(job));
        }
        self.submit_operation(key, Operation::new(kind, waiters, reason), now);
    }

    fn advance_up(&mut self, id: WalkId, now: Now) {
        let Some(walk) = self.schedule.walks.get_mut(&id) else { return };
        let fleet = &self.fleet;
        let again = now.mono.after(START_TIMEOUT);
        let Course::Up { kind, which, not_before, reason } = &mut walk.course else { return };
        let (kind, which, reason) = (*kind, *which, *reason);
        // Old processes that a reload has told to stop hold up no watcher.
        let comes_up = |key: &&WatcherKey| fleet.get(**key).is_some_and(|w| !w.is_retiring());
        let coming: BTreeSet<WatcherKey> = walk.under_way.iter().filter(comes_up).copied().collect();
        // A watcher that its own hook holds up does not hold up its equals.
        let busy = coming.iter().filter_map(|key| fleet.get(*key)).any(|w| !w.hooks.bar_launches());
        let next = if busy { None } else { walk.order.next_up(&coming) };
        let Some(key) = next else {
            if walk.order.keys.is_empty() && walk.under_way.is_empty() {
                self.schedule.due.push_back(id);
            } else {
                self.timers.set(Timer::Walk(id), again);
            }
            return;
        };
        if let Some(at) = not_before.filter(|at| *at > now.mono) {
            return self.timers.set(Timer::Walk(id), at);
        }
        *not_before = None;
        walk.order.take(key);
        let sleeps = |w: &Watcher| w.starts_on_demand() && w.held.is_empty();
        let waits = which == Which::AsAtBoot && fleet.get(key).is_some_and(sleeps);
        self.schedule.due.push_back(id);
        if waits {
            return self.update_activation(key, now);
        }
        let Some(walk) = self.schedule.walks.get_mut(&id) else { return };
        walk.under_way.insert(key);
        let mut waiters = vec![Waiter::Walk(id, key)];
        if let Some(job) = walk.job {
            // The walk goes on when the workers run; the request waits until they have proved that they do.
            self.jobs.expect_parts(job, 1);
            waiters.push(Waiter::Job(job));
        }
        self.submit_operation(key, Operation::new(kind, waiters, reason), now);
    }

    /// Takes a watcher out of all walks that have not started it yet: it was stopped, or is gone.
    pub(in crate::arbiter) fn withdraw_from_starts(&mut self, key: WatcherKey) {
        let mut cheated = Vec::new();
        for (id, walk) in self.schedule.walks.iter_mut().filter(|(_, walk)| walk.is_up() && walk.is_to_come(key)) {
            walk.order.take(key);
            cheated.extend(walk.job);
            self.schedule.due.push_back(*id);
        }
        for walk in self.schedule.walks.values_mut().filter(|walk| walk.is_to_come(key)) {
            if let Course::Down { restarted, .. } = &mut walk.course
                && restarted.remove(&key)
            {
                cheated.extend(walk.job);
            }
        }
        for (id, job) in &mut self.jobs.open {
            if let Then::Start(keys) = &mut job.then
                && keys.contains(&key)
            {
                keys.retain(|other| *other != key);
                cheated.push(*id);
            }
        }
        let Some(watcher) = self.fleet.get(key) else { return };
        let reason = format!("{} was stopped before it was started", watcher.name());
        for job in cheated {
            // It goes on with the others; the answer to a request for all of them says at the end that one is missing.
            if let Some(job) = self.jobs.open.get_mut(&job) {
                job.fault.get_or_insert(Fault::command(reason.clone()));
            }
        }
    }

    /// The stops that are still to come of this watcher come now: something else is to be done with it.
    pub(in crate::arbiter) fn hurry_stops(&mut self, key: WatcherKey, now: Now) {
        let mut stops = Vec::new();
        for (id, walk) in self.schedule.walks.iter_mut().filter(|(_, walk)| !walk.is_up() && walk.is_to_come(key)) {
            walk.order.take(key);
            walk.under_way.insert(key);
            stops.push(*id);
        }
        for id in stops {
            self.step_down(id, key, now);
        }
    }

    /// Every stop that is still to come comes now.
    pub(in crate::arbiter) fn hurry_all_stops(&mut self, now: Now) {
        for key in self.fleet.keys() {
            self.hurry_stops(key, now);
        }
    }

    /// Ends every start sequence and answers the requests that wait for one.
    pub(in crate::arbiter) fn cancel_starts(&mut self, by: &str) {
        let starts = |walk: &Walk| walk.is_up();
        let ids: Vec<WalkId> = self.schedule.walks.iter().filter(|(_, w)| starts(w)).map(|(id, _)| *id).collect();
        for id in ids {
            self.timers.cancel(Timer::Walk(id));
            if let Some(job) = self.schedule.walks.remove(&id).and_then(|walk| walk.job) {
                self.job_part_done(job, None, Some(Fault::command(format!("start was cancelled by {by}"))));
            }
        }
        // Watchers that were to start after these have stopped do not start.
        for job in self.jobs.open.values_mut() {
            if let Job { then: then @ Then::Start(_), fault, .. } = job {
                *then = Then::Answer;
                fault.get_or_insert(Fault::command(format!("start was cancelled by {by}")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(numbers: &[u32]) -> Vec<WatcherKey> {
        numbers.iter().map(|number| WatcherKey(*number)).collect()
    }

    /// 0 and 3 have priority 1, 1 has 5, 2 has none.
    fn order() -> Order {
        let members = [(0, 1), (1, 5), (2, 0), (3, 1)];
        Order::new(members.into_iter().map(|(key, priority)| (WatcherKey(key), priority)).collect(), &Edges::new())
    }

    #[test]
    fn the_way_up_is_one_by_one() {
        let mut order = order();
        let mut seen = Vec::new();
        while let Some(key) = order.next_up(&BTreeSet::new()) {
            seen.push(key);
            order.take(key);
        }
        assert_eq!(seen, keys(&[1, 0, 3, 2]));
    }

    #[test]
    fn equals_pass_one_that_is_held_up() {
        let mut order = order();
        order.take(WatcherKey(1));
        order.take(WatcherKey(0));
        let held = BTreeSet::from([WatcherKey(0)]);
        assert_eq!(order.next_up(&held), Some(WatcherKey(3)));
        order.take(WatcherKey(3));
        assert_eq!(order.next_up(&held), None, "a lower priority does not pass");
    }

    #[test]
    fn the_way_down_is_tier_by_tier() {
        let mut order = order();
        let mut tiers = Vec::new();
        loop {
            let tier = order.next_down(&BTreeSet::new());
            if tier.is_empty() {
                break;
            }
            assert_eq!(order.next_down(&tier.iter().copied().collect()), [], "the next tier waits for this one");
            tier.iter().for_each(|key| order.take(*key));
            tiers.push(tier);
        }
        assert_eq!(tiers, [keys(&[2]), keys(&[0, 3]), keys(&[1])]);
    }

    #[test]
    fn what_comes_after_overrules_priority() {
        // 1 has the greatest priority and comes after 0, which comes after 2; 3 stands between them.
        let members = [(0, 1), (1, 5), (2, 0), (3, 3)].map(|(key, priority)| (WatcherKey(key), priority));
        let edges = Edges::from([
            (WatcherKey(1), BTreeSet::from([WatcherKey(0)])),
            (WatcherKey(0), BTreeSet::from([WatcherKey(2)])),
        ]);
        let mut order = Order::new(members.to_vec(), &edges);
        assert_eq!(order.keys, keys(&[2, 0, 1, 3]));
        assert_eq!(order.next_down(&BTreeSet::new()), keys(&[3]));
        order.take(WatcherKey(3));
        assert_eq!(order.next_down(&BTreeSet::new()), keys(&[1]));
        assert_eq!(order.next_down(&BTreeSet::from([WatcherKey(1)])), []);
    }

    #[test]
    fn circle_does_not_hang() {
        let members = vec![(WatcherKey(0), 0), (WatcherKey(1), 0)];
        let edges = Edges::from([
            (WatcherKey(0), BTreeSet::from([WatcherKey(1)])),
            (WatcherKey(1), BTreeSet::from([WatcherKey(0)])),
        ]);
        let order = Order::new(members, &edges);
        assert_eq!(order.keys.len(), 2);
        assert_eq!(order.next_down(&BTreeSet::new()).len(), 1);
    }
}
