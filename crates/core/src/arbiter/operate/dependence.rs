//! What watchers need of each other (`after`, `requires`): who waits for whom, and what reaches those that require one.
//!
//! - A start of a watcher of which one that it needs is not up is put off (`begin_next` asks [`Cx::unmet`]): the watcher is
//!   held back, and starts when that one comes up. Requests wait with it as long as that one may still come.
//! - A stop reaches those that require the watcher: they stop first, by the same walk. With `propagate = restart` they
//!   are then held back by it, so that they start again when it is up; no list of them is kept.
//! - A watcher of which no process was left and that has new ones was replaced: those that require it stop and start.

use std::collections::BTreeSet;
use std::iter::once;

use crate::arbiter::cx::{Cx, FollowUp, Unmet};
use crate::arbiter::fleet::watcher::{Watcher, WatcherState, is_idle};
use crate::arbiter::ids::{JobId, WatcherKey};
use crate::arbiter::lifecycle::health::health;
use crate::arbiter::lifecycle::runs;
use crate::arbiter::operate::job::Then;
use crate::arbiter::operate::operation::{Operation, OperationKind, Waiter};
use crate::arbiter::operate::walk::{Stops, Which};
use crate::arbiter::outcome::{self, Cause};
use crate::arbiter::state::Arbiter;
use crate::arbiter::time::{Mono, Now};
use crate::base::CollectOrdered as _;
use crate::base::Level;
use crate::commands::Health;
use crate::config::{Needs, Propagate, Respawn, WatcherKind, is_pattern};
use crate::proto::Fault;

/// Whether a watcher has done its work: its workers have succeeded and are not replaced.
fn has_finished(w: &Watcher) -> bool {
    let ended = w.is_service() && is_idle(w) && w.wanted && w.gave_up.is_none() && w.history.began.is_some();
    ended && w.config.respawn != Respawn::Always && !w.config.on_demand
}

/// Whether the watchers that come after this one may start: it is active, a connection or a time starts it, its work is
/// done, or its run has succeeded.
fn is_ready(w: &Watcher) -> bool {
    match w.config.kind {
        WatcherKind::Service => {
            w.state == WatcherState::Active
                || w.state == WatcherState::Stopped && w.starts_on_demand()
                || has_finished(w)
        }
        WatcherKind::Oneshot => runs::has_succeeded(w),
        WatcherKind::Cron => w.runs.armed,
    }
}

/// Whether something that is being done with a watcher, or waits to be, starts it.
fn is_to_start(w: &Watcher) -> bool {
    w.running.iter().chain(&w.waiting).any(|operation| operation.kind.starts() && !operation.skips_stopped())
}

impl Arbiter {
    /// Those of these watchers that this one comes after.
    pub(in crate::arbiter) fn comes_after(&self, key: WatcherKey, among: &[WatcherKey]) -> BTreeSet<WatcherKey> {
        let Some(watcher) = self.fleet.get(key) else { return BTreeSet::new() };
        let needs = Needs::of(&watcher.config);
        let is_meant =
            |other: &&WatcherKey| self.fleet.get(**other).is_some_and(|other| needs.comes_after(other.name()));
        among.iter().filter(is_meant).copied().collect_set()
    }

    /// Why this watcher may not start now.
    pub(in crate::arbiter) fn unmet(&self, key: WatcherKey, now: Now) -> Option<Unmet> {
        self.unmet_of(key, &mut BTreeSet::new(), now)
    }

    fn unmet_of(&self, key: WatcherKey, seen: &mut BTreeSet<WatcherKey>, now: Now) -> Option<Unmet> {
        let watcher = self.fleet.get(key)?;
        let needs = Needs::of(&watcher.config);
        if needs.is_empty() {
            return None;
        }
        if let Some((_, unknown)) = needs.entries().find(|(_, e)| !is_pattern(e) && self.fleet.find(e).is_err()) {
            let cause = Cause::Waits { on: unknown.clone(), health: "no such watcher".into() };
            return Some(Unmet { cause, may_come: false });
        }
        let is_missing = |other: &&Watcher| !is_ready(other) || self.schedule.is_to_stop(other.key);
        let missing: Vec<&Watcher> =
            self.fleet.shown().filter(|other| needs.comes_after(other.name())).filter(is_missing).collect();
        // The one that cannot come is the one to name.
        let hopeless = missing.iter().find(|other| !self.may_come(other, seen, now));
        let other = hopeless.or(missing.first())?;
        let health = match health(other, self.is_waiting(other), now.mono) {
            Health::Ready => Health::Stopping,
            Health::Disabled | Health::Stopped if self.schedule.is_to_come_up(other.key) => Health::Starting,
            health => health,
        };
        let cause = Cause::Waits { on: other.name().to_owned(), health: health.name().to_owned() };
        Some(Unmet { cause, may_come: hopeless.is_none() })
    }

    /// Whether a watcher that is not up, or is about to stop, will be up without a further command, as far as can be told.
    fn may_come(&self, w: &Watcher, seen: &mut BTreeSet<WatcherKey>, now: Now) -> bool {
        let listed =
            || self.jobs.open.values().any(|job| matches!(&job.then, Then::Start(keys) if keys.contains(&w.key)));
        if !seen.insert(w.key) {
            return false;
        }
        if is_to_start(w) || w.along || self.schedule.is_to_come_up(w.key) || listed() {
            return true;
        }
        match w.state {
            WatcherState::Starting { .. } | WatcherState::Active => !self.schedule.is_to_stop(w.key),
            WatcherState::Stopping => false,
            WatcherState::Stopped => {
                let waits = w.gave_up.as_ref().is_some_and(|failure| matches!(failure.cause, Cause::Waits { .. }));
                waits && self.unmet_of(w.key, seen, now).is_none_or(|unmet| unmet.may_come)
            }
        }
    }

    /// The health of a watcher, and the reason, where that depends on others.
    pub(in crate::arbiter) fn fares(&self, w: &Watcher, now: Now) -> (Health, Option<String>) {
        let own = health(w, self.is_waiting(w), now.mono);
        let waits = w.gave_up.as_ref().is_some_and(|failure| matches!(failure.cause, Cause::Waits { .. }));
        if own == Health::HeldBack && waits {
            // The state of the watcher that it waits for may have changed by now.
            return (own, self.unmet(w.key, now).map(|unmet| unmet.cause.words(None)));
        }
        if !is_idle(w) || !self.schedule.is_to_come_up(w.key) || own == Health::OnDemand {
            return (own, None);
        }
        if Needs::of(&w.config).is_empty() {
            let first = self.schedule.under_way().find_map(|key| self.fleet.get(key));
            return (Health::Starting, first.map(|first| format!("waits for its turn: {} is starting", first.name())));
        }
        match self.unmet(w.key, now) {
            Some(unmet) => (Health::HeldBack, Some(unmet.cause.words(None))),
            None => (Health::Starting, None),
        }
    }

    /// Whether a watcher that is held back starts without a further command, as far as can be told.
    pub(in crate::arbiter) fn starts_by_itself(&self, w: &Watcher, now: Now) -> bool {
        self.may_come(w, &mut BTreeSet::new(), now)
    }

    /// The answer to a request to start a watcher that waits for one that will not come; it is held back from now on.
    pub(in crate::arbiter) fn refuse_hopeless(&mut self, key: WatcherKey, now: Now) -> Option<Fault> {
        let idle = self.fleet.get(key).is_some_and(is_idle);
        let unmet = self.unmet(key, now).filter(|unmet| idle && !unmet.may_come)?;
        self.with(key, now, |w, cx| hold(w, Vec::new(), unmet, cx)).flatten()
    }

    /// The watchers that are up and require one of these, or one that does, with what reaches them.
    pub(in crate::arbiter) fn dependents(&self, of: &BTreeSet<WatcherKey>) -> BTreeSet<WatcherKey> {
        let requires = |w: &&Watcher| !w.config.requires.is_empty() && w.config.propagate != Propagate::None;
        let candidates: Vec<&Watcher> = self.fleet.shown().filter(requires).filter(|w| !is_idle(w)).collect();
        let mut reached = of.clone();
        loop {
            let names: Vec<&str> = reached.iter().filter_map(|key| self.fleet.get(*key)).map(Watcher::name).collect();
            let is_new = |w: &&&Watcher| {
                !reached.contains(&w.key) && names.iter().any(|name| Needs::of(&w.config).requires(name))
            };
            let more: Vec<WatcherKey> = candidates.iter().filter(is_new).map(|w| w.key).collect();
            if more.is_empty() {
                return reached.difference(of).copied().collect_set();
            }
            reached.extend(more);
        }
    }

    /// Does this with one watcher for a request, and stops those first that require it.
    pub(in crate::arbiter) fn with_dependents(&mut self, key: WatcherKey, kind: OperationKind, job: JobId, now: Now) {
        let asked = once(key).collect_set();
        let along = self.dependents(&asked);
        if along.is_empty() {
            return self.submit(key, kind, vec![Waiter::Job(job)], now);
        }
        let mut stops = Stops { keys: vec![key], along, ..Stops::default() };
        match kind {
            OperationKind::Remove => stops.removed = asked,
            OperationKind::Restart => stops.restarted = asked,
            OperationKind::Start
            | OperationKind::Run
            | OperationKind::Stop
            | OperationKind::Reload
            | OperationKind::ReloadSequential => {}
        }
        self.stop_in_order(stops, Some(job));
    }

    /// A watcher has stopped, or will not start.
    pub(in crate::arbiter) fn went_down(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.fleet.get(key).filter(|w| self.phase.is_running() && is_idle(w)) else { return };
        if watcher.along {
            let starts = !watcher.starts_on_demand() && watcher.config.numprocesses > 0;
            self.with(key, now, |w, _| w.along = false);
            if starts && !self.has_its_turn_to_come(key) {
                self.submit(key, OperationKind::Start, Vec::new(), now);
            }
            return;
        }
        if has_finished(watcher) || !watcher.is_service() && is_ready(watcher) {
            return self.start_held_back(key);
        }
        if !watcher.config.on_demand && !self.has_its_turn_to_come(key) {
            self.stop_along(once(key).collect_set());
        }
        self.answer_hopeless(now);
    }

    /// No process of a watcher was left at this time, and now it has some: those that require it get new ones too.
    pub(in crate::arbiter) fn was_replaced(&mut self, key: WatcherKey, at: Mono) {
        if !self.phase.is_running() {
            return;
        }
        let Some(name) = self.fleet.get(key).map(Watcher::name) else { return };
        let is_older = |w: &&Watcher| {
            let restarts = w.running.as_ref().is_some_and(|operation| operation.kind == OperationKind::Restart);
            let reached = w.config.propagate == Propagate::Restart && Needs::of(&w.config).requires(name);
            reached && w.is_up() && !restarts && w.history.began.is_some_and(|began| began < at)
        };
        let older: BTreeSet<WatcherKey> = self.fleet.shown().filter(is_older).map(|w| w.key).collect_set();
        if older.is_empty() {
            return;
        }
        let along = self.dependents(&older).union(&older).copied().collect();
        self.stop_in_order(Stops { along, ..Stops::default() }, None);
    }

    fn stop_along(&mut self, of: BTreeSet<WatcherKey>) {
        let along = self.dependents(&of);
        if !along.is_empty() {
            self.stop_in_order(Stops { along, ..Stops::default() }, None);
        }
    }

    /// Requests that wait for a watcher to start get an answer where what it waits for will not come any more.
    pub(in crate::arbiter) fn answer_hopeless(&mut self, now: Now) {
        if !self.phase.is_running() {
            return;
        }
        let waiting: Vec<WatcherKey> = self.fleet.shown().filter(|w| !w.held.is_empty()).map(|w| w.key).collect();
        for key in waiting {
            if let Some(unmet) = self.unmet(key, now).filter(|unmet| !unmet.may_come) {
                self.with(key, now, |w, cx| hold(w, Vec::new(), unmet, cx));
            }
        }
    }

    /// A watcher has come up: those that it held back start.
    pub(in crate::arbiter) fn start_held_back(&mut self, key: WatcherKey) {
        let Some(by) = self.fleet.get(key).map(|w| w.name().to_owned()) else { return };
        let held = |w: &&Watcher| {
            let holds = w.gave_up.as_ref().and_then(|failure| failure.cause.held_back_by());
            w.state == WatcherState::Stopped && holds.is_some_and(|holds| holds.eq_ignore_ascii_case(&by))
        };
        let keys: Vec<WatcherKey> = self.fleet.shown().filter(held).map(|w| w.key).collect();
        if self.phase.is_running() && !keys.is_empty() {
            self.start_in_order(keys, None, Which::AsAtBoot);
        }
    }
}

/// Puts off the start of a watcher that waits for another. What a request is told that cannot wait for it; where the other
/// will not come, that also answers those that have waited until now.
pub(in crate::arbiter) fn hold(w: &mut Watcher, waiters: Vec<Waiter>, unmet: Unmet, cx: &mut Cx<'_>) -> Option<Fault> {
    let Unmet { cause, may_come } = unmet;
    let level = match cause {
        Cause::HeldBack { .. } => Level::Error,
        _ if may_come => Level::Info,
        _ => Level::Warning,
    };
    (w.wanted, w.along) = (true, false);
    w.failures.clear();
    w.note_failure(None, cause, cx.now);
    w.give_up_for_latest_failure();
    let fault = w.gave_up.as_ref().and_then(|failure| outcome::fault(w.name(), &[failure]))?;
    cx.log(level, fault.reason.clone());
    let (mut jobs, walks): (Vec<_>, Vec<_>) = waiters.into_iter().partition(|w| matches!(w, Waiter::Job(_)));
    cx.notify(walks, None, None);
    if may_come {
        w.held.extend(jobs.into_iter().filter_map(|w| if let Waiter::Job(job) = w { Some(job) } else { None }));
    } else {
        jobs.extend(std::mem::take(&mut w.held).into_iter().map(Waiter::Job));
        cx.notify(jobs, None, Some(&fault));
        // Others may wait for this one.
        cx.follow_ups.push_back(FollowUp::WentDown(w.key));
    }
    Some(fault)
}

/// An operation of a watcher begins: requests that waited until it may start wait for that start, or are refused.
pub(in crate::arbiter) fn release_held(w: &mut Watcher, operation: &mut Operation, cx: &mut Cx<'_>) {
    if operation.skips_stopped() {
        return;
    }
    let jobs = std::mem::take(&mut w.held).into_iter().map(Waiter::Job);
    if operation.kind.starts() {
        return operation.waiters.extend(jobs);
    }
    let fault = Fault::command(format!("start was cancelled by {}", operation.kind.name()));
    cx.notify(jobs.collect(), None, Some(&fault));
}

/// Notes when a watcher has lost its last process, and that it has others now.
pub(in crate::arbiter) fn note_loss(w: &mut Watcher, cx: &mut Cx<'_>) {
    // A run that is over is no loss.
    if w.config.on_demand || !w.is_service() {
        return;
    }
    let counts = w.counts();
    match w.state {
        WatcherState::Stopping => drop(w.lost_at.get_or_insert(cx.mono())),
        WatcherState::Active if counts.running + counts.retiring == 0 => drop(w.lost_at.get_or_insert(cx.mono())),
        WatcherState::Active if counts.running > 0 => {
            if let Some(at) = w.lost_at.take() {
                cx.follow_ups.push_back(FollowUp::Replaced(w.key, at));
            }
        }
        WatcherState::Active | WatcherState::Starting { .. } | WatcherState::Stopped => {}
    }
}
