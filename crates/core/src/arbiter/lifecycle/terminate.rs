//! Stopping a worker: the stop signal, those that follow it, and SIGKILL if it does not exit.

use std::time::Duration;

use crate::arbiter::action::{Action, Reach};
use crate::arbiter::cx::Cx;
use crate::arbiter::fleet::chronicle::What;
use crate::arbiter::fleet::escalation::Escalation;
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::fleet::worker::WorkerState;
use crate::arbiter::ids::WorkerId;
use crate::arbiter::lifecycle::purpose::{Purpose, Send};
use crate::arbiter::lifecycle::signals::KILL_INTERVAL;
use crate::arbiter::lifecycle::{announce, hooks, probes, signals};
use crate::arbiter::time::{Mono, seconds};
use crate::arbiter::timers::Timer;
use crate::proto::{EventKind, Signal};

/// Stops a worker as its watcher's options say.
pub(in crate::arbiter) fn by_policy(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    let policy = w.stop_policy();
    let Some(mut escalation) = policy.escalation() else {
        return with_signal(w, id, policy.signal, seconds(policy.timeout), cx);
    };
    let Some(worker) = w.workers().get(&id) else { return };
    match worker.state {
        // It goes on as it has begun.
        WorkerState::Terminating { .. } if worker.escalation.is_some() => return,
        WorkerState::Terminating { kill_at, .. } => escalation = escalation.within(kill_at.since(cx.mono())),
        WorkerState::Preparing
        | WorkerState::Queued
        | WorkerState::Starting { .. }
        | WorkerState::Accepting
        | WorkerState::Unready
        | WorkerState::Running => {}
    }
    let wait = escalation.wait();
    // One that is not there yet is asked for it again when it is.
    if worker.is_up() {
        w.change(id, |worker| worker.escalation = Some(Box::new(escalation)));
    }
    send(w, id, policy.signal, wait, cx);
}

/// Sends a worker this signal, and SIGKILL after `timeout`. A stop by several signals that is under way ends with it, and
/// SIGKILL comes no later than it would have come.
pub(in crate::arbiter) fn with_signal(
    w: &mut Watcher,
    id: WorkerId,
    signal: Signal,
    timeout: Duration,
    cx: &mut Cx<'_>,
) {
    w.change(id, |worker| {
        if let WorkerState::Terminating { signal, kill_at } = &mut worker.state
            && *signal != Signal::KILL
            && let Some(escalation) = worker.escalation.take()
        {
            *kill_at = kill_at.after(escalation.beyond());
        }
    });
    send(w, id, signal, timeout, cx);
}

/// Sends a worker a signal; the next one follows after `timeout`.
fn send(w: &mut Watcher, id: WorkerId, signal: Signal, timeout: Duration, cx: &mut Cx<'_>) {
    let Some(worker) = w.workers().get(&id) else { return };
    let (state, pid) = (worker.state, worker.pid);
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
        WorkerState::Terminating { kill_at, signal: sent } => {
            let due = cx.mono().after(timeout).min(kill_at);
            return tell(w, id, signal, (timeout, due), sent != signal, cx);
        }
    }
    tell(w, id, signal, (timeout, cx.mono().after(timeout)), true, cx);
}

/// A worker that runs is being stopped from now on, or goes on being stopped: by this signal, if it is to be sent.
fn tell(
    w: &mut Watcher,
    id: WorkerId,
    signal: Signal,
    (timeout, due): (Duration, Mono),
    mut send: bool,
    cx: &mut Cx<'_>,
) {
    let Some((Some(pid), wid)) = w.workers().get(&id).map(|worker| (worker.pid, worker.wid)) else { return };
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
    let timeout = w.config.graceful_timeout;
    for id in ids {
        let moved = w.change(id, |worker| match &mut worker.state {
            WorkerState::Terminating { .. }
                if worker.escalation.as_mut().is_some_and(|escalation| !escalation.set_timeout(timeout)) =>
            {
                None
            }
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
    let policy = w.stop_policy();
    let (mut signal, mut escalation) = (policy.signal, policy.escalation());
    let timeout = escalation.as_ref().map_or_else(|| seconds(policy.timeout), Escalation::wait);
    let mut kill_at = cx.mono().after(timeout);
    if state == WorkerState::Accepting {
        cancel_spawn_hooks(w, id, "the process has ended", cx);
    }
    if let WorkerState::Terminating { signal: sent, kill_at: at } = state {
        (signal, kill_at) = (sent, at);
        escalation = w.change(id, |worker| worker.escalation.take().map(|escalation| *escalation)).flatten();
    }
    w.change(id, |worker| {
        worker.escalation = escalation.map(Box::new);
        worker.leader_ended = Some(cx.mono());
        worker.state = WorkerState::Terminating { signal, kill_at };
    });
    cx.timers.cancel(Timer::Expire(id));
    probes::end(w, id, cx);
    cx.timers.set(Timer::Kill(id), kill_at);
    let reach = if signal == Signal::KILL { signals::kill_reach(w) } else { Reach::Process };
    cx.act(Action::Signal { pid, signal, reach, watcher: w.key });
}

/// A worker that is being stopped has not exited in time: it gets the next signal. Signals go out in order, so that one
/// waits while the hook of the one before has not answered.
pub(in crate::arbiter) fn overdue(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    let Some(worker) = w.workers().get(&id) else { return };
    let (state, wid, pid) = (worker.state, worker.wid, worker.pid);
    let (Some(escalation), Some(pid)) = (worker.escalation.clone(), pid) else { return kill_overdue(w, id, cx) };
    match state {
        WorkerState::Terminating { signal, .. } if signal != Signal::KILL => {}
        _ => return kill_overdue(w, id, cx),
    }
    if let Some(answered) = signals::stop_hook_ends(w, id, cx) {
        // Later than now in any case, as the answer may be due now too.
        let next = answered.after(escalation.wait()).max(cx.mono().after(Duration::from_millis(1)));
        w.change(id, |worker| {
            if let WorkerState::Terminating { kill_at, .. } = &mut worker.state {
                *kill_at = next;
            }
        });
        return cx.timers.set(Timer::Kill(id), next);
    }
    let next = w.change(id, |worker| {
        let escalation = worker.escalation.as_mut()?;
        Some((escalation.next()?, escalation.wait()))
    });
    let Some((signal, wait)) = next.flatten() else { return kill_overdue(w, id, cx) };
    announce::escalates(w, (wid, pid), signal, cx);
    tell(w, id, signal, (wait, cx.mono().after(wait)), true, cx);
}

/// A stopping worker has used up its time, or is to have none: it is killed.
pub(in crate::arbiter) fn kill_overdue(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    let Some(worker) = w.workers().get(&id) else { return };
    match (worker.state, worker.pid) {
        (WorkerState::Terminating { signal, .. }, Some(pid)) if signal != Signal::KILL => {
            announce::killed(w, worker, pid, cx);
            let (wid, policy) = (worker.wid, w.stop_policy());
            let signals = worker.escalation.is_some().then(|| policy.signals());
            let what = What::Killed { pid, timeout: policy.timeout, signals };
            w.history.chronicle.note(Some(wid), what, cx.now);
            send(w, id, Signal::KILL, Duration::ZERO, cx);
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
            cx.act(Action::Signal { pid, signal: Signal::KILL, reach: signals::kill_reach(w), watcher: w.key });
        }
        _ => {}
    }
}
