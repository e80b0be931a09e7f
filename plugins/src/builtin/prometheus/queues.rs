//! How many connections wait at circusd's sockets. The kernel reports it for TCP only: /proc/net/unix has no such figure.

use std::collections::HashMap;
use std::fs::{File, read_link};
use std::io::{BufRead as _, BufReader};

use super::snapshot::Socket;

/// TCP_LISTEN, as these tables write it.
const LISTENS: &str = "0A";

/// Fills in the queues of sockets that circusd, which has this pid, holds.
pub(crate) fn look(daemon: i32, sockets: &mut [Socket]) {
    let mut queues = HashMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(file) = File::open(table) else { continue };
        queues.extend(listening(BufReader::new(file).lines().map_while(Result::ok)));
    }
    for socket in sockets {
        socket.queue = inode(daemon, socket.fd).and_then(|inode| queues.get(&inode).copied());
    }
}

/// The socket behind a descriptor of a process.
fn inode(pid: i32, fd: i64) -> Option<u64> {
    let link = read_link(format!("/proc/{pid}/fd/{fd}")).ok()?;
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The inodes and queues of a table. Those that listen stand before the connections, of which there may be a great many.
fn listening(lines: impl Iterator<Item = String>) -> Vec<(u64, u64)> {
    lines.skip(1).map_while(|line| row(&line)).collect()
}

/// The inode, and what waits (rx_queue), of a socket that listens.
fn row(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_ascii_whitespace().skip(3);
    if words.next()? != LISTENS {
        return None;
    }
    let (_, waiting) = words.next()?.split_once(':')?;
    let inode = words.nth(4)?.parse().ok()?;
    Some((inode, u64::from_str_radix(waiting, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn a_table() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout \
            inode\n   0: 0100007F:1F90 00000000:0000 0A 00000000:0000001F 00:00000000 00000000     0        0 9001 1 \
            0 100 0 0 10 0\n   1: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        \
            0 9002 1 0 100 0 0 10 0\n   2: 0100007F:1F90 0100007F:9999 01 00000000:00000007 00:00000000 00000000     \
            0        0 9003 1 0 20 4 30 10 -1\n";
        assert_eq!(listening(text.lines().map(str::to_owned)), [(9001, 31), (9002, 0)]);
        assert_eq!(listening(std::iter::empty()), []);
    }

    #[test]
    fn connections_that_wait() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let at = listener.local_addr().unwrap();
            let _waiting = [TcpStream::connect(at).unwrap(), TcpStream::connect(at).unwrap()];
            let fd = listener.as_raw_fd().into();
            let mut sockets = [Socket { fd, ..Socket::default() }, Socket { fd: -1, ..Socket::default() }];
            look(i32::try_from(std::process::id()).unwrap(), &mut sockets);
            assert_eq!((sockets[0].queue, sockets[1].queue), (Some(2), None), "{address}");
        }
    }
}
