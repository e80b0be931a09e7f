//! Watchers that a connection has started, and that stop again when none is open for a while (`idle_timeout`).
//!
//! ```text
//!            a quarter of idle_timeout             some are open
//!   Busy ─────────────────────────────▶ Looking ─────────────────▶ Busy
//!    ▲                                     │ none is open
//!    │ a connection comes                  ▼        idle_timeout                 none is open
//!    └───────────────────────────────── Listening ──────────────▶ Looking (last) ────────────▶ the watcher stops
//! ```
//!
//! The kernel is asked which connections are open, those in the queue included, so that no worker has to say anything and
//! none is stopped under a request. While circusd listens, the first connection says that the watcher is busy, and
//! circusd hears of no other: a busy watcher costs one look in a quarter of `idle_timeout`, one that is stopped nothing.

use crate::arbiter::fleet::activation::{Idle, Stage};

use crate::arbiter::action::Action;
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::ids::WatcherKey;
use crate::arbiter::operate::operation::{Operation, OperationKind, Reason};
use crate::arbiter::state::Arbiter;
use crate::arbiter::time::{Now, seconds};
use crate::arbiter::timers::Timer;
use crate::base::Level;

/// How many looks at a busy watcher there are in its `idle_timeout`.
const LOOKS: u32 = 4;

impl Watcher {
    pub(in crate::arbiter) fn idle_stage(&self) -> Option<Stage> {
        self.activation.idle.map(|idle| idle.stage)
    }
}

impl Arbiter {
    /// Whether a watcher's connections are looked at: its workers are all there, and nothing is being done with it.
    fn is_looked_at(&self, w: &Watcher) -> bool {
        let idle = w.state == WatcherState::Active && w.running.is_none() && w.waiting.is_empty() && !w.removed;
        let starts_again = w.starts_on_demand() && w.config.numprocesses > 0;
        let taking_over = self.reconfigurations.is_taking_over();
        w.config.idle_timeout > 0.0
            && idle
            && starts_again
            && w.slots.left_empty == 0
            && w.is_settled()
            && self.phase.is_running()
            && !taking_over
    }

    /// Begins to look at a watcher's connections, or ends it, in line with what the watcher is.
    pub(in crate::arbiter) fn update_idle(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.fleet.get(key) else { return };
        let timeout = watcher.config.idle_timeout;
        match (self.is_looked_at(watcher), watcher.activation.idle) {
            (true, Some(idle)) if idle.timeout.total_cmp(&timeout).is_eq() => {}
            (true, _) => self.set_idle(key, Stage::Busy, now),
            (false, Some(_)) => {
                self.timers.cancel(Timer::Idle(key));
                if let Some(watcher) = self.fleet.watchers.get_mut(&key) {
                    watcher.activation.idle = None;
                }
            }
            (false, None) => {}
        }
    }

    fn set_idle(&mut self, key: WatcherKey, stage: Stage, now: Now) {
        let Some(watcher) = self.fleet.watchers.get_mut(&key) else { return };
        let timeout = watcher.config.idle_timeout;
        watcher.activation.idle = Some(Idle { stage, timeout });
        match stage {
            Stage::Busy => self.timers.set(Timer::Idle(key), now.mono.after(seconds(timeout) / LOOKS)),
            Stage::Listening => self.timers.set(Timer::Idle(key), now.mono.after(seconds(timeout))),
            Stage::Looking { .. } => self.count_connections(key),
        }
    }

    /// Asks how many connections a watcher has, for the first time or for another daemon once more.
    pub(in crate::arbiter) fn count_connections(&mut self, key: WatcherKey) {
        let Some(watcher) = self.fleet.get(key) else { return };
        let sockets = self.own_sockets(watcher).into_iter().collect();
        self.outbox.act(Action::CountConnections { watcher: key, sockets });
    }

    /// It is time for a look.
    pub(in crate::arbiter) fn idle_due(&mut self, key: WatcherKey, now: Now) {
        let Some(stage) = self.fleet.get(key).and_then(Watcher::idle_stage) else { return };
        self.set_idle(key, Stage::Looking { last: stage == Stage::Listening }, now);
        self.update_activation(key, now);
    }

    /// Looks at a watcher's connections before its time.
    pub(in crate::arbiter) fn look_again(&mut self, key: WatcherKey, now: Now) {
        self.timers.cancel(Timer::Idle(key));
        self.set_idle(key, Stage::Looking { last: false }, now);
    }

    /// A connection has come to a watcher that was idle.
    pub(in crate::arbiter) fn is_busy(&mut self, key: WatcherKey, now: Now) {
        self.set_idle(key, Stage::Busy, now);
        self.update_activation(key, now);
    }

    /// So many connections are open.
    pub(in crate::arbiter) fn connections_counted(&mut self, key: WatcherKey, open: Result<usize, String>, now: Now) {
        let Some(watcher) = self.fleet.get(key) else { return };
        let Some(Stage::Looking { last }) = watcher.idle_stage() else { return };
        match open {
            Ok(0) if last => {
                let (name, timeout) = (watcher.name(), watcher.config.idle_timeout);
                let text = format!("{name}: no connection for {timeout} s, it stops; the next connection starts it");
                self.outbox.log(Level::Info, text);
                let stop = Operation::new(OperationKind::Stop, Vec::new(), Reason::Idle);
                self.submit_operation(key, stop, now);
            }
            Ok(0) => self.set_idle(key, Stage::Listening, now),
            Ok(_) => self.set_idle(key, Stage::Busy, now),
            Err(error) => {
                let text = format!("{}: its connections cannot be counted, it goes on: {error}", watcher.name());
                self.outbox.log(Level::Warning, text);
                self.set_idle(key, Stage::Busy, now);
            }
        }
        self.update_activation(key, now);
    }
}
