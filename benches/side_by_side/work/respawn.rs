//! Workers that are killed and replaced.

use std::collections::VecDeque;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use super::plan::Notes;
use crate::clock::{Moment, millis, pass, pass_until};
use crate::inbox::{Birth, Inbox};
use crate::outcome::{Outcome, fault};
use crate::report::{Figure, percentile};

/// A manager may rightly delay the successor of a worker that lived shorter: that would tell nothing about its speed.
const GROWN_UP: Duration = Duration::from_millis(1200);
/// What a manager that takes seconds to notice may cost us.
const BUDGET: Duration = Duration::from_secs(10);
/// How many deaths there are however long they take.
const LEAST: usize = 3;

/// The workers that are alive, the oldest first.
pub(super) struct Herd {
    alive: VecDeque<Birth>,
    inbox: Inbox,
}

impl Herd {
    pub(super) fn new(mut births: Vec<Birth>, inbox: Inbox) -> Self {
        births.sort_by_key(|birth| birth.at);
        Self { alive: births.into(), inbox }
    }

    /// The next one that begins.
    pub(super) fn next(&mut self, limit: Duration) -> Outcome<Birth> {
        let birth = self.inbox.all(1, limit)?.pop().ok_or_else(|| fault("no worker has begun"))?;
        self.alive.push_back(birth);
        Ok(birth)
    }

    /// Kills one after the other, and waits each time until there is another.
    pub(super) fn respawn(&mut self, kills: usize) -> Outcome<Notes> {
        let (begin, mut times) = (Moment::now(), Vec::with_capacity(kills));
        while times.len() < kills && (times.len() < LEAST || begin.elapsed() < BUDGET) {
            let Some(oldest) = self.alive.pop_front() else { break };
            pass_until(oldest.at.after(GROWN_UP));
            let killed = Moment::now();
            kill(oldest.pid, Signal::SIGKILL)?;
            times.push(millis(self.next(Duration::from_secs(30))?.at.since(killed)));
            pass(Duration::from_millis(10));
        }
        let figures = [(Figure::RespawnP50, 0.5), (Figure::RespawnP99, 0.99)];
        Ok(figures.into_iter().filter_map(|(figure, share)| Some((figure, percentile(&times, share)?))).collect())
    }

    /// Kills all of them at once; the milliseconds until the last is back.
    pub(super) fn storm(&mut self, limit: Duration) -> Outcome<f64> {
        if let Some(youngest) = self.alive.back() {
            pass_until(youngest.at.after(GROWN_UP));
        }
        let begin = Moment::now();
        for birth in &self.alive {
            kill(birth.pid, Signal::SIGKILL)?;
        }
        let back = self.inbox.all(self.alive.len(), limit)?;
        self.alive = back.into();
        let last = self.alive.iter().map(|birth| birth.at).max();
        Ok(last.map_or(0.0, |last| millis(last.since(begin))))
    }
}
