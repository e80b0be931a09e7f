//! accept4(2) as libzmq needs it.
//!
//! libzmq aborts the process when accept fails for a reason that it has not thought of. On ipc endpoints EMFILE is such a
//! one, and on all of them the pending network errors that Linux hands out here. And where descriptors have run out, the
//! connection stays in the listener's queue and libzmq's I/O thread spins on it. So the build script sends libzmq's calls
//! here, and nothing but what it expects comes back.

use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use libc::{sockaddr, socklen_t};

/// A descriptor kept to be given up: with its place one can take a connection out of the queue and close it.
static RESERVE: Mutex<Option<File>> = Mutex::new(None);

/// How long to leave a connection in the queue that cannot be taken out of it: the I/O thread has other work, too.
const PAUSE_MS: c_int = 10;

/// Accepts a connection. Any failure other than EAGAIN and EINTR is returned as ECONNABORTED, which libzmq ignores.
///
/// # Safety
///
/// As of accept4(2): `address` and `len` are null, or `len` is the size of what `address` points to.
#[unsafe(no_mangle)]
unsafe extern "C" fn zmq_sys_accept4(
    listener: c_int,
    address: *mut sockaddr,
    len: *mut socklen_t,
    flags: c_int,
) -> c_int {
    let mut reserve = RESERVE.lock().unwrap_or_else(PoisonError::into_inner);
    if reserve.is_none() {
        *reserve = File::open("/dev/null").ok();
    }
    // SAFETY: the caller keeps accept4's contract.
    let accepted = unsafe { libc::accept4(listener, address, len, flags) };
    if accepted >= 0 {
        return accepted;
    }
    let errno = match io::Error::last_os_error().raw_os_error() {
        Some(errno @ (libc::EAGAIN | libc::EINTR)) => errno,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
            shed(listener, &mut reserve);
            libc::ECONNABORTED
        }
        Some(_) | None => libc::ECONNABORTED,
    };
    // SAFETY: the address of this thread's errno is always valid.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// Takes a connection out of the queue and closes it, in the reserve's place: its client learns at once that there is no
/// room, and comes again.
fn shed(listener: c_int, reserve: &mut Option<File>) {
    drop(reserve.take());
    // SAFETY: both pointers may be null.
    let taken = unsafe { libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), libc::SOCK_CLOEXEC) };
    if taken >= 0 {
        // SAFETY: the descriptor is new, and nothing else owns it.
        drop(unsafe { OwnedFd::from_raw_fd(taken) });
    } else {
        // SAFETY: with no descriptors to wait for the pointer is not used.
        unsafe { libc::poll(std::ptr::null_mut(), 0, PAUSE_MS) };
    }
    *reserve = File::open("/dev/null").ok();
}
