//! The history of a watcher's workers, which explains its state.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arbiter::fleet::chronicle::Chronicle;
use crate::arbiter::ids::Wid;
use crate::arbiter::outcome::Cause;
use crate::arbiter::time::Mono;
use crate::base::Pid;
use crate::proto::SpawnError;

/// The last things that happened to a watcher's workers, and how often such things did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct History {
    pub(in crate::arbiter) spawned: u64,
    pub(in crate::arbiter) reaped: u64,
    pub(in crate::arbiter) failed: u64,
    /// Workers that exited unexpectedly and were replaced.
    pub(in crate::arbiter) restarts: u64,
    /// Processor time of the workers that have exited.
    #[serde(default)]
    pub(in crate::arbiter) ended_cpu_time: Duration,
    /// When the watcher left `stopped` the last time.
    pub(in crate::arbiter) began: Option<Mono>,
    pub(in crate::arbiter) last_exit: Option<LastExit>,
    pub(in crate::arbiter) last_failure: Option<LastFailure>,
    /// What `why` tells.
    #[serde(default, skip_serializing_if = "Chronicle::is_empty")]
    pub(in crate::arbiter) chronicle: Chronicle,
}

/// A worker's end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct LastExit {
    pub(in crate::arbiter) wid: Wid,
    pub(in crate::arbiter) pid: Pid,
    /// The exit status, or minus the signal.
    pub(in crate::arbiter) exit_code: i32,
    pub(in crate::arbiter) lived: Duration,
    /// The kernel has killed it because memory ran out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::arbiter) oom: bool,
    /// Seconds since the epoch.
    pub(in crate::arbiter) time: f64,
}

/// A launch that came to nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct LastFailure {
    pub(in crate::arbiter) wid: Wid,
    pub(in crate::arbiter) error: SpawnError,
    /// Seconds since the epoch.
    pub(in crate::arbiter) time: f64,
}

/// Why a place waits out a back-off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Backoff {
    pub(in crate::arbiter) cause: Cause,
    /// How often in a row.
    pub(in crate::arbiter) times: u32,
    /// How long it waits altogether.
    pub(in crate::arbiter) wait: Duration,
}
