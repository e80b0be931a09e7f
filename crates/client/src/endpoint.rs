//! Endpoints: the defaults, how to connect to one that listens at every address, and why one cannot be used.

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Uid, User};

pub use circus_core::proto::reachable;

/// Where circusd answers requests, unless it is configured otherwise.
pub const CONTROL: &str = "tcp://127.0.0.1:5555";
/// Where circusd publishes events.
pub const EVENTS: &str = "tcp://127.0.0.1:5556";
/// Where circusd-stats publishes figures.
pub const STATS: &str = "tcp://127.0.0.1:5557";

/// The addresses that mean every address of a machine. No client can connect to one on another machine.
const EVERY_ADDRESS: [&str; 3] = ["tcp://0.0.0.0", "tcp://*", "tcp://[::]"];

/// The endpoint `named` by a daemon, for a client that reached this daemon at `control`: where the daemon listens at
/// every address, the host is that of `control`.
pub fn seen_from(control: &str, named: &str) -> String {
    let (Some((host, port)), Some((reached, _))) = (named.rsplit_once(':'), control.rsplit_once(':')) else {
        return named.to_owned();
    };
    if EVERY_ADDRESS.contains(&host) && control.starts_with("tcp://") {
        return reachable(&format!("{reached}:{port}"));
    }
    named.to_owned()
}

/// Why no connection to an endpoint comes about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no file of this name.
    NoSocketFile(PathBuf),
    /// The file system does not let this user connect.
    Denied {
        /// The socket file, or the directory that cannot be entered.
        path: PathBuf,
        /// The name of the owner of `path`, or the number.
        owner: String,
        /// The permission bits of `path`.
        mode: u32,
    },
    /// Nothing listens there. The file of an ipc endpoint is a leftover.
    Refused,
    /// Another reason.
    Other(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSocketFile(path) => write!(f, "there is no socket file {}", path.display()),
            Self::Denied { path, owner, mode } => {
                write!(f, "permission denied: {} belongs to {owner} and has mode {mode:04o}", path.display())
            }
            Self::Refused => f.write_str("connection refused: no circusd listens there"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

/// Why no connection to this endpoint comes about; `None` where a connection attempt succeeds, or takes longer than
/// `limit`.
pub fn trouble(endpoint: &str, limit: Duration) -> Option<Trouble> {
    match endpoint.split_once("://") {
        Some(("ipc", path)) if !path.starts_with('@') => ipc_trouble(Path::new(path)),
        Some(("tcp", address)) => tcp_trouble(address, limit),
        Some(_) | None => None,
    }
}

fn ipc_trouble(path: &Path) -> Option<Trouble> {
    let error = UnixStream::connect(path).err()?;
    Some(match error.kind() {
        io::ErrorKind::NotFound => Trouble::NoSocketFile(path.to_owned()),
        io::ErrorKind::ConnectionRefused => Trouble::Refused,
        io::ErrorKind::PermissionDenied => denied(path),
        _ => Trouble::Other(error.to_string()),
    })
}

/// The file that may not be used: the socket, or the lowest directory that this user can still see.
fn denied(path: &Path) -> Trouble {
    for path in path.ancestors() {
        if let Ok(metadata) = path.metadata() {
            let uid = Uid::from_raw(metadata.uid());
            let owner = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
            return Trouble::Denied { path: path.to_owned(), owner, mode: metadata.mode() & 0o7777 };
        }
    }
    Trouble::Other("permission denied".into())
}

fn tcp_trouble(address: &str, limit: Duration) -> Option<Trouble> {
    let address = address.parse().ok()?;
    let error = TcpStream::connect_timeout(&address, limit).err()?;
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(Trouble::Refused),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => None,
        _ => Some(Trouble::Other(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[test]
    fn wildcard_address_gets_the_host_it_was_reached_at() {
        for (named, control, endpoint) in [
            ("tcp://127.0.0.1:5556", "tcp://h:5555", "tcp://127.0.0.1:5556"),
            ("tcp://0.0.0.0:5556", "tcp://h:5555", "tcp://h:5556"),
            ("tcp://*:5556", "tcp://[::1]:5555", "tcp://[::1]:5556"),
            ("tcp://*:5556", "tcp://*:5555", "tcp://127.0.0.1:5556"),
            ("ipc:///run/x", "tcp://h:5555", "ipc:///run/x"),
        ] {
            assert_eq!(seen_from(control, named), endpoint);
        }
    }

    #[test]
    fn missing_socket_file_and_leftover_differ() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let endpoint = format!("ipc://{}", path.display());
        assert_eq!(trouble(&endpoint, LIMIT), Some(Trouble::NoSocketFile(path.clone())));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(trouble(&endpoint, LIMIT), None);
        drop(listener);
        assert_eq!(trouble(&endpoint, LIMIT), Some(Trouble::Refused));
    }

    #[test]
    fn refused_port() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(trouble(&format!("tcp://{free}"), LIMIT), Some(Trouble::Refused));
    }

    #[test]
    fn denied_names_owner_and_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let owner = User::from_uid(Uid::effective()).unwrap().unwrap().name;
        let trouble = denied(&path);
        assert_eq!(trouble, Trouble::Denied { path: path.clone(), owner: owner.clone(), mode: 0o600 });
        let text = format!("permission denied: {} belongs to {owner} and has mode 0600", path.display());
        assert_eq!(trouble.to_string(), text);
    }
}
