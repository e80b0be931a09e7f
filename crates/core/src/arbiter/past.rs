//! What is remembered of a watcher's workers, for whoever asks why it is as it is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ids::{Pid, Wid};
use super::time::Mono;
use crate::proto::SpawnError;

/// The last things that happened to a watcher's workers, and how often such things did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Past {
    pub(super) spawned: u64,
    pub(super) reaped: u64,
    pub(super) failed: u64,
    /// Workers that died unasked and were made up for.
    pub(super) restarts: u64,
    /// When the watcher left `stopped` the last time.
    pub(super) began: Option<Mono>,
    pub(super) last_exit: Option<LastExit>,
    pub(super) last_failure: Option<LastFailure>,
}

/// A worker's end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LastExit {
    pub(super) wid: Wid,
    pub(super) pid: Pid,
    /// The exit status, or minus the signal.
    pub(super) exit_code: i32,
    pub(super) lived: Duration,
    /// Seconds since the epoch.
    pub(super) time: f64,
}

/// A launch that came to nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LastFailure {
    pub(super) wid: Wid,
    pub(super) error: SpawnError,
    /// Seconds since the epoch.
    pub(super) time: f64,
}

/// Why a place waits out a back-off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Setback {
    pub(super) cause: Cause,
    /// How often in a row.
    pub(super) times: u32,
    /// How long it waits altogether.
    pub(super) wait: Duration,
}

/// What a back-off comes after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Cause {
    /// An early death: the exit status, or minus the signal.
    Exit(i32),
    /// A failed launch.
    Launch(SpawnError),
}
