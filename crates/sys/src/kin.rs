//! Children and grandchildren of a worker, to be signalled: nobody's child but its parent's, so that their pids may be
//! somebody else's at any time.

use nix::unistd::Pid;

use super::kill::{Handle, SendError};
use super::process::Proc;
use circus_core::proto::Signal;

/// A process that was found to descend from another, and stays the one that it was.
#[derive(Debug)]
pub struct Kin {
    pid: Pid,
    handle: Handle,
}

impl Kin {
    /// The children of a process that is there now.
    pub fn children(proc: &Proc, pid: Pid) -> Vec<Self> {
        proc.children(pid).into_iter().filter_map(|child| Self::hold(proc, pid, child)).collect()
    }

    /// The children of a process, theirs and so on, parents before their children.
    pub fn descendants(proc: &Proc, pid: Pid) -> Vec<Self> {
        proc.family(pid).into_iter().filter_map(|(parent, child)| Self::hold(proc, parent, child)).collect()
    }

    /// Holds on to a process that had this parent when they were listed. Somebody else who has got its pid since has
    /// another; but one whose parent has gone meanwhile is still meant.
    fn hold(proc: &Proc, parent: Pid, pid: Pid) -> Option<Self> {
        let handle = Handle::open(pid);
        let stat = proc.stat(pid)?;
        (stat.parent == parent || !proc.exists(parent)).then_some(Self { pid, handle })
    }

    /// Which process it is, or was.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends it a signal, and never to who has its pid after its end.
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
        assert_eq!(Kin::descendants(&proc, parent).iter().map(Kin::pid).collect::<Vec<_>>(), [child]);
        // Had this pid been given to our own child since, it would not be the one that was listed.
        assert!(Kin::hold(&proc, child, parent).is_none());
        let [kin] = <[Kin; 1]>::try_from(Kin::children(&proc, parent)).unwrap();
        kin.send(Signal::KILL).unwrap();
        assert_eq!(wait(parent), 0);
        assert!(Kin::children(&proc, parent).is_empty());
    }
}
