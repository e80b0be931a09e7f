//! The managed sockets as one worker gets them.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd, RawFd};

use crate::config::{WatcherConfig, named_sockets};
use crate::proto::{SpawnError, Stage};
use crate::sys;

/// The shared sockets, and those that the worker has for itself.
pub(super) struct PassedSockets<'a> {
    shared: &'a [sys::ManagedSocket],
    own: BTreeMap<String, OwnedFd>,
}

impl<'a> PassedSockets<'a> {
    /// Opens fresh sockets for a worker: of those with so_reuseport that its watcher names and it will get. Our copies
    /// are closed with this, when the worker has been started.
    pub(super) fn open(shared: &'a [sys::ManagedSocket], config: &WatcherConfig) -> Result<Self, SpawnError> {
        let mut own = BTreeMap::new();
        if shared.iter().all(|socket| !socket.per_worker) {
            return Ok(Self { shared, own });
        }
        let named = named_sockets(config);
        let by_number = config.use_sockets && config.sockets.is_empty();
        let gets =
            |name: &String| by_number || config.sockets.contains(name) || config.stdin_socket.as_ref() == Some(name);
        for socket in shared.iter().filter(|socket| socket.per_worker) {
            if named.contains(&socket.name) && gets(&socket.name) {
                let fresh = sys::open_own(socket).map_err(|error| no_socket(error.errno, error.to_string()))?;
                own.insert(socket.name.clone(), fresh);
            }
        }
        Ok(Self { shared, own })
    }

    pub(super) fn stdin(&self, config: &WatcherConfig) -> Result<sys::Stdio<'_>, SpawnError> {
        match &config.stdin_socket {
            Some(name) => Ok(sys::Stdio::Fd(self.socket(name)?.1)),
            None if config.close_child_stdin => Ok(sys::Stdio::Null),
            None => Ok(sys::Stdio::Inherit),
        }
    }

    pub(super) fn passed(&self, config: &WatcherConfig) -> Result<sys::Pass<'_>, SpawnError> {
        if !config.sockets.is_empty() {
            let named = config.sockets.iter().map(|name| Ok((name.clone(), self.socket(name)?.1)));
            return Ok(sys::Pass::Listen(named.collect::<Result<_, _>>()?));
        }
        if config.use_sockets {
            let all = self.shared.iter().map(|socket| self.socket(&socket.name));
            return Ok(sys::Pass::SameNumbers(all.collect::<Result<_, _>>()?));
        }
        Ok(sys::Pass::None)
    }

    /// A managed socket as this worker gets it: its number, which is the one of the shared socket also where the worker
    /// has its own, and the descriptor.
    fn socket(&self, name: &str) -> Result<(RawFd, BorrowedFd<'_>), SpawnError> {
        let wanted = name.to_lowercase();
        let Some(shared) = self.shared.iter().find(|socket| socket.name == wanted) else {
            return Err(no_socket(0, format!("there is no [socket:{name}]")));
        };
        Ok((shared.number, self.own.get(&wanted).map_or_else(|| shared.as_fd(), |own| own.as_fd())))
    }
}

fn no_socket(errno: i32, detail: String) -> SpawnError {
    SpawnError { stage: Stage::Socket, errno, detail }
}
