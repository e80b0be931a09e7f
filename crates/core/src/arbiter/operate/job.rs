//! What clients wait for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::arbiter::ids::{JobId, WatcherKey};
use crate::arbiter::time::Mono;
use crate::base::Pid;
use crate::proto::{Fault, Object, ReplyTo, RunReport};

/// How the answer to a finished job reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Form {
    /// `ok` and nothing else.
    Plain,
    /// `info`: what the operation did.
    Info,
    /// What the operation did, at the top level.
    TopLevel,
    /// `numprocesses`.
    Count(u32),
    /// What was known from the beginning.
    Given(Object),
}

/// What happens when a job is finished.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Then {
    /// The client is answered.
    Answer,
    /// These watchers are started, one after the other, for the same client.
    Start(Vec<WatcherKey>),
    /// The daemon ends, or starts anew.
    End,
}

/// Something asked for, until all its parts are done. `to` is `None` where no client waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Job {
    pub(in crate::arbiter) to: Option<ReplyTo>,
    /// How many operations or deaths are still to come.
    pub(in crate::arbiter) left: u32,
    pub(in crate::arbiter) form: Form,
    pub(in crate::arbiter) then: Then,
    pub(in crate::arbiter) done: Option<Changes>,
    pub(in crate::arbiter) fault: Option<Fault>,
    /// The job that this one is a part of.
    pub(in crate::arbiter) part_of: Option<JobId>,
    /// The job that ends after this one, whatever becomes of either.
    pub(in crate::arbiter) followed_by: Option<JobId>,
}

impl Job {
    /// A job of no parts yet, without a client.
    pub(in crate::arbiter) fn without_client() -> Self {
        Self {
            to: None,
            left: 0,
            form: Form::Plain,
            then: Then::Answer,
            done: None,
            fault: None,
            part_of: None,
            followed_by: None,
        }
    }
}

/// What an operation did to a watcher's processes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Changes {
    /// `None` for a stop, whose info is null, and for a start, which has no `stopped`.
    pub(in crate::arbiter) stopped: Option<Vec<Pid>>,
    pub(in crate::arbiter) started: Option<Vec<Pid>>,
    pub(in crate::arbiter) kept: Option<Vec<Pid>>,
    /// The run that it began, when it is over.
    #[serde(default)]
    pub(in crate::arbiter) run: Option<RunReport>,
}

impl Changes {
    pub(in crate::arbiter) fn properties(&self) -> Object {
        let mut properties = Object::new();
        for (key, pids) in [("stopped", &self.stopped), ("started", &self.started), ("kept", &self.kept)] {
            if let Some(pids) = pids {
                properties.insert(key.into(), pids.iter().map(|pid| pid.0).collect());
            }
        }
        properties.extend(self.run.as_ref().map(|run| ("run".into(), run.fields().into())));
        properties
    }
}

impl Form {
    pub(in crate::arbiter) fn properties(&self, changes: Option<Changes>) -> Object {
        let mut object = Object::new();
        match self {
            Self::Plain => {}
            Self::Info => {
                let info = changes.map(|changes| changes.properties()).filter(|info| !info.is_empty());
                object.insert("info".into(), info.into());
            }
            Self::TopLevel => return changes.unwrap_or_default().properties(),
            Self::Count(count) => drop(object.insert("numprocesses".into(), (*count).into())),
            Self::Given(properties) => return properties.clone(),
        }
        object
    }
}

/// Every job that is not done.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Jobs {
    pub(in crate::arbiter) open: BTreeMap<JobId, Job>,
    next: u64,
}

impl Jobs {
    /// A name that no job has had.
    pub(in crate::arbiter) fn name(&mut self) -> JobId {
        let id = JobId(self.next);
        self.next += 1;
        id
    }

    /// So many more parts of a job are to come.
    pub(in crate::arbiter) fn expect_parts(&mut self, id: JobId, parts: u32) {
        if let Some(job) = self.open.get_mut(&id) {
            job.left = job.left.saturating_add(parts);
        }
    }
}

/// A request that waits for the proof.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Proof {
    pub(in crate::arbiter) job: JobId,
    /// Failures from here on are this request's.
    pub(in crate::arbiter) mark: u64,
    /// When the operation ended. Workers that come later, in the place of one that reached max_age say, prove nothing here.
    pub(in crate::arbiter) since: Mono,
    /// What the operation did.
    pub(in crate::arbiter) changes: Option<Changes>,
}
