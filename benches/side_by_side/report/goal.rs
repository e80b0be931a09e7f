//! What circusd is to reach (docs/benchmarks.md): as data.

use super::figure::Figure;
use super::sample::Samples;

/// What a figure of ours is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    /// At most so many times the floor's.
    Times(f64),
    /// At least this share of the floor's.
    Share(f64),
    /// At most this much with so many workers, and so much more with each worker beyond them.
    Most { until: usize, most: f64, each: f64 },
}

/// A figure that has a goal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) figure: Figure,
    pub(crate) bound: Bound,
}

const fn goal(figure: Figure, bound: Bound) -> Goal {
    Goal { figure, bound }
}

const NONE: Bound = Bound::Most { until: 0, most: 0.0, each: 0.0 };

/// 3 MiB at 175 workers, and 1.5 KiB for each one more, which makes the 4 MiB at 1000 of the original plan 4.2.
const MEMORY: Bound = Bound::Most { until: 175, most: 3.0, each: 1.5 / 1024.0 };

pub(crate) const GOALS: &[Goal] = &[
    goal(Figure::StartAll, Bound::Times(1.3)),
    goal(Figure::RespawnP50, Bound::Times(1.5)),
    goal(Figure::Storm, Bound::Times(1.3)),
    goal(Figure::StatusP50, Bound::Times(1.2)),
    goal(Figure::Requests, Bound::Share(0.2)),
    goal(Figure::LogRate, Bound::Share(0.9)),
    goal(Figure::LogCpu, Bound::Times(1.2)),
    goal(Figure::TornLines, NONE),
    goal(Figure::StatsCpu, Bound::Times(3.0)),
    goal(Figure::Memory, MEMORY),
    goal(Figure::IdleSwitches, NONE),
    goal(Figure::LeftBehind, NONE),
];

/// A figure of ours beside its goal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) figure: Figure,
    pub(crate) ours: f64,
    /// Ours over the floor's, where the goal is about that.
    pub(crate) ratio: Option<f64>,
    pub(crate) bound: Bound,
    /// The bound, for so many workers.
    pub(crate) limit: f64,
    pub(crate) holds: bool,
}

/// A verdict for each goal whose figures were measured.
pub(crate) fn judge(samples: &Samples, workers: usize, ours: &str, floor: &str) -> Vec<Verdict> {
    let verdicts = GOALS.iter().filter_map(|goal| {
        let us = samples.median(workers, ours, goal.figure)?;
        let ratio = || Some(us / samples.median(workers, floor, goal.figure)?);
        let (ratio, limit, holds) = match goal.bound {
            Bound::Times(limit) => (Some(ratio()?), limit, ratio()? <= limit),
            Bound::Share(limit) => (Some(ratio()?), limit, ratio()? >= limit),
            Bound::Most { until, most, each } => {
                let limit = most + workers.saturating_sub(until) as f64 * each;
                (None, limit, us <= limit)
            }
        };
        Some(Verdict { figure: goal.figure, ours: us, ratio, bound: goal.bound, limit, holds })
    });
    verdicts.collect()
}

impl Verdict {
    /// The goal in words, and what was reached.
    pub(crate) fn told(&self) -> String {
        let reached = match (self.ratio, self.bound) {
            (Some(ratio), Bound::Share(_)) => format!("{ratio:.2} of the floor, goal at least {:.2}", self.limit),
            (Some(ratio), _) => format!("{ratio:.2} x floor, goal {:.1}", self.limit),
            (None, _) => format!("goal {}", short(self.limit)),
        };
        if self.holds { reached } else { format!("**missed**: {reached}") }
    }
}

fn short(limit: f64) -> String {
    if limit.fract() == 0.0 { format!("{limit:.0}") } else { format!("{limit:.2}") }
}
