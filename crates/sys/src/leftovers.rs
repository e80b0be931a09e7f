//! What a process leaves behind when it ends: its process group, its session, and descendants that were known before.
//!
//! A worker leads a session and a group, whose number the kernel gives to no other process while a member lives. So the
//! members are found after their leader has been reaped. A descendant that has left both is found only if it was listed
//! while its ancestors lived.

use nix::errno::Errno;
use nix::sys::signal::killpg;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::kill::Handle;
use super::process::{Proc, Stat};
use super::tree::{NEVER, kill_group, kill_trees, members, members_of_group};
use circus_core::proto::Signal;

/// A process for good: a later process with the same pid has started at another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Its pid.
    #[serde(with = "super::raw_pid")]
    pub pid: Pid,
    /// When it started ([`Stat::started`]).
    pub started: u64,
}

impl From<&Stat> for ProcessIdentity {
    fn from(stat: &Stat) -> Self {
        Self { pid: stat.pid, started: stat.started }
    }
}

impl ProcessIdentity {
    /// Whether the process runs; a zombie does not.
    pub fn is_alive(&self, proc: &Proc) -> bool {
        proc.stat(self.pid).is_some_and(|stat| stat.started == self.started && !stat.zombie)
    }

    /// Sends the process a signal, and never to a later process with its pid.
    pub fn send(&self, proc: &Proc, signal: Signal) {
        let handle = Handle::open(self.pid);
        // Behind the handle the pid cannot change hands.
        if proc.started(self.pid) == Some(self.started) {
            let _gone = handle.send(self.pid, signal);
        }
    }
}

/// How far a signal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The process.
    Process,
    /// Its process group, which it leads.
    Group,
    /// The process, its group, its session and all that descend from these.
    Tree,
}

impl ProcessIdentity {
    /// Sends a signal to this process and as far from it as `extent` says, never to a later process with one of the pids.
    /// Nothing is sent where the process has ended.
    pub fn send_to(&self, proc: &Proc, signal: Signal, extent: Extent) {
        if extent == Extent::Process {
            return self.send(proc, signal);
        }
        let now = proc.all();
        let root = [(self.pid, Some(self.started))];
        let reached: Vec<Self> = match extent {
            Extent::Group => members_of_group(&now, self.pid, Pid::this()).map(Self::from).collect(),
            Extent::Process | Extent::Tree => members(&now, &root, Pid::this()).iter().map(Self::from).collect(),
        };
        // As long as it lives, the numbers of its group and session are its own, and they were when the members were seen.
        if !self.is_alive(proc) {
            return;
        }
        match (extent, signal) {
            (Extent::Group, Signal::KILL) => drop(kill_group(proc, self.pid)),
            (_, Signal::KILL) => drop(kill_trees(proc, &root)),
            _ => {
                self.send(proc, signal);
                reached.iter().filter(|one| *one != self).for_each(|one| one.send(proc, signal));
            }
        }
    }
}

/// What is left of the process group of a leader that has been reaped.
pub fn left_of_group(proc: &Proc, leader: Pid) -> Vec<ProcessIdentity> {
    if leader.as_raw() <= 1 || killpg(leader, None) == Err(Errno::ESRCH) {
        return Vec::new();
    }
    members_of_group(&proc.all(), leader, Pid::this()).map(ProcessIdentity::from).collect()
}

/// Everything that descends from a process now.
pub fn descendants(proc: &Proc, pid: Pid) -> Vec<ProcessIdentity> {
    let stats = proc.descendants(pid).into_iter().filter_map(|pid| proc.stat(pid));
    stats.filter(|stat| !stat.zombie).map(|stat| ProcessIdentity::from(&stat)).collect()
}

/// The living processes that a reaped process has left behind: its group, its session, those that were known to
/// descend from it, and what descends from all these.
///
/// Where no process of the group and none of the known ones lives, which one system call each finds out, /proc is not
/// searched: a session whose first group is empty is found by way of a known descendant only.
pub fn left_behind(proc: &Proc, leader: Pid, known: &[ProcessIdentity]) -> Vec<ProcessIdentity> {
    let group_is_empty = leader.as_raw() <= 1 || killpg(leader, None) == Err(Errno::ESRCH);
    if group_is_empty && !known.iter().any(|one| one.is_alive(proc)) {
        return Vec::new();
    }
    let roots: Vec<(Pid, Option<u64>)> = leftover_roots(leader, known);
    members(&proc.all(), &roots, Pid::this()).iter().map(ProcessIdentity::from).collect()
}

/// The same processes, for [`kill_trees`](super::kill_trees): the leader's number means its group and session, and never a process.
pub fn leftover_roots(leader: Pid, known: &[ProcessIdentity]) -> Vec<(Pid, Option<u64>)> {
    let known = known.iter().map(|one| (one.pid, Some(one.started)));
    std::iter::once((leader, Some(NEVER))).chain(known).collect()
}

/// Orphans of our descendants become our children, wherever circusd runs: so their ends are noticed, and they can be
/// found. Our own children do not inherit it.
pub fn become_subreaper() -> std::io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test waits with a deadline")]

    use std::io::Read as _;

    use super::*;
    use crate::kill_trees;
    use crate::testing::{piped, shell, start, wait};

    /// A script that has printed `up` and ended, and a pipe that ends when all that it started has.
    fn ended(
        script: &str,
        look: impl FnOnce(Pid) -> Vec<ProcessIdentity>,
    ) -> (Pid, Vec<ProcessIdentity>, std::io::PipeReader) {
        let (pid, mut reader) = piped(script);
        let mut up = [0; 3];
        reader.read_exact(&mut up).unwrap();
        let known = look(pid);
        crate::send(pid, Signal::KILL).unwrap();
        wait(pid);
        (pid, known, reader)
    }

    #[test]
    fn group_of_a_reaped_leader_is_found_and_ended() {
        let proc = Proc::default();
        let (pid, _, mut reader) = ended("sleep 1000 & sleep 1000 & echo up; wait", |_| Vec::new());
        let left = left_behind(&proc, pid, &[]);
        assert_eq!(left.len(), 2);
        left.iter().for_each(|one| one.send(&proc, Signal(libc::SIGTERM)));
        reader.read_to_end(&mut Vec::new()).unwrap();
        // Which process collects them is not this test's affair: a zombie is no leftover. A process that ends closes its
        // files before it counts as ended.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !left_behind(&proc, pid, &left).is_empty() {
            assert!(std::time::Instant::now() < deadline, "{:?}", left_behind(&proc, pid, &left));
            std::thread::yield_now();
        }
    }

    #[test]
    fn descendant_in_another_session_is_found_if_it_was_known() {
        let proc = Proc::default();
        let script = "setsid -w sh -c 'sleep 1000 & echo up; wait' & wait";
        let (pid, known, mut reader) = ended(script, |pid| {
            loop {
                let known = descendants(&proc, pid);
                if known.iter().any(|one| proc.stat(one.pid).is_some_and(|stat| stat.session != pid)) {
                    return known;
                }
            }
        });
        let left = left_behind(&proc, pid, &known);
        assert!(left.iter().any(|one| proc.stat(one.pid).is_some_and(|stat| stat.session != pid)));
        assert!(kill_trees(&proc, &leftover_roots(pid, &known)) >= 2);
        reader.read_to_end(&mut Vec::new()).unwrap();
    }

    #[test]
    fn nothing_is_left_of_a_process_that_was_alone() {
        let (pid, known, _) = ended("echo up; read x", |pid| descendants(&Proc::default(), pid));
        assert_eq!((known.len(), left_behind(&Proc::default(), pid, &[])), (0, Vec::new()));
    }

    #[test]
    fn signal_reaches_as_far_as_it_is_meant_to() {
        let proc = Proc::default();
        // What ignores a signal bequeaths that, so this one traps it.
        let script = "trap : USR1; sh -c 'trap \"echo group\" USR1; echo up; while :; do sleep 0.01; done' & \
                      setsid -w sh -c 'trap \"echo apart\" USR1; echo up; while :; do sleep 0.01; done' & \
                      while :; do wait; done";
        let (pid, mut reader) = piped(script);
        let mut text = [0; 6];
        reader.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"up\nup\n");
        let identity = ProcessIdentity { pid, started: proc.started(pid).unwrap() };
        let usr1 = Signal(libc::SIGUSR1);
        identity.send_to(&proc, usr1, Extent::Process);
        let later = ProcessIdentity { started: identity.started + 1, pid };
        for extent in [Extent::Process, Extent::Group, Extent::Tree] {
            later.send_to(&proc, Signal::KILL, extent);
        }
        identity.send_to(&proc, usr1, Extent::Group);
        let mut line = [0; 6];
        reader.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"group\n");
        identity.send_to(&proc, usr1, Extent::Tree);
        let mut lines = [0; 12];
        reader.read_exact(&mut lines).unwrap();
        assert!([b"group\napart\n", b"apart\ngroup\n"].contains(&&lines), "{}", String::from_utf8_lossy(&lines));
        assert!(left_of_group(&proc, pid).iter().any(|one| one.pid == pid));
        identity.send_to(&proc, Signal::KILL, Extent::Group);
        assert_eq!(wait(pid), -9);
        // The members have ended when each has closed the pipe; the one that left the group still has it.
        let apart = proc.all().into_iter().filter(|stat| stat.session != pid && stat.parent.as_raw() != 0);
        let apart: Vec<_> = apart
            .filter(|stat| std::fs::read_link(format!("/proc/{}/fd/1", stat.pid)).ok() == pipe_of(&reader))
            .map(|stat| (stat.pid, Some(stat.started)))
            .collect();
        assert!(!apart.is_empty());
        kill_trees(&proc, &apart);
        reader.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(left_of_group(&proc, pid), []);
    }

    /// What links of descriptors to this pipe are called.
    fn pipe_of(reader: &std::io::PipeReader) -> Option<std::path::PathBuf> {
        use std::os::fd::AsRawFd as _;
        std::fs::read_link(format!("/proc/self/fd/{}", reader.as_raw_fd())).ok()
    }

    #[test]
    fn signal_misses_a_later_process_with_the_same_pid() {
        let proc = Proc::default();
        let pid = start(&shell("read x </dev/zero; sleep 1000")).unwrap();
        let another = ProcessIdentity { pid, started: proc.started(pid).unwrap() + 1 };
        another.send(&proc, Signal::KILL);
        assert!(!another.is_alive(&proc));
        assert_eq!(kill_trees(&proc, &[(pid, Some(NEVER))]), 0);
        assert!(proc.stat(pid).is_some_and(|stat| !stat.zombie));
        crate::send(pid, Signal::KILL).unwrap();
        assert_eq!(wait(pid), -9);
    }
}
