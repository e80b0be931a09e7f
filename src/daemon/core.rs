//! What all parts of the daemon share: the arbiter, the log, and the time of this turn.

use super::log::Log;
use crate::arbiter::{Arbiter, Event, Level, Now};

/// See the module.
pub(super) struct Core {
    pub(super) arbiter: Arbiter,
    pub(super) log: Log,
    pub(super) now: Now,
}

impl Core {
    /// Gives the arbiter an event.
    pub(super) fn feed(&mut self, event: Event) {
        self.arbiter.handle_event(event, self.now);
    }

    /// Goes on with another log.
    pub(super) fn replace_log(&mut self, mut log: Log) {
        log.succeed(&mut self.log);
        self.log = log;
    }

    /// Logs a line.
    pub(super) fn log(&mut self, level: Level, text: impl Into<String>) {
        self.log.line(level, self.now, text);
    }
}
