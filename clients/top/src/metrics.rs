//! What a process, or several, use: as messages have it, and as people read it.

use circus_core::proto::HumanSize;
use serde_json::Value;

/// Metrics. What was not reported is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Metrics {
    /// In percent of one processor.
    pub(super) cpu: Option<f64>,
    /// In percent of the machine's RAM.
    pub(super) memory: Option<f64>,
    /// In bytes.
    pub(super) resident: Option<u64>,
    /// Processes that descend from it.
    pub(super) descendants: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) fds: Option<u64>,
    /// Seconds.
    pub(super) age: Option<f64>,
}

impl Metrics {
    /// Of a message about a process: of its whole tree if the message has that, as those of circusd-stats have and the
    /// original's have not.
    pub(super) fn of(body: &Value) -> Self {
        let tree = body.get("tree").filter(|tree| tree.is_object()).unwrap_or(body);
        let told = tree.get("rss").and_then(Value::as_u64);
        Self {
            cpu: number(tree, "cpu"),
            memory: number(tree, "mem"),
            resident: told.or_else(|| Some(HumanSize::parse(body.get("mem_info1")?.as_str()?)?.0)),
            descendants: tree.get("processes").and_then(Value::as_u64).and_then(|count| count.checked_sub(1)),
            threads: tree.get("threads").and_then(Value::as_u64),
            fds: tree.get("fds").and_then(Value::as_u64),
            age: number(body, "age"),
        }
    }

    /// Of several together: sums, and the age of the oldest.
    pub(super) fn sum<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        all.fold(Self::default(), |sum, next| Self {
            cpu: both(sum.cpu, next.cpu, |a, b| a + b),
            memory: both(sum.memory, next.memory, |a, b| a + b),
            resident: both(sum.resident, next.resident, u64::saturating_add),
            descendants: both(sum.descendants, next.descendants, u64::saturating_add),
            threads: both(sum.threads, next.threads, u64::saturating_add),
            fds: both(sum.fds, next.fds, u64::saturating_add),
            age: both(sum.age, next.age, f64::max),
        })
    }
}

fn both<T>(one: Option<T>, other: Option<T>, with: impl FnOnce(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(with(one, other)),
        (one, other) => one.or(other),
    }
}

/// A number that is one: the original writes N/A where it knows none.
pub(super) fn number(body: &Value, key: &str) -> Option<f64> {
    body.get(key)?.as_f64().filter(|number| number.is_finite() && *number >= 0.0)
}

/// What stands where nothing is known.
pub(super) const UNKNOWN: &str = "-";

fn known<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), show)
}

/// At most six characters: 12.5, 1234.
pub(super) fn percent(value: Option<f64>) -> String {
    known(value, |value| if value < 999.95 { format!("{value:.1}") } else { format!("{value:.0}") })
}

pub(super) fn count(value: Option<u64>) -> String {
    known(value, |value| value.to_string())
}

/// At most five characters: 512K, 1.5G.
pub(super) fn size(value: Option<u64>) -> String {
    known(value, |bytes| {
        let mut number = bytes as f64 / 1024.0;
        let mut units = ["K", "M", "G", "T"].iter();
        let mut unit = units.next();
        while number >= 999.5 {
            let Some(next) = units.next() else { break };
            (number, unit) = (number / 1024.0, Some(next));
        }
        let digits = usize::from(number < 9.95 && unit != Some(&"K"));
        format!("{number:.digits$}{}", unit.copied().unwrap_or_default())
    })
}

/// At most six characters: 59s, 59m59s, 23h59m, 400d.
pub(super) fn age(value: Option<f64>) -> String {
    known(value, |seconds| {
        let seconds = seconds as u64;
        match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
            (0, 0, 0, seconds) => format!("{seconds}s"),
            (0, 0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
            (0, hours, minutes, _) => format!("{hours}h{minutes:02}m"),
            (days @ 1..=99, hours, ..) => format!("{days}d{hours:02}h"),
            (days, ..) => format!("{days}d"),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_both_kinds_of_messages() {
        let ours = Metrics::of(&json!({"cpu": 1.0, "mem": 0.1, "age": 5, "rss": 10,
            "tree": {"processes": 8, "cpu": 12.5, "mem": 0.5, "rss": 4096, "threads": 3, "fds": 9}}));
        assert_eq!(ours.descendants, Some(7));
        assert_eq!((ours.cpu, ours.memory, ours.resident), (Some(12.5), Some(0.5), Some(4096)));
        assert_eq!((ours.threads, ours.fds, ours.age), (Some(3), Some(9), Some(5.0)));
        let original = Metrics::of(&json!({"cpu": "N/A", "mem": 0.1, "mem_info1": "1.5M", "age": "N/A"}));
        assert_eq!((original.cpu, original.memory, original.resident), (None, Some(0.1), Some(1_572_864)));
        assert_eq!(Metrics::of(&json!({"cpu": -1, "tree": 5, "mem_info1": "many"})), Metrics::default());
        let sum = Metrics::sum([ours, original, Metrics::default()].iter());
        assert_eq!((sum.cpu, sum.resident, sum.age), (Some(12.5), Some(1_576_960), Some(5.0)));
    }

    #[test]
    fn as_people_read_them() {
        assert_eq!([Some(0.04), Some(99.96), Some(999.96), None].map(percent), ["0.0", "100.0", "1000", "-"]);
        let sizes = [0, 512 << 10, 1023 << 10, 3 << 19, 999 << 20, 5 << 30, u64::MAX].map(|bytes| size(Some(bytes)));
        assert_eq!(sizes, ["0K", "512K", "1.0M", "1.5M", "999M", "5.0G", "16777216T"]);
        let ages = [0.0, 59.9, 61.0, 3600.0, 86_399.0, 90_000.0, 8_640_000.0, -1.0].map(|seconds| age(Some(seconds)));
        assert_eq!(ages, ["0s", "59s", "1m01s", "1h00m", "23h59m", "1d01h", "100d", "0s"]);
    }

    #[test]
    fn sizes_of_the_original() {}
}
