//! The managed sockets while the daemon lives: told of, exchanged, moved from one life into the next.

use super::event_loop::Daemon;
use super::fd_table::FdRole;
use crate::arbiter::{Event, Level, SocketAddress, SocketInfo};
use crate::config::SocketConfig;
use crate::sys;

impl Daemon {
    /// Tells the arbiter about the managed sockets.
    pub(super) fn report_sockets(&mut self) {
        let sockets = self.socket_infos();
        self.feed(Event::SocketsOpened(sockets));
    }

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
        self.launcher.sockets.iter().map(info).collect()
    }

    /// Makes the sockets be these, all or nothing, while workers use them.
    pub(super) fn exchange_sockets(&mut self, configs: &[SocketConfig]) -> Result<(), String> {
        let exchanged = sys::exchange(&mut self.launcher.sockets, configs);
        self.register_sockets();
        exchanged
    }

    /// For a new life, when no worker is left: sockets that are the same stay open, so that nobody who connects
    /// meanwhile is refused; the others are closed before new ones are opened, and one that cannot be is told of.
    pub(super) fn replace_sockets(&mut self, configs: &[SocketConfig]) {
        self.launcher.sockets.retain(|socket| configs.contains(&socket.config));
        for config in configs {
            if self.launcher.sockets.iter().any(|socket| socket.config == *config) {
                continue;
            }
            match sys::open(config) {
                Ok(socket) => self.launcher.sockets.push(socket),
                Err(error) => self.log_line(Level::Error, &error.to_string()),
            }
        }
        self.launcher.sockets.sort_by(|a, b| a.name.cmp(&b.name));
        self.register_sockets();
    }

    fn register_sockets(&mut self) {
        self.fds.release_sockets();
        for socket in &self.launcher.sockets {
            self.fds.insert(FdRole::Socket(socket.name.clone()), socket);
        }
    }
}
