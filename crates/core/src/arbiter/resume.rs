//! A hand-over: one daemon writes the state down, another reads it and goes on.
//!
//! The state is what stands between two turns, when every action has been given out. The workers outlive the first
//! daemon; everything that it did for the core ends with it, and no answer to an earlier action comes any more. The
//! next daemon calls [`Arbiter::resume`] once, which asks for all of that again:
//!
//! | under way at the hand-over | after it |
//! |---|---|
//! | the managed sockets were to be opened | they are to be opened |
//! | sockets that are watched | are watched again; a connection that waits is reported again |
//! | launches that no daemon has taken up | are still to be taken up |
//! | launches that were taken up and not confirmed | launched again: the first daemon ends their processes; one that was only to be stopped is given up |
//! | figures, lines of output, the configuration file, taking over a configuration | asked for again |
//! | hooks that run | run again, with the whole `hook_timeout`: a hook may be cut short and run twice |
//! | hooks that wait, in the pause between two attempts | pause on |
//! | a check of a watcher's connections | made again |
//! | readiness and health checks | run again |
//! | a `before_signal` about a worker that is gone, a hook that was unset meanwhile | count as true |
//! | commands of streams | run on, or are started again when their pause is over |
//! | `signal` requests that were not reported on | have failed: the signal may have been sent |
//! | deadlines | stand; one that has passed is due at once |

use crate::arbiter::action::Action;
use crate::arbiter::cx::Cx;
use crate::arbiter::fleet::activation::Stage;
use crate::arbiter::fleet::scaler::Stage as Measuring;
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::fleet::worker::WorkerState;
use crate::arbiter::ids::WorkerId;
use crate::arbiter::lifecycle::purpose::{Attempt, HookOutcome, RunningHook};
use crate::arbiter::lifecycle::{answers, checks, drain, hooks};
use crate::arbiter::operate::phase::Phase;
use crate::arbiter::state::Arbiter;
use crate::arbiter::time::Now;
use crate::arbiter::timers::Timer;
use crate::base::saved::{self, SavedError};
use crate::proto::Fault;

/// The version of the state that [`Arbiter::save`] writes. A release that changes the shape of the state counts it up,
/// and keeps a sample of the version before in the tests.
pub const STATE_VERSION: u32 = 1;

impl Arbiter {
    /// The state, for another daemon. It is to be written between two turns, when no action is left.
    ///
    /// # Errors
    /// Where something of it cannot be written as MessagePack.
    pub fn save(&self) -> Result<Vec<u8>, SavedError> {
        saved::write(STATE_VERSION, self)
    }

    /// Reads what [`Self::save`] has written. [`Self::resume`] is to be called before anything else.
    ///
    /// # Errors
    /// Where it is of another version, damaged, cut off, or no state at all.
    pub fn restore(bytes: &[u8]) -> Result<Self, SavedError> {
        saved::read(STATE_VERSION, bytes)
    }

    /// Asks again for everything that the daemon before had under way.
    pub fn resume(&mut self, now: Now) {
        if self.phase == Phase::Opening {
            self.outbox.act(Action::OpenSockets(self.sockets.configs.clone()));
        }
        for name in self.sockets.watched.keys() {
            self.outbox.actions.push_back(Action::WatchSocket { name: name.clone(), on: true });
        }
        if self.watches_clock {
            self.outbox.act(Action::WatchClock);
        }
        for job in std::mem::take(&mut self.outbox.signal_requests) {
            let fault = Fault::command("circusd was upgraded meanwhile: the signal may or may not have been sent");
            self.job_part_done(job, None, Some(fault));
        }
        self.outbox.actions.extend(self.pending_stats.sample_again());
        self.outbox.actions.extend(self.tails.iter().map(|(job, tail)| tail.action(*job)));
        self.outbox.actions.extend(self.failed_reloads.iter().flat_map(|failed| failed.lines.ask_again()));
        self.outbox.actions.extend(self.whys.iter().flat_map(|why| why.lines.ask_again()));
        self.outbox.actions.extend(self.reconfiguration_again());
        self.outbox.actions.extend(self.sink_commands.start_again());
        self.hosts.forget_all();
        for key in self.fleet.keys() {
            self.with(key, now, |w, cx| {
                launch_again(w, cx);
                run_hooks_again(w, cx);
                checks::try_again(w, cx);
                drain::ask_again(w, cx);
            });
            if self.fleet.get(key).is_some_and(|w| matches!(w.scaler.stage, Measuring::Measuring(_))) {
                self.measure(key, now);
            }
        }
        for key in self.fleet.keys() {
            let stage = self.fleet.get(key).and_then(Watcher::idle_stage);
            match stage {
                Some(Stage::Looking { .. }) => self.count_connections(key),
                // A connection may have come and gone between the two daemons.
                Some(Stage::Listening) => self.look_again(key, now),
                Some(Stage::Busy) | None => {}
            }
        }
        for key in self.fleet.keys() {
            self.advance(key, now);
        }
        self.follow_up(now);
    }
}

/// Launches that were taken up and not confirmed have come to nothing: their processes have ended with the daemon.
fn launch_again(w: &mut Watcher, cx: &mut Cx<'_>) {
    let is_launch = |state| matches!(state, WorkerState::Starting { .. });
    let taken_up: Vec<WorkerId> =
        w.workers().iter().filter(|(_, worker)| is_launch(worker.state)).map(|(id, _)| *id).collect();
    for id in taken_up {
        let launch = w.change(id, |worker| {
            // The reports of its process are not true of the next one.
            worker.vitals = None;
            (std::mem::replace(&mut worker.state, WorkerState::Queued), worker.pid.take())
        });
        let Some((state, pid)) = launch else { continue };
        if let Some(pid) = pid {
            cx.pids.release(pid);
        }
        cx.timers.cancel(Timer::Kill(id));
        if state == (WorkerState::Starting { stop_pending: false }) {
            cx.outbox.launches.push_back(id);
        } else if let Some(worker) = w.dismiss(id) {
            w.leave_slot(&worker);
            for job in worker.awaited_by {
                cx.job_part_done(job, None, None);
            }
        }
    }
}

fn run_hooks_again(w: &mut Watcher, cx: &mut Cx<'_>) {
    for id in w.hooks.of(|_| true) {
        let Some(RunningHook { purpose, subject, attempt, .. }) = w.hooks.get_mut(id).cloned() else { continue };
        if attempt == Attempt::Pausing {
            continue;
        }
        if answers::is_moot(w, id) {
            answers::drop_moot(w, id, cx);
            continue;
        }
        w.hooks.end(id);
        hooks::cancel_timers(id, cx);
        if !hooks::run(w, purpose.clone(), subject, cx) {
            answers::follow(w, purpose, None, HookOutcome::answer(Ok(true)), cx);
        }
    }
}
