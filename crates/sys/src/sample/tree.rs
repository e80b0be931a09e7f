//! What a process and all its descendants use.

use std::time::Duration;

use super::Prober;

/// Descendants of a process that are looked at; the figures of one that has more are of these.
const MOST: usize = 10_000;

/// The figures of a tree that are read besides those that one file has of each process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeOptions {
    /// Open descriptors.
    pub fds: bool,
    /// Memory in which what processes share counts in proportion. The kernel goes through all of it.
    pub proportional: bool,
}

/// Sums over a process and its descendants.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TreeUsage {
    /// When the process itself was created, in seconds since the epoch.
    pub created: f64,
    /// How many there are.
    pub processes: u64,
    /// Processor time, with that of descendants that have ended and were waited for.
    pub cpu: Duration,
    /// Memory in RAM, in bytes; pages that processes share count for each of them.
    pub resident: u64,
    /// The same with shared pages in proportion, where it was requested and the kernel reports it of all.
    pub proportional: Option<u64>,
    /// Threads.
    pub threads: u64,
    /// Open descriptors, where they were requested and the kernel reports them of all.
    pub fds: Option<u64>,
}

impl Prober {
    /// A process and its descendants; `None` where it has ended.
    pub fn tree(&mut self, pid: i32, options: TreeOptions) -> Option<TreeUsage> {
        let mut descendants = Vec::new();
        let mut tree = self.process(pid, options, &mut descendants)?;
        let mut at = 0;
        while let Some(pid) = descendants.get(at).copied().filter(|_| at < MOST) {
            if let Some(one) = self.process(pid, options, &mut descendants) {
                tree.add(&one);
            }
            at += 1;
        }
        Some(tree)
    }

    /// A process without its descendants; `None` where it has ended.
    pub fn alone(&mut self, pid: i32, options: TreeOptions) -> Option<TreeUsage> {
        self.process(pid, options, &mut Vec::new())
    }

    /// A process by itself; its children are appended.
    fn process(&mut self, pid: i32, options: TreeOptions, children: &mut Vec<i32>) -> Option<TreeUsage> {
        let probe = self.open(pid)?;
        let fds = if options.fds { self.details(&probe).fds } else { None };
        let proportional = if options.proportional { self.proportional(&probe) } else { None };
        // Last, so that one that has ended meanwhile is left out as a whole. Its age is not asked for.
        let metrics = self.look(&probe, Duration::ZERO)?;
        self.children(&probe, metrics.threads, children);
        Some(TreeUsage {
            created: metrics.usage.created,
            processes: 1,
            cpu: metrics.busy + metrics.collected,
            resident: metrics.usage.resident,
            proportional,
            threads: metrics.threads,
            fds,
        })
    }
}

impl TreeUsage {
    /// Adds a process, or another tree. What is known of only one of them is known of none.
    pub fn add(&mut self, other: &Self) {
        let sum = |one: Option<u64>, other: Option<u64>| one.zip(other).map(|(one, other)| one.saturating_add(other));
        self.processes += other.processes;
        self.cpu += other.cpu;
        self.resident = self.resident.saturating_add(other.resident);
        self.proportional = sum(self.proportional, other.proportional);
        self.threads = self.threads.saturating_add(other.threads);
        self.fds = sum(self.fds, other.fds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{shell, start, wait};

    #[test]
    fn tree_has_all_descendants() {
        let leader = start(&shell("sh -c 'sh -c \"sleep 1000; :\" & wait; :' & wait")).unwrap();
        let mut prober = Prober::default();
        let all = TreeOptions { fds: true, proportional: true };
        let tree = loop {
            match prober.tree(leader.as_raw(), all) {
                Some(tree) if tree.processes == 4 => break tree,
                Some(_) | None => std::thread::yield_now(),
            }
        };
        let alone = prober.alone(leader.as_raw(), all).unwrap();
        assert!(tree.resident > alone.resident && tree.fds > alone.fds && tree.created == alone.created, "{tree:?}");
        assert!(tree.proportional > Some(0), "{tree:?}");
        assert_eq!(prober.tree(leader.as_raw(), TreeOptions::default()).unwrap().proportional, None);
        crate::kill_trees(&crate::Proc::default(), &[(leader, None)]);
        wait(leader);
        assert_eq!(prober.tree(leader.as_raw(), all), None);
    }
}
