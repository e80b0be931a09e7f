//! Whether a source wakes the thread when it is readable, or is read at intervals.
//!
//! A pipe that is watched wakes its readers at every single write: with a worker that writes line by line that costs
//! the worker more than the write itself, and us a turn for a handful of lines. So a source that is busy for a while is
//! not watched any more but asked each millisecond, and watched again as soon as it has been silent for some. (Network
//! drivers learned this long ago.) What is due at once, a death or a barrier, reads it at once all the same. Pure.

use std::time::Duration;

use crate::arbiter::Mono;

/// How often a busy source is asked.
pub(crate) const ASK_EVERY: Duration = Duration::from_millis(1);

/// So many reads, each soon after the last, make a source a busy one.
const BUSY_AFTER: u8 = 16;

/// So many questions in vain make it a quiet one.
const QUIET_AFTER: u8 = 4;

/// What changes after a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Stop watching it.
    Ask,
    /// Watch it again.
    Watch,
}

/// How busy one source is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdaptiveInterval {
    asked: bool,
    last: Option<Mono>,
    count: u8,
}

impl AdaptiveInterval {
    pub(crate) fn new() -> Self {
        Self { asked: false, last: None, count: 0 }
    }

    /// When to ask again after `now`; `None` while it is watched.
    pub(crate) fn next(&self, now: Mono) -> Option<Mono> {
        self.asked.then(|| now.after(ASK_EVERY))
    }

    /// The source was read and had something or not.
    pub(crate) fn after_read(&mut self, something: bool, now: Mono) -> Option<Change> {
        let soon = self.last.is_some_and(|last| now.since(last) <= ASK_EVERY);
        if self.asked {
            self.count = if something { 0 } else { self.count + 1 };
            (self.count >= QUIET_AFTER).then(|| self.turn_to(Change::Watch))
        } else if something {
            self.last = Some(now);
            self.count = if soon { self.count + 1 } else { 0 };
            (self.count >= BUSY_AFTER).then(|| self.turn_to(Change::Ask))
        } else {
            None
        }
    }

    /// The change could not be made.
    pub(crate) fn keep_asking(&mut self) {
        self.asked = true;
    }

    fn turn_to(&mut self, change: Change) -> Change {
        self.asked = change == Change::Ask;
        self.count = 0;
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_source_is_asked_until_it_falls_silent() {
        let mut now = Mono(0);
        let mut pace = AdaptiveInterval::new();
        let mut step = |pace: &mut AdaptiveInterval, something, micros| {
            now = now.after(Duration::from_micros(micros));
            (pace.after_read(something, now), pace.next(now).is_some())
        };
        for _ in 0..100 {
            assert_eq!(step(&mut pace, true, 2000), (None, false), "now and then is not busy");
        }
        for _ in 1..BUSY_AFTER {
            assert_eq!(step(&mut pace, true, 100), (None, false));
        }
        assert_eq!(step(&mut pace, true, 100), (Some(Change::Ask), true));
        for _ in 1..QUIET_AFTER {
            assert_eq!(step(&mut pace, false, 1000), (None, true));
        }
        assert_eq!(step(&mut pace, true, 1000), (None, true), "still busy");
        for _ in 1..QUIET_AFTER {
            assert_eq!(step(&mut pace, false, 1000), (None, true));
        }
        assert_eq!(step(&mut pace, false, 1000), (Some(Change::Watch), false));
    }
}
