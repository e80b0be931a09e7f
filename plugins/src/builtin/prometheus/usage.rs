//! What the processes of watchers use, with their descendants.

use std::collections::HashMap;

use circus_sys::{Prober, TreeOptions, TreeUsage};

use super::snapshot::{Usage, Watcher};

/// Memory in proportion would cost the kernel too much at each visit.
const OPTIONS: TreeOptions = TreeOptions { fds: true, proportional: false };

/// A process at the last look.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Look {
    /// With the pid it names the process.
    created: f64,
    /// In seconds, with its descendants.
    cpu: f64,
}

/// Remembers what ended processes have used, so that the sum never falls.
#[derive(Debug, Default)]
struct Account {
    ended: f64,
    looks: HashMap<i32, Look>,
}

/// Looks at processes, and keeps an account for each watcher.
#[derive(Debug, Default)]
pub(crate) struct ProcessCache {
    prober: Prober,
    accounts: HashMap<String, Account>,
}

impl ProcessCache {
    /// Fills in what the watchers use.
    pub(crate) fn look(&mut self, watchers: &mut [Watcher]) {
        self.accounts.retain(|name, _| watchers.iter().any(|watcher| watcher.name == *name));
        for watcher in watchers {
            let tree = |pid: &i32| self.prober.tree(*pid, OPTIONS).map(|tree| (*pid, (tree.created, usage(&tree))));
            let seen: Vec<_> = watcher.pids.iter().filter_map(tree).collect();
            let account = self.accounts.entry(watcher.name.clone()).or_default();
            watcher.usage = Some(account.settle(&seen));
        }
    }

    /// What a process uses by itself.
    pub(crate) fn alone(&mut self, pid: i32) -> Option<Usage> {
        self.prober.alone(pid, OPTIONS).map(|process| usage(&process))
    }
}

fn usage(tree: &TreeUsage) -> Usage {
    Usage { cpu: tree.cpu.as_secs_f64(), resident: tree.resident, threads: tree.threads, fds: tree.fds }
}

/// What is known of only one of them is known of none.
fn sum(one: Usage, other: Usage) -> Usage {
    Usage {
        cpu: one.cpu + other.cpu,
        resident: one.resident + other.resident,
        threads: one.threads + other.threads,
        fds: one.fds.zip(other.fds).map(|(one, other)| one + other),
    }
}

impl Account {
    /// The sum of the processes that are there, and the processor time of those that were.
    fn settle(&mut self, seen: &[(i32, (f64, Usage))]) -> Usage {
        let mut total = Usage { fds: Some(0), ..Usage::default() };
        let mut looks = HashMap::new();
        for (pid, (created, usage)) in seen {
            let before = self.looks.get(pid).filter(|look| look.created.total_cmp(created).is_eq());
            // A child that has ended and was not collected yet is missing for a while.
            let cpu = before.map_or(usage.cpu, |look| look.cpu.max(usage.cpu));
            looks.insert(*pid, Look { created: *created, cpu });
            total = sum(total, Usage { cpu, ..*usage });
        }
        let goes_on =
            |pid: &i32, look: &Look| looks.get(pid).is_some_and(|now| now.created.total_cmp(&look.created).is_eq());
        let ended = self.looks.iter().filter(|(pid, look)| !goes_on(pid, look));
        self.ended += ended.map(|(_, look)| look.cpu).sum::<f64>();
        self.looks = looks;
        total.cpu += self.ended;
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, created: f64, cpu: f64) -> (i32, (f64, Usage)) {
        (pid, (created, Usage { cpu, resident: 10, threads: 1, fds: Some(3) }))
    }

    #[test]
    fn processor_time_never_falls() {
        let mut account = Account::default();
        let first = account.settle(&[process(1, 0.5, 2.0), process(2, 0.5, 1.0)]);
        assert_eq!(first, Usage { cpu: 3.0, resident: 20, threads: 2, fds: Some(6) });
        assert_eq!(account.settle(&[process(1, 0.5, 1.5), process(2, 7.5, 0.25)]).cpu, 3.25, "2 is another now");
        assert_eq!(account.settle(&[]), Usage { cpu: 3.25, resident: 0, threads: 0, fds: Some(0) });
        assert_eq!(account.settle(&[process(1, 9.5, 1.0)]).cpu, 4.25);
    }

    #[test]
    fn this_process_and_one_that_is_not() {
        let mut process_cache = ProcessCache::default();
        let pid = i32::try_from(std::process::id()).unwrap();
        let alone = process_cache.alone(pid).unwrap();
        assert!(alone.resident > 0 && alone.threads > 0 && alone.fds > Some(2), "{alone:?}");
        assert_eq!(process_cache.alone(i32::MAX), None);
        let mut watchers = [Watcher { name: "w".into(), pids: vec![pid, i32::MAX], ..Watcher::default() }];
        process_cache.look(&mut watchers);
        assert!(watchers[0].usage.is_some_and(|usage| usage.resident > 0));
    }
}
