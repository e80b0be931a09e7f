//! A view of the core from outside, for tests and for callers that identify a process by its worker.

use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::fleet::worker::{Worker, WorkerState};
use crate::arbiter::ids::{WatcherKey, Wid, WorkerId};
use crate::arbiter::lifecycle::purpose::{HookTask, Purpose};
use crate::arbiter::operate::job::{Job, Then};
use crate::arbiter::operate::operation::OperationKind;
use crate::arbiter::operate::phase::Phase;
use crate::arbiter::state::Arbiter;
use crate::arbiter::time::Mono;
use crate::arbiter::timers::Timer;
use crate::base::Pid;

/// A watcher as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct WatcherView {
    /// Its state.
    pub state: WatcherState,
    /// Its place in the order of start and stop.
    pub priority: i64,
    /// How many workers are wanted.
    pub numprocesses: u32,
    /// Its workers, the oldest first.
    pub workers: Vec<WorkerView>,
    /// Whether something is being done with it, or waits to be.
    pub busy: bool,
    /// What is being done with it.
    pub operation: Option<OperationKind>,
    /// A worker that has reached max_age runs until its successor does.
    pub aging: bool,
    /// A watcher of a higher priority has not come up, so this one was not started.
    pub held_back: bool,
    /// When it is to run next as its schedule says.
    pub next_run: Option<Mono>,
    /// Its hooks that are under way.
    pub hooks: Vec<HookTask>,
}

/// A worker as it is now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorkerView {
    /// Its name.
    pub id: WorkerId,
    /// Its number.
    pub wid: Wid,
    /// Its pid, once it has one.
    pub pid: Option<Pid>,
    /// Its state.
    pub state: WorkerState,
}

impl Arbiter {
    /// The watcher of this name.
    pub fn view(&self, name: &str) -> Option<WatcherView> {
        let watcher = self.fleet.find(name).ok().and_then(|key| self.fleet.get(key))?;
        Some(self.view_of(watcher))
    }

    /// Every watcher, also those that are being removed.
    pub fn views(&self) -> Vec<WatcherView> {
        self.fleet.watchers.values().map(|watcher| self.view_of(watcher)).collect()
    }

    /// When the new workers of some request will have proved themselves.
    #[cfg(test)]
    pub(in crate::arbiter) fn proof_deadline(&self) -> Option<Mono> {
        self.fleet.keys().into_iter().filter_map(|key| self.timers.get(Timer::Proof(key))).min()
    }

    /// How many answers are owed.
    pub fn pending_answers(&self) -> usize {
        let owed = self.jobs.open.values().filter(|job| job.to.is_some()).count();
        let at_end = if let Phase::Ending { waiters, .. } = &self.phase { waiters.len() } else { 0 };
        owed + at_end + self.pending_stats.len() + self.tails.len() + self.reconfigurations.queue.len()
    }

    /// Whether everything is stopped and the last action was given out.
    pub fn has_ended(&self) -> bool {
        self.phase.has_ended()
    }

    /// Whether a watcher is still to start or stop in some walk, or in what will be one when others have stopped.
    pub(in crate::arbiter) fn has_its_turn_to_come(&self, key: WatcherKey) -> bool {
        let listed = |job: &Job| matches!(&job.then, Then::Start(keys) if keys.contains(&key));
        self.schedule.is_to_come(key) || self.jobs.open.values().any(listed)
    }

    fn view_of(&self, watcher: &Watcher) -> WatcherView {
        let view = |(id, worker): (&WorkerId, &Worker)| WorkerView {
            id: *id,
            wid: worker.wid,
            pid: worker.pid,
            state: worker.state,
        };
        WatcherView {
            state: watcher.state,
            priority: watcher.config.priority,
            numprocesses: watcher.config.numprocesses,
            workers: watcher.workers().iter().map(view).collect(),
            busy: watcher.running.is_some()
                || !watcher.waiting.is_empty()
                || watcher.hooks.hold_stop()
                || self.has_its_turn_to_come(watcher.key),
            operation: watcher.running.as_ref().map(|operation| operation.kind),
            aging: watcher.aged().next().is_some(),
            held_back: watcher.gave_up.as_ref().is_some_and(|failure| failure.cause.held_back_by().is_some()),
            next_run: self.timers.get(Timer::Run(watcher.key)),
            hooks: watcher.hooks.iter().map(|(_, purpose)| Purpose::task(purpose)).collect(),
        }
    }
}
