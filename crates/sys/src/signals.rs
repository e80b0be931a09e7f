//! Signals to circusd, as intents that a poll loop can wait for.
//!
//! A handler sets the signal's flag and writes a byte to a socket pair. Not signalfd: that needs the signals blocked in
//! every thread, libzmq's included, and a SIGCHLD that reaches one thread which has them open is discarded in silence.
//! A handler may run on any thread and nothing is lost. Its price is that zmq calls return EINTR, which `net` retries.
//!
//! SIGPIPE is ignored by Rust's runtime before `main`, as a daemon needs it; children get it back
//! ([`spawn`](super::spawn) sets every signal to its default).

use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};
use signal_hook::SigId;
use signal_hook::low_level::{pipe, unregister};

use circus_core::proto::Signal;

/// Undoes what the parent may have left us: blocked signals, which nothing would ever deliver, and an ignored SIGCHLD,
/// with which the kernel collects our children before we can. For the start of every program, before any thread.
/// What else is ignored stays so: `nohup` means it.
pub fn reset_inherited_signals() {
    unblock_signals();
    default_sigchld();
}

/// Lets all signals in that were blocked, those that are pending among them.
pub fn unblock_signals() {
    // It cannot fail with this argument.
    let _none = SigSet::empty().thread_set_mask();
}

#[expect(unsafe_code, reason = "nix's sigaction is unsafe: a handler may be anything. This sets none")]
fn default_sigchld() {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: SIG_DFL runs no code of ours.
    let _never_refused = unsafe { sigaction(nix::sys::signal::Signal::SIGCHLD, &default) };
}

/// What a signal asks of circusd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalEvent {
    /// TERM, INT or QUIT: stop everything and exit. Two that come together are one.
    Terminate(Signal),
    /// HUP: reload all watchers.
    Reload,
    /// CHLD: there may be children to collect.
    Child,
    /// USR2: become the program that is at the place of circusd's now.
    Upgrade,
    /// USR1: open the files of output again.
    ReopenLogs,
    /// WINCH means nothing, and unlike in Circus does not kill circusd.
    Ignored(Signal),
}

const INTENTS: [(i32, SignalEvent); 8] = [
    (libc::SIGTERM, SignalEvent::Terminate(Signal(libc::SIGTERM))),
    (libc::SIGINT, SignalEvent::Terminate(Signal(libc::SIGINT))),
    (libc::SIGQUIT, SignalEvent::Terminate(Signal(libc::SIGQUIT))),
    (libc::SIGHUP, SignalEvent::Reload),
    (libc::SIGCHLD, SignalEvent::Child),
    (libc::SIGUSR1, SignalEvent::ReopenLogs),
    (libc::SIGUSR2, SignalEvent::Upgrade),
    (libc::SIGWINCH, SignalEvent::Ignored(Signal(libc::SIGWINCH))),
];

/// The signals of the process. Readable when one has come; `Drop` forgets them.
#[derive(Debug)]
pub struct Signals {
    wake: UnixStream,
    flags: Vec<(Arc<AtomicBool>, SignalEvent)>,
    registrations: Vec<SigId>,
}

impl Signals {
    /// Takes over the signals. After daemonizing, since a pipe does not survive that.
    pub fn install() -> io::Result<Self> {
        let (wake, write) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let mut signals = Self { wake, flags: Vec::new(), registrations: Vec::new() };
        for (number, caught) in INTENTS {
            let flag = Arc::new(AtomicBool::new(false));
            // In this order: the thread that is woken must find the flag set. Actions run as they were registered.
            signals.registrations.push(signal_hook::flag::register(number, Arc::clone(&flag))?);
            signals.registrations.push(pipe::register(number, write.try_clone()?)?);
            signals.flags.push((flag, caught));
        }
        Ok(signals)
    }

    /// Sends this thread again what has come and was not read. Where these signals are blocked they stay, also for the
    /// program that this process becomes.
    pub(super) fn send_again(&mut self) {
        let come = self.flags.iter().zip(INTENTS).filter(|((flag, _), _)| flag.swap(false, Ordering::SeqCst));
        for (_, (number, _)) in come {
            let _sent = nix::sys::signal::Signal::try_from(number).and_then(nix::sys::signal::raise);
        }
    }

    /// Appends what has come since the last time, terminations first. Never blocks.
    pub fn read(&mut self, caught: &mut Vec<SignalEvent>) {
        // First the bytes, then the flags: a signal in between is taken now and costs a wake-up for nothing later.
        let mut bytes = [0; 256];
        loop {
            match self.wake.read(&mut bytes) {
                Ok(read) if read == bytes.len() => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Fewer than were asked for are all that there were (epoll(7)).
                Ok(_) | Err(_) => break,
            }
        }
        let come = self.flags.iter().filter(|(flag, _)| flag.swap(false, Ordering::SeqCst));
        caught.extend(come.map(|(_, caught)| *caught));
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for registration in self.registrations.drain(..) {
            unregister(registration);
        }
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "sigaction is unsafe")]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::signal::raise;

    use super::*;
    use crate::testing::{alone, shell, start};

    fn come(signals: &mut Signals) -> Vec<SignalEvent> {
        let mut caught = Vec::new();
        signals.read(&mut caught);
        caught
    }

    fn is_readable(signals: &Signals) -> bool {
        poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn every_signal_is_its_intent_and_none_kills() {
        alone("signals::tests::every_signal_is_its_intent_and_none_kills", || {
            let mut signals = Signals::install().unwrap();
            assert!(!is_readable(&signals));
            for (number, caught) in INTENTS {
                raise(number.try_into().unwrap()).unwrap();
                assert!(is_readable(&signals));
                assert_eq!(come(&mut signals), [caught]);
                assert!(!is_readable(&signals));
                assert_eq!(come(&mut signals), []);
            }
        });
    }

    #[test]
    fn many_together_are_all_there_and_terminations_first() {
        alone("signals::tests::many_together_are_all_there_and_terminations_first", || {
            let mut signals = Signals::install().unwrap();
            // More than the socket pair holds: the handler must not block.
            for _ in 0..2000 {
                for (number, _) in INTENTS.iter().rev() {
                    raise((*number).try_into().unwrap()).unwrap();
                }
            }
            assert_eq!(come(&mut signals), INTENTS.map(|(_, caught)| caught));
            assert!(!is_readable(&signals));
        });
    }

    #[test]
    fn inherited_mask_and_ignored_sigchld_are_undone() {
        alone("signals::tests::inherited_mask_and_ignored_sigchld_are_undone", || {
            SigSet::all().thread_set_mask().unwrap();
            let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
            // SAFETY: SIG_IGN runs no code of ours.
            unsafe { sigaction(nix::sys::signal::Signal::SIGCHLD, &ignore) }.unwrap();
            reset_inherited_signals();
            assert_eq!(SigSet::thread_get_mask().unwrap(), SigSet::empty());
            // Had the kernel collected it, there would be nothing to wait for.
            assert_eq!(crate::testing::wait(start(&shell("exit 3")).unwrap()), 3);
        });
    }

    #[test]
    fn the_death_of_a_child_wakes_the_loop_also_while_it_spawns() {
        alone("signals::tests::the_death_of_a_child_wakes_the_loop_also_while_it_spawns", || {
            let mut signals = Signals::install().unwrap();
            start(&shell("exit 0")).unwrap();
            let mut wait = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            while poll(&mut wait, PollTimeout::NONE) == Err(nix::errno::Errno::EINTR) {}
            assert_eq!(come(&mut signals), [SignalEvent::Child]);
        });
    }

    #[test]
    fn a_broken_pipe_is_an_error_and_not_the_end() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
        let sigpipe = 1_u64 << (libc::SIGPIPE - 1);
        assert_ne!(u64::from_str_radix(ignored, 16).unwrap() & sigpipe, 0);
    }
}
