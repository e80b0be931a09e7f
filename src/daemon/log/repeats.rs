//! Warnings and errors that repeat within a short time: they are counted, and the count is logged once.
//!
//! Unlike `core::base::Throttle`, which each place that logs keeps for its own kind of message, this knows no kinds: it
//! compares whole texts, forgets them after [`WINDOW`], and has to log a count also where nothing follows.

use std::time::Duration;

use crate::arbiter::{Level, Mono};

/// So long after a line the same line is only counted.
const WINDOW: Duration = Duration::from_secs(5);
/// Different lines that are remembered at once.
const MAX_LINES: usize = 32;

/// The lines of the last moments.
#[derive(Debug, Default)]
pub(super) struct Repeats(Vec<Line>);

#[derive(Debug)]
struct Line {
    level: Level,
    text: String,
    until: Mono,
    left_out: u64,
}

impl Repeats {
    /// Whether a line is to be written now.
    pub(super) fn admit(&mut self, level: Level, now: Mono, text: &str) -> bool {
        if level < Level::Warning {
            return true;
        }
        self.0.retain(|line| line.left_out > 0 || line.until > now);
        if let Some(line) = self.0.iter_mut().find(|line| line.level == level && line.text == text) {
            line.left_out += 1;
            return false;
        }
        if self.0.len() < MAX_LINES {
            self.0.push(Line { level, text: text.to_owned(), until: now.after(WINDOW), left_out: 0 });
        }
        true
    }

    /// When a count is to be logged.
    pub(super) fn next_due(&self) -> Option<Mono> {
        self.0.iter().filter(|line| line.left_out > 0).map(|line| line.until).min()
    }

    /// The counts that are due, as lines; all of them without a time.
    pub(super) fn take(&mut self, now: Option<Mono>) -> Vec<(Level, String)> {
        let is_due = |line: &mut Line| line.left_out > 0 && now.is_none_or(|now| line.until <= now);
        let due = self.0.extract_if(.., is_due);
        due.map(|line| (line.level, format!("{} repeated={}", line.text, line.left_out))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    #[test]
    fn same_warning_is_logged_once_and_counted() {
        let mut repeats = Repeats::default();
        let written: Vec<bool> = (0..5).map(|_| repeats.admit(Level::Warning, at(1), "no such file")).collect();
        assert_eq!(written, [true, false, false, false, false]);
        assert!(repeats.admit(Level::Error, at(1), "no such file") && repeats.admit(Level::Warning, at(2), "another"));
        assert_eq!(repeats.next_due(), Some(at(6)));
        assert_eq!(repeats.take(Some(at(5))), []);
        assert_eq!(repeats.take(Some(at(6))), [(Level::Warning, "no such file repeated=4".to_owned())]);
        assert_eq!((repeats.next_due(), repeats.take(None)), (None, vec![]));
        assert!(repeats.admit(Level::Warning, at(6), "no such file"), "a new window begins");
    }

    #[test]
    fn lines_of_workers_are_never_left_out() {
        let mut repeats = Repeats::default();
        assert!((0..3).all(|_| repeats.admit(Level::Info, at(1), "started")));
    }

    #[test]
    fn a_flood_of_different_lines_is_not_remembered() {
        let mut repeats = Repeats::default();
        assert!((0..1000).all(|number| repeats.admit(Level::Error, at(1), &number.to_string())));
        assert_eq!(repeats.0.len(), MAX_LINES);
    }
}
