//! Signals to workers, and the hooks that are asked about them: `before_signal` and `after_signal`.

use std::time::Duration;

use crate::arbiter::action::{Action, Reach};
use crate::arbiter::cx::Cx;
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::fleet::worker::{Worker, WorkerState};
use crate::arbiter::ids::{JobId, Wid, WorkerId};
use crate::arbiter::lifecycle::hooks;
use crate::arbiter::lifecycle::purpose::{HookSubject, Purpose, Send, SignalTarget};
use crate::arbiter::time::Mono;
use crate::arbiter::timers::Timer;
use crate::base::{Level, Pid};
use crate::config::KillMode;
use crate::proto::{EventKind, Signal};

/// SIGKILL is sent again after this time to a process that is still there: sending it may have failed.
pub(in crate::arbiter) const KILL_INTERVAL: Duration = Duration::from_secs(5);

/// A process as a hook gets it.
type Named = (Pid, Wid);

fn about((pid, wid): Named, signal: Signal) -> HookSubject {
    HookSubject { pid: Some(pid), wid: Some(wid), signum: Some(signal), ..HookSubject::default() }
}

/// Asks whether a worker may be sent a signal. `false` if there is no hook to ask.
pub(in crate::arbiter) fn ask(
    w: &mut Watcher,
    id: WorkerId,
    worker: Named,
    signal: Signal,
    then: Send,
    cx: &mut Cx<'_>,
) -> bool {
    let purpose = Purpose::BeforeSignal { worker: id, pid: worker.0, signal, then };
    hooks::run(w, purpose, about(worker, signal), cx)
}

/// When the hook that was asked about a stop signal for this worker has answered at the latest, if it is under way.
pub(in crate::arbiter) fn stop_hook_ends(w: &Watcher, id: WorkerId, cx: &Cx<'_>) -> Option<Mono> {
    let is_about = |purpose: &Purpose| matches!(purpose, Purpose::BeforeSignal { worker, then: Send::Stop { .. }, .. } if *worker == id);
    w.hooks.of(is_about).into_iter().filter_map(|hook| cx.timers.get(Timer::Hook(hook))).max()
}

/// A worker was sent a signal, or was not after all.
pub(in crate::arbiter) fn sent(w: &mut Watcher, worker: Named, signal: Signal, cx: &mut Cx<'_>) {
    hooks::run(w, Purpose::AfterSignal, about(worker, signal), cx);
}

/// Sends the signal that asks a worker to stop. As in Circus, a hook that keeps it from the worker does not keep it
/// from the worker's children.
pub(in crate::arbiter) fn send_stop(w: &Watcher, pid: Pid, signal: Signal, itself: bool, cx: &mut Cx<'_>) {
    let policy = w.stop_policy();
    let reach = match (signal, policy.kill_mode, policy.stop_children) {
        (Signal::KILL, ..) => kill_reach(w),
        (_, KillMode::Mixed, true) if itself => Reach::ProcessAndChildren,
        (_, KillMode::Mixed, true) => Reach::Children,
        _ if !itself => return,
        (_, KillMode::Mixed | KillMode::Process, _) => Reach::Process,
        (_, KillMode::Group, _) => Reach::Group,
        (_, KillMode::Tree, _) => Reach::Tree,
        (_, KillMode::Cgroup, _) => Reach::Cgroup,
    };
    cx.act(Action::Signal { pid, signal, reach, watcher: w.key });
}

/// How far SIGKILL reaches from a worker that has not stopped in time.
pub(in crate::arbiter) fn kill_reach(w: &Watcher) -> Reach {
    match w.kill_mode() {
        KillMode::Process => Reach::Process,
        KillMode::Group => Reach::Group,
        KillMode::Cgroup => Reach::Cgroup,
        KillMode::Mixed | KillMode::Tree => Reach::Tree,
    }
}

/// `before_signal` has answered. It cannot keep back SIGKILL.
pub(in crate::arbiter) fn answered(
    w: &mut Watcher,
    id: WorkerId,
    pid: Pid,
    signal: Signal,
    then: &Send,
    yes: bool,
    cx: &mut Cx<'_>,
) {
    let allowed = yes || signal == Signal::KILL;
    let wid = w.workers().get(&id).map(|worker| worker.wid);
    if let (false, Some(_)) = (allowed, wid) {
        cx.log(Level::Debug, format!("{signal} is not sent to {}", pid.0));
    }
    match then {
        Send::Stop { timeout } => {
            if wid.is_some() {
                stop_signal_decided(w, id, pid, signal, *timeout, allowed, cx);
            }
        }
        Send::Request { job, target } => match (allowed, target, wid) {
            (true, target, Some(_)) => request(*job, pid, signal, *target, cx),
            (false, SignalTarget::Recursive, Some(_)) => {
                request(*job, pid, signal, SignalTarget::Descendants, cx);
            }
            _ => cx.job_part_done(*job, None, None),
        },
    }
    if let Some(wid) = wid {
        sent(w, (pid, wid), signal, cx);
    }
}

/// As in Circus, a signal that its hook keeps back is published like one that was sent.
fn stop_signal_decided(
    w: &mut Watcher,
    id: WorkerId,
    pid: Pid,
    signal: Signal,
    timeout: Duration,
    allowed: bool,
    cx: &mut Cx<'_>,
) {
    let is_overtaken = |worker: &Worker| {
        let is_killed = matches!(worker.state, WorkerState::Terminating { signal: Signal::KILL, .. });
        worker.escalation.is_some() && is_killed && signal != Signal::KILL
    };
    if w.workers().get(&id).is_some_and(is_overtaken) {
        return;
    }
    let due = cx.mono().after(if signal == Signal::KILL { KILL_INTERVAL } else { timeout });
    let kill_at = w.change(id, |worker| {
        let WorkerState::Terminating { signal: sent, kill_at } = &mut worker.state else { return None };
        if *sent == signal {
            // Each of several signals has its whole time from when it is sent.
            *kill_at = if worker.escalation.is_some() { due } else { due.min(*kill_at) };
        }
        Some(*kill_at)
    });
    if let Some(kill_at) = kill_at.flatten() {
        cx.timers.set(Timer::Kill(id), kill_at);
    }
    send_stop(w, pid, signal, allowed, cx);
    cx.publish(w, EventKind::Kill { process_pid: pid.0 });
}

/// Has the daemon carry out a `signal` request for one process.
pub(in crate::arbiter) fn request(job: JobId, pid: Pid, signal: Signal, target: SignalTarget, cx: &mut Cx<'_>) {
    cx.outbox.signal_requests.insert(job);
    cx.act(Action::SignalRequest { job, pids: vec![pid], signal, target });
}

/// Asks about a signal that a client requested, or sends it at once.
pub(in crate::arbiter) fn ask_for_request(
    w: &mut Watcher,
    id: WorkerId,
    pid: Pid,
    signal: Signal,
    (job, target): (JobId, SignalTarget),
    cx: &mut Cx<'_>,
) {
    let Some(wid) = w.workers().get(&id).map(|worker| worker.wid) else {
        return cx.job_part_done(job, None, None);
    };
    if !ask(w, id, (pid, wid), signal, Send::Request { job, target }, cx) {
        request(job, pid, signal, target, cx);
        sent(w, (pid, wid), signal, cx);
    }
}
