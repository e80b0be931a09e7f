//! The lines of the tree: which there are, and in which order.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::fleet::{Fleet, OWN, Process, Watcher};
use super::metrics::Metrics;
use circus_core::proto::StreamName;

/// What lines are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Name,
    Cpu,
    Memory,
    Age,
    Restarts,
}

impl Sort {
    pub(super) const ALL: [Self; 5] = [Self::Name, Self::Cpu, Self::Memory, Self::Age, Self::Restarts];

    pub(super) fn key(self) -> char {
        match self {
            Self::Name => 'n',
            Self::Cpu => 'c',
            Self::Memory => 'm',
            Self::Age => 'a',
            Self::Restarts => 't',
        }
    }

    /// Names begin with the first, figures with the highest.
    fn begins_high(self) -> bool {
        self != Self::Name
    }
}

/// How the fleet is looked at.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) sort: Sort,
    pub(super) reversed: bool,
    /// Only what contains this is shown.
    pub(super) filter: String,
    /// Watchers whose processes are not shown.
    pub(super) folded: BTreeSet<String>,
    pub(super) events: bool,
    /// What workers print there is shown.
    pub(super) output: Option<StreamName>,
}

impl Default for Settings {
    fn default() -> Self {
        let (filter, folded) = (String::new(), BTreeSet::new());
        Self { sort: Sort::Name, reversed: false, filter, folded, events: true, output: None }
    }
}

/// Names a line for as long as it exists, wherever it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowId {
    /// The key of the watcher.
    pub(super) watcher: String,
    pub(super) pid: Option<i64>,
}

/// A line.
#[derive(Clone, Copy, Debug)]
pub(super) enum Row<'a> {
    Watcher {
        key: &'a str,
        watcher: &'a Watcher,
        folded: bool,
    },
    Process {
        key: &'a str,
        pid: i64,
        process: &'a Process,
        /// The last of its watcher.
        last: bool,
    },
}

impl Row<'_> {
    pub(super) fn id(&self) -> RowId {
        match self {
            Self::Watcher { key, .. } => RowId { watcher: (*key).to_owned(), pid: None },
            Self::Process { key, pid, .. } => RowId { watcher: (*key).to_owned(), pid: Some(*pid) },
        }
    }

    pub(super) fn is(&self, id: &RowId) -> bool {
        match self {
            Self::Watcher { key, .. } => id.watcher == *key && id.pid.is_none(),
            Self::Process { key, pid, .. } => id.watcher == *key && id.pid == Some(*pid),
        }
    }
}

/// All lines that are to be seen; circusd itself and its programs come last.
pub(super) fn rows<'a>(fleet: &'a Fleet, settings: &Settings) -> Vec<Row<'a>> {
    let mut watchers: Vec<(&str, &Watcher, Metrics)> =
        fleet.watchers.iter().map(|(key, watcher)| (key.as_str(), watcher, watcher.metrics())).collect();
    watchers.sort_by(|(one_key, one, one_metrics), (other_key, other, other_metrics)| {
        let order = compare(settings, one_metrics, other_metrics)
            .then_with(|| by_restarts(settings, one.restarts, other.restarts));
        let names = one_key.cmp(other_key);
        order.then(if settings.sort == Sort::Name && settings.reversed { names.reverse() } else { names })
    });
    let own = (!fleet.own.processes.is_empty()).then_some((OWN, &fleet.own));
    let mut rows = Vec::new();
    for (key, watcher) in watchers.into_iter().map(|(key, watcher, _)| (key, watcher)).chain(own) {
        put(&mut rows, key, watcher, settings);
    }
    rows
}

fn put<'a>(rows: &mut Vec<Row<'a>>, key: &'a str, watcher: &'a Watcher, settings: &Settings) {
    let wanted = settings.filter.to_lowercase();
    let whole = key.contains(&wanted) || watcher.name.to_lowercase().contains(&wanted);
    let fits = |pid: i64, process: &Process| {
        whole || process.label.to_lowercase().contains(&wanted) || pid.to_string().contains(&wanted)
    };
    let mut processes: Vec<(i64, &Process)> = watcher
        .processes
        .iter()
        .map(|(pid, process)| (*pid, process))
        .filter(|(pid, process)| fits(*pid, process))
        .collect();
    if !whole && processes.is_empty() {
        return;
    }
    let folded = settings.folded.contains(key);
    rows.push(Row::Watcher { key, watcher, folded });
    if folded {
        return;
    }
    processes.sort_by(|(one_pid, one), (other_pid, other)| {
        let pids = one_pid.cmp(other_pid);
        let pids = if settings.sort == Sort::Name && settings.reversed { pids.reverse() } else { pids };
        compare(settings, &one.metrics, &other.metrics).then(pids)
    });
    let count = processes.len();
    let lines = processes.into_iter().enumerate();
    rows.extend(lines.map(|(at, (pid, process))| Row::Process { key, pid, process, last: at + 1 == count }));
}

fn compare(settings: &Settings, one: &Metrics, other: &Metrics) -> Ordering {
    let order = match settings.sort {
        Sort::Name | Sort::Restarts => return Ordering::Equal,
        Sort::Cpu => by_number(one.cpu, other.cpu),
        Sort::Memory => by_number(size(one), size(other)),
        Sort::Age => by_number(one.age, other.age),
    };
    directed(settings, order)
}

fn size(metrics: &Metrics) -> Option<f64> {
    metrics.resident.map(|bytes| bytes as f64)
}

fn by_restarts(settings: &Settings, one: Option<u64>, other: Option<u64>) -> Ordering {
    if settings.sort == Sort::Restarts { directed(settings, one.cmp(&other)) } else { Ordering::Equal }
}

/// What is unknown is lowest.
fn by_number(one: Option<f64>, other: Option<f64>) -> Ordering {
    one.unwrap_or(-1.0).total_cmp(&other.unwrap_or(-1.0))
}

fn directed(settings: &Settings, order: Ordering) -> Ordering {
    if settings.sort.begins_high() != settings.reversed { order.reverse() } else { order }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn lines(settings: &Settings) -> Vec<String> {
        let state = testing::state();
        let rows = rows(&state.fleet, settings);
        rows.iter()
            .map(|row| match row {
                Row::Watcher { key, .. } => (*key).to_owned(),
                Row::Process { pid, last, .. } => format!("{pid}{}", if *last { "." } else { "" }),
            })
            .collect()
    }

    #[test]
    fn a_tree_in_each_order() {
        let own = ["circus", "90", "91."];
        let sorted = |sort, reversed, wanted: &[&str]| {
            let wanted: Vec<&str> = wanted.iter().chain(&own).copied().collect();
            let lines = lines(&Settings { sort, reversed, ..Settings::default() });
            if sort == Sort::Name || sort == Sort::Restarts {
                assert_eq!(lines, wanted, "{sort:?} {reversed}");
            } else {
                assert_eq!(lines[..wanted.len() - 3], wanted[..wanted.len() - 3], "{sort:?} {reversed}");
            }
        };
        sorted(Sort::Name, false, &["api", "11", "12.", "idle", "web", "21", "22", "23."]);
        sorted(Sort::Cpu, false, &["web", "22", "21", "23.", "api", "12", "11.", "idle"]);
        sorted(Sort::Cpu, true, &["idle", "api", "11", "12.", "web", "23", "21", "22."]);
        sorted(Sort::Memory, false, &["api", "11", "12.", "web", "21", "22", "23.", "idle"]);
        sorted(Sort::Restarts, false, &["api", "11", "12.", "idle", "web", "21", "22", "23."]);
        let reversed = lines(&Settings { reversed: true, ..Settings::default() });
        assert_eq!(reversed[..4], ["web", "23", "22", "21."]);
    }

    #[test]
    fn folded_and_filtered() {
        let folded = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let settings = Settings { folded: folded(&["web", "circus"]), ..Settings::default() };
        assert_eq!(lines(&settings), ["api", "11", "12.", "idle", "web", "circus"]);
        let filter = |filter: &str| lines(&Settings { filter: filter.into(), ..Settings::default() });
        assert_eq!(filter("WEB"), ["web", "21", "22", "23."]);
        assert_eq!(filter("22"), ["web", "22."]);
        assert_eq!(filter("circusd-s"), ["circus", "91."]);
        assert_eq!(filter("nobody"), Vec::<String>::new());
    }
}
