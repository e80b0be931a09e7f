//! A look every so often.

use std::time::Duration;

/// When the next look is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval {
    every: Duration,
    next: Option<Duration>,
}

impl Interval {
    /// The shortest time between two looks: 0 would leave no time for anything else.
    const SHORTEST: Duration = Duration::from_millis(10);

    pub(crate) fn new(every: Duration) -> Self {
        Self { every: every.max(Self::SHORTEST), next: None }
    }

    /// The first look comes when a whole period has passed.
    pub(crate) fn begin(&mut self, now: Duration) {
        self.next = now.checked_add(self.every);
    }

    /// A look is taken. What was missed because the last one took long is not made up for.
    pub(crate) fn pass(&mut self, now: Duration) {
        self.begin(now);
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.next
    }
}
