//! Reloads: new processes beside the old ones, one after the other, or a HUP.
//!
//! Where the new processes come first, `reload_batch` workers are replaced at a time: their successors start, with the same
//! numbers, and have to be ready and to live for min_uptime; then the old ones are told to stop, and the next batch begins
//! without waiting for their ends. `reload_surge` bounds how many processes there are more than numprocesses, those that
//! stop included. A batch whose new processes do not come up goes, and its old ones stay.

use std::collections::VecDeque;
use std::time::Duration;

use crate::arbiter::action::{Action, Reach};
use crate::arbiter::cx::{Cx, FollowUp};
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::fleet::worker::Worker;
use crate::arbiter::ids::{Wid, WorkerId};
use crate::arbiter::lifecycle::terminate;
use crate::arbiter::operate::operation::{Operation, OperationKind, Progress, Waiter};
use crate::arbiter::operate::{failed_reload, queue};
use crate::arbiter::time::seconds;
use crate::arbiter::timers::Timer;
use crate::base::{Level, Mono};
use crate::config::Respawn;
use crate::proto::{EventKind, Signal};

/// So many workers whose successors come first are replaced at a time.
fn batch_size(w: &Watcher, kind: OperationKind) -> usize {
    match (kind, w.config.reload_batch) {
        (OperationKind::ReloadSequential, _) => 1,
        (_, 0) => usize::MAX,
        (_, size) => size as usize,
    }
}

/// How many processes more there may be now.
fn room(w: &Watcher) -> usize {
    // Workers for empty slots will come as well.
    let here = w.workers().len() + w.missing();
    match w.config.reload_surge {
        0 => usize::MAX,
        surge => (w.config.numprocesses as usize).saturating_add(surge as usize).saturating_sub(here),
    }
}

/// The workers that go when their successors have proved themselves.
fn being_replaced(w: &Watcher) -> impl Iterator<Item = (WorkerId, &Worker)> {
    let goes = |worker: &Worker| worker.retiring && !worker.is_ending();
    w.workers().iter().filter(move |(_, worker)| goes(worker)).map(|(id, worker)| (*id, worker))
}

/// Begins a reload in which the new processes come first: nothing that an old one has failed at counts any more.
pub(in crate::arbiter) fn begin_surge(w: &mut Watcher, cx: &mut Cx<'_>) {
    for wid in w.slots.end_backoffs() {
        cx.timers.cancel(Timer::Retry(w.key, wid));
    }
    let old: VecDeque<WorkerId> = w.fresh().collect();
    // The successor of one that has reached max_age may be on its way: it belongs to the first batch.
    let retiring: Vec<Wid> = being_replaced(w).map(|(_, worker)| worker.wid).collect();
    let succeeds = |id: &WorkerId| w.workers().get(id).is_some_and(|worker| retiring.contains(&worker.wid));
    let batch_since = old.iter().find(|id| succeeds(id)).map_or(w.next_serial(), |id| id.serial);
    if let Some(operation) = &mut w.running {
        (operation.left, operation.batch_since) = (old, batch_since);
    }
    w.next_spawn = cx.mono();
    begin_batch(w, cx);
}

/// The result of an attempt to replace the next workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Batch {
    /// Their successors come up.
    Begun,
    /// A process has to go first, or a pause has to pass.
    Waits,
    /// None is left.
    None,
}

/// Turns to the next workers that are to be replaced.
fn begin_batch(w: &mut Watcher, cx: &mut Cx<'_>) -> Batch {
    let is_left = |w: &Watcher, id: &WorkerId| w.workers().get(id).is_some_and(|worker| !worker.is_ending());
    let Some(operation) = &w.running else { return Batch::None };
    let (size, old) = (batch_size(w, operation.kind), operation.left.clone());
    let mut left: VecDeque<WorkerId> = old.into_iter().filter(|id| is_left(w, id)).collect();
    let any = !left.is_empty();
    let next_serial = w.next_serial();
    let mut begun = 0;
    if w.next_spawn <= cx.mono() || w.config.warmup_delay <= 0.0 {
        let most = size.saturating_sub(being_replaced(w).count()).min(room(w));
        left.retain(|id| {
            let is_unlaunched = w.workers().get(id).is_some_and(|worker| worker.state.is_unlaunched());
            let turns = begun < most && (is_unlaunched || w.retire(*id));
            if turns && is_unlaunched {
                // The worker that is launched in its place is new.
                terminate::by_policy(w, *id, cx);
            }
            begun += usize::from(turns);
            !turns
        });
    } else if any {
        cx.timers.set(Timer::Warmup(w.key), w.next_spawn);
    }
    if begun > 0 {
        // The pause between two steps of a reload is the one between two spawns.
        w.next_spawn = cx.mono().after(seconds(w.config.warmup_delay));
    }
    let Some(operation) = &mut w.running else { return Batch::None };
    operation.left = left;
    if begun > 0 {
        operation.batch_since = next_serial;
    }
    match (begun, any) {
        (1.., _) => Batch::Begun,
        (0, true) => Batch::Waits,
        (0, false) => Batch::None,
    }
}

/// Goes on with a reload in which the new processes come first. Whether something has changed.
pub(in crate::arbiter) fn surge(w: &mut Watcher, cx: &mut Cx<'_>) -> bool {
    // With a slot that backs off, or a process that goes, the new processes are not all up.
    if !w.is_settled() || w.slots.waiting() > 0 || w.counts().dying > 0 {
        return false;
    }
    let left_to_prove = left_to_prove(w, cx.mono());
    if !left_to_prove.is_zero() {
        cx.timers.set(Timer::Warmup(w.key), cx.mono().after(left_to_prove));
        return false;
    }
    let told = end_retiring(w, cx);
    match begin_batch(w, cx) {
        Batch::Begun => true,
        Batch::Waits => told,
        Batch::None => {
            if let Some(operation) = &mut w.running {
                operation.progress = Progress::Retiring;
                let walks = operation.waiters.iter().filter_map(|waiter| match waiter {
                    Waiter::Walk(id, _) => Some(FollowUp::WalkGoesOn(*id)),
                    Waiter::Job(_) => None,
                });
                // The old processes hold up no other watcher.
                cx.follow_ups.extend(walks);
            }
            true
        }
    }
}

/// How long the new processes of a reload still have to live before the next old ones are stopped: a new command may
/// not run at all, or end as soon as it is ready.
pub(in crate::arbiter) fn left_to_prove(w: &Watcher, now: Mono) -> Duration {
    let is_new = |id: &WorkerId| match w.running.as_ref().map(|operation| &operation.progress) {
        Some(Progress::Replacing { left, .. }) => !left.contains(id),
        Some(Progress::Surging) => w.running.as_ref().is_some_and(|operation| id.serial >= operation.batch_since),
        // Nothing but the successor of one that has reached max_age is young.
        Some(Progress::Starting | Progress::Stopping | Progress::Retiring) | None => true,
    };
    let wanted = seconds(w.config.min_uptime);
    let left = |worker: &Worker| {
        let ready_since = worker.vitals.as_ref().and_then(|vitals| vitals.ready_since);
        wanted.saturating_sub(now.since(ready_since.unwrap_or(worker.started.mono)))
    };
    let lasting = w.workers().iter().filter(|(_, worker)| !worker.retiring && !worker.is_ending());
    lasting.filter(|(id, _)| is_new(id)).map(|(_, worker)| left(worker)).max().unwrap_or_default()
}

/// A new process does not come up: those that came with it and have a predecessor go, and the old ones stay.
pub(in crate::arbiter) fn keep_old(w: &mut Watcher, cx: &mut Cx<'_>) {
    let since = w.running.as_ref().map_or(0, |operation| operation.batch_since);
    let kept: Vec<(WorkerId, Wid)> = being_replaced(w).map(|(id, worker)| (id, worker.wid)).collect();
    let others = w.workers().keys().filter(|id| !kept.iter().any(|(old, _)| old == *id));
    let others: Vec<WorkerId> = others.copied().collect();
    for (id, wid) in &kept {
        let hands_over = w.change(*id, |worker| {
            worker.retiring = false;
            std::mem::take(&mut worker.hands_over)
        });
        if hands_over == Some(true) {
            cx.timers.cancel(Timer::Retry(w.key, *wid));
            w.slots.take_back(*wid);
        }
        if w.config.max_age > 0 && cx.timers.get(Timer::Expire(*id)).is_none() {
            cx.timers.set(Timer::Expire(*id), cx.mono().after(EXPIRE_INTERVAL));
        }
    }
    for id in others.into_iter().rev() {
        let is_double = w.change(id, |worker| {
            // Its predecessor has the slot.
            let is_double = kept.iter().any(|(_, wid)| *wid == worker.wid);
            worker.retiring |= is_double;
            worker.hands_over |= is_double;
            is_double
        });
        // A new worker without a predecessor stays.
        if is_double == Some(true) || id.serial >= since && w.surplus() > 0 {
            terminate::by_policy(w, id, cx);
        }
    }
    let replaced = w.running.as_ref().is_some_and(|operation| operation.is_partly_done);
    let left = kept.len() + w.running.as_ref().map_or(0, |operation| operation.left.len());
    let what = match (replaced, left) {
        (true, 1) => "reload failed, 1 process is not replaced".to_owned(),
        (true, left) => format!("reload failed, {left} processes are not replaced"),
        (false, _) => "reload failed, the old processes are kept".to_owned(),
    };
    failed_reload::report(w, &what, cx);
}

/// `reload = hup`: the processes reload themselves.
pub(in crate::arbiter) fn send_hup_to_all(w: &mut Watcher, cx: &mut Cx<'_>) {
    let workers: Vec<WorkerId> = w.fresh().collect();
    for id in workers {
        let pid = w.change(id, |worker| {
            // A worker that ends because of it is replaced at once.
            worker.exit_expected |= worker.pid.is_some();
            worker.pid
        });
        if let Some(pid) = pid.flatten() {
            cx.act(Action::Signal { pid, signal: Signal::HUP, reach: Reach::Process, watcher: w.key });
        }
    }
    reloaded(w, cx);
}

/// The new processes are up: the old ones are stopped. Returns whether there were any.
fn end_retiring(w: &mut Watcher, cx: &mut Cx<'_>) -> bool {
    let old: Vec<WorkerId> = being_replaced(w).map(|(id, _)| id).collect();
    for id in &old {
        terminate::by_policy(w, *id, cx);
    }
    if let Some(operation) = &mut w.running {
        operation.is_partly_done |= !old.is_empty();
    }
    !old.is_empty()
}

/// A worker has reached its max_age. Where two may run at the same time it goes when its successor runs, else first. One
/// goes at a time, and none while something is done with its watcher.
pub(in crate::arbiter) fn expire(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    let others = w.workers().values().any(|worker| worker.retiring || worker.is_ending());
    if others || w.running.is_some() || w.counts().undecided() > 0 {
        return cx.timers.set(Timer::Expire(id), cx.mono().after(EXPIRE_INTERVAL));
    }
    if !(succeeds_first(w) && w.retire(id)) {
        terminate::by_policy(w, id, cx);
    }
}

/// How long a worker that has reached max_age waits for the one before it to be replaced, before it looks again.
const EXPIRE_INTERVAL: Duration = Duration::from_millis(500);

fn succeeds_first(w: &Watcher) -> bool {
    let replaced = w.config.respawn != Respawn::Never && !w.config.on_demand;
    w.may_run_twice() && replaced && w.state == WatcherState::Active
}

/// Workers that have reached max_age are stopped when their successors have shown that they run.
pub(in crate::arbiter) fn end_aged(w: &mut Watcher, cx: &mut Cx<'_>) {
    // A watcher that stops ends all its workers, when before_stop has answered.
    let stops = matches!(w.state, WatcherState::Stopped | WatcherState::Stopping);
    if stops || w.counts().retiring == 0 || !w.is_settled() || w.slots.waiting() > 0 {
        return;
    }
    let aged: Vec<WorkerId> = w.aged().collect();
    let left_to_prove = left_to_prove(w, cx.mono());
    if !aged.is_empty() && !left_to_prove.is_zero() {
        return cx.timers.set(Timer::Warmup(w.key), cx.mono().after(left_to_prove));
    }
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
        failed_reload::report(w, &what, cx);
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
