//! The descriptors that this daemon hands over in an upgrade, by role. This table owns them.
//!
//! Not here: the pipes of workers' output, which belong to the output thread; those of processes that start; those of
//! hooks and of the commands of streams, whose processes end with this daemon's life.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use super::fd_store::FdStore;
use crate::sys;

/// What a descriptor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FdRole {
    /// A managed socket, by name.
    Socket(String),
    /// The listening socket of the control endpoint.
    Control,
    /// The listening socket of the event endpoint.
    Events,
}

/// What the daemon holds.
#[derive(Debug)]
pub(super) struct FdTable {
    /// The managed sockets, by name.
    pub(super) sockets: Vec<sys::ManagedSocket>,
    pub(super) control: sys::BoundEndpoint,
    pub(super) events: sys::BoundEndpoint,
    /// What a service manager keeps of it.
    pub(super) store: FdStore,
}

impl FdTable {
    pub(super) fn new(
        sockets: Vec<sys::ManagedSocket>,
        control: sys::BoundEndpoint,
        events: sys::BoundEndpoint,
    ) -> Self {
        let mut store = FdStore::of_manager();
        store.follow(&sockets);
        Self { sockets, control, events, store }
    }

    /// Everything, with what it is.
    pub(super) fn roles(&self) -> impl Iterator<Item = (FdRole, BorrowedFd<'_>)> {
        let sockets = self.sockets.iter().map(|socket| (FdRole::Socket(socket.name.clone()), socket.as_fd()));
        let endpoints = [(FdRole::Control, self.control.fd.as_fd()), (FdRole::Events, self.events.fd.as_fd())];
        sockets.chain(endpoints)
    }

    /// For the debug log: what is held where.
    pub(super) fn describe(&self) -> String {
        self.roles().map(|(role, fd)| format!("{}: {role:?}", fd.as_raw_fd())).collect::<Vec<_>>().join(", ")
    }
}
