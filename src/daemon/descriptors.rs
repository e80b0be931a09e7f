//! How many descriptors circusd needs, and those that it keeps for itself when workers want them all.

use std::os::fd::{AsRawFd, RawFd};

use crate::proto::{SpawnError, Stage};
use crate::sys::OpenFileLimit;

/// What circusd itself has open once it is at rest, and what a start needs for a moment.
const OWN: u64 = 36;
/// Descriptors for clients, hooks and /proc.
const RESERVED: u64 = 32;
const HOW: &str = "raise RLIMIT_NOFILE (ulimit -n, or LimitNOFILE= of systemd)";

/// Refuses a start that would fail half-way.
pub(super) fn suffice(limit: OpenFileLimit, open: usize, sockets: usize) -> Result<(), String> {
    let needed = OWN + open as u64 + sockets as u64;
    if limit.hard >= needed {
        return Ok(());
    }
    Err(format!(
        "circusd needs {needed} file descriptors ({OWN} for itself, {open} that it was started with, {sockets} for \
         sockets), and may have {}: {HOW}",
        limit.hard
    ))
}

/// The descriptors that launches leave alone: so the control endpoint answers also where workers use all others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reserve {
    limit: u64,
    reserved: u64,
}

impl Reserve {
    /// Of so many, at most a quarter.
    pub(super) fn of(limit: OpenFileLimit) -> Self {
        Self { limit: limit.hard, reserved: RESERVED.min(limit.hard / 4) }
    }

    /// How many launches leave alone.
    pub(super) fn reserved(self) -> u64 {
        self.reserved
    }

    /// Refuses a descriptor that was opened for a worker, if it is one of the last. The kernel gives the lowest free
    /// number, so this needs no count.
    pub(super) fn check(self, fd: &impl AsRawFd) -> Result<(), SpawnError> {
        if self.allows(fd.as_raw_fd()) {
            return Ok(());
        }
        let Self { limit, reserved } = self;
        let detail = format!("circusd keeps the last {reserved} of its {limit} descriptors for itself; {HOW}");
        Err(SpawnError { stage: Stage::Pipe, errno: libc::EMFILE, detail })
    }

    fn allows(self, fd: RawFd) -> bool {
        u64::try_from(fd).is_ok_and(|fd| fd < self.limit - self.reserved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_descriptors_are_reserved() {
        let reserve = |hard| Reserve::of(OpenFileLimit { soft: hard, hard });
        assert!(reserve(100).allows(74) && !reserve(100).allows(75));
        assert!(reserve(1024).allows(991) && !reserve(1024).allows(992));
        assert!(reserve(u64::MAX).allows(RawFd::MAX));
    }

    #[test]
    fn start_needs_its_own_and_one_for_each_socket() {
        let limit = |hard| OpenFileLimit { soft: 8, hard };
        assert_eq!(suffice(limit(OWN + 5), 3, 2), Ok(()));
        let text = suffice(limit(OWN + 4), 3, 2).unwrap_err();
        assert!(text.starts_with("circusd needs 41 file descriptors") && text.contains("may have 40"), "{text}");
    }
}
