//! Events as they are published: `watcher.<res_name>.<event>` and a JSON object.

use serde::{Deserialize, Serialize};

use super::{HookPoint, RunReport, RunTrigger};

/// What happened. The names and payload keys are Circus's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum EventKind {
    /// A process was created.
    Spawn {
        /// Its pid.
        process_pid: i32,
    },
    /// A worker has shown that it is ready.
    Ready {
        /// Its pid.
        process_pid: i32,
        /// Its number within the watcher.
        wid: u32,
    },
    /// A worker is unhealthy, and is being stopped.
    Unhealthy {
        /// Its pid.
        process_pid: i32,
        /// Its number within the watcher.
        wid: u32,
        /// The check that failed, and its error.
        reason: String,
    },
    /// A watcher went active.
    Start,
    /// A watcher has stopped.
    Stop {
        /// Why, where that was not asked for.
        reason: Option<String>,
    },
    /// A watcher that is no service has begun to do its work.
    RunBegin {
        /// Why.
        trigger: RunTrigger,
    },
    /// It has done its work, or has not.
    RunEnd(RunReport),
    /// A stop signal, or the SIGKILL after it, was sent to a process.
    Kill {
        /// Its pid.
        process_pid: i32,
    },
    /// A process was collected: each death gives exactly one.
    Reap {
        /// Its pid.
        process_pid: i32,
        /// The exit status, or minus the signal that ended it.
        exit_code: i32,
        /// The kernel has killed it because memory ran out. Named only where it is so.
        oom: bool,
    },
    /// A graceful reload is done.
    Reload,
    /// A graceful reload has failed: its new processes go.
    ReloadFailed {
        /// The number of the worker that did not come up, where one is known.
        wid: Option<u32>,
        /// Why.
        reason: String,
        /// What that worker has printed last, as far as it is kept.
        lines: Vec<String>,
    },
    /// An option was set.
    Updated,
    /// The number of workers has followed the need.
    Scale {
        /// How many there were to be.
        before: u32,
        /// How many there are to be now.
        numprocesses: u32,
        /// Why.
        reason: String,
    },
    /// A watcher was added by command.
    Add,
    /// A watcher was removed by command.
    Remove,
    /// A hook has answered, yes or no.
    HookSuccess {
        /// Which.
        hook: HookPoint,
    },
    /// A hook gave no answer.
    HookFailure {
        /// Which.
        hook: HookPoint,
        /// Why.
        error: String,
    },
    /// circusd has become another build of itself. It concerns no watcher: see [`CIRCUSD`].
    Upgrade {
        /// The version that is at work now.
        version: String,
    },
}

/// The resource of events that concern circusd itself. Their topics do not begin with `watcher.`, so that a watcher of
/// this name has topics of its own.
pub const CIRCUSD: &str = "circusd";

/// An event of a watcher, ready to be published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// The watcher's name as topics spell it (see [`resource_name`]).
    pub resource: String,
    /// What happened.
    pub kind: EventKind,
    /// Seconds since the epoch.
    pub time: f64,
}

impl EventKind {
    /// The same without texts that may quote what a worker, a hook or a check has printed, or how it was started.
    #[must_use]
    pub fn without_texts(self) -> Self {
        match self {
            Self::Unhealthy { process_pid, wid, .. } => Self::Unhealthy { process_pid, wid, reason: String::new() },
            Self::Stop { .. } => Self::Stop { reason: None },
            Self::RunEnd(run) => Self::RunEnd(RunReport { reason: None, ..run }),
            Self::ReloadFailed { wid, .. } => Self::ReloadFailed { wid, reason: String::new(), lines: Vec::new() },
            Self::HookFailure { hook, .. } => Self::HookFailure { hook, error: String::new() },
            same @ (Self::Spawn { .. }
            | Self::Ready { .. }
            | Self::Start
            | Self::RunBegin { .. }
            | Self::Kill { .. }
            | Self::Reap { .. }
            | Self::Reload
            | Self::Updated
            | Self::Scale { .. }
            | Self::Add
            | Self::Remove
            | Self::HookSuccess { .. }
            | Self::Upgrade { .. }) => same,
        }
    }

    /// The last part of the topic.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Spawn { .. } => "spawn",
            Self::Ready { .. } => "ready",
            Self::Unhealthy { .. } => "unhealthy",
            Self::ReloadFailed { .. } => "reload_failed",
            Self::Start => "start",
            Self::Stop { .. } => "stop",
            Self::RunBegin { .. } => "run_begin",
            Self::RunEnd(_) => "run_end",
            Self::Kill { .. } => "kill",
            Self::Reap { .. } => "reap",
            Self::Reload => "reload",
            Self::Updated => "updated",
            Self::Scale { .. } => "scale",
            Self::Add => "add",
            Self::Remove => "remove",
            Self::HookSuccess { .. } => "hook_success",
            Self::HookFailure { .. } => "hook_failure",
            Self::Upgrade { .. } => "upgrade",
        }
    }
}

/// A watcher's name in topics: lower case, each space an underscore.
pub fn resource_name(watcher: &str) -> String {
    watcher.to_lowercase().replace(' ', "_")
}
