//! A process that is no child of ours: watched, signalled and asked for its descriptors through a pidfd.
#![expect(unsafe_code, reason = "pidfd_open, pidfd_getfd and pidfd_send_signal, which nix has not")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};
use socket2::SockRef;

use super::leftovers::ProcessIdentity;
use super::process::Proc;
use super::socket_file::SocketFile;
use super::sockets::{Address, ManagedSocket, SavedSocket};
use circus_core::config::SocketConfig;
use circus_core::proto::Signal;

/// `struct pidfd_info` as it was first (linux/pidfd.h); later kernels write more into longer ones.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;
/// `_IOWR(0xFF, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: libc::Ioctl = (3 << 30 | (size_of::<PidfdInfo>() as u64) << 16 | 0xFF << 8 | 11) as libc::Ioctl;

/// What wait(2) calls a status.
fn decoded(status: i32) -> i32 {
    if libc::WIFSIGNALED(status) { -libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
}

/// See the module. The descriptor becomes readable when the process ends.
#[derive(Debug)]
pub struct Survivor {
    identity: ProcessIdentity,
    pidfd: OwnedFd,
}

impl AsFd for Survivor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Survivor {
    /// A handle on this very process; an error where it has ended.
    pub fn open(identity: ProcessIdentity) -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, identity.pid.as_raw(), 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor that the kernel has just made for us; it is close-on-exec.
        let pidfd = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
        // Behind the handle the pid cannot change hands.
        if !identity.is_alive(&Proc::default()) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(Self { identity, pidfd })
    }

    /// Goes on with the handle of another process.
    pub fn restore(identity: ProcessIdentity, pidfd: OwnedFd) -> Self {
        Self { identity, pidfd }
    }

    /// The process.
    pub fn identity(&self) -> ProcessIdentity {
        self.identity
    }

    /// Whether it was started with this variable in its environment.
    pub fn has_variable(&self, name: &str, value: &str) -> bool {
        let environment = std::fs::read(format!("/proc/{}/environ", self.identity.pid)).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == format!("{name}={value}").as_bytes())
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        poll(&mut [PollFd::new(self.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// What it has ended with: its exit status, or minus the signal that ended it. The kernel tells it to a process that is
    /// not its parent while it is a zombie, and from Linux 6.15 on (PIDFD_GET_INFO) also when it has been reaped.
    pub fn exit_status(&self) -> Option<i32> {
        // Reaped between the two looks, the second time the first one finds it.
        (0..2).find_map(|_| self.status_of_reaped().or_else(|| self.status_of_zombie())).map(decoded)
    }

    fn status_of_reaped(&self) -> Option<i32> {
        let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
        // SAFETY: the kernel writes no more than the size of this struct, which is part of the number of the request.
        let result = unsafe { libc::ioctl(self.pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
        (result == 0 && info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code)
    }

    fn status_of_zombie(&self) -> Option<i32> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.identity.pid)).ok()?;
        let is_this_one = Proc::default()
            .stat(self.identity.pid)
            .is_some_and(|stat| stat.zombie && stat.started == self.identity.started);
        // The last field, behind the name, which may have anything in it.
        let status = text.rsplit(')').next()?.split_whitespace().last()?.parse().ok()?;
        is_this_one.then_some(status)
    }

    /// Sends it a signal, and never a later process with its pid.
    pub fn send(&self, signal: Signal) {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a null siginfo makes the call a kill.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.pidfd.as_raw_fd(), signal.0, no_info, 0) };
    }

    /// A new reading end of the pipe that it writes to at this number.
    pub fn reader_of_pipe(&self, number: RawFd) -> Option<OwnedFd> {
        let path = format!("/proc/{}/fd/{number}", self.identity.pid);
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path).ok()?;
        let is_pipe = file.metadata().is_ok_and(|data| data.file_type().is_fifo());
        (is_pipe && !self.has_ended()).then(|| file.into())
    }

    /// The listening sockets that it has: copies of its descriptors. None where the kernel does not allow it (it takes the
    /// right to trace the process, and Linux 5.6).
    pub fn listeners(&self) -> Vec<OwnedFd> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.identity.pid)).into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| {
            let is_socket =
                std::fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().starts_with("socket:"));
            is_socket.then(|| entry.file_name().to_str()?.parse().ok()).flatten()
        });
        let copies = numbers.filter_map(|number: RawFd| {
            // SAFETY: takes no pointers.
            let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, self.pidfd.as_raw_fd(), number, 0) };
            // SAFETY: a descriptor that the kernel has just made for us; it is close-on-exec.
            (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
        });
        copies.filter(|fd| getsockopt(fd, sockopt::AcceptConn).unwrap_or(false)).collect()
    }
}

/// The managed socket of this configuration that was at `address`, if it is among these listening sockets.
pub fn take_back(config: &SocketConfig, address: &Address, listeners: &mut Vec<OwnedFd>) -> Option<ManagedSocket> {
    let is_there = |fd: &OwnedFd| {
        let Ok(bound) = SockRef::from(fd).local_addr() else { return false };
        match address {
            Address::Inet { host, port } => {
                bound.as_socket().is_some_and(|bound| bound.port() == *port && bound.ip().to_string() == *host)
            }
            Address::Unix { path } => bound.as_pathname().is_some_and(|bound| bound.as_os_str() == path.as_str()),
        }
    };
    let place = listeners.iter().position(is_there)?;
    let file = match address {
        Address::Unix { path } => Some(SocketFile::find(path)?),
        Address::Inet { .. } => None,
    };
    let saved = SavedSocket::new(config.clone(), address.clone(), file);
    Some(ManagedSocket::restore(saved, listeners.swap_remove(place)))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsFd as _;

    use super::*;
    use crate::SocketPassing;
    use crate::testing::{piped, shell, start, wait};

    fn identity(pid: nix::unistd::Pid) -> ProcessIdentity {
        ProcessIdentity::from(&Proc::default().stat(pid).unwrap())
    }

    #[test]
    fn process_is_watched_and_a_later_one_is_not() {
        let pid = start(&shell("read x </dev/zero; exec sleep 1000")).unwrap();
        let survivor = Survivor::open(identity(pid)).unwrap();
        let later = ProcessIdentity { started: identity(pid).started + 1, pid };
        assert!(Survivor::open(later).is_err() && !survivor.has_ended());
        survivor.send(Signal::KILL);
        wait(pid);
        assert!(survivor.has_ended() && Survivor::open(survivor.identity()).is_err());
        survivor.send(Signal::KILL);
    }

    #[test]
    fn pipe_gets_another_reader() {
        let (pid, reader) = piped("trap '' PIPE; echo one; exec sleep 1000");
        let survivor = Survivor::open(identity(pid)).unwrap();
        let mut other = File::from(survivor.reader_of_pipe(1).unwrap());
        drop(reader);
        let mut text = [0; 4];
        while other.read(&mut text).is_err() {
            std::thread::yield_now();
        }
        assert_eq!(&text, b"one\n");
        survivor.send(Signal::KILL);
        wait(pid);
        assert!(survivor.reader_of_pipe(1).is_none());
    }

    #[test]
    fn listening_socket_is_taken_back() {
        let config = SocketConfig { host: "127.0.0.1".into(), ..SocketConfig::new("web") };
        let socket = crate::open(&config).unwrap();
        let (address, number) = (socket.address.clone(), socket.number);
        let mut launch = shell("exec sleep 1000");
        launch.sockets = SocketPassing::SameNumbers(vec![(number, socket.as_fd())]);
        let pid = start(&launch).unwrap();
        drop(launch);
        drop(socket);
        let survivor = Survivor::open(identity(pid)).unwrap();
        let mut listeners = Vec::new();
        while listeners.is_empty() {
            listeners = survivor.listeners();
        }
        let elsewhere = Address::Inet { host: "127.0.0.1".into(), port: 1 };
        assert!(take_back(&config, &elsewhere, &mut listeners).is_none());
        let back = take_back(&config, &address, &mut listeners).unwrap();
        survivor.send(Signal::KILL);
        wait(pid);
        let Address::Inet { host, port } = back.address.clone() else { panic!("it is of the internet") };
        std::net::TcpStream::connect((host.as_str(), port)).unwrap();
    }
}
