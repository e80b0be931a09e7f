//! The descriptors that this daemon could hand over to another generation of itself, by what they are.
//!
//! The pipes of workers' output belong to the output thread, which knows them itself.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd as _, RawFd};

/// What a descriptor is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FdRole {
    /// A managed socket, by name.
    Socket(String),
    /// The listening socket of the control endpoint.
    Control,
    /// The listening socket of the event endpoint.
    Events,
    /// The status pipe of a process that is changing its user, by pid.
    Launch(i32),
}

/// What the daemon holds. It owns nothing: whoever closes a descriptor takes it out.
#[derive(Debug, Default)]
pub(super) struct FdTable(BTreeMap<FdRole, RawFd>);

impl FdTable {
    pub(super) fn insert(&mut self, what: FdRole, fd: impl AsFd) {
        self.0.insert(what, fd.as_fd().as_raw_fd());
    }

    pub(super) fn remove(&mut self, what: &FdRole) {
        self.0.remove(what);
    }

    pub(super) fn release_sockets(&mut self) {
        self.0.retain(|what, _| !matches!(what, FdRole::Socket(_)));
    }

    /// For the debug log: what is held where.
    pub(super) fn describe(&self) -> String {
        self.0.iter().map(|(what, fd)| format!("{fd}: {what:?}")).collect::<Vec<_>>().join(", ")
    }
}
