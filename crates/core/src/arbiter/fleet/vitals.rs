//! What is known of a worker's readiness and health.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arbiter::ids::ProbeId;
use crate::arbiter::outcome::Cause;
use crate::arbiter::time::Mono;

/// How far a worker has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Stage {
    /// Nothing is asked of it yet.
    #[default]
    Early,
    /// It runs its program, and its readiness is waited for.
    GettingReady,
    /// It is at work.
    AtWork,
}

/// What is being done to find out about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Phase {
    /// Nothing.
    #[default]
    Idle,
    /// The next attempt comes after a pause.
    Pausing,
    /// The daemon makes this attempt.
    Trying(ProbeId),
    /// The worker is expected to report.
    Listening,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Vitals {
    pub(in crate::arbiter) stage: Stage,
    pub(in crate::arbiter) phase: Phase,
    /// The number of the next attempt.
    pub(in crate::arbiter) next: u64,
    /// Why the last attempt failed.
    pub(in crate::arbiter) error: Option<String>,
    /// How many health checks in a row have failed.
    pub(in crate::arbiter) failures: u32,
    /// A health check has passed.
    pub(in crate::arbiter) has_passed: bool,
    /// The log says that it cannot be looked at.
    pub(in crate::arbiter) is_told: bool,
    /// It has shown that it is ready, as its watcher asks.
    pub(in crate::arbiter) has_been_ready: bool,
    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::arbiter) ready_since: Option<Mono>,
    /// An earlier circusd has started it: it cannot report to this one.
    pub(in crate::arbiter) is_adopted: bool,
    /// It has reported that it is ready, which may be before that is asked.
    pub(in crate::arbiter) says_ready: bool,
    /// What it reports of itself.
    pub(in crate::arbiter) status: Option<String>,
    /// The longest time between two reports of a watchdog.
    pub(in crate::arbiter) watchdog: Option<Duration>,
    /// Why it is being stopped.
    pub(in crate::arbiter) verdict: Option<Cause>,
}
