//! Essential watchers: where one has no worker left and gets none, circusd ends, with that worker's exit status.

use crate::arbiter::operate::phase::EssentialEnd;

use crate::arbiter::cx::{Cx, FollowUp};
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::state::Arbiter;
use crate::arbiter::time::Now;
use crate::base::Level;
use crate::config::{ExitOn, WatcherOrigin};

/// The exit status of circusd where no worker could be started.
const NOT_STARTED: u8 = 1;
/// What is added to a signal's number to make an exit status of it, as shells do.
const BY_SIGNAL: i32 = 128;

impl Arbiter {
    /// The essential watcher whose end has ended circusd, or is about to.
    pub fn essential_end(&self) -> Option<&EssentialEnd> {
        self.essential_end.as_ref()
    }

    /// Logs that circusd stays although no watcher runs, where the last one has stopped of its own accord.
    pub(in crate::arbiter) fn log_if_none_runs(&mut self) {
        let rests = |w: &Watcher| {
            let idle = w.running.is_none() && w.waiting.is_empty() && !self.is_waiting(w) && !w.runs.armed;
            w.state == WatcherState::Stopped && idle
        };
        let mut watchers = self.fleet.shown().filter(|w| w.config.origin == WatcherOrigin::User).peekable();
        let some = watchers.peek().is_some();
        let (mut all_rest, mut gave_up) = (some, false);
        for w in watchers {
            all_rest &= rests(w);
            gave_up |= w.gave_up.is_some();
        }
        if self.phase.is_running() && !self.schedule.is_starting() && all_rest && gave_up {
            let text = "no watcher runs: each has stopped, failed or was never started; circusd waits for commands \
                (with essential = yes, a watcher ends circusd)";
            self.outbox.log(Level::Error, text);
        }
    }

    /// Ends circusd in order, if an essential watcher has ended. `false` if there is nothing to do.
    pub(in crate::arbiter) fn end_with_essential(&mut self, now: Now) -> bool {
        let Some(EssentialEnd { watcher, status }) = self.essential_end.as_ref().filter(|_| self.phase.is_running())
        else {
            return false;
        };
        let text = format!("{watcher} is essential and has ended, so circusd ends, with the exit status {status}");
        self.outbox.log(Level::Error, text);
        self.quit(None, now);
        true
    }
}

/// Notes that a watcher stops of its own accord, if that is to end circusd: its last worker has exited, or none could
/// be started.
pub(in crate::arbiter) fn note_end(w: &Watcher, exited: bool, cx: &mut Cx<'_>) {
    if !w.config.essential || w.config.numprocesses == 0 {
        return;
    }
    let exit = w.history.last_exit.as_ref().filter(|_| exited).map(|last| last.exit_code);
    if cx.circus.exit_on == ExitOn::Failure && exit.is_some_and(|code| w.is_success(code)) {
        return;
    }
    let end = EssentialEnd { watcher: w.name().to_owned(), status: status(exit) };
    cx.follow_ups.push_back(FollowUp::Essential(end));
}

fn status(exit_code: Option<i32>) -> u8 {
    let Some(code) = exit_code else { return NOT_STARTED };
    u8::try_from(if code < 0 { BY_SIGNAL - code } else { code }).unwrap_or(NOT_STARTED)
}
