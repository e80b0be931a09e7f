//! Time as an argument.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point of the monotonic clock: nanoseconds since some start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mono(pub u64);

/// What the clocks say in this turn. Decisions use `mono`; `unix` is printed, and decides about schedules alone.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Now {
    /// The monotonic clock.
    pub mono: Mono,
    /// Seconds since the epoch.
    pub unix: f64,
}

impl Mono {
    /// This point and a duration; the far end of the clock where the sum would pass it.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// This point less a duration; the beginning of the clock where it is further back.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; nothing where it is still to come.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Seconds from the wire or a file as a duration: nothing where negative or no number, a century at most.
pub(crate) fn seconds(seconds: f64) -> Duration {
    const CENTURY: f64 = 3.2e9;
    if seconds > 0.0 { Duration::from_secs_f64(seconds.min(CENTURY)) } else { Duration::ZERO }
}
