//! Ending a process with all that it started.
//!
//! These belong to it: its descendants, and the members of every process group and session that one of them leads. A
//! worker leads a session, so an orphan that has been handed to PID 1 is found by that. What is not found is a
//! grandchild that left the session *and* lost its parent before we looked; only a cgroup would hold it.
//!
//! First all members are stopped (SIGSTOP), and only when a look at all processes finds no new one all are killed. A
//! kill at first sight would lose the children of the killed, which change parents at that moment; and a process that
//! forks as fast as it is killed would never be caught. A stopped one does not fork: the kernel lets no fork end while a
//! signal is pending.

use std::collections::{BTreeMap, BTreeSet};

use circus_core::base::CollectOrdered as _;
use nix::unistd::Pid;

use super::kill::Handle;
use super::process::{Proc, Stat};
use circus_core::proto::Signal;

/// Looks at all processes after which no more is waited for. Each finds at least one new process, and a fork bomb is
/// stopped within a few; this bounds the time that the daemon gives to it.
const MAX_PASSES: usize = 50;

/// A start that no process has: a root with it stands for the group and session of that number, and for no process.
pub(super) const NEVER: u64 = 0;

const STOP: Signal = Signal(libc::SIGSTOP);

/// Kills a process and all that belong to it; returns how many that were.
///
/// `started` ([`Proc::started`]) says which process is meant: where another process has the pid by now, none is killed.
/// Without it the caller vouches that the pid is its own, as that of a child it has not reaped. The process may have
/// been reaped already: its session's number is not given away while the session has a member.
pub fn kill_tree(proc: &Proc, pid: Pid, started: Option<u64>) -> usize {
    kill_trees(proc, &[(pid, started)])
}

/// Kills several at once, for the price of one.
pub fn kill_trees(proc: &Proc, roots: &[(Pid, Option<u64>)]) -> usize {
    let caught = stop_all(proc, |now, caught| newcomers(now, roots, caught, Pid::this()));
    // The roots that the caller vouches for are killed whatever was seen: a look needs a free descriptor and /proc.
    let vouched = roots.iter().filter(|(pid, started)| started.is_none() && !caught.contains_key(pid));
    let blind = vouched.filter(|(pid, _)| super::send(*pid, Signal::KILL).is_ok()).count();
    blind + kill_all(&caught)
}

/// Kills the members of a process group, and nothing that has left it; returns how many that were. The caller vouches
/// that the group is its own: its leader is a child that has not been reaped, or has been seen to live, or a member has.
pub fn kill_group(proc: &Proc, group: Pid) -> usize {
    let is_new = |stat: &Stat, caught: &Handles| caught.get(&stat.pid).is_none_or(|(then, _)| *then != stat.started);
    let caught = stop_all(proc, |now, caught| {
        members_of_group(now, group, Pid::this()).filter(|stat| is_new(stat, caught)).copied().collect()
    });
    kill_all(&caught)
}

/// Stops all processes that `find` finds, until it finds no new one.
fn stop_all(proc: &Proc, find: impl Fn(&[Stat], &Handles) -> Vec<Stat>) -> Handles {
    let mut caught = Handles::new();
    for _ in 0..MAX_PASSES {
        let new = find(&proc.all(), &caught);
        if new.is_empty() {
            break;
        }
        for stat in new {
            let handle = Handle::open(stat.pid);
            // Between the look and the handle the pid may have changed hands; behind the handle it cannot.
            if proc.started(stat.pid) == Some(stat.started) {
                // A process that may not be signalled is caught too, for it would be found again for ever.
                let _refused = handle.send(stat.pid, STOP);
                caught.insert(stat.pid, (stat.started, handle));
            }
        }
    }
    caught
}

fn kill_all(caught: &Handles) -> usize {
    caught.iter().filter(|(pid, (_, handle))| handle.send(**pid, Signal::KILL).is_ok()).count()
}

/// The living processes of a group, but neither PID 1 nor circusd.
pub(super) fn members_of_group(now: &[Stat], group: Pid, us: Pid) -> impl Iterator<Item = &Stat> {
    let is_member = move |stat: &&Stat| stat.group == group && !stat.zombie && stat.pid.as_raw() > 1 && stat.pid != us;
    now.iter().filter(move |stat| group.as_raw() > 1 && is_member(stat))
}

/// Processes that are stopped, by pid: when each began, and a handle that stays its own.
type Handles = BTreeMap<Pid, (u64, Handle)>;

/// The living processes that belong to these roots. Never we ourselves, nor PID 1.
pub(super) fn members(now: &[Stat], roots: &[(Pid, Option<u64>)], us: Pid) -> Vec<Stat> {
    newcomers(now, roots, &Handles::new(), us)
}

/// Living processes that belong to a root or to a caught process, and are not caught yet. Never circusd itself, nor PID 1.
fn newcomers(now: &[Stat], roots: &[(Pid, Option<u64>)], caught: &Handles, us: Pid) -> Vec<Stat> {
    let started: BTreeMap<Pid, u64> = now.iter().map(|stat| (stat.pid, stat.started)).collect_map();
    let same = |pid: &Pid, then: u64| started.get(pid).is_none_or(|now| *now == then);
    let mut members: BTreeSet<Pid> = roots
        .iter()
        .filter(|(pid, then)| pid.as_raw() > 1 && *pid != us && then.is_none_or(|then| same(pid, then)))
        .map(|(pid, _)| *pid)
        .collect_set();
    members.extend(caught.iter().filter(|(pid, (then, _))| same(pid, *then)).map(|(pid, _)| *pid));
    loop {
        let joined: Vec<Pid> = now
            .iter()
            .filter(|stat| stat.pid.as_raw() > 1 && stat.pid != us && !members.contains(&stat.pid))
            .filter(|stat| [stat.parent, stat.group, stat.session].iter().any(|id| members.contains(id)))
            .map(|stat| stat.pid)
            .collect();
        if joined.is_empty() {
            break;
        }
        members.extend(joined);
    }
    now.iter()
        .filter(|stat| members.contains(&stat.pid) && !stat.zombie)
        .filter(|stat| caught.get(&stat.pid).is_none_or(|(then, _)| *then != stat.started))
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::testing::{piped, wait};

    fn stat(pid: i32, parent: i32, session: i32) -> Stat {
        let id = Pid::from_raw;
        let started = u64::from(pid.unsigned_abs()) * 100;
        Stat { pid: id(pid), parent: id(parent), group: id(session), session: id(session), started, zombie: false }
    }

    fn found(now: &[Stat], roots: &[(i32, Option<u64>)]) -> Vec<i32> {
        let roots: Vec<_> = roots.iter().map(|(pid, started)| (Pid::from_raw(*pid), *started)).collect();
        newcomers(now, &roots, &Handles::new(), Pid::from_raw(50)).iter().map(|stat| stat.pid.as_raw()).collect()
    }

    #[test]
    fn who_belongs_to_a_process() {
        let now = [
            stat(1, 0, 1),
            stat(50, 1, 50),
            stat(60, 50, 60),
            stat(61, 60, 60),
            stat(62, 1, 60),  // an orphan of the session
            stat(63, 61, 63), // left the session, its parent lives
            stat(64, 1, 63),  // an orphan of that one
            stat(70, 50, 70),
        ];
        assert_eq!(found(&now, &[(60, None)]), [60, 61, 62, 63, 64]);
        assert_eq!(found(&now, &[(60, Some(6000)), (70, Some(7000))]), [60, 61, 62, 63, 64, 70]);
        assert_eq!(found(&now, &[(60, Some(1))]), [0; 0], "another process has the pid");
        assert_eq!(found(&now[3..], &[(60, Some(6000))]), [61, 62, 63, 64], "reaped, but its session lives");
        assert_eq!(found(&now, &[(1, None), (50, None), (0, None), (-1, None)]), [0; 0]);
    }

    #[test]
    fn group_is_killed_and_what_has_left_it_lives() {
        let (pid, mut reader) = piped("trap '' TERM; sleep 1000 & setsid -w sh -c 'echo up; exec sleep 1000' & wait");
        reader.read_exact(&mut [0; 3]).unwrap();
        let proc = Proc::default();
        let apart: Vec<Stat> = newcomers(&proc.all(), &[(pid, None)], &Handles::new(), Pid::this())
            .into_iter()
            .filter(|stat| stat.group != pid)
            .collect();
        assert_eq!(apart.len(), 1, "the one in a session of its own");
        assert!(kill_group(&proc, pid) >= 2);
        assert_eq!(wait(pid), -9);
        assert!(proc.stat(apart[0].pid).is_some_and(|stat| !stat.zombie), "it was not in the group");
        assert_eq!(kill_trees(&proc, &[(apart[0].pid, Some(apart[0].started))]), 1);
        reader.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(
            (kill_group(&proc, pid), kill_group(&proc, Pid::from_raw(1)), kill_group(&proc, Pid::from_raw(0))),
            (0, 0, 0)
        );
    }

    /// Kills the tree of a script that has printed `up`. All of it is gone when its output has ended, which this waits
    /// for; returns how many were killed.
    fn everybody_dies(script: &str) -> usize {
        let (pid, mut reader) = piped(script);
        let mut up = [0; 3];
        reader.read_exact(&mut up).unwrap();
        let killed = kill_tree(&Proc::default(), pid, None);
        assert_eq!(wait(pid), -9);
        // Every member holds the pipe's other end.
        reader.read_to_end(&mut Vec::new()).unwrap();
        killed
    }

    #[test]
    fn children_and_grandchildren_that_ignore_everything() {
        let script = "trap '' TERM HUP INT; (trap '' TERM; sleep 1000 & sleep 1000 & wait) & echo up; wait";
        assert!(everybody_dies(script) >= 2, "the sleeps may still be on their way, and end all the same");
    }

    #[test]
    fn orphans_of_the_session_and_children_that_left_it() {
        // The middle shell ends, so its sleep is PID 1's child; `setsid -w` waits for its own in another session.
        let script = "(sleep 1000 &) ; setsid -w sh -c 'echo up; sleep 1000; true' & wait";
        assert!(everybody_dies(script) >= 3);
    }

    #[test]
    fn a_process_that_forks_while_it_is_killed() {
        // Each generation starts the next and ends: killing at first sight would run behind.
        let script = "n=0; f() { n=$((n+1)); [ $n -gt 60 ] || { sleep 1000 & (f) & }; }; echo up; f; wait; sleep 1000";
        everybody_dies(script);
    }

    #[test]
    fn a_reaped_process_has_left_its_session_behind() {
        let (pid, mut reader) = piped("sleep 1000 & sleep 1000 & exit 0");
        wait(pid);
        assert_eq!(kill_tree(&Proc::default(), pid, None), 2);
        reader.read_to_end(&mut Vec::new()).unwrap();
    }
}
