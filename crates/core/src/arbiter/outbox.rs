//! What is on its way to the daemon, and the processes that it has started.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::arbiter::action::Action;
use crate::arbiter::ids::{JobId, WatcherKey, WorkerId};
use crate::base::{Level, Pid, Throttle};
use crate::proto::{Reply, ReplyTo};

/// How many lines about workers are logged in a second; the others are counted.
pub(in crate::arbiter) type LogLimit = Throttle<50, 1>;

/// Launches that are wanted, by watcher. Watchers take turns, so that one with hundreds does not hold up another's.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Launches {
    by_watcher: BTreeMap<WatcherKey, VecDeque<WorkerId>>,
    /// The watcher whose turn was last.
    last: Option<WatcherKey>,
}

impl Launches {
    pub(in crate::arbiter) fn push_back(&mut self, worker: WorkerId) {
        self.by_watcher.entry(worker.watcher).or_default().push_back(worker);
    }

    pub(in crate::arbiter) fn pop_front(&mut self) -> Option<WorkerId> {
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.by_watcher.range((after, Bound::Unbounded)).next().or_else(|| self.by_watcher.iter().next());
        let key = next.map(|(key, _)| *key)?;
        let queue = self.by_watcher.get_mut(&key)?;
        let worker = queue.pop_front();
        if queue.is_empty() {
            self.by_watcher.remove(&key);
        }
        self.last = Some(key);
        worker
    }

    pub(in crate::arbiter) fn is_empty(&self) -> bool {
        self.by_watcher.is_empty()
    }

    #[cfg(debug_assertions)]
    pub(in crate::arbiter) fn contains(&self, worker: WorkerId) -> bool {
        self.by_watcher.get(&worker.watcher).is_some_and(|queue| queue.contains(&worker))
    }
}

/// What is on its way to the daemon.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Outbox {
    #[serde(skip)]
    pub(in crate::arbiter) actions: VecDeque<Action>,
    /// Workers whose launch the daemon has not taken up yet.
    pub(in crate::arbiter) launches: Launches,
    pub(in crate::arbiter) log_limit: LogLimit,
    /// `signal` requests that the daemon has not reported on yet.
    pub(in crate::arbiter) signal_requests: BTreeSet<JobId>,
}

impl Outbox {
    pub(in crate::arbiter) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(in crate::arbiter) fn log(&mut self, level: Level, text: impl Into<String>) {
        self.act(Action::Log(level, text.into()));
    }

    pub(in crate::arbiter) fn reply(&mut self, reply: Reply) {
        if reply.to != ReplyTo::Discard {
            self.act(Action::Reply(reply));
        }
    }
}

/// Which worker a pid belongs to, and how many there have been.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Pids {
    by_pid: HashMap<Pid, WorkerId>,
    pub(in crate::arbiter) spawned: u64,
    pub(in crate::arbiter) reaped: u64,
    pub(in crate::arbiter) released: u64,
}

impl Pids {
    pub(in crate::arbiter) fn get(&self, pid: Pid) -> Option<WorkerId> {
        self.by_pid.get(&pid).copied()
    }

    /// A process exists.
    pub(in crate::arbiter) fn created(&mut self, pid: Pid, worker: WorkerId) {
        self.spawned += u64::from(self.by_pid.insert(pid, worker).is_none());
    }

    /// A process was collected; `None` if it was not a worker.
    pub(in crate::arbiter) fn collected(&mut self, pid: Pid) -> Option<WorkerId> {
        let worker = self.by_pid.remove(&pid)?;
        self.reaped += 1;
        Some(worker)
    }

    /// A process is of no interest any more: its exit will be ignored.
    pub(in crate::arbiter) fn release(&mut self, pid: Pid) {
        self.released += u64::from(self.by_pid.remove(&pid).is_some());
    }

    #[cfg(debug_assertions)]
    pub(in crate::arbiter) fn len(&self) -> usize {
        self.by_pid.len()
    }
}
