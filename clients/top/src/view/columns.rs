//! The columns of the tree: which there are, how wide, and what stands in them.

use std::time::Duration;

use crate::fleet::Watcher;
use crate::metrics::{Metrics, age, count, percent, size};
use crate::rows::{Row, Sort};

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Name,
    State,
    Count,
    Cpu,
    Memory,
    Share,
    Threads,
    Files,
    Age,
    Restarts,
    CpuLine,
    MemoryLine,
}

/// From this width on there is room for more ...
const WIDE: u16 = 110;
/// ... and for everything.
const VERY_WIDE: u16 = 150;

/// The columns that fit, with their widths; there is a blank between two.
pub(super) fn fitting(width: u16) -> Vec<(Column, u16)> {
    use Column::{Age, Count, Cpu, CpuLine, Files, Memory, MemoryLine, Name, Restarts, Share, State, Threads};
    let mut columns = vec![(Name, 24), (State, 8), (Count, 8), (Cpu, 6), (Memory, 5)];
    if width >= WIDE {
        columns.extend([(Share, 5), (Threads, 5), (Files, 5)]);
    }
    columns.extend([(Age, 6), (Restarts, 8), (CpuLine, 1)]);
    if width >= VERY_WIDE {
        columns.push((MemoryLine, 1));
    }
    let taken: u16 = columns.iter().map(|(_, width)| width + 1).sum::<u16>().saturating_sub(1);
    let spare = width.saturating_sub(taken);
    // On a wide screen names get a quarter of what is left; the lines share the rest.
    let names = if width >= WIDE { spare / 4 } else { 0 };
    let lines = if width >= VERY_WIDE { 2 } else { 1 };
    for (column, width) in &mut columns {
        match column {
            Name => *width += names,
            CpuLine | MemoryLine => *width += (spare - names) / lines,
            State | Count | Cpu | Memory | Share | Threads | Files | Age | Restarts => {}
        }
    }
    columns
}

impl Column {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Name => "NAME / PID",
            Self::State => "STATE",
            Self::Count => "PROCS",
            Self::Cpu => "CPU%",
            Self::Memory => "MEM",
            Self::Share => "MEM%",
            Self::Threads => "THR",
            Self::Files => "FDS",
            Self::Age => "AGE",
            Self::Restarts => "RESTARTS",
            Self::CpuLine => "CPU 3MIN",
            Self::MemoryLine => "MEM 3MIN",
        }
    }

    /// Whether lines are sorted by it.
    pub(super) fn is_sorted_by(self, sort: Sort) -> bool {
        let column = match sort {
            Sort::Name => Self::Name,
            Sort::Cpu => Self::Cpu,
            Sort::Memory => Self::Memory,
            Sort::Age => Self::Age,
            Sort::Restarts => Self::Restarts,
        };
        self == column
    }

    pub(super) fn is_number(self) -> bool {
        match self {
            Self::Name | Self::State | Self::CpuLine | Self::MemoryLine => false,
            Self::Count | Self::Cpu | Self::Memory | Self::Share => true,
            Self::Threads | Self::Files | Self::Age | Self::Restarts => true,
        }
    }

    pub(super) fn cell(self, row: &Row<'_>, metrics: &Metrics, width: usize, now: Duration) -> String {
        let (cpu, memory) = match row {
            Row::Watcher { watcher, .. } => (&watcher.cpu, &watcher.memory),
            Row::Process { process, .. } => (&process.cpu, &process.memory),
        };
        match self {
            Self::Name => name(row),
            Self::State => of_watcher(row, Watcher::shown_state),
            Self::Count => match row {
                Row::Watcher { watcher, .. } => counted(watcher),
                Row::Process { process, .. } => descendants(&process.metrics),
            },
            Self::Restarts => of_watcher(row, |watcher| Some(watcher.restarts?.to_string())),
            Self::Cpu => percent(metrics.cpu),
            Self::Memory => size(metrics.resident),
            Self::Share => percent(metrics.memory),
            Self::Threads => count(metrics.threads),
            Self::Files => count(metrics.fds),
            Self::Age => age(metrics.age),
            // A full processor, or the most there was where that is more.
            Self::CpuLine => cpu.line(width, 100.0, now),
            Self::MemoryLine => memory.line(width, 1.0, now),
        }
    }
}

fn name(row: &Row<'_>) -> String {
    match row {
        Row::Watcher { watcher, folded: true, .. } => format!("▸ {}", watcher.shown_name()),
        Row::Watcher { watcher, folded: false, .. } => format!("▾ {}", watcher.shown_name()),
        Row::Process { pid, process, last, .. } => {
            format!("  {} {pid} {}", if *last { '└' } else { '├' }, process.shown_label())
        }
    }
}

/// What only watchers have.
fn of_watcher(row: &Row<'_>, show: impl FnOnce(&Watcher) -> Option<String>) -> String {
    match row {
        Row::Watcher { watcher, .. } => show(watcher).unwrap_or_default(),
        Row::Process { .. } => String::new(),
    }
}

/// How many workers there are, of how many, and how many processes descend from them: `2/2+8`.
pub(crate) fn counted(watcher: &Watcher) -> String {
    let count = watcher.processes.len();
    let workers = watcher.wanted.map_or_else(|| count.to_string(), |wanted| format!("{count}/{wanted}"));
    workers + &descendants(&watcher.metrics())
}

/// `+8`: so many processes descend from it.
pub(crate) fn descendants(metrics: &Metrics) -> String {
    metrics.descendants.filter(|count| *count > 0).map_or_else(String::new, |count| format!("+{count}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_counted_beside_workers() {
        let metrics = |descendants| Metrics { descendants, ..Metrics::default() };
        assert_eq!([Some(8), Some(0), None].map(|count| descendants(&metrics(count))), ["+8", "", ""]);
    }

    #[test]
    fn columns_fill_the_width_and_never_more() {
        for width in [80, 109, 110, 149, 150, 200, 1000] {
            let columns = fitting(width);
            let taken: u16 = columns.iter().map(|(_, width)| width + 1).sum::<u16>() - 1;
            assert!(taken <= width && taken + 2 >= width, "{width}: {taken}");
            for (column, width) in columns {
                assert!(column.title().len() <= usize::from(width), "{column:?}");
            }
        }
        assert!(!fitting(10).is_empty());
        assert_eq!(fitting(200).len(), 12);
    }
}
