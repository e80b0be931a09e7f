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

/// A command that a stream is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SinkCommandId(pub u64);

/// Watchers that are being started one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(in crate::arbiter) struct WalkId(pub u64);
