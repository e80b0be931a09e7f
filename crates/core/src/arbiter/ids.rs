//! Identifiers that are never reused, so that a late event cannot reach a newer worker.

use serde::{Deserialize, Serialize};

/// A watcher of this daemon's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WatcherKey(pub u32);

/// A worker of this daemon's life; later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId {
    /// Its watcher.
    pub watcher: WatcherKey,
    /// Its number in order of start.
    pub serial: u64,
}

/// The number that a worker sees as `$(circus.wid)`: 1, 2, ... within its watcher, the lowest that is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Wid(pub u32);

/// Something a client asked for that is not done yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub u64);

/// A hook of this daemon's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HookId {
    /// Its watcher.
    pub watcher: WatcherKey,
    /// Its number in order of running.
    pub serial: u64,
}

/// An attempt to see whether a worker is ready, or still at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProbeId {
    /// Which worker it is about.
    pub worker: WorkerId,
    /// Its number among the attempts of this worker.
    pub serial: u64,
}

impl ProbeId {
    /// Set in the numbers of those that ask whether the worker may go.
    pub(in crate::arbiter) const OF_DRAIN: u64 = 1 << 63;
    /// What stands for a worker where it is about the watcher as a whole.
    const WHOLE: u64 = u64::MAX;

    /// One that is about the watcher as a whole.
    pub(in crate::arbiter) fn of_watcher(watcher: WatcherKey, serial: u64) -> Self {
        Self { worker: WorkerId { watcher, serial: Self::WHOLE }, serial }
    }

    pub(in crate::arbiter) fn is_of_watcher(self) -> bool {
        self.worker.serial == Self::WHOLE
    }

    pub(in crate::arbiter) fn is_of_drain(self) -> bool {
        !self.is_of_watcher() && self.serial & Self::OF_DRAIN != 0
    }
}

/// A command that a stream is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SinkCommandId(pub u64);

/// Watchers that are being started one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(in crate::arbiter) struct WalkId(pub u64);
