//! The one clock of the comparison, and the one place that waits.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time and lets time pass")]

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A moment of CLOCK_MONOTONIC, which probes read too: moments of different processes compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) fn now() -> Self {
        // The kernel always has this clock.
        let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
        Self(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }

    /// As a probe says it.
    pub(crate) fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn elapsed(self) -> Duration {
        Self::now().since(self)
    }

    pub(crate) fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Thousandths of a second, as figures have them.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Millionths of a second, as figures have them.
pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Lets this much time go by.
pub(crate) fn pass(time: Duration) {
    std::thread::sleep(time);
}

/// Waits until that moment.
pub(crate) fn pass_until(moment: Moment) {
    pass(moment.since(Moment::now()));
}

/// Looks until there is something, at most for `limit`, with this pause between two looks.
pub(crate) fn look<T>(limit: Duration, pause: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Moment::now().after(limit);
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Moment::now() >= end {
            return None;
        }
        pass(pause);
    }
}
