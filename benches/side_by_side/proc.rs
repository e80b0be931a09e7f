//! What /proc knows of processes.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use nix::unistd::Pid;

/// Time on a processor that all threads of these processes have used, to the nanosecond (ticks of `stat` are 10 ms).
pub(crate) fn cpu(pids: &[Pid]) -> Duration {
    let nanos = |text: String| text.split_whitespace().next()?.parse::<u64>().ok();
    Duration::from_nanos(tasks(pids, "schedstat").filter_map(nanos).sum())
}

/// How often any thread of these processes went to sleep of its own will: each time, something had woken it.
pub(crate) fn switches(pids: &[Pid]) -> u64 {
    tasks(pids, "status").filter_map(|text| line(&text, "voluntary_ctxt_switches:")).sum()
}

/// Memory of these processes in MiB, where pages that several share are counted in parts.
pub(crate) fn pss(pids: &[Pid]) -> f64 {
    let rollups = pids.iter().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok());
    let kib: u64 = rollups.filter_map(|text| line(&text, "Pss:")).sum();
    kib as f64 / 1024.0
}

/// This file of every thread of these processes.
fn tasks(pids: &[Pid], name: &'static str) -> impl Iterator<Item = String> {
    let folders = pids.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok());
    let tasks: Vec<_> = folders.flatten().flatten().collect();
    tasks.into_iter().filter_map(move |task| fs::read_to_string(task.path().join(name)).ok())
}

/// The number behind a name at the begin of a line.
fn line(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// A process, as its parent sees it.
#[derive(Clone, Debug)]
pub(crate) struct Descendant {
    pub(crate) pid: Pid,
    pub(crate) name: String,
    /// It has ended, and waits for its parent to notice.
    pub(crate) is_zombie: bool,
}

/// Children of this process, their children, and so on.
pub(crate) fn descendants(root: Pid) -> Vec<Descendant> {
    let mut children: BTreeMap<Pid, Vec<Descendant>> = BTreeMap::new();
    for (parent, kin) in fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        stat(Pid::from_raw(pid))
    }) {
        children.entry(parent).or_default().push(kin);
    }
    let mut found = children.remove(&root).unwrap_or_default();
    let mut at = 0;
    while let Some(kin) = found.get(at) {
        let more = children.remove(&kin.pid).unwrap_or_default();
        found.extend(more);
        at += 1;
    }
    found
}

/// The parent of a process, and what it is.
fn stat(pid: Pid) -> Option<(Pid, Descendant)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, brackets and blanks too.
    let (before, after) = text.rsplit_once(") ")?;
    let name = before.split_once('(')?.1.to_owned();
    let mut words = after.split_whitespace();
    let is_zombie = matches!(words.next()?, "Z" | "X");
    let parent = Pid::from_raw(words.next()?.parse().ok()?);
    Some((parent, Descendant { pid, name, is_zombie }))
}
