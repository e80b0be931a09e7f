//! Adopted workers: workers of a killed circusd that this one takes over. They are not children of circusd: it notices
//! their exits through pidfds, and knows their exit statuses only where the kernel tells them (from Linux 6.15 on).
//!
//! When the core launches the watcher and number of such a worker, the worker itself is the result of the launch.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};

use serde::{Deserialize, Serialize};

use super::core::Core;
use super::sources::{Source, Sources};
use super::state_file::KnownWorker;
use crate::arbiter::{Exit, Level, Pid, Reach};
use crate::proto::Signal;
use crate::sys::{self, Cgroup, Extent, ProcessIdentity, Survivor};

/// The exit status of a process whose real one is not known: a failure, so that it is started again.
pub(super) const UNKNOWN_STATUS: i32 = 255;

/// See the module.
#[derive(Default)]
pub(super) struct Adopted {
    proc: sys::Proc,
    /// Those that no launch has been asked for yet, by watcher and number. In a reload there are two of a number.
    waiting: Vec<(String, u32, ProcessIdentity)>,
    /// Those that are workers of this circusd.
    workers: HashMap<Pid, Survivor>,
}

/// The same as plain data, with the numbers of the descriptors.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedAdopted {
    waiting: Vec<(String, u32, ProcessIdentity)>,
    workers: Vec<(ProcessIdentity, RawFd)>,
}

impl SavedAdopted {
    /// The numbers of all descriptors.
    pub(super) fn numbers(&self) -> impl Iterator<Item = RawFd> {
        self.workers.iter().map(|(_, number)| *number)
    }
}

impl Adopted {
    /// These wait to be launched.
    pub(super) fn new(workers: Vec<KnownWorker>) -> Self {
        let named = workers.into_iter().map(|worker| (worker.watcher, worker.wid, worker.identity));
        Self { waiting: named.collect(), ..Self::default() }
    }

    /// For another process.
    pub(super) fn save(&self) -> SavedAdopted {
        let workers = self.workers.values().map(|worker| (worker.identity(), worker.as_fd().as_raw_fd()));
        SavedAdopted { waiting: self.waiting.clone(), workers: workers.collect() }
    }

    /// Goes on with those of another process. `take` gives the descriptor of a number.
    pub(super) fn restore(
        saved: SavedAdopted,
        sources: &mut Sources,
        mut take: impl FnMut(RawFd) -> io::Result<OwnedFd>,
    ) -> io::Result<Self> {
        let mut adopted = Self { waiting: saved.waiting, ..Self::default() };
        for (identity, number) in saved.workers {
            adopted.watch(Survivor::restore(identity, take(number)?), sources)?;
        }
        Ok(adopted)
    }

    /// The process that lives already where this worker is to be launched: of two, the younger.
    pub(super) fn take(&mut self, watcher: &str, wid: u32) -> Option<Survivor> {
        let meant = self.waiting.iter().enumerate().filter(|(_, (name, number, _))| name == watcher && *number == wid);
        let (at, _) = meant.max_by_key(|(_, (.., identity))| identity.started)?;
        let (.., identity) = self.waiting.swap_remove(at);
        Survivor::open(identity).ok()
    }

    /// It is a worker from now on.
    pub(super) fn watch(&mut self, survivor: Survivor, sources: &mut Sources) -> io::Result<Pid> {
        let pid = Pid(survivor.identity().pid.as_raw());
        sources.add_fd(Source::Adopted(pid), survivor.as_fd().as_raw_fd())?;
        self.workers.insert(pid, survivor);
        Ok(pid)
    }

    /// When everything has been launched that is to be, those that are left belong to no watcher any more: they end.
    pub(super) fn end_rest(&mut self, core: &mut Core) {
        if self.waiting.is_empty() || !core.arbiter.has_started() || core.arbiter.has_launches() {
            return;
        }
        for (watcher, wid, identity) in std::mem::take(&mut self.waiting) {
            let text = format!("{watcher}: ending worker {wid} of the previous circusd, which is no longer wanted");
            core.log(Level::Info, format!("{text} pid={}", identity.pid));
            identity.send(&self.proc, Signal::TERM);
        }
    }

    /// The workers among these sources have ended.
    pub(super) fn ended(&mut self, ready: &[Source], sources: &mut Sources, core: &mut Core) -> Vec<Exit> {
        let mut exits = Vec::new();
        for source in ready {
            let Source::Adopted(pid) = source else { continue };
            let Some(survivor) = self.workers.remove(pid) else { continue };
            drop(sources.remove_fd(*source, survivor.as_fd().as_raw_fd()));
            let status = survivor.exit_status();
            if status.is_none() {
                let text = "a worker of the previous circusd has exited, its exit status is not known";
                core.log(Level::Info, format!("{text} pid={}", pid.0));
            }
            exits.push(Exit::new(*pid, status.unwrap_or(UNKNOWN_STATUS)));
        }
        exits
    }

    /// Sends a signal where the process is one of these. Whether that is all: children are signalled as others' are.
    pub(super) fn signal(&self, pid: Pid, signal: Signal, reach: Reach, group: Option<&Cgroup>) -> bool {
        let Some(survivor) = self.workers.get(&pid) else { return false };
        match reach {
            _ if survivor.has_ended() => {}
            Reach::Process => survivor.send(signal),
            Reach::Group => survivor.identity().send_to(&self.proc, signal, Extent::Group),
            Reach::Tree | Reach::Cgroup => {
                if let Some(group) = group.filter(|_| reach == Reach::Cgroup || signal == Signal::KILL) {
                    group.send(&self.proc, signal);
                }
                if group.is_none() || reach == Reach::Tree {
                    survivor.identity().send_to(&self.proc, signal, Extent::Tree);
                }
            }
            Reach::ProcessAndChildren | Reach::Children => return false,
        }
        true
    }

    /// Whether this is one of these.
    pub(super) fn contains(&self, pid: Pid) -> bool {
        self.workers.contains_key(&pid)
    }

    /// Whether this is one of these that has ended, so that its pid may be another process's.
    pub(super) fn is_gone(&self, pid: Pid) -> bool {
        self.workers.get(&pid).is_some_and(Survivor::has_ended)
    }
}
