//! What follows from a hook's answer, or from its failure.

use std::sync::Arc;
use std::time::Duration;

use crate::arbiter::cx::{Cx, FollowUp};
use crate::arbiter::fleet::activation::RunResult;
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::fleet::worker::WorkerState;
use crate::arbiter::ids::{HookId, WorkerId};
use crate::arbiter::lifecycle::purpose::{Attempt, HookOutcome, HookSubject, HookTask, Purpose};
use crate::arbiter::lifecycle::{activation, exit, hooks, launch, readiness, runs, signals, start, stop, terminate};
use crate::arbiter::outcome::Cause;
use crate::arbiter::timers::Timer;
use crate::base::Level;
use crate::config::{Hook, HookKind, options};
use crate::proto::Object;

/// The pause before a service that is waited for is tried again.
const SERVICE_RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// The same for a command, which costs more.
const COMMAND_RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// A hook has had its time.
pub(in crate::arbiter) fn overdue(w: &mut Watcher, id: HookId, cx: &mut Cx<'_>) {
    let limit = w.config.hook_timeout;
    fail(w, id, format!("it took longer than hook_timeout ({limit} s)"), cx);
}

/// Ends every hook as if it had failed.
pub(in crate::arbiter) fn force(w: &mut Watcher, cx: &mut Cx<'_>) {
    for id in w.hooks.of(|_| true) {
        fail(w, id, "circusd got a second request to stop".into(), cx);
    }
}

fn fail(w: &mut Watcher, id: HookId, error: String, cx: &mut Cx<'_>) {
    if let Some(purpose) = hooks::end(w, id, cx) {
        decide(w, purpose, HookOutcome::answer(Err(error)), cx);
    }
}

/// What a hook waits for is not there yet.
pub(in crate::arbiter) fn not_yet(w: &mut Watcher, id: HookId, reason: String, cx: &mut Cx<'_>) {
    let Some(hook) = w.hooks.get_mut(id) else { return };
    hook.attempt = Attempt::Pausing;
    hook.complaint = Some(reason);
    let command = match hook.purpose.task() {
        HookTask::Load => false,
        HookTask::Run(point) => {
            matches!(w.config.hooks.get(&point).map(Hook::kind), Some(Ok(HookKind::WaitCommand(_))))
        }
    };
    let pause = if command { COMMAND_RETRY_INTERVAL } else { SERVICE_RETRY_INTERVAL };
    cx.timers.set(Timer::RetryHook(id), cx.mono().after(pause));
}

/// The pause of a hook that waits is over.
pub(in crate::arbiter) fn retry(w: &mut Watcher, id: HookId, cx: &mut Cx<'_>) {
    if is_moot(w, id) {
        return drop_moot(w, id, cx);
    }
    hooks::attempt(w, id, cx);
}

/// Whether a hook is about a worker that is gone, so that its answer is of no weight.
pub(in crate::arbiter) fn is_moot(w: &mut Watcher, id: HookId) -> bool {
    let about = w.hooks.get_mut(id).map(|hook| hook.purpose.clone());
    matches!(about, Some(Purpose::BeforeSignal { worker, .. }) if !w.workers().contains_key(&worker))
}

/// Goes on without such a hook.
pub(in crate::arbiter) fn drop_moot(w: &mut Watcher, id: HookId, cx: &mut Cx<'_>) {
    let Some(hook) = w.hooks.end(id) else { return };
    hooks::cancel_timers(id, cx);
    follow(w, hook.purpose, None, HookOutcome::answer(Ok(true)), cx);
}

/// The Python that ran a hook has ended. The hook may have nothing to do with that, so it is run once more; the next
/// one that ends under it is its end.
pub(in crate::arbiter) fn lost(w: &mut Watcher, id: HookId, error: &str, cx: &mut Cx<'_>) {
    let Some(hook) = w.hooks.get_mut(id) else { return };
    let again = std::mem::replace(&mut hook.was_lost, true);
    if is_moot(w, id) {
        return drop_moot(w, id, cx);
    }
    if again {
        let error = format!("its Python process has ended: {error}");
        return done(w, id, HookOutcome::answer(Err(error)), cx);
    }
    let text = format!("{}: the Python process of a hook has ended; running the hook again", w.name());
    cx.log(Level::Warning, text);
    hooks::attempt(w, id, cx);
}

/// A hook has answered.
pub(in crate::arbiter) fn done(w: &mut Watcher, id: HookId, outcome: HookOutcome, cx: &mut Cx<'_>) {
    // The answer of a hook that was cancelled, or has had its time, may still come.
    let Some(hook) = w.hooks.end(id) else { return };
    hooks::cancel_timers(id, cx);
    cx.hosts.answered(id, cx.outbox);
    decide(w, hook.purpose, outcome, cx);
}

fn decide(w: &mut Watcher, purpose: Purpose, outcome: HookOutcome, cx: &mut Cx<'_>) {
    hooks::report(w, purpose.task(), &outcome.answer, cx);
    take_settings(w, &outcome.set, cx);
    let yes = match (&outcome.answer, purpose.task()) {
        (Ok(answer), _) => *answer,
        (Err(_), HookTask::Load) => false,
        (Err(_), HookTask::Run(point)) => {
            point.forgives() || w.config.hooks.get(&point).is_some_and(|hook| hook.ignore_failure)
        }
    };
    let refusal = (!yes).then(|| refusal(purpose.task(), &outcome.answer));
    follow(w, purpose, refusal, outcome, cx);
}

/// Why a hook did not return true.
fn refusal(task: HookTask, answer: &Result<bool, String>) -> Cause {
    let point = match task {
        HookTask::Load => None,
        HookTask::Run(point) => Some(point),
    };
    Cause::Hook { point, error: answer.as_ref().err().cloned() }
}

/// What a hook has set counts from the next process on, as in Circus; no process is replaced because of it.
fn take_settings(w: &mut Watcher, set: &Object, cx: &mut Cx<'_>) {
    if set.is_empty() {
        return;
    }
    if let Err(fault) = options::apply(Arc::make_mut(&mut w.config), set, cx.host) {
        cx.log(Level::Error, format!("{}: options that a hook set are refused: {}", w.name(), fault.reason));
    }
}

/// Does what follows from an answer. `refusal`: why it is not a yes.
pub(in crate::arbiter) fn follow(
    w: &mut Watcher,
    purpose: Purpose,
    refusal: Option<Cause>,
    outcome: HookOutcome,
    cx: &mut Cx<'_>,
) {
    match (purpose, refusal) {
        (Purpose::Load, None) => drop(hooks::run(w, Purpose::BeforeStart, HookSubject::default(), cx)),
        (Purpose::BeforeStart, None) => {}
        (Purpose::Load | Purpose::BeforeStart, Some(cause)) => start_refused(w, cause, cx),
        (Purpose::AfterStart, None) => start::started(w, cx),
        (Purpose::AfterStart, Some(cause)) => not_ready(w, cause, cx),
        (Purpose::BeforeSpawn(worker), refusal) => may_launch(w, worker, refusal, cx),
        (Purpose::AfterSpawn(worker), refusal) => may_stay(w, worker, refusal, cx),
        (Purpose::BeforeStop, _) => stop::signal_all(w, cx),
        (Purpose::AfterStop, _) => stop::rest(w, cx),
        (Purpose::BeforeSignal { worker, pid, signal, then }, refusal) => {
            signals::answered(w, worker, pid, signal, &then, refusal.is_none(), cx);
        }
        (Purpose::BeforeReap(exit), _) => hooks::publish_reap(w, exit, cx),
        (Purpose::AfterSignal | Purpose::AfterReap, _) => {}
        (Purpose::ExtendedStats { job, pid }, _) => {
            let stats = outcome.answer.map(|_| outcome.stats);
            cx.follow_ups.push_back(FollowUp::ExtendedStats { job, pid, stats });
        }
    }
}

/// A watcher that was to start does not, and is as it was. As in Circus that is no stop, and no event.
fn start_refused(w: &mut Watcher, cause: Cause, cx: &mut Cx<'_>) {
    note_refusal(w, cause, cx);
    if w.config.on_demand {
        activation::note_run(w, RunResult::Bad, cx);
    }
    runs::note_failure(w);
    stop::call_off_start(w, cx);
    cx.follow_ups.push_back(FollowUp::GaveUp);
}

/// `after_start` has returned false, or has failed: the watcher stops.
fn not_ready(w: &mut Watcher, cause: Cause, cx: &mut Cx<'_>) {
    note_refusal(w, cause, cx);
    stop::begin(w, cx);
}

fn note_refusal(w: &mut Watcher, cause: Cause, cx: &mut Cx<'_>) {
    w.note_failure(None, cause, cx.now);
    w.give_up_for_latest_failure();
}

/// `before_spawn` has answered.
fn may_launch(w: &mut Watcher, id: WorkerId, refusal: Option<Cause>, cx: &mut Cx<'_>) {
    let Some(cause) = refusal else {
        w.change(id, |worker| (worker.state, worker.started) = (WorkerState::Queued, cx.now));
        return cx.outbox.launches.push_back(id);
    };
    let Some(worker) = w.dismiss(id) else { return };
    if is_respawn(w) {
        return exit::refused(w, worker.wid, cause, cx);
    }
    w.slots.release(worker.wid);
    exit::give_up(w, worker.wid, cause, cx);
}

/// `after_spawn` has answered.
fn may_stay(w: &mut Watcher, id: WorkerId, refusal: Option<Cause>, cx: &mut Cx<'_>) {
    let Some(cause) = refusal else {
        w.change(id, |worker| worker.state = WorkerState::Running);
        launch::publish_spawned(w, id, cx);
        return readiness::begin(w, id, cx);
    };
    let Some(wid) = w.workers().get(&id).map(|worker| worker.wid) else { return };
    terminate::by_policy(w, id, cx);
    if is_respawn(w) {
        w.note_failure(Some(wid), cause, cx.now);
        w.change(id, |worker| worker.refused = true);
        return;
    }
    exit::give_up(w, wid, cause, cx);
}

/// Whether a worker takes the place of another: its hook decides about it alone, and the other workers run on.
fn is_respawn(w: &Watcher) -> bool {
    w.state == WatcherState::Active && !w.is_surging()
}
