//! What a function of one watcher may use besides the watcher itself.

use std::collections::VecDeque;

use crate::arbiter::action::Action;
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::ids::{JobId, WalkId, WatcherKey};
use crate::arbiter::lifecycle::python_hosts::PythonHosts;
use crate::arbiter::operate::job::Changes;
use crate::arbiter::operate::operation::Waiter;
use crate::arbiter::operate::phase::EssentialEnd;
use crate::arbiter::outbox::{Outbox, Pids};
use crate::arbiter::outcome::Cause;
use crate::arbiter::requests::pending::FailedReload;
use crate::arbiter::rng::Rng;
use crate::arbiter::time::{Mono, Now};
use crate::arbiter::timers::Timers;
use crate::base::{Level, Pid};
use crate::config::{CircusConfig, Host};
use crate::proto::{EventKind, Fault, Notice, Object};

/// Why a watcher may not start yet.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::arbiter) struct Unmet {
    pub(in crate::arbiter) cause: Cause,
    /// What it waits for may still come, without a command.
    pub(in crate::arbiter) may_come: bool,
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
    /// A watcher of a walk has launched its workers and waits for them to be ready: it holds up no equal any more.
    WalkPasses(WalkId),
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
