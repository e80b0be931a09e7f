//! What a function of one watcher may use besides the watcher itself.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::arbiter::action::Action;
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::ids::{JobId, WalkId, WatcherKey, WorkerId};
use crate::arbiter::lifecycle::announce::LogLimit;
use crate::arbiter::lifecycle::essential::EssentialEnd;
use crate::arbiter::lifecycle::python_hosts::PythonHosts;
use crate::arbiter::operate::dependence::Unmet;
use crate::arbiter::operate::failed_reload::FailedReload;
use crate::arbiter::operate::job::Changes;
use crate::arbiter::operate::queue::Waiter;
use crate::arbiter::rng::Rng;
use crate::arbiter::time::{Mono, Now};
use crate::arbiter::timers::Timers;
use crate::base::{Level, Pid};
use crate::config::{CircusConfig, Host};
use crate::proto::{EventKind, Fault, Notice, Object, Reply, ReplyTo};

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

/// What follows outside the watcher from what was done to it. It is done when the event at hand is dealt with.
#[derive(Debug, PartialEq)]
pub(in crate::arbiter) enum FollowUp {
    /// A part of a job is done.
    JobPart { job: JobId, changes: Option<Changes>, fault: Option<Fault> },
    /// A job was opened: it may have no parts at all.
    JobOpened(JobId),
    /// A watcher of a walk is done: the walk may go on.
    WalkPart(WalkId, WatcherKey),
    /// A reload has failed.
    ReloadFailed(Box<FailedReload>),
    /// A watcher of a walk does not hold up the others any more.
    WalkGoesOn(WalkId),
    /// The hook `extended_stats` has answered about a process.
    ExtendedStats { job: JobId, pid: Pid, stats: Result<Object, String> },
    /// A watcher has come up: those that it held back may start.
    CameUp(WatcherKey),
    /// A watcher has stopped, or will not start: those that need it are looked at.
    WentDown(WatcherKey),
    /// No process of a watcher was left at that time, and now it has others.
    Replaced(WatcherKey, Mono),
    /// A run is over that another follows.
    RunNext(WatcherKey),
    /// A watcher has stopped of its own accord, or did not start.
    GaveUp,
    /// An essential watcher has ended.
    Essential(EssentialEnd),
    /// A removed watcher has stopped.
    Forget(WatcherKey),
}

/// The context of one event: the parts of the arbiter that belong to no single watcher.
pub(in crate::arbiter) struct Cx<'a> {
    pub(in crate::arbiter) now: Now,
    pub(in crate::arbiter) circus: &'a CircusConfig,
    pub(in crate::arbiter) host: &'a Host,
    /// `false` once a stop is forced: hooks are not run any more.
    pub(in crate::arbiter) runs_hooks: bool,
    /// Why the watcher at hand may not start now.
    pub(in crate::arbiter) unmet: Option<Unmet>,
    pub(in crate::arbiter) outbox: &'a mut Outbox,
    pub(in crate::arbiter) timers: &'a mut Timers,
    pub(in crate::arbiter) rng: &'a mut Rng,
    pub(in crate::arbiter) pids: &'a mut Pids,
    pub(in crate::arbiter) hosts: &'a mut PythonHosts,
    pub(in crate::arbiter) follow_ups: &'a mut VecDeque<FollowUp>,
}

impl Cx<'_> {
    pub(in crate::arbiter) fn mono(&self) -> Mono {
        self.now.mono
    }

    pub(in crate::arbiter) fn act(&mut self, action: Action) {
        self.outbox.act(action);
    }

    pub(in crate::arbiter) fn log(&mut self, level: Level, text: impl Into<String>) {
        self.outbox.log(level, text);
    }

    pub(in crate::arbiter) fn publish(&mut self, watcher: &Watcher, kind: EventKind) {
        let notice = Notice { resource: watcher.resource.clone(), kind, time: self.now.unix };
        self.outbox.act(Action::Publish(notice));
    }

    pub(in crate::arbiter) fn job_part_done(&mut self, job: JobId, changes: Option<Changes>, fault: Option<Fault>) {
        self.follow_ups.push_back(FollowUp::JobPart { job, changes, fault });
    }

    /// Gives those that wait for an operation its result.
    pub(in crate::arbiter) fn notify(
        &mut self,
        waiters: Vec<Waiter>,
        changes: Option<&Changes>,
        fault: Option<&Fault>,
    ) {
        for waiter in waiters {
            match waiter {
                Waiter::Job(job) => self.job_part_done(job, changes.cloned(), fault.cloned()),
                Waiter::Walk(id, key) => self.follow_ups.push_back(FollowUp::WalkPart(id, key)),
            }
        }
    }
}
