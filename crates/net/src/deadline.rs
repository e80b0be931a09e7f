//! How long a call may still wait.

use std::time::{Duration, Instant};

/// A point in time after which a wait is given up.
///
/// The daemon's loop never waits here. Clients read the clock, since they have no core that could hand them the time,
/// and so does a daemon that ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    /// No deadline: wait for ever.
    pub(super) const NEVER: Self = Self(None);

    /// The moment `limit` from now; `None` if it is too far away to be expressed.
    pub(super) fn after(limit: Duration) -> Self {
        Self(now().checked_add(limit))
    }

    /// This deadline, or the moment `limit` from now where that comes first.
    pub(super) fn sooner(self, limit: Duration) -> Self {
        let other = Self::after(limit);
        if self.left().is_some_and(|left| left < limit) { self } else { other }
    }

    /// What is left: `None` for ever, zero when it has passed.
    pub(super) fn left(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(now()))
    }

    /// Whether it has passed.
    pub(super) fn passed(self) -> bool {
        self.left() == Some(Duration::ZERO)
    }

    /// What is left in the unit of zmq_poll(3), rounded up so that the last wait does not spin.
    pub(super) fn milliseconds(self) -> i64 {
        match self.left() {
            None => -1,
            Some(left) => i64::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i64::MAX),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "clients have no loop that could hand them the time")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_rounded_up() {
        assert_eq!(Deadline::NEVER.milliseconds(), -1);
        assert_eq!(Deadline::after(Duration::MAX).milliseconds(), -1);
        assert_eq!(Deadline::after(Duration::ZERO).milliseconds(), 0);
        assert!(Deadline::after(Duration::ZERO).passed());
        assert!((1..=60_000).contains(&Deadline::after(Duration::from_secs(60)).milliseconds()));
    }
}
