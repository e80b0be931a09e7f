//! The socket at which workers report of themselves, in the manner of sd_notify(3): datagrams of `NAME=value` lines, with
//! the sender's pid from the kernel, and descriptors that are to be kept.
//!
//! The address is an abstract one that the kernel chooses: workers of any user reach it, nothing of it is left in the file
//! system, and no program can take it away. What protects it is the sender's pid, which no process can forge.

use std::io::{self, ErrorKind, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::time::Duration;

use circus_core::proto::Notification;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind, getsockname,
    recvmsg, setsockopt, socket,
};
use nix::unistd::Pid;

/// A longer datagram is refused.
const LONGEST: usize = 8 * 1024;
/// No more lines of a datagram are read.
const MOST_LINES: usize = 64;
/// Of a status no more is kept.
const LONGEST_STATUS: usize = 512;
/// The kernel lets a datagram have no more descriptors than this (SCM_MAX_FD).
const MOST_FDS: usize = 253;
/// No time between two pings of a watchdog is longer: a year.
const LONGEST_WATCHDOG_USEC: u64 = 365 * 24 * 3600 * 1_000_000;

/// What becomes of the descriptors that came with a datagram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FdRequest {
    /// They are closed.
    #[default]
    None,
    /// They are kept for the worker's successor, by this name.
    Store(String),
    /// Those that are kept by this name are closed.
    Remove(String),
}

/// What a datagram says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Datagram {
    /// In order.
    pub said: Vec<Notification>,
    /// What it wants to be done with descriptors.
    pub fds: FdRequest,
    /// It wants another process to count as the worker's main one, which is refused.
    pub main_pid: Option<String>,
}

/// Reads the text of a datagram. Lines that mean nothing here are skipped, as programs send what newer managers know.
pub fn parse_datagram(text: &[u8]) -> Datagram {
    let mut datagram = Datagram::default();
    let (mut name, mut store, mut remove) = (None, false, false);
    for line in text.split(|byte| *byte == b'\n').take(MOST_LINES) {
        let Some(at) = line.iter().position(|byte| *byte == b'=') else { continue };
        let (key, value) = (line.get(..at).unwrap_or_default(), line.get(at + 1..).unwrap_or_default());
        match (key, value) {
            (b"READY", b"1") => datagram.said.push(Notification::Ready),
            (b"STOPPING", b"1") => datagram.said.push(Notification::Stopping),
            (b"RELOADING", b"1") => datagram.said.push(Notification::Reloading),
            (b"WATCHDOG", b"1") => datagram.said.push(Notification::Ping),
            (b"WATCHDOG", b"trigger") => datagram.said.push(Notification::Trigger),
            (b"WATCHDOG_USEC", value) => datagram.said.extend(interval(value).map(Notification::WatchdogInterval)),
            (b"STATUS", value) => datagram.said.push(Notification::Status(printable(value))),
            (b"MAINPID", value) => datagram.main_pid = Some(printable(value)),
            (b"FDSTORE", b"1") => store = true,
            (b"FDSTOREREMOVE", b"1") => remove = true,
            (b"FDNAME", value) => name = fd_name(value),
            _ => {}
        }
    }
    datagram.fds = match (store, remove, name) {
        (_, true, Some(name)) => FdRequest::Remove(name),
        (true, false, name) => FdRequest::Store(name.unwrap_or_else(|| "stored".into())),
        (_, _, _) => FdRequest::None,
    };
    datagram
}

fn interval(value: &[u8]) -> Option<Duration> {
    let micros: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (1..=LONGEST_WATCHDOG_USEC).contains(&micros).then(|| Duration::from_micros(micros))
}

/// A text for people: no control characters, and not too long.
fn printable(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let mut shown: String = text.chars().filter(|character| !character.is_control()).collect();
    let end = (0..=LONGEST_STATUS.min(shown.len())).rev().find(|at| shown.is_char_boundary(*at));
    shown.truncate(end.unwrap_or_default());
    shown
}

/// As sd_pid_notify_with_fds(3) has it: at most 255 printable characters of ASCII, and no colon.
fn fd_name(value: &[u8]) -> Option<String> {
    let fits = (1..=255).contains(&value.len())
        && value.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':' || *byte == b' ');
    fits.then(|| String::from_utf8_lossy(value).into_owned())
}

/// A datagram as it came.
#[derive(Debug)]
pub struct Received {
    /// The process that has sent it; it may have ended since.
    pub sender: Pid,
    /// Its real user.
    pub uid: u32,
    /// What it says; `None` if it was too long.
    pub datagram: Option<Datagram>,
    /// The descriptors that came with it.
    pub fds: Vec<OwnedFd>,
}

/// The socket.
#[derive(Debug)]
pub struct NotifySocket {
    fd: OwnedFd,
    address: String,
}

impl NotifySocket {
    /// Opens it at an address that the kernel chooses.
    ///
    /// # Errors
    /// Where there can be no such socket.
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        setsockopt(&fd, PassCred, &true)?;
        bind(fd.as_raw_fd(), &UnixAddr::new_unnamed())?;
        Self::adopt(fd)
    }

    /// Takes over a socket that another process has opened so.
    ///
    /// # Errors
    /// Where it has no abstract address.
    pub fn adopt(fd: OwnedFd) -> io::Result<Self> {
        let address: UnixAddr = getsockname(fd.as_raw_fd())?;
        let name = address.as_abstract().ok_or(ErrorKind::AddrNotAvailable)?;
        let address = format!("@{}", String::from_utf8_lossy(name));
        Ok(Self { fd, address })
    }

    /// What NOTIFY_SOCKET is set to.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next datagram; `None` if none is there.
    ///
    /// # Errors
    /// Where the socket cannot be read.
    pub fn receive(&self) -> io::Result<Option<Received>> {
        let mut text = vec![0; LONGEST];
        let mut control = cmsg_space!(UnixCredentials, [std::os::fd::RawFd; MOST_FDS]);
        let mut parts = [IoSliceMut::new(&mut text)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let message = match recvmsg::<UnixAddr>(self.fd.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let mut received = Received { sender: Pid::from_raw(0), uid: u32::MAX, datagram: None, fds: Vec::new() };
        for part in message.cmsgs()? {
            match part {
                ControlMessageOwned::ScmCredentials(sender) => {
                    received.sender = Pid::from_raw(sender.pid());
                    received.uid = sender.uid();
                }
                ControlMessageOwned::ScmRights(fds) => received.fds.extend(fds.into_iter().map(own)),
                _ => {}
            }
        }
        let (length, cut_off) = (message.bytes, message.flags.contains(MsgFlags::MSG_TRUNC));
        received.datagram = (!cut_off).then(|| parse_datagram(text.get(..length).unwrap_or_default()));
        Ok(Some(received))
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[expect(unsafe_code, reason = "the kernel hands descriptors over as numbers")]
fn own(fd: std::os::fd::RawFd) -> OwnedFd {
    // SAFETY: recvmsg has just made this descriptor for this process, and nothing else knows its number.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Read as _, Write as _};

    use nix::sys::socket::{ControlMessage, sendmsg};
    use proptest::prelude::*;

    use super::*;

    fn said(text: &str) -> Vec<Notification> {
        parse_datagram(text.as_bytes()).said
    }

    #[test]
    fn lines_that_mean_something_are_read_in_order() {
        assert_eq!(
            said(
                "STATUS=Loading \u{1b}[1m\u{7}data\nREADY=1\nX=y\nWATCHDOG=1\nWATCHDOG_USEC=2000000\nWATCHDOG=trigger"
            ),
            [
                Notification::Status("Loading [1mdata".into()),
                Notification::Ready,
                Notification::Ping,
                Notification::WatchdogInterval(Duration::from_secs(2)),
                Notification::Trigger,
            ]
        );
        assert_eq!(said("STOPPING=1\n\nRELOADING=1\n"), [Notification::Stopping, Notification::Reloading]);
        for nothing in
            ["READY=0", "READY", "=1", "", "ready=1", "WATCHDOG_USEC=-1", "WATCHDOG_USEC=0", "WATCHDOG_USEC=x"]
        {
            assert_eq!(said(nothing), [], "{nothing}");
        }
        let long = "ä".repeat(2000);
        assert!(matches!(&said(&format!("STATUS={long}"))[..], [Notification::Status(text)] if text.len() <= 512));
        assert_eq!(parse_datagram(b"MAINPID=1").main_pid.as_deref(), Some("1"));
    }

    #[test]
    fn descriptors_are_kept_by_a_name() {
        let fds = |text: &str| parse_datagram(text.as_bytes()).fds;
        assert_eq!(fds("FDSTORE=1"), FdRequest::Store("stored".into()));
        assert_eq!(fds("FDNAME=cache\nFDSTORE=1"), FdRequest::Store("cache".into()));
        assert_eq!(fds("FDSTORE=1\nFDNAME=a:b"), FdRequest::Store("stored".into()));
        assert_eq!(fds("FDSTOREREMOVE=1\nFDNAME=cache"), FdRequest::Remove("cache".into()));
        assert_eq!(fds("FDSTOREREMOVE=1"), FdRequest::None);
        assert_eq!(fds("FDNAME=cache"), FdRequest::None);
    }

    #[test]
    fn sender_and_descriptors_come_along() {
        let socket = NotifySocket::open().unwrap();
        assert!(socket.address().starts_with('@'));
        assert!(socket.receive().unwrap().is_none());
        let address = UnixAddr::new_abstract(&socket.address().as_bytes()[1..]).unwrap();
        let sender =
            nix::sys::socket::socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).unwrap();
        let (mut read, write) = io::pipe().unwrap();
        let fds = [write.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        let text = [IoSlice::new(b"FDSTORE=1\nREADY=1")];
        sendmsg(sender.as_raw_fd(), &text, &rights, MsgFlags::empty(), Some(&address)).unwrap();
        let long = vec![b'x'; LONGEST + 1];
        sendmsg(sender.as_raw_fd(), &[IoSlice::new(&long)], &[], MsgFlags::empty(), Some(&address)).unwrap();
        drop(write);
        let Received { sender, datagram, fds, uid } = socket.receive().unwrap().unwrap();
        assert_eq!((sender, uid), (nix::unistd::getpid(), nix::unistd::getuid().as_raw()));
        assert_eq!(datagram.unwrap().fds, FdRequest::Store("stored".into()));
        std::fs::File::from(fds.into_iter().next().unwrap()).write_all(b"kept").unwrap();
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "kept");
        assert!(socket.receive().unwrap().unwrap().datagram.is_none(), "one that is too long");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_within_limits(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let datagram = parse_datagram(&bytes);
            prop_assert!(datagram.said.len() <= MOST_LINES);
            for said in datagram.said {
                if let Notification::Status(text) = said {
                    prop_assert!(text.len() <= LONGEST_STATUS && !text.contains(char::is_control));
                }
            }
        }

        #[test]
        fn known_words_are_read_whatever_stands_beside_them(
            before in "[A-Z]{0,6}=[a-z \n]{0,9}",
            word in prop_oneof![Just("READY=1"), Just("WATCHDOG=1"), Just("STOPPING=1")],
        ) {
            let text = format!("{before}\n{word}");
            prop_assert!(!parse_datagram(text.as_bytes()).said.is_empty());
        }
    }
}
