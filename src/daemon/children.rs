//! Every child of circusd, and what it is to circusd: an exit is dispatched once, to its owner.

use std::collections::HashMap;

use crate::arbiter::{HookId, Pid};

/// What a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A worker; the core knows it by its pid.
    Worker,
    /// The command of a hook.
    Hook(HookId),
    /// A Python that runs hooks.
    PythonHost(u64),
    /// The command that a stream is written to.
    ExecSink,
}

/// The children that have not been reaped, by pid.
#[derive(Debug, Default)]
pub(super) struct Children(HashMap<Pid, Owner>);

impl Children {
    pub(super) fn insert(&mut self, pid: Pid, owner: Owner) {
        self.0.insert(pid, owner);
    }

    /// A child was reaped. `None` for one that circusd has not started (a container's PID 1 inherits such).
    pub(super) fn remove(&mut self, pid: Pid) -> Option<Owner> {
        self.0.remove(&pid)
    }

    pub(super) fn contains(&self, pid: Pid) -> bool {
        self.0.contains_key(&pid)
    }

    /// Disowns the processes of hooks, which are about to be killed, and returns them.
    pub(super) fn take_hooks(&mut self) -> Vec<Pid> {
        let is_hook = |owner: &Owner| matches!(owner, Owner::Hook(_) | Owner::PythonHost(_));
        self.0.extract_if(|_, owner| is_hook(owner)).map(|(pid, _)| pid).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_hooks_are_disowned_together() {
        let mut children = Children::default();
        children.insert(Pid(1), Owner::Worker);
        children.insert(Pid(2), Owner::PythonHost(0));
        assert_eq!(children.take_hooks(), [Pid(2)]);
        assert_eq!((children.remove(Pid(2)), children.remove(Pid(1))), (None, Some(Owner::Worker)));
    }
}
