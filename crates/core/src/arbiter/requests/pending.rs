//! Requests that wait for what the daemon looks up: figures, lines of output, the configuration file.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::arbiter::action::{Action, SampleTarget};
use crate::arbiter::ids::{JobId, Wid, WorkerId};
use crate::arbiter::operate::last_lines::LastLines;
use crate::base::Pid;
use crate::config::Config;
use crate::proto::{Fault, Object, ProcessSelector, ReplyTo, StreamName, TailRange};

/// A reload that has failed, until what its new process printed is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct FailedReload {
    pub(in crate::arbiter) watcher: String,
    pub(in crate::arbiter) resource: String,
    pub(in crate::arbiter) fault: Fault,
    pub(in crate::arbiter) worker: Option<(Wid, Option<Pid>)>,
    /// Requests that wait for it.
    pub(in crate::arbiter) jobs: Vec<JobId>,
    pub(in crate::arbiter) lines: LastLines,
}

impl FailedReload {
    #[cfg(debug_assertions)]
    pub(in crate::arbiter) fn jobs(&self) -> &[JobId] {
        &self.jobs
    }
}

/// A question that is with the output thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct PendingTail {
    pub(in crate::arbiter) to: ReplyTo,
    /// As the client spelled it.
    pub(in crate::arbiter) name: String,
    /// The watcher's own spelling.
    pub(in crate::arbiter) watcher: String,
    pub(in crate::arbiter) stream: StreamName,
    pub(in crate::arbiter) range: TailRange,
}

impl PendingTail {
    /// What the output thread is asked.
    pub(in crate::arbiter) fn action(&self, job: JobId) -> Action {
        Action::Tail { job, watcher: self.watcher.clone(), stream: self.stream, range: self.range }
    }
}

/// A request whose lines are with the output thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct PendingWhy {
    pub(in crate::arbiter) to: ReplyTo,
    pub(in crate::arbiter) answer: Object,
    pub(in crate::arbiter) lines: LastLines,
}

/// The processes that figures are wanted of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Question {
    /// Every watcher's processes.
    Fleet,
    /// One watcher's processes.
    Watcher(String),
    /// One process of a watcher.
    Process(String, ProcessSelector),
    /// The daemon.
    Daemon,
}

/// A question, and where its answer goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct StatsRequest {
    pub(in crate::arbiter) to: ReplyTo,
    pub(in crate::arbiter) question: Question,
    /// Whether the watcher's hook adds figures.
    pub(in crate::arbiter) extended: bool,
}

/// A process whose figures were asked for, as it was then.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Subject {
    pub(in crate::arbiter) worker: WorkerId,
    pub(in crate::arbiter) pid: Pid,
    pub(in crate::arbiter) wid: Wid,
    pub(in crate::arbiter) started: f64,
}

/// A watcher, by its name, and those of its processes that are meant.
pub(in crate::arbiter) type Group = (String, Vec<Subject>);

/// The question that is with the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Sampling {
    pub(in crate::arbiter) job: JobId,
    pub(in crate::arbiter) question: Question,
    pub(in crate::arbiter) extended: bool,
    /// The requests that had asked the same by the time it was taken up.
    pub(in crate::arbiter) to: Vec<ReplyTo>,
    pub(in crate::arbiter) groups: Vec<Group>,
}

/// Everything that is to be answered with figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct PendingStats {
    pub(in crate::arbiter) sampling: Option<Sampling>,
    pub(in crate::arbiter) waiting: VecDeque<StatsRequest>,
    /// Answers that hooks are adding figures to.
    pub(in crate::arbiter) extending: BTreeMap<JobId, Extending>,
}

/// An answer that lacks what the hook has to say about some processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Extending {
    pub(in crate::arbiter) to: Vec<ReplyTo>,
    pub(in crate::arbiter) properties: Object,
    pub(in crate::arbiter) left: BTreeSet<Pid>,
}

impl Sampling {
    /// The processes that the daemon is to look at.
    pub(in crate::arbiter) fn targets(&self) -> Vec<SampleTarget> {
        match self.question {
            Question::Daemon => vec![SampleTarget::Daemon],
            Question::Fleet | Question::Watcher(_) | Question::Process(..) => {
                self.groups.iter().flat_map(|(_, subjects)| subjects).map(|s| SampleTarget::Process(s.pid)).collect()
            }
        }
    }
}

impl PendingStats {
    /// The order that is with the daemon, for another daemon.
    pub(in crate::arbiter) fn sample_again(&self) -> Option<Action> {
        let sampling = self.sampling.as_ref()?;
        Some(Action::Sample { job: sampling.job, targets: sampling.targets() })
    }

    /// How many answers are owed.
    pub(in crate::arbiter) fn len(&self) -> usize {
        let extending: usize = self.extending.values().map(|answer| answer.to.len()).sum();
        self.waiting.len() + usize::from(self.sampling.is_some()) + extending
    }

    /// True if requests are queued while no sample is in flight.
    #[cfg(debug_assertions)]
    pub(in crate::arbiter) fn is_stuck(&self) -> bool {
        self.sampling.is_none() && !self.waiting.is_empty()
    }
}

/// A request, until its operations are under way.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Reconfiguration {
    pub(in crate::arbiter) to: ReplyTo,
    pub(in crate::arbiter) waiting: bool,
    pub(in crate::arbiter) dry_run: bool,
    /// Watchers that came by `add` go as well.
    pub(in crate::arbiter) prune: bool,
    /// What is being taken over; nothing while the file is being read.
    pub(in crate::arbiter) loaded: Option<Loaded>,
}

/// What the file means, and the warnings about it.
pub(in crate::arbiter) type Loaded = (Box<Config>, Vec<String>);

/// The requests, and the job of the last one that was carried out.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Reconfigurations {
    /// The first is being dealt with.
    pub(in crate::arbiter) queue: VecDeque<Reconfiguration>,
    /// It may have ended.
    pub(in crate::arbiter) last: Option<JobId>,
}

impl Reconfigurations {
    /// Whether the daemon is taking over a configuration, so that sockets come and go.
    pub(in crate::arbiter) fn is_taking_over(&self) -> bool {
        self.queue.front().is_some_and(|current| current.loaded.is_some())
    }
}
