//! Requests after decoding: what the arbiter must handle, each command a variant.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Object, Signal, StreamName, TailRange};

/// How `start`, `stop` and `restart` match watcher names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MatchMethod {
    /// The whole name, `*`, `?` and `[...]` being wild.
    Glob,
    /// A regular expression that matches at the start of the name.
    Regex,
    /// The name itself.
    Simple,
}

/// The watchers that a command is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// As the client gave it.
    pub name: String,
    /// How it matches.
    pub method: MatchMethod,
}

/// The process that a command is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSelector {
    /// As the client gave it: the answer repeats it.
    pub given: Value,
    /// The process id that it is.
    pub pid: i64,
}

/// Variables by name: what the workers of a watcher get, where that is more than its option `env` says, as in a virtual
/// environment.
pub type Environment = BTreeMap<String, String>;

/// A request that is well-formed. `waiting`: answer when done, not when begun.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the properties are described once, in commands::COMMANDS")]
pub enum Request {
    Add { name: String, cmd: String, args: Option<Value>, options: Object, start: bool, waiting: bool },
    Decr { name: String, nb: i64, waiting: bool },
    DStats,
    Enable { selection: Selection, enabled: bool, now: bool, waiting: bool },
    Get { name: String, keys: Vec<String>, env: Option<Environment> },
    GlobalOptions { option: Option<String> },
    Incr { name: String, nb: i64, waiting: bool },
    Kill { name: String, pid: Option<i64>, signum: Option<Signal>, graceful_timeout: Option<f64>, waiting: bool },
    List { name: Option<String> },
    ListSockets,
    NumProcesses { name: Option<String> },
    NumWatchers,
    Options { name: String, all: bool, env: Option<Environment> },
    Quit { timeout: Option<f64>, waiting: bool },
    Reload { name: Option<String>, graceful: bool, sequential: bool, waiting: bool },
    ReloadConfig { dry_run: bool, prune: bool, waiting: bool },
    ReopenLogs,
    Restart { selection: Option<Selection>, waiting: bool },
    Rm { name: String, nostop: bool, waiting: bool },
    Run { name: String, waiting: bool },
    Set { name: String, options: Object, waiting: bool },
    Signal { name: String, signum: Signal, pid: Option<i64>, childpid: Option<i64>, children: bool, recursive: bool },
    Start { selection: Option<Selection>, waiting: bool },
    Stats { name: Option<String>, process: Option<ProcessSelector>, extended: bool },
    Status { name: Option<String>, verbose: bool },
    Stop { selection: Option<Selection>, waiting: bool },
    Tail { name: String, stream: StreamName, range: TailRange },
    Upgrade { binary: Option<String> },
    Why { name: String },
}
