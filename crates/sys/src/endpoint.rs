//! The endpoints of ZeroMQ, bound by us: libzmq gets the listening descriptor (ZMQ_USE_FD). So an ipc endpoint has its
//! mode and owner before a client can connect, a live one is never stolen (libzmq unlinks whatever is there), an address
//! in use names its holder, and a listening socket survives a re-exec.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::ifaddrs::getifaddrs;
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};

use super::ipc;
use super::socket_file::{SavedSocketFile, SocketFile};
use super::sockets::{not_bound, strerror};

/// The queue of connections. libzmq's own, 100, is short for a fleet of clients that connect at once.
pub(super) const BACKLOG: i32 = 1024;

/// The mode of an ipc endpoint where nothing else is said: only its owner connects.
const DEFAULT_MODE: u32 = 0o600;

/// A bound and listening endpoint. Dropping it closes the descriptor and removes the file.
#[derive(Debug)]
pub struct BoundEndpoint {
    /// The listening descriptor, for ZMQ_USE_FD: libzmq closes what it is given, so give it a duplicate.
    pub fd: OwnedFd,
    /// The real address, where the kernel chose a port or a name was resolved; clients can use it.
    pub endpoint: String,
    /// The file of an ipc endpoint, removed when this is dropped, if it still is ours.
    pub cleanup: Option<SocketFile>,
}

/// An endpoint without its descriptor, as plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedEndpoint {
    endpoint: String,
    file: Option<SavedSocketFile>,
}

impl BoundEndpoint {
    /// Changes the mode of the file, where it has one.
    pub fn change_mode(&self, mode: u32) -> std::io::Result<()> {
        self.cleanup.as_ref().map_or(Ok(()), |file| file.change_mode(mode))
    }

    /// For another process, which gets the descriptor.
    pub fn save(&self) -> SavedEndpoint {
        SavedEndpoint { endpoint: self.endpoint.clone(), file: self.cleanup.as_ref().map(SocketFile::save) }
    }

    /// Goes on with the endpoint of another process. The file is this one's to remove from now on.
    pub fn restore(SavedEndpoint { endpoint, file }: SavedEndpoint, fd: OwnedFd) -> Self {
        Self { fd, endpoint, cleanup: file.map(SocketFile::restore) }
    }
}

impl AsFd for BoundEndpoint {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// An endpoint that cannot be bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointError {
    /// As it was written.
    pub endpoint: String,
    /// The kernel's error number; 0 where the failure is not the kernel's.
    pub errno: i32,
    /// What is wrong, and what to do about it.
    pub reason: String,
}

impl std::fmt::Display for EndpointError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "endpoint {} cannot be bound: {}", self.endpoint, self.reason)
    }
}

impl std::error::Error for EndpointError {}

/// The error number, and the reason in words.
pub(super) type Reason = (i32, String);

/// Binds `tcp://ADDRESS:PORT` or `ipc://PATH`, and listens.
///
/// The address of tcp may be a number (`[::1]`), a name, an interface, or `*`; the port `*` or 0 is of the kernel's
/// choice. `ipc://@NAME` is abstract: it has no file, and neither mode nor owner. They are only for files.
pub fn bind_endpoint(endpoint: &str, mode: Option<u32>, owner: Option<u32>) -> Result<BoundEndpoint, EndpointError> {
    let bound = parse(endpoint).and_then(|parsed| match parsed {
        Endpoint::Tcp { host, port } => bind_tcp(host, port),
        Endpoint::Ipc { path } => {
            let (fd, file) = ipc::bind(path, mode.unwrap_or(DEFAULT_MODE), owner)?;
            Ok(BoundEndpoint { fd, endpoint: endpoint.to_owned(), cleanup: Some(file) })
        }
        Endpoint::Abstract { name } => {
            let fd = ipc::bind_abstract(name)?;
            Ok(BoundEndpoint { fd, endpoint: endpoint.to_owned(), cleanup: None })
        }
    });
    bound.map_err(|(errno, reason)| EndpointError { endpoint: endpoint.to_owned(), errno, reason })
}

/// Whether other machines can reach it: it is neither ipc nor bound to the loopback. An unknown address counts as exposed.
///
/// Of a name this says what it means now. Ask about [`BoundEndpoint::endpoint`], which is in numbers, to be sure.
pub fn is_exposed(endpoint: &str) -> bool {
    match parse(endpoint) {
        Ok(Endpoint::Ipc { .. } | Endpoint::Abstract { .. }) => false,
        Ok(Endpoint::Tcp { host, port }) => match addresses(host, port) {
            Ok(addresses) => addresses.is_empty() || !addresses.iter().all(|address| is_loopback(address.ip())),
            Err(_) => true,
        },
        Err(_) => !endpoint.starts_with("inproc://"),
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint<'a> {
    Tcp { host: &'a str, port: u16 },
    Ipc { path: &'a str },
    Abstract { name: &'a str },
}

fn parse(endpoint: &str) -> Result<Endpoint<'_>, Reason> {
    let refused = |reason: &str| Err((libc::EINVAL, reason.to_owned()));
    match endpoint.split_once("://") {
        Some(("ipc", "" | "@")) => refused("a path is missing, as in ipc:///run/circus.sock"),
        Some(("ipc", path)) => Ok(match path.strip_prefix('@') {
            Some(name) => Endpoint::Abstract { name },
            None => Endpoint::Ipc { path },
        }),
        Some(("tcp", address)) => match address.rsplit_once(':') {
            None | Some(("", _)) => refused("it must look like tcp://ADDRESS:PORT"),
            Some((host, port)) => {
                let port = if port == "*" { Some(0) } else { port.parse().ok() };
                let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
                match port {
                    Some(port) => Ok(Endpoint::Tcp { host, port }),
                    None => refused("the port must be a number from 0 to 65535, or *"),
                }
            }
        },
        Some((transport, _)) => refused(&format!("the transport '{transport}' is not supported; use tcp or ipc")),
        None => refused("it must begin with tcp:// or ipc://"),
    }
}

/// The addresses of a host: `*`, an interface, or whatever the resolver knows, IPv4 first as libzmq has it.
fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, Reason> {
    if host == "*" {
        return Ok(vec![(Ipv4Addr::UNSPECIFIED, port).into()]);
    }
    if host.parse::<IpAddr>().is_err()
        && let Some(address) = of_interface(host)
    {
        return Ok(vec![(address, port).into()]);
    }
    let resolved = (host, port).to_socket_addrs().map_err(|error| {
        (0, format!("'{host}' is not an interface of this machine and cannot be resolved: {error}"))
    })?;
    let mut addresses: Vec<SocketAddr> = resolved.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    Ok(addresses)
}

fn of_interface(name: &str) -> Option<IpAddr> {
    let addresses = getifaddrs().ok()?.filter(|interface| interface.interface_name == name);
    let mut found: Vec<IpAddr> = addresses
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
        })
        .collect();
    found.sort_by_key(IpAddr::is_ipv6);
    found.first().copied()
}

fn bind_tcp(host: &str, port: u16) -> Result<BoundEndpoint, Reason> {
    let candidates = addresses(host, port)?;
    let wanted = *candidates.first().ok_or_else(|| (0, format!("'{host}' has no address")))?;
    let failed = |error: std::io::Error| not_bound(&error, wanted);
    let socket = Socket::new(Domain::for_address(wanted), Type::STREAM, None).map_err(failed)?;
    socket.set_reuse_address(true).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    socket.bind(&SockAddr::from(wanted)).map_err(failed)?;
    // With SO_REUSEADDR two may bind one port, and it is the second listen that fails.
    socket.listen(BACKLOG).map_err(failed)?;
    let bound = socket.local_addr().ok().and_then(|address| address.as_socket()).unwrap_or(wanted);
    Ok(BoundEndpoint { fd: socket.into(), endpoint: format!("tcp://{bound}"), cleanup: None })
}

/// A kernel's error with what was being done.
pub(super) fn os(doing: impl std::fmt::Display, error: &std::io::Error) -> Reason {
    (error.raw_os_error().unwrap_or(0), format!("failed to {doing}: {}", strerror(error)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn what_can_be_written() {
        let tcp = |host, port| Ok(Endpoint::Tcp { host, port });
        assert_eq!(parse("tcp://127.0.0.1:5555"), tcp("127.0.0.1", 5555));
        assert_eq!(parse("tcp://*:*"), tcp("*", 0));
        assert_eq!(parse("tcp://[::1]:80"), tcp("::1", 80));
        assert_eq!(parse("ipc:///a:b"), Ok(Endpoint::Ipc { path: "/a:b" }));
        assert_eq!(parse("ipc://@circus"), Ok(Endpoint::Abstract { name: "circus" }));
        for wrong in ["", "tcp://", "tcp://:80", "tcp://a", "tcp://a:b", "tcp://a:70000", "ipc://", "pgm://x", "x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn who_can_reach_it() {
        for private in [
            "ipc:///x",
            "ipc://@x",
            "tcp://127.0.0.1:1",
            "tcp://127.9.9.9:1",
            "tcp://[::1]:1",
            "tcp://localhost:1",
            "tcp://lo:1",
            "tcp://[::ffff:127.0.0.1]:1",
            "inproc://x",
        ] {
            assert!(!is_exposed(private), "{private}");
        }
        for exposed in ["tcp://*:1", "tcp://0.0.0.0:1", "tcp://[::]:1", "tcp://10.0.0.1:1", "tcp://no such:1", "x"] {
            assert!(is_exposed(exposed), "{exposed}");
        }
    }

    #[test]
    fn tcp_in_every_spelling_and_its_real_address() {
        for host in ["127.0.0.1", "localhost", "lo"] {
            let bound = bind_endpoint(&format!("tcp://{host}:*"), None, None).unwrap();
            let address = bound.endpoint.strip_prefix("tcp://").unwrap();
            assert!(address.starts_with("127.0.0.1:") && !address.ends_with(":0"), "{address}");
            TcpStream::connect(address).unwrap();
        }
        let any = bind_endpoint("tcp://*:0", None, None).unwrap();
        assert!(any.endpoint.starts_with("tcp://0.0.0.0:"));
    }

    #[test]
    fn a_port_in_use_names_its_holder() {
        let first = bind_endpoint("tcp://127.0.0.1:0", None, None).unwrap();
        let error = bind_endpoint(&first.endpoint, None, None).unwrap_err();
        assert_eq!(error.errno, libc::EADDRINUSE);
        assert!(error.to_string().contains(&format!("(pid {}", std::process::id())), "{error}");
        assert!(error.to_string().starts_with(&format!("endpoint {} cannot be bound: ", first.endpoint)));
    }

    #[test]
    fn an_address_that_is_not_ours() {
        let error = bind_endpoint("tcp://192.0.2.1:5555", None, None).unwrap_err();
        assert_eq!(error.errno, libc::EADDRNOTAVAIL);
        assert!(error.reason.ends_with("this machine has no address 192.0.2.1"), "{error}");
    }
}
