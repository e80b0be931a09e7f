//! What is known of a watcher whose number of workers follows the need (`lifecycle::scale`), and of the worker that is asked
//! whether it may go (`lifecycle::drain`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arbiter::ids::{ProbeId, WorkerId};
use crate::arbiter::time::Mono;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::arbiter) struct Scaler {
    pub(in crate::arbiter) stage: Stage,
    /// The name of the next command that is asked.
    pub(in crate::arbiter) next: u64,
    /// Since when fewer would do.
    pub(in crate::arbiter) low: Option<Low>,
    /// Processor time of workers at the last look.
    pub(in crate::arbiter) cpu: Option<CpuTimes>,
    /// What was measured last, in the unit of `scale_target`.
    pub(in crate::arbiter) measured: Option<f64>,
    /// Why nothing could be measured the last time.
    pub(in crate::arbiter) error: Option<String>,
    /// The last change of the number.
    pub(in crate::arbiter) last: Option<Rescale>,
    pub(in crate::arbiter) drain: Drain,
}

impl Scaler {
    pub(in crate::arbiter) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// See the drawing in `lifecycle::scale`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Stage {
    #[default]
    Off,
    Pausing,
    /// Something is looked up; a command has a name.
    Measuring(Option<ProbeId>),
}

/// Fewer workers would have done since then, and never fewer than `most`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Low {
    pub(in crate::arbiter) since: Mono,
    pub(in crate::arbiter) most: u32,
}

/// Processor time since the start of each worker, by pid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct CpuTimes {
    pub(in crate::arbiter) at: Mono,
    pub(in crate::arbiter) by_pid: BTreeMap<i32, Duration>,
}

/// A change of the number, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Rescale {
    pub(in crate::arbiter) from: u32,
    pub(in crate::arbiter) to: u32,
    pub(in crate::arbiter) reason: String,
    /// Seconds since the epoch.
    pub(in crate::arbiter) time: f64,
}

/// Which workers were asked whether they may go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::arbiter) struct Drain {
    /// The one that is asked now.
    pub(in crate::arbiter) asked: Option<ProbeId>,
    /// Those that were busy in this round.
    pub(in crate::arbiter) busy: BTreeSet<WorkerId>,
    /// All were: the next round comes later.
    pub(in crate::arbiter) rests: bool,
}

impl Drain {
    /// Whether some worker is to go that has not been told to.
    pub(in crate::arbiter) fn is_under_way(&self) -> bool {
        self.asked.is_some() || self.rests
    }
}
