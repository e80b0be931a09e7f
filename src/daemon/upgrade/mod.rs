//! The upgrade: circusd executes another build of itself in the same process, so its children stay its children.
//!
//! | file | what it does |
//! |---|---|
//! | `check` | the new program is run with `--check-state`: it has to say that it can read the state |
//! | `state` | everything that the new program has to know, as plain data, and the numbers of the descriptors |
//! | `exec` | hooks end, output pauses, clients are disconnected, and the process becomes the new program |
//! | `resume` | the other end: a daemon from a state |
//!
//! The state is a sealed file in memory, with version and checksum. Every descriptor keeps its number. Until the check
//! has succeeded, nothing changes. If execve itself fails, the old program resumes its own state.
//!
//! The state of libzmq is lost: connections and what is in its queues. Requests that have been received are in the
//! state; answers are flushed; clients reconnect by themselves with their routing ids, and their answers and events wait
//! for them for a while.

mod check;
mod exec;
mod resume;
mod state;

use std::path::PathBuf;
use std::time::Duration;

use super::event_loop::{Daemon, Outcome};
use crate::arbiter::{Event, Mono};

use check::Check;
pub(super) use check::check_state;
pub(super) use exec::hand_over;
pub use resume::go_on;

/// How long launches and hooks that are under way may take before they are cut short.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);

/// What was being done when an upgrade failed, and why it did.
type Failure = (&'static str, String);

/// How far an upgrade has come.
#[derive(Debug, Default)]
pub(super) enum Upgrade {
    /// None is under way.
    #[default]
    None,
    /// The new program looks at the state.
    Checking(Check),
    /// It can read it. Launches and hooks may come to their ends.
    Settling { program: PathBuf, until: Mono },
}

impl Upgrade {
    /// When to look after it.
    pub(super) fn next_due(&self) -> Option<Mono> {
        match self {
            Self::None => None,
            Self::Checking(check) => Some(check.until),
            Self::Settling { until, .. } => Some(*until),
        }
    }

    /// Whether nothing more is to be begun that would not outlive this program.
    pub(super) fn is_near(&self) -> bool {
        matches!(self, Self::Settling { .. })
    }
}

impl Daemon {
    /// The core wants to be another program.
    pub(super) fn begin_upgrade(&mut self, program: Option<String>) {
        match self.begin_check(program) {
            Ok(check) => self.upgrade = Upgrade::Checking(check),
            Err(failure) => self.upgrade_failed(failure),
        }
    }

    fn upgrade_failed(&mut self, (stage, reason): Failure) {
        self.upgrade = Upgrade::None;
        self.core.feed(Event::UpgradeFailed { stage, reason });
    }

    /// Looks how far it is, at the end of a turn.
    pub(super) fn go_on_with_upgrade(&mut self) {
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
