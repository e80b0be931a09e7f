//! Watchers that start with the first connection to their sockets (`on_demand`).
//!
//! Nobody orders a watcher to wait. Whether it does follows from what it is, and [`Arbiter::attend`] brings the sockets
//! that are watched in line with that after each change:
//!
//! - stopped, and it would start by itself (`autostart`): a connection starts it;
//! - active, and places are empty: who dies is not replaced until the next connection, which fills them again;
//! - in neither case while something is being done with it, or is about to be.
//!
//! A connection that nobody accepts is still there when the worker that should have has died. So that this is no crash
//! loop, a watcher whose worker died young, or could not be started, rests before it waits again: 100 ms, doubled each
//! time, within check_delay.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::arbiter::action::{Action, Level};
use crate::arbiter::core::{Arbiter, Phase};
use crate::arbiter::fleet::slots::back_off;
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::ids::WatcherKey;
use crate::arbiter::operate::queue::OperationKind;
use crate::arbiter::time::{Mono, Now};
use crate::arbiter::timers::Timer;
use crate::config::named_sockets;

/// What a watcher knows of its waiting for connections.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(in crate::arbiter) struct Activation {
    /// The sockets that are watched for it now.
    pub(in crate::arbiter) sockets: BTreeSet<String>,
    /// It does not wait again before then.
    pub(in crate::arbiter) rests_until: Option<Mono>,
    /// How often in a row it was started and came to nothing.
    failures: u32,
}

/// How a worker of an on_demand watcher ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::arbiter) enum RunResult {
    /// It lived long enough.
    Good,
    /// It died young, with success.
    Brief,
    /// It died young, or could not be started.
    Bad,
}

impl Arbiter {
    /// Somebody has connected to a socket, or sent something there.
    pub(in crate::arbiter) fn acceptable(&mut self, socket: &str, now: Now) {
        // Whoever starts does not wait any more, so who is meant stands fixed before.
        for key in self.activated_by.get(socket).cloned().unwrap_or_default() {
            self.submit(key, OperationKind::Start, Vec::new(), now);
        }
    }

    /// Brings the sockets that are watched for a watcher in line with whether it waits.
    pub(in crate::arbiter) fn update_activation(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.watchers.get(&key) else { return };
        if !watcher.config.on_demand && watcher.activation == Activation::default() {
            return;
        }
        let mut wanted = if self.is_waiting(watcher) { self.own_sockets(watcher) } else { BTreeSet::new() };
        match watcher.activation.rests_until.filter(|at| *at > now.mono) {
            Some(at) if !wanted.is_empty() => {
                self.timers.set(Timer::Rearm(key), at);
                wanted.clear();
            }
            Some(_) | None => self.timers.cancel(Timer::Rearm(key)),
        }
        self.watch_for(key, wanted);
    }

    /// The watcher is about to be forgotten.
    pub(in crate::arbiter) fn disarm_activation(&mut self, key: WatcherKey) {
        self.timers.cancel(Timer::Rearm(key));
        self.watch_for(key, BTreeSet::new());
    }

    /// Watches exactly these sockets for a watcher. A socket is watched once, for however many.
    fn watch_for(&mut self, key: WatcherKey, wanted: BTreeSet<String>) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        let before = std::mem::replace(&mut watcher.activation.sockets, wanted.clone());
        for name in before.difference(&wanted) {
            let Some(others) = self.activated_by.get_mut(name) else { continue };
            others.remove(&key);
            if others.is_empty() {
                self.activated_by.remove(name);
                self.act(Action::WatchSocket { name: name.clone(), on: false });
            }
        }
        for name in wanted.difference(&before) {
            let others = self.activated_by.entry(name.clone()).or_default();
            others.insert(key);
            if others.len() == 1 {
                self.act(Action::WatchSocket { name: name.clone(), on: true });
            }
        }
    }

    /// Whether a watcher waits for a connection, whether or not it rests meanwhile.
    pub(in crate::arbiter) fn is_waiting(&self, watcher: &Watcher) -> bool {
        let idle = watcher.running.is_none() && watcher.waiting.is_empty() && !watcher.removed;
        let lacks_workers = match watcher.state {
            WatcherState::Stopped => watcher.config.autostart,
            WatcherState::Active => watcher.slots.left_empty > 0,
            WatcherState::Starting { .. } | WatcherState::Stopping => false,
        };
        self.phase == Phase::Running
            && !self.is_taking_over()
            && watcher.config.on_demand
            && watcher.config.numprocesses > 0
            && idle
            && lacks_workers
    }

    /// The sockets that a connection for this watcher can come to: those it names, or with use_sockets alone all.
    pub(in crate::arbiter) fn own_sockets(&self, watcher: &Watcher) -> BTreeSet<String> {
        let named = named_sockets(&watcher.config);
        let all = named.is_empty() && watcher.config.use_sockets;
        let listening = self.sockets.iter().filter(|socket| !socket.per_worker).map(|socket| &socket.name);
        listening.filter(|name| all || named.contains(*name)).cloned().collect()
    }

    /// Whether a watcher is started by a connection where others start with circusd, or again after a stop.
    pub(in crate::arbiter) fn starts_on_demand(&self, key: WatcherKey) -> bool {
        self.watchers.get(&key).is_some_and(|watcher| watcher.config.on_demand && watcher.config.autostart)
    }

    /// The last worker of an on_demand watcher is gone: it is as before the first connection. As in Circus that is no
    /// stop, and no event.
    pub(in crate::arbiter) fn deactivate(&mut self, key: WatcherKey) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        watcher.state = WatcherState::Stopped;
        let waited = watcher.slots.clear();
        let text = format!("{} has no process left; the next connection starts it", watcher.name());
        for wid in waited {
            self.timers.cancel(Timer::Retry(key, wid));
        }
        self.timers.cancel(Timer::Warmup(key));
        self.log(Level::Info, text);
        self.act(Action::CloseStreams(key));
    }

    /// Takes note of how a worker that a connection had started ended. How long the watcher rests now.
    pub(in crate::arbiter) fn note_run(&mut self, key: WatcherKey, result: RunResult, now: Now) -> Option<Duration> {
        let jitter = self.rng.around_one(0.1);
        let bound = self.back_off_bound();
        let demand = &mut self.watchers.get_mut(&key)?.activation;
        // Several that die together are one failure.
        let rests = demand.rests_until.is_some_and(|at| at > now.mono);
        match result {
            RunResult::Good => {
                demand.failures = 0;
                return None;
            }
            RunResult::Brief if !rests => demand.failures = 1,
            RunResult::Bad if !rests => demand.failures = demand.failures.saturating_add(1),
            RunResult::Brief | RunResult::Bad => {}
        }
        let rest = back_off(demand.failures, bound).mul_f64(jitter);
        demand.rests_until = demand.rests_until.max(Some(now.mono.after(rest)));
        (!rests).then_some(rest)
    }
}
