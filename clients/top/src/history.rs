//! What a figure was in the last minutes.

use std::collections::VecDeque;
use std::time::Duration;

/// How far back is remembered.
pub(super) const SPAN: usize = 180;

/// From the lowest to the highest.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The highest value of each second, the last ones. A second in which nothing was heard is a gap.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct History {
    seconds: VecDeque<Option<f64>>,
    /// The second of the last value.
    last: u64,
}

impl History {
    pub(super) fn add(&mut self, value: f64, now: Duration) {
        let second = now.as_secs();
        let passed = second.saturating_sub(self.last);
        if self.seconds.is_empty() || passed > 0 {
            let gaps = if self.seconds.is_empty() { 0 } else { passed.min(SPAN as u64).saturating_sub(1) };
            self.seconds.extend((0..gaps).map(|_| None));
            self.seconds.push_back(Some(value));
            self.last = second;
        } else if let Some(latest) = self.seconds.back_mut() {
            *latest = Some(latest.map_or(value, |known| known.max(value)));
        }
        let surplus = self.seconds.len().saturating_sub(SPAN);
        self.seconds.drain(..surplus);
    }

    /// A line of so many characters for the last minutes until `now`, the latest at the right; `least` is the value that
    /// fills a character at least, so that noise does not look like work.
    pub(super) fn line(&self, width: usize, least: f64, now: Duration) -> String {
        let width = width.clamp(1, SPAN);
        let since = usize::try_from(now.as_secs().saturating_sub(self.last)).unwrap_or(SPAN);
        let ceiling = self.seconds.iter().flatten().fold(least, |most, value| most.max(*value));
        let cell = |cell: usize| {
            // Seconds before the latest; a cell begins where the one before it ends.
            let (from, to) = (cell * SPAN / width, (cell + 1) * SPAN / width);
            let values =
                self.seconds.iter().rev().skip(from.saturating_sub(since)).take(to.saturating_sub(since.max(from)));
            let highest = values.flatten().copied().reduce(f64::max);
            highest.map_or(' ', |value| bar(value / ceiling))
        };
        (0..width).rev().map(cell).collect()
    }
}

/// A character of this height, from 0 to 1.
fn bar(share: f64) -> char {
    // Not a number, and what is too high or too low, saturates.
    let at = (share * BARS.len() as f64).ceil() as usize;
    BARS.get(at.clamp(1, BARS.len()) - 1).copied().unwrap_or(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn latest_value_is_at_the_right() {
        let mut history = History::default();
        history.add(100.0, at(1000));
        assert_eq!(history.line(3, 100.0, at(1000)), "  █");
        assert_eq!(history.line(3, 100.0, at(1059)), "  █");
        assert_eq!(history.line(3, 100.0, at(1060)), " █ ");
        history.add(50.0, at(1120));
        assert_eq!(history.line(3, 100.0, at(1120)), "█ ▄");
        assert_eq!(history.line(3, 100.0, at(1400)), "   ");
    }

    #[test]
    fn a_second_is_as_high_as_its_highest() {
        let mut history = History::default();
        for value in [1.0, 8.0, 2.0] {
            history.add(value, at(5));
        }
        assert_eq!((history.seconds.len(), history.line(1, 8.0, at(5)).as_str()), (1, "█"));
        assert_eq!(history.line(1, 64.0, at(5)), "▁");
    }

    #[test]
    fn history_is_bounded() {
        let mut history = History::default();
        for second in 0..1000 {
            history.add(1.0, at(second));
        }
        history.add(2.0, at(u64::MAX / 2));
        assert!(history.seconds.len() <= SPAN);
        assert_eq!(history.line(10_000, 1.0, at(1)).chars().count(), SPAN);
    }

    #[test]
    fn bars() {
        let drawn: String = [0.0, 0.01, 0.13, 0.5, 0.99, 1.0, 7.0, -1.0, f64::NAN].map(bar).iter().collect();
        assert_eq!(drawn, "▁▁▂▄███▁▁");
    }
}
