//! Reloads that have failed: the answer and the event say why, with the last lines that the new process has printed.
//!
//! The output thread has these lines, so it is asked first. Where nothing is kept of what the workers print, there are none.

use crate::arbiter::requests::pending::FailedReload;

use crate::arbiter::action::Action;
use crate::arbiter::cx::{Cx, FollowUp};
use crate::arbiter::fleet::chronicle::What;
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::ids::{JobId, Wid};
use crate::arbiter::operate::last_lines::LastLines;
use crate::arbiter::operate::operation::Waiter;
use crate::arbiter::outcome::{self, Cause, Failure};
use crate::arbiter::state::Arbiter;
use crate::arbiter::time::Now;
use crate::base::{Level, Pid};
use crate::proto::{EventKind, Fault, Notice, Tail};

/// The running reload of a watcher has failed: `what` says what has not been done.
pub(in crate::arbiter) fn report(w: &mut Watcher, what: &str, cx: &mut Cx<'_>) {
    let Some(operation) = w.running.take() else { return };
    let failures: Vec<&Failure> = w.failures.since(operation.mark).collect();
    // The one that has decided it.
    let last = w.failures.latest().filter(|_| !failures.is_empty());
    let cause = last.map(|failure| format!(": {}", failure.words())).unwrap_or_default();
    let worker = last.and_then(|failure| failure.wid.map(|wid| (wid, pid_of(w, wid, &failure.cause))));
    let rows = outcome::fault(w.name(), &failures).map(|fault| fault.failed).unwrap_or_default();
    let fault = Fault { failed: rows, ..Fault::command(format!("{}: {what}{cause}", w.name())) };
    cx.log(Level::Error, fault.reason.clone());
    w.history.chronicle.note(None, What::ReloadFailed { reason: format!("{what}{cause}") }, cx.now);
    let (jobs, walks): (Vec<_>, Vec<_>) =
        operation.waiters.into_iter().partition(|waiter| matches!(waiter, Waiter::Job(_)));
    cx.notify(walks, None, None);
    let jobs = jobs.into_iter().filter_map(|waiter| if let Waiter::Job(job) = waiter { Some(job) } else { None });
    cx.follow_ups.push_back(FollowUp::ReloadFailed(Box::new(FailedReload {
        watcher: w.name().to_owned(),
        resource: w.resource.clone(),
        fault,
        worker,
        jobs: jobs.collect(),
        lines: match worker {
            Some((_, Some(_))) => LastLines::of(&w.config, worker),
            Some((_, None)) | None => LastLines::none(&w.config),
        },
    })));
}

/// The process of a slot that has failed so, if there was one. Its predecessor may be there as well.
fn pid_of(w: &Watcher, wid: Wid, cause: &Cause) -> Option<Pid> {
    let exited = || w.history.last_exit.as_ref().filter(|exit| exit.wid == wid).map(|exit| exit.pid);
    let ending = || w.workers().values().rev().find(|worker| worker.wid == wid && worker.is_ending())?.pid;
    match cause {
        Cause::Exit { .. } => exited(),
        Cause::Hook { .. } => ending(),
        Cause::NotReady { .. } | Cause::Unhealthy { .. } => ending().or_else(exited),
        Cause::Launch(_) | Cause::Stuck { .. } | Cause::HeldBack { .. } | Cause::Waits { .. } => None,
    }
}

impl Arbiter {
    /// Asks for what the new process has printed, where something of it is kept.
    pub(in crate::arbiter) fn reload_failed(&mut self, mut failed: FailedReload, now: Now) {
        if self.phase.has_ended() || !failed.lines.are_kept() {
            return self.publish_failed_reload(failed, now);
        }
        let questions = failed.lines.ask(&mut self.jobs);
        self.outbox.actions.extend(questions);
        self.failed_reloads.push(failed);
    }

    /// Lines have come; `Some` if they were asked for by neither a failed reload nor a `why`.
    pub(in crate::arbiter) fn last_lines_came(&mut self, job: JobId, tail: Tail, now: Now) -> Option<Tail> {
        if let Some(at) = self.failed_reloads.iter().position(|failed| failed.lines.awaits(job)) {
            if self.failed_reloads.get_mut(at).is_some_and(|failed| failed.lines.take(job, tail)) {
                let failed = self.failed_reloads.remove(at);
                self.publish_failed_reload(failed, now);
            }
            return None;
        }
        if let Some(at) = self.whys.iter().position(|why| why.lines.awaits(job)) {
            if self.whys.get_mut(at).is_some_and(|why| why.lines.take(job, tail)) {
                let why = self.whys.remove(at);
                self.answer_why(why, now);
            }
            return None;
        }
        Some(tail)
    }

    /// No more lines come.
    pub(in crate::arbiter) fn publish_failed_reloads(&mut self, now: Now) {
        for failed in std::mem::take(&mut self.failed_reloads) {
            self.publish_failed_reload(failed, now);
        }
    }

    fn publish_failed_reload(&mut self, failed: FailedReload, now: Now) {
        let FailedReload { watcher, resource, mut fault, worker, jobs, lines } = failed;
        let lines: Vec<String> = lines.into_last().map(|(_, line)| line.line).collect();
        let wid = worker.map(|(wid, _)| wid.0);
        for line in &lines {
            let wid = wid.unwrap_or_default();
            self.outbox.log(Level::Error, format!("{watcher}: the new worker {wid} has printed: {line}"));
        }
        if let Some(row) = fault.failed.iter_mut().find(|row| row.get("wid") == Some(&wid.into())) {
            row.insert("lines".into(), lines.clone().into());
        }
        let kind = EventKind::ReloadFailed { wid, reason: fault.reason.clone(), lines };
        self.outbox.act(Action::Publish(Notice { resource, kind, time: now.unix }));
        for job in jobs {
            self.job_part_done(job, None, Some(fault.clone()));
        }
    }
}
