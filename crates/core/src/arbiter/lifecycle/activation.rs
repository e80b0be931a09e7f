//! Watchers that start with the first connection to their sockets (`on_demand`).
//!
//! No operation makes a watcher wait for connections. Whether it does follows from what it is, and
//! [`Arbiter::update_activation`] brings the sockets that are watched in line with that after each change:
//!
//! - stopped, and it would start by itself (`autostart`): a connection starts it;
//! - active, and slots are empty: a worker that ends is not replaced until the next connection, which fills them again;
//! - active, and without a connection for now (`idle`): the next one says that it is busy again;
//! - in no case while something is being done with it, or is about to be.
//!
//! A connection that no worker accepts is still there when the worker that should have is gone. So that this is no crash
//! loop, a watcher whose worker exited early, or could not be started, rests before it waits again: 100 ms, doubled each
//! time, within check_delay.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::arbiter::action::Action;
use crate::arbiter::cx::Cx;
use crate::arbiter::fleet::activation::{Activation, RunResult, Stage};
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::ids::WatcherKey;
use crate::arbiter::lifecycle::{backoff, stop};
use crate::arbiter::operate::operation::{Operation, OperationKind, Reason};
use crate::arbiter::state::Arbiter;
use crate::arbiter::time::Now;
use crate::arbiter::timers::Timer;
use crate::base::CollectOrdered as _;
use crate::base::Level;
use crate::config::named_sockets;

impl Arbiter {
    /// A client has connected to a socket, or sent something there.
    pub(in crate::arbiter) fn acceptable(&mut self, socket: &str, now: Now) {
        // A watcher that starts does not wait any more, so the list is taken before the first starts.
        for key in self.sockets.watched.get(socket).cloned().unwrap_or_default() {
            if self.fleet.get(key).and_then(Watcher::idle_stage) == Some(Stage::Listening) {
                self.is_busy(key, now);
                continue;
            }
            self.submit_operation(key, Operation::new(OperationKind::Start, Vec::new(), Reason::Connected), now);
        }
    }

    pub(in crate::arbiter) fn update_activations(&mut self, now: Now) {
        for key in self.fleet.keys() {
            self.update_activation(key, now);
        }
    }

    /// Brings what a watcher waits for, a connection or a time, in line with whether it waits.
    pub(in crate::arbiter) fn update_activation(&mut self, key: WatcherKey, now: Now) {
        self.update_schedule(key, now);
        self.update_scale(key, now);
        let Some(watcher) = self.fleet.get(key) else { return };
        if !watcher.config.on_demand && watcher.activation == Activation::default() {
            return;
        }
        self.update_idle(key, now);
        let Some(watcher) = self.fleet.get(key) else { return };
        let mut wanted = self.wanted_sockets(watcher);
        match watcher.activation.rests_until.filter(|at| *at > now.mono) {
            Some(at) if !wanted.is_empty() && self.is_waiting(watcher) => {
                self.timers.set(Timer::Rearm(key), at);
                wanted.clear();
            }
            Some(_) | None => self.timers.cancel(Timer::Rearm(key)),
        }
        self.watch_for(key, wanted);
    }

    /// The sockets that are watched for a watcher, whether or not it rests meanwhile.
    pub(in crate::arbiter) fn wanted_sockets(&self, watcher: &Watcher) -> BTreeSet<String> {
        let listens = watcher.idle_stage() == Some(Stage::Listening);
        if listens || self.is_waiting(watcher) { self.own_sockets(watcher) } else { BTreeSet::new() }
    }

    /// The watcher is about to be forgotten.
    pub(in crate::arbiter) fn disarm_activation(&mut self, key: WatcherKey) {
        self.timers.cancel(Timer::Idle(key));
        self.timers.cancel(Timer::Rearm(key));
        self.timers.cancel(Timer::Run(key));
        self.watch_for(key, BTreeSet::new());
    }

    /// Watches exactly these sockets for a watcher. A socket is watched once, for however many.
    fn watch_for(&mut self, key: WatcherKey, wanted: BTreeSet<String>) {
        let Some(watcher) = self.fleet.watchers.get_mut(&key) else { return };
        let before = std::mem::replace(&mut watcher.activation.sockets, wanted.clone());
        for name in before.difference(&wanted) {
            let Some(others) = self.sockets.watched.get_mut(name) else { continue };
            others.remove(&key);
            if others.is_empty() {
                self.sockets.watched.remove(name);
                self.outbox.act(Action::WatchSocket { name: name.clone(), on: false });
            }
        }
        for name in wanted.difference(&before) {
            let others = self.sockets.watched.entry(name.clone()).or_default();
            others.insert(key);
            if others.len() == 1 {
                self.outbox.act(Action::WatchSocket { name: name.clone(), on: true });
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
        self.phase.is_running()
            && !self.reconfigurations.is_taking_over()
            && watcher.config.on_demand
            && watcher.config.numprocesses > 0
            && idle
            && lacks_workers
    }

    /// The sockets that a connection for this watcher can come to: those it names, or with use_sockets alone all.
    pub(in crate::arbiter) fn own_sockets(&self, watcher: &Watcher) -> BTreeSet<String> {
        let named = named_sockets(&watcher.config);
        let all = named.is_empty() && watcher.config.use_sockets;
        let listening = self.sockets.open.iter().filter(|socket| !socket.per_worker).map(|socket| &socket.name);
        listening.filter(|name| all || named.contains(*name)).cloned().collect_set()
    }
}

/// The last worker of an on_demand watcher is gone: it is as before the first connection. As in Circus that is no
/// stop, and no event.
pub(in crate::arbiter) fn deactivate(w: &mut Watcher, cx: &mut Cx<'_>) {
    stop::come_to_rest(w, cx);
    cx.log(Level::Info, format!("{} has no process left; the next connection starts it", w.name()));
    cx.act(Action::CloseStreams(w.key));
}

/// Takes note of how a worker that a connection had started ended. How long the watcher rests now.
pub(in crate::arbiter) fn note_run(w: &mut Watcher, result: RunResult, cx: &mut Cx<'_>) -> Option<Duration> {
    let activation = &mut w.activation;
    // Several that exit together are one failure.
    let rests = activation.rests_until.is_some_and(|at| at > cx.mono());
    match result {
        RunResult::Good => {
            activation.failures = 0;
            return None;
        }
        RunResult::Brief if !rests => activation.failures = 1,
        RunResult::Bad if !rests => activation.failures = activation.failures.saturating_add(1),
        RunResult::Brief | RunResult::Bad => {}
    }
    let rest = backoff::wait(activation.failures, cx);
    activation.rests_until = activation.rests_until.max(Some(cx.mono().after(rest)));
    (!rests).then_some(rest)
}
