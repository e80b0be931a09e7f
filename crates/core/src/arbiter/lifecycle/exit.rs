//! The end of a worker, and of a launch that failed: what becomes of its slot.

use std::time::Duration;

use crate::arbiter::cx::Cx;
use crate::arbiter::event::Exit;
use crate::arbiter::fleet::activation::RunResult;
use crate::arbiter::fleet::chronicle::What;
use crate::arbiter::fleet::history::{LastExit, LastFailure};
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::fleet::worker::{Worker, WorkerState};
use crate::arbiter::ids::{Wid, WorkerId};
use crate::arbiter::lifecycle::purpose::{ExitInfo, Purpose};
use crate::arbiter::lifecycle::{
    activation, announce, backoff, essential, hooks, liveness, probes, runs, stop, terminate,
};
use crate::arbiter::operate::reload;
use crate::arbiter::outcome::Cause;
use crate::arbiter::time::seconds;
use crate::arbiter::timers::Timer;
use crate::base::Level;
use crate::base::errno;
use crate::config::Respawn;
use crate::proto::SpawnError;

/// So many early exits in a row of a new worker end a graceful reload: the old processes are kept.
const MAX_EARLY_EXITS: u32 = 5;

/// Unexpected exits of a slot count together within so much time that its workers ran.
const WINDOW: Duration = Duration::from_secs(300);
/// So many of them are replaced at once; from then on the slot backs off.
pub(in crate::arbiter) const FREE_EXITS: u32 = 3;
/// A worker that has lived this many times min_uptime has done its work if it succeeds, and may be trusted if it fails.
const STEADY: u32 = 10;
/// SIGKILL comes from outside (an operator, the kernel without memory): it says nothing about the program.
const KILLED: i32 = -9;

/// A launch came to nothing.
pub(in crate::arbiter) fn launch_failed(w: &mut Watcher, id: WorkerId, error: &SpawnError, cx: &mut Cx<'_>) {
    let Some(worker) = w.dismiss(id) else { return };
    if let Some(pid) = worker.pid {
        // It never ran its program; its exit is of no interest.
        cx.pids.release(pid);
    }
    cx.timers.cancel(Timer::Kill(id));
    for job in &worker.awaited_by {
        cx.job_part_done(*job, None, None);
    }
    let wid = worker.wid;
    w.history.failed += 1;
    let is_repeated = w.history.last_failure.as_ref().is_some_and(|before| before.error == *error);
    w.history.last_failure = Some(LastFailure { wid, error: error.clone(), time: cx.now.unix });
    let reason = describe(w, error);
    let text = format!("error in '{}': {reason}", w.name());
    let at = w.config.declared.as_ref().map(|at| format!(" at={at}")).unwrap_or_default();
    let keys = format!("wid={} stage={}{at}", wid.0, error.stage.name());
    if worker.is_ending() || worker.retiring {
        w.leave_slot(&worker);
        return cx.log(Level::Warning, format!("{text} {keys}"));
    }
    w.history.chronicle.note(Some(wid), What::Failed(Cause::Launch(error.clone())), cx.now);
    let failures = w.slots.count_failure(wid);
    let tries = w.config.max_retry;
    // A failed try does not use up the pause between two starts.
    w.next_spawn = cx.mono();
    if errno::is_transient(error.errno) || tries < 0 {
        w.slots.tried(wid);
        let wait = backoff::begin(w, wid, Cause::Launch(error.clone()), (failures, failures), cx);
        cx.log(Level::Warning, format!("{text}; trying again {keys} wait={}", announce::Seconds(wait)));
    } else if i64::from(failures) < tries {
        w.slots.make_due(wid);
        // The tries follow each other at once, so one line is enough for all that fail alike.
        cx.log(if is_repeated { Level::Debug } else { Level::Warning }, format!("{text} {keys}"));
    } else {
        w.slots.release(wid);
        cx.log(Level::Warning, format!("{text}; given up after {failures} failed starts in a row {keys}"));
        give_up(w, wid, Cause::Launch(error.clone()), cx);
    }
}

/// A process could not be started, as often as max_retry allows: its watcher stops. A graceful reload keeps the
/// old processes instead.
pub(in crate::arbiter) fn give_up(w: &mut Watcher, wid: Wid, cause: Cause, cx: &mut Cx<'_>) {
    w.history.chronicle.gave_up(wid, &cause, cx.now);
    w.failures.note(Some(wid), cause, cx.now);
    if !w.is_surging() {
        w.give_up_for_latest_failure();
        if w.config.on_demand {
            activation::note_run(w, RunResult::Bad, cx);
        }
        essential::note_end(w, false, cx);
        return stop::begin(w, cx);
    }
    reload::keep_old(w, cx);
}

/// `before_spawn` has returned false for a worker that was to replace another: its slot is tried again later.
pub(in crate::arbiter) fn refused(w: &mut Watcher, wid: Wid, cause: Cause, cx: &mut Cx<'_>) {
    let times = w.slots.count_early_death(wid);
    backoff::begin(w, wid, cause, (times, times), cx);
}

/// Takes a worker that was collected off the record. `None` if there is no record of it.
pub(in crate::arbiter) fn remove_exited(w: &mut Watcher, id: WorkerId, exit: Exit, cx: &mut Cx<'_>) -> Option<Worker> {
    if w.workers().get(&id)?.state == WorkerState::Accepting {
        terminate::cancel_spawn_hooks(w, id, "the process has ended", cx);
        // Clients hear of its exit, so they hear of it first.
        announce::spawned(w, id, cx);
    }
    probes::end(w, id, cx);
    let worker = w.dismiss(id)?;
    announce::exited(w, &worker, exit, cx);
    w.history.reaped += 1;
    w.history.ended_cpu_time += exit.cpu;
    let (pid, wid, lived) = (exit.pid, worker.wid, worker.lived(cx.now));
    let (exit_code, oom) = (exit.exit_code, exit.oom);
    if !worker.exit_expected {
        w.history.chronicle.note(Some(wid), What::Exit { pid, exit_code, lived, oom }, cx.now);
    }
    w.history.last_exit = Some(LastExit { wid, pid, exit_code, lived, oom, time: cx.now.unix });
    cx.timers.cancel(Timer::Kill(id));
    cx.timers.cancel(Timer::Expire(id));
    let info = ExitInfo { pid, wid, exit_code, oom, time: cx.now.unix };
    if !hooks::run(w, Purpose::BeforeReap(info), info.subject(), cx) {
        hooks::publish_reap(w, info, cx);
    }
    Some(worker)
}

/// Decides what becomes of the slot of a worker that is gone.
pub(in crate::arbiter) fn free_slot(w: &mut Watcher, id: WorkerId, worker: &Worker, exit_code: i32, cx: &mut Cx<'_>) {
    if worker.hands_over {
        // Its slot has another worker.
        return worker.awaited_by.iter().for_each(|job| cx.job_part_done(*job, None, None));
    }
    let lived = worker.lived(cx.now);
    let replaced_by_reload = w.running.as_ref().is_some_and(|operation| operation.replaces(id));
    let waits_for_demand = w.config.on_demand && !w.is_surging();
    let replaced = !waits_for_demand && is_replaced(w, worker.exit_expected, exit_code);
    let young = lived < seconds(w.config.min_uptime);
    let kept_up = match w.state {
        WatcherState::Stopped | WatcherState::Stopping => false,
        WatcherState::Starting { .. } | WatcherState::Active => true,
    };
    if let Some(run) = &mut w.runs.current {
        run.exit_code = Some(exit_code);
    }
    if kept_up && !w.is_service() {
        runs::exited(w, worker, lived, exit_code, cx);
        return report_gone(worker, cx);
    }
    let wanted = kept_up && !worker.retiring;
    let unhealthy = matches!(worker.verdict(), Some(Cause::Unhealthy { .. }));
    if kept_up && replaced && (!worker.exit_expected || unhealthy) && !worker.retiring && !replaced_by_reload {
        w.history.restarts += 1;
    }
    if wanted && let Some(cause @ Cause::NotReady { .. }) = worker.verdict() {
        not_ready(w, worker.wid, cause.clone(), cx);
    } else if kept_up && !replaced && !worker.retiring && !replaced_by_reload {
        w.slots.release(worker.wid);
        let failed = !w.is_success(exit_code) && !worker.exit_expected;
        if failed && young && w.is_surging() {
            give_up(w, worker.wid, Cause::Exit { exit_code, lived }, cx);
        } else if failed {
            w.failures.note(Some(worker.wid), Cause::Exit { exit_code, lived }, cx.now);
        } else if w.is_success(exit_code) {
            // It has succeeded where its predecessors failed.
            w.failures.forget(worker.wid);
        }
        if w.missing() > 0 {
            w.slots.left_empty += 1;
        }
        if waits_for_demand && !(young && worker.exit_expected) {
            ended_on_demand(w, worker.wid, young.then_some(lived), exit_code, cx);
        }
    } else if wanted && let Some(cause @ Cause::Unhealthy { .. }) = worker.verdict() {
        liveness::back_off(w, worker, cause.clone(), cx);
    } else if wanted && (worker.refused || (young || worker.is_short_of_ready()) && !worker.exit_expected) {
        exited_early(w, worker.wid, lived, exit_code, cx);
    } else if kept_up && !worker.retiring && !worker.exit_expected && counts(w, lived, exit_code) {
        w.slots.lived_for_min_uptime(worker.wid);
        match w.slots.count_exit(worker.wid, lived, window(w), steady(w)) {
            ..=FREE_EXITS => w.slots.release(worker.wid),
            exits => backoff::begin_after_exit(w, worker.wid, exit_code, (lived, exits, exits - FREE_EXITS), cx),
        }
    } else {
        if !young {
            w.slots.forget_exits(worker.wid);
        }
        w.slots.release(worker.wid);
    }
    report_gone(worker, cx);
}

/// Answers the requests that waited for this worker's end.
fn report_gone(worker: &Worker, cx: &mut Cx<'_>) {
    for job in &worker.awaited_by {
        cx.job_part_done(*job, None, None);
    }
}

/// A worker that a connection had started ended by itself; `young`: how long it lived, where that is too short.
fn ended_on_demand(w: &mut Watcher, wid: Wid, young: Option<Duration>, exit_code: i32, cx: &mut Cx<'_>) {
    let result = match young {
        None => RunResult::Good,
        Some(_) if w.is_success(exit_code) => RunResult::Brief,
        Some(_) => RunResult::Bad,
    };
    let rest = activation::note_run(w, result, cx);
    if let (RunResult::Bad, Some(lived), Some(rest)) = (result, young, rest) {
        announce::rests(w, wid, exit_code, (lived, rest), cx);
    }
}

fn exited_early(w: &mut Watcher, wid: Wid, lived: Duration, exit_code: i32, cx: &mut Cx<'_>) {
    let k = w.slots.count_early_death(wid);
    if w.is_surging() && k >= MAX_EARLY_EXITS {
        w.slots.release(wid);
        return give_up(w, wid, Cause::Exit { exit_code, lived }, cx);
    }
    backoff::begin_after_exit(w, wid, exit_code, (lived, k, k), cx);
}

/// A worker that was not ready in time is gone: as with any launch that failed, save that the next one always waits.
fn not_ready(w: &mut Watcher, wid: Wid, cause: Cause, cx: &mut Cx<'_>) {
    let failures = w.slots.count_failure(wid);
    let tries = w.config.max_retry;
    let name = w.name().to_owned();
    if tries < 0 || i64::from(failures) < tries {
        w.slots.tried(wid);
        let wait: Duration = backoff::begin(w, wid, cause, (failures, failures), cx);
        let text = format!("{name}: worker waits for its next start wid={} wait={}ms", wid.0, wait.as_millis());
        return cx.log(Level::Warning, text);
    }
    w.slots.release(wid);
    cx.log(Level::Warning, format!("{name}: given up after {failures} failed starts in a row wid={}", wid.0));
    give_up(w, wid, cause, cx);
}

/// Whether an unexpected exit after min_uptime may be part of a crash loop: a failure, or a success that came soon.
fn counts(w: &Watcher, lived: Duration, exit_code: i32) -> bool {
    exit_code != KILLED && lived <= window(w) && (lived < steady(w) || !w.is_success(exit_code))
}

fn steady(w: &Watcher) -> Duration {
    seconds(w.config.min_uptime).saturating_mul(STEADY)
}

/// Within how much time that its workers ran the exits of a slot count. `min_uptime = 0` asks for no back-off.
fn window(w: &Watcher) -> Duration {
    match seconds(w.config.min_uptime) {
        Duration::ZERO => Duration::ZERO,
        min_uptime => WINDOW.max(min_uptime.saturating_mul(STEADY * (FREE_EXITS + 1))),
    }
}

/// Whether a worker that ended so is replaced.
fn is_replaced(w: &Watcher, exit_expected: bool, exit_code: i32) -> bool {
    match w.config.respawn {
        Respawn::Always => true,
        // An end that was asked for says nothing about the work: max_age and kill mean a new worker.
        Respawn::OnFailure => exit_expected || !w.is_success(exit_code),
        Respawn::Never => false,
    }
}

/// A failed launch in words, with what can be done about it.
fn describe(w: &Watcher, error: &SpawnError) -> String {
    match w.config.launch_hint(error) {
        Some(hint) => format!("{}; {hint}", error.describe()),
        None => error.describe(),
    }
}
