//! Earlier samples: the share of the processor is a difference.

use std::collections::HashMap;
use std::time::Duration;

/// The processor time of a process, as it was at some time.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// In ticks since boot; with the pid this names a process for good.
    started: u64,
    /// In ticks.
    busy: u64,
    /// Since boot.
    at: Duration,
    /// The figures reported then.
    percent: f64,
}

/// Two samples that are closer say nothing: processor time is counted in ticks of some ten milliseconds, and a process
/// that happened to pass one would seem to have used several processors.
const TOO_CLOSE: Duration = Duration::from_millis(100);

/// How many processes are remembered before any is forgotten.
const CAPACITY: usize = 1024;

/// The last look at each process.
#[derive(Debug)]
pub(super) struct History {
    looks: HashMap<i32, Look>,
    ticks_per_second: f64,
    room: usize,
}

impl History {
    pub(super) fn new(ticks_per_second: u64) -> Self {
        Self { looks: HashMap::new(), ticks_per_second: ticks_per_second as f64, room: CAPACITY }
    }

    /// The share of one processor that the process has used since the last look, in percent; 0 at the first.
    pub(super) fn percent(&mut self, pid: i32, started: u64, busy: u64, at: Duration) -> f64 {
        let now = Look { started, busy, at, percent: 0.0 };
        let before = *self.looks.entry(pid).or_insert(now);
        if before.started != started {
            self.looks.insert(pid, now);
            return 0.0;
        }
        let elapsed = at.saturating_sub(before.at);
        if elapsed < TOO_CLOSE {
            return before.percent;
        }
        let used = busy.saturating_sub(before.busy) as f64 / self.ticks_per_second;
        let percent = 100.0 * used / elapsed.as_secs_f64();
        self.looks.insert(pid, Look { percent, ..now });
        percent
    }

    /// As if the process had been looked at when it was created, unless it has been looked at since.
    pub(super) fn since_its_start(&mut self, pid: i32, started: u64) {
        let at = Duration::from_secs_f64(started as f64 / self.ticks_per_second);
        self.looks.entry(pid).or_insert(Look { started, busy: 0, at, percent: 0.0 });
    }

    pub(super) fn forget(&mut self, pid: i32) {
        self.looks.remove(&pid);
    }

    /// Forgets processes that have ended, once twice as many are remembered as were found the last time.
    pub(super) fn tidy(&mut self, is_there: impl Fn(i32) -> bool) {
        if self.looks.len() > self.room {
            self.looks.retain(|pid, _| is_there(*pid));
            self.room = CAPACITY.max(2 * self.looks.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_share_is_what_was_used_since_the_last_look() {
        let mut history = History::new(100);
        assert_eq!(history.percent(7, 1, 5000, ms(60_000)), 0.0);
        assert_eq!(history.percent(7, 1, 5050, ms(61_000)), 50.0);
        assert_eq!(history.percent(7, 1, 5050, ms(62_000)), 0.0);
        assert_eq!(history.percent(7, 1, 5450, ms(64_000)), 200.0, "two threads");
    }

    #[test]
    fn looks_that_are_too_close_repeat_the_last_share() {
        let mut history = History::new(100);
        history.percent(7, 1, 0, ms(0));
        assert_eq!(history.percent(7, 1, 1, ms(2)), 0.0, "not 500 %");
        assert_eq!(history.percent(7, 1, 10, ms(1000)), 10.0);
        assert_eq!(history.percent(7, 1, 11, ms(1001)), 10.0);
        assert_eq!(history.percent(7, 1, 60, ms(2000)), 50.0);
    }

    #[test]
    fn another_process_with_the_same_pid_begins_anew() {
        let mut history = History::new(100);
        history.percent(7, 1, 5000, ms(0));
        assert_eq!(history.percent(7, 2, 9000, ms(1000)), 0.0);
        assert_eq!(history.percent(7, 2, 9010, ms(2000)), 10.0);
    }

    #[test]
    fn a_first_look_can_be_since_the_start() {
        let mut history = History::new(100);
        history.since_its_start(7, 100);
        assert_eq!(history.percent(7, 100, 50, ms(2000)), 50.0);
        history.since_its_start(7, 100);
        assert_eq!(history.percent(7, 100, 50, ms(3000)), 0.0);
    }

    #[test]
    fn who_is_gone_is_forgotten_when_there_are_many() {
        let mut history = History::new(100);
        let count = i32::try_from(CAPACITY).unwrap() + 1;
        for pid in 1..=count {
            history.percent(pid, 1, 0, ms(0));
        }
        history.tidy(|pid| pid % 2 == 0);
        assert_eq!(history.looks.len(), CAPACITY / 2);
        history.forget(2);
        assert_eq!(history.looks.len(), CAPACITY / 2 - 1);
        // Living processes are kept, however many they are, and are not counted each time.
        for pid in 1..=count {
            history.percent(pid, 1, 0, ms(0));
        }
        history.tidy(|_| true);
        assert_eq!((history.looks.len(), history.room), (CAPACITY + 1, 2 * (CAPACITY + 1)));
        history.tidy(|_| panic!("there is room"));
    }
}
