//! The end of the daemon, or its restart.

use crate::arbiter::operate::phase::{AfterEnd, Phase};

use crate::arbiter::action::Action;
use crate::arbiter::ids::WorkerId;
use crate::arbiter::lifecycle::{answers, hooks, terminate};
use crate::arbiter::operate::job::{Job, Then};
use crate::arbiter::operate::walk::Stops;
use crate::arbiter::state::Arbiter;
use crate::arbiter::time::{Now, seconds};
use crate::arbiter::timers::Timer;
use crate::base::Level;
use crate::proto::{Body, Fault, Object, Reply, ReplyTo};

impl Arbiter {
    /// Stops everything, then exits. An end that was to be a new beginning becomes one for good. A second one hastens:
    /// watchers that still wait for others to stop first stop now.
    pub(in crate::arbiter) fn quit(&mut self, waiter: Option<ReplyTo>, now: Now) {
        for to in std::mem::take(&mut self.restarters) {
            let fault = Fault::command("circusd was told to quit meanwhile, so it does not start again");
            self.outbox.reply(Reply { to, body: Body::Error(fault), time: now.unix });
        }
        match &mut self.phase {
            Phase::Opening | Phase::Running => self.begin_ending(AfterEnd::Exit, waiter, now),
            Phase::Ending { then, waiters, .. } => {
                waiters.extend(waiter);
                *then = AfterEnd::Exit;
                self.hurry_all_stops(now);
            }
            // It has said how it ends, in this very turn: the last word counts.
            Phase::Ended(then) => {
                if std::mem::replace(then, AfterEnd::Exit) == AfterEnd::Restart {
                    self.outbox.act(Action::Exit(0));
                }
                self.answer_at_end(waiter.into_iter().collect(), now);
            }
        }
    }

    /// The same by a signal to the daemon. A second signal kills the workers that are still stopping.
    pub(in crate::arbiter) fn quit_by_signal(&mut self, now: Now) {
        self.quit(None, now);
        if let Phase::Ending { by_signal, .. } = &mut self.phase
            && std::mem::replace(by_signal, true)
        {
            self.force_stop("second request to stop", now);
        }
    }

    /// What has not stopped by then is killed. Of two times the earlier one counts.
    pub(in crate::arbiter) fn limit_end(&mut self, timeout: Option<f64>, now: Now) {
        let Some(at) = timeout.map(|timeout| now.mono.after(seconds(timeout))) else { return };
        if matches!(self.phase, Phase::Ending { .. }) && self.timers.get(Timer::End).is_none_or(|before| at < before) {
            self.timers.set(Timer::End, at);
        }
    }

    /// The end has had its time: what is still to be stopped is, and killed.
    pub(in crate::arbiter) fn end_overdue(&mut self, now: Now) {
        self.hurry_all_stops(now);
        self.force_stop("the timeout of quit is over", now);
    }

    /// Stops everything, then starts anew from the configuration file.
    pub(in crate::arbiter) fn restart_daemon(&mut self, waiter: Option<ReplyTo>, now: Now) {
        self.restarters.extend(waiter);
        self.begin_ending(AfterEnd::Restart, None, now);
    }

    /// The requests that this restart has not answered, for the arbiter of the next life.
    pub fn take_restarters(&mut self) -> Vec<ReplyTo> {
        std::mem::take(&mut self.restarters)
    }

    /// Answers such requests when what starts by itself has come up; at once, with the reason, where the life before
    /// goes on with its configuration.
    pub fn answer_restart(&mut self, waiters: Vec<ReplyTo>, refusal: Option<&str>, now: Now) {
        let Some(refusal) = refusal else {
            self.restarters = waiters;
            return;
        };
        for to in waiters {
            self.outbox.reply(Reply { to, body: Body::Error(Fault::command(refusal)), time: now.unix });
        }
    }

    fn begin_ending(&mut self, then: AfterEnd, waiter: Option<ReplyTo>, now: Now) {
        self.phase = Phase::Ending { then, waiters: waiter.into_iter().collect(), by_signal: false, force: false };
        let by = if then == AfterEnd::Restart { "restart" } else { "quit" };
        self.cancel_reconfigurations(by, now);
        self.cancel_starts(by);
        let job = self.open_job(Job { left: 1, then: Then::End, ..Job::without_client() });
        self.stop_in_order(Stops { keys: self.fleet.keys(), ..Stops::default() }, Some(job));
        // A connection starts nothing any more.
        self.update_activations(now);
    }

    /// Kills workers that are stopping and have not exited yet.
    fn force_stop(&mut self, why: &str, now: Now) {
        self.outbox.log(Level::Warning, format!("{why}: killing the workers that are still stopping"));
        if let Phase::Ending { force, .. } = &mut self.phase {
            *force = true;
        }
        for key in self.fleet.keys() {
            self.with(key, now, answers::force);
            self.advance(key, now);
        }
        let late: Vec<WorkerId> =
            self.timers.iter().filter_map(|timer| if let Timer::Kill(id) = timer { Some(id) } else { None }).collect();
        for worker in late {
            self.with(worker.watcher, now, |w, cx| terminate::kill_overdue(w, worker, cx));
        }
    }

    /// Everything is stopped.
    pub(in crate::arbiter) fn finish(&mut self, now: Now) {
        let Phase::Ending { then, waiters, .. } = &mut self.phase else { return };
        let (then, waiters) = (*then, std::mem::take(waiters));
        self.phase = Phase::Ended(then);
        self.timers.cancel(Timer::End);
        self.log_left_out();
        self.sink_commands.forget_all(&mut self.timers);
        self.refuse_stats(now);
        self.refuse_tails(now);
        self.answer_whys(now);
        self.publish_failed_reloads(now);
        self.upgrade_failed("check", "circusd has stopped all watchers meanwhile", now);
        for key in self.fleet.keys() {
            self.with(key, now, hooks::drop_all);
        }
        self.answer_at_end(waiters, now);
        let status = self.essential_end.as_ref().map_or(0, |end| end.status);
        self.outbox.act(match then {
            AfterEnd::Restart => Action::Restart,
            AfterEnd::Exit => Action::Exit(status),
        });
    }

    fn answer_at_end(&mut self, waiters: Vec<ReplyTo>, now: Now) {
        for to in waiters {
            self.outbox.reply(Reply { to, body: Body::Ok(Object::new()), time: now.unix });
        }
    }
}
