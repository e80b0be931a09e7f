//! Messages that others can cause as often as they like: some pass, the others are counted.
//!
//! This is not a [back-off](crate::arbiter), which delays work longer the more often it has failed in a row. It only
//! leaves out messages, and depends only on how many there were recently.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Mono;

/// Lets `BURST` messages pass in `SECONDS` seconds, and counts the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle<const BURST: u32 = 1, const SECONDS: u64 = 10> {
    /// When the first message of this interval came.
    #[serde(default)]
    since: Option<Mono>,
    #[serde(default)]
    passed: u32,
    #[serde(default)]
    left_out: u64,
}

impl<const BURST: u32, const SECONDS: u64> Throttle<BURST, SECONDS> {
    const INTERVAL: Duration = Duration::from_secs(SECONDS);

    /// Whether one more message passes; it is counted as left out where it does not.
    pub fn admit(&mut self, now: Mono) -> bool {
        let passes = self.passes(now);
        self.left_out += u64::from(!passes);
        passes
    }

    /// It happened `more` times. Returns how often it has since the last message, where one passes now.
    pub fn count(&mut self, more: u64, now: Mono) -> Option<u64> {
        self.left_out += more;
        (self.left_out > 0 && self.passes(now)).then(|| self.take_left_out())
    }

    /// How many messages were left out since this was asked last.
    pub fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    /// The end of this interval.
    pub fn until(&self) -> Mono {
        self.since.unwrap_or(Mono(0)).after(Self::INTERVAL)
    }

    fn passes(&mut self, now: Mono) -> bool {
        if self.since.is_none_or(|since| now.since(since) >= Self::INTERVAL) {
            (self.since, self.passed) = (Some(now), 0);
        }
        let passes = self.passed < BURST;
        self.passed += u32::from(passes);
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(1).after(Duration::from_secs(seconds))
    }

    #[test]
    fn first_is_told_at_once_and_the_others_are_counted() {
        let mut throttle = Throttle::<1, 10>::default();
        assert_eq!(throttle.count(0, at(0)), None);
        assert_eq!(throttle.count(2, at(0)), Some(2));
        assert_eq!(throttle.count(3, at(9)), None);
        assert_eq!(throttle.count(0, at(10)), Some(3));
        assert_eq!(throttle.count(0, at(30)), None);
    }

    #[test]
    fn burst_passes_in_each_interval() {
        let mut throttle = Throttle::<2, 10>::default();
        let passed = [0, 1, 2, 9, 10, 19, 19].map(|seconds| throttle.admit(at(seconds)));
        assert_eq!(passed, [true, true, false, false, true, true, false]);
        assert_eq!((throttle.until(), throttle.take_left_out(), throttle.take_left_out()), (at(20), 3, 0));
    }
}
