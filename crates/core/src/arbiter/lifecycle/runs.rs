//! The runs of a watcher that is no service (`kind`): one process at a time, which does its work and ends.
//!
//! A run is the time between Stopped and Stopped. Its process is a worker like any other; what differs is its end. One
//! that succeeds ends the run. One that fails is followed by another after a back-off, as long as `max_retry` allows and
//! unless `respawn = no`; then the run has failed, and the watcher with it. Those of a schedule (`lifecycle::cron`) are tried
//! again with `respawn = on-failure` only.

use std::time::Duration;

use crate::arbiter::cx::{Cx, FollowUp};
use crate::arbiter::fleet::runs::Run;
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::fleet::worker::Worker;
use crate::arbiter::lifecycle::announce::Seconds;
use crate::arbiter::lifecycle::backoff;
use crate::arbiter::operate::operation::OperationKind;
use crate::arbiter::outcome::{Cause, Failure};
use crate::base::Level;
use crate::config::{Respawn, WatcherConfig, WatcherKind};
use crate::proto::{EventKind, Fault, RunReport, RunResult, RunTrigger};

/// The watcher leaves Stopped.
pub(in crate::arbiter) fn begin(w: &mut Watcher, cx: &mut Cx<'_>) {
    if w.is_service() {
        return;
    }
    let trigger = match (w.runs.follows.take(), w.running.as_ref().map(|operation| operation.kind)) {
        (Some(trigger), _) => trigger,
        (None, Some(OperationKind::Run)) => RunTrigger::Request,
        (None, _) => RunTrigger::Start,
    };
    w.runs.current = Some(Run { began: cx.now, trigger, attempts: 0, exit_code: None, is_done: false, failure: None });
    cx.publish(w, EventKind::RunBegin { trigger });
}

/// A process of the run has got to its program.
pub(in crate::arbiter) fn spawned(w: &mut Watcher) {
    if let Some(run) = &mut w.runs.current {
        run.attempts = run.attempts.saturating_add(1);
    }
}

/// The process of a run has ended before the watcher was stopped.
pub(in crate::arbiter) fn exited(w: &mut Watcher, worker: &Worker, lived: Duration, exit_code: i32, cx: &mut Cx<'_>) {
    let wid = worker.wid;
    let has_succeeded = w.is_success(exit_code);
    if has_succeeded {
        w.slots.forget_exits(wid);
        w.failures.forget(wid);
        if let Some(run) = &mut w.runs.current {
            run.is_done = true;
        }
    } else {
        let times = w.slots.count_early_death(wid);
        // One that was killed by a command is not wanted.
        if !worker.exit_expected && is_retried(&w.config, times) {
            w.history.restarts += 1;
            return backoff::begin_after_exit(w, wid, exit_code, (lived, times, times), cx);
        }
        w.failures.note(Some(wid), Cause::Exit { exit_code, lived }, cx.now);
    }
    w.slots.release(wid);
    w.slots.left_empty = 1;
}

/// Whether a run goes on after so many processes in a row that have failed.
fn is_retried(config: &WatcherConfig, failures: u32) -> bool {
    let retries = match config.kind {
        WatcherKind::Service => false,
        WatcherKind::Oneshot => config.respawn != Respawn::Never,
        // The next run is another try.
        WatcherKind::Cron => config.respawn == Respawn::OnFailure,
    };
    retries && (config.max_retry < 0 || i64::from(failures) < config.max_retry)
}

/// The watcher stops of its own accord: that is why the run has failed, unless it has done its work.
pub(in crate::arbiter) fn note_failure(w: &mut Watcher) {
    let reason = w.gave_up.as_ref().map(Failure::words);
    if let Some(run) = &mut w.runs.current {
        run.failure = reason;
    }
}

/// The watcher is in Stopped: the run is over, if there was one.
pub(in crate::arbiter) fn end(w: &mut Watcher, cx: &mut Cx<'_>) {
    let Some(run) = w.runs.current.take() else { return };
    let result = match &run {
        Run { failure: Some(_), .. } => RunResult::Failure,
        Run { is_done: true, .. } => RunResult::Success,
        Run { .. } => RunResult::Stopped,
    };
    let took = cx.mono().since(run.began.mono);
    let report = RunReport {
        result,
        exit_code: run.exit_code,
        began: run.began.unix,
        duration: took.as_secs_f64(),
        attempts: run.attempts,
        trigger: run.trigger,
        reason: run.failure,
    };
    let (name, attempts, took) = (w.name(), report.attempts, Seconds(took));
    match (result, &report.reason) {
        (RunResult::Success, _) => {
            cx.log(Level::Info, format!("{name}: run succeeded after={took} attempts={attempts}"));
            w.runs.succeeded += 1;
            cx.follow_ups.push_back(FollowUp::CameUp(w.key));
        }
        (RunResult::Failure, reason) => {
            let reason = reason.as_deref().unwrap_or_default();
            cx.log(Level::Error, format!("{name}: run failed after={took} attempts={attempts} reason={reason:?}"));
            w.runs.failed += 1;
        }
        (RunResult::Stopped, _) => {
            cx.log(Level::Warning, format!("{name}: run stopped before its end after={took} attempts={attempts}"));
        }
    }
    if w.runs.follows.is_some() {
        cx.follow_ups.push_back(FollowUp::RunNext(w.key));
    }
    cx.publish(w, EventKind::RunEnd(report.clone()));
    w.runs.last = Some(report);
}

/// Whether the run that is under way has done its work.
pub(in crate::arbiter) fn is_done(w: &Watcher) -> bool {
    w.runs.current.as_ref().is_some_and(|run| run.is_done)
}

/// Whether the last run has succeeded, and none is under way.
pub(in crate::arbiter) fn has_succeeded(w: &Watcher) -> bool {
    let last = w.runs.last.as_ref().map(|last| last.result);
    w.state == WatcherState::Stopped && w.runs.current.is_none() && last == Some(RunResult::Success)
}

/// What a request is answered that has waited for the run that is over: a failure, if it was no success.
pub(in crate::arbiter) fn fault(w: &Watcher) -> Option<Fault> {
    let last = w.runs.last.as_ref()?;
    let reason = match (last.result, &last.reason) {
        (RunResult::Success, _) => return None,
        (RunResult::Failure, Some(reason)) => format!("{}: {reason}", w.name()),
        (RunResult::Failure, None) => format!("{}: the run has failed", w.name()),
        (RunResult::Stopped, _) => format!("{}: the run was stopped before its end", w.name()),
    };
    Some(Fault::command(reason))
}
