//! Every child of circusd and its kind: an exit is dispatched once, to the part that owns the child.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::arbiter::{Exit, HookId, Pid, ProbeId, SinkCommandId};
use crate::sys;

/// What a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Owner {
    /// A worker; the core knows it by its pid.
    Worker,
    /// The command of a hook.
    Hook(HookId),
    /// A Python that runs hooks.
    PythonHost(u64),
    /// The command of a probe.
    Probe(ProbeId),
    /// A command that a stream is written to.
    ExecSink(SinkCommandId),
    /// The program that circusd is to become, which looks whether it can read the state.
    UpgradeCheck,
}

/// The children that have not been reaped, by pid.
#[derive(Debug)]
pub(super) struct Children {
    owners: HashMap<Pid, Owner>,
    /// Starts them.
    pub(super) spawner: sys::Spawner,
}

impl Children {
    pub(super) fn new(spawner: sys::Spawner) -> Self {
        Self { owners: HashMap::new(), spawner }
    }

    pub(super) fn insert(&mut self, pid: Pid, owner: Owner) {
        self.owners.insert(pid, owner);
    }

    /// Collects every child that has ended. Those that circusd has not started (a subreaper inherits such) are left out.
    pub(super) fn reap(&mut self) -> Vec<(Owner, Exit)> {
        let mut exits = Vec::new();
        sys::reap(&mut exits);
        let known = |exit: sys::Exit| Exit {
            pid: Pid(exit.pid.as_raw()),
            exit_code: exit.exit_code,
            cpu: exit.cpu,
            oom: false,
        };
        let exits = exits.into_iter().map(known);
        exits.filter_map(|exit| Some((self.owners.remove(&exit.pid)?, exit))).collect()
    }

    pub(super) fn contains(&self, pid: Pid) -> bool {
        self.owners.contains_key(&pid)
    }

    /// Whether this is a worker that has not been reaped.
    pub(super) fn is_worker(&self, pid: Pid) -> bool {
        self.owners.get(&pid) == Some(&Owner::Worker)
    }

    /// Commands that streams are written to, or were.
    pub(super) fn exec_sinks(&self) -> Vec<(Pid, SinkCommandId)> {
        let command = |(pid, owner): (&Pid, &Owner)| match owner {
            Owner::ExecSink(id) => Some((*pid, *id)),
            Owner::Worker | Owner::Hook(_) | Owner::PythonHost(_) | Owner::Probe(_) | Owner::UpgradeCheck => None,
        };
        self.owners.iter().filter_map(command).collect()
    }

    /// Every child, for another process that takes them over.
    pub(super) fn save(&self) -> Vec<(Pid, Owner)> {
        self.owners.iter().map(|(pid, owner)| (*pid, *owner)).collect()
    }

    /// Disowns a process, which is about to be killed.
    pub(super) fn disown(&mut self, pid: Pid) {
        self.owners.remove(&pid);
    }

    /// Disowns the processes of hooks and probes, which are about to be killed, and returns them.
    pub(super) fn take_hooks(&mut self) -> Vec<Pid> {
        let is_hook = |owner: &Owner| matches!(owner, Owner::Hook(_) | Owner::PythonHost(_) | Owner::Probe(_));
        self.owners.extract_if(|_, owner| is_hook(owner)).map(|(pid, _)| pid).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_hooks_are_disowned_together() {
        let mut children = Children::new(sys::Spawner::new().unwrap());
        children.insert(Pid(1), Owner::Worker);
        children.insert(Pid(2), Owner::PythonHost(0));
        assert_eq!(children.take_hooks(), [Pid(2)]);
        assert!(!children.contains(Pid(2)) && children.is_worker(Pid(1)));
    }
}
