//! The points of a watcher's life at which a hook can run.

use serde::{Deserialize, Serialize};

/// When a hook runs. The names are Circus's: in options, in events, and in what a hook gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HookPoint {
    /// Before a watcher starts; no starts none.
    BeforeStart,
    /// When all its processes were tried; no stops it.
    AfterStart,
    /// Before each process; no stops the watcher.
    BeforeSpawn,
    /// When a process runs; no ends it and stops the watcher.
    AfterSpawn,
    /// Before the processes get the stop signal.
    BeforeStop,
    /// When the last process is gone.
    AfterStop,
    /// Before a signal to a process; no keeps it back, unless it is SIGKILL.
    BeforeSignal,
    /// When it was sent, or kept back.
    AfterSignal,
    /// When a process has ended.
    BeforeReap,
    /// When that was published.
    AfterReap,
    /// When `stats` was asked for with `extended`.
    ExtendedStats,
}

impl HookPoint {
    /// Every point.
    pub const ALL: [Self; 11] = [
        Self::BeforeStart,
        Self::AfterStart,
        Self::BeforeSpawn,
        Self::AfterSpawn,
        Self::BeforeStop,
        Self::AfterStop,
        Self::BeforeSignal,
        Self::AfterSignal,
        Self::BeforeReap,
        Self::AfterReap,
        Self::ExtendedStats,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeStart => "before_start",
            Self::AfterStart => "after_start",
            Self::BeforeSpawn => "before_spawn",
            Self::AfterSpawn => "after_spawn",
            Self::BeforeStop => "before_stop",
            Self::AfterStop => "after_stop",
            Self::BeforeSignal => "before_signal",
            Self::AfterSignal => "after_signal",
            Self::BeforeReap => "before_reap",
            Self::AfterReap => "after_reap",
            Self::ExtendedStats => "extended_stats",
        }
    }

    /// The point of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|point| point.name() == name)
    }

    /// Whether a hook that fails here counts as one that returns true, whatever its flag is. In Circus a broken hook
    /// does not prevent a stop.
    pub fn forgives(self) -> bool {
        match self {
            Self::BeforeStop | Self::AfterStop | Self::BeforeSignal | Self::AfterSignal => true,
            Self::BeforeStart
            | Self::AfterStart
            | Self::BeforeSpawn
            | Self::AfterSpawn
            | Self::BeforeReap
            | Self::AfterReap
            | Self::ExtendedStats => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for point in HookPoint::ALL {
            assert_eq!(HookPoint::parse(point.name()), Some(point));
        }
        assert_eq!(HookPoint::parse("before_lunch"), None);
    }
}
