//! How many connections of a listening socket are open, from the kernel's tables: also those that wait to be accepted.
//! And how many of them wait.
//!
//! A connection counts until the server has closed it: the client may have, and the server still be at work on it.
#![expect(unsafe_code, reason = "nix has no TCP_INFO")]

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use crate::Address;

/// ESTABLISHED, SYN_RECV and CLOSE_WAIT: the server has not closed it.
const OPEN: [&str; 3] = ["01", "03", "08"];
/// SS_CONNECTING (not accepted yet) and SS_CONNECTED.
const UNIX_OPEN: [&str; 2] = ["02", "03"];
const UNIX_WAITING: [&str; 1] = ["02"];
/// TCP_LISTEN.
const LISTEN: u8 = 10;

/// How many connections to these addresses are open.
///
/// # Errors
/// Where the kernel's tables cannot be read.
pub fn open_connections<'a>(addresses: impl IntoIterator<Item = &'a Address>) -> io::Result<usize> {
    let mut tables: [Option<String>; 3] = Default::default();
    let mut count = 0;
    for address in addresses {
        count += match address {
            Address::Inet { host, port } => {
                let host = host.parse().ok();
                let v4 = of_inet(table(&mut tables[0], "/proc/net/tcp")?, host, *port);
                // Without IPv6 in the kernel there is no such table.
                v4 + table(&mut tables[1], "/proc/net/tcp6").map_or(0, |rows| of_inet(rows, host, *port))
            }
            Address::Unix { path } => of_unix(table(&mut tables[2], "/proc/net/unix")?, path, &UNIX_OPEN),
        };
    }
    Ok(count)
}

/// How many connections wait to be accepted at these listening sockets, each with where it is bound. Datagram sockets have
/// none.
///
/// # Errors
/// Where the kernel's tables cannot be read.
pub fn waiting_connections<'a>(sockets: impl IntoIterator<Item = (BorrowedFd<'a>, &'a Address)>) -> io::Result<usize> {
    let mut unix_table = None;
    let mut count = 0;
    for (fd, address) in sockets {
        count += match address {
            Address::Inet { .. } => in_queue(fd),
            Address::Unix { path } => of_unix(table(&mut unix_table, "/proc/net/unix")?, path, &UNIX_WAITING),
        };
    }
    Ok(count)
}

/// The length of the queue of a TCP listener: tcp(7) has it as `tcpi_unacked`, which a listener has no other use for
/// (tcp_get_info in net/ipv4/tcp.c). 0 for a socket that is none.
fn in_queue(fd: BorrowedFd<'_>) -> usize {
    let mut info = std::mem::MaybeUninit::<libc::tcp_info>::zeroed();
    let mut size = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `size` bytes into `info`.
    let result = unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut size)
    };
    // SAFETY: it is plain numbers, for which zeros are a value.
    let info = unsafe { info.assume_init() };
    if result == 0 && info.tcpi_state == LISTEN { info.tcpi_unacked as usize } else { 0 }
}

fn table<'t>(read: &'t mut Option<String>, path: &str) -> io::Result<&'t str> {
    if read.is_none() {
        *read = Some(std::fs::read_to_string(path)?);
    }
    Ok(read.as_deref().unwrap_or_default())
}

/// An address as the kernel prints it: in words of 32 bits, each in the order of the machine.
fn printed(address: IpAddr) -> String {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).filter_map(|word| word.try_into().ok());
    words.map(|word: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(word))).collect()
}

/// The second word of a row is the local address, the fourth the state. A host that is no number matches any.
fn of_inet(table: &str, host: Option<IpAddr>, port: u16) -> usize {
    let port = format!("{port:04X}");
    let exact = host.filter(|host| !host.is_unspecified()).map(printed);
    let is_open = |line: &&str| {
        let mut words = line.split_ascii_whitespace();
        let Some((local, at)) = words.nth(1).and_then(|word| word.split_once(':')) else { return false };
        at == port
            && exact.as_ref().is_none_or(|exact| local == exact)
            && words.nth(1).is_some_and(|st| OPEN.contains(&st))
    };
    table.lines().filter(is_open).count()
}

/// The fourth word of a row is the flags (bit 16: it accepts connections), the sixth the state, the rest the path, which
/// a connection has from the socket that it came to.
fn of_unix(table: &str, path: &str, states: &[&str]) -> usize {
    let end = format!(" {path}");
    let is_open = |line: &&str| {
        let mut words = line.split_ascii_whitespace();
        let is_connection = words.nth(3).is_some_and(|flags| flags != "00010000");
        is_connection && words.nth(1).is_some_and(|st| states.contains(&st)) && line.ends_with(&end)
    };
    table.lines().filter(is_open).count()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn eventually(count: usize, address: &Address) {
        let end = crate::since_boot() + std::time::Duration::from_secs(20);
        while open_connections([address]).unwrap() != count {
            assert!(crate::since_boot() < end, "{count} connections: {:?}", open_connections([address]));
            std::thread::yield_now();
        }
    }

    /// A connection counts from the queue on until the server closes it: it may be at work when the client has gone.
    fn counts_until_the_server_closes<C, S>(address: &Address, connect: impl Fn() -> C, accept: impl Fn() -> S) {
        eventually(0, address);
        let client = connect();
        eventually(1, address);
        let server = accept();
        eventually(1, address);
        drop(client);
        eventually(1, address);
        drop(server);
        eventually(0, address);
    }

    #[test]
    fn connections_count_from_the_queue_until_the_server_closes_them() {
        for host in ["127.0.0.1", "0.0.0.0", "::1", "::"] {
            let Ok(listener) = TcpListener::bind((host, 0)) else { continue };
            let port = listener.local_addr().unwrap().port();
            let loopback = if host.contains(':') { "::1" } else { "127.0.0.1" };
            let connect = || TcpStream::connect((loopback, port)).unwrap();
            let address = Address::Inet { host: host.into(), port };
            counts_until_the_server_closes(&address, connect, || listener.accept().unwrap());
        }
    }

    #[test]
    fn connections_to_a_file_count_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let address = Address::Unix { path: path.to_str().unwrap().into() };
        let connect = || UnixStream::connect(&path).unwrap();
        counts_until_the_server_closes(&address, connect, || listener.accept().unwrap());
    }

    #[test]
    fn connections_wait_until_they_are_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let unix = UnixListener::bind(&path).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let addresses =
            [Address::Inet { host: "127.0.0.1".into(), port }, Address::Unix { path: path.to_str().unwrap().into() }];
        let wait = || waiting_connections([(tcp.as_fd(), &addresses[0]), (unix.as_fd(), &addresses[1])]).unwrap();
        let until = |count: usize| {
            let end = crate::since_boot() + std::time::Duration::from_secs(20);
            while wait() != count {
                assert!(crate::since_boot() < end, "{} wait, not {count}", wait());
                std::thread::yield_now();
            }
        };
        until(0);
        let _tcp_clients: Vec<_> = (0..3).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
        let _unix_clients: Vec<_> = (0..2).map(|_| UnixStream::connect(&path).unwrap()).collect();
        until(5);
        let _accepted = (tcp.accept().unwrap(), unix.accept().unwrap());
        until(3);
    }

    #[test]
    fn another_port_and_another_address_are_not_counted() {
        let row = "   0: 0100007F:1F90 0100007F:C001 01 00000000:00000000";
        assert_eq!(of_inet(row, "127.0.0.1".parse().ok(), 8080), 1);
        assert_eq!(of_inet(row, "127.0.0.2".parse().ok(), 8080), 0);
        assert_eq!(of_inet(row, "0.0.0.0".parse().ok(), 8080), 1);
        assert_eq!(of_inet(row, None, 8080), 1);
        assert_eq!(of_inet(row, None, 49153), 0, "the other end");
        assert_eq!(of_inet(&row.replace(" 01 ", " 06 "), None, 8080), 0, "TIME_WAIT");
    }
}
