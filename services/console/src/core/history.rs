//! What a watcher has used over the last hour, in a ring.

use std::collections::VecDeque;

use serde_json::{Value, json};

/// Seconds of one point.
pub const STEP: u64 = 10;
/// So many points are kept: an hour.
pub const POINTS: usize = 360;

/// A point: when it began in seconds since the epoch, percent of one processor, bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    time: u64,
    cpu: f32,
    rss: u64,
    samples: u32,
}

/// The ring.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    points: VecDeque<Point>,
}

impl History {
    /// Takes a sample down: the point of its time is the mean of its samples of cpu, and the highest of memory. One
    /// that is older than the last point is dropped.
    pub fn add(&mut self, time: u64, cpu: f64, rss: u64) {
        let time = time - time % STEP;
        let cpu = if cpu.is_finite() { cpu as f32 } else { 0.0 };
        match self.points.back_mut() {
            Some(last) if last.time == time => {
                last.samples = last.samples.saturating_add(1);
                last.cpu += (cpu - last.cpu) / last.samples as f32;
                last.rss = last.rss.max(rss);
            }
            Some(last) if last.time > time => {}
            _ => {
                if self.points.len() >= POINTS {
                    self.points.pop_front();
                }
                self.points.push_back(Point { time, cpu, rss, samples: 1 });
            }
        }
    }

    /// The points of the hour before this time, oldest first: `[time, cpu, rss]`.
    pub fn json(&self, now: u64) -> Value {
        let first = now.saturating_sub(STEP * POINTS as u64);
        let points = self.points.iter().filter(|point| point.time >= first);
        let points: Vec<Value> =
            points.map(|point| json!([point.time, (f64::from(point.cpu) * 10.0).round() / 10.0, point.rss])).collect();
        json!({"step": STEP, "points": points})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_point() {
        let mut history = History::default();
        for (time, cpu, rss) in [(100, 10.0, 5), (103, 20.0, 9), (109, 30.0, 7), (110, 1.0, 1), (90, 99.0, 99)] {
            history.add(time, cpu, rss);
        }
        assert_eq!(history.json(120), json!({"step": 10, "points": [[100, 20.0, 9], [110, 1.0, 1]]}));
    }

    #[test]
    fn it_is_bounded_and_old_points_are_not_shown() {
        let mut history = History::default();
        for second in 0..20_000 {
            history.add(second, f64::NAN, 1);
        }
        assert_eq!(history.points.len(), POINTS);
        assert_eq!(history.json(1_000_000)["points"], json!([]));
    }
}
