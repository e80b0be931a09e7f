//! StdoutStream, FancyStdoutStream, FIFOs, terminals and devices: what is no regular file and may therefore make a writer wait.
//!
//! circusd shares its standard output with its workers and with the program that started it, and O_NONBLOCK would be set for
//! all of them. So a pipe or terminal is opened a second time through /proc, which gives an open file of our own that
//! never blocks; a socket (the journal's) is sent to with MSG_DONTWAIT; and where neither works, `poll` is asked before
//! each write of at most PIPE_BUF bytes, which a pipe that polls writable takes at once.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use memchr::memrchr;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};

use crate::output::Message;
use crate::output::saved::SavedSink;
use crate::output::sink::interface::{Clocks, Lines, Sink, SinkState, Stop, Written};
use circus_sys::open_for_append;

/// What a pipe takes whole or not at all. Lines are packed into such pieces, so that they stay whole even beside
/// others that write to the same pipe.
const PIPE_BUF: usize = libc::PIPE_BUF;

/// How to write without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Way {
    /// It never makes a writer wait: a regular file, /dev/null.
    Direct,
    /// An open file of our own with O_NONBLOCK.
    Nonblocking,
    /// MSG_DONTWAIT.
    Socket,
    /// Shared and blocking: poll first.
    Polite,
}

/// A sink that is no log file.
#[derive(Debug)]
pub(crate) struct Device {
    /// `None`: there is nothing at that number.
    file: Option<File>,
    way: Way,
    is_pipe: bool,
    /// Its reader holds no worker up: what does not fit is kept for a while, and then dropped.
    impatient: bool,
    /// By which it can be opened again.
    named: Option<PathBuf>,
    mid_line: bool,
}

/// What a device knows, without its descriptor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedDevice {
    /// Whether there is something at its number.
    pub(crate) is_open: bool,
    way: Way,
    is_pipe: bool,
    impatient: bool,
    named: Option<PathBuf>,
    mid_line: bool,
}

impl SavedDevice {
    pub(crate) fn restore(self, fd: Option<OwnedFd>) -> Device {
        let Self { is_open: _, way, is_pipe, impatient, named, mid_line } = self;
        Device { file: fd.map(File::from), way, is_pipe, impatient, named, mid_line }
    }
}

impl Device {
    /// Standard output or error as they were given to circusd.
    pub(crate) fn inherited(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let fd = match fd.try_clone_to_owned() {
            Ok(fd) => fd,
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => {
                return Ok(Self {
                    file: None,
                    way: Way::Direct,
                    is_pipe: false,
                    impatient: false,
                    named: None,
                    mid_line: false,
                });
            }
            Err(error) => return Err(error),
        };
        let file = File::from(fd);
        let kind = file.metadata()?.file_type();
        let is_pipe = kind.is_fifo();
        let (file, way) = if kind.is_socket() {
            (file, Way::Socket)
        } else if is_pipe || file.is_terminal() {
            match second_opening(&file) {
                Ok(own) => (File::from(own), Way::Nonblocking),
                Err(_) => (file, Way::Polite),
            }
        } else {
            (file, Way::Direct)
        };
        Ok(Self { file: Some(file), way, is_pipe, impatient: false, named: None, mid_line: false })
    }

    /// A FIFO or a device that was opened by name, with O_NONBLOCK.
    pub(crate) fn named(named: PathBuf, file: File) -> io::Result<Self> {
        let is_pipe = file.metadata()?.file_type().is_fifo();
        let (way, named) = (Way::Nonblocking, Some(named));
        Ok(Self { file: Some(file), way, is_pipe, impatient: false, named, mid_line: false })
    }

    /// A pipe to a command, with O_NONBLOCK. It holds no worker up, unless it is to.
    pub(crate) fn command(file: File, blocks: bool) -> Self {
        let (way, is_pipe, impatient) = (Way::Nonblocking, true, !blocks);
        Self { file: Some(file), way, is_pipe, impatient, named: None, mid_line: false }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize, Stop> {
        let Some(file) = &mut self.file else { return Err(Stop::Gone(Errno::EBADF.into())) };
        let piece = if self.is_pipe || self.way == Way::Polite { piece(bytes) } else { bytes };
        let written = match self.way {
            Way::Direct | Way::Nonblocking => file.write(piece),
            Way::Socket => {
                let how = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                send(file.as_raw_fd(), piece, how).map_err(io::Error::from)
            }
            Way::Polite if writable(file.as_fd()) => file.write(piece),
            Way::Polite => return Err(Stop::Blocked),
        };
        written.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock if self.impatient => {
                Stop::Failed(io::Error::other("it does not read as fast as lines come"))
            }
            io::ErrorKind::WouldBlock => Stop::Blocked,
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected => {
                Stop::Gone(error)
            }
            _ => Stop::Failed(error),
        })
    }
}

/// The same pipe or terminal as an open file of our own.
fn second_opening(file: &File) -> nix::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    open(path.as_str(), flags, Mode::empty())
}

/// As many whole lines as PIPE_BUF holds; a piece of the first if it is longer.
fn piece(bytes: &[u8]) -> &[u8] {
    match bytes.get(..PIPE_BUF) {
        None => bytes,
        Some(head) => match memrchr(b'\n', head) {
            Some(last) => head.get(..=last).unwrap_or(head),
            None => head,
        },
    }
}

/// An error counts as writable: the write returns the error.
fn writable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

impl Sink for Device {
    fn write(&mut self, lines: Lines<'_>, _now: Clocks, _messages: &mut Vec<Message>) -> Written {
        let mut bytes = 0;
        while let Some(rest) = lines.bytes.get(bytes..).filter(|rest| !rest.is_empty()) {
            match self.put(rest) {
                Ok(0) => return Written { bytes, stop: Some(Stop::Failed(io::ErrorKind::WriteZero.into())) },
                Ok(more) => {
                    bytes += more;
                    self.mid_line = lines.bytes.get(bytes - 1) != Some(&b'\n');
                }
                Err(Stop::Failed(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(stop) => return Written { bytes, stop: Some(stop) },
            }
        }
        Written { bytes, stop: None }
    }

    fn reopen(&mut self) -> io::Result<()> {
        let Some(path) = self.named.clone() else { return Ok(()) };
        let place = open_for_append(&path)?;
        if place.file.metadata()?.is_file() {
            return Err(io::Error::other("it is a regular file now; restart the watcher to write to it"));
        }
        *self = Self::named(path, place.file)?;
        Ok(())
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().filter(|_| self.way != Way::Direct).map(AsFd::as_fd)
    }

    fn save(&self) -> SavedSink {
        SavedSink::Device(SavedDevice {
            is_open: self.file.is_some(),
            way: self.way,
            is_pipe: self.is_pipe,
            impatient: self.impatient,
            named: self.named.clone(),
            mid_line: self.mid_line,
        })
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    fn state(&self) -> SinkState {
        SinkState { mid_line: self.mid_line, ..SinkState::default() }
    }

    fn follow(&mut self, older: SinkState) {
        self.mid_line = older.mid_line;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, pipe};
    use std::os::unix::net::UnixStream;

    use nix::fcntl::{FcntlArg, fcntl};

    use super::*;
    fn put(device: &mut Device, bytes: &[u8]) -> Written {
        let now = Clocks { mono: crate::arbiter::Mono(0), wall: jiff::Timestamp::UNIX_EPOCH };
        device.write(Lines { bytes, uncounted: 0 }, now, &mut Vec::new())
    }

    fn is_nonblocking(fd: impl AsFd) -> bool {
        OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).unwrap()).contains(OFlag::O_NONBLOCK)
    }

    fn fill(device: &mut Device) -> usize {
        let lines = b"a line of a worker\n".repeat(20_000);
        let written = put(device, &lines);
        assert!(matches!(written.stop, Some(Stop::Blocked)), "{written:?}");
        written.bytes
    }

    #[test]
    fn an_inherited_pipe_is_filled_without_waiting_and_without_changing_it() {
        let (mut reader, writer) = pipe().unwrap();
        let mut device = Device::inherited(writer.as_fd()).unwrap();
        assert_eq!(device.way, Way::Nonblocking);
        let written = fill(&mut device);
        assert!(!is_nonblocking(&writer));
        drop((device, writer));
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap();
        assert_eq!(text.len(), written);
        assert!(text.ends_with(b"\n"), "lines stay whole at the edge of a pipe that is full");
    }

    #[test]
    fn a_pipe_that_cannot_be_opened_twice_is_written_when_poll_says_so() {
        let (reader, writer) = pipe().unwrap();
        let mut device = Device::inherited(writer.as_fd()).unwrap();
        device.file = Some(File::from(writer.as_fd().try_clone_to_owned().unwrap()));
        device.way = Way::Polite;
        assert!(fill(&mut device) >= PIPE_BUF);
        drop(reader);
        assert!(matches!(put(&mut device, b"x").stop, Some(Stop::Gone(_))));
    }

    #[test]
    fn a_socket_is_sent_to_without_waiting() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut device = Device::inherited(ours.as_fd()).unwrap();
        assert_eq!(device.way, Way::Socket);
        assert!(fill(&mut device) > 0);
        assert!(!is_nonblocking(&ours));
        drop(theirs);
        assert!(matches!(put(&mut device, b"x").stop, Some(Stop::Gone(_))));
    }

    #[test]
    fn a_closed_reader_is_gone_for_ever() {
        let (reader, writer) = pipe().unwrap();
        let mut device = Device::inherited(writer.as_fd()).unwrap();
        drop(reader);
        assert!(matches!(put(&mut device, b"x\n").stop, Some(Stop::Gone(_))));
    }

    #[test]
    fn a_full_device_has_failed_for_now() {
        let mut device =
            Device::named("/dev/full".into(), File::options().write(true).open("/dev/full").unwrap()).unwrap();
        assert!(matches!(put(&mut device, b"x\n").stop, Some(Stop::Failed(_))));
    }

    #[test]
    fn pieces_end_with_a_line() {
        assert_eq!(piece(b"a\nb").len(), 3);
        let long = [vec![b'x'; 4000], b"\n".to_vec(), vec![b'y'; 4000]].concat();
        assert_eq!(piece(&long).len(), 4001);
        assert_eq!(piece(&vec![b'x'; 5000]).len(), PIPE_BUF);
    }
}
