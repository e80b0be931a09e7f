//! Events: what happens outside the core.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arbiter::ids::{HookId, JobId, ProbeId, SinkCommandId, WatcherKey, WorkerId};
use crate::arbiter::lifecycle::purpose::HookOutcome;
use crate::arbiter::lifecycle::sink_commands::SinkEvent;
use crate::base::Pid;
use crate::config::Config;
use crate::proto::{Fault, Notification, ProcessInfo, ReplyTo, Request, SpawnError, Tail};

/// Something that happened, in the core's terms.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The managed sockets are open, in order of name: the fleet can start.
    SocketsOpened(Vec<SocketInfo>),
    /// A client asks.
    Request(Box<ReplyTo>, Request),
    /// A process of ours exists; whether it gets to its program is still to be seen.
    Created {
        /// As the launch named it.
        worker: WorkerId,
        /// Its pid.
        pid: Pid,
    },
    /// A process of ours exists and runs its program.
    Spawned {
        /// As the launch named it.
        worker: WorkerId,
        /// Its pid.
        pid: Pid,
    },
    /// A process that an earlier circusd has started takes the place of one that was to be launched. What it has reported
    /// to that circusd is not known, and it cannot report to this one.
    Adopted {
        /// As the launch named it.
        worker: WorkerId,
        /// Its pid.
        pid: Pid,
    },
    /// A launch came to nothing; no process is left of it.
    SpawnFailed {
        /// As the launch named it.
        worker: WorkerId,
        /// Where and why.
        error: SpawnError,
    },
    /// Children were collected: all that could be at the time, so that nothing that follows from the first is done to
    /// the last of them, whose pid may be another process's by now.
    Exited(Vec<Exit>),
    /// A worker was collected while processes that it has started live on. The daemon watches them, and what the core
    /// sends to the worker's pid from here on goes to them. `Exited` follows when they are gone.
    LeaderExited(Pid),
    /// The children that were sent the stop signal along with their parent (`stop_children`).
    ChildrenSignalled {
        /// The watcher of their parent.
        watcher: WatcherKey,
        /// Their pids.
        pids: Vec<Pid>,
    },
    /// What became of a `signal` request.
    SignalDone {
        /// As the order named it.
        job: JobId,
        /// The workers that got the signal: a death of theirs was asked for. What only their children got is not here.
        signalled: Vec<Pid>,
        /// The first failure, if any.
        result: Result<(), Fault>,
    },
    /// What the configuration file means now, with the warnings about it; or what is wrong with it.
    ConfigLoaded(Result<(Box<Config>, Vec<String>), Vec<String>>),
    /// The daemon has taken over its part of a configuration, and these are the managed sockets; or why nothing of it was.
    TakenOver(Result<Vec<SocketInfo>, String>),
    /// What the workers of a watcher have to do, or why that cannot be told.
    Measured {
        /// As the order named it.
        watcher: WatcherKey,
        /// What was seen.
        result: Result<Measured, String>,
    },
    /// A connection waits to be accepted at the watched socket of this name.
    Acceptable(String),
    /// How many connections a watcher has, or why that cannot be told.
    Connections {
        /// As the order named it.
        watcher: WatcherKey,
        /// How many are open, those that wait to be accepted included.
        open: Result<usize, String>,
    },
    /// The figures that were asked for.
    Sampled {
        /// As the order named it.
        job: JobId,
        /// One for each target, in order; `None` where the process has ended.
        samples: Vec<Option<ProcessInfo>>,
    },
    /// The lines that were asked for.
    Tailed {
        /// As the order named it.
        job: JobId,
        /// The lines.
        tail: Tail,
    },
    /// What a hook came to.
    HookDone {
        /// As the order named it.
        hook: HookId,
        /// What it came to.
        outcome: HookOutcome,
    },
    /// An attempt of a hook that waits has failed: what it waits for is not there yet.
    HookNotYet {
        /// As the order named it.
        hook: HookId,
        /// Why the attempt has failed.
        reason: String,
    },
    /// What an attempt to see whether a worker is ready, or still at work, came to.
    Probed {
        /// As the order named it.
        probe: ProbeId,
        /// What it came to.
        outcome: ProbeOutcome,
    },
    /// A worker, or a process that it has started, reports something.
    Notified {
        /// The worker's pid.
        pid: Pid,
        /// What it reports, in order.
        said: Vec<Notification>,
    },
    /// A Python that ran hooks has ended, or says what cannot be understood.
    PythonHostLost {
        /// Its number.
        host: u64,
        /// How.
        error: String,
    },
    /// What has happened to a command that a stream is written to.
    SinkCommand(SinkCommandId, SinkEvent),
    /// An operator's request, by a signal to the daemon.
    Intent(Intent),
    /// The upgrade that was ordered has come to nothing, at this stage and why.
    UpgradeFailed {
        /// What was being done.
        stage: &'static str,
        /// Why it failed.
        reason: String,
    },
    /// The daemon is the one that was to take over, and it has resumed the state.
    Upgraded {
        /// Its version.
        version: String,
        /// Its pid.
        pid: Pid,
    },
}

/// What the workers of a watcher have to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measured {
    /// So many connections wait to be accepted.
    Waiting(usize),
    /// The processor time that each worker has used since its start; those that have ended are left out.
    Cpu(Vec<(Pid, Duration)>),
}

/// What a probe came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The worker is ready, or at work, or idle.
    Passed,
    /// The command has succeeded, and printed this, the first 4 KiB of it.
    Printed(String),
    /// It is not, and why.
    Failed(String),
    /// circusd could not look, and why: that says nothing about the worker.
    Unable(String),
}

/// A child that was collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its pid; it may be none of ours.
    pub pid: Pid,
    /// The exit status, or minus the signal.
    pub exit_code: i32,
    /// Processor time that it used, and the children that it waited for.
    #[serde(default)]
    pub cpu: Duration,
    /// The kernel has killed it, or a process of its control group, because memory ran out.
    #[serde(default)]
    pub oom: bool,
}

impl Exit {
    /// An exit whose processor time is not of interest.
    pub fn new(pid: Pid, exit_code: i32) -> Self {
        Self { pid, exit_code, cpu: Duration::ZERO, oom: false }
    }
}

/// What a signal to the daemon, or a change of its files, means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    /// Stop everything and exit. A second one hastens: workers that are still stopping are killed.
    Quit,
    /// Reload every watcher gracefully.
    Reload,
    /// Become the program that is at the place of circusd's now.
    Upgrade,
    /// Open the files that workers' output goes to again.
    ReopenLogs,
    /// Read the configuration again, as `reloadconfig` does: a file of it has changed.
    ReloadConfig,
}

/// A managed socket as the core needs to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketInfo {
    /// Its name, lower case.
    pub name: String,
    /// The daemon's descriptor number.
    pub number: i32,
    /// Its backlog.
    pub backlog: i32,
    /// Where it listens.
    pub address: SocketAddress,
    /// Only workers listen there, each at a socket of its own (`so_reuseport`).
    pub per_worker: bool,
}

/// Where a managed socket listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketAddress {
    /// A host and the real port.
    Inet(String, u16),
    /// A path.
    Unix(String),
}
