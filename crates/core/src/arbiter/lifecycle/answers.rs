//! What follows from a hook's answer, or from its not coming.

use std::sync::Arc;

use crate::arbiter::action::Action;
use crate::arbiter::cx::{Cx, FollowUp};
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::fleet::worker::WorkerState;
use crate::arbiter::ids::{HookId, WorkerId};
use crate::arbiter::lifecycle::activation::{self, RunResult};
use crate::arbiter::lifecycle::purpose::{HookOutcome, HookSubject, HookTask, Purpose};
use crate::arbiter::lifecycle::{exit, hooks, launch, signals, start, stop, terminate};
use crate::arbiter::timers::Timer;
use crate::base::Level;
use crate::config::options;
use crate::proto::Object;

/// A hook has had its time.
pub(in crate::arbiter) fn overdue(w: &mut Watcher, id: HookId, cx: &mut Cx<'_>) {
    let limit = w.config.hook_timeout;
    fail(w, id, format!("it took longer than hook_timeout ({limit} s)"), cx);
}

/// Ends every hook as if it had failed.
pub(in crate::arbiter) fn force(w: &mut Watcher, cx: &mut Cx<'_>) {
    for id in w.hooks.of(|_| true) {
        fail(w, id, "circusd was asked to stop once more".into(), cx);
    }
}

fn fail(w: &mut Watcher, id: HookId, error: String, cx: &mut Cx<'_>) {
    cx.act(Action::EndHook(id));
    done(w, id, HookOutcome::answer(Err(error)), cx);
}

/// What a hook came to; or it was ended.
pub(in crate::arbiter) fn done(w: &mut Watcher, id: HookId, outcome: HookOutcome, cx: &mut Cx<'_>) {
    // The answer of a hook that was cancelled, or has had its time, may still come.
    let Some(purpose) = w.hooks.end(id) else { return };
    cx.timers.cancel(Timer::Hook(id));
    hooks::report(w, purpose.task(), &outcome.answer, cx);
    take_settings(w, &outcome.set, cx);
    let yes = match (&outcome.answer, purpose.task()) {
        (Ok(answer), _) => *answer,
        (Err(_), HookTask::Load) => false,
        (Err(_), HookTask::Run(point)) => {
            point.forgives() || w.config.hooks.get(&point).is_some_and(|hook| hook.ignore_failure)
        }
    };
    follow(w, purpose, yes, outcome, cx);
}

/// What a hook has set counts from the next process on, as in Circus; no process is replaced because of it.
fn take_settings(w: &mut Watcher, set: &Object, cx: &mut Cx<'_>) {
    if set.is_empty() {
        return;
    }
    if let Err(fault) = options::apply(Arc::make_mut(&mut w.config), set, cx.host) {
        cx.log(Level::Error, format!("{}: what a hook set is not taken over: {}", w.name(), fault.reason));
    }
}

fn follow(w: &mut Watcher, purpose: Purpose, yes: bool, outcome: HookOutcome, cx: &mut Cx<'_>) {
    match purpose {
        Purpose::Load if yes => drop(hooks::run(w, Purpose::BeforeStart, HookSubject::default(), cx)),
        Purpose::BeforeStart if yes => {}
        Purpose::Load | Purpose::BeforeStart => start_refused(w, cx),
        Purpose::AfterStart if yes => start::started(w, cx),
        Purpose::AfterStart => stop::begin(w, cx),
        Purpose::BeforeSpawn(worker) => may_launch(w, worker, yes, cx),
        Purpose::AfterSpawn(worker) => may_stay(w, worker, yes, cx),
        Purpose::BeforeStop => stop::signal_all(w, cx),
        Purpose::AfterStop => stop::rest(w, cx),
        Purpose::BeforeSignal { worker, pid, signal, then } => {
            signals::answered(w, worker, pid, signal, &then, yes, cx);
        }
        Purpose::BeforeReap(exit) => hooks::publish_reap(w, exit, cx),
        Purpose::AfterSignal | Purpose::AfterReap => {}
        Purpose::ExtendedStats { job, pid } => {
            let stats = outcome.answer.map(|_| outcome.stats);
            cx.follow_ups.push_back(FollowUp::ExtendedStats { job, pid, stats });
        }
    }
}

/// A watcher that was to start does not, and is as it was. As in Circus that is no stop, and no event.
fn start_refused(w: &mut Watcher, cx: &mut Cx<'_>) {
    if w.config.on_demand {
        activation::note_run(w, RunResult::Bad, cx);
    }
    stop::call_off_start(w, cx);
}

/// `before_spawn` has answered.
fn may_launch(w: &mut Watcher, id: WorkerId, yes: bool, cx: &mut Cx<'_>) {
    if yes {
        w.change(id, |worker| worker.state = WorkerState::Queued);
        cx.outbox.launches.push_back(id);
    } else if let Some(worker) = w.dismiss(id) {
        if is_respawn(w) {
            return exit::refused(w, worker.wid, cx);
        }
        w.slots.release(worker.wid);
        exit::give_up(w, "before_spawn does not want it", cx);
    }
}

/// `after_spawn` has answered.
fn may_stay(w: &mut Watcher, id: WorkerId, yes: bool, cx: &mut Cx<'_>) {
    if yes {
        w.change(id, |worker| worker.state = WorkerState::Running);
        return launch::publish_spawned(w, id, cx);
    }
    terminate::by_policy(w, id, cx);
    if is_respawn(w) {
        w.change(id, |worker| worker.refused = true);
        return;
    }
    exit::give_up(w, "after_spawn does not want it", cx);
}

/// Whether a worker takes the place of another: its hook decides about it alone, and the other workers run on.
fn is_respawn(w: &Watcher) -> bool {
    w.state == WatcherState::Active && !w.is_surging()
}
