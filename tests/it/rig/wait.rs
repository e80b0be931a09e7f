//! Waiting, and figures of how long something takes.
#![expect(clippy::disallowed_methods, reason = "a test waits for what another process does")]

use std::time::{Duration, Instant};

/// How long anything may take. Only a failing test takes it, so it allows for a machine that is busy with others.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Waits until this is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Waits until there is something, and returns it.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    match look_until(DEADLINE, &mut look) {
        Some(found) => found,
        None => panic!("waited {} s in vain until {what}", DEADLINE.as_secs()),
    }
}

/// Looks until there is something, at most for `limit`.
pub(crate) fn look_until<T>(limit: Duration, look: impl FnMut() -> Option<T>) -> Option<T> {
    circus_test_support::look_until(limit, PAUSE, look)
}

/// How often something was measured, and what of it one half, and one in a hundred, exceeds.
#[derive(Clone, Copy)]
pub(crate) struct Figures {
    n: usize,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Figures {
    /// Measures how long this takes, so often.
    pub(crate) fn of(n: usize, mut act: impl FnMut()) -> Self {
        let mut time = |_| {
            let begun = Instant::now();
            act();
            begun.elapsed()
        };
        let mut times: Vec<Duration> = (0..n).map(&mut time).collect();
        times.sort();
        Self { n, p50: times[n / 2], p99: times[n * 99 / 100] }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:.2?}, p99 {:.2?}, n = {}", self.p50, self.p99, self.n)
    }
}

/// Lets this much time go by: only for observing that nothing happens in it, and for a steady load.
pub(crate) fn observe_for(time: Duration) {
    std::thread::sleep(time);
}
