//! All deadlines. A deadline belongs to the part that set it and is cancelled with it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::arbiter::ids::{HookId, SinkCommandId, WalkId, WatcherKey, Wid, WorkerId};
use crate::arbiter::time::Mono;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::arbiter) enum Timer {
    /// The graceful_timeout of a stopping worker is over: SIGKILL.
    Kill(WorkerId),
    /// A worker reaches its max_age.
    Expire(WorkerId),
    /// A worker has had its time to get ready.
    Ready(WorkerId),
    /// A worker is looked at again, or the look has had its time; or its watchdog has.
    Probe(WorkerId),
    /// A slot's back-off is over.
    Retry(WatcherKey, Wid),
    /// The new workers of a watcher have lived for min_uptime.
    Proof(WatcherKey),
    /// Workers of a watcher that something waits for have had the time to get to their program.
    Stuck(WatcherKey),
    /// The pause between two spawns of a watcher is over.
    Warmup(WatcherKey),
    /// A watcher has rested and waits for a connection again.
    Rearm(WatcherKey),
    /// A watcher's connections are looked at.
    Idle(WatcherKey),
    /// A watcher is to run as its schedule says.
    Run(WatcherKey),
    /// What a watcher's workers have to do is measured, or has had its time.
    Scale(WatcherKey),
    /// A worker that was asked whether it may go has had its time, or all are asked again.
    Drain(WatcherKey),
    /// The lines about workers that were left out of the log are counted.
    LogLimit,
    /// A hook has had its time.
    Hook(HookId),
    /// The pause of a hook that waits is over.
    RetryHook(HookId),
    /// A command of a stream is started again, or has had its time to end.
    SinkCommand(SinkCommandId),
    /// The pause between the starts of two watchers is over.
    Walk(WalkId),
    /// The end has had its time.
    End,
}

/// The set of timers, each timer at most once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Timers {
    by_timer: BTreeMap<Timer, Mono>,
    by_time: BTreeSet<(Mono, Timer)>,
}

impl Timers {
    pub(in crate::arbiter) fn set(&mut self, timer: Timer, at: Mono) {
        self.cancel(timer);
        self.by_timer.insert(timer, at);
        self.by_time.insert((at, timer));
    }

    pub(in crate::arbiter) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.by_timer.remove(&timer) {
            self.by_time.remove(&(at, timer));
        }
    }

    pub(in crate::arbiter) fn get(&self, timer: Timer) -> Option<Mono> {
        self.by_timer.get(&timer).copied()
    }

    pub(in crate::arbiter) fn next(&self) -> Option<Mono> {
        self.by_time.first().map(|(at, _)| *at)
    }

    pub(in crate::arbiter) fn pop_due(&mut self, now: Mono) -> Option<Timer> {
        let (at, timer) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }

    pub(in crate::arbiter) fn iter(&self) -> impl Iterator<Item = Timer> + '_ {
        self.by_timer.keys().copied()
    }
}
