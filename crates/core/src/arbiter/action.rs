//! Actions: what the core decides, for the daemon to do.

use std::sync::Arc;

use crate::arbiter::fleet::memory::Memories;
use crate::arbiter::ids::{HookId, JobId, ProbeId, SinkCommandId, WatcherKey, Wid, WorkerId};
use crate::arbiter::lifecycle::purpose::{HookCall, SignalTarget};
use crate::base::{Level, Pid};
use crate::config::{Config, Probe, SocketConfig, WatcherConfig};
use crate::proto::{Notice, Reply, Signal, StreamName, TailRange};

/// Something to do, in the daemon's terms. Launches come separately (see `Arbiter::poll_launch`).
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Open the managed sockets; answer with `Event::SocketsOpened`.
    OpenSockets(Vec<SocketConfig>),
    /// Send a signal to a worker, or to it and what it started. Failures are of no interest: the reaper reports the exit.
    Signal {
        /// The process; a child of ours that has not been collected.
        pid: Pid,
        /// Which signal.
        signal: Signal,
        /// How far it reaches.
        reach: Reach,
        /// The watcher that the process belongs to.
        watcher: WatcherKey,
    },
    /// Carry out a `signal` request; answer with `Event::SignalDone`.
    SignalRequest {
        /// To be named in the answer.
        job: JobId,
        /// The processes, children of ours that have not been collected.
        pids: Vec<Pid>,
        /// Which signal.
        signal: Signal,
        /// Which processes exactly.
        target: SignalTarget,
    },
    /// Look at these processes, a few in each turn; answer with `Event::Sampled`. One such order is out at a time.
    Sample {
        /// To be named in the answer.
        job: JobId,
        /// The processes; by the time they are looked at they may be gone.
        targets: Vec<SampleTarget>,
    },
    /// Look what a watcher's workers have printed last; answer with `Event::Tailed`.
    Tail {
        /// To be named in the answer.
        job: JobId,
        /// The watcher's name.
        watcher: String,
        /// Which of its streams.
        stream: StreamName,
        /// Which lines.
        range: TailRange,
    },
    /// Call `Arbiter::handle_timeout` also when the clock on the wall was set: watchers run by it.
    WatchClock,
    /// Open the files that workers' output goes to again.
    ReopenOutput,
    /// A watcher was due to run at this time, in seconds since the epoch: a later circusd should know.
    RememberRun {
        /// Its name.
        watcher: String,
        /// The time.
        time: f64,
    },
    /// Publish an event.
    Publish(Notice),
    /// Dispatch a client.
    Reply(Reply),
    /// Write a line to the daemon's log.
    Log(Level, String),
    /// Watch a managed socket, or watch it no longer: while it is watched, `Event::Acceptable` says when a client has
    /// connected, also one that had before.
    WatchSocket {
        /// Its name.
        name: String,
        /// Whether it is watched from now on.
        on: bool,
    },
    /// Count the open connections to these managed sockets, those that wait to be accepted included; answer with
    /// `Event::Connections`.
    CountConnections {
        /// To be named in the answer.
        watcher: WatcherKey,
        /// The names of the sockets.
        sockets: Vec<String>,
    },
    /// Look what a watcher's workers have to do; answer with `Event::Measured`.
    Measure {
        /// To be named in the answer.
        watcher: WatcherKey,
        /// What is looked at.
        what: Measure,
    },
    /// The watcher's workers are gone: its streams can be closed.
    CloseStreams(WatcherKey),
    /// No watcher of this name is left: what its workers have printed is of no interest any more.
    ForgetOutput(String),
    /// The watcher's stream options changed.
    UpdateStreams(WatcherKey, Arc<WatcherConfig>),
    /// Start the command of a stream again, unless its stream was closed; answer with `Event::SinkCommand`.
    StartSinkCommand(SinkCommandId),
    /// Kill the command of a stream that was closed, with all that it started.
    KillSinkCommand(Pid),
    /// Run a hook; answer with `Event::HookDone`, or with `Event::HookNotYet` where it waits for something.
    RunHook(Box<HookCall>),
    /// End a hook that is under way, with all that it started. No answer is expected any more.
    EndHook(HookId),
    /// End a Python that runs hooks. It runs none that something waits for.
    EndPythonHost(u64),
    /// See whether a worker is ready, or still at work; answer with `Event::Probed`.
    Probe(Box<ProbeCall>),
    /// End an attempt that is under way, with all that it started. No answer is expected any more.
    EndProbe(ProbeId),
    /// The watcher has stopped: descriptors that its workers have kept for their successors are closed.
    ForgetStored(WatcherKey),
    /// Read the configuration file again; answer with `Event::ConfigLoaded`.
    LoadConfig,
    /// Take over what of this configuration is the daemon's own (log, umask, managed sockets), all or nothing; answer
    /// with `Event::TakenOver`.
    TakeOver(Box<Config>),
    /// Write down what is to outlive circusd: all of it, each time.
    Remember(Memories),
    /// Become another build of circusd, which is this file or, without one, the file of the present program; answer with
    /// `Event::UpgradeFailed`, or with `Event::Upgraded` when the next daemon has resumed the state.
    Upgrade(Option<String>),
    /// Everything is stopped: start again from the configuration file, in the same process.
    Restart,
    /// Everything is stopped: end with this status.
    Exit(u8),
}

/// What shows how much the workers of a watcher have to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The connections that wait to be accepted at these managed sockets.
    Queue(Vec<String>),
    /// The processor time of these workers, each with its direct children.
    Cpu(Vec<Pid>),
}

/// An attempt to see whether a worker is ready, still at work or idle; or a command that says how many there are to be.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeCall {
    /// To be named in the answer.
    pub id: ProbeId,
    /// The worker's number within its watcher, where it is about a worker.
    pub wid: Option<Wid>,
    /// The worker's process.
    pub pid: Option<Pid>,
    /// What is looked at.
    pub probe: Probe,
    /// Whether what a command prints is the answer: `ProbeOutcome::Printed`.
    pub prints: bool,
    /// Its watcher as it is now.
    pub config: Arc<WatcherConfig>,
}

/// How far a signal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The process.
    Process,
    /// The process, then its direct children; answer with `Event::ChildrenSignalled`.
    ProcessAndChildren,
    /// Its direct children and not itself; answer with `Event::ChildrenSignalled`.
    Children,
    /// Its process group.
    Group,
    /// Its control group.
    Cgroup,
    /// The process, its session and process group, and all its descendants.
    Tree,
}

/// A process to sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleTarget {
    /// A worker, with its direct children.
    Process(Pid),
    /// The daemon itself, without its children.
    Daemon,
}

/// A process to start; answer with `Event::Spawned` or `Event::SpawnFailed`.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// To be named in the answer.
    pub worker: WorkerId,
    /// Its number within the watcher.
    pub wid: Wid,
    /// The program and its arguments, substituted and split.
    pub argv: Vec<String>,
    /// Variables that this worker alone has, with their values.
    pub slots: Vec<(String, String)>,
    /// Everything else about it: directory, environment, accounts, limits, streams, sockets.
    pub config: Arc<WatcherConfig>,
}
