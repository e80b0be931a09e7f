//! `stop_signal` with several signals: `TERM, 60:QUIT, 30:KILL`.

use serde::{Deserialize, Serialize};

use super::{WatcherConfig, python};
use crate::proto::{Signal, SignalError};

/// More than a stop needs, and little beside what an option may be.
const MOST: usize = 16;
/// Seconds; a day. What takes longer is no stop.
const LONGEST: f64 = 86_400.0;

/// A signal for a worker that has not exited.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StopStep {
    /// Seconds since the signal before it, from 0 to 86400.
    pub after: f64,
    /// The signal.
    pub signal: Signal,
}

/// Reads one signal, or several: the first without a time, each that follows with the seconds before it.
///
/// # Errors
/// In words, what is wrong with the text.
pub(super) fn read(text: &str) -> Result<(Signal, Vec<StopStep>), String> {
    let mut parts = text.split(',');
    let first = parts.next().unwrap_or_default();
    if first.contains(':') {
        return Err(format!("'{first}': the first signal is sent at once, so no seconds stand before it"));
    }
    let first = signal(first)?;
    let steps = parts.map(step).collect::<Result<Vec<_>, _>>()?;
    let before_last = std::iter::once(first).chain(steps.iter().map(|step| step.signal)).take(steps.len());
    if before_last.clone().any(|signal| signal == Signal::KILL) {
        return Err("nothing can follow KILL, which a process cannot outlive".into());
    }
    if before_last.count() >= MOST {
        return Err(format!("these are more than {MOST} signals"));
    }
    Ok((first, steps))
}

impl StopStep {
    /// The signals of a stop as a text, as [`read`] takes it.
    pub(crate) fn show(first: Signal, steps: &[Self]) -> String {
        let steps = steps.iter().map(|step| format!(", {}:{}", step.after, name(step.signal)));
        std::iter::once(name(first)).chain(steps).collect()
    }
}

/// Every signal of a stop with the seconds since the first, SIGKILL at the end.
pub fn schedule(watcher: &WatcherConfig) -> Vec<(f64, Signal)> {
    let mut signals = vec![(0.0, watcher.stop_signal)];
    let mut at = 0.0;
    for step in &watcher.stop_steps {
        at += step.after;
        signals.push((at, step.signal));
    }
    if signals.last().is_some_and(|(_, signal)| *signal != Signal::KILL) {
        signals.push((at + watcher.graceful_timeout, Signal::KILL));
    }
    signals
}

fn name(signal: Signal) -> String {
    signal.name().map_or_else(|| signal.0.to_string(), str::to_owned)
}

fn step(text: &str) -> Result<StopStep, String> {
    let text = python::trim(text);
    let Some((seconds, name)) = text.split_once(':') else {
        return Err(format!("'{text}' needs the seconds before it, as in 60:QUIT"));
    };
    let after = python::float(seconds).ok().filter(|after| (0.0..=LONGEST).contains(after));
    let after = after.ok_or_else(|| format!("'{}' is not a number of seconds from 0 to {LONGEST}", seconds.trim()))?;
    Ok(StopStep { after, signal: signal(name)? })
}

fn signal(text: &str) -> Result<Signal, String> {
    match Signal::parse(text) {
        Ok(signal) if !signal.exists() => Err(format!("{} is not a signal; signals are 1 to 64", signal.0)),
        Ok(signal) => Ok(signal),
        Err(SignalError::Invalid) => Err(format!("'{text}' is not a signal such as QUIT, SIGTERM or 15")),
        Err(SignalError::Unknown(name)) => Err(format!("no signal is called {name}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_what_is_shown() {
        for (text, shown) in [
            ("quit", "QUIT"),
            ("15", "TERM"),
            ("TERM, 60:QUIT, 30:KILL", "TERM, 60:QUIT, 30:KILL"),
            (" sigterm,0.5:3 ,  0 : term", "TERM, 0.5:QUIT, 0:TERM"),
            ("SIGRTMIN+3, 1e1:USR1", "37, 10:USR1"),
        ] {
            let (first, steps) = read(text).unwrap();
            assert_eq!(StopStep::show(first, &steps), shown, "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for (text, error) in [
            ("", "'' is not a signal such as QUIT, SIGTERM or 15"),
            ("5:TERM", "'5:TERM': the first signal is sent at once, so no seconds stand before it"),
            ("TERM, QUIT", "'QUIT' needs the seconds before it, as in 60:QUIT"),
            ("TERM,", "'' needs the seconds before it, as in 60:QUIT"),
            ("TERM, x:QUIT", "'x' is not a number of seconds from 0 to 86400"),
            ("TERM, -1:QUIT", "'-1' is not a number of seconds from 0 to 86400"),
            ("TERM, nan:QUIT", "'nan' is not a number of seconds from 0 to 86400"),
            ("TERM, 86401:QUIT", "'86401' is not a number of seconds from 0 to 86400"),
            ("TERM, 1:NOSUCH", "no signal is called SIGNOSUCH"),
            ("TERM, 1:65", "65 is not a signal; signals are 1 to 64"),
            ("TERM, 1:QUIT:KILL", "'QUIT:KILL' is not a signal such as QUIT, SIGTERM or 15"),
            ("KILL, 1:TERM", "nothing can follow KILL, which a process cannot outlive"),
            ("TERM, 1:KILL, 1:TERM", "nothing can follow KILL, which a process cannot outlive"),
        ] {
            assert_eq!(read(text), Err(error.into()));
        }
        assert!(read(&format!("TERM{}", ", 1:TERM".repeat(15))).is_ok());
        assert_eq!(read(&format!("TERM{}", ", 1:TERM".repeat(16))), Err("these are more than 16 signals".into()));
    }

    #[test]
    fn every_stop_ends_with_kill() {
        let schedule = |text: &str| {
            let mut watcher = WatcherConfig { graceful_timeout: 5.0, ..WatcherConfig::new("w", "x", "/") };
            (watcher.stop_signal, watcher.stop_steps) = read(text).unwrap();
            super::schedule(&watcher).into_iter().map(|(at, signal)| (at, signal.0)).collect::<Vec<_>>()
        };
        assert_eq!(schedule("INT"), [(0.0, 2), (5.0, 9)]);
        assert_eq!(schedule("TERM, 60:QUIT"), [(0.0, 15), (60.0, 3), (65.0, 9)]);
        assert_eq!(schedule("TERM, 60:QUIT, 30:KILL"), [(0.0, 15), (60.0, 3), (90.0, 9)]);
        assert_eq!(schedule("KILL"), [(0.0, 9)]);
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read(first in 1..=64, steps in proptest::collection::vec((0.0..1e4, 1..=64), 0..9)) {
            let steps: Vec<StopStep> = steps.iter().map(|(after, n)| StopStep { after: *after, signal: Signal(*n) }).collect();
            let text = StopStep::show(Signal(first), &steps);
            prop_assume!(read(&text).is_ok());
            prop_assert_eq!(read(&text), Ok((Signal(first), steps)));
        }
    }
}
