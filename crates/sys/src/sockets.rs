//! The managed sockets: what circusd binds so that its workers need not.
//!
//! Their numbers are seen by users (`$(circus.sockets.NAME)`, `listsockets`) and kept by workers, so they are opened
//! before anything else: the kernel gives the lowest free number, which makes them 3, 4, ... in order of name.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::ipc;
use super::port_owner;
use super::socket_file::{SavedSocketFile, SocketFile};
use circus_core::config::{Family, SocketConfig, SocketType};

/// An open managed socket. Dropping it closes it and removes its file.
#[derive(Debug)]
pub struct ManagedSocket {
    /// The name of its section.
    pub name: String,
    /// Its number here, and in workers with `use_sockets`.
    pub number: RawFd,
    /// No process listens at it: it keeps the address for the sockets that [`open_own`] makes (`so_reuseport`).
    pub per_worker: bool,
    /// The length of its queue of connections.
    pub backlog: i32,
    /// Where it is bound; the real port where the kernel chose.
    pub address: Address,
    /// What it was made from.
    pub config: SocketConfig,
    fd: OwnedFd,
    /// The file, which goes after the descriptor.
    file: Option<SocketFile>,
}

/// Where a managed socket is bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Address {
    /// An internet address.
    Inet {
        /// The address in numbers.
        host: String,
        /// The port.
        port: u16,
    },
    /// A file.
    Unix {
        /// Its path.
        path: String,
    },
}

/// A managed socket that cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketError {
    /// The name of its section.
    pub name: String,
    /// Where it was to be bound.
    pub address: String,
    /// The kernel's error number; 0 where the failure is not the kernel's.
    pub errno: i32,
    /// What is wrong, and what to do about it.
    pub reason: String,
}

impl std::fmt::Display for SocketError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "socket '{}' cannot be opened at {}: {}", self.name, self.address, self.reason)
    }
}

impl std::error::Error for SocketError {}

impl AsFd for ManagedSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A managed socket without its descriptor, as plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSocket {
    config: SocketConfig,
    address: Address,
    file: Option<SavedSocketFile>,
}

impl SavedSocket {
    pub(super) fn new(config: SocketConfig, address: Address, file: Option<SavedSocketFile>) -> Self {
        Self { config, address, file }
    }
}

impl ManagedSocket {
    /// For another process, which gets the descriptor.
    pub fn save(&self) -> SavedSocket {
        let file = self.file.as_ref().map(SocketFile::save);
        SavedSocket { config: self.config.clone(), address: self.address.clone(), file }
    }

    /// Goes on with the socket of another process. The file is this one's to remove from now on.
    pub fn restore(saved: SavedSocket, fd: OwnedFd) -> Self {
        let SavedSocket { config, address, file } = saved;
        Self {
            name: config.name.clone(),
            number: fd.as_raw_fd(),
            per_worker: config.so_reuseport,
            backlog: config.backlog,
            address,
            config,
            fd,
            file: file.map(SocketFile::restore),
        }
    }

    /// Takes over what can be changed while it is open: the name, the backlog, whether it blocks, the mode of its file.
    /// Connections in its queue stay there.
    pub fn adjust(&mut self, config: &SocketConfig) -> Result<(), SocketError> {
        self.adjust_described(config).map_err(|reason| describe(config, reason))?;
        self.name.clone_from(&config.name);
        self.backlog = config.backlog;
        self.config = config.clone();
        Ok(())
    }

    /// Sets what can be set while it is open as its configuration says, whatever it was.
    pub(super) fn bring_in_line(&mut self) -> Result<(), String> {
        let socket = SockRef::from(&self.fd);
        let set = || {
            listen(&socket, &self.config)?;
            socket.set_nonblocking(!self.config.blocking).map_err(os("set whether it blocks"))?;
            let mode = 0o777 & !self.config.umask;
            self.file.as_ref().map_or(Ok(()), |file| file.change_mode(mode).map_err(os("change the mode of its file")))
        };
        set().map_err(|(_, reason)| reason)
    }

    fn adjust_described(&self, config: &SocketConfig) -> Result<(), Reason> {
        let socket = SockRef::from(&self.fd);
        if self.config.backlog != config.backlog && !self.per_worker {
            listen(&socket, config)?;
        }
        if self.config.blocking != config.blocking {
            socket.set_nonblocking(!config.blocking).map_err(os("set whether it blocks"))?;
        }
        match &self.file {
            Some(file) if self.config.umask != config.umask => {
                file.change_mode(0o777 & !config.umask).map_err(os("change the mode of its file"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Opens these, in order of name; all or none.
pub fn open_all(configs: &[SocketConfig]) -> Result<Vec<ManagedSocket>, SocketError> {
    let mut sorted: Vec<&SocketConfig> = configs.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    sorted.into_iter().map(open).collect()
}

/// Opens these but for those that are open already; all or none.
pub fn open_rest(
    configs: &[SocketConfig],
    mut open_already: Vec<ManagedSocket>,
) -> Result<Vec<ManagedSocket>, SocketError> {
    let missing = |config: &&SocketConfig| !open_already.iter().any(|socket| socket.name == config.name);
    let missing: Vec<SocketConfig> = configs.iter().filter(missing).cloned().collect();
    open_already.extend(open_all(&missing)?);
    open_already.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(open_already)
}

/// Opens one.
pub fn open(config: &SocketConfig) -> Result<ManagedSocket, SocketError> {
    open_described(config).map_err(|reason| describe(config, reason))
}

fn describe(config: &SocketConfig, (errno, reason): Reason) -> SocketError {
    SocketError { name: config.name.clone(), address: shown(config), errno, reason }
}

/// The error number, and the reason in words.
type Reason = (i32, String);

fn open_described(config: &SocketConfig) -> Result<ManagedSocket, Reason> {
    let kind = kind(config.kind);
    let (fd, address, file) = match (config.family, &config.path) {
        (Family::Unix, None) => return Err((0, "a unix socket needs a path".into())),
        (Family::Unix, Some(path)) => {
            let socket = Socket::new(Domain::UNIX, kind, protocol(config)?).map_err(os("create it"))?;
            let file = bind_file(&socket, config, path)?;
            (socket, Address::Unix { path: path.clone() }, Some(file))
        }
        (Family::Inet | Family::Inet6, _) => {
            let (socket, address) = bind_inet(config, kind)?;
            (socket, address, None)
        }
    };
    if !config.so_reuseport {
        listen(&fd, config)?;
    }
    fd.set_nonblocking(!config.blocking).map_err(os("set whether it blocks"))?;
    let (name, backlog) = (config.name.clone(), config.backlog);
    Ok(ManagedSocket {
        name,
        number: fd.as_raw_fd(),
        per_worker: config.so_reuseport,
        backlog,
        address,
        config: config.clone(),
        fd: fd.into(),
        file,
    })
}

/// A socket of one worker's own, beside `kept`, which has the address: the kernel shares the connections out among all
/// that listen there.
pub fn open_own(kept: &ManagedSocket) -> Result<OwnedFd, SocketError> {
    let mut config = kept.config.clone();
    if let Address::Inet { host, port } = &kept.address {
        // No name is looked up again, and every worker gets the port that the kernel chose for the first.
        (config.host, config.port) = (host.clone(), *port);
    }
    let open = || {
        let (socket, wanted) = inet_socket(&config, kind(config.kind))?;
        socket.bind(&SockAddr::from(wanted)).map_err(|error| not_bound(&error, wanted))?;
        listen(&socket, &config)?;
        socket.set_nonblocking(!config.blocking).map_err(os("set whether it blocks"))?;
        Ok(socket.into())
    };
    open().map_err(|reason| describe(&config, reason))
}

/// Whether sockets of this type are connected to, rather than sent to.
fn takes_connections(kind: SocketType) -> bool {
    match kind {
        SocketType::Stream | SocketType::SeqPacket => true,
        SocketType::Datagram | SocketType::Raw | SocketType::Rdm => false,
    }
}

fn listen(socket: &Socket, config: &SocketConfig) -> Result<(), Reason> {
    if takes_connections(config.kind) { socket.listen(config.backlog).map_err(os("listen")) } else { Ok(()) }
}

fn bind_file(socket: &Socket, config: &SocketConfig, path: &str) -> Result<SocketFile, Reason> {
    socket.set_reuse_address(true).map_err(os("set SO_REUSEADDR"))?;
    // A circusd that was killed has left its file. `replace` makes no difference: what is alive, or is not a socket, is not
    // ours to remove.
    ipc::remove_stale(Path::new(path), kind(config.kind))?;
    SocketFile::bind(socket, Path::new(path), 0o777 & !config.umask, None).map_err(|error| {
        let directory = Path::new(path).parent().unwrap_or(Path::new("/")).display().to_string();
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT) => (libc::ENOENT, format!("the directory '{directory}' does not exist; create it")),
            Some(Errno::EACCES) => (libc::EACCES, format!("circusd may not write to the directory '{directory}'")),
            Some(_) => os("bind it")(error),
            None => (0, format!("{error} (a socket's path has at most 107 bytes)")),
        }
    })
}

fn bind_inet(config: &SocketConfig, kind: Type) -> Result<(Socket, Address), Reason> {
    let (socket, wanted) = inet_socket(config, kind)?;
    // One that only keeps the address for others must not be sent what they should get.
    let mut bound = wanted;
    if !config.so_reuseport || takes_connections(config.kind) {
        socket.bind(&SockAddr::from(wanted)).map_err(|error| not_bound(&error, wanted))?;
        bound = socket.local_addr().ok().and_then(|address| address.as_socket()).unwrap_or(wanted);
    }
    Ok((socket, Address::Inet { host: bound.ip().to_string(), port: bound.port() }))
}

/// A socket with its options, and the address that it is to have.
fn inet_socket(config: &SocketConfig, kind: Type) -> Result<(Socket, SocketAddr), Reason> {
    let wanted = resolve(config)?;
    let socket = Socket::new(Domain::for_address(wanted), kind, protocol(config)?).map_err(os("create it"))?;
    socket.set_reuse_address(true).map_err(os("set SO_REUSEADDR"))?;
    if config.so_reuseport {
        socket.set_reuse_port(true).map_err(os("set SO_REUSEPORT"))?;
    }
    if let Some(interface) = &config.interface {
        let failed = |error: std::io::Error| match error.raw_os_error() {
            Some(libc::ENODEV) => (libc::ENODEV, format!("there is no network interface '{interface}'")),
            _ => os("bind it to its interface")(error),
        };
        socket.bind_device(Some(interface.as_bytes())).map_err(failed)?;
    }
    Ok((socket, wanted))
}

/// What is wrong with an internet address, and what to do.
pub(super) fn not_bound(error: &std::io::Error, address: SocketAddr) -> Reason {
    let errno = error.raw_os_error().unwrap_or(0);
    let words = strerror(error);
    let reason = match Errno::from_raw(errno) {
        Errno::EADDRINUSE => match port_owner::of_port(address.port()) {
            Some(holder) => format!("{words}: {holder} uses it; stop that process or use another port"),
            None => format!("{words} by another program; find it with `ss -lptn` or use another port"),
        },
        Errno::EACCES if address.port() < 1024 => {
            format!("{words}: ports below 1024 need root or CAP_NET_BIND_SERVICE")
        }
        Errno::EADDRNOTAVAIL => format!("{words}: this machine has no address {}", address.ip()),
        _ => words,
    };
    (errno, reason)
}

/// The first address of the host that is of the family.
pub(super) fn resolve(config: &SocketConfig) -> Result<SocketAddr, Reason> {
    let addresses: Vec<SocketAddr> = (config.host.as_str(), config.port)
        .to_socket_addrs()
        .map_err(|error| (0, format!("the host '{}' cannot be resolved: {error}", config.host)))?
        .collect();
    let (v6, name) = (config.family == Family::Inet6, family_name(config.family));
    let found = addresses.into_iter().find(|address| address.is_ipv6() == v6);
    found.ok_or_else(|| (0, format!("the host '{}' has no address of the family {name}", config.host)))
}

fn family_name(family: Family) -> &'static str {
    match family {
        Family::Inet => "AF_INET",
        Family::Inet6 => "AF_INET6",
        Family::Unix => "AF_UNIX",
    }
}

pub(super) fn kind(kind: SocketType) -> Type {
    match kind {
        SocketType::Stream => Type::STREAM,
        SocketType::Datagram => Type::DGRAM,
        SocketType::Raw => Type::RAW,
        SocketType::Rdm => Type::from(libc::SOCK_RDM),
        SocketType::SeqPacket => Type::SEQPACKET,
    }
}

/// Protocols by name: the usual ones without a file, since a container often has no /etc/protocols.
fn protocol(config: &SocketConfig) -> Result<Option<Protocol>, Reason> {
    let Some(name) = &config.proto else { return Ok(None) };
    let known = [("ip", 0), ("icmp", 1), ("tcp", 6), ("udp", 17), ("ipv6-icmp", 58), ("sctp", 132), ("udplite", 136)];
    let known = known.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, number)| *number);
    let text = || std::fs::read_to_string("/etc/protocols").unwrap_or_default();
    match known.or_else(|| protocol_in(&text(), name)) {
        Some(number) => Ok(Some(Protocol::from(number))),
        None => Err((0, format!("/etc/protocols knows no protocol '{name}'"))),
    }
}

/// `tcp 6 TCP # transmission control protocol`: the name, the number, other names.
fn protocol_in(text: &str, name: &str) -> Option<i32> {
    text.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let (official, number) = (words.next()?, words.next()?);
        (official == name || words.any(|other| other == name)).then(|| number.parse().ok())?
    })
}

fn shown(config: &SocketConfig) -> String {
    match (config.family, &config.path) {
        (Family::Unix, path) => path.clone().unwrap_or_else(|| "no path".into()),
        (Family::Inet | Family::Inet6, _) => format!("{}:{}", config.host, config.port),
    }
}

fn os(doing: &'static str) -> impl Fn(std::io::Error) -> Reason {
    move |error| (error.raw_os_error().unwrap_or(0), format!("failed to {doing}: {}", strerror(&error)))
}

/// The kernel's words without Rust's "(os error N)".
pub(super) fn strerror(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => Errno::from_raw(errno).desc().to_owned(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
