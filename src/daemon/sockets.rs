//! The managed sockets while the daemon runs: reported, replaced, and kept across a restart.

use super::fd_table::FdTable;
use crate::arbiter::{SocketAddress, SocketInfo};
use crate::config::SocketConfig;
use crate::sys;

impl FdTable {
    /// The managed sockets as the arbiter knows them.
    pub(super) fn socket_infos(&self) -> Vec<SocketInfo> {
        let info = |socket: &sys::ManagedSocket| SocketInfo {
            name: socket.name.clone(),
            number: socket.number,
            backlog: socket.backlog,
            per_worker: socket.per_worker,
            address: match &socket.address {
                sys::Address::Inet { host, port } => SocketAddress::Inet(host.clone(), *port),
                sys::Address::Unix { path } => SocketAddress::Unix(path.clone()),
            },
        };
        self.sockets.iter().map(info).collect()
    }

    /// Makes the sockets be these, all or nothing, while workers use them.
    pub(super) fn exchange_sockets(&mut self, configs: &[SocketConfig]) -> Result<(), String> {
        sys::swap_sockets(&mut self.sockets, configs)?;
        self.store.follow(&self.sockets);
        Ok(())
    }

    /// For a new life, when no worker is left: sockets that are the same stay open, so that no client that connects
    /// meanwhile is refused; the others are closed before new ones are opened. Returns why some could not be.
    pub(super) fn replace_sockets(&mut self, configs: &[SocketConfig]) -> Vec<String> {
        self.sockets.retain(|socket| configs.contains(&socket.config));
        let mut failed = Vec::new();
        for config in configs {
            if self.sockets.iter().any(|socket| socket.config == *config) {
                continue;
            }
            match sys::open(config) {
                Ok(socket) => self.sockets.push(socket),
                Err(error) => failed.push(error.to_string()),
            }
        }
        self.sockets.sort_by(|a, b| a.name.cmp(&b.name));
        self.store.follow(&self.sockets);
        failed
    }
}
