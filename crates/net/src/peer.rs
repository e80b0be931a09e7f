//! The connection that a message came from: libzmq has no call to end one, but reports its descriptor.
#![expect(unsafe_code, reason = "connect(2) without an address ends a connection")]

use std::net::IpAddr;
use std::os::fd::RawFd;

use nix::sys::socket::{MsgFlags, Shutdown, SockaddrStorage, getsockname, recv, shutdown};

use super::subscriptions::Connection;
use super::zap::{KEY_PROPERTY, PROCESS_PROPERTY};
use circus_core::access::LocalPeer;

/// The other end of a connection, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The public key that it holds, in Z85.
    pub key: Option<String>,
    /// Its process, at an endpoint that asks for the user. The handler of ZAP was told it by libzmq, which has it from the
    /// kernel (SO_PEERCRED), and no property that a client sends takes its place.
    pub process: Option<LocalPeer>,
    /// Its address; behind an ipc endpoint with its uid, gid and pid, as the kernel tells them
    /// (`localhost:UID:GID:PID`). For logs: where libzmq knows no address, a client may have sent one of its own.
    pub address: Option<String>,
}

impl Peer {
    /// The peer that has sent a message.
    pub(super) fn of(message: &mut zmq::Message) -> Self {
        let mut property = |name: &str| message.gets(name).map(str::to_owned);
        let key = property(KEY_PROPERTY);
        let process = property(PROCESS_PROPERTY).as_deref().and_then(LocalPeer::parse);
        Self { key, process, address: property("Peer-Address") }
    }
}

/// The connection that a message came from; `None` where libzmq made the message itself.
pub(super) fn of_message(message: &mut zmq::Message) -> Option<Connection> {
    of_descriptor(descriptor(message)?)
}

fn descriptor(message: &mut zmq::Message) -> Option<RawFd> {
    message.gets("__fd")?.parse().ok()
}

/// A message of a guarded listener has come: its connection costs no more than others that are let in.
pub(super) fn heard(message: &mut zmq::Message) {
    if let Some(fd) = descriptor(message) {
        zmq_sys::heard(fd);
    }
}

/// Begins a name that has its connection. libzmq's own names begin with a zero, too, and are shorter; those of clients do
/// not.
const NAMED: [u8; 2] = [0, 0xc1];

/// A client's name together with its connection. Where that is not known, it has ended.
pub(super) fn name(connection: Option<Connection>, identity: &[u8]) -> Vec<u8> {
    let Connection { fd, inode } = connection.unwrap_or(Connection { fd: -1, inode: 0 });
    [&NAMED, fd.to_le_bytes().as_slice(), &inode.to_le_bytes(), identity].concat()
}

/// The connection, where the name has one, and the name as libzmq knows it.
pub(super) fn named(name: &[u8]) -> (Option<Connection>, &[u8]) {
    let parts = || {
        let (fd, rest) = name.strip_prefix(&NAMED)?.split_first_chunk()?;
        let (inode, identity) = rest.split_first_chunk()?;
        Some((Connection { fd: i32::from_le_bytes(*fd), inode: u64::from_le_bytes(*inode) }, identity))
    };
    parts().map_or((None, name), |(connection, identity)| (Some(connection), identity))
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

/// What the kernel has of it that its peer has not taken; nothing of one that has ended.
pub(super) fn unread(connection: Connection) -> usize {
    if !is_open(connection) {
        return 0;
    }
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (SIOCOUTQ, of sockets) writes one int to this address.
    let told = unsafe { libc::ioctl(connection.fd, libc::TIOCOUTQ, &raw mut bytes) };
    if told == 0 { usize::try_from(bytes).unwrap_or_default() } else { 0 }
}

/// Whether a connection with this address was accepted by a listener with that one, which may listen at every address.
fn is_accepted_at(own: &SockaddrStorage, listener: &SockaddrStorage) -> bool {
    let place = |address: &SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|address| (IpAddr::from(address.ip()), address.port()));
        v4.or_else(|| {
            address.as_sockaddr_in6().map(|address| (IpAddr::from(address.ip()).to_canonical(), address.port()))
        })
    };
    match (place(own), place(listener)) {
        (Some((own, port)), Some((listening, at))) => port == at && (listening.is_unspecified() || own == listening),
        _ => own == listener,
    }
}

/// Ends a connection that was accepted at `listener`: what its peer has sent is thrown away, and libzmq finds it closed.
///
/// libzmq's I/O thread may close the descriptor at this very moment and open another at its number. So nothing is done
/// to a descriptor that is no connection of this listener; to hit another one of its peers costs that a new connection.
pub(super) fn disconnect(connection: Connection, listener: RawFd) {
    let address = |fd| getsockname::<SockaddrStorage>(fd).ok();
    let (Some(own), Some(listening)) = (address(connection.fd), address(listener)) else { return };
    if !is_open(connection) || !is_accepted_at(&own, &listening) {
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn name_has_its_connection() {
        let connection = Connection { fd: 7, inode: u64::MAX };
        assert_eq!(named(&name(Some(connection), b"alice")), (Some(connection), &b"alice"[..]));
        assert_eq!(named(&name(None, b"")), (Some(Connection { fd: -1, inode: 0 }), &b""[..]));
        for plain in [&b"alice"[..], b"\0\xc1\x01\x02\x03", b""] {
            assert_eq!(named(plain), (None, plain));
        }
        assert!(!is_open(Connection { fd: -1, inode: 0 }));
    }

    #[test]
    fn connection_belongs_to_a_listener_at_its_or_every_address() {
        let storage = |text: &str| SockaddrStorage::from(text.parse::<SocketAddr>().unwrap());
        for (own, listener, expected) in [
            ("127.0.0.1:5", "127.0.0.1:5", true),
            ("127.0.0.1:5", "0.0.0.0:5", true),
            ("[::ffff:127.0.0.1]:5", "[::]:5", true),
            ("[::1]:5", "[::]:5", true),
            ("127.0.0.1:6", "0.0.0.0:5", false),
            ("127.0.0.2:5", "127.0.0.1:5", false),
        ] {
            assert_eq!(is_accepted_at(&storage(own), &storage(listener)), expected, "{own} at {listener}");
        }
    }
}
