//! What clients wait for.

use serde::{Deserialize, Serialize};

use std::collections::BTreeMap;

use crate::arbiter::core::Arbiter;
use crate::arbiter::cx::FollowUp;
use crate::arbiter::ids::{JobId, WatcherKey};
use crate::arbiter::operate::schedule::Which;
use crate::arbiter::outcome;
use crate::arbiter::time::Now;
use crate::base::Pid;
use crate::proto::{Body, Fault, Object, Reply, ReplyTo, RunReport};

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
    fn properties(&self, changes: Option<Changes>) -> Object {
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

impl Arbiter {
    /// Opens a job. It ends with its last part, and not before the event at hand is dealt with.
    pub(in crate::arbiter) fn open_job(&mut self, job: Job) -> JobId {
        let id = self.jobs.name();
        self.jobs.open.insert(id, job);
        self.follow_ups.push_back(FollowUp::JobOpened(id));
        id
    }

    pub(in crate::arbiter) fn job_part_done(&mut self, job: JobId, changes: Option<Changes>, fault: Option<Fault>) {
        self.follow_ups.push_back(FollowUp::JobPart { job, changes, fault });
    }

    pub(in crate::arbiter) fn finish_job_part(
        &mut self,
        id: JobId,
        changes: Option<Changes>,
        fault: Option<Fault>,
        now: Now,
    ) {
        let Some(job) = self.jobs.open.get_mut(&id) else { return };
        job.left = job.left.saturating_sub(1);
        if changes.is_some() {
            job.done = changes;
        }
        job.fault = outcome::merged(job.fault.take(), fault);
        self.finish_job(id, now);
    }

    /// Ends a job whose parts are all done.
    pub(in crate::arbiter) fn finish_job(&mut self, id: JobId, now: Now) {
        let Some(job) = self.jobs.open.get_mut(&id).filter(|job| job.left == 0) else { return };
        if job.then == Then::End && !self.follow_ups.is_empty() {
            // Other requests that wait for the same stops are answered before the end.
            return self.follow_ups.push_back(FollowUp::JobOpened(id));
        }
        let then = std::mem::replace(&mut job.then, Then::Answer);
        if let Then::Start(keys) = then {
            job.left = 1;
            return self.start_in_order(keys, Some(id), Which::AsAtBoot);
        }
        let Some(job) = self.jobs.open.remove(&id) else { return };
        let fault = job.fault.clone();
        if let Some(to) = job.to {
            let body = match job.fault {
                Some(fault) => Body::Error(fault),
                None => Body::Ok(job.form.properties(job.done)),
            };
            self.outbox.reply(Reply { to, body, time: now.unix });
        }
        if let Some(whole) = job.part_of {
            self.job_part_done(whole, None, fault);
        }
        if let Some(next) = job.followed_by {
            self.job_part_done(next, None, None);
        }
        if then == Then::End {
            self.finish(now);
        }
    }
}
