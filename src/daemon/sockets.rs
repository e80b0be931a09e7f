//! The managed sockets while the daemon lives: told of, exchanged, moved from one life into the next.

use nix::errno::Errno;

use super::registry::Holding;
use super::turn::Daemon;
use crate::arbiter::{Event, Level, SocketAddress, SocketInfo};
use crate::config::{SocketConfig, same_place};
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
            address: match &socket.address {
                sys::Address::Inet { host, port } => SocketAddress::Inet(host.clone(), *port),
                sys::Address::Unix { path } => SocketAddress::Unix(path.clone()),
            },
        };
        self.launcher.sockets.iter().map(info).collect()
    }

    /// Makes the sockets be these while workers use them: what is new is opened before anything is closed, and if one
    /// cannot be opened, nothing is changed. A socket whose address is still wanted stays open, even under another name.
    pub(super) fn exchange_sockets(&mut self, configs: &[SocketConfig]) -> Result<(), String> {
        let sockets = &mut self.launcher.sockets;
        let mut staying: Vec<Option<&SocketConfig>> = vec![None; sockets.len()];
        let mut missing = Vec::new();
        let (mut named, others): (Vec<_>, Vec<_>) =
            configs.iter().partition(|config| sockets.iter().any(|socket| socket.name == config.name));
        named.extend(others);
        for config in named {
            let fits = |socket: &sys::ManagedSocket| same_place(&socket.config, config);
            let free = |place: &usize| staying.get(*place).is_some_and(Option::is_none);
            let mut fitting: Vec<usize> =
                (0..).zip(&*sockets).filter(|(_, s)| fits(s)).map(|(place, _)| place).collect();
            fitting.retain(free);
            fitting.sort_by_key(|place| sockets.get(*place).is_some_and(|socket| socket.name != config.name));
            match fitting.first().and_then(|place| staying.get_mut(*place)) {
                Some(place) => *place = Some(config),
                None => missing.push(config),
            }
        }
        let leaving = sockets.iter().zip(&staying).filter(|(_, stays)| stays.is_none()).map(|(socket, _)| socket);
        let leaving: Vec<&sys::ManagedSocket> = leaving.collect();
        let opened =
            missing.into_iter().map(|config| sys::open(config).map_err(|error| explained(&error, config, &leaving)));
        let opened: Vec<sys::ManagedSocket> = opened.collect::<Result<_, _>>()?;
        for (socket, config) in sockets.iter_mut().zip(&staying) {
            if let Some(config) = config {
                socket.adjust(config).map_err(|error| error.to_string())?;
            }
        }
        let mut stays = staying.iter().map(Option::is_some);
        sockets.retain(|_| stays.next().unwrap_or(false));
        sockets.extend(opened);
        self.settle_sockets();
        Ok(())
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
                Err(error) => self.say(Level::Error, &error.to_string()),
            }
        }
        self.settle_sockets();
    }

    fn settle_sockets(&mut self) {
        self.launcher.sockets.sort_by(|a, b| a.name.cmp(&b.name));
        self.registry.release_sockets();
        for socket in &self.launcher.sockets {
            self.registry.hold(Holding::Socket(socket.name.clone()), socket);
        }
    }
}

/// Why a socket cannot be opened. What is in the way may be the one that it is to replace.
fn explained(error: &sys::SocketError, config: &SocketConfig, leaving: &[&sys::ManagedSocket]) -> String {
    let same_port = |socket: &&&sys::ManagedSocket| match &socket.address {
        sys::Address::Inet { port, .. } => *port == config.port,
        sys::Address::Unix { path } => Some(path) == config.path.as_ref(),
    };
    match leaving.iter().find(same_port).filter(|_| error.errno == Errno::EADDRINUSE as i32) {
        Some(other) => format!(
            "socket '{}' cannot be opened at {} while socket '{}', which it is to replace, is in use: restart circusd \
             to change it (circusctl restart)",
            error.name, error.address, other.name
        ),
        None => error.to_string(),
    }
}
