//! The connection that a message came from: libzmq has no call to end one, but reports its descriptor.
#![expect(unsafe_code, reason = "connect(2) without an address ends a connection")]

use std::os::fd::RawFd;

use nix::sys::socket::{MsgFlags, Shutdown, SockaddrStorage, getsockname, recv, shutdown};

use super::subscriptions::Connection;

/// The connection that a message came from; `None` where libzmq made the message itself.
pub(super) fn of_message(message: &mut zmq::Message) -> Option<Connection> {
    let fd = message.gets("__fd")?.parse().ok()?;
    of_descriptor(fd)
}

/// The socket at a descriptor.
fn of_descriptor(fd: RawFd) -> Option<Connection> {
    let target = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
    Some(Connection { fd, inode })
}

/// Whether the connection is still there.
pub(super) fn is_open(connection: Connection) -> bool {
    of_descriptor(connection.fd) == Some(connection)
}

/// Ends a connection that was accepted at `listener`: what its peer has sent is thrown away, and libzmq finds it closed.
///
/// libzmq's I/O thread may close the descriptor at this very moment and open another at its number. So nothing is done
/// to a descriptor that is no connection of this listener; to hit another one of its peers costs that a new connection.
pub(super) fn disconnect(connection: Connection, listener: RawFd) {
    let address = |fd| getsockname::<SockaddrStorage>(fd).ok();
    if !is_open(connection) || address(connection.fd) != address(listener) {
        return;
    }
    // Of TCP, shutdown(2) ends only our half: what the peer goes on sending would still be read.
    let nowhere = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    let length = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: the address is valid for `length` bytes during the call. On a socket of another kind it is refused.
    let _ended = unsafe { libc::connect(connection.fd, &raw const nowhere, length) };
    let _ended = shutdown(connection.fd, Shutdown::Both);
    let mut rest = [0; 4096];
    while recv(connection.fd, &mut rest, MsgFlags::MSG_DONTWAIT).is_ok_and(|read| read > 0) {}
}
