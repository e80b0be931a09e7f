//! Processes as /proc shows them.
//!
//! A process may be gone between any two reads. That is no error anywhere here: the answer leaves it out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

/// What `/proc/PID/stat` says of a process and its place among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The process.
    pub pid: Pid,
    /// Its parent now; an orphan's is the nearest subreaper, or PID 1.
    pub parent: Pid,
    /// Its process group.
    pub group: Pid,
    /// Its session.
    pub session: Pid,
    /// When it started, in clock ticks since boot. With the pid this names a process for good.
    pub started: u64,
    /// Whether it has ended and waits for its parent.
    pub zombie: bool,
}

/// A mounted /proc.
#[derive(Clone, Debug)]
pub struct Proc {
    root: PathBuf,
}

impl Default for Proc {
    fn default() -> Self {
        Self::at("/proc")
    }
}

impl Proc {
    /// The one mounted here.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// One process.
    pub fn stat(&self, pid: Pid) -> Option<Stat> {
        let text = std::fs::read(self.of(pid).join("stat")).ok()?;
        parse_stat(&text)
    }

    /// Whether there is such a process, be it a zombie.
    pub fn exists(&self, pid: Pid) -> bool {
        self.of(pid).exists()
    }

    /// When a process started: its name for good, together with its pid.
    pub fn started(&self, pid: Pid) -> Option<u64> {
        self.stat(pid).map(|stat| stat.started)
    }

    /// All processes, by pid.
    pub fn all(&self) -> Vec<Stat> {
        self.pids().into_iter().filter_map(|pid| self.stat(pid)).collect()
    }

    /// The processes whose parent this is, by pid.
    pub fn children(&self, pid: Pid) -> Vec<Pid> {
        self.listed_children(pid)
            .unwrap_or_else(|| self.all().iter().filter(|stat| stat.parent == pid).map(|stat| stat.pid).collect())
    }

    /// The children, theirs and so on, parents before their children.
    pub fn descendants(&self, pid: Pid) -> Vec<Pid> {
        self.family(pid).into_iter().map(|(_, child)| child).collect()
    }

    /// The same, each with its parent before it.
    pub(super) fn family(&self, pid: Pid) -> Vec<(Pid, Pid)> {
        let mut found: Vec<(Pid, Pid)> = self.children(pid).into_iter().map(|child| (pid, child)).collect();
        if found.is_empty() {
            return found;
        }
        // The kernel may not keep lists of children (CONFIG_PROC_CHILDREN). Then one look at all serves for the tree.
        let by_parent = self.listed_children(pid).is_none().then(|| by_parent(&self.all()));
        let mut next = 0;
        while let Some((_, parent)) = found.get(next).copied() {
            let children = match &by_parent {
                Some(table) => table.get(&parent).cloned().unwrap_or_default(),
                None => self.listed_children(parent).unwrap_or_default(),
            };
            // A pid that was reused while we looked could make a circle of the tree.
            let is_new = |child: &Pid| *child != pid && !found.iter().any(|(_, known)| known == child);
            let new: Vec<(Pid, Pid)> = children.into_iter().filter(is_new).map(|child| (parent, child)).collect();
            found.extend(new);
            next += 1;
        }
        found
    }

    fn of(&self, pid: Pid) -> PathBuf {
        self.root.join(pid.to_string())
    }

    fn pids(&self) -> Vec<Pid> {
        let mut pids: Vec<Pid> = numbers_in(&self.root).map(Pid::from_raw).collect();
        pids.sort_unstable();
        pids
    }

    /// The children of each of its threads; `None` where the kernel does not report them.
    fn listed_children(&self, pid: Pid) -> Option<Vec<Pid>> {
        let tasks = self.of(pid).join("task");
        let mut pids = Vec::new();
        let mut told = false;
        for thread in numbers_in(&tasks) {
            if let Ok(text) = std::fs::read_to_string(tasks.join(thread.to_string()).join("children")) {
                told = true;
                pids.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw));
            }
        }
        pids.sort_unstable();
        // A process that is gone has no threads, and no children.
        (told || !tasks.exists()).then_some(pids)
    }
}

fn numbers_in(directory: &Path) -> impl Iterator<Item = i32> + use<> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Each process's children.
pub(super) fn by_parent(stats: &[Stat]) -> BTreeMap<Pid, Vec<Pid>> {
    let mut table: BTreeMap<Pid, Vec<Pid>> = BTreeMap::new();
    for stat in stats {
        table.entry(stat.parent).or_default().push(stat.pid);
    }
    table
}

/// The fields of a stat from the state on. `1234 (na) me) S 1 1234 1234 ...`: the name may contain anything, so it ends
/// at the last parenthesis.
pub(super) fn stat_fields(text: &[u8]) -> Option<std::str::SplitAsciiWhitespace<'_>> {
    let close = text.iter().rposition(|byte| *byte == b')')?;
    Some(std::str::from_utf8(text.get(close + 1..)?).ok()?.split_ascii_whitespace())
}

/// Whether this state is that of a process that has ended.
pub(super) fn is_zombie(state: &str) -> bool {
    matches!(state, "Z" | "X" | "x")
}

fn parse_stat(text: &[u8]) -> Option<Stat> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let pid = std::str::from_utf8(text.get(..open)?).ok()?.trim().parse().ok()?;
    let mut fields = stat_fields(text)?;
    let zombie = is_zombie(fields.next()?);
    let mut id = || fields.next()?.parse().ok().map(Pid::from_raw);
    let (parent, group, session) = (id()?, id()?, id()?);
    // Field 22 of proc(5); 7 is next.
    let started = fields.nth(15)?.parse().ok()?;
    Some(Stat { pid: Pid::from_raw(pid), parent, group, session, started, zombie })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kill::send;
    use crate::testing::{shell, start, wait};

    /// A /proc of these (pid, parent), with or without lists of children.
    fn fake(processes: &[(i32, i32)], with_lists: bool) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (pid, parent) in processes {
            let task = root.path().join(format!("{pid}/task/{pid}"));
            std::fs::create_dir_all(&task).unwrap();
            let stat = format!("{pid} (a) S b) (c) S {parent} 7 8 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 {} 9", pid * 10);
            std::fs::write(root.path().join(format!("{pid}/stat")), stat).unwrap();
            if with_lists {
                let children: Vec<String> =
                    processes.iter().filter(|(_, p)| p == pid).map(|(child, _)| child.to_string()).collect();
                std::fs::write(task.join("children"), children.join(" ") + " ").unwrap();
            }
        }
        root
    }

    fn raw(pids: Vec<Pid>) -> Vec<i32> {
        pids.into_iter().map(Pid::as_raw).collect()
    }

    #[test]
    fn a_stat_with_a_wild_name() {
        let root = fake(&[(12, 3)], true);
        let stat = Proc::at(root.path()).stat(Pid::from_raw(12)).unwrap();
        let pids = (stat.pid.as_raw(), stat.parent.as_raw(), stat.group.as_raw(), stat.session.as_raw());
        assert_eq!((pids, stat.started, stat.zombie), ((12, 3, 7, 8), 120, false));
    }

    #[test]
    fn trees_with_and_without_the_kernels_lists() {
        for with_lists in [true, false] {
            let root = fake(&[(1, 0), (5, 1), (6, 5), (7, 5), (8, 7), (9, 8), (20, 1)], with_lists);
            let proc = Proc::at(root.path());
            assert_eq!(raw(proc.children(Pid::from_raw(5))), [6, 7]);
            assert_eq!(raw(proc.descendants(Pid::from_raw(5))), [6, 7, 8, 9]);
            assert_eq!(raw(proc.descendants(Pid::from_raw(9))), [0; 0]);
            assert_eq!(raw(proc.children(Pid::from_raw(4711))), [0; 0]);
            // A circle, as a pid that is reused between two looks could make.
            let root = fake(&[(5, 7), (6, 5), (7, 6)], with_lists);
            assert_eq!(raw(Proc::at(root.path()).descendants(Pid::from_raw(5))), [6, 7]);
        }
    }

    #[test]
    fn the_real_one() {
        let proc = Proc::default();
        let pid = start(&shell("sleep 1000 & sleep 1000 & kill -STOP $$; wait")).unwrap();
        nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WUNTRACED)).unwrap();
        let children = proc.children(pid);
        assert_eq!(children.len(), 2);
        assert_eq!(proc.descendants(pid), children);
        let stat = proc.stat(children[0]).unwrap();
        assert_eq!((stat.parent, stat.group, stat.session, stat.zombie), (pid, pid, pid, false));
        assert!(proc.children(Pid::this()).contains(&pid));
        for child in children.into_iter().chain([pid]) {
            send(child, circus_core::proto::Signal::KILL).unwrap();
        }
        wait(pid);
        assert_eq!(proc.stat(pid), None);
    }

    proptest! {
        #[test]
        fn no_stat_is_a_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_stat(&text);
        }
    }
}
