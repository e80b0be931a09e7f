//! What `stats` and `dstats` report of a process. The keys, and how sizes and times are written, are Circus's.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// A process at one moment. What the kernel keeps from us is `None`, and `N/A` on the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessInfo {
    /// Its pid.
    pub pid: i32,
    /// What it has used and uses.
    pub usage: Option<Usage>,
    /// The name of the user it runs as, or the number where that user has no name.
    pub username: Option<Arc<str>>,
    /// The last part of its program's name as it was called; it may have renamed itself.
    pub command: Option<String>,
    /// Its direct children, where they were asked for.
    pub children: Vec<Self>,
}

/// The figures of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Memory that it has in RAM, in bytes.
    pub resident: u64,
    /// Memory that it has mapped, in bytes.
    pub mapped: u64,
    /// Its share of one processor since it was looked at before, in percent.
    pub cpu: f64,
    /// Its share of the machine's RAM, in percent.
    pub memory: f64,
    /// Processor time that it and its collected children have used.
    pub cpu_time: Duration,
    /// Its nice value; `None` for a zombie.
    pub nice: Option<i32>,
    /// When it was created, in seconds since the epoch.
    pub created: f64,
    /// How long ago that was, in seconds.
    pub age: f64,
}

const UNKNOWN: &str = "N/A";

impl Serialize for ProcessInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Self::ENTRIES))?;
        self.put(&mut map)?;
        map.end()
    }
}

impl ProcessInfo {
    /// How many entries [`put`](Self::put) makes.
    pub const ENTRIES: usize = 12;

    /// Puts what is known into a map that may hold more.
    pub fn put<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let usage = self.usage.as_ref();
        map.serialize_entry("mem_info1", &known(usage.map(|usage| HumanSize(usage.resident))))?;
        map.serialize_entry("mem_info2", &known(usage.map(|usage| HumanSize(usage.mapped))))?;
        map.serialize_entry("cpu", &known(usage.map(|usage| rounded(usage.cpu, 1))))?;
        map.serialize_entry("mem", &known(usage.map(|usage| rounded(usage.memory, 3))))?;
        map.serialize_entry("ctime", &known(usage.map(|usage| ClockTime(usage.cpu_time))))?;
        map.serialize_entry("pid", &self.pid)?;
        map.serialize_entry("username", self.username.as_deref().unwrap_or(UNKNOWN))?;
        match usage {
            Some(Usage { nice: Some(nice), .. }) => map.serialize_entry("nice", nice)?,
            Some(Usage { nice: None, .. }) => map.serialize_entry("nice", "Zombie")?,
            None => map.serialize_entry("nice", UNKNOWN)?,
        }
        map.serialize_entry("create_time", &known(usage.map(|usage| usage.created)))?;
        map.serialize_entry("age", &known(usage.map(|usage| usage.age)))?;
        map.serialize_entry("cmdline", self.command.as_deref().unwrap_or(UNKNOWN))?;
        map.serialize_entry("children", &self.children)
    }
}

/// A value, or `N/A` in its place.
#[derive(Serialize)]
#[serde(untagged)]
enum Known<T> {
    Yes(T),
    No(&'static str),
}

fn known<T>(value: Option<T>) -> Known<T> {
    value.map_or(Known::No(UNKNOWN), Known::Yes)
}

fn rounded(number: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (number * factor).round() / factor
}

/// `123B`, `1.47M`: a number of bytes with the greatest unit that it reaches.
#[derive(Clone, Copy, Debug)]
pub struct HumanSize(pub u64);

/// Beyond bytes, each 1024 times the one before.
const UNITS: [char; 6] = ['K', 'M', 'G', 'T', 'P', 'E'];

impl HumanSize {
    /// Reads a size as Circus writes it, also without the B; what is cut off of its digits is lost. `None` of other texts,
    /// such as the N/A of a process that has ended.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let power = match text.get(digits.len()..)? {
            "" | "B" => 0,
            unit => UNITS.iter().position(|known| unit.strip_prefix(*known) == Some(""))? + 1,
        };
        let number: f64 = digits.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
        Some(Self((number * 1024_f64.powi(i32::try_from(power).ok()?)) as u64))
    }
}

impl fmt::Display for HumanSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut unit = 'B';
        let mut scaled = self.0 as f64;
        for next in UNITS {
            if scaled < 1024.0 {
                break;
            }
            scaled /= 1024.0;
            unit = next;
        }
        if unit == 'B' { write!(f, "{}B", self.0) } else { write!(f, "{scaled:.2}{unit}") }
    }
}

impl Serialize for HumanSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `M:SS.ff`: minutes, seconds and hundredths. An hour is 60 minutes.
#[derive(Clone, Copy, Debug)]
pub struct ClockTime(pub Duration);

impl fmt::Display for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        write!(f, "{}:{:02}.{:02}", seconds / 60, seconds % 60, self.0.subsec_millis() / 10)
    }
}

impl Serialize for ClockTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (text, size) in [
            ("1.5K", Some(1536)),
            ("0", Some(0)),
            ("3B", Some(3)),
            ("2M", Some(2 << 20)),
            ("12B", Some(12)),
            ("1K", Some(1024)),
            ("N/A", None),
            ("", None),
            ("x", None),
            ("1X", None),
            ("-1M", None),
        ] {
            assert_eq!(HumanSize::parse(text).map(|size| size.0), size, "{text}");
        }
        for bytes in [0, 5, 1 << 10, 3 << 20, 7 << 30, 2 << 40, 1 << 50, 1 << 60] {
            assert_eq!(HumanSize::parse(&HumanSize(bytes).to_string()).map(|size| size.0), Some(bytes));
        }
    }

    #[test]
    fn sizes_have_the_greatest_unit_they_reach() {
        for (bytes, text) in [
            (0, "0B"),
            (123, "123B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1_048_575, "1024.00K"),
            (1_048_576, "1.00M"),
            (1_541_406, "1.47M"),
            (32_401_000, "30.90M"),
            (5 << 30, "5.00G"),
            (3 << 40, "3.00T"),
            (1 << 50, "1.00P"),
            (u64::MAX, "16.00E"),
        ] {
            assert_eq!(HumanSize(bytes).to_string(), text);
        }
    }

    #[test]
    fn processor_times_have_two_digits_after_the_point() {
        for (millis, text) in [
            (0, "0:00.00"),
            (10, "0:00.01"),
            (50, "0:00.05"),
            (130, "0:00.13"),
            (1_999, "0:01.99"),
            (61_500, "1:01.50"),
            (3_600_000, "60:00.00"),
            (90_000_000, "1500:00.00"),
        ] {
            assert_eq!(ClockTime(Duration::from_millis(millis)).to_string(), text);
        }
    }

    #[test]
    fn on_the_wire() {
        let usage = Usage {
            resident: 1_541_406,
            mapped: 2_558_525,
            cpu: 12.345,
            memory: 0.006_49,
            cpu_time: Duration::from_millis(50),
            nice: Some(-5),
            created: 1_700_000_000.25,
            age: 3.5,
        };
        let child = ProcessInfo { pid: 8, usage: None, username: None, command: None, children: Vec::new() };
        let zombie = ProcessInfo { pid: 9, usage: Some(Usage { nice: None, ..usage }), ..child.clone() };
        let info = ProcessInfo {
            pid: 7,
            usage: Some(usage),
            username: Some("root".into()),
            command: Some("sleep".into()),
            children: vec![child, zombie],
        };
        let value = serde_json::to_value(&info).unwrap();
        let keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = "mem_info1 mem_info2 cpu mem ctime pid username nice create_time age cmdline children";
        assert_eq!(keys.join(" "), expected);
        let mut without_children = value.clone();
        without_children["children"] = json!(null);
        assert_eq!(
            without_children,
            json!({"mem_info1": "1.47M", "mem_info2": "2.44M", "cpu": 12.3, "mem": 0.006, "ctime": "0:00.05", "pid": 7,
                   "username": "root", "nice": -5, "create_time": 1_700_000_000.25, "age": 3.5, "cmdline": "sleep",
                   "children": null})
        );
        assert_eq!(value["children"][0]["mem_info1"], "N/A");
        assert_eq!(value["children"][0]["username"], "N/A");
        assert_eq!(value["children"][0]["pid"], 8);
        assert_eq!(value["children"][1]["nice"], "Zombie");
    }
}
