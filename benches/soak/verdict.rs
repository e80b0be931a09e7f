//! Whether figures have stayed as they were.

use std::fmt;
use std::time::Duration;

use crate::look::Look;
use crate::trouble::Done;

/// The share of the looks at the beginning that does not count: caches fill, and allocators take their room.
const WARM_UP: f64 = 0.2;

/// One thing that has to hold.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) what: &'static str,
    pub(crate) found: String,
    pub(crate) holds: bool,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, found, holds } = self;
        write!(f, "{} {what}: {found}", if *holds { "holds" } else { "FAILS" })
    }
}

/// A figure over time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Course {
    pub(crate) n: usize,
    /// The median of the quarter behind the warm-up, and of the last quarter.
    pub(crate) early: f64,
    pub(crate) late: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// By the line that fits best.
    pub(crate) each_hour: f64,
}

impl Course {
    /// Of these points (hours, value), in order.
    pub(crate) fn of(points: &[(f64, f64)]) -> Self {
        let skipped = (points.len() as f64 * WARM_UP) as usize;
        let counted = points.get(skipped..).unwrap_or_default();
        let quarter = counted.len().div_ceil(4);
        let early = counted.get(..quarter).unwrap_or_default();
        let late = counted.get(counted.len() - quarter..).unwrap_or_default();
        let values = || counted.iter().map(|point| point.1);
        Self {
            n: counted.len(),
            early: median(early.iter().map(|point| point.1)),
            late: median(late.iter().map(|point| point.1)),
            least: values().fold(f64::INFINITY, f64::min),
            most: values().fold(0.0, f64::max),
            each_hour: slope(counted),
        }
    }

    /// Whether the last quarter is above the first by no more than this share and this much.
    pub(crate) fn is_flat(&self, share: f64, more: f64) -> bool {
        self.n > 0 && self.late <= self.early * (1.0 + share) + more
    }
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    quantile(values, 0.5)
}

/// The value that this share of all values does not exceed.
pub(crate) fn quantile(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let (over, under) = points.iter().fold((0.0, 0.0), |(over, under), point| {
        ((point.0 - x).mul_add(point.1 - y, over), (point.0 - x).mul_add(point.0 - x, under))
    });
    if under > 0.0 { over / under } else { 0.0 }
}

/// A figure of every look that has it.
pub(crate) fn points(looks: &[Look], of: impl Fn(&Look) -> Option<f64>) -> Vec<(f64, f64)> {
    looks.iter().filter_map(|look| Some((look.at.as_secs_f64() / 3600.0, of(look)?))).collect()
}

pub(crate) fn memory(look: &Look) -> Option<f64> {
    Some(look.memory as f64)
}

pub(crate) fn descriptors(look: &Look) -> Option<f64> {
    Some(look.descriptors as f64)
}

pub(crate) fn timers(look: &Look) -> Option<f64> {
    look.kept.map(|kept| kept.timers as f64)
}

pub(crate) fn state(look: &Look) -> Option<f64> {
    look.kept.map(|kept| kept.bytes as f64 / 1024.0)
}

pub(crate) fn children(look: &Look) -> Option<f64> {
    Some(look.children as f64)
}

/// Milliseconds.
pub(crate) fn answer(look: &Look) -> Option<f64> {
    Some(look.answer?.as_secs_f64() * 1e3)
}

/// All that has to hold. `wrong` is what the end has shown.
pub(crate) fn verdicts(looks: &[Look], done: &Done, wrong: Vec<String>) -> Vec<Verdict> {
    let flat = |what, of: fn(&Look) -> Option<f64>, share, more| {
        let course = Course::of(&points(looks, of));
        let (early, late) = (course.early, course.late);
        Verdict { what, found: format!("median {early:.0} -> {late:.0}"), holds: course.is_flat(share, more) }
    };
    let zombies: usize = looks.iter().map(|look| look.lasting_zombies).sum();
    let time = looks.last().map_or(Duration::ZERO, |look| look.at).as_secs_f64();
    let deaths = done.deaths as f64 / time.max(1.0);
    let none = |list: &[String]| if list.is_empty() { "nothing".to_owned() } else { list.join("; ") };
    vec![
        flat("memory is flat, KiB", memory, 0.05, 512.0),
        flat("descriptors are flat", descriptors, 0.0, 4.0),
        flat("timers are flat", timers, 0.0, 4.0),
        flat("the state is flat, KiB", state, 0.10, 16.0),
        flat("children are flat", children, 0.0, 4.0),
        Verdict { what: "zombies that stay", found: zombies.to_string(), holds: zombies == 0 },
        // A worker that is being replaced for another reason does not crash in that second.
        Verdict { what: "deaths a second that were told", found: format!("{deaths:.1}"), holds: deaths >= 7.0 },
        Verdict { what: "wrong at the end", found: none(&wrong), holds: wrong.is_empty() },
    ]
}
