//! Binding an ipc endpoint: never steal a live one, always replace a dead one.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::SocketAddr as UnixAddr;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollTimeout, poll};
use socket2::{Domain, SockAddr, Socket, Type};

use super::endpoint::{BACKLOG, Reason, os};
use super::port_owner;
use super::socket_file::SocketFile;

/// Binds a path. A socket file that no process listens on was left by a daemon that was killed, and is replaced.
///
/// To see what listens and to replace the file are two steps, and so are bind and listen: a second circusd that came in
/// between would take the first one's socket for dead. So all of it happens under a lock.
pub(super) fn bind(path: &str, mode: u32, owner: Option<u32>) -> Result<(OwnedFd, SocketFile), Reason> {
    let place = Path::new(path);
    let _lock = StartLock::take(place)?;
    remove_stale(place, Type::STREAM)?;
    let socket = socket(Type::STREAM)?;
    let file = SocketFile::bind(&socket, place, mode, owner).map_err(|error| not_bound(place, &error))?;
    socket.listen(BACKLOG).map_err(|error| os("listen", &error))?;
    Ok((socket.into(), file))
}

/// Binds an abstract name, which exists as long as its socket.
pub(super) fn bind_abstract(name: &str) -> Result<OwnedFd, Reason> {
    let address = UnixAddr::from_abstract_name(name).map_err(|error| os("use the name", &error))?;
    let bound = std::os::unix::net::UnixListener::bind_addr(&address).map_err(|error| {
        let taken = error.raw_os_error() == Some(libc::EADDRINUSE);
        if !taken {
            return os("bind it", &error);
        }
        let connection = std::os::unix::net::UnixStream::connect_addr(&address).ok();
        live(connection.and_then(|peer| port_owner::of_unix_socket(&peer, Path::new(&format!("@{name}")))))
    })?;
    let socket = Socket::from(bound);
    socket.set_nonblocking(true).map_err(|error| os("make it non-blocking", &error))?;
    // A second listen lengthens the queue of the first.
    socket.listen(BACKLOG).map_err(|error| os("listen", &error))?;
    Ok(socket.into())
}

fn socket(kind: Type) -> Result<Socket, Reason> {
    let socket = Socket::new(Domain::UNIX, kind, None).map_err(|error| os("create a socket", &error))?;
    socket.set_nonblocking(true).map_err(|error| os("make it non-blocking", &error))?;
    Ok(socket)
}

/// How often, 100 ms apart, the lock is asked for. It is held for less than a millisecond at a time.
const LOCK_ATTEMPTS: usize = 20;

/// A lock beside a socket, on a file that only its user can open: what others may open, they may lock for ever. The file
/// goes with the lock.
struct StartLock {
    path: PathBuf,
    _file: Flock<File>,
}

impl StartLock {
    /// The lock, or none where no file of our own can be made there: then binding itself says what is wrong, or another
    /// user has put something in the place of the file.
    fn take(socket: &Path) -> Result<Option<Self>, Reason> {
        let mut name = OsString::from(".");
        name.push(socket.file_name().unwrap_or_default());
        name.push(".lock");
        let path = directory_of(socket).join(name);
        for _ in 0..LOCK_ATTEMPTS {
            let Some(file) = own_file(&path) else { return Ok(None) };
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) if is_at(&file, &path) => return Ok(Some(Self { path, _file: file })),
                // Its last holder has removed it.
                Ok(_) => continue,
                Err((_, Errno::EAGAIN)) => {}
                Err(_) => return Ok(None),
            }
            let _interrupted = poll(&mut [], PollTimeout::from(100_u8));
        }
        let path = path.display();
        Err((libc::EAGAIN, format!("another program of this user keeps {path} locked; stop it or use another path")))
    }
}

impl Drop for StartLock {
    fn drop(&mut self) {
        // Before it is unlocked: the next one finds that its file is not at the path any more, and makes another.
        drop(std::fs::remove_file(&self.path));
    }
}

/// Opens a file that belongs to us and that no other user can open, and makes it where there is none. What another user has
/// put there is removed, if we may.
fn own_file(path: &Path) -> Option<File> {
    let open = || {
        let mut options = File::options();
        options.read(true).write(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        options.open(path).ok().filter(is_ours)
    };
    open().or_else(|| {
        std::fs::remove_file(path).ok()?;
        open()
    })
}

fn is_ours(file: &File) -> bool {
    let ours = nix::unistd::geteuid().as_raw();
    file.metadata().is_ok_and(|data| data.is_file() && data.uid() == ours && data.mode() & 0o077 == 0)
}

fn is_at(file: &File, path: &Path) -> bool {
    let identity = |data: std::fs::Metadata| (data.dev(), data.ino());
    let there = std::fs::symlink_metadata(path).map(identity).ok();
    there.is_some() && there == file.metadata().map(identity).ok()
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        Some(_) | None => Path::new("."),
    }
}

/// Removes the file of a socket that refuses connections: its program was killed. A socket that may be in use, and what is
/// no socket, stay.
pub(super) fn remove_stale(path: &Path, kind: Type) -> Result<(), Reason> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(not_bound(path, &error)),
    };
    if !metadata.file_type().is_socket() {
        let reason = "the path exists and is not a socket; remove it or use another path";
        return Err((libc::EADDRINUSE, reason.to_owned()));
    }
    let probe = socket(kind)?;
    let address = SockAddr::unix(path).map_err(|error| not_bound(path, &error))?;
    match probe.connect(&address).map_err(|error| error.raw_os_error().unwrap_or(0)) {
        Err(libc::ECONNREFUSED) => {
            std::fs::remove_file(path).map_err(|error| os("remove the socket of a program that has ended", &error))
        }
        Err(libc::ENOENT) => Ok(()),
        Ok(()) => Err(live(port_owner::of_unix_socket(&probe, path))),
        // Its queue is full, or it is of another type: alive in any case, and so is what we may not connect to.
        Err(libc::EAGAIN | libc::EPROTOTYPE) => Err(live(None)),
        Err(errno) => {
            let error = io::Error::from_raw_os_error(errno);
            Err(os("find out whether a process listens there", &error))
        }
    }
}

fn live(holder: Option<String>) -> Reason {
    let holder = holder.unwrap_or_else(|| "another program".into());
    (libc::EADDRINUSE, format!("{holder} listens there already; stop it or use another path"))
}

fn not_bound(path: &Path, error: &io::Error) -> Reason {
    let directory = directory_of(path).display();
    match error.raw_os_error() {
        Some(errno @ libc::ENOENT) => (errno, format!("the directory {directory} does not exist; create it")),
        Some(errno @ libc::EACCES) => (errno, format!("circusd may not write to the directory {directory}")),
        Some(errno @ libc::EPERM) => (errno, "circusd may not set its owner; only root may".into()),
        Some(_) => os("bind it", error),
        None => (libc::ENAMETOOLONG, format!("{error} (the path of a socket has at most 107 bytes)")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use super::*;
    use crate::endpoint::{BoundEndpoint, EndpointError, bind_endpoint};

    fn bind_at(path: &Path) -> Result<BoundEndpoint, EndpointError> {
        bind_endpoint(&format!("ipc://{}", path.display()), None, None)
    }

    #[test]
    fn it_is_its_owners_alone_and_goes_with_us() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.sock");
        let bound = bind_at(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        UnixStream::connect(&path).unwrap();
        drop(bound);
        assert!(!path.exists());
        let bound = bind_endpoint(&format!("ipc://{}", path.display()), Some(0o666), None).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o666);
        assert_eq!(bound.cleanup.as_ref().unwrap().path(), path);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no lock file");
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the file behind, as a killed daemon does");
        let first = bind_at(&path).unwrap();
        let error = bind_at(&path).unwrap_err();
        assert_eq!(error.errno, libc::EADDRINUSE);
        assert!(error.reason.contains(&format!("(pid {}", std::process::id())), "{error}");
        assert!(error.reason.ends_with("listens there already; stop it or use another path"), "{error}");
        UnixStream::connect(&path).unwrap();
        drop(first);
    }

    #[test]
    fn what_is_no_stream_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(bind_at(&path).unwrap_err().reason.contains("is not a socket"));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/nonexistent", &path).unwrap();
        assert!(bind_at(&path).unwrap_err().reason.contains("is not a socket"));
        std::fs::remove_file(&path).unwrap();
        let _datagrams = UnixDatagram::bind(&path).unwrap();
        assert!(bind_at(&path).unwrap_err().reason.contains("listens there already"));
    }

    #[test]
    fn directories_that_do_not_exist_and_long_paths_are_told() {
        let error = bind_at(Path::new("/nonexistent/c.sock")).unwrap_err();
        assert_eq!(
            (error.errno, error.reason.as_str()),
            (libc::ENOENT, "the directory /nonexistent does not exist; create it")
        );
        let error = bind_at(Path::new(&format!("/tmp/{}", "x".repeat(200)))).unwrap_err();
        assert!(error.reason.contains("107 bytes"), "{error}");
    }

    #[test]
    fn of_many_that_start_at_once_on_a_dead_socket_one_wins() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.sock");
        for _ in 0..20 {
            drop(UnixListener::bind(&path).unwrap());
            let barrier = std::sync::Barrier::new(8);
            let bound: Vec<_> = std::thread::scope(|scope| {
                let contend = || {
                    barrier.wait();
                    bind_at(&path)
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(contend)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let errors = bound.iter().filter_map(|bound| bound.as_ref().err());
            assert!(errors.clone().all(|error| error.errno == libc::EADDRINUSE), "{bound:?}");
            assert_eq!(errors.count(), 7);
            UnixStream::connect(&path).unwrap();
        }
    }

    #[test]
    fn lock_on_the_directory_holds_nothing_up() {
        let directory = tempfile::tempdir().unwrap();
        let _held = Flock::lock(File::open(directory.path()).unwrap(), FlockArg::LockExclusive).unwrap();
        bind_at(&directory.path().join("c.sock")).unwrap();
    }

    #[test]
    fn lock_of_our_own_is_waited_for_and_named() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("c.sock");
        let held = StartLock::take(&socket).unwrap().unwrap();
        let error = bind_at(&socket).unwrap_err();
        assert_eq!(error.errno, libc::EAGAIN);
        assert!(error.reason.contains(".c.sock.lock locked"), "{error}");
        drop(held);
        bind_at(&socket).unwrap();
    }

    #[test]
    fn what_others_can_open_is_no_lock() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".c.sock.lock");
        for plant in [
            |path: &Path| std::fs::write(path, "").unwrap(),
            |path: &Path| std::os::unix::fs::symlink("/nonexistent/file", path).unwrap(),
        ] {
            plant(&path);
            let _held = File::open(&path).ok().map(|file| Flock::lock(file, FlockArg::LockExclusive).unwrap());
            bind_at(&directory.path().join("c.sock")).unwrap();
            assert!(!std::fs::exists("/nonexistent/file").unwrap() && std::fs::symlink_metadata(&path).is_err());
        }
    }

    #[test]
    fn an_abstract_name_has_no_file() {
        let endpoint = format!("ipc://@circus-test-{}", std::process::id());
        let bound = bind_endpoint(&endpoint, None, None).unwrap();
        assert!(bound.cleanup.is_none());
        let error = bind_endpoint(&endpoint, None, None).unwrap_err();
        assert!(error.reason.contains(&format!("(pid {}", std::process::id())), "{error}");
        drop(bound);
        bind_endpoint(&endpoint, None, None).unwrap();
    }
}
