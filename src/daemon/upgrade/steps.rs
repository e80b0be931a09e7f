//! The steps of an upgrade, one after the other at the ends of turns.

use super::progress::{Failure, Upgrade};
use crate::arbiter::Event;
use crate::daemon::event_loop::{Daemon, Outcome};

impl Daemon {
    /// The core wants to be another program.
    pub(in crate::daemon) fn begin_upgrade(&mut self, program: Option<String>) {
        match self.begin_check(program) {
            Ok(check) => self.upgrade = Upgrade::Checking(check),
            Err(failure) => self.upgrade_failed(failure),
        }
    }

    pub(super) fn upgrade_failed(&mut self, (stage, reason): Failure) {
        self.upgrade = Upgrade::None;
        self.core.feed(Event::UpgradeFailed { stage, reason });
    }

    /// Looks how far it is, at the end of a turn.
    pub(in crate::daemon) fn go_on_with_upgrade(&mut self) {
        match std::mem::take(&mut self.upgrade) {
            Upgrade::None => {}
            Upgrade::Checking(check) if check.until <= self.core.now.mono => {
                let failure = self.end_check(&check);
                self.upgrade_failed(failure);
                self.execute_all();
            }
            Upgrade::Settling { program, until } => {
                if let Err(reason) = self.core.arbiter.may_be_upgraded() {
                    self.upgrade_failed(("check", reason));
                    return self.execute_all();
                }
                let settled = self.starting.is_empty() && self.hooks.0.runs_none();
                if settled || until <= self.core.now.mono {
                    self.outcome = Some(Outcome::Upgrade);
                }
                self.upgrade = Upgrade::Settling { program, until };
            }
            checking @ Upgrade::Checking(_) => self.upgrade = checking,
        }
    }
}
