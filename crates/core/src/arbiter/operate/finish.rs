//! Jobs from their opening to the answer.

use crate::arbiter::cx::FollowUp;
use crate::arbiter::ids::JobId;
use crate::arbiter::operate::job::{Changes, Job, Then};
use crate::arbiter::operate::walk::Which;
use crate::arbiter::outcome;
use crate::arbiter::state::Arbiter;
use crate::arbiter::time::Now;
use crate::proto::{Body, Fault, Reply};

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
