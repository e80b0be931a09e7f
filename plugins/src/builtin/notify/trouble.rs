//! A watcher that something is wrong with: when that is told, and when it is over. Pure: time is an argument.

use std::time::Duration;

use crate::builtin::notify::template::Facts;
use crate::support::why::Why;

/// A watcher's trouble.
#[derive(Debug)]
pub(super) struct Trouble {
    began: Duration,
    faults: u64,
    told_at: Option<Duration>,
    /// When to look whether it is over.
    look_at: Duration,
}

/// Whether a fault is told.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    Now(Facts),
    /// It is counted.
    Later,
}

impl Trouble {
    pub(super) fn new(now: Duration) -> Self {
        Self { began: now, faults: 0, told_at: None, look_at: now }
    }

    pub(super) fn look_at(&self) -> Duration {
        self.look_at
    }

    pub(super) fn was_told(&self) -> bool {
        self.told_at.is_some()
    }

    /// One more thing has gone wrong.
    pub(super) fn fault(&mut self, watcher: &str, why: Why, now: Duration, repeat: Duration, calm: Duration) -> Said {
        self.faults += 1;
        self.look_at = now.saturating_add(calm);
        let state = match self.told_at {
            None => "failed",
            Some(then) if now.saturating_sub(then) >= repeat => "still fails",
            Some(_) => return Said::Later,
        };
        self.told_at = Some(now);
        let Why { text, lines, signal, lived } = why;
        let text = text.unwrap_or_default();
        Said::Now(Facts { watcher: watcher.to_owned(), state, text, count: self.faults, lines, signal, lived })
    }

    /// It is not known yet whether it is over.
    pub(super) fn look_later(&mut self, now: Duration, calm: Duration) {
        // Never at once again, or the plugin would not rest.
        self.look_at = now.saturating_add(calm.max(Duration::from_secs(1)));
    }

    pub(super) fn is_over(&self, watcher: &str, now: Duration) -> Facts {
        let failures = if self.faults == 1 { "failure" } else { "failures" };
        let text = format!("after {} {failures} in {}", self.faults, words(now.saturating_sub(self.began)));
        let (watcher, state, count) = (watcher.to_owned(), "is back to normal", self.faults);
        Facts { watcher, state, text, count, lines: Vec::new(), signal: None, lived: None }
    }
}

fn words(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_fault_is_told_and_others_when_some_time_has_passed() {
        let at = Duration::from_secs;
        let mut trouble = Trouble::new(at(0));
        let mut fault = |now| match trouble.fault("w", Why::default(), at(now), at(100), at(10)) {
            Said::Now(facts) => Some((facts.state, facts.count)),
            Said::Later => None,
        };
        assert_eq!(fault(0), Some(("failed", 1)));
        assert_eq!(fault(50), None);
        assert_eq!(fault(100), Some(("still fails", 3)));
        assert_eq!(fault(150), None);
        assert_eq!(trouble.look_at(), at(160));
        assert_eq!(trouble.is_over("w", at(160)).text, "after 4 failures in 2 min");
    }

    #[test]
    fn look_is_never_due_at_once() {
        let mut trouble = Trouble::new(Duration::ZERO);
        trouble.look_later(Duration::from_secs(5), Duration::ZERO);
        assert_eq!(trouble.look_at(), Duration::from_secs(6));
    }
}
