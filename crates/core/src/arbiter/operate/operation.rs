//! An operation of a watcher: what it does, how far it has come, and what waits for it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::arbiter::ids::{JobId, WalkId, WatcherKey, WorkerId};
use crate::base::Pid;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationKind {
    /// Have all processes run.
    Start,
    /// Have the process of a watcher that is no service run once.
    Run,
    /// Have none run.
    Stop,
    /// Stop, then start.
    Restart,
    /// New processes first, then the old ones stop.
    Reload,
    /// One process after the other is replaced.
    ReloadSequential,
    /// Stop, and forget the watcher.
    Remove,
}

impl OperationKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Start, Self::Run, Self::Stop, Self::Restart, Self::Reload, Self::ReloadSequential, Self::Remove];

    /// As clients call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Run => "run",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload | Self::ReloadSequential => "reload",
            Self::Remove => "rm",
        }
    }

    /// Whether a watcher that is stopped starts by it.
    pub(in crate::arbiter) fn starts(self) -> bool {
        match self {
            Self::Start | Self::Run | Self::Restart | Self::Reload | Self::ReloadSequential => true,
            Self::Stop | Self::Remove => false,
        }
    }

    pub(in crate::arbiter) fn overtakes(self) -> bool {
        match self {
            Self::Stop | Self::Remove => true,
            Self::Start | Self::Run | Self::Restart | Self::Reload | Self::ReloadSequential => false,
        }
    }
}

/// A job or a walk that waits for the end of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Waiter {
    /// A client's job.
    Job(JobId),
    /// A walk, and this is its watcher that is done.
    Walk(WalkId, WatcherKey),
}

/// How far a running operation has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Progress {
    /// Start: until all processes run.
    Starting,
    /// Stop, and the first half of a restart: until none runs.
    Stopping,
    /// Reload: new processes come up beside the old ones, batch by batch.
    Surging,
    /// Reload: the old processes leave.
    Retiring,
    /// Exclusive reload: these are still to be replaced; `current` is being stopped.
    Replacing { left: VecDeque<WorkerId>, current: Option<WorkerId> },
}

/// Why there is an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Reason {
    /// It was requested.
    #[default]
    Requested,
    /// An option or a socket has changed, which reaches new processes only: the processes are replaced whatever a HUP
    /// means to them, and a watcher that is stopped by then stays so.
    #[serde(alias = "SocketChanged")]
    OptionChanged,
    /// One was requested and waited when an option changed, or the other way round.
    Both,
    /// A connection has come (`on_demand`): it waits for no other watcher.
    Connected,
    /// A watcher that this one requires stops, or was replaced.
    Along,
    /// It has had no connection for `idle_timeout`: it stops, and waits for the next one.
    Idle,
}

impl Reason {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(in crate::arbiter) fn is_request(&self) -> bool {
        *self == Self::Requested
    }

    pub(in crate::arbiter) fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Both }
    }
}

/// An operation of a watcher, running or waiting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Operation {
    pub(in crate::arbiter) kind: OperationKind,
    pub(in crate::arbiter) progress: Progress,
    pub(in crate::arbiter) waiters: Vec<Waiter>,
    /// The processes there were when it began.
    pub(in crate::arbiter) before: Vec<Pid>,
    /// Failures from here on are this operation's.
    pub(in crate::arbiter) mark: u64,
    /// While a reload brings up new processes: the old ones whose turn has not come.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub(in crate::arbiter) left: VecDeque<WorkerId>,
    /// The processes of the batch that is coming up have names from here on.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(in crate::arbiter) batch_since: u64,
    /// Old processes have been told to stop, so that not all can be kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::arbiter) is_partly_done: bool,
    pub(in crate::arbiter) reason: Reason,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(serial: &u64) -> bool {
    *serial == 0
}

impl Operation {
    pub(in crate::arbiter) fn new(kind: OperationKind, waiters: Vec<Waiter>, reason: Reason) -> Self {
        Self {
            kind,
            progress: Progress::Starting,
            waiters,
            before: Vec::new(),
            mark: 0,
            left: VecDeque::new(),
            batch_since: 0,
            is_partly_done: false,
            reason,
        }
    }

    /// Whether it is a step of a walk.
    pub(in crate::arbiter) fn is_of_walk(&self) -> bool {
        self.waiters.iter().any(|waiter| matches!(waiter, Waiter::Walk(..)))
    }

    /// Whether a watcher that is stopped stays so.
    pub(in crate::arbiter) fn skips_stopped(&self) -> bool {
        self.reason == Reason::OptionChanged
    }

    /// Whether the processes must be replaced, whatever a HUP means to them.
    pub(in crate::arbiter) fn needs_new_processes(&self) -> bool {
        !matches!(self.reason, Reason::Requested | Reason::Connected)
    }

    /// Whether the slot of this worker is filled again even where workers that end are not replaced.
    pub(in crate::arbiter) fn replaces(&self, id: WorkerId) -> bool {
        matches!(&self.progress, Progress::Replacing { current, .. } if *current == Some(id))
    }
}
