//! What happens to workers when this process aborts: by an assertion of a library, lack of memory, or a panic.
//!
//! Nothing of the program can be trusted then, so a signal handler does it with system calls alone: it reads the
//! kernel's own list of this process's children and sends each of their process groups SIGTERM.
#![expect(unsafe_code, reason = "a signal handler, in which only async-signal-safe calls are allowed")]

use std::ffi::{CStr, CString};
use std::io;
use std::sync::OnceLock;

use libc::{c_int, pid_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// `/proc/self/task/TID/children` of the thread that starts processes.
static CHILDREN: OnceLock<CString> = OnceLock::new();

/// From now on, an abort ends the children of the calling thread. Call it in the thread that starts processes.
pub fn end_children_on_abort() -> io::Result<()> {
    let path = format!("/proc/self/task/{}/children", nix::unistd::gettid());
    CHILDREN.get_or_init(|| CString::new(path).unwrap_or_default());
    // The handler is left by the default action, which ends the process.
    let action = SigAction::new(SigHandler::Handler(end_children), SaFlags::SA_RESETHAND, SigSet::all());
    // SAFETY: the handler calls nothing that is not async-signal-safe.
    unsafe { sigaction(Signal::SIGABRT, &action) }?;
    Ok(())
}

extern "C" fn end_children(signal: c_int) {
    if let Some(path) = CHILDREN.get() {
        end_all(path);
    }
    // abort() would do it; a signal from elsewhere ends the process, too, as soon as this returns.
    // SAFETY: raise has no preconditions.
    unsafe { libc::raise(signal) };
}

fn end_all(path: &CStr) {
    // SAFETY: a path that ends with a NUL and lives as long as the process.
    let list = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if list < 0 {
        return;
    }
    let mut buffer = [0_u8; 4096];
    let mut pid: pid_t = 0;
    loop {
        // SAFETY: the buffer is as long as is said.
        let length = unsafe { libc::read(list, buffer.as_mut_ptr().cast(), buffer.len()) };
        let Ok(length @ 1..) = usize::try_from(length) else { break };
        for byte in buffer.iter().take(length) {
            if byte.is_ascii_digit() {
                pid = pid.saturating_mul(10).saturating_add(pid_t::from(byte - b'0'));
            } else {
                end(std::mem::take(&mut pid));
            }
        }
    }
    end(pid);
}

/// Ends a child, and the process group that it leads.
fn end(pid: pid_t) {
    if pid > 1 {
        // SAFETY: kill has no preconditions; a child that was not collected keeps its number.
        unsafe {
            libc::kill(-pid, libc::SIGTERM);
            libc::kill(pid, libc::SIGTERM);
        }
    }
}
