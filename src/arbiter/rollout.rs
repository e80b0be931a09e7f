//! Watchers started one after the other: at the daemon's start, by `start` without a name, by a pattern.
//!
//! The next watcher begins when every process of the one before has been tried, and `[circus] warmup_delay` has
//! passed. A watcher whose processes wait out a back-off has been tried: it does not hold up the others.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::core::Arbiter;
use super::deadlines::Timer;
use super::ids::{JobId, RolloutId, WatcherKey};
use super::job::Then;
use super::operation::{OperationKind, Ticket};
use super::time::{Mono, Now, seconds};

/// Who of those in a rollout starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Start {
    /// All: they were named.
    All,
    /// As when circusd starts: those with on_demand wait for a connection.
    AsAtBoot,
}

/// Watchers in the order in which they start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Rollout {
    left: VecDeque<WatcherKey>,
    /// The one that is starting.
    current: Option<WatcherKey>,
    not_before: Option<Mono>,
    job: Option<JobId>,
    start: Start,
}

impl Rollout {
    /// Whether this watcher's turn is still to come.
    pub(super) fn will_start(&self, key: WatcherKey) -> bool {
        self.left.contains(&key)
    }

    #[cfg(debug_assertions)]
    pub(super) fn job(&self) -> Option<JobId> {
        self.job
    }
}

impl Arbiter {
    /// Starts these watchers in this order; `job` is done with the last of them.
    pub(super) fn start_in_order(&mut self, keys: Vec<WatcherKey>, job: Option<JobId>, start: Start) {
        self.open_rollout(Rollout { left: keys.into(), current: None, not_before: None, job, start });
    }

    /// The watcher that a rollout waited for has been tried.
    pub(super) fn rollout_part_done(&mut self, id: RolloutId, now: Now) {
        let pause = seconds(self.circus.warmup_delay);
        let Some(rollout) = self.rollouts.get_mut(&id) else { return };
        rollout.current = None;
        if pause > Duration::ZERO && !rollout.left.is_empty() {
            rollout.not_before = Some(now.mono.after(pause));
        }
        self.due_rollouts.push_back(id);
    }

    pub(super) fn advance_rollout(&mut self, id: RolloutId, now: Now) {
        let Some(rollout) = self.rollouts.get_mut(&id) else { return };
        if rollout.current.is_some() {
            return;
        }
        if let Some(at) = rollout.not_before.filter(|at| *at > now.mono) {
            self.deadlines.set(Timer::Rollout(id), at);
            return;
        }
        rollout.not_before = None;
        let (next, start, job) = (rollout.left.pop_front(), rollout.start, rollout.job);
        rollout.current = next;
        match next {
            Some(key) if start == Start::AsAtBoot && self.starts_on_demand(key) => {
                self.attend(key, now);
                self.rollout_part_done(id, now);
            }
            Some(key) => {
                self.submit(key, OperationKind::Start, vec![Ticket::Rollout(id)], now);
            }
            None => {
                self.rollouts.remove(&id);
                if let Some(job) = job {
                    self.job_part_done(job, None, None, now);
                }
            }
        }
    }

    /// Takes a watcher out of every rollout, begun or to come, that has not reached it yet: it was told to stop, or is gone.
    pub(super) fn withdraw_from_rollouts(&mut self, key: WatcherKey) {
        for rollout in self.rollouts.values_mut() {
            rollout.left.retain(|other| *other != key);
        }
        for job in self.jobs.values_mut() {
            if let Then::Start(keys) = &mut job.then {
                keys.retain(|other| *other != key);
            }
        }
    }

    /// Ends every rollout; whoever waits for one is told by its job.
    pub(super) fn cancel_rollouts(&mut self) -> Vec<JobId> {
        let ids: Vec<RolloutId> = self.rollouts.keys().copied().collect();
        for id in ids {
            self.deadlines.cancel(Timer::Rollout(id));
        }
        self.due_rollouts.clear();
        std::mem::take(&mut self.rollouts).into_values().filter_map(|rollout| rollout.job).collect()
    }
}
