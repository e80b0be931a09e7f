//! The managed sockets as one worker gets them.

use std::os::fd::{AsFd as _, BorrowedFd, RawFd};

use super::keys;
use super::worker_sockets::{SetId, WorkerSockets};
use crate::config::WatcherConfig;
use crate::proto::{SpawnError, Stage};
use crate::sys;

/// The shared sockets, and those that the worker has for itself.
pub(super) struct PassedSockets<'a> {
    pub(super) shared: &'a [sys::ManagedSocket],
    pub(super) own: &'a WorkerSockets,
    pub(super) set: Option<SetId>,
}

impl PassedSockets<'_> {
    pub(super) fn stdin(&self, config: &WatcherConfig) -> Result<sys::Stdio<'_>, SpawnError> {
        match &config.stdin_socket {
            Some(name) => Ok(sys::Stdio::Fd(self.socket(name)?.1)),
            None if config.close_child_stdin => Ok(sys::Stdio::Null),
            None => Ok(sys::Stdio::Inherit),
        }
    }

    /// `stored`: what a predecessor has kept. `keys`: the file with the keys of a program of our own, of which `env`
    /// tells it. With use_sockets the numbers are circusd's own, and none is free for it.
    pub(super) fn passed<'fd>(
        &'fd self,
        config: &WatcherConfig,
        stored: Vec<(String, BorrowedFd<'fd>)>,
        keys: Option<(RawFd, BorrowedFd<'fd>)>,
        env: &mut Vec<(String, String)>,
    ) -> Result<sys::SocketPassing<'fd>, SpawnError> {
        if !config.sockets.is_empty() {
            let named = config.sockets.iter().map(|name| Ok((name.clone(), self.socket(name)?.1)));
            let mut named: Vec<_> = named.collect::<Result<_, SpawnError>>()?;
            named.extend(stored);
            if let Some((_, file)) = keys {
                // The first of them is descriptor 3.
                keys::tell(3 + named.len() as RawFd, env);
                named.push(("keys".to_owned(), file));
            }
            return Ok(sys::SocketPassing::Listen(named));
        }
        if config.use_sockets {
            let all = self.shared.iter().map(|socket| self.socket(&socket.name));
            let mut all: Vec<_> = all.collect::<Result<_, _>>()?;
            if let Some(file) = keys {
                keys::tell(file.0, env);
                all.push(file);
            }
            return Ok(sys::SocketPassing::SameNumbers(all));
        }
        if let Some(file) = keys {
            keys::tell(file.0, env);
            return Ok(sys::SocketPassing::SameNumbers(vec![file]));
        }
        Ok(if stored.is_empty() { sys::SocketPassing::None } else { sys::SocketPassing::Listen(stored) })
    }

    /// A managed socket as this worker gets it: its number, which is the one of the shared socket also where the worker
    /// has its own, and the descriptor.
    fn socket(&self, name: &str) -> Result<(RawFd, BorrowedFd<'_>), SpawnError> {
        let wanted = name.to_lowercase();
        let Some(shared) = self.shared.iter().find(|socket| socket.name == wanted) else {
            return Err(no_socket(0, format!("there is no [socket:{name}]")));
        };
        Ok((shared.number, self.own.get(self.set, &wanted).map_or_else(|| shared.as_fd(), |own| own.as_fd())))
    }
}

fn no_socket(errno: i32, detail: String) -> SpawnError {
    SpawnError { stage: Stage::Socket, errno, detail }
}
