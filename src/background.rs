//! Threads beside the daemon's own.

use std::io;
use std::thread::JoinHandle;

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

/// Room for the search for the system's time zone, which takes more than 256 KiB where nothing is optimised. Memory is
/// used only as far as the stack grows.
const STACK: usize = 1024 * 1024;

/// Starts a thread with every signal blocked from its first instruction: the mask is inherited, and signals belong to
/// the daemon's thread.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    let started = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(run);
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    started
}
