//! The words between the daemon's thread and this one.

use std::sync::Arc;

/// A sink that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SinkId(pub(crate) u64);

/// A `sync` that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyncId(pub(crate) u64);

/// Which of a worker's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamName {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// Where lines come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The worker's pid.
    pub pid: i32,
    /// Its stream.
    pub name: StreamName,
}

/// What the output thread tells the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// For the log.
    Info(String),
    /// For the log.
    Warning(String),
    /// A line for the log, as a speaker said it.
    Told {
        /// Who.
        speaker: Arc<str>,
        /// Without its end.
        line: String,
    },
    /// All that was readable when `sync` was called has been written.
    Synced(SyncId),
}

/// An attached pipe, unique as long as the thread lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SourceId(pub(crate) usize);

/// An open place, unique as long as the thread lives, among sources too: both are tokens of one poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OutletId(pub(crate) usize);
