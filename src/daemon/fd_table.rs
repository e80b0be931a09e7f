//! The descriptors that this daemon could hand over to another generation of itself, by what they are. They are owned
//! here.
//!
//! Not here: the pipes of workers' output, which belong to the output thread; those of hooks and of the commands of
//! streams, whose processes end with this daemon's life.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use crate::arbiter::Pid;
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
    /// The status pipe of a process that is changing its user, by pid.
    Launch(Pid),
}

/// What the daemon holds.
#[derive(Debug)]
pub(super) struct FdTable {
    /// The managed sockets, by name.
    pub(super) sockets: Vec<sys::ManagedSocket>,
    pub(super) control: sys::BoundEndpoint,
    pub(super) events: sys::BoundEndpoint,
    launches: BTreeMap<Pid, OwnedFd>,
}

impl FdTable {
    pub(super) fn new(
        sockets: Vec<sys::ManagedSocket>,
        control: sys::BoundEndpoint,
        events: sys::BoundEndpoint,
    ) -> Self {
        Self { sockets, control, events, launches: BTreeMap::new() }
    }

    pub(super) fn add_launch(&mut self, pid: Pid, status: OwnedFd) {
        self.launches.insert(pid, status);
    }

    pub(super) fn launch(&self, pid: Pid) -> Option<&OwnedFd> {
        self.launches.get(&pid)
    }

    pub(super) fn take_launch(&mut self, pid: Pid) -> Option<OwnedFd> {
        self.launches.remove(&pid)
    }

    /// Everything, with what it is.
    pub(super) fn roles(&self) -> impl Iterator<Item = (FdRole, BorrowedFd<'_>)> {
        let sockets = self.sockets.iter().map(|socket| (FdRole::Socket(socket.name.clone()), socket.as_fd()));
        let endpoints = [(FdRole::Control, self.control.fd.as_fd()), (FdRole::Events, self.events.fd.as_fd())];
        let launches = self.launches.iter().map(|(pid, status)| (FdRole::Launch(*pid), status.as_fd()));
        sockets.chain(endpoints).chain(launches)
    }

    /// For the debug log: what is held where.
    pub(super) fn describe(&self) -> String {
        self.roles().map(|(role, fd)| format!("{}: {role:?}", fd.as_raw_fd())).collect::<Vec<_>>().join(", ")
    }
}
