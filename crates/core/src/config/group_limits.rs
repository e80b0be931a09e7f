//! What a worker's control group bounds: `memory_max`, `memory_high`, `cpu_max`, `pids_max` and `io_weight`.

use serde::{Deserialize, Serialize};

use super::python;

/// Microseconds for which `cpu.max` counts.
const PERIOD: u32 = 100_000;
/// The kernel takes no less, and more than so many processors it does not know.
const LEAST_QUOTA: f64 = 1000.0;
const MOST_CPUS: f64 = 8192.0;

/// Where a watcher says nothing, there is no bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each option is described once, in config::WATCHER_OPTIONS")]
pub struct GroupLimits {
    pub memory_max: Option<Bytes>,
    pub memory_high: Option<Bytes>,
    pub cpu_max: Option<CpuQuota>,
    pub pids_max: Option<i32>,
    pub io_weight: Option<i32>,
}

/// A file of a control group (cgroups(7)), what is written to it, and for which option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupFile {
    /// The controller that has it.
    pub controller: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its content.
    pub text: String,
    /// The option.
    pub option: &'static str,
}

impl GroupLimits {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What is to be written, for the options that are set.
    pub fn files(&self) -> Vec<GroupFile> {
        let file = |option, controller, name, text| GroupFile { controller, name, text, option };
        let bytes = |bytes: &Bytes| bytes.0.to_string();
        [
            self.memory_max.as_ref().map(|limit| file("memory_max", "memory", "memory.max", bytes(limit))),
            self.memory_high.as_ref().map(|limit| file("memory_high", "memory", "memory.high", bytes(limit))),
            self.cpu_max.map(|quota| file("cpu_max", "cpu", "cpu.max", format!("{} {PERIOD}", quota.0))),
            self.pids_max.map(|number| file("pids_max", "pids", "pids.max", number.to_string())),
            self.io_weight.map(|weight| file("io_weight", "io", "io.weight", format!("default {weight}"))),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// A number of bytes, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes(u64);

impl Bytes {
    /// Reads a whole number, with K, M, G or T for a power of 1024.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let trimmed = python::trim(text);
        let units = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
        let with_unit = units
            .into_iter()
            .find_map(|(unit, shift)| Some((trimmed.strip_suffix([unit, unit.to_ascii_lowercase()])?, shift)));
        let (digits, shift) = with_unit.unwrap_or((trimmed, 0));
        let number = digits.trim_end().parse::<u64>().ok().filter(|number| *number > 0);
        let number =
            number.and_then(|number| number.checked_mul(1 << shift)).filter(|number| *number <= i64::MAX as u64);
        number.map(Self).ok_or_else(|| format!("'{text}' is not a number of bytes such as 512M"))
    }

    /// As [`Self::read`] takes it.
    pub(super) fn show(self) -> String {
        let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
        let whole = units.into_iter().find(|(shift, _)| self.0.trailing_zeros() >= *shift);
        whole.map_or_else(|| self.0.to_string(), |(shift, unit)| format!("{}{unit}", self.0 >> shift))
    }
}

/// Microseconds of processor time in each period of 100 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuQuota(u32);

impl CpuQuota {
    /// Reads a number of processors, with a fraction.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let quota = python::float(text).map(|cpus| (cpus * f64::from(PERIOD)).round()).ok();
        let quota = quota.filter(|quota| (LEAST_QUOTA..=MOST_CPUS * f64::from(PERIOD)).contains(quota));
        quota
            // It has no fraction and is in range.
            .map(|quota| Self(quota as u32))
            .ok_or_else(|| format!("'{text}' is not a number of processors from 0.01 to {MOST_CPUS}"))
    }

    /// As [`Self::read`] takes it.
    pub(super) fn show(self) -> String {
        (f64::from(self.0) / f64::from(PERIOD)).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes() {
        for (text, number, shown) in [
            ("1", 1, "1"),
            ("512M", 512 << 20, "512M"),
            (" 2 g ", 2 << 30, "2G"),
            ("1536K", 1536 << 10, "1536K"),
            ("1024K", 1 << 20, "1M"),
            ("3T", 3 << 40, "3T"),
            ("1025", 1025, "1025"),
        ] {
            let read = Bytes::read(text).unwrap();
            assert_eq!((read.0, read.show().as_str()), (number, shown));
            assert_eq!(Bytes::read(shown), Ok(read));
        }
        for text in ["", "0", "-1", "M", "1.5G", "1P", "max", "99999999999T", "é", "5é"] {
            assert_eq!(Bytes::read(text), Err(format!("'{text}' is not a number of bytes such as 512M")));
        }
    }

    #[test]
    fn processors() {
        for (text, quota, shown) in
            [("1.5", 150_000, "1.5"), ("2", 200_000, "2"), ("0.01", 1000, "0.01"), ("0.333", 33_300, "0.333")]
        {
            let read = CpuQuota::read(text).unwrap();
            assert_eq!((read.0, read.show().as_str()), (quota, shown));
        }
        for text in ["", "0", "0.001", "-1", "nan", "inf", "9000", "max"] {
            assert!(CpuQuota::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn files_of_what_is_set() {
        assert_eq!(GroupLimits::default().files(), []);
        let limits = GroupLimits {
            memory_max: Bytes::read("1M").ok(),
            memory_high: Bytes::read("512K").ok(),
            cpu_max: CpuQuota::read("0.5").ok(),
            pids_max: Some(20),
            io_weight: Some(50),
        };
        let files = limits.files();
        let written: Vec<_> = files.iter().map(|file| (file.controller, file.name, file.text.as_str())).collect();
        assert_eq!(
            written,
            [
                ("memory", "memory.max", "1048576"),
                ("memory", "memory.high", "524288"),
                ("cpu", "cpu.max", "50000 100000"),
                ("pids", "pids.max", "20"),
                ("io", "io.weight", "default 50"),
            ]
        );
    }
}
