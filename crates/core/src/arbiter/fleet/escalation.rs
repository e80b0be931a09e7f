//! What follows the first signal of a stop where `stop_signal` names several.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arbiter::time::seconds;
use crate::config::StopStep;
use crate::proto::Signal;

/// The signals that a worker which is being stopped has not got yet. What is set meanwhile is for the next stop, except
/// graceful_timeout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Escalation {
    rest: VecDeque<StopStep>,
    /// Seconds from the last of them to SIGKILL.
    timeout: f64,
}

impl Escalation {
    pub(in crate::arbiter) fn new(steps: &[StopStep], timeout: f64) -> Self {
        Self { rest: steps.iter().copied().collect(), timeout }
    }

    /// The same, where SIGKILL follows after this time at the latest.
    pub(in crate::arbiter) fn within(mut self, limit: Duration) -> Self {
        let (mut left, mut fitting) = (limit.as_secs_f64(), VecDeque::new());
        for step in self.rest.into_iter().take_while(|step| step.signal != Signal::KILL) {
            if step.after >= left {
                break;
            }
            left -= step.after;
            fitting.push_back(step);
        }
        (self.rest, self.timeout) = (fitting, left);
        self
    }

    /// How long the signal that was sent last may take.
    pub(in crate::arbiter) fn wait(&self) -> Duration {
        seconds(self.rest.front().map_or(self.timeout, |next| next.after))
    }

    /// How much later than the next signal SIGKILL is due.
    pub(in crate::arbiter) fn beyond(&self) -> Duration {
        let ends_by_itself = self.rest.is_empty() || self.rest.back().is_some_and(|last| last.signal == Signal::KILL);
        let timeout = if ends_by_itself { 0.0 } else { self.timeout };
        seconds(self.rest.iter().skip(1).map(|step| step.after).sum::<f64>() + timeout)
    }

    /// The next signal is due. `None`: SIGKILL.
    pub(in crate::arbiter) fn next(&mut self) -> Option<Signal> {
        self.rest.pop_front().map(|step| step.signal).filter(|signal| *signal != Signal::KILL)
    }

    /// graceful_timeout has changed. Whether it runs already.
    pub(in crate::arbiter) fn set_timeout(&mut self, timeout: f64) -> bool {
        self.timeout = timeout;
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escalation(steps: &[(f64, i32)], timeout: f64) -> Escalation {
        let steps: Vec<StopStep> =
            steps.iter().map(|(after, n)| StopStep { after: *after, signal: Signal(*n) }).collect();
        Escalation::new(&steps, timeout)
    }

    /// When each signal is sent, in seconds since the first.
    fn story(mut escalation: Escalation) -> Vec<(u64, i32)> {
        let (mut at, mut story) = (0, Vec::new());
        loop {
            let end = escalation.wait() + escalation.beyond();
            at += escalation.wait().as_secs();
            let next = escalation.next();
            story.push((at, next.unwrap_or(Signal::KILL).0));
            if next.is_none() {
                assert_eq!(end.as_secs(), at - story.iter().rev().nth(1).map_or(0, |(before, _)| *before));
                return story;
            }
        }
    }

    #[test]
    fn graceful_timeout_follows_the_last_unless_that_is_kill() {
        assert_eq!(story(escalation(&[(60.0, 3), (30.0, 9)], 5.0)), [(60, 3), (90, 9)]);
        assert_eq!(story(escalation(&[(60.0, 3), (30.0, 2)], 5.0)), [(60, 3), (90, 2), (95, 9)]);
    }

    #[test]
    fn a_limit_cuts_off_what_comes_later() {
        let whole = || escalation(&[(60.0, 3), (30.0, 9)], 5.0);
        assert_eq!(story(whole().within(Duration::from_secs(100))), [(60, 3), (100, 9)]);
        assert_eq!(story(whole().within(Duration::from_secs(70))), [(60, 3), (70, 9)]);
        assert_eq!(story(whole().within(Duration::from_secs(60))), [(60, 9)]);
        assert_eq!(story(whole().within(Duration::ZERO)), [(0, 9)]);
    }
}
