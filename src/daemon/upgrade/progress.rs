//! How far an upgrade has come.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use crate::arbiter::{Mono, Pid};

/// How long launches and hooks that are under way may take before they are cut short.
pub(super) const SETTLE_LIMIT: Duration = Duration::from_secs(1);

/// What was being done when an upgrade failed, and why it did.
pub(super) type Failure = (&'static str, String);

/// How far an upgrade has come.
#[derive(Debug, Default)]
pub(in crate::daemon) enum Upgrade {
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
    pub(in crate::daemon) fn next_due(&self) -> Option<Mono> {
        match self {
            Self::None => None,
            Self::Checking(check) => Some(check.until),
            Self::Settling { until, .. } => Some(*until),
        }
    }

    /// Whether nothing more is to be begun that would not outlive this program.
    pub(in crate::daemon) fn is_near(&self) -> bool {
        matches!(self, Self::Settling { .. })
    }
}

/// A program that looks at the state.
#[derive(Debug)]
pub(in crate::daemon) struct Check {
    pub(super) pid: Pid,
    pub(super) program: PathBuf,
    /// What it says on standard error.
    pub(super) said: OwnedFd,
    /// When it is given up.
    pub(super) until: Mono,
}
