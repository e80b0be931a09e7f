//! A worker from the decision to launch it until it runs.

use std::time::Duration;

use crate::arbiter::cx::Cx;
use crate::arbiter::fleet::watcher::{Watcher, WatcherState, note_run};
use crate::arbiter::fleet::worker::WorkerState;
use crate::arbiter::ids::WorkerId;
use crate::arbiter::lifecycle::purpose::{HookSubject, Purpose};
use crate::arbiter::lifecycle::{announce, hooks, readiness, runs, terminate};
use crate::arbiter::timers::Timer;
use crate::base::Pid;

/// Asks for one more process of this watcher.
pub(in crate::arbiter) fn launch(w: &mut Watcher, cx: &mut Cx<'_>) {
    let wid = w.slots.take(w.config.numprocesses);
    // As in Circus, a process is one process however often its launch is tried.
    let again = w.slots.tries_again(wid);
    let worker = w.admit_worker(wid, cx.now);
    let subject = HookSubject { wid: Some(wid), ..HookSubject::default() };
    if !again && hooks::run(w, Purpose::BeforeSpawn(worker), subject, cx) {
        w.change(worker, |worker| worker.state = WorkerState::Preparing);
    } else {
        cx.outbox.launches.push_back(worker);
    }
}

/// A process exists that is changing its user, say, before it runs its program.
pub(in crate::arbiter) fn created(w: &mut Watcher, id: WorkerId, pid: Pid, cx: &mut Cx<'_>) {
    let stop_pending = w.change(id, |worker| {
        worker.pid = Some(pid);
        worker.state == WorkerState::Starting { stop_pending: true }
    });
    if let Some(stop_pending) = stop_pending {
        cx.pids.created(pid, id);
        if stop_pending {
            terminate::arm_startup_kill(w, id, cx);
        }
    }
}

/// A process runs its program.
pub(in crate::arbiter) fn spawned(w: &mut Watcher, id: WorkerId, pid: Pid, cx: &mut Cx<'_>) {
    let now = cx.now;
    let known = w.change(id, |worker| {
        let stop_pending = worker.state == WorkerState::Starting { stop_pending: true };
        worker.pid = Some(pid);
        worker.started = now;
        worker.state = WorkerState::Running;
        (stop_pending, worker.wid)
    });
    let Some((stop_pending, wid)) = known else { return };
    cx.timers.cancel(Timer::Kill(id));
    if w.config.checks.ready.is_none() {
        w.slots.launched(wid);
        w.slots.tried(wid);
    }
    cx.pids.created(pid, id);
    let stops = w.state == WatcherState::Stopping;
    let subject = HookSubject { pid: Some(pid), wid: Some(wid), ..HookSubject::default() };
    if !stop_pending && !stops && hooks::run(w, Purpose::AfterSpawn(id), subject, cx) {
        w.change(id, |worker| worker.state = WorkerState::Accepting);
        return;
    }
    publish_spawned(w, id, cx);
    if stop_pending {
        terminate::by_policy(w, id, cx);
    } else {
        readiness::begin(w, id, cx);
    }
}

/// A process counts as one of the watcher's from now on.
pub(in crate::arbiter) fn publish_spawned(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    announce::spawned(w, id, cx);
    runs::spawned(w);
    if w.config.checks.ready.is_none() {
        note_run(w);
    }
    if w.config.max_age > 0 {
        let variance = u64::try_from(w.config.max_age_variance).unwrap_or(0);
        let age = u64::try_from(w.config.max_age).unwrap_or(0).saturating_add(cx.rng.up_to(variance));
        cx.timers.set(Timer::Expire(id), cx.mono().after(Duration::from_secs(age)));
    }
}
