//! The descriptors that a service manager keeps for circusd (systemd's file descriptor store): sd_pid_notify_with_fds(3)
//! and sd_listen_fds(3). After a crash the next circusd gets the managed sockets back, with what waits in their queues.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::sockopt::{AcceptConn, SendTimeout};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, getsockopt, sendmsg, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike as _};
use socket2::SockRef;

use super::parent::take_inherited;
use super::socket_file::SocketFile;
use super::sockets::{Address, ManagedSocket, SavedSocket, kind, resolve};
use circus_core::config::{Family, SocketConfig, SocketType};

/// The first descriptor that is passed.
const FIRST: RawFd = 3;
/// No manager passes more.
const MOST: RawFd = 4096;
/// A manager that does not read holds up circusd no longer.
const LIMIT: Duration = Duration::from_secs(1);
/// Begins the names of managed sockets.
const PREFIX: &str = "circus-socket-";
/// The longest name that a manager takes.
const LONGEST_NAME: usize = 255;

/// The name by which a managed socket is kept. A manager takes printable ASCII without colons. `None` where it would be too
/// long.
pub fn stored_name(socket: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let encoded = socket.bytes().map(|byte| match byte {
        _ if plain(byte) => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    });
    let name = format!("{PREFIX}{}", encoded.collect::<String>());
    (name.len() <= LONGEST_NAME).then_some(name)
}

/// Whether a circusd has given this name.
pub fn is_stored_name(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Takes over what the manager has passed to this process, by name. No worker inherits it. Once, and before anything else
/// of these numbers is used.
#[expect(clippy::disallowed_methods, reason = "the environment as it was at the start")]
pub fn take_passed() -> Vec<(String, OwnedFd)> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<i64>().ok();
    if number("LISTEN_PID") != Some(i64::from(std::process::id())) {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").and_then(|count| RawFd::try_from(count).ok()).unwrap_or_default().clamp(0, MOST);
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    let passed = (FIRST..FIRST + count).map(|number| (names.next().unwrap_or_default(), take_inherited(number)));
    passed.filter_map(|(name, file)| Some((name, file.ok()?.into()))).collect()
}

/// Asks the manager whose socket this is to keep a descriptor.
///
/// # Errors
/// Where it cannot be asked. Whether it keeps it is not known.
pub fn store(manager: &str, name: &str, fd: impl AsFd) -> io::Result<()> {
    let fds = [fd.as_fd().as_raw_fd()];
    // A listening socket of which the peer is gone does not exist; the manager need not watch it.
    send(manager, &format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0"), &[ControlMessage::ScmRights(&fds)])
}

/// Asks the manager to keep what has this name no longer.
///
/// # Errors
/// Where it cannot be asked.
pub fn forget_stored(manager: &str, name: &str) -> io::Result<()> {
    send(manager, &format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[])
}

fn send(manager: &str, text: &str, rights: &[ControlMessage<'_>]) -> io::Result<()> {
    let address = match manager.strip_prefix('@') {
        Some(name) => UnixAddr::new_abstract(name.as_bytes()),
        None => UnixAddr::new(Path::new(manager)),
    }?;
    let from = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&from, SendTimeout, &TimeVal::milliseconds(LIMIT.as_millis() as i64))?;
    let text = [IoSlice::new(text.as_bytes())];
    sendmsg(from.as_raw_fd(), &text, rights, MsgFlags::MSG_NOSIGNAL, Some(&address))?;
    Ok(())
}

/// A descriptor that was kept, as the managed socket of this configuration; `None` where it is another one by now.
pub fn from_store(config: &SocketConfig, fd: OwnedFd) -> Option<ManagedSocket> {
    let socket = SockRef::from(&fd);
    let listens = || getsockopt(&fd, AcceptConn).unwrap_or(false);
    let fits = socket.r#type().ok()? == kind(config.kind)
        && (config.kind == SocketType::Datagram || listens())
        && (socket.device().ok().flatten().as_deref() == config.interface.as_deref().map(str::as_bytes));
    if !fits || config.so_reuseport {
        return None;
    }
    let bound = socket.local_addr().ok()?;
    let (address, file) = match (config.family, &config.path) {
        (Family::Unix, None) => return None,
        (Family::Unix, Some(path)) => {
            let is_there = bound.as_pathname().is_some_and(|bound| bound.as_os_str() == path.as_str());
            let file = SocketFile::find(path).filter(|_| is_there)?;
            (Address::Unix { path: path.clone() }, Some(file))
        }
        (Family::Inet | Family::Inet6, _) => {
            let (bound, wanted) = (bound.as_socket()?, resolve(config).ok()?);
            let is_there = bound.ip() == wanted.ip() && [0, bound.port()].contains(&wanted.port());
            (is_there.then(|| Address::Inet { host: bound.ip().to_string(), port: bound.port() })?, None)
        }
    };
    let mut socket = ManagedSocket::restore(SavedSocket::new(config.clone(), address, file), fd);
    socket.bring_in_line().ok()?;
    Some(socket)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use super::*;
    use crate::notify::{FdRequest, NotifySocket};

    fn config(name: &str) -> SocketConfig {
        SocketConfig { host: "127.0.0.1".into(), port: 0, ..SocketConfig::new(name) }
    }

    #[test]
    fn names_are_what_a_manager_takes() {
        assert_eq!(stored_name("web").as_deref(), Some("circus-socket-web"));
        assert_eq!(stored_name("a b:ä%").as_deref(), Some("circus-socket-a%20b%3a%c3%a4%25"));
        assert_eq!(stored_name(&"x".repeat(300)), None);
    }

    #[test]
    fn manager_gets_the_descriptor_and_is_told_when_it_goes() {
        let manager = NotifySocket::open().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        store(manager.address(), "web", &listener).unwrap();
        let mut received = manager.receive().unwrap().unwrap();
        assert_eq!(received.datagram.unwrap().fds, FdRequest::Store("web".into()));
        let kept: TcpListener = received.fds.pop().unwrap().into();
        assert_eq!(kept.local_addr().unwrap(), listener.local_addr().unwrap());
        forget_stored(manager.address(), "web").unwrap();
        let received = manager.receive().unwrap().unwrap();
        assert_eq!(received.datagram.unwrap().fds, FdRequest::Remove("web".into()));
        assert!(store("/nowhere/at/all", "web", &listener).is_err());
    }

    #[test]
    fn only_the_same_socket_is_taken_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let copy = || OwnedFd::from(listener.try_clone().unwrap());
        for same in [config("web"), SocketConfig { port, backlog: 7, ..config("web") }] {
            let socket = from_store(&same, copy()).unwrap();
            assert_eq!(socket.address, Address::Inet { host: "127.0.0.1".into(), port });
            assert_eq!(socket.backlog, same.backlog);
        }
        for other in [
            SocketConfig { port: port ^ 1, ..config("web") },
            SocketConfig { host: "127.0.0.2".into(), ..config("web") },
            SocketConfig { so_reuseport: true, ..config("web") },
            SocketConfig { kind: SocketType::Datagram, ..config("web") },
            SocketConfig { family: Family::Unix, path: Some("/x".into()), ..config("web") },
        ] {
            assert!(from_store(&other, copy()).is_none(), "{other:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web");
        let unix = UnixListener::bind(&path).unwrap();
        let of = |path: &Path| SocketConfig {
            family: Family::Unix,
            path: Some(path.to_str().unwrap().into()),
            ..config("web")
        };
        assert!(from_store(&of(&folder.path().join("other")), unix.try_clone().unwrap().into()).is_none());
        let socket = from_store(&of(&path), unix.try_clone().unwrap().into()).unwrap();
        // It is this process's to remove from now on.
        drop(socket);
        assert!(!path.exists());
        assert!(from_store(&of(&path), unix.into()).is_none(), "its file is gone, and no client finds it");
        let (one, _other) = UnixDatagram::pair().unwrap();
        assert!(from_store(&config("web"), one.into()).is_none());
    }
}
