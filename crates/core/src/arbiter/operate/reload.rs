//! Reloads: new processes beside the old ones, one after the other, or a HUP.

use std::time::Duration;

use crate::arbiter::action::{Action, Reach};
use crate::arbiter::cx::Cx;
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::fleet::worker::Worker;
use crate::arbiter::ids::WorkerId;
use crate::arbiter::lifecycle::terminate;
use crate::arbiter::operate::queue::{self, Operation, Progress};
use crate::arbiter::time::seconds;
use crate::arbiter::timers::Timer;
use crate::base::{Level, Mono};
use crate::config::{ReloadMode, Respawn};
use crate::proto::{EventKind, Signal};

/// Begins a graceful reload: the old processes retire as soon as the new ones are up.
pub(in crate::arbiter) fn begin_surge(w: &mut Watcher) {
    let old: Vec<WorkerId> = w.fresh().collect();
    for id in old {
        w.change(id, |worker| worker.retiring = true);
    }
    w.slots.left_empty = 0;
}

/// How long the new processes of a reload still have to live before the old ones are told to stop: min_uptime where an
/// option has changed, as the new command may not run at all.
pub(in crate::arbiter) fn left_to_prove(w: &Watcher, now: Mono) -> Duration {
    let Some(operation) = w.running.as_ref().filter(|operation| operation.proves_new_processes()) else {
        return Duration::ZERO;
    };
    // A worker that has shown that it is ready has proved itself.
    let wanted = if w.config.checks.ready.is_some() { Duration::ZERO } else { seconds(w.config.min_uptime) };
    let is_new = |id: &WorkerId, worker: &Worker| match &operation.progress {
        Progress::Surging => !worker.retiring,
        Progress::Replacing { left, .. } => !left.contains(id) && !worker.is_ending(),
        Progress::Starting | Progress::Stopping | Progress::Retiring => false,
    };
    let new = w.workers().iter().filter(|(id, worker)| is_new(id, worker));
    new.map(|(_, worker)| wanted.saturating_sub(now.since(worker.started.mono))).max().unwrap_or_default()
}

/// `reload = hup`: the processes reload themselves.
pub(in crate::arbiter) fn send_hup_to_all(w: &mut Watcher, cx: &mut Cx<'_>) {
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

/// A worker has reached its max_age. Where the workers share managed sockets, or `reload = overlap` says so, it goes when
/// its successor runs; other programs may want the same port, so that it goes first. One goes at a time.
pub(in crate::arbiter) fn expire(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    let others = w.workers().iter().any(|(other, worker)| *other != id && (worker.retiring || worker.is_ending()));
    if others || w.counts().undecided() > 0 {
        return cx.timers.set(Timer::Expire(id), cx.mono().after(EXPIRE_INTERVAL));
    }
    if succeeds_first(w) {
        w.change(id, |worker| worker.retiring = true);
    } else {
        terminate::by_policy(w, id, cx);
    }
}

/// How long a worker that has reached max_age waits for the one before it to be replaced, before it looks again.
const EXPIRE_INTERVAL: Duration = Duration::from_millis(500);

fn succeeds_first(w: &Watcher) -> bool {
    let config = &w.config;
    let shares = config.use_sockets || !config.sockets.is_empty() || config.stdin_socket.is_some();
    let overlaps = config.reload == Some(ReloadMode::Overlap) || shares && config.reload.is_none();
    let replaced = config.respawn != Respawn::Never && !config.on_demand && !config.singleton;
    overlaps && replaced && w.state == WatcherState::Active && w.running.is_none()
}

/// Workers that have reached max_age are told to stop when their successors run.
pub(in crate::arbiter) fn end_aged(w: &mut Watcher, cx: &mut Cx<'_>) {
    if w.counts().retiring == 0 || !w.is_settled() || w.slots.waiting() > 0 {
        return;
    }
    let aged: Vec<WorkerId> = w.aged().collect();
    for id in aged {
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
    let Some(Operation { progress: Progress::Replacing { left, current }, mark, .. }) = &w.running else {
        return false;
    };
    let leaving = current.is_some_and(|id| w.workers().contains_key(&id));
    if leaving || !w.is_settled() {
        return false;
    }
    let (replaced_one, mark) = (current.is_some(), *mark);
    let mut left = left.clone();
    if w.slots.backoffs().any(|(wid, _)| w.failures.has(wid, mark)) {
        let what = match left.len() {
            0 => "reload failed".to_owned(),
            left => format!("reload failed, {left} processes are not replaced"),
        };
        queue::fail(w, &what, cx);
        return true;
    }
    let left_to_prove = left_to_prove(w, cx.mono());
    if !left_to_prove.is_zero() {
        cx.timers.set(Timer::Warmup(w.key), cx.mono().after(left_to_prove));
        return false;
    }
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
