//! The managed sockets in the store of a service manager (systemd's `FileDescriptorStoreMax=`): the circusd that it starts
//! after a crash gets them back, and no client is refused meanwhile.
//!
//! Sockets of single workers (`so_reuseport`) are not kept: which worker has which is known only here.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};

use circus_core::base::CollectOrdered as _;
use nix::sys::stat::fstat;

use crate::config::SocketConfig;
use crate::sys::{self, ManagedSocket};

/// What the manager keeps, as far as it does: it does not answer.
#[derive(Debug, Default)]
pub(super) struct FdStore {
    /// The manager's socket.
    manager: Option<String>,
    /// The sockets by the names that they are kept under, each by its inode.
    kept: BTreeMap<String, u64>,
}

/// The managed sockets that the manager has passed, and the names of what it need not keep any longer.
pub(super) fn take_back(passed: Vec<(String, OwnedFd)>, configs: &[SocketConfig]) -> (Vec<ManagedSocket>, Vec<String>) {
    let (mut sockets, mut stale) = (Vec::<ManagedSocket>::new(), Vec::new());
    for (name, fd) in passed {
        let config = configs.iter().find(|config| sys::stored_name(&config.name).as_deref() == Some(name.as_str()));
        let is_new = |config: &&SocketConfig| !sockets.iter().any(|socket| socket.name == config.name);
        match config.filter(is_new).and_then(|config| sys::from_store(config, fd)) {
            Some(socket) => sockets.push(socket),
            // circusd does not remove a descriptor that a unit passes for another purpose.
            None if sys::is_stored_name(&name) => stale.push(name),
            None => {}
        }
    }
    (sockets, stale)
}

impl FdStore {
    /// The store of the manager that has started circusd, if one has.
    pub(super) fn of_manager() -> Self {
        Self { manager: sys::notify_socket(), kept: BTreeMap::new() }
    }

    /// Has the manager keep these sockets, and no others.
    pub(super) fn follow(&mut self, sockets: &[ManagedSocket]) {
        let Some(manager) = &self.manager else { return };
        let shared = sockets.iter().filter(|socket| !socket.per_worker);
        let named = shared.filter_map(|socket| {
            let inode = fstat(socket.as_fd()).ok()?.st_ino;
            Some((sys::stored_name(&socket.name)?, (inode, socket)))
        });
        let wanted: BTreeMap<String, (u64, &ManagedSocket)> = named.collect_map();
        // A manager that is gone, or does not read, keeps nothing: that is how it is without one.
        self.kept.retain(|name, inode| {
            let stays = wanted.get(name).is_some_and(|(wanted, _)| wanted == inode);
            if !stays {
                let _unheard = sys::forget_stored(manager, name);
            }
            stays
        });
        for (name, (inode, socket)) in wanted {
            if self.kept.insert(name.clone(), inode).is_none() {
                let _unheard = sys::store(manager, &name, socket);
            }
        }
    }

    /// Has the manager keep no longer what has these names.
    pub(super) fn forget(&self, names: &[String]) {
        let Some(manager) = &self.manager else { return };
        names.iter().for_each(|name| drop(sys::forget_stored(manager, name)));
    }
}
