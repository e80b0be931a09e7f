//! The state of circusd as a whole, and how it ends.

use serde::{Deserialize, Serialize};

use crate::proto::{Fault, ReplyTo};

/// What comes after everything has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::arbiter) enum AfterEnd {
    Exit,
    /// The daemon starts anew from its configuration file.
    Restart,
}

/// The state of the daemon as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Phase {
    /// The managed sockets are not open yet.
    Opening,
    Running,
    /// Everything is being stopped.
    Ending {
        then: AfterEnd,
        /// Requests that are answered at the end.
        waiters: Vec<ReplyTo>,
        /// A signal to the daemon has asked for it.
        by_signal: bool,
        /// Hooks are not waited for any more.
        force: bool,
    },
    /// The last action is out.
    Ended(AfterEnd),
}

impl Phase {
    pub(in crate::arbiter) fn is_running(&self) -> bool {
        matches!(self, Self::Running)
    }

    pub(in crate::arbiter) fn has_ended(&self) -> bool {
        matches!(self, Self::Ended(_))
    }

    pub(in crate::arbiter) fn is_forced(&self) -> bool {
        matches!(self, Self::Ending { force: true, .. })
    }

    /// Whether watchers may be stopped: also while everything is, when a stop only joins what is under way.
    pub(in crate::arbiter) fn may_stop(&self) -> Result<(), Fault> {
        match self {
            Self::Ending { .. } => Ok(()),
            Self::Opening | Self::Running | Self::Ended(_) => self.at_work(),
        }
    }

    /// Whether the fleet may be changed: not while everything is being stopped.
    pub(in crate::arbiter) fn at_work(&self) -> Result<(), Fault> {
        match self {
            Self::Opening | Self::Running => Ok(()),
            Self::Ending { then: AfterEnd::Restart, .. } | Self::Ended(AfterEnd::Restart) => {
                Err(Fault::command("arbiter is restarting..."))
            }
            Self::Ending { then: AfterEnd::Exit, .. } | Self::Ended(AfterEnd::Exit) => {
                Err(Fault::command("arbiter is already running arbiter_stop command"))
            }
        }
    }
}

/// The end of an essential watcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EssentialEnd {
    /// The watcher's name.
    pub watcher: String,
    /// What circusd exits with.
    pub status: u8,
}
