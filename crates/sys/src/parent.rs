//! What circusd inherits: descriptors that its parent passes, and the parent itself.
#![expect(unsafe_code, reason = "descriptors by number, and pidfd_open, which nix has not")]

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::unistd::{Pid, getppid};

/// The first descriptor that can be handed over: those below are the standard streams.
const FIRST: RawFd = 3;

/// Takes over a descriptor that the command line names. No worker inherits it. Each number once.
pub fn take_inherited(number: RawFd) -> io::Result<File> {
    if number < FIRST {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a standard stream"));
    }
    // SAFETY: takes no pointers; a number that is not open is an error.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and by contract nothing in this process owns it.
    Ok(unsafe { File::from_raw_fd(number) })
}

/// What an inherited file in memory has, from its beginning. Programs that we start do not inherit it; it stays open, as
/// it is read by each part of this process that needs it.
pub fn read_inherited(number: RawFd) -> io::Result<String> {
    let file = std::mem::ManuallyDrop::new(take_inherited(number)?);
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or_default().min(1 << 16)];
    file.read_exact_at(&mut bytes, 0)?;
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// A descriptor that becomes readable when our parent ends. An error where this process is not, or no longer, our parent.
pub fn watch_parent(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that the kernel has just made for us; it is close-on-exec.
    let handle = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    // It may have ended before, and its pid may be another's: a child of it has another parent then.
    if getppid() != Pid::from_raw(pid) {
        return Err(io::Error::other(format!("process {pid} is not the parent of this one")));
    }
    Ok(handle)
}

/// Sends a text to the service manager whose socket NOTIFY_SOCKET names: a path, or `@` and an abstract name.
pub fn notify(socket: &str, text: &str) -> io::Result<()> {
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::{AsFd as _, AsRawFd as _, IntoRawFd as _};

    use nix::fcntl::{F_GETFD, FdFlag, fcntl};
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    #[test]
    fn an_inherited_descriptor_is_not_inherited_further() {
        let (read, write) = nix::unistd::pipe().unwrap();
        let number = read.into_raw_fd();
        let mut taken = take_inherited(number).unwrap();
        let flags = FdFlag::from_bits_retain(fcntl(&taken, F_GETFD).unwrap());
        assert!(flags.contains(FdFlag::FD_CLOEXEC));
        nix::unistd::write(&write, b"text").unwrap();
        drop(write);
        let mut text = String::new();
        taken.read_to_string(&mut text).unwrap();
        assert_eq!((taken.as_raw_fd(), text.as_str()), (number, "text"));
    }

    #[test]
    fn what_is_not_open_or_a_standard_stream_is_refused() {
        assert!(take_inherited(1).is_err());
        assert_eq!(take_inherited(1 << 20).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn the_parent_is_watched_and_nobody_else() {
        let handle = watch_parent(getppid().as_raw()).unwrap();
        let mut polled = [PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut polled, PollTimeout::ZERO).unwrap(), 0);
        let text = watch_parent(nix::unistd::getpid().as_raw()).unwrap_err().to_string();
        assert!(text.ends_with("is not the parent of this one"), "{text}");
    }

    #[test]
    fn a_service_manager_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        notify(path.to_str().unwrap(), "READY=1").unwrap();
        let mut bytes = [0; 16];
        let read = listener.recv(&mut bytes).unwrap();
        assert_eq!(bytes.get(..read), Some(b"READY=1".as_slice()));
        assert!(notify("/nowhere/at/all", "READY=1").is_err());
    }
}
