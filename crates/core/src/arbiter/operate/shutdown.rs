//! The end of the daemon, or of this life of it.

use crate::arbiter::action::{Action, Level};
use crate::arbiter::core::{Arbiter, Phase};
use crate::arbiter::ids::WorkerId;
use crate::arbiter::operate::job::{Job, Then};
use crate::arbiter::operate::queue::{OperationKind, Waiter};
use crate::arbiter::time::Now;
use crate::arbiter::timers::Timer;
use crate::proto::{Body, Fault, Object, Reply, ReplyTo};

impl Arbiter {
    /// Stops everything, then exits. An end that was to be a new beginning becomes one for good.
    pub(in crate::arbiter) fn quit(&mut self, waiter: Option<ReplyTo>, now: Now) {
        self.end_waiters.extend(waiter);
        match self.phase {
            Phase::Opening | Phase::Running => self.begin_ending(Then::Exit, now),
            Phase::Ending => self.ending_restarts = false,
            // It has said how it ends, in this very turn: the last word counts.
            Phase::Ended => {
                self.answer_end_waiters(now);
                if std::mem::take(&mut self.ending_restarts) {
                    self.act(Action::Exit(0));
                }
            }
        }
    }

    /// The same by a signal to the daemon. A second one hastens: who is still stopping is killed now.
    pub(in crate::arbiter) fn quit_by_signal(&mut self, now: Now) {
        if self.quit_by_signal && self.phase == Phase::Ending {
            return self.force_stop(now);
        }
        self.quit_by_signal = true;
        self.quit(None, now);
    }

    /// Stops everything, then starts anew from the configuration file.
    pub(in crate::arbiter) fn restart_daemon(&mut self, now: Now) {
        self.begin_ending(Then::Restart, now);
    }

    fn begin_ending(&mut self, then: Then, now: Now) {
        self.phase = Phase::Ending;
        self.ending_restarts = then == Then::Restart;
        let by = if self.ending_restarts { "restart" } else { "quit" };
        self.cancel_reconfigurations(by, now);
        for job in self.cancel_rollouts() {
            self.job_part_done(job, None, Some(Fault::command(format!("start was cancelled by {by}"))), now);
        }
        let keys = self.by_ascending_priority();
        let left = u32::try_from(keys.len()).unwrap_or(u32::MAX).saturating_add(1);
        let job = self.open_job(Job { left, then, ..Job::for_nobody() });
        for key in keys {
            self.submit(key, OperationKind::Stop, vec![Waiter::Job(job)], now);
        }
        // The part that stands for the end itself, so that a fleet of nobody ends too.
        self.job_part_done(job, None, None, now);
    }

    /// Kills whoever was told to stop and has not gone yet.
    fn force_stop(&mut self, now: Now) {
        self.log(Level::Warning, "asked to stop once more: killing who is still stopping");
        self.force_hooks(now);
        let late: Vec<WorkerId> =
            self.timers.iter().filter_map(|timer| if let Timer::Kill(id) = timer { Some(id) } else { None }).collect();
        for worker in late {
            self.escalate(worker, now);
        }
    }

    /// Everything is stopped.
    pub(in crate::arbiter) fn finish(&mut self, now: Now) {
        self.phase = Phase::Ended;
        self.refuse_stats(now);
        self.refuse_tails(now);
        for key in self.by_priority() {
            self.drop_hooks(key, now);
        }
        self.answer_end_waiters(now);
        let status = self.essential_end.as_ref().map_or(0, |end| end.status);
        self.act(if self.ending_restarts { Action::Restart } else { Action::Exit(status) });
    }

    fn answer_end_waiters(&mut self, now: Now) {
        for to in std::mem::take(&mut self.end_waiters) {
            self.reply(Reply { to, body: Body::Ok(Object::new()), time: now.unix });
        }
    }
}
