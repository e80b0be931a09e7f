//! The order in which watchers start and stop, the same for the daemon's start and end, for commands about several
//! watchers, and for what `reloadconfig` does.
//!
//! An [`Order`] is a graph of watchers: each one comes after those that its `after` and `requires` name, and after those with a higher
//! priority. A watcher has at least the priority of those that come after it. A [`Walk`] goes up it to start
//! watchers and down it to stop them, so that what starts first stops last.
//!
//! - Up: watchers start one after the other, `[circus] warmup_delay` apart. The next one starts when every slot of the
//!   one before has been tried; one whose slots back off has been tried. A watcher that a `before_start` hook holds up,
//!   or that only waits until its workers are ready, does not hold up others of its priority; the second reloads one
//!   by one all the same. A watcher whose `after` names one that is not active is held back, and starts when that one is.
//! - Down: watchers of equal priority, of which none comes after another, stop side by side; those of the next higher
//!   priority stop when they have stopped.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::arbiter::cx::Unmet;
use crate::arbiter::fleet::watcher::{Watcher, is_idle};
use crate::arbiter::ids::{JobId, WalkId, WatcherKey};
use crate::arbiter::operate::dependence;
use crate::arbiter::operate::job::{Job, Then};
use crate::arbiter::operate::operation::{Operation, OperationKind, Reason, Waiter};
use crate::arbiter::operate::stuck::{self, START_TIMEOUT};
use crate::arbiter::operate::walk::{Course, Order, Stops, Walk, Which};
use crate::arbiter::outcome::{self, Cause, Failure};
use crate::arbiter::state::Arbiter;
use crate::arbiter::time::{Mono, Now, seconds};
use crate::arbiter::timers::Timer;
use crate::base::CollectOrdered as _;
use crate::config::Needs;
use crate::proto::Fault;

/// Whether a watcher that a walk waits for still makes its way: launches are paced or taken up, workers stop.
fn is_on_its_way(w: &Watcher, now: Mono) -> bool {
    let stuck = stuck::workers(w, now).next().is_some() && w.counts().dying == 0 && w.missing() == 0;
    w.running.is_some() && (!stuck || w.hooks.hold_stop())
}

impl Arbiter {
    fn order(&self, keys: &[WatcherKey]) -> Order {
        let named = |key: &&WatcherKey| self.fleet.get(**key).is_some_and(|w| !Needs::of(&w.config).is_empty());
        let edges = keys.iter().filter(named).map(|key| (*key, self.comes_after(*key, keys))).collect_map();
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

    /// A watcher that a walk waits for holds up none of its priority any more: those start `warmup_delay` after it.
    pub(in crate::arbiter) fn walk_passes(&mut self, id: WalkId, now: Now) {
        let Some(walk) = self.schedule.walks.get_mut(&id) else { return };
        let pause = seconds(self.circus.warmup_delay);
        if let Course::Up { not_before, .. } = &mut walk.course
            && pause > Duration::ZERO
        {
            // It may say so again while it waits, which puts off nothing.
            not_before.get_or_insert(now.mono.after(pause));
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
        let coming: BTreeSet<WatcherKey> = walk.under_way.iter().filter(comes_up).copied().collect_set();
        // A watcher that its own hook holds up does not hold up its equals, nor does one that has launched its workers. A
        // reload is different: a new version that is never ready must not take down every watcher at once.
        let passes = |w: &Watcher| w.hooks.bar_launches() || kind == OperationKind::Start && w.waits_for_readiness();
        let busy = coming.iter().filter_map(|key| fleet.get(*key)).any(|w| !passes(w));
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
        // One that was disabled meanwhile does not start instead.
        let sleeps =
            |w: &Watcher| (w.starts_on_demand() || w.config.on_demand && w.enabled == Some(false)) && w.held.is_empty();
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
