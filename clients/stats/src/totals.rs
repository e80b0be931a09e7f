//! What several processes use together.

use std::time::Duration;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

/// Sums. A figure that the kernel reports of none of the processes is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Totals {
    pub(super) processes: u64,
    /// In percent of one processor.
    pub(super) cpu: f64,
    pub(super) cpu_time: Duration,
    /// In percent of the machine's RAM.
    pub(super) memory: f64,
    pub(super) resident: u64,
    pub(super) proportional: Option<u64>,
    pub(super) threads: u64,
    pub(super) fds: Option<u64>,
    /// Bytes read and written.
    pub(super) disk: Option<(u64, u64)>,
    pub(super) switches: Option<u64>,
}

impl Totals {
    pub(super) fn add(&mut self, other: &Self) {
        self.processes += other.processes;
        self.cpu += other.cpu;
        self.cpu_time += other.cpu_time;
        self.memory += other.memory;
        self.resident = self.resident.saturating_add(other.resident);
        self.proportional = sum(self.proportional, other.proportional);
        self.threads = self.threads.saturating_add(other.threads);
        self.fds = sum(self.fds, other.fds);
        let part = |disk: Option<(u64, u64)>| (disk.map(|disk| disk.0), disk.map(|disk| disk.1));
        let ((read, written), (more_read, more_written)) = (part(self.disk), part(other.disk));
        self.disk = sum(read, more_read).zip(sum(written, more_written));
        self.switches = sum(self.switches, other.switches);
    }
}

fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    }
}

impl Serialize for Totals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(11))?;
        map.serialize_entry("processes", &self.processes)?;
        map.serialize_entry("cpu", &rounded(self.cpu, 1))?;
        map.serialize_entry("cpu_time", &rounded(self.cpu_time.as_secs_f64(), 3))?;
        map.serialize_entry("mem", &rounded(self.memory, 3))?;
        map.serialize_entry("rss", &self.resident)?;
        map.serialize_entry("pss", &self.proportional)?;
        map.serialize_entry("threads", &self.threads)?;
        map.serialize_entry("fds", &self.fds)?;
        map.serialize_entry("io_read", &self.disk.map(|disk| disk.0))?;
        map.serialize_entry("io_write", &self.disk.map(|disk| disk.1))?;
        map.serialize_entry("switches", &self.switches)?;
        map.end()
    }
}

/// So many digits after the point.
pub(super) fn rounded(number: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (number * factor).round() / factor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_values_are_left_out_of_sums() {
        let known = Totals {
            processes: 1,
            cpu: 12.5,
            cpu_time: Duration::from_millis(1500),
            memory: 0.25,
            resident: 4096,
            proportional: Some(2048),
            threads: 2,
            fds: Some(5),
            disk: Some((1, 2)),
            switches: Some(9),
        };
        let mut sum = Totals::default();
        sum.add(&Totals { processes: 1, ..Totals::default() });
        assert_eq!((sum.proportional, sum.disk), (None, None));
        sum.add(&known);
        sum.add(&known);
        assert_eq!((sum.processes, sum.cpu, sum.proportional, sum.disk), (3, 25.0, Some(4096), Some((2, 4))));
        assert_eq!(
            serde_json::to_string(&sum).unwrap(),
            r#"{"processes":3,"cpu":25.0,"cpu_time":3.0,"mem":0.5,"rss":8192,"pss":4096,"threads":4,"fds":10,"io_read":2,"io_write":4,"switches":18}"#
        );
    }
}
