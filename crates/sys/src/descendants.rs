//! Children and grandchildren of a worker, to be signalled. circusd does not reap them, so another process may get their
//! pids at any time.

use nix::unistd::Pid;

use super::kill::{Handle, SendError};
use super::process::Proc;
use circus_core::proto::Signal;

/// A process that was found to descend from another, and stays the one that it was.
#[derive(Debug)]
pub struct DescendantHandle {
    pid: Pid,
    handle: Handle,
}

impl DescendantHandle {
    /// The children of a process that is there now.
    pub fn children(proc: &Proc, pid: Pid) -> Vec<Self> {
        proc.children(pid).into_iter().filter_map(|child| Self::hold(proc, pid, child)).collect()
    }

    /// The children of a process, theirs and so on, parents before their children.
    pub fn descendants(proc: &Proc, pid: Pid) -> Vec<Self> {
        proc.family(pid).into_iter().filter_map(|(parent, child)| Self::hold(proc, parent, child)).collect()
    }

    /// A handle on a process that had this parent when they were listed. Another process that has got its pid since has
    /// another parent; one whose parent has ended is still the same.
    fn hold(proc: &Proc, parent: Pid, pid: Pid) -> Option<Self> {
        let handle = Handle::open(pid);
        let stat = proc.stat(pid)?;
        (stat.parent == parent || !proc.exists(parent)).then_some(Self { pid, handle })
    }

    /// Which process it is, or was.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends it a signal, and never to a process that has got its pid.
    pub fn send(&self, signal: Signal) -> Result<(), SendError> {
        self.handle.send(self.pid, signal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{shell, start, wait};

    #[test]
    fn a_family_is_reached_and_strangers_are_not() {
        let proc = Proc::default();
        let parent = start(&shell("sleep 1000 & wait")).unwrap();
        let child = loop {
            if let [child] = proc.children(parent).as_slice() {
                break *child;
            }
        };
        assert_eq!(
            DescendantHandle::descendants(&proc, parent).iter().map(DescendantHandle::pid).collect::<Vec<_>>(),
            [child]
        );
        // Had this pid been given to our own child since, it would not be the one that was listed.
        assert!(DescendantHandle::hold(&proc, child, parent).is_none());
        let [child] = <[DescendantHandle; 1]>::try_from(DescendantHandle::children(&proc, parent)).unwrap();
        child.send(Signal::KILL).unwrap();
        assert_eq!(wait(parent), 0);
        assert!(DescendantHandle::children(&proc, parent).is_empty());
    }
}
