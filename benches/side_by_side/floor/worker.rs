//! Starting workers with one call of libc and nothing around it.

use std::ffi::CString;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::outcome::Outcome;

/// A command, ready to be started any number of times.
pub(super) struct Worker {
    argv: Vec<CString>,
    envp: Vec<CString>,
}

impl Worker {
    pub(super) fn new(probe: &str, inbox: &str, arguments: &[&str]) -> Outcome<Self> {
        let argv = [&[probe, inbox], arguments].concat().into_iter().map(CString::new).collect::<Result<_, _>>()?;
        Ok(Self { argv, envp: vec![CString::new("PATH=/usr/bin:/bin")?] })
    }

    /// glibc's posix_spawn shares the parent's memory until exec (CLONE_VM, CLONE_VFORK): no page table is copied. The
    /// worker leads a session and has no signal blocked, as every manager's workers do.
    pub(super) fn start(&self, stdout: Option<&OwnedFd>) -> Outcome<Pid> {
        let mut attributes = PosixSpawnAttr::init()?;
        attributes.set_sigmask(&SigSet::empty())?;
        let session = PosixSpawnFlags::from_bits_retain(libc::POSIX_SPAWN_SETSID.into());
        attributes.set_flags(session | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK)?;
        let mut actions = PosixSpawnFileActions::init()?;
        if let Some(stdout) = stdout {
            actions.add_dup2(stdout.as_raw_fd(), 1)?;
        }
        Ok(posix_spawn(self.argv[0].as_c_str(), &actions, &attributes, &self.argv, &self.envp)?)
    }
}

/// SIGCHLD and SIGTERM, as something to read.
pub(super) fn signals() -> Outcome<SignalFd> {
    let wanted: SigSet = [Signal::SIGCHLD, Signal::SIGTERM].into_iter().collect();
    wanted.thread_block()?;
    Ok(SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC)?)
}

/// Ends them all.
pub(super) fn end(workers: &[Pid], signal: Signal) -> Outcome<()> {
    for worker in workers {
        kill(*worker, signal)?;
    }
    for worker in workers {
        waitpid(*worker, None)?;
    }
    Ok(())
}
