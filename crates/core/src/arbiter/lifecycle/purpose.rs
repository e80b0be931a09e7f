//! Hooks as data: what is to be run, what waits for it, and its result.
//!
//! A hook is never a call: what waits for its answer is a [`Purpose`], which the watcher keeps until the answer or the
//! deadline comes. The rules are those of Circus, except that a hook has a time limit. A hook that waits for a service or a command is
//! one attempt after the other, with a pause between them.
//!
//! | purpose | meanwhile | false, or a failure |
//! |---|---|---|
//! | before_start | starting, no process | as if the start had not been requested |
//! | after_start | starting | the watcher stops |
//! | before_spawn | the slot is taken, no process | at a start the watcher stops; a graceful reload keeps the old processes; otherwise the slot is tried again later |
//! | after_spawn | the process runs, and is not announced | the process is stopped, then as for before_spawn |
//! | before_stop | stopping, the processes run on | nothing |
//! | before_signal | the process gets no signal | no signal, except SIGKILL; graceful_timeout runs from here |
//! | before_reap | the death is not announced | nothing |
//! | after_signal, after_reap | everything goes on | nothing |
//! | after_stop | stopping still | nothing |
//!
//! A watcher is stopped when the last of its hooks is done, so that no hook of one run reaches into the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::arbiter::ids::{HookId, JobId, WatcherKey, Wid, WorkerId};
use crate::base::Pid;
use crate::config::{HookKind, WatcherConfig};
use crate::proto::{HookPoint, Object, Signal};

/// Which processes a `signal` request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignalTarget {
    /// The processes.
    Process,
    /// The processes and all their descendants.
    Recursive,
    /// Their descendants only.
    Descendants,
    /// Their direct children only.
    Children,
    /// This direct child of the process.
    Child(i64),
}

/// A hook to run; answer with `Event::HookDone`.
#[derive(Clone, Debug, PartialEq)]
pub struct HookCall {
    /// To be named in the answer.
    pub id: HookId,
    /// What is to be done.
    pub task: HookTask,
    /// Its watcher as it is now.
    pub config: Arc<WatcherConfig>,
    /// The hook was set anew: what it was loaded from may have changed.
    pub anew: bool,
    /// What it is about.
    pub subject: HookSubject,
    /// How long it may take. The core ends it then, by `Action::EndHook`.
    pub limit: Duration,
    /// The Python that runs it, by its number: to be started if it is not there. `None` for what is no Python function.
    pub host: Option<u64>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookTask {
    /// To see whether the watcher's Python hooks can be loaded.
    Load,
    /// To run the hook of this point.
    Run(HookPoint),
}

impl HookTask {
    /// What the log calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "hooks",
            Self::Run(point) => point.name(),
        }
    }
}

/// What a hook is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HookSubject {
    /// The process.
    pub pid: Option<Pid>,
    /// Its number.
    pub wid: Option<Wid>,
    /// The signal.
    pub signum: Option<Signal>,
    /// How it ended.
    pub exit_code: Option<i32>,
    /// When that was, in seconds since the epoch.
    pub time: Option<f64>,
    /// Its figures.
    pub stats: Option<Object>,
}

/// What a hook came to.
#[derive(Clone, Debug, PartialEq)]
pub struct HookOutcome {
    /// Yes or no; or why there is no answer.
    pub answer: Result<bool, String>,
    /// Options of the watcher that the hook has set, `env` above all.
    pub set: Object,
    /// Figures that it adds, for `extended_stats`.
    pub stats: Object,
}

impl HookOutcome {
    /// An answer and nothing else.
    pub fn answer(answer: Result<bool, String>) -> Self {
        Self { answer, set: Object::new(), stats: Object::new() }
    }
}

/// What waits for a hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Purpose {
    /// The start: first its Python hooks must be there.
    Load,
    BeforeStart,
    AfterStart,
    BeforeSpawn(WorkerId),
    AfterSpawn(WorkerId),
    BeforeStop,
    AfterStop,
    BeforeSignal {
        worker: WorkerId,
        pid: Pid,
        signal: Signal,
        then: Send,
    },
    AfterSignal,
    BeforeReap(ExitInfo),
    AfterReap,
    ExtendedStats {
        job: JobId,
        pid: Pid,
    },
}

/// What follows when a signal may be sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Send {
    /// It asks a worker to stop, which may take so long.
    Stop { timeout: Duration },
    /// A client asked for it.
    Request { job: JobId, target: SignalTarget },
}

/// A process that was collected.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct ExitInfo {
    pub(in crate::arbiter) pid: Pid,
    pub(in crate::arbiter) wid: Wid,
    pub(in crate::arbiter) exit_code: i32,
    pub(in crate::arbiter) time: f64,
    /// The kernel has killed it because memory ran out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::arbiter) oom: bool,
}

impl Purpose {
    pub(in crate::arbiter) fn task(&self) -> HookTask {
        HookTask::Run(match self {
            Self::Load => return HookTask::Load,
            Self::BeforeStart => HookPoint::BeforeStart,
            Self::AfterStart => HookPoint::AfterStart,
            Self::BeforeSpawn(_) => HookPoint::BeforeSpawn,
            Self::AfterSpawn(_) => HookPoint::AfterSpawn,
            Self::BeforeStop => HookPoint::BeforeStop,
            Self::AfterStop => HookPoint::AfterStop,
            Self::BeforeSignal { .. } => HookPoint::BeforeSignal,
            Self::AfterSignal => HookPoint::AfterSignal,
            Self::BeforeReap(_) => HookPoint::BeforeReap,
            Self::AfterReap => HookPoint::AfterReap,
            Self::ExtendedStats { .. } => HookPoint::ExtendedStats,
        })
    }

    /// The job that is owed an answer.
    pub(in crate::arbiter) fn job(&self) -> Option<JobId> {
        match self {
            Self::BeforeSignal { then: Send::Request { job, .. }, .. } => Some(*job),
            Self::Load
            | Self::BeforeStart
            | Self::AfterStart
            | Self::BeforeSpawn(_)
            | Self::AfterSpawn(_)
            | Self::BeforeStop
            | Self::AfterStop
            | Self::BeforeSignal { then: Send::Stop { .. }, .. }
            | Self::AfterSignal
            | Self::BeforeReap(_)
            | Self::AfterReap
            | Self::ExtendedStats { .. } => None,
        }
    }

    /// Whether a watcher that starts goes no further before the answer.
    fn holds_start(&self) -> bool {
        matches!(self, Self::Load | Self::BeforeStart | Self::AfterStart)
    }

    /// Whether the answer is of no use to a watcher that stops.
    pub(in crate::arbiter) fn serves_start(&self) -> bool {
        self.holds_start() || matches!(self, Self::BeforeSpawn(_) | Self::AfterSpawn(_))
    }
}

/// A hook that is under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct RunningHook {
    pub(in crate::arbiter) purpose: Purpose,
    pub(in crate::arbiter) subject: HookSubject,
    pub(in crate::arbiter) attempt: Attempt,
    /// Why what it waits for was not there at the last attempt.
    pub(in crate::arbiter) complaint: Option<String>,
    /// A Python that ran it has ended before it has answered.
    pub(in crate::arbiter) was_lost: bool,
}

/// Whether the daemon is at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Attempt {
    Running,
    /// What it waits for is not there yet; it is tried again after a pause.
    Pausing,
}

/// The hooks of a watcher that are under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Hooks {
    running: BTreeMap<HookId, RunningHook>,
    next: u64,
    /// Those that were set since they last ran.
    anew: BTreeSet<HookPoint>,
}

impl Hooks {
    pub(in crate::arbiter) fn begin(&mut self, watcher: WatcherKey, purpose: Purpose, subject: HookSubject) -> HookId {
        let id = HookId { watcher, serial: self.next };
        self.next += 1;
        let attempt = Attempt::Running;
        self.running.insert(id, RunningHook { purpose, subject, attempt, complaint: None, was_lost: false });
        id
    }

    pub(in crate::arbiter) fn get_mut(&mut self, id: HookId) -> Option<&mut RunningHook> {
        self.running.get_mut(&id)
    }

    /// These were set: what they are loaded from may have changed.
    pub(in crate::arbiter) fn renew(&mut self, points: impl IntoIterator<Item = HookPoint>) {
        self.anew.extend(points);
    }

    /// Whether a hook was set since it last ran.
    pub(in crate::arbiter) fn is_new(&mut self, task: HookTask) -> bool {
        match task {
            HookTask::Load => false,
            HookTask::Run(point) => self.anew.remove(&point),
        }
    }

    pub(in crate::arbiter) fn end(&mut self, id: HookId) -> Option<RunningHook> {
        self.running.remove(&id)
    }

    pub(in crate::arbiter) fn iter(&self) -> impl Iterator<Item = (HookId, &Purpose)> {
        self.running.iter().map(|(id, hook)| (*id, &hook.purpose))
    }

    pub(in crate::arbiter) fn any(&self, of: impl Fn(&Purpose) -> bool) -> bool {
        self.running.values().any(|hook| of(&hook.purpose))
    }

    /// The hooks with such a purpose.
    pub(in crate::arbiter) fn of(&self, wanted: impl Fn(&Purpose) -> bool) -> Vec<HookId> {
        self.iter().filter(|(_, purpose)| wanted(purpose)).map(|(id, _)| id).collect()
    }

    /// Whether no process may be started yet.
    pub(in crate::arbiter) fn bar_launches(&self) -> bool {
        self.any(|purpose| matches!(purpose, Purpose::Load | Purpose::BeforeStart))
    }

    pub(in crate::arbiter) fn hold_start(&self) -> bool {
        self.any(Purpose::holds_start)
    }

    /// Whether the watcher is not at rest yet. Figures are of no weight.
    pub(in crate::arbiter) fn hold_stop(&self) -> bool {
        self.any(|purpose| !matches!(purpose, Purpose::ExtendedStats { .. }))
    }
}

/// Whether some of a watcher's hooks have to be loaded.
pub(in crate::arbiter) fn has_python(config: &WatcherConfig) -> bool {
    config.hooks.values().any(|hook| matches!(hook.kind(), Ok(HookKind::Python(_))))
}

/// The processes of such a watcher come up one after the other, as in Circus: each hook's answer, and what it does to
/// the environment, is for its own process.
pub(in crate::arbiter) fn spawns_singly(config: &WatcherConfig) -> bool {
    [HookPoint::BeforeSpawn, HookPoint::AfterSpawn].iter().any(|point| config.hooks.contains_key(point))
}

/// Figures, with those that a hook adds.
pub(in crate::arbiter) fn extended(mut info: Value, stats: Object) -> Value {
    if let Value::Object(info) = &mut info {
        info.extend(stats);
    }
    info
}
