//! Processes that workers leave behind: a worker counts as exited only when they have ended too.
//!
//! The core gets the event that a leader has ended (`LeaderExited`), decides about signals and deadlines as it does for any
//! worker, and sends them to the leader's pid. Here they go to what is left of it, and when nothing is, the leader's
//! exit is reported as if it came now.

use std::collections::HashMap;
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid as SysPid;
use serde::{Deserialize, Serialize};

use super::cgroups::Cgroups;
use super::children::Children;
use super::core::Core;
use crate::arbiter::{Event, Exit, Level, Mono, Pid};
use crate::config::{KillMode, Orphans};
use crate::proto::Signal;
use crate::sys::{self, Cgroup, ProcessIdentity};

/// Leftovers whose parent lives are not collected by circusd, so that it has to look whether they have ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long orphans of all kinds may take to end when circusd does, before they are killed.
const LAST_CALL: Duration = Duration::from_secs(1);

/// What workers have left behind, and may leave.
#[derive(Default)]
pub(super) struct Leftovers {
    proc: sys::Proc,
    /// Descendants of the workers that are being stopped, as they were when the stop began.
    descendants: HashMap<Pid, Vec<ProcessIdentity>>,
    /// By the pid of a leader that was collected.
    waiting: HashMap<Pid, Left>,
    next_look: Option<Mono>,
    /// A worker has left processes behind that are to be kept: circusd ends nothing that it does not know.
    keeps_some: bool,
    /// Processes that live in a session of their own, and that the log has named.
    named: Vec<ProcessIdentity>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Left {
    exit: Exit,
    members: Vec<ProcessIdentity>,
    /// How far the end of the worker reaches.
    #[serde(default)]
    mode: KillMode,
}

impl Left {
    /// Looks again: members may have started others before they ended.
    fn renew(&mut self, proc: &sys::Proc, group: Option<&Cgroup>) {
        self.members = left_of(proc, self.exit.pid, &self.members, (self.mode, group));
    }
}

/// The living processes that a worker has left behind, as far as its end reaches.
fn left_of(
    proc: &sys::Proc,
    leader: Pid,
    known: &[ProcessIdentity],
    (mode, group): (KillMode, Option<&Cgroup>),
) -> Vec<ProcessIdentity> {
    let leader = SysPid::from_raw(leader.0);
    match (mode, group) {
        (KillMode::Group, _) => sys::left_of_group(proc, leader),
        (KillMode::Cgroup, Some(group)) => group.processes(proc),
        (KillMode::Mixed | KillMode::Process | KillMode::Tree | KillMode::Cgroup, group) => {
            let mut left = sys::left_behind(proc, leader, known);
            let members = group.map(|group| group.processes(proc)).unwrap_or_default();
            left.extend(members.into_iter().filter(|one| !known.contains(one)));
            left.sort_unstable_by_key(|one| one.pid);
            left.dedup();
            left
        }
    }
}

/// The same as plain data.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedLeftovers {
    descendants: HashMap<Pid, Vec<ProcessIdentity>>,
    waiting: HashMap<Pid, Left>,
    next_look: Option<Mono>,
    keeps_some: bool,
    named: Vec<ProcessIdentity>,
}

impl Leftovers {
    /// For another process.
    pub(super) fn save(&self) -> SavedLeftovers {
        let Self { proc: _, descendants, waiting, next_look, keeps_some, named } = self;
        let (next_look, keeps_some) = (*next_look, *keeps_some);
        let (descendants, waiting, named) = (descendants.clone(), waiting.clone(), named.clone());
        SavedLeftovers { descendants, waiting, next_look, keeps_some, named }
    }

    /// Goes on with those of another process.
    pub(super) fn restore(saved: SavedLeftovers) -> Self {
        let SavedLeftovers { descendants, waiting, next_look, keeps_some, named } = saved;
        Self { proc: sys::Proc::default(), descendants, waiting, next_look, keeps_some, named }
    }

    /// When to look next whether leftovers have ended.
    pub(super) fn next_due(&self) -> Option<Mono> {
        self.next_look.filter(|_| !self.waiting.is_empty())
    }

    /// Whether this is a leader that was collected, so that its pid is no process of circusd's.
    pub(super) fn is_waited_for(&self, pid: Pid) -> bool {
        self.waiting.contains_key(&pid)
    }

    /// What [`sys::kill_trees`] has to know for a worker.
    pub(super) fn roots(&self, pid: Pid) -> Vec<(SysPid, Option<u64>)> {
        let leader = SysPid::from_raw(pid.0);
        match self.waiting.get(&pid) {
            Some(left) => sys::leftover_roots(leader, &left.members),
            None => vec![(leader, None)],
        }
    }

    /// A worker is about to be stopped: its present descendants belong to it also when it has ended.
    pub(super) fn note_descendants(&mut self, pid: Pid, core: &Core) {
        if core.arbiter.orphans_of(pid) == Some(Orphans::End) {
            self.descendants.insert(pid, sys::descendants(&self.proc, SysPid::from_raw(pid.0)));
        }
    }

    /// Reports workers that have ended: at once, or when what they have left behind is gone.
    pub(super) fn report_exits(
        &mut self,
        exits: Vec<Exit>,
        (children, cgroups): (&Children, &Cgroups),
        core: &mut Core,
    ) {
        let (mut gone, mut leaders, mut was_stopped) = (Vec::new(), Vec::new(), false);
        for exit in exits {
            let known = self.descendants.remove(&exit.pid);
            was_stopped |= known.is_some();
            let known = known.unwrap_or_default();
            let mode = core.arbiter.kill_mode_of(exit.pid).unwrap_or_default();
            let members = left_of(&self.proc, exit.pid, &known, (mode, cgroups.of(exit.pid)));
            let policy = if members.is_empty() { None } else { core.arbiter.orphans_of(exit.pid) };
            self.keeps_some |= policy == Some(Orphans::Keep);
            if policy == Some(Orphans::End) {
                self.waiting.insert(exit.pid, Left { exit, members, mode });
                leaders.push(exit.pid);
            } else {
                gone.push(exit);
            }
        }
        if !gone.is_empty() {
            core.feed(Event::Exited(gone));
        }
        for leader in leaders {
            core.feed(Event::LeaderExited(leader));
        }
        self.look(cgroups, core);
        // The last of those that were told to stop: one look for all of them.
        if was_stopped && self.descendants.is_empty() {
            self.name_adopted(children, core);
        }
    }

    /// Names, once, the processes that a stop leaves alone: they have left their worker's session, and the process
    /// between has ended, so that nothing says any more whose they are.
    fn name_adopted(&mut self, children: &Children, core: &mut Core) {
        let is_ended = |one: &ProcessIdentity| self.waiting.values().any(|left| left.members.contains(one));
        let mut left = self.adopted(|pid| children.contains(pid));
        left.retain(|one| !is_ended(one));
        let new: Vec<String> =
            left.iter().filter(|one| !self.named.contains(one)).map(|one| one.pid.to_string()).collect();
        self.named = left;
        if !new.is_empty() {
            let text = "processes that workers or hooks have put into the background, in sessions of their own, live on \
                        until circusd ends";
            core.log(Level::Warning, format!("{text} pids={}", new.join(",")));
        }
    }

    /// Reports the leaders of which nothing is left any more, if it is time to look.
    pub(super) fn look_if_due(&mut self, cgroups: &Cgroups, core: &mut Core) {
        if self.next_due().is_some_and(|at| at <= core.now.mono) {
            self.look(cgroups, core);
        }
    }

    fn look(&mut self, cgroups: &Cgroups, core: &mut Core) {
        if self.waiting.is_empty() {
            return;
        }
        self.next_look = Some(core.now.mono.after(LOOK_EVERY));
        let mut gone = Vec::new();
        for (pid, left) in &mut self.waiting {
            if left.members.iter().any(|member| member.is_alive(&self.proc)) {
                continue;
            }
            left.renew(&self.proc, cgroups.of(*pid));
            if left.members.is_empty() {
                gone.push(left.exit);
            }
        }
        if !gone.is_empty() {
            gone.iter().for_each(|exit| drop(self.waiting.remove(&exit.pid)));
            core.feed(Event::Exited(gone));
        }
    }

    /// Sends what the core sends to a worker that has ended to what is left of it.
    pub(super) fn signal(&mut self, pid: Pid, signal: Signal, group: Option<&Cgroup>) {
        if let Some(left) = self.waiting.get_mut(&pid) {
            // The signal is also for members that were started since the last check.
            left.renew(&self.proc, group);
            if (left.mode, signal) == (KillMode::Group, Signal::KILL) && !left.members.is_empty() {
                sys::kill_group(&self.proc, SysPid::from_raw(pid.0));
            } else if let (KillMode::Cgroup, Some(group)) = (left.mode, group) {
                group.send(&self.proc, signal);
            } else {
                left.members.iter().for_each(|member| member.send(&self.proc, signal));
            }
        }
    }

    /// A worker was started. Its pid may have been that of a leader whose leftovers have other groups and sessions.
    pub(super) fn worker_started(&mut self, pid: Pid, core: &mut Core) {
        if let Some(left) = self.waiting.remove(&pid) {
            let roots = sys::leftover_roots(SysPid::from_raw(pid.0), &left.members).split_off(1);
            sys::kill_trees(&self.proc, &roots);
            core.feed(Event::Exited(vec![left.exit]));
        }
    }

    /// circusd is about to end: orphans that left their worker's session became its children, and end with it. Returns
    /// those that had to be killed.
    pub(super) fn end_adopted(&self, children: &Children, signals: &mut sys::Signals) -> Vec<SysPid> {
        if self.keeps_some {
            return Vec::new();
        }
        let deadline = sys::since_boot() + LAST_CALL;
        let mut told: Vec<ProcessIdentity> = Vec::new();
        loop {
            sys::reap(&mut Vec::new());
            let left = self.adopted(|pid| children.is_worker(pid));
            let remaining = deadline.saturating_sub(sys::since_boot());
            if left.is_empty() {
                return Vec::new();
            }
            if remaining.is_zero() {
                let roots: Vec<_> = left.iter().map(|one| (one.pid, Some(one.started))).collect();
                sys::kill_trees(&self.proc, &roots);
                return left.into_iter().map(|one| one.pid).collect();
            }
            for one in left {
                if !told.contains(&one) {
                    one.send(&self.proc, Signal::TERM);
                    told.push(one);
                }
            }
            let limit = PollTimeout::try_from(remaining.min(LOOK_EVERY)).unwrap_or(PollTimeout::ZERO);
            let _woken = poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], limit);
            signals.read(&mut Vec::new());
        }
    }

    /// The children of circusd that are not its own, nor of the session of one: of a worker that was let go (`rm` with
    /// nostop), say.
    fn adopted(&self, is_own: impl Fn(Pid) -> bool) -> Vec<ProcessIdentity> {
        let is_own = |pid: SysPid| is_own(Pid(pid.as_raw()));
        let others = self.proc.children(SysPid::this()).into_iter().filter(|pid| !is_own(*pid));
        let stats = others.filter_map(|pid| self.proc.stat(pid));
        let adopted = stats.filter(|stat| !stat.zombie && !is_own(stat.session));
        adopted.map(|stat| ProcessIdentity::from(&stat)).collect()
    }
}
