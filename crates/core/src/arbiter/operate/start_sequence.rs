//! Watchers started one after the other: at the daemon's start, by `start` without a name, by a pattern.
//!
//! The next watcher begins when every process of the one before has been tried, and `[circus] warmup_delay` has
//! passed. A watcher whose processes wait out a back-off has been tried: it does not hold up the others.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arbiter::core::Arbiter;
use crate::arbiter::ids::{JobId, RolloutId, WatcherKey};
use crate::arbiter::operate::job::Then;
use crate::arbiter::operate::queue::{OperationKind, Waiter};
use crate::arbiter::time::{Mono, Now, seconds};
use crate::arbiter::timers::Timer;
use crate::proto::Fault;

/// Who of those in a rollout starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Start {
    /// All: they were named.
    All,
    /// As when circusd starts: those with on_demand wait for a connection.
    AsAtBoot,
}

/// Watchers in the order in which they start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Rollout {
    /// What is done with each: a start or a reload.
    kind: OperationKind,
    left: VecDeque<WatcherKey>,
    /// The one that is starting.
    current: Option<WatcherKey>,
    not_before: Option<Mono>,
    job: Option<JobId>,
    start: Start,
}

impl Rollout {
    /// Whether this watcher's turn is still to come.
    pub(in crate::arbiter) fn will_start(&self, key: WatcherKey) -> bool {
        self.left.contains(&key)
    }

    #[cfg(debug_assertions)]
    pub(in crate::arbiter) fn job(&self) -> Option<JobId> {
        self.job
    }
}

/// How long a rollout waits for processes that exist and do not get to their program (a working directory on a dead
/// file system, say) before it looks again.
const START_TIMEOUT: Duration = Duration::from_secs(10);

impl Arbiter {
    /// Starts these watchers in this order; `job` is done with the last of them.
    pub(in crate::arbiter) fn start_in_order(&mut self, keys: Vec<WatcherKey>, job: Option<JobId>, start: Start) {
        let kind = OperationKind::Start;
        self.open_rollout(Rollout { kind, start, left: keys.into(), current: None, not_before: None, job });
    }

    /// Does this with these watchers in this order; `job` is done with the last of them.
    pub(in crate::arbiter) fn one_after_the_other(
        &mut self,
        kind: OperationKind,
        keys: Vec<WatcherKey>,
        job: Option<JobId>,
    ) {
        let start = Start::All;
        self.open_rollout(Rollout { kind, start, left: keys.into(), current: None, not_before: None, job });
    }

    /// Whether a watcher that a rollout waits for still makes its way: launches are paced or taken up, workers stop.
    fn is_on_its_way(&self, key: WatcherKey) -> bool {
        let Some(watcher) = self.watchers.get(&key) else { return false };
        let counts = watcher.counts();
        let stuck = counts.starting > 0 && counts.dying + counts.retiring == 0 && watcher.missing() == 0;
        watcher.running.is_some() && (!stuck || watcher.hooks.hold_stop())
    }

    /// The watcher that a rollout waited for has been tried.
    pub(in crate::arbiter) fn rollout_part_done(&mut self, id: RolloutId, now: Now) {
        let pause = seconds(self.circus.warmup_delay);
        let Some(rollout) = self.rollouts.get_mut(&id) else { return };
        rollout.current = None;
        self.timers.cancel(Timer::Rollout(id));
        let Some(rollout) = self.rollouts.get_mut(&id) else { return };
        if pause > Duration::ZERO && !rollout.left.is_empty() {
            rollout.not_before = Some(now.mono.after(pause));
        }
        self.due_rollouts.push_back(id);
    }

    pub(in crate::arbiter) fn advance_rollout(&mut self, id: RolloutId, now: Now) {
        let Some(rollout) = self.rollouts.get_mut(&id) else { return };
        if let Some(key) = rollout.current {
            if self.is_on_its_way(key) {
                return self.timers.set(Timer::Rollout(id), now.mono.after(START_TIMEOUT));
            }
            // Its processes do not get to their program: the others wait no longer.
            if let Some(rollout) = self.rollouts.get_mut(&id) {
                rollout.current = None;
            }
        }
        let Some(rollout) = self.rollouts.get_mut(&id) else { return };
        if let Some(at) = rollout.not_before.filter(|at| *at > now.mono) {
            self.timers.set(Timer::Rollout(id), at);
            return;
        }
        rollout.not_before = None;
        let (next, kind, start, job) = (rollout.left.pop_front(), rollout.kind, rollout.start, rollout.job);
        let waits = start == Start::AsAtBoot && next.is_some_and(|key| self.starts_on_demand(key));
        match next {
            Some(key) if waits => {
                self.update_activation(key, now);
                self.due_rollouts.push_back(id);
            }
            Some(key) => {
                if let Some(rollout) = self.rollouts.get_mut(&id) {
                    rollout.current = Some(key);
                }
                self.timers.set(Timer::Rollout(id), now.mono.after(START_TIMEOUT));
                self.submit(key, kind, vec![Waiter::Rollout(id)], now);
            }
            None => {
                self.rollouts.remove(&id);
                self.timers.cancel(Timer::Rollout(id));
                if let Some(job) = job {
                    self.job_part_done(job, None, None, now);
                }
            }
        }
    }

    /// Takes a watcher out of every rollout, begun or to come, that has not reached it yet: it was told to stop, or is gone.
    pub(in crate::arbiter) fn withdraw_from_rollouts(&mut self, key: WatcherKey) {
        let mut cheated = Vec::new();
        for rollout in self.rollouts.values_mut().filter(|rollout| rollout.left.contains(&key)) {
            rollout.left.retain(|other| *other != key);
            cheated.extend(rollout.job);
        }
        for (id, job) in &mut self.jobs {
            if let Then::Start(keys) = &mut job.then
                && keys.contains(&key)
            {
                keys.retain(|other| *other != key);
                cheated.push(*id);
            }
        }
        for job in cheated {
            // It goes on with the others; who asked for all is told at the end that one is missing.
            if let (Some(job), Some(watcher)) = (self.jobs.get_mut(&job), self.watchers.get(&key)) {
                let reason = format!("{} was stopped before it was started", watcher.name());
                job.fault.get_or_insert(Fault::command(reason));
            }
        }
    }

    /// Ends every rollout; whoever waits for one is told by its job.
    pub(in crate::arbiter) fn cancel_rollouts(&mut self) -> Vec<JobId> {
        let ids: Vec<RolloutId> = self.rollouts.keys().copied().collect();
        for id in ids {
            self.timers.cancel(Timer::Rollout(id));
        }
        self.due_rollouts.clear();
        std::mem::take(&mut self.rollouts).into_values().filter_map(|rollout| rollout.job).collect()
    }
}
