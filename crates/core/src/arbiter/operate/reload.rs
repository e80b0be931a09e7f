//! Reloads: new processes beside the old ones, one after the other, or a HUP.

use std::time::Duration;

use crate::arbiter::action::{Action, Reach};
use crate::arbiter::cx::Cx;
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::ids::WorkerId;
use crate::arbiter::lifecycle::terminate;
use crate::arbiter::operate::queue::{self, Operation, Progress};
use crate::arbiter::time::seconds;
use crate::arbiter::timers::Timer;
use crate::base::{Level, Mono};
use crate::proto::{EventKind, Signal};

/// Begins a graceful reload: the old processes retire as soon as the new ones are up.
pub(in crate::arbiter) fn begin_surge(w: &mut Watcher, cx: &mut Cx<'_>) {
    let needs_new = w.running.as_ref().is_some_and(Operation::needs_new_processes);
    if w.config.send_hup && !needs_new {
        return send_hup_to_all(w, cx);
    }
    let old: Vec<WorkerId> = w.fresh().collect();
    for id in old {
        w.change(id, |worker| worker.retiring = true);
    }
    w.slots.left_empty = 0;
}

/// How long the new processes of a reload still have to live before the old ones are told to stop: min_uptime where an
/// option has changed, as the new command may not run at all.
pub(in crate::arbiter) fn left_to_prove(w: &Watcher, now: Mono) -> Duration {
    if !w.is_surging() || !w.running.as_ref().is_some_and(Operation::proves_new_processes) {
        return Duration::ZERO;
    }
    let wanted = seconds(w.config.min_uptime);
    let new = w.workers().values().filter(|worker| !worker.retiring);
    new.map(|worker| wanted.saturating_sub(now.since(worker.started.mono))).max().unwrap_or_default()
}

/// `send_hup`: the processes reload themselves.
fn send_hup_to_all(w: &mut Watcher, cx: &mut Cx<'_>) {
    let workers: Vec<WorkerId> = w.fresh().collect();
    for id in workers {
        let pid = w.change(id, |worker| {
            // One that ends because of it is replaced at once.
            worker.exit_expected |= worker.pid.is_some();
            worker.pid
        });
        if let Some(pid) = pid.flatten() {
            cx.act(Action::Signal { pid, signal: Signal::HUP, reach: Reach::Process, watcher: w.key });
        }
    }
    reloaded(w, cx);
}

/// The new processes are up: the old ones are told to stop.
pub(in crate::arbiter) fn end_retiring(w: &mut Watcher, cx: &mut Cx<'_>) {
    let old: Vec<WorkerId> = w.workers().iter().filter(|(_, worker)| worker.retiring).map(|(id, _)| *id).collect();
    for id in old {
        terminate::by_policy(w, id, cx);
    }
}

pub(in crate::arbiter) fn reloaded(w: &mut Watcher, cx: &mut Cx<'_>) {
    cx.log(Level::Info, format!("{} reloaded", w.name()));
    cx.publish(w, EventKind::Reload);
    queue::end(w, cx);
}

/// A sequential reload ends the next of the old processes when the one before it is replaced.
pub(in crate::arbiter) fn replace_next(w: &mut Watcher, cx: &mut Cx<'_>) -> bool {
    if w.config.send_hup && !w.running.as_ref().is_some_and(Operation::needs_new_processes) {
        send_hup_to_all(w, cx);
        return true;
    }
    let Some(Operation { progress: Progress::Replacing { left, current }, .. }) = &w.running else { return false };
    let leaving = current.is_some_and(|id| w.workers().contains_key(&id));
    if leaving || !w.is_settled() {
        return false;
    }
    let replaced_one = current.is_some();
    let mut left = left.clone();
    let present = |id: &WorkerId| w.workers().get(id).is_some_and(|worker| !worker.is_ending());
    let Some(id) = std::iter::from_fn(|| left.pop_front()).find(present) else {
        reloaded(w, cx);
        return true;
    };
    // The pause between two of a sequential reload is the one between two spawns.
    if replaced_one && w.config.warmup_delay > 0.0 && w.next_spawn > cx.mono() {
        cx.timers.set(Timer::Warmup(w.key), w.next_spawn);
        return false;
    }
    if let Some(operation) = &mut w.running {
        operation.progress = Progress::Replacing { left, current: Some(id) };
    }
    terminate::by_policy(w, id, cx);
    true
}
