//! A watcher's stop.

use crate::arbiter::action::Action;
use crate::arbiter::cx::{Cx, FollowUp};
use crate::arbiter::fleet::chronicle::What;
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::fleet::worker::{Worker, WorkerState};
use crate::arbiter::ids::WorkerId;
use crate::arbiter::lifecycle::purpose::{HookSubject, Purpose};
use crate::arbiter::lifecycle::{announce, hooks, runs, terminate};
use crate::arbiter::operate::operation::OperationKind;
use crate::arbiter::outcome::Failure;
use crate::arbiter::timers::Timer;
use crate::base::Level;
use crate::proto::EventKind;

/// Begins to stop a watcher: launches that are not under way are dropped, and the workers are signalled, after
/// `before_stop` where there is one.
pub(in crate::arbiter) fn begin(w: &mut Watcher, cx: &mut Cx<'_>) {
    runs::note_failure(w);
    if w.hooks.bar_launches() {
        return call_off_start(w, cx);
    }
    w.state = WatcherState::Stopping;
    clear_slots(w, cx);
    hooks::cancel(w, Purpose::serves_start, "the watcher was stopped", cx);
    drop_unlaunched(w, cx);
    if !hooks::run(w, Purpose::BeforeStop, HookSubject::default(), cx) {
        signal_all(w, cx);
    }
}

/// A watcher that was asked to start, and has no process yet, does not start.
pub(in crate::arbiter) fn call_off_start(w: &mut Watcher, cx: &mut Cx<'_>) {
    hooks::cancel(w, Purpose::serves_start, "the watcher was stopped", cx);
    come_to_rest(w, cx);
    runs::end(w, cx);
    cx.follow_ups.push_back(FollowUp::WentDown(w.key));
}

/// No process is left, and none is to come. What starts next is of the configuration that the watcher has now.
pub(in crate::arbiter) fn come_to_rest(w: &mut Watcher, cx: &mut Cx<'_>) {
    w.state = WatcherState::Stopped;
    w.set_stop_policy(None);
    clear_slots(w, cx);
}

/// Forgets what the slots wait for.
pub(in crate::arbiter) fn clear_slots(w: &mut Watcher, cx: &mut Cx<'_>) {
    for wid in w.slots.clear() {
        cx.timers.cancel(Timer::Retry(w.key, wid));
    }
    cx.timers.cancel(Timer::Warmup(w.key));
}

/// Launches that are not under way are dropped, and `after_spawn` is not asked any more.
fn drop_unlaunched(w: &mut Watcher, cx: &mut Cx<'_>) {
    let those = |w: &Watcher, of: fn(&Worker) -> bool| -> Vec<WorkerId> {
        w.workers().iter().filter(|(_, worker)| of(worker)).map(|(id, _)| *id).collect()
    };
    for id in those(w, |worker| worker.state == WorkerState::Accepting) {
        announce::spawned(w, id, cx);
        w.change(id, |worker| worker.state = WorkerState::Running);
    }
    for id in those(w, |worker| worker.state.is_unlaunched()) {
        terminate::by_policy(w, id, cx);
    }
}

/// Sends the stop signal to every worker, also to one that is being stopped already: a `kill` with a long timeout does
/// not hold up a stop.
pub(in crate::arbiter) fn signal_all(w: &mut Watcher, cx: &mut Cx<'_>) {
    let ids: Vec<WorkerId> = w.workers().keys().copied().collect();
    for id in ids {
        w.change(id, |worker| worker.retiring = false);
        terminate::by_policy(w, id, cx);
    }
}

/// The last worker of a watcher that was stopping is gone.
pub(in crate::arbiter) fn stopped(w: &mut Watcher, cx: &mut Cx<'_>) {
    clear_slots(w, cx);
    let reason = w.gave_up.as_ref().map(Failure::words);
    if let Some(reason) = &reason {
        cx.log(Level::Error, format!("{} has stopped: {reason}", w.name()));
    }
    if reason.is_some() || !w.history.chronicle.is_empty() {
        w.history.chronicle.note(None, What::Stopped { reason: reason.clone() }, cx.now);
    }
    cx.publish(w, EventKind::Stop { reason });
    cx.act(Action::CloseStreams(w.key));
    let starts_again = w.running.as_ref().is_some_and(|operation| operation.kind == OperationKind::Restart);
    if w.config.checks.are_notified() && !starts_again {
        cx.act(Action::ForgetStored(w.key));
    }
    if !hooks::run(w, Purpose::AfterStop, HookSubject::default(), cx) {
        rest(w, cx);
    }
}

/// A watcher has stopped, and its last hook is done.
pub(in crate::arbiter) fn rest(w: &mut Watcher, cx: &mut Cx<'_>) {
    come_to_rest(w, cx);
    cx.log(Level::Info, format!("{} stopped", w.name()));
    runs::end(w, cx);
    cx.follow_ups.push_back(FollowUp::WentDown(w.key));
    if w.gave_up.is_some() {
        cx.follow_ups.push_back(FollowUp::GaveUp);
    }
}
