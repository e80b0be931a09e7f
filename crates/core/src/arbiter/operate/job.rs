//! What clients wait for.

use serde::{Deserialize, Serialize};

use crate::arbiter::ids::{JobId, Pid, WatcherKey};
use crate::proto::{Fault, Object, ReplyTo};

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
    Dispatch,
    /// These watchers are started, one after the other, for the same client.
    Start(Vec<WatcherKey>),
    /// The daemon ends.
    Exit,
    /// The daemon starts anew.
    Restart,
}

/// Something asked for, until all its parts are done. `to` is `None` where nobody waits.
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
    /// A job of no parts yet, for nobody.
    pub(in crate::arbiter) fn for_nobody() -> Self {
        Self {
            to: None,
            left: 0,
            form: Form::Plain,
            then: Then::Dispatch,
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
}

impl Changes {
    pub(in crate::arbiter) fn properties(&self) -> Object {
        let mut properties = Object::new();
        for (key, pids) in [("stopped", &self.stopped), ("started", &self.started), ("kept", &self.kept)] {
            if let Some(pids) = pids {
                properties.insert(key.into(), pids.iter().map(|pid| pid.0).collect());
            }
        }
        properties
    }
}
