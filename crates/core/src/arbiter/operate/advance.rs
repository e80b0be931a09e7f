//! Advancing a watcher: each step ends an operation, begins one, or changes the state.

use crate::arbiter::cx::{Cx, FollowUp};
use crate::arbiter::fleet::watcher::{Resizing, Watcher, WatcherState};
use crate::arbiter::lifecycle::purpose::{HookSubject, Purpose};
use crate::arbiter::lifecycle::reconcile::reconcile;
use crate::arbiter::lifecycle::{activation, cron, essential, hooks, runs, start, stop};
use crate::arbiter::operate::job::Proof;
use crate::arbiter::operate::operation::{Operation, OperationKind, Progress, Waiter};
use crate::arbiter::operate::{dependence, proof, queue, reload, stuck};
use crate::config::{ReloadMode, WatcherKind};

/// Goes on with a watcher as far as is possible now.
pub(in crate::arbiter) fn advance(w: &mut Watcher, cx: &mut Cx<'_>) {
    dependence::note_loss(w, cx);
    loop {
        reconcile(w, cx);
        reload::end_aged(w, cx);
        // Each step ends an operation, begins one, or changes the state towards its end: the loop is finite.
        if !step(w, cx) {
            break;
        }
    }
    answer_resized(w, cx);
    proof::answer(w, cx);
    stuck::watch(w, cx);
    let_others_pass(w, cx);
}

/// While a watcher that starts only waits for its workers to be ready, those of its priority may start.
fn let_others_pass(w: &Watcher, cx: &mut Cx<'_>) {
    let Some(operation) = w.running.as_ref().filter(|operation| operation.kind == OperationKind::Start) else { return };
    if w.waits_for_readiness() {
        let walks = operation.waiters.iter().filter_map(|waiter| match waiter {
            Waiter::Walk(id, _) => Some(FollowUp::WalkPasses(*id)),
            Waiter::Job(_) => None,
        });
        cx.follow_ups.extend(walks);
    }
}

fn step(w: &mut Watcher, cx: &mut Cx<'_>) -> bool {
    if w.hooks.hold_start() {
        // Until the hook has answered, only an operation that overtakes all others goes on.
        let overtakes = |operation: &Operation| operation.kind.overtakes();
        return w.running.is_none() && w.waiting.front().is_some_and(overtakes) && begin_next(w, cx);
    }
    match w.state {
        WatcherState::Stopped if w.running.is_some() => {
            operation_at_rest(w, cx);
            true
        }
        WatcherState::Stopped => begin_next(w, cx),
        WatcherState::Stopping if w.workers().is_empty() && !w.hooks.hold_stop() => {
            stop::stopped(w, cx);
            true
        }
        WatcherState::Stopping => false,
        WatcherState::Starting { spawned: true } if w.has_been_tried() => {
            if !hooks::run(w, Purpose::AfterStart, HookSubject::default(), cx) {
                start::started(w, cx);
            }
            true
        }
        // Nothing runs and nothing will: Circus calls that a failed start.
        WatcherState::Starting { spawned: false } if w.is_settled() && w.slots.waiting() == 0 => {
            w.give_up_for_latest_failure();
            essential::note_end(w, w.slots.left_empty > 0, cx);
            stop::begin(w, cx);
            true
        }
        WatcherState::Active if w.slots.left_empty > 0 && w.workers().is_empty() && w.running.is_none() => {
            step_emptied(w, cx) || step_operation(w, cx)
        }
        WatcherState::Starting { .. } | WatcherState::Active => step_operation(w, cx),
    }
}

/// Workers that end are not replaced, and the last one is gone.
fn step_emptied(w: &mut Watcher, cx: &mut Cx<'_>) -> bool {
    if !w.config.on_demand {
        if !runs::is_done(w) {
            w.give_up_for_latest_failure();
        }
        essential::note_end(w, true, cx);
        stop::begin(w, cx);
        return true;
    }
    let sleeps = w.is_settled() && w.slots.waiting() == 0 && !w.hooks.hold_stop();
    if sleeps {
        activation::deactivate(w, cx);
    }
    sleeps
}

fn step_operation(w: &mut Watcher, cx: &mut Cx<'_>) -> bool {
    let (tried, retiring) = (w.has_been_tried(), w.counts().retiring);
    let Some(operation) = &mut w.running else { return begin_next(w, cx) };
    match &mut operation.progress {
        Progress::Starting if tried => {
            w.slots.end_tries();
            match operation.kind {
                // A reload of a watcher that was stopped has started it.
                OperationKind::Reload | OperationKind::ReloadSequential => reload::reloaded(w, cx),
                OperationKind::Start
                | OperationKind::Run
                | OperationKind::Stop
                | OperationKind::Restart
                | OperationKind::Remove => queue::end(w, cx),
            }
            true
        }
        Progress::Starting | Progress::Stopping => false,
        Progress::Surging => reload::surge(w, cx),
        Progress::Retiring if retiring == 0 => {
            reload::reloaded(w, cx);
            true
        }
        Progress::Retiring => false,
        Progress::Replacing { .. } => reload::replace_next(w, cx),
    }
}

fn begin_next(w: &mut Watcher, cx: &mut Cx<'_>) -> bool {
    let idle = w.state == WatcherState::Stopped;
    let starts = |operation: &Operation| operation.kind.starts() && !operation.skips_stopped();
    if idle && !w.predecessors.is_empty() && w.waiting.front().is_some_and(starts) {
        return false;
    }
    let Some(mut operation) = w.waiting.pop_front() else { return false };
    if idle
        && operation.waits_for_others(w)
        && let Some(unmet) = cx.unmet.clone()
    {
        dependence::hold(w, operation.waiters, unmet, cx);
        return true;
    }
    dependence::release_held(w, &mut operation, cx);
    operation.before = w.lasting_pids();
    operation.mark = w.failures.mark();
    let kind = operation.kind;
    let reloads = matches!(kind, OperationKind::Reload | OperationKind::ReloadSequential);
    // A watcher without workers has none to replace; one that waits for a connection goes on waiting.
    // A run is not repeated because something has changed: that counts from the next one.
    let skips = idle && (operation.skips_stopped() || reloads && w.starts_on_demand()) || reloads && !w.is_service();
    let is_cron = w.config.kind == WatcherKind::Cron;
    let mode = w.reload_mode(operation.needs_new_processes());
    operation.progress = match kind {
        OperationKind::Start | OperationKind::Run => Progress::Starting,
        OperationKind::Stop | OperationKind::Remove | OperationKind::Restart => Progress::Stopping,
        OperationKind::Reload | OperationKind::ReloadSequential if idle => Progress::Starting,
        OperationKind::Reload if mode != ReloadMode::Exclusive => Progress::Surging,
        OperationKind::ReloadSequential if mode == ReloadMode::Overlap && w.may_run_twice() => Progress::Surging,
        OperationKind::Reload | OperationKind::ReloadSequential => {
            Progress::Replacing { left: w.fresh().collect(), current: None }
        }
    };
    let surges = operation.progress == Progress::Surging;
    w.running = Some(operation);
    match kind {
        _ if skips => queue::end(w, cx),
        OperationKind::Start if is_cron => {
            cron::arm(w, cx);
            queue::end(w, cx);
        }
        OperationKind::Start | OperationKind::Run => start::begin(w, cx),
        // A stopped watcher needs no stop: the next step does the rest.
        OperationKind::Stop | OperationKind::Remove | OperationKind::Restart if idle => {}
        OperationKind::Stop | OperationKind::Remove | OperationKind::Restart => stop::begin(w, cx),
        OperationKind::Reload | OperationKind::ReloadSequential if idle => start::begin(w, cx),
        OperationKind::Reload | OperationKind::ReloadSequential if mode == ReloadMode::Hup => {
            reload::send_hup_to_all(w, cx);
        }
        OperationKind::Reload | OperationKind::ReloadSequential if surges => reload::begin_surge(w, cx),
        OperationKind::Reload | OperationKind::ReloadSequential => {}
    }
    true
}

/// What follows for the running operation when its watcher has stopped.
fn operation_at_rest(w: &mut Watcher, cx: &mut Cx<'_>) {
    let (on_demand, is_cron) = (w.starts_on_demand(), w.config.kind == WatcherKind::Cron);
    let Some(operation) = &mut w.running else { return };
    match operation.kind {
        OperationKind::Restart if is_cron => {
            cron::arm(w, cx);
            queue::end(w, cx);
        }
        OperationKind::Restart if operation.progress == Progress::Stopping && !on_demand => {
            operation.progress = Progress::Starting;
            start::begin(w, cx);
        }
        OperationKind::Remove => {
            queue::end(w, cx);
            cx.follow_ups.push_back(FollowUp::Forget(w.key));
        }
        OperationKind::Start
        | OperationKind::Run
        | OperationKind::Stop
        | OperationKind::Restart
        | OperationKind::Reload
        | OperationKind::ReloadSequential => queue::end(w, cx),
    }
}

/// Requests that wait for a number of processes are answered when it is reached, or cannot be any more.
fn answer_resized(w: &mut Watcher, cx: &mut Cx<'_>) {
    let over = match w.state {
        WatcherState::Stopped | WatcherState::Stopping => true,
        WatcherState::Starting { .. } | WatcherState::Active => w.is_resized(),
    };
    if over {
        for Resizing { job, mark } in std::mem::take(&mut w.resizing) {
            match mark {
                Some(mark) => w.proofs.push(Proof { job, mark, since: cx.mono(), changes: None }),
                None => cx.job_part_done(job, None, None),
            }
        }
    }
}
