//! The messages between the daemon's thread and this one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::arbiter::Level;
use crate::proto::{StreamName, Tail};

/// A sink that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SinkId(pub(crate) u64);

/// A `sync` that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyncId(pub(crate) u64);

/// Where lines come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The worker's pid.
    pub pid: i32,
    /// Its number within its watcher.
    pub wid: u32,
    /// Its stream.
    pub name: StreamName,
}

/// What the output thread reports to the daemon.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// For the log.
    Info(String),
    /// For the log.
    Warning(String),
    /// A line for the log, as a speaker said it.
    LogLine {
        /// The plugin or hook.
        speaker: Arc<str>,
        /// How weighty its lines are, unless a line says so itself.
        level: Level,
        /// Without its end.
        line: String,
    },
    /// All that was readable when `sync` was called has been written.
    Synced(SyncId),
    /// This process has printed the line that was waited for.
    Matched(i32),
    /// The lines that `tail` asked for.
    Tailed(u64, Tail),
    /// To be published.
    Output {
        /// Under this topic.
        topic: Arc<str>,
        /// JSON.
        body: Vec<u8>,
        /// What it weighs as long as it is on its way.
        load: usize,
    },
}

impl Message {
    /// What it costs to take it up, in messages of an ordinary size.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Tailed(_, tail) => 1 + tail.lines.len() / 8,
            _ => 1,
        }
    }
}

/// An attached pipe, unique as long as the thread lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct SourceId(pub(crate) usize);

/// An open place, unique as long as the thread lives, among sources too: both are tokens of one poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct WriterId(pub(crate) usize);
