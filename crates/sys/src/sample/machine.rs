//! What is the same for every process: the units, the machine, and how raw figures are converted.

use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

use super::parse::{self, Figures};
use super::reader::Reader;
use circus_core::proto::Usage;

/// What the kernel counts in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    pub(super) ticks_per_second: u64,
    pub(super) page: u64,
}

impl Units {
    pub(super) fn of_this_machine() -> Self {
        let ask = |what, usual| sysconf(what).ok().flatten().and_then(|n| u64::try_from(n).ok()).unwrap_or(usual);
        Self { ticks_per_second: ask(SysconfVar::CLK_TCK, 100).max(1), page: ask(SysconfVar::PAGE_SIZE, 4096) }
    }
}

/// What does not change while the machine runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    /// In seconds since the epoch. Read once, so that a process keeps its time of creation when the clock is set.
    pub(super) booted: f64,
    /// In bytes.
    pub(super) ram: Option<u64>,
    /// Whether the kernel keeps lists of children (CONFIG_PROC_CHILDREN).
    pub(super) lists_children: bool,
}

impl Machine {
    pub(super) fn look(reader: &mut Reader) -> Self {
        Self {
            booted: reader.of_machine("stat").ok().and_then(parse::boot_time).unwrap_or(0) as f64,
            ram: reader.of_machine("meminfo").ok().and_then(parse::ram).filter(|ram| *ram > 0),
            lists_children: reader.of_machine("thread-self/children").is_ok(),
        }
    }

    /// Figures as they are reported, except the share of the processor, which takes two samples.
    pub(super) fn usage(&self, figures: Figures, units: Units, now: Duration) -> Usage {
        let ticks = units.ticks_per_second as f64;
        let resident = figures.resident.saturating_mul(units.page);
        let started = figures.started as f64 / ticks;
        Usage {
            resident,
            mapped: figures.mapped,
            cpu: 0.0,
            memory: self.ram.map_or(0.0, |ram| 100.0 * resident as f64 / ram as f64),
            cpu_time: Duration::from_secs_f64(figures.total as f64 / ticks),
            nice: (!figures.zombie).then_some(figures.nice),
            created: self.booted + started,
            age: (now.as_secs_f64() - started).max(0.0),
        }
    }
}
