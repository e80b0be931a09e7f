//! Stopping a worker: the stop signal, and SIGKILL if it does not exit.

use std::time::Duration;

use crate::arbiter::action::{Action, Reach};
use crate::arbiter::cx::Cx;
use crate::arbiter::fleet::chronicle::What;
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::fleet::worker::WorkerState;
use crate::arbiter::ids::WorkerId;
use crate::arbiter::lifecycle::purpose::{Purpose, Send};
use crate::arbiter::lifecycle::signals::KILL_INTERVAL;
use crate::arbiter::lifecycle::{announce, hooks, probes, signals};
use crate::arbiter::time::seconds;
use crate::arbiter::timers::Timer;
use crate::proto::{EventKind, Signal};

/// Stops a worker as its watcher's options say.
pub(in crate::arbiter) fn by_policy(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    let (signal, timeout) = w.stop_policy().ask();
    with_signal(w, id, signal, timeout, cx);
}

/// Sends a worker this signal, and SIGKILL after `timeout`.
pub(in crate::arbiter) fn with_signal(
    w: &mut Watcher,
    id: WorkerId,
    signal: Signal,
    timeout: Duration,
    cx: &mut Cx<'_>,
) {
    let Some(worker) = w.workers().get(&id) else { return };
    let (state, wid, pid) = (worker.state, worker.wid, worker.pid);
    let mut due = cx.mono().after(timeout);
    let mut send = true;
    match state {
        WorkerState::Preparing | WorkerState::Queued => {
            if let Some(worker) = w.dismiss(id) {
                w.leave_slot(&worker);
            }
            return cancel_spawn_hooks(w, id, "the process is no longer wanted", cx);
        }
        WorkerState::Starting { .. } => {
            w.change(id, |worker| {
                worker.state = WorkerState::Starting { stop_pending: true };
                worker.exit_expected = true;
            });
            if pid.is_some() && cx.timers.get(Timer::Kill(id)).is_none() {
                arm_startup_kill(w, id, cx);
            }
            return;
        }
        WorkerState::Accepting => {
            cancel_spawn_hooks(w, id, "the process was stopped", cx);
            // Clients hear of its exit, so they hear of it first.
            announce::spawned(w, id, cx);
        }
        WorkerState::Unready | WorkerState::Running => {}
        // SIGKILL was sent, and is repeated until the process is gone.
        WorkerState::Terminating { signal: Signal::KILL, .. } => return,
        WorkerState::Terminating { kill_at: at, signal: sent } => {
            due = due.min(at);
            send = sent != signal;
        }
    }
    let Some(pid) = pid else { return };
    let mut kill_at = if signal == Signal::KILL { cx.mono().after(KILL_INTERVAL) } else { due };
    if send && signals::ask(w, id, (pid, wid), signal, Send::Stop { timeout }, cx) {
        // graceful_timeout runs from the moment the signal is sent.
        kill_at = kill_at.after(seconds(w.config.hook_timeout));
        send = false;
    }
    w.change(id, |worker| {
        worker.state = WorkerState::Terminating { signal, kill_at };
        // A process that had ended by itself was not expected to.
        worker.exit_expected |= worker.leader_ended.is_none();
    });
    cx.timers.cancel(Timer::Expire(id));
    probes::end(w, id, cx);
    cx.timers.set(Timer::Kill(id), kill_at);
    if send {
        signals::send_stop(w, pid, signal, true, cx);
        cx.publish(w, EventKind::Kill { process_pid: pid.0 });
        signals::sent(w, (pid, wid), signal, cx);
    }
}

/// A stop requested during startup shares one graceful_timeout with it.
pub(in crate::arbiter) fn arm_startup_kill(w: &Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    let due = cx.mono().after(seconds(w.config.graceful_timeout));
    cx.timers.set(Timer::Kill(id), due);
}

/// graceful_timeout has changed: workers that are being stopped get the new one.
pub(in crate::arbiter) fn timeout_changed(w: &mut Watcher, before: f64, cx: &mut Cx<'_>) {
    let (old, new) = (seconds(before), seconds(w.config.graceful_timeout));
    if old == new {
        return;
    }
    let ids: Vec<WorkerId> = w.workers().keys().copied().collect();
    for id in ids {
        let moved = w.change(id, |worker| match &mut worker.state {
            WorkerState::Terminating { signal, kill_at } if *signal != Signal::KILL => {
                *kill_at = kill_at.before(old).after(new);
                Some(*kill_at)
            }
            WorkerState::Starting { stop_pending: true } => {
                cx.timers.get(Timer::Kill(id)).map(|at| at.before(old).after(new))
            }
            _ => None,
        });
        if let Some(kill_at) = moved.flatten() {
            cx.timers.set(Timer::Kill(id), kill_at);
        }
    }
}

/// Ends the hooks that decide whether a worker comes up.
pub(in crate::arbiter) fn cancel_spawn_hooks(w: &mut Watcher, id: WorkerId, why: &str, cx: &mut Cx<'_>) {
    let about_it = |purpose: &Purpose| matches!(purpose, Purpose::BeforeSpawn(worker) | Purpose::AfterSpawn(worker) if *worker == id);
    hooks::cancel(w, about_it, why, cx);
}

/// A worker's process has ended, and what it has started lives on: that is signalled, and has what is left of the
/// worker's graceful_timeout.
pub(in crate::arbiter) fn leader_exited(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    let Some(worker) = w.workers().get(&id) else { return };
    let (state, Some(pid)) = (worker.state, worker.pid) else { return };
    let (mut signal, timeout) = w.stop_policy().ask();
    let mut kill_at = cx.mono().after(timeout);
    if state == WorkerState::Accepting {
        cancel_spawn_hooks(w, id, "the process has ended", cx);
    }
    if let WorkerState::Terminating { signal: sent, kill_at: at } = state {
        (signal, kill_at) = (sent, at);
    }
    w.change(id, |worker| {
        worker.leader_ended = Some(cx.mono());
        worker.state = WorkerState::Terminating { signal, kill_at };
    });
    cx.timers.cancel(Timer::Expire(id));
    probes::end(w, id, cx);
    cx.timers.set(Timer::Kill(id), kill_at);
    let reach = if signal == Signal::KILL { Reach::Tree } else { Reach::Process };
    cx.act(Action::Signal { pid, signal, reach, watcher: w.key });
}

/// The graceful_timeout of a stopping worker is over.
pub(in crate::arbiter) fn kill_overdue(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    let Some(worker) = w.workers().get(&id) else { return };
    match (worker.state, worker.pid) {
        (WorkerState::Terminating { signal, .. }, Some(pid)) if signal != Signal::KILL => {
            announce::killed(w, worker, pid, cx);
            let (wid, timeout) = (worker.wid, w.stop_policy().timeout);
            w.history.chronicle.note(Some(wid), What::Killed { pid, timeout }, cx.now);
            with_signal(w, id, Signal::KILL, Duration::ZERO, cx);
        }
        // Killed already, or on its way to its program for too long.
        (WorkerState::Terminating { .. } | WorkerState::Starting { stop_pending: true }, Some(pid)) => {
            let next = cx.mono().after(KILL_INTERVAL);
            cx.timers.set(Timer::Kill(id), next);
            w.change(id, |worker| {
                if let WorkerState::Terminating { kill_at, .. } = &mut worker.state {
                    *kill_at = next;
                }
            });
            cx.act(Action::Signal { pid, signal: Signal::KILL, reach: Reach::Tree, watcher: w.key });
        }
        _ => {}
    }
}
