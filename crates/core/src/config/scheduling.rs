//! What the kernel is asked to prefer or spare: `nice`, `ionice`, `cpu_affinity` and `oom_score_adj`.

use serde::{Deserialize, Serialize};

use super::python;

/// The highest number of a processor that can be named: the kernel is built for 8192 at most (CONFIG_NR_CPUS).
const LAST_CPU: u32 = 8191;

/// Where a watcher says nothing, its workers have what circusd has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each option is described once, in config::WATCHER_OPTIONS")]
pub struct Scheduling {
    pub nice: Option<i32>,
    pub ionice: Option<IoPriority>,
    pub cpu_affinity: Option<Cpus>,
    pub oom_score_adj: Option<i32>,
}

impl Scheduling {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A class of ioprio_set(2), and its level where it has levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoPriority {
    class: IoClass,
    level: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum IoClass {
    Realtime,
    BestEffort,
    Idle,
}

impl IoClass {
    const ALL: [(Self, &str); 3] =
        [(Self::Realtime, "realtime"), (Self::BestEffort, "best-effort"), (Self::Idle, "idle")];

    fn name(self) -> &'static str {
        match self {
            Self::Realtime => "realtime",
            Self::BestEffort => "best-effort",
            Self::Idle => "idle",
        }
    }
}

impl IoPriority {
    /// The level of a class that is named alone, as that of ionice(1).
    const USUAL: u8 = 4;
    const LEVELS: u8 = 8;

    /// Reads `CLASS` or `CLASS:LEVEL`.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let (name, level) = match text.split_once(':') {
            None => (python::trim(text), None),
            Some((name, level)) => (python::trim(name), Some(python::trim(level))),
        };
        let class = IoClass::ALL.into_iter().find(|(_, known)| name.eq_ignore_ascii_case(known));
        let (class, _) = class.ok_or_else(|| format!("'{name}' is neither realtime nor best-effort nor idle"))?;
        match (class, level) {
            (IoClass::Idle, None) => Ok(Self { class, level: 0 }),
            (IoClass::Idle, Some(_)) => Err("idle has no levels".into()),
            (_, None) => Ok(Self { class, level: Self::USUAL }),
            (_, Some(text)) => {
                let level = text.parse().ok().filter(|level| *level < Self::LEVELS);
                let level = level.ok_or_else(|| format!("'{text}' is not a level from 0 to 7"))?;
                Ok(Self { class, level })
            }
        }
    }

    /// As [`Self::read`] takes it.
    pub(super) fn show(self) -> String {
        match self.class {
            IoClass::Idle => self.class.name().into(),
            IoClass::Realtime | IoClass::BestEffort => format!("{}:{}", self.class.name(), self.level),
        }
    }

    /// As ioprio_set(2) takes it.
    pub fn number(self) -> u16 {
        let class = match self.class {
            IoClass::Realtime => 1,
            IoClass::BestEffort => 2,
            IoClass::Idle => 3,
        };
        class << 13 | u16::from(self.level)
    }
}

/// Processors, in ascending order, at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpus(Vec<u32>);

impl Cpus {
    /// Reads numbers and ranges with commas between them: `0-3,7`.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let number = |word: &str| {
            let number = python::trim(word).parse().ok().filter(|number| *number <= LAST_CPU);
            number.ok_or_else(|| {
                format!("'{}' is not the number of a processor, from 0 to {LAST_CPU}", python::trim(word))
            })
        };
        let mut numbers = Vec::new();
        for part in text.split(',') {
            match part.split_once('-') {
                None => numbers.push(number(part)?),
                Some((first, last)) => {
                    let (first, last) = (number(first)?, number(last)?);
                    if first > last {
                        return Err(format!("'{}' ends before it begins", python::trim(part)));
                    }
                    numbers.extend(first..=last);
                }
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(Self(numbers))
    }

    /// As [`Self::read`] takes it, in the shortest form.
    pub(super) fn show(&self) -> String {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for number in &self.0 {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == *number => *last = *number,
                _ => ranges.push((*number, *number)),
            }
        }
        let show =
            |(first, last): (u32, u32)| if first == last { first.to_string() } else { format!("{first}-{last}") };
        ranges.into_iter().map(show).collect::<Vec<_>>().join(",")
    }

    /// As sched_setaffinity(2) takes it: a bit for each, the lowest first.
    pub fn mask(&self) -> Vec<u64> {
        let words = self.0.last().map_or(0, |last| *last as usize / 64 + 1);
        let mut mask = vec![0_u64; words];
        for number in &self.0 {
            if let Some(word) = mask.get_mut(*number as usize / 64) {
                *word |= 1 << (number % 64);
            }
        }
        mask
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn classes_and_levels() {
        for (text, shown, number) in [
            ("idle", "idle", 3 << 13),
            (" Best-Effort ", "best-effort:4", 2 << 13 | 4),
            ("best-effort: 7", "best-effort:7", 2 << 13 | 7),
            ("realtime:0", "realtime:0", 1 << 13),
        ] {
            let read = IoPriority::read(text).unwrap();
            assert_eq!((read.show().as_str(), read.number()), (shown, number));
        }
        for (text, error) in [
            ("", "'' is neither realtime nor best-effort nor idle"),
            ("idle:1", "idle has no levels"),
            ("best-effort:8", "'8' is not a level from 0 to 7"),
            ("realtime:", "'' is not a level from 0 to 7"),
        ] {
            assert_eq!(IoPriority::read(text), Err(error.into()));
        }
    }

    #[test]
    fn processors() {
        for (text, shown, mask) in [
            ("0", "0", vec![1]),
            ("0-3,7", "0-3,7", vec![0x8f]),
            (" 7 , 3 - 4, 3, 5", "3-5,7", vec![0xb8]),
            ("64", "64", vec![0, 1]),
        ] {
            let read = Cpus::read(text).unwrap();
            assert_eq!((read.show().as_str(), read.mask()), (shown, mask));
        }
        for (text, error) in [
            ("", "'' is not the number of a processor, from 0 to 8191"),
            ("1,", "'' is not the number of a processor, from 0 to 8191"),
            ("-1", "'' is not the number of a processor, from 0 to 8191"),
            ("8192", "'8192' is not the number of a processor, from 0 to 8191"),
            ("4-2", "'4-2' ends before it begins"),
        ] {
            assert_eq!(Cpus::read(text), Err(error.into()));
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_what_was_read(mut numbers in proptest::collection::vec(0..9000_u32, 1..20)) {
            let text = numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
            if let Ok(cpus) = Cpus::read(&text) {
                prop_assert_eq!(Cpus::read(&cpus.show()), Ok(cpus.clone()));
                numbers.sort_unstable();
                numbers.dedup();
                prop_assert_eq!(cpus.mask().iter().map(|word| word.count_ones() as usize).sum::<usize>(), numbers.len());
            } else {
                prop_assert!(numbers.iter().any(|number| *number > LAST_CPU));
            }
        }
    }
}
