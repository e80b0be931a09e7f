//! Where browsers connect: an address, a socket file, or a descriptor that circusd or a service manager has opened.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use circus_web::tls::Tls;
use nix::sys::socket::{AddressFamily, SockaddrLike as _, SockaddrStorage, getsockname};

/// The address without another.
pub const ADDRESS: &str = "127.0.0.1:8080";

/// What listens.
#[derive(Debug)]
pub enum Door {
    /// A TCP socket.
    Tcp(TcpListener),
    /// A unix socket; the file is ours to remove where we made it.
    Unix(UnixListener, Option<PathBuf>),
}

/// The address of a client; `None` for a unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub Option<IpAddr>);

impl Connected<IncomingStream<'_, tokio::net::TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, tokio::net::TcpListener>) -> Self {
        Self(Some(stream.remote_addr().ip().to_canonical()))
    }
}

impl Connected<IncomingStream<'_, tokio::net::UnixListener>> for Peer {
    fn connect_info(_: IncomingStream<'_, tokio::net::UnixListener>) -> Self {
        Self(None)
    }
}

impl Connected<IncomingStream<'_, Tls>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Tls>) -> Self {
        Self(Some(stream.remote_addr().ip().to_canonical()))
    }
}

/// Where `--listen` says: `HOST:PORT`, `:PORT`, `PORT`, `unix:PATH`, or a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Of TCP.
    Tcp(SocketAddr),
    /// A file.
    Unix(PathBuf),
}

/// Reads an address. Without a host it is of this machine only.
///
/// # Errors
/// Where it is none.
pub fn address(text: &str) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix("unix:").or_else(|| text.starts_with('/').then_some(text)) {
        return if path.is_empty() { Err("the path is empty".into()) } else { Ok(Address::Unix(path.into())) };
    }
    let local = match text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')) {
        Some(port) => format!("127.0.0.1:{port}"),
        None if text.chars().all(|c| c.is_ascii_digit()) => format!("127.0.0.1:{text}"),
        None => text.to_owned(),
    };
    local.parse().map(Address::Tcp).map_err(|_| format!("'{text}' is neither an address with a port nor a path"))
}

impl Door {
    /// Listens at an address. A socket file is its owner's only.
    ///
    /// # Errors
    /// Where it is taken, or may not be.
    pub fn open(address: &Address) -> Result<Self, String> {
        match address {
            Address::Tcp(address) => {
                TcpListener::bind(address).map(Self::Tcp).map_err(|error| format!("{address}: {error}"))
            }
            Address::Unix(path) => {
                let told = |error: io::Error| format!("{}: {error}", path.display());
                remove_leftover(path).map_err(told)?;
                // Nobody else may connect between its making and its mode.
                let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
                let bound = UnixListener::bind(path);
                nix::sys::stat::umask(before);
                let listener = bound.map_err(told)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(told)?;
                Ok(Self::Unix(listener, Some(path.clone())))
            }
        }
    }

    /// Listens at a descriptor that this process was started with.
    ///
    /// # Errors
    /// Where it is no socket that listens.
    pub fn inherited(number: RawFd) -> Result<Self, String> {
        let file = circus_sys::take_inherited(number).map_err(|error| format!("descriptor {number}: {error}"))?;
        Self::of(file.into())
    }

    /// The descriptor that a service manager has passed with LISTEN_FDS; the first one.
    ///
    /// # Errors
    /// Where it is no socket that listens.
    pub fn passed() -> Option<Result<Self, String>> {
        circus_sys::take_passed().into_iter().next().map(|(_, descriptor)| Self::of(descriptor))
    }

    fn of(descriptor: OwnedFd) -> Result<Self, String> {
        let number = descriptor.as_raw_fd();
        let told = |error: nix::Error| format!("descriptor {number}: {error}");
        let listens = nix::sys::socket::getsockopt(&descriptor, nix::sys::socket::sockopt::AcceptConn).map_err(told)?;
        if !listens {
            return Err(format!("descriptor {number}: it does not listen"));
        }
        let name: SockaddrStorage = getsockname(number).map_err(told)?;
        match name.family() {
            Some(AddressFamily::Inet | AddressFamily::Inet6) => Ok(Self::Tcp(descriptor.into())),
            Some(AddressFamily::Unix) => Ok(Self::Unix(descriptor.into(), None)),
            _ => Err(format!("descriptor {number}: it is a socket of neither TCP nor a file")),
        }
    }

    /// Whether only this machine reaches it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(listener) => listener.local_addr().is_ok_and(|address| address.ip().is_loopback()),
            Self::Unix(..) => true,
        }
    }

    /// Whether only its owner, and root, reach it.
    pub fn is_private(&self) -> bool {
        matches!(self, Self::Unix(_, Some(_)))
    }

    /// Where it is, for people.
    pub fn url(&self, secure: bool, prefix: &str) -> String {
        let scheme = if secure { "https" } else { "http" };
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => format!("{scheme}://{address}{prefix}/"),
                Err(error) => format!("an address that is not known: {error}"),
            },
            Self::Unix(_, Some(path)) => format!("unix:{}", path.display()),
            Self::Unix(listener, None) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                path.map_or_else(|| "an inherited socket".to_owned(), |path| format!("unix:{}", path.display()))
            }
        }
    }
}

/// A socket file that nothing listens at any more is in the way; anything else stays.
fn remove_leftover(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).err().is_some_and(refused) {
        return fs::remove_file(path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd as _;

    use super::*;

    #[test]
    fn addresses() {
        let at = |text: &str| match address(text).unwrap() {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(path) => path.display().to_string(),
        };
        for (text, place) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            (":80", "127.0.0.1:80"),
            ("80", "127.0.0.1:80"),
            ("localhost:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("unix:run/x", "run/x"),
            ("/run/x", "/run/x"),
        ] {
            assert_eq!(at(text), place);
        }
        for wrong in ["", "x", "example.org:80", "unix:", "127.0.0.1", "99999"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_socket_file_is_its_owners_and_replaces_a_leftover() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web");
        let open = || Door::open(&Address::Unix(path.clone()));
        let door = open().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(door.is_local() && door.is_private());
        assert!(open().unwrap_err().contains("in use"));
        drop(door);
        drop(open().unwrap());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "kept").unwrap();
        assert!(open().is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
    }

    #[test]
    fn inherited_descriptors() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x/", listener.local_addr().unwrap());
        let door = Door::inherited(listener.into_raw_fd()).unwrap();
        assert_eq!((door.url(false, "/x"), door.is_local(), door.is_private()), (url, true, false));
        let folder = tempfile::tempdir().unwrap();
        let unix = UnixListener::bind(folder.path().join("s")).unwrap();
        let door = Door::inherited(unix.into_raw_fd()).unwrap();
        assert!(door.url(true, "").starts_with("unix:/") && !door.is_private());
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(Door::inherited(one.into_raw_fd()).unwrap_err().contains("does not listen"));
        assert!(Door::inherited(1).is_err());
    }
}
