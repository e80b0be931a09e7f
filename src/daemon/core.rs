//! What all parts of the daemon share: the arbiter, the log, and the time of this turn.

use super::log::{Audit, Log};
use crate::arbiter::{Arbiter, Event, Level, Now};
use circus_core::access::{AuditResult, Audited};

/// See the module.
pub(super) struct Core {
    pub(super) arbiter: Arbiter,
    pub(super) log: Log,
    pub(super) audit: Audit,
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

    /// Writes to the audit log, where there is one.
    pub(super) fn tell_audit(&mut self, audited: &Audited, result: &AuditResult) {
        self.audit.tell(audited, result, self.now);
    }

    /// Logs a line.
    pub(super) fn log(&mut self, level: Level, text: impl Into<String>) {
        self.log.line(level, self.now, text);
    }
}
