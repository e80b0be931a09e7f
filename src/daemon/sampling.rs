//! Sampling processes for `stats`, a few in each turn, so that a thousand of them delay no request.

use std::vec::IntoIter;

use nix::unistd::Pid as SysPid;

use crate::arbiter::{Event, JobId, SampleTarget};
use crate::proto::ProcessInfo;
use crate::sys;

/// Files of one turn: what 64 processes without children take, and about a millisecond.
const READS_A_TURN: u64 = 256;

/// The arbiter's order, and what has been done of it.
#[derive(Debug)]
struct SampleJob {
    job: JobId,
    left: IntoIter<SampleTarget>,
    samples: Vec<Option<ProcessInfo>>,
}

/// The sample that is being taken.
#[derive(Debug, Default)]
pub(super) struct SampleQueue {
    sampler: sys::Sampler,
    job: Option<SampleJob>,
    /// How far the sampler may read in this turn.
    limit: u64,
}

impl SampleQueue {
    pub(super) fn begin(&mut self, job: JobId, targets: Vec<SampleTarget>) {
        self.sampler.begin();
        let samples = Vec::with_capacity(targets.len());
        self.job = Some(SampleJob { job, left: targets.into_iter(), samples });
    }

    pub(super) fn begin_turn(&mut self) {
        self.limit = self.sampler.reads() + READS_A_TURN;
    }

    /// Continues sampling as far as this turn allows; the arbiter gets an event when all have been sampled.
    pub(super) fn take(&mut self) -> Option<Event> {
        let SampleJob { left, samples, .. } = self.job.as_mut()?;
        let now = sys::since_boot();
        while self.sampler.reads() < self.limit {
            let Some(target) = left.next() else { break };
            samples.push(match target {
                SampleTarget::Process(pid) => self.sampler.family(SysPid::from_raw(pid.0), now),
                SampleTarget::Daemon => self.sampler.myself(now),
            });
        }
        if left.len() > 0 {
            return None;
        }
        self.job.take().map(|SampleJob { job, samples, .. }| Event::Sampled { job, samples })
    }

    /// Whether a process is still to be looked at.
    pub(super) fn are_wanted(&self) -> bool {
        self.job.is_some()
    }

    /// The sample is not wanted any more.
    pub(super) fn abandon(&mut self) {
        self.job = None;
    }
}
