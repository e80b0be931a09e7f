//! SyslogStream and JournalStream: each line is a datagram for the system log or the journal.
//!
//! The lines come as records (`format::record`), each with its newline. The socket stays the same one for as long as the
//! stream is open, because it is watched for writability; what it is connected to may go and come back.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixDatagram;

use circus_core::config::options::SyslogTarget;
use serde::{Deserialize, Serialize};

use crate::output::Message;
use crate::output::format::record;
use crate::output::saved::SavedSink;
use crate::output::sink::interface::{Clocks, Lines, Sink, Stop, Written};

/// A datagram over UDP is not longer, with room to spare.
const LONGEST_OVER_UDP: usize = 60_000;

#[derive(Debug)]
enum Link {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

/// A place that takes datagrams.
#[derive(Debug)]
pub(crate) struct Datagrams {
    link: Link,
    is_connected: bool,
    what: SavedDatagrams,
}

/// What it knows, without its socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedDatagrams {
    target: SyslogTarget,
    /// The records are the journal's.
    is_journal: bool,
}

impl SavedDatagrams {
    pub(crate) fn restore(self) -> io::Result<Datagrams> {
        Datagrams::new(self.target, self.is_journal)
    }
}

impl Datagrams {
    /// What takes the datagrams may come later.
    pub(crate) fn new(target: SyslogTarget, is_journal: bool) -> io::Result<Self> {
        let link = match &target {
            SyslogTarget::Host(address) => {
                let any: SocketAddr = match address {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(any)?;
                socket.set_nonblocking(true)?;
                Link::Udp(socket)
            }
            SyslogTarget::Path(_) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                Link::Unix(socket)
            }
        };
        let mut new = Self { link, is_connected: false, what: SavedDatagrams { target, is_journal } };
        new.is_connected = new.connect().is_ok();
        Ok(new)
    }

    fn connect(&self) -> io::Result<()> {
        match (&self.link, &self.what.target) {
            (Link::Udp(socket), SyslogTarget::Host(address)) => socket.connect(address),
            (Link::Unix(socket), SyslogTarget::Path(path)) => socket.connect(path),
            (Link::Udp(_) | Link::Unix(_), _) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn send_once(&self, datagram: &[u8]) -> io::Result<()> {
        match &self.link {
            Link::Udp(socket) => socket.send(datagram.get(..LONGEST_OVER_UDP).unwrap_or(datagram)).map(drop),
            Link::Unix(socket) => socket.send(datagram).map(drop),
        }
    }

    /// One that was started anew needs another connection, and a host that refused a datagram says so at the next.
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        if self.is_connected {
            match self.send_once(datagram) {
                Err(error) if !is_full(&error) && error.raw_os_error() != Some(libc::EMSGSIZE) => {
                    self.is_connected = false
                }
                done => return done,
            }
        }
        self.connect()?;
        self.is_connected = true;
        self.send_once(datagram)
    }

    fn put(&mut self, record: &[u8]) -> io::Result<()> {
        let mut datagram = if self.what.is_journal { record::journal_fields(record) } else { record.to_vec() };
        loop {
            match self.send(&datagram) {
                // The buffer of a socket is smaller where an administrator has said so.
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) && datagram.len() > 1 => {
                    datagram.truncate(datagram.len() / 2);
                }
                done => return done,
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

impl Sink for Datagrams {
    fn write(&mut self, lines: Lines<'_>, _now: Clocks, _messages: &mut Vec<Message>) -> Written {
        let mut bytes = 0;
        for line in lines.bytes.split_inclusive(|byte| *byte == b'\n') {
            let record = line.strip_suffix(b"\n").unwrap_or(line);
            let stop = match if record.is_empty() { Ok(()) } else { self.put(record) } {
                Ok(()) => {
                    bytes += line.len();
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Stop::Blocked,
                Err(error) => Stop::Failed(error),
            };
            return Written { bytes, stop: Some(stop) };
        }
        Written { bytes, stop: None }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.is_connected = self.connect().is_ok();
        Ok(())
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(match &self.link {
            Link::Udp(socket) => socket.as_fd(),
            Link::Unix(socket) => socket.as_fd(),
        })
    }

    fn save(&self) -> SavedSink {
        SavedSink::Datagrams(self.what.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    fn write(sink: &mut Datagrams, bytes: &[u8]) -> Written {
        let now = Clocks { mono: crate::arbiter::Mono(0), wall: jiff::Timestamp::UNIX_EPOCH };
        sink.write(Lines { bytes, uncounted: 0 }, now, &mut Vec::new())
    }

    fn unix(path: &std::path::Path) -> UnixDatagram {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
    }

    fn heard(socket: &UnixDatagram) -> Vec<u8> {
        let mut buffer = vec![0; 1 << 20];
        let length = socket.recv(&mut buffer).unwrap();
        buffer.truncate(length);
        buffer
    }

    #[test]
    fn each_line_is_a_datagram_and_what_is_missing_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let target = SyslogTarget::Path(path.to_str().unwrap().into());
        let mut sink = Datagrams::new(target, false).unwrap();
        let written = write(&mut sink, b"one\n");
        assert!(written.bytes == 0 && matches!(written.stop, Some(Stop::Failed(_))), "{written:?}");
        let first = unix(&path);
        assert_eq!(write(&mut sink, b"one\ntwo\n").bytes, 8);
        assert_eq!((heard(&first), heard(&first)), (b"one".to_vec(), b"two".to_vec()));
        drop(first);
        std::fs::remove_file(&path).unwrap();
        let second = unix(&path);
        assert_eq!(write(&mut sink, b"three\n").bytes, 6);
        assert_eq!(heard(&second), b"three");
    }

    #[test]
    fn reader_that_does_not_read_blocks_between_two_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let socket = unix(&path);
        let mut sink = Datagrams::new(SyslogTarget::Path(path.to_str().unwrap().into()), false).unwrap();
        let lines = b"a line\n".repeat(10_000);
        let written = write(&mut sink, &lines);
        assert!(
            matches!(written.stop, Some(Stop::Blocked)) && written.bytes.is_multiple_of(7) && written.bytes > 0,
            "{written:?}"
        );
        assert_eq!(heard(&socket), b"a line");
        assert_eq!(write(&mut sink, b"more\n").bytes, 5, "there is room for one");
    }

    #[test]
    fn record_that_no_buffer_holds_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let socket = unix(&path);
        let mut sink = Datagrams::new(SyslogTarget::Path(path.to_str().unwrap().into()), false).unwrap();
        let Link::Unix(own) = &sink.link else { unreachable!("it is a path") };
        nix::sys::socket::setsockopt(own, nix::sys::socket::sockopt::SndBuf, &4096).unwrap();
        let mut line = vec![b'x'; 50_000];
        line.push(b'\n');
        assert_eq!(write(&mut sink, &line).bytes, line.len());
        let got = heard(&socket);
        assert!(got.len() > 1000 && got.len() < 50_000 && got.iter().all(|byte| *byte == b'x'), "{}", got.len());
    }

    #[test]
    fn host_gets_datagrams() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        server.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut sink = Datagrams::new(SyslogTarget::Host(server.local_addr().unwrap()), false).unwrap();
        assert_eq!(write(&mut sink, b"hello\n").bytes, 6);
        let mut buffer = [0; 64];
        let length = server.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"hello");
    }
}
