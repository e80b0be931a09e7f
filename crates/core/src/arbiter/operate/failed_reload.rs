//! Reloads that have failed: the answer and the event say why, with the last lines that the new process has printed.
//!
//! The output thread has these lines, so it is asked first. Where nothing is kept of what the workers print, there are none.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::arbiter::action::Action;
use crate::arbiter::core::Arbiter;
use crate::arbiter::cx::{Cx, FollowUp};
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::ids::{JobId, Wid};
use crate::arbiter::operate::queue::Waiter;
use crate::arbiter::outcome::{self, Cause, Failure};
use crate::arbiter::time::Now;
use crate::base::{Level, Pid};
use crate::config::WatcherConfig;
use crate::proto::{EventKind, Fault, KeptLine, Notice, StreamName, Tail, TailRange};

/// So many lines are reported.
const MOST_LINES: usize = 10;
/// So many are looked through: the predecessor may have printed as well, with the same number.
const MOST_SEEN: usize = 1000;
/// So many characters of a line are reported.
const MOST_CHARS: usize = 500;

/// A reload that has failed, until what its new process printed is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct FailedReload {
    watcher: String,
    resource: String,
    fault: Fault,
    worker: Option<(Wid, Option<Pid>)>,
    /// Requests that wait for it.
    jobs: Vec<JobId>,
    streams: Vec<StreamName>,
    /// What the output thread has been asked, and has not answered.
    asked: BTreeSet<(JobId, StreamName)>,
    lines: Vec<KeptLine>,
}

impl FailedReload {
    pub(in crate::arbiter) fn jobs(&self) -> &[JobId] {
        &self.jobs
    }

    fn action(&self, job: JobId, stream: StreamName) -> Action {
        let range = TailRange { lines: MOST_SEEN, wid: self.worker.map(|(wid, _)| wid.0), after: None };
        Action::Tail { job, watcher: self.watcher.clone(), stream, range }
    }

    /// The questions that no answer has come to.
    pub(in crate::arbiter) fn ask_again(&self) -> impl Iterator<Item = Action> + '_ {
        self.asked.iter().map(|(job, stream)| self.action(*job, *stream))
    }

    fn take(&mut self, tail: Tail) {
        let pid = self.worker.and_then(|(_, pid)| pid);
        self.lines.extend(tail.lines.into_iter().filter(|line| pid == Some(Pid(line.pid))));
    }

    /// The last lines, the oldest first.
    fn last_lines(&self) -> Vec<String> {
        let mut lines: Vec<&KeptLine> = self.lines.iter().collect();
        lines.sort_by(|one, other| one.time.total_cmp(&other.time));
        let from = lines.len().saturating_sub(MOST_LINES);
        lines.iter().skip(from).map(|line| line.line.chars().take(MOST_CHARS).collect()).collect()
    }
}

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
        streams: if worker.is_some_and(|(_, pid)| pid.is_some()) { kept_streams(&w.config) } else { Vec::new() },
        asked: BTreeSet::new(),
        lines: Vec::new(),
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

/// The streams of which something is kept.
fn kept_streams(config: &WatcherConfig) -> Vec<StreamName> {
    let streams = [
        (StreamName::Stdout, &config.stdout_stream, config.close_child_stdout),
        (StreamName::Stderr, &config.stderr_stream, config.close_child_stderr),
    ];
    let is_kept = |(_, stream, closed): &(StreamName, &Option<_>, bool)| stream.is_some() && !closed;
    let kept = streams.into_iter().filter(|_| config.tail_bytes > 0).filter(is_kept);
    kept.map(|(name, ..)| name).collect()
}

impl Arbiter {
    /// Asks for what the new process has printed, where something of it is kept.
    pub(in crate::arbiter) fn reload_failed(&mut self, mut failed: FailedReload, now: Now) {
        if self.phase.has_ended() || failed.streams.is_empty() {
            return self.publish_failed_reload(failed, now);
        }
        failed.asked = failed.streams.iter().map(|stream| (self.jobs.name(), *stream)).collect();
        self.outbox.actions.extend(failed.ask_again());
        self.failed_reloads.push(failed);
    }

    /// Lines have come; `Some` if they were not asked for by a failed reload.
    pub(in crate::arbiter) fn lines_of_failed_reload(&mut self, job: JobId, tail: Tail, now: Now) -> Option<Tail> {
        let asked = |failed: &FailedReload| failed.asked.iter().find(|(asked, _)| *asked == job).copied();
        let Some((at, question)) = self.failed_reloads.iter().enumerate().find_map(|(at, f)| Some((at, asked(f)?)))
        else {
            return Some(tail);
        };
        if let Some(failed) = self.failed_reloads.get_mut(at) {
            failed.asked.remove(&question);
            failed.take(tail);
            if failed.asked.is_empty() {
                let failed = self.failed_reloads.remove(at);
                self.publish_failed_reload(failed, now);
            }
        }
        None
    }

    /// No more lines come.
    pub(in crate::arbiter) fn publish_failed_reloads(&mut self, now: Now) {
        for failed in std::mem::take(&mut self.failed_reloads) {
            self.publish_failed_reload(failed, now);
        }
    }

    fn publish_failed_reload(&mut self, failed: FailedReload, now: Now) {
        let lines = failed.last_lines();
        let FailedReload { watcher, resource, mut fault, worker, jobs, .. } = failed;
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
