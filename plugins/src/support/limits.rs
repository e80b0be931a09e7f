//! How much of the machine processes may take, and for how long more.

use circus_plugin_sdk::Settings;
use serde_json::{Map, Value};

use crate::support::process_metrics::ProcessMetrics;
use crate::support::sizes::bytes;

/// An amount of memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Memory {
    Percent(f64),
    Bytes(f64),
}

/// The limits of a section.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    max_cpu: Option<f64>,
    min_cpu: Option<f64>,
    max_mem: Option<Memory>,
    min_mem: Option<Memory>,
    health: Option<f64>,
}

/// What processes take: the most and the least of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    cpu: (f64, f64),
    percent: (f64, f64),
    bytes: (f64, f64),
}

/// The limits that were passed, each by its name in statsd. One place for each, in `NAMES`.
pub(crate) type Passed = [bool; 5];

/// How often in a row each limit was passed.
pub(crate) type Counts = [u32; 5];

/// The limits, as statsd knows them.
pub(crate) const NAMES: [&str; 5] = ["over_cpu", "under_cpu", "over_memory", "under_memory", "over_health"];

impl Limits {
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        let unless_zero = |limit: Option<f64>| limit.filter(|limit| *limit != 0.0);
        Ok(Self {
            max_cpu: unless_zero(settings.number("max_cpu")?),
            min_cpu: settings.number("min_cpu")?,
            max_mem: memory(settings, "max_mem")?,
            min_mem: memory(settings, "min_mem")?,
            health: unless_zero(settings.number("health_threshold")?),
        })
    }

    /// Which of the limits these processes pass.
    pub(crate) fn passed(&self, usage: &Usage) -> Passed {
        let over = |limit: Memory| match limit {
            Memory::Percent(limit) => usage.percent.1 > limit,
            Memory::Bytes(limit) => usage.bytes.1 > limit,
        };
        let under = |limit: Memory| match limit {
            Memory::Percent(limit) => usage.percent.0 < limit,
            Memory::Bytes(limit) => usage.bytes.0 < limit,
        };
        [
            self.max_cpu.is_some_and(|limit| usage.cpu.1 > limit),
            self.min_cpu.is_some_and(|limit| usage.cpu.0 <= limit),
            self.max_mem.is_some_and(over),
            self.min_mem.is_some_and(under),
            self.health.is_some_and(|limit| f64::midpoint(usage.cpu.1, usage.percent.1) > limit),
        ]
    }
}

/// A number is percent, one with a unit bytes.
fn memory(settings: &Settings, key: &str) -> Result<Option<Memory>, String> {
    let Some(text) = settings.text(key) else { return Ok(None) };
    let percent = text.trim().parse().ok().map(Memory::Percent);
    let found = percent.or_else(|| bytes(text).map(Memory::Bytes));
    found.map(Some).ok_or_else(|| format!("{key}: '{text}' is neither percent (90) nor a size (200M)"))
}

impl Usage {
    /// Of these processes; `None` where of none of them anything is known.
    pub(crate) fn of<'p>(processes: impl IntoIterator<Item = &'p Map<String, Value>>) -> Option<Self> {
        processes.into_iter().filter_map(Self::of_one).reduce(|a, b| {
            let both = |a: (f64, f64), b: (f64, f64)| (a.0.min(b.0), a.1.max(b.1));
            Self { cpu: both(a.cpu, b.cpu), percent: both(a.percent, b.percent), bytes: both(a.bytes, b.bytes) }
        })
    }

    fn of_one(process: &Map<String, Value>) -> Option<Self> {
        let metrics = ProcessMetrics::of(process);
        let both = |value: f64| (value, value);
        Some(Self { cpu: both(metrics.cpu?), percent: both(metrics.percent?), bytes: both(metrics.bytes?) })
    }
}

/// Counts on; whether one of the limits was passed more than `most` times in a row.
pub(crate) fn count(counts: &mut Counts, passed: Passed, most: u32) -> bool {
    for (count, passed) in counts.iter_mut().zip(passed) {
        *count = if passed { count.saturating_add(1) } else { 0 };
    }
    counts.iter().any(|count| *count > most)
}

#[cfg(test)]
mod tests {
    use circus_core::config::Builtin;
    use serde_json::json;

    use super::*;

    fn limits(settings: &[(&str, &str)]) -> Limits {
        let builtin = Builtin::find("resource_watcher").unwrap();
        Limits::new(&Settings::new(settings.iter().copied()).with_defaults_of(builtin)).unwrap()
    }

    fn passed(settings: &[(&str, &str)], processes: &[(f64, f64, &str)]) -> Vec<&'static str> {
        let processes: Vec<_> = processes
            .iter()
            .map(|(cpu, mem, size)| json!({"cpu": cpu, "mem": mem, "mem_info1": size}).as_object().unwrap().clone())
            .collect();
        let passed = limits(settings).passed(&Usage::of(&processes).unwrap());
        NAMES.iter().zip(passed).filter(|(_, passed)| *passed).map(|(name, _)| *name).collect()
    }

    #[test]
    fn each_limit() {
        let modest = [(10.0, 10.0, "100.00M"), (20.0, 5.0, "50.00M")];
        assert_eq!(passed(&[], &modest), [""; 0]);
        assert_eq!(passed(&[], &[(91.0, 1.0, "1.00M")]), ["over_cpu"]);
        assert_eq!(passed(&[("max_cpu", "0")], &[(100.0, 1.0, "1.00M")]), [""; 0]);
        assert_eq!(passed(&[("min_cpu", "10")], &modest), ["under_cpu"]);
        assert_eq!(passed(&[("max_mem", "9")], &modest), ["over_memory"]);
        assert_eq!(passed(&[("max_mem", "99M")], &modest), ["over_memory"]);
        assert_eq!(passed(&[("max_mem", "100M")], &modest), [""; 0]);
        assert_eq!(passed(&[("min_mem", "6")], &modest), ["under_memory"]);
        assert_eq!(passed(&[("min_mem", "51M")], &modest), ["under_memory"]);
        assert_eq!(passed(&[("min_mem", "50M")], &modest), [""; 0], "bytes are no percent");
        assert_eq!(passed(&[], &[(90.0, 61.0, "1.00M")]), ["over_health"]);
    }

    #[test]
    fn unknown_values_exceed_no_limit() {
        let gone = json!({"cpu": "N/A", "mem": "N/A", "mem_info1": "N/A"});
        assert_eq!(Usage::of([gone.as_object().unwrap()]), None);
    }

    #[test]
    fn only_what_lasts_is_too_much() {
        let mut counts = Counts::default();
        let (over, fine) = ([true, false, false, false, false], Passed::default());
        for passed in [over, over, over, fine, over, over, over] {
            assert!(!count(&mut counts, passed, 3));
        }
        assert!(count(&mut counts, over, 3));
    }
}
