//! Sending signals: by pid, or through a pidfd where another process may have got the pid since.
#![expect(unsafe_code, reason = "nix's kill has no real-time signals, and no pidfd")]

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::unistd::Pid;

use circus_core::proto::Signal;

/// Why a signal was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// There is no such process (any more).
    Gone,
    /// It belongs to a user whose processes circusd may not signal.
    NotPermitted,
    /// There is no such signal, or the pid is none of a single process.
    Invalid,
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Gone => "no such process",
            Self::NotPermitted => "the process belongs to another user, so circusd may not signal it",
            Self::Invalid => "no such signal",
        })
    }
}

impl std::error::Error for SendError {}

/// Sends a signal to one process: a child that has not been reaped, whose pid is therefore still its own. Pids of 0 and
/// less mean groups, or all processes, to the kernel and are refused. Signal 0 asks whether the process is there.
pub fn send(pid: Pid, signal: Signal) -> Result<(), SendError> {
    if pid.as_raw() <= 0 {
        return Err(SendError::Invalid);
    }
    // SAFETY: takes no pointers.
    outcome(unsafe { libc::kill(pid.as_raw(), signal.0) }.into())
}

/// Sends a signal to the process group of a child that has not been reaped and leads it: its number is therefore still its
/// own. Fails where no member could be sent it.
pub fn send_to_group(leader: Pid, signal: Signal) -> Result<(), SendError> {
    if leader.as_raw() <= 1 {
        return Err(SendError::Invalid);
    }
    // SAFETY: takes no pointers.
    outcome(unsafe { libc::kill(-leader.as_raw(), signal.0) }.into())
}

fn outcome(result: libc::c_long) -> Result<(), SendError> {
    match Errno::result(result) {
        Ok(_) => Ok(()),
        Err(Errno::ESRCH) => Err(SendError::Gone),
        Err(Errno::EPERM) => Err(SendError::NotPermitted),
        Err(_) => Err(SendError::Invalid),
    }
}

/// A process that stays the one it was: after its end the handle refers to no process, also when another gets its pid.
#[derive(Debug)]
pub(super) struct Handle(Option<OwnedFd>);

impl Handle {
    /// The process with this pid now. What was read about it before must be read again.
    pub(super) fn open(pid: Pid) -> Self {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
        // Before Linux 5.3, and where descriptors have run out, the pid must do.
        // SAFETY: a descriptor that the kernel has just made for us.
        Self((fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))
    }

    /// Sends to the process, which had this pid.
    pub(super) fn send(&self, pid: Pid, signal: Signal) -> Result<(), SendError> {
        let Some(fd) = &self.0 else { return send(pid, signal) };
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a null siginfo makes the call a kill.
        outcome(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), signal.0, no_info, 0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{shell, start, wait};

    #[test]
    fn any_signal_reaches_a_child_on_both_ways() {
        for number in [9, 15, 34, 64] {
            let pid = start(&shell("while :; do read x </dev/zero; done")).unwrap();
            send(pid, Signal(number)).unwrap();
            let mut status = 0;
            // SAFETY: nix's waitpid fails on real-time signals.
            unsafe { libc::waitpid(pid.as_raw(), &raw mut status, 0) };
            assert_eq!(libc::WTERMSIG(status), number);
            assert_eq!(send(pid, Signal(number)), Err(SendError::Gone));
        }
        let pid = start(&shell("while :; do read x </dev/zero; done")).unwrap();
        let handle = Handle::open(pid);
        handle.send(pid, Signal::KILL).unwrap();
        assert_eq!(wait(pid), -9);
        assert_eq!(handle.send(pid, Signal::KILL), Err(SendError::Gone));
    }

    #[test]
    fn pids_that_mean_many_and_signals_that_do_not_exist_are_refused() {
        for pid in [0, -1, i32::MIN] {
            assert_eq!(send(Pid::from_raw(pid), Signal(0)), Err(SendError::Invalid));
        }
        for signal in [-1, 65, 4000] {
            assert_eq!(send(Pid::this(), Signal(signal)), Err(SendError::Invalid));
        }
        assert_eq!(send(Pid::this(), Signal(0)), Ok(()));
    }

    #[test]
    #[ignore = "needs root"]
    fn another_users_process_is_out_of_reach() {
        crate::testing::alone("kill::tests::another_users_process_is_out_of_reach", || {
            nix::unistd::setresuid(1.into(), 1.into(), 1.into()).unwrap();
            assert_eq!(send(Pid::from_raw(1), Signal(0)), Err(SendError::NotPermitted));
        });
    }
}
