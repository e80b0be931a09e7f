//! What is known of the runs of a watcher that is no service.

use serde::{Deserialize, Serialize};

use crate::arbiter::time::Now;
use crate::config::Schedule;
use crate::proto::{RunReport, RunTrigger};

/// The run that is under way, and those that were.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Runs {
    pub(in crate::arbiter) current: Option<Run>,
    pub(in crate::arbiter) last: Option<RunReport>,
    pub(in crate::arbiter) succeeded: u64,
    pub(in crate::arbiter) failed: u64,
    /// Runs that were due and did not take place, since the one before was not over.
    #[serde(default)]
    pub(in crate::arbiter) skipped: u64,
    /// It runs as its schedule says.
    #[serde(default)]
    pub(in crate::arbiter) armed: bool,
    /// The time that was due last, or when it began to wait, in seconds since the epoch: the next run comes after it.
    #[serde(default)]
    pub(in crate::arbiter) since: Option<f64>,
    #[serde(default)]
    pub(in crate::arbiter) next: Option<NextRun>,
    /// A run is to begin as soon as the watcher is stopped, and why.
    #[serde(default)]
    pub(in crate::arbiter) follows: Option<RunTrigger>,
}

/// A run that is to come, with times in seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct NextRun {
    /// The time that the schedule names.
    pub(in crate::arbiter) due: f64,
    /// The same with `jitter`.
    pub(in crate::arbiter) at: f64,
    /// It has passed, and nothing ran.
    pub(in crate::arbiter) is_missed: bool,
    /// The clock on the wall decides, and no interval.
    pub(in crate::arbiter) is_by_wall: bool,
    /// The schedule and the time zone that it follows from.
    pub(in crate::arbiter) of: (Schedule, Option<String>),
}

/// A run that is under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Run {
    pub(in crate::arbiter) began: Now,
    pub(in crate::arbiter) trigger: RunTrigger,
    /// How many processes it has had.
    pub(in crate::arbiter) attempts: u32,
    /// How the last of them ended.
    pub(in crate::arbiter) exit_code: Option<i32>,
    /// A process has succeeded.
    pub(in crate::arbiter) is_done: bool,
    /// Why it is given up.
    pub(in crate::arbiter) failure: Option<String>,
}

impl Runs {
    pub(in crate::arbiter) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
