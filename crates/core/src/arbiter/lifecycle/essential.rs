//! Essential watchers: where one has no worker left and gets none, circusd ends, with that worker's exit status.

use serde::{Deserialize, Serialize};

use crate::arbiter::action::Level;
use crate::arbiter::core::{Arbiter, Phase};
use crate::arbiter::ids::WatcherKey;
use crate::arbiter::lifecycle::workers::succeeded;
use crate::arbiter::time::Now;
use crate::config::ExitOn;

/// The exit status of circusd where no worker could be started.
const NOT_STARTED: u8 = 1;
/// What is added to a signal's number to make an exit status of it, as shells do.
const BY_SIGNAL: i32 = 128;

/// The end of an essential watcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EssentialEnd {
    /// The watcher's name.
    pub watcher: String,
    /// What circusd exits with.
    pub status: u8,
}

impl Arbiter {
    /// The essential watcher whose end has ended circusd, or is about to.
    pub fn essential_end(&self) -> Option<&EssentialEnd> {
        self.essential_end.as_ref()
    }

    /// Notes that a watcher stops of its own accord, if that is to end circusd: its last worker has exited, or none could
    /// be started.
    pub(in crate::arbiter) fn note_essential_end(&mut self, key: WatcherKey, exited: bool) {
        let Some(watcher) = self.watchers.get(&key) else { return };
        let config = &watcher.config;
        if !config.essential || config.numprocesses == 0 || self.phase != Phase::Running {
            return;
        }
        let exit = watcher.history.last_exit.as_ref().filter(|_| exited).map(|last| last.exit_code);
        if self.circus.exit_on == ExitOn::Failure && exit.is_some_and(|code| succeeded(config, code)) {
            return;
        }
        let end = EssentialEnd { watcher: watcher.name().to_owned(), status: status(exit) };
        self.essential_end.get_or_insert(end);
    }

    /// Ends circusd in order, if an essential watcher has ended. At the end of an event, when all else is settled.
    pub(in crate::arbiter) fn end_with_essential(&mut self, now: Now) {
        let Some(EssentialEnd { watcher, status }) = &self.essential_end else { return };
        if self.phase == Phase::Running {
            let text = format!("{watcher} is essential and has ended, so circusd ends, with the exit status {status}");
            self.log(Level::Error, text);
            self.quit(None, now);
        }
    }
}

fn status(exit_code: Option<i32>) -> u8 {
    let Some(code) = exit_code else { return NOT_STARTED };
    u8::try_from(if code < 0 { BY_SIGNAL - code } else { code }).unwrap_or(NOT_STARTED)
}
