//! accept4(2) and recv(2) as libzmq needs them. The build script sends libzmq's calls here (`detours.h`).
//!
//! libzmq aborts the process when accept fails for a reason that it has not thought of. On ipc endpoints EMFILE is such a
//! one, and on all of them the pending network errors that Linux hands out here. And where descriptors have run out, the
//! connection stays in the listener's queue and libzmq's I/O thread spins on it. So nothing but what it expects comes back.
//!
//! What the peers of a guarded listener may cost, libzmq does not bound; [`Guests`] does, for the listeners that
//! [`guard`] names. Their connections belong to one I/O thread, which these functions run on: no other closes them.

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use libc::{size_t, sockaddr, socklen_t, ssize_t};

use crate::guests::{Bounds, Connection, Guests, Handshake, Peer, Verdict};

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
        drop(reserve);
        return if admit(listener, accepted) { accepted } else { aborted() };
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

/// Whether any listener is guarded: where none is, nothing is asked.
static IS_GUARDING: AtomicBool = AtomicBool::new(false);
/// Connections that were closed because of what they cost.
static TURNED_AWAY: AtomicU64 = AtomicU64::new(0);
static LISTENERS: Mutex<Option<HashMap<RawFd, Handshake>>> = Mutex::new(None);
static GUESTS: Mutex<Option<Guests>> = Mutex::new(None);

fn locked<T>(mutex: &'static Mutex<Option<T>>) -> MutexGuard<'static, Option<T>> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bounds what the peers of a listener cost that libzmq is about to get; without a handshake, no more.
///
/// Not bounded are processes of root and of this process's own user, where the kernel tells of them.
pub fn guard(listener: RawFd, handshake: Option<Handshake>) {
    let mut listeners = locked(&LISTENERS);
    match handshake {
        Some(handshake) => {
            listeners.get_or_insert_default().insert(listener, handshake);
            IS_GUARDING.store(true, Ordering::Relaxed);
        }
        // An older listener may have had this descriptor.
        None => drop(listeners.as_mut().and_then(|listeners| listeners.remove(&listener))),
    }
}

/// A whole message of the connection at this descriptor was received.
pub fn heard(connection: RawFd) {
    if let Some(guests) = locked(&GUESTS).as_mut() {
        guests.heard(connection);
    }
}

/// How many connections of guarded listeners were closed since the start because their peers have too many, or have sent
/// too much that is no whole message.
pub fn turned_away() -> u64 {
    TURNED_AWAY.load(Ordering::Relaxed)
}

/// Whether an accepted connection is kept. It is closed where not.
fn admit(listener: RawFd, accepted: RawFd) -> bool {
    if !IS_GUARDING.load(Ordering::Relaxed) {
        return true;
    }
    let handshake = locked(&LISTENERS).as_ref().and_then(|listeners| listeners.get(&listener).copied());
    let (Some(handshake), Some(cookie)) = (handshake, cookie(accepted)) else { return true };
    let Some(peer) = peer(accepted) else { return true };
    let connection = Connection { fd: accepted, cookie };
    let mut guests = locked(&GUESTS);
    match guests.get_or_insert_default().accepted(connection, peer, handshake, bounds(), Instant::now(), is_open) {
        Verdict::Admit(others) => {
            others.into_iter().for_each(end);
            true
        }
        Verdict::Refuse => {
            TURNED_AWAY.fetch_add(1, Ordering::Relaxed);
            // SAFETY: the descriptor is new, and nothing else owns it.
            drop(unsafe { OwnedFd::from_raw_fd(accepted) });
            false
        }
    }
}

fn aborted() -> c_int {
    // SAFETY: the address of this thread's errno is always valid.
    unsafe { *libc::__errno_location() = libc::ECONNABORTED };
    -1
}

/// Receives as recv(2) does. A connection whose peer costs too much fails with ECONNRESET, and libzmq closes it.
///
/// # Safety
///
/// As of recv(2): `buffer` may be written to for `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn zmq_sys_recv(connection: c_int, buffer: *mut c_void, len: size_t, flags: c_int) -> ssize_t {
    // SAFETY: the caller keeps recv's contract.
    let received = unsafe { libc::recv(connection, buffer, len, flags) };
    let count = usize::try_from(received).unwrap_or(0);
    if count == 0 || !IS_GUARDING.load(Ordering::Relaxed) {
        return received;
    }
    // SAFETY: recv has written so many bytes.
    let bytes = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), count) };
    let mut guests = locked(&GUESTS);
    let Some(guests) = guests.as_mut().filter(|guests| guests.knows(connection)) else { return received };
    let Some(cookie) = cookie(connection) else { return received };
    let own = Connection { fd: connection, cookie };
    let mut is_ended = false;
    for ended in guests.received(own, bytes, Instant::now(), is_open) {
        is_ended |= ended == own;
        end(ended);
    }
    if !is_ended {
        return received;
    }
    // SAFETY: the address of this thread's errno is always valid.
    unsafe { *libc::__errno_location() = libc::ECONNRESET };
    -1
}

/// Ends a connection: libzmq finds it closed.
fn end(connection: Connection) {
    TURNED_AWAY.fetch_add(1, Ordering::Relaxed);
    // SAFETY: a number; the descriptor stays open.
    unsafe { libc::shutdown(connection.fd, libc::SHUT_RDWR) };
}

fn is_open(connection: Connection) -> bool {
    cookie(connection.fd) == Some(connection.cookie)
}

/// The number that the kernel has for a socket, which no other ever has.
fn cookie(fd: RawFd) -> Option<u64> {
    option(fd, libc::SO_COOKIE, 0_u64)
}

/// The other end. None of what is not bounded.
fn peer(fd: RawFd) -> Option<Peer> {
    // SAFETY: all zeros is a value of both.
    let (mut address, nobody): (libc::sockaddr_storage, libc::ucred) = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::sockaddr_storage>() as socklen_t;
    // SAFETY: the pointers are to live values, and `len` is the size of the first.
    let failed = unsafe { libc::getpeername(fd, (&raw mut address).cast(), &raw mut len) } != 0;
    let family = c_int::from(address.ss_family);
    if failed && family != libc::AF_UNIX {
        // It has ended already.
        return Some(Peer::Address(0));
    }
    match family {
        libc::AF_INET => {
            // SAFETY: an address of this family is of this type, which is no larger.
            let address: libc::sockaddr_in = unsafe { (&raw const address).cast::<libc::sockaddr_in>().read() };
            Some(Peer::Address(u32::from_be(address.sin_addr.s_addr).into()))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let address: libc::sockaddr_in6 = unsafe { (&raw const address).cast::<libc::sockaddr_in6>().read() };
            Some(Peer::Address(network(address.sin6_addr.s6_addr)))
        }
        _ => {
            let uid = option(fd, libc::SO_PEERCRED, nobody)?.uid;
            // SAFETY: it has no conditions.
            let own = unsafe { libc::geteuid() };
            (uid != 0 && uid != own).then_some(Peer::User(uid))
        }
    }
}

/// The network of an address of IPv6, or the address of IPv4 that is written as one.
fn network(bytes: [u8; 16]) -> u64 {
    let address = std::net::Ipv6Addr::from(bytes);
    match address.to_ipv4_mapped() {
        Some(address) => address.to_bits().into(),
        None => (address.to_bits() >> 64) as u64,
    }
}

fn option<T>(fd: RawFd, name: c_int, mut value: T) -> Option<T> {
    let mut len = size_of::<T>() as socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to a live value, of plain numbers.
    let answer = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, (&raw mut value).cast(), &raw mut len) };
    (answer == 0 && len as usize == size_of::<T>()).then_some(value)
}

fn bounds() -> Bounds {
    let mut limit = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };
    // SAFETY: the pointer is to a live structure.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    Bounds::of_descriptors(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_of_ipv4_is_one_peer_however_it_is_written_and_a_network_of_ipv6_is_one() {
        let peer = |text: &str| network(text.parse::<std::net::Ipv6Addr>().unwrap().octets());
        assert_eq!(peer("::ffff:10.0.0.7"), 0x0a00_0007);
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1:2:3"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
    }
}
