//! Managed sockets that the loop polls for watchers that wait for a connection. circusd accepts no connection itself.
//!
//! Readiness is edge-triggered, which is enough: the first event ends the polling, and a socket that is polled again is
//! ready at once if connections wait already.

use std::os::fd::{AsFd as _, OwnedFd};

use super::fd_table::FdTable;
use super::sources::{Source, Sources};
use crate::config::SocketType;
use crate::sys;

impl FdTable {
    /// Watches a socket, or no longer. A socket that is to be closed must not be watched: its workers keep it open, and
    /// the kernel would go on reporting it.
    pub(super) fn watch_socket(&self, sources: &mut Sources, name: &str, on: bool) -> Result<(), String> {
        let Some(socket) = self.sockets.iter().find(|socket| socket.name == name) else { return Ok(()) };
        let fd = socket.number;
        let source = Source::Socket(fd);
        let done = if on { sources.add_fd(source, fd) } else { sources.remove_fd(source, fd) };
        done.map_err(|error| format!("socket '{name}' cannot be watched for connections: {error}"))
    }

    /// How many connections to these sockets are open.
    pub(super) fn connections(&self, names: &[String]) -> Result<usize, String> {
        let own: Vec<_> = self.sockets.iter().filter(|socket| names.contains(&socket.name)).collect();
        if let Some(datagrams) = own.iter().find(|socket| socket.config.kind != SocketType::Stream) {
            return Err(format!("socket '{}' takes datagrams, which are no connections", datagrams.name));
        }
        sys::open_connections(own.iter().map(|socket| &socket.address)).map_err(|error| error.to_string())
    }

    /// How many connections wait to be accepted at these sockets, and at those of the same names among `own`, which
    /// workers have each for itself.
    pub(super) fn waiting<'a>(
        &self,
        names: &[String],
        own: impl Iterator<Item = (&'a str, &'a OwnedFd)>,
    ) -> Result<usize, String> {
        let shared = self.sockets.iter().filter(|socket| names.contains(&socket.name) && !socket.per_worker);
        let shared = shared.map(|socket| (socket.as_fd(), &socket.address));
        let of_workers = own.filter_map(|(name, fd)| {
            let socket = self.sockets.iter().find(|socket| socket.name == name)?;
            names.iter().any(|one| one == name).then(|| (fd.as_fd(), &socket.address))
        });
        sys::waiting_connections(shared.chain(of_workers)).map_err(|error| error.to_string())
    }

    /// The watched sockets among these that a client has connected to.
    pub(super) fn acceptable(&self, ready: &[Source]) -> Vec<String> {
        let fds = ready.iter().filter_map(|source| if let Source::Socket(fd) = source { Some(*fd) } else { None });
        let named = fds.filter_map(|fd| self.sockets.iter().find(|socket| socket.number == fd));
        named.map(|socket| socket.name.clone()).collect()
    }
}
