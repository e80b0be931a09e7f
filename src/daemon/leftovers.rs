//! Processes that workers leave behind: a worker counts as gone when they are gone too.
//!
//! The core is told that a leader has ended (`LeaderExited`), decides about signals and deadlines as it does for any
//! worker, and sends them to the leader's pid. Here they go to what is left of it, and when nothing is, the leader's
//! exit is reported as if it came now.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid as SysPid;

use super::clock;
use super::event_loop::Daemon;
use crate::arbiter::{Event, Exit, Mono, Pid};
use crate::config::Orphans;
use crate::proto::Signal;
use crate::sys::{self, ProcessIdentity};

/// Leftovers whose parent lives are not collected by circusd, so that it has to look whether they have ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long orphans of all kinds may take to end when circusd does, before they are killed.
const LAST_CALL: Duration = Duration::from_secs(1);

/// What workers have left behind, and may leave.
#[derive(Default)]
pub(super) struct Leftovers {
    /// Descendants of the workers that were told to stop, as they were then.
    descendants: HashMap<i32, Vec<ProcessIdentity>>,
    /// By the pid of a leader that was collected.
    waiting: HashMap<i32, Left>,
    next_look: Option<Mono>,
    /// Workers that live. What circusd has for a child beyond these it did not start.
    workers: HashSet<i32>,
    /// A worker has left processes behind that are to be kept: circusd ends nothing that it does not know.
    keeps_some: bool,
}

struct Left {
    exit_code: i32,
    members: Vec<ProcessIdentity>,
}

impl Leftovers {
    /// When to look next whether leftovers have ended.
    pub(super) fn next_due(&self) -> Option<Mono> {
        self.next_look.filter(|_| !self.waiting.is_empty())
    }

    /// Whether this is a leader that was collected, so that its pid is no process of ours.
    pub(super) fn is_waited_for(&self, pid: Pid) -> bool {
        self.waiting.contains_key(&pid.0)
    }

    /// What [`sys::kill_trees`] has to know for a worker.
    pub(super) fn roots(&self, pid: Pid) -> Vec<(SysPid, Option<u64>)> {
        let leader = SysPid::from_raw(pid.0);
        match self.waiting.get(&pid.0) {
            Some(left) => sys::leftover_roots(leader, &left.members),
            None => vec![(leader, None)],
        }
    }

    /// circusd is about to end: orphans that left their worker's session became its children, and end with it. Returns
    /// those that had to be killed.
    pub(super) fn end_adopted(&self, proc: &sys::Proc, signals: &mut sys::Signals) -> Vec<SysPid> {
        if self.keeps_some {
            return Vec::new();
        }
        let deadline = clock::since_boot() + LAST_CALL;
        let mut told: Vec<ProcessIdentity> = Vec::new();
        loop {
            sys::reap(&mut Vec::new());
            let left = self.adopted(proc);
            let remaining = deadline.saturating_sub(clock::since_boot());
            if left.is_empty() || remaining.is_zero() {
                let roots: Vec<_> = left.iter().map(|one| (one.pid, Some(one.started))).collect();
                sys::kill_trees(proc, &roots);
                return left.into_iter().map(|one| one.pid).collect();
            }
            for one in left {
                if !told.contains(&one) {
                    one.send(proc, Signal::TERM);
                    told.push(one);
                }
            }
            let limit = PollTimeout::try_from(remaining.min(LOOK_EVERY)).unwrap_or(PollTimeout::ZERO);
            let _woken = poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], limit);
            signals.read(&mut Vec::new());
        }
    }

    /// The children that circusd did not start, and that belong to no worker which was let go (`rm` with nostop).
    fn adopted(&self, proc: &sys::Proc) -> Vec<ProcessIdentity> {
        let is_worker = |pid: SysPid| self.workers.contains(&pid.as_raw());
        let children = proc.children(SysPid::this()).into_iter().filter_map(|pid| proc.stat(pid));
        let adopted = children.filter(|stat| !stat.zombie && !is_worker(stat.pid) && !is_worker(stat.session));
        adopted.map(|stat| ProcessIdentity::from(&stat)).collect()
    }
}

impl Daemon {
    /// A worker is about to be told to stop: what descends from it now belongs to it also when it has ended.
    pub(super) fn note_descendants(&mut self, pid: Pid) {
        if self.arbiter.orphans_of(pid) == Some(Orphans::End) {
            let found = sys::descendants(&self.proc, SysPid::from_raw(pid.0));
            if !found.is_empty() {
                self.leftovers.descendants.insert(pid.0, found);
            }
        }
    }

    /// Reports those that have ended: at once, or when what they have left behind is gone.
    pub(super) fn report_exits(&mut self, exits: Vec<Exit>) {
        let (mut gone, mut leaders) = (Vec::new(), Vec::new());
        for exit in exits {
            let known = self.leftovers.descendants.remove(&exit.pid.0).unwrap_or_default();
            self.leftovers.workers.remove(&exit.pid.0);
            let policy = self.arbiter.orphans_of(exit.pid);
            let members = match policy {
                Some(_) => sys::left_behind(&self.proc, SysPid::from_raw(exit.pid.0), &known),
                None => Vec::new(),
            };
            self.leftovers.keeps_some |= policy == Some(Orphans::Keep) && !members.is_empty();
            if policy == Some(Orphans::End) && !members.is_empty() {
                self.leftovers.waiting.insert(exit.pid.0, Left { exit_code: exit.exit_code, members });
                leaders.push(exit.pid);
            } else {
                gone.push(exit);
            }
        }
        self.feed(Event::Exited(gone));
        for leader in leaders {
            self.feed(Event::LeaderExited(leader));
        }
        self.look_at_leftovers();
    }

    /// Reports the leaders of which nothing is left any more.
    pub(super) fn look_at_leftovers(&mut self) {
        if self.leftovers.waiting.is_empty() {
            return;
        }
        self.leftovers.next_look = Some(self.now.mono.after(LOOK_EVERY));
        let mut gone = Vec::new();
        for (pid, left) in &mut self.leftovers.waiting {
            if left.members.iter().any(|member| member.is_alive(&self.proc)) {
                continue;
            }
            // Those that were known may have started others before they ended.
            left.members = sys::left_behind(&self.proc, SysPid::from_raw(*pid), &left.members);
            if left.members.is_empty() {
                gone.push(Exit { pid: Pid(*pid), exit_code: left.exit_code });
            }
        }
        if !gone.is_empty() {
            gone.iter().for_each(|exit| drop(self.leftovers.waiting.remove(&exit.pid.0)));
            self.feed(Event::Exited(gone));
        }
    }

    /// Sends what the core sends to a worker that has ended to what is left of it.
    pub(super) fn signal_leftovers(&mut self, pid: Pid, signal: Signal) {
        if let Some(left) = self.leftovers.waiting.get_mut(&pid.0) {
            // Those that were started since the last look are meant too.
            left.members = sys::left_behind(&self.proc, SysPid::from_raw(pid.0), &left.members);
            left.members.iter().for_each(|member| member.send(&self.proc, signal));
        }
    }

    /// A worker was started. Its pid may have been that of a leader whose leftovers have other groups and sessions.
    pub(super) fn worker_started(&mut self, pid: Pid) {
        if self.leftovers.is_waited_for(pid) {
            let roots: Vec<_> = self.leftovers.roots(pid).split_off(1);
            sys::kill_trees(&self.proc, &roots);
            if let Some(left) = self.leftovers.waiting.remove(&pid.0) {
                self.feed(Event::Exited(vec![Exit { pid, exit_code: left.exit_code }]));
            }
        }
        self.leftovers.workers.insert(pid.0);
    }
}
