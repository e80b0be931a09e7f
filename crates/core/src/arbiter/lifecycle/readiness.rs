//! From a worker that runs its program to one that is ready: `ready`, `ready_interval` and `ready_timeout`.
//!
//! A worker that is not ready in time is stopped, and its launch has failed: its slot is tried again after a
//! back-off, `max_retry` times in all. A reload that brings up such a worker ends, and the old workers stay.

use crate::arbiter::cx::Cx;
use crate::arbiter::event::ProbeOutcome;
use crate::arbiter::fleet::vitals::{Phase, Stage, Vitals};
use crate::arbiter::fleet::watcher::{Watcher, note_run};
use crate::arbiter::fleet::worker::WorkerState;
use crate::arbiter::ids::WorkerId;
use crate::arbiter::lifecycle::{announce, exit, liveness, probes, terminate};
use crate::arbiter::outcome::Cause;
use crate::arbiter::time::seconds;
use crate::arbiter::timers::Timer;
use crate::config::Probe;

/// A worker runs its program, and its watcher wants it.
pub(in crate::arbiter) fn begin(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    let Some(probe) = &w.config.checks.ready else { return liveness::begin(w, id, cx) };
    let listens = probe.is_passive();
    let says_ready = w.change(id, |worker| {
        worker.state = WorkerState::Unready;
        let vitals = worker.vitals.get_or_insert_default();
        vitals.stage = Stage::GettingReady;
        vitals.phase = if listens { Phase::Listening } else { Phase::Idle };
        vitals.says_ready || vitals.is_adopted
    });
    cx.timers.set(Timer::Ready(id), cx.mono().after(seconds(w.config.checks.ready_timeout)));
    match says_ready {
        Some(true) if listens => reached(w, id, cx),
        Some(_) if !listens => {
            if probes::attempt(w, id, cx) {
                reached(w, id, cx);
            }
        }
        Some(_) | None => {}
    }
}

/// An attempt to see it has come to something.
pub(in crate::arbiter) fn probed(w: &mut Watcher, id: WorkerId, outcome: ProbeOutcome, cx: &mut Cx<'_>) {
    match outcome {
        ProbeOutcome::Passed | ProbeOutcome::Printed(_) => reached(w, id, cx),
        ProbeOutcome::Failed(error) | ProbeOutcome::Unable(error) => {
            probes::change(w, id, |vitals| vitals.error = Some(error));
            probes::pause(w, id, seconds(w.config.checks.ready_interval), cx);
        }
    }
}

/// A worker is ready.
pub(in crate::arbiter) fn reached(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    if w.workers().get(&id).is_none_or(|worker| worker.state != WorkerState::Unready) {
        return;
    }
    probes::end(w, id, cx);
    let now = cx.mono();
    let wid = w.change(id, |worker| {
        worker.state = WorkerState::Running;
        let vitals = worker.vitals.get_or_insert_default();
        (vitals.stage, vitals.has_been_ready, vitals.error) = (Stage::AtWork, true, None);
        vitals.ready_since = Some(now);
        worker.wid
    });
    let Some(wid) = wid else { return };
    w.slots.launched(wid);
    w.slots.tried(wid);
    note_run(w);
    announce::ready(w, id, cx);
    liveness::begin(w, id, cx);
}

/// What the attempts have come to.
fn why(vitals: &Vitals) -> Option<String> {
    let under_way = matches!(vitals.phase, Phase::Trying(_)).then(|| "no answer".to_owned());
    vitals.error.clone().or(under_way)
}

/// A worker is not ready in time.
pub(in crate::arbiter) fn overdue(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    let Some(worker) = w.workers().get(&id) else { return };
    let (wid, retiring) = (worker.wid, worker.retiring);
    let cause = Cause::NotReady {
        after: seconds(w.config.checks.ready_timeout),
        probe: w.config.checks.ready.as_ref().map_or_else(|| "none".to_owned(), Probe::shown),
        error: worker.vitals.as_deref().and_then(why),
    };
    announce::condemned(w, worker, &cause, cx);
    w.history.failed += 1;
    if !retiring {
        w.note_failure(Some(wid), cause.clone(), cx.now);
    }
    probes::change(w, id, |vitals| vitals.verdict = Some(cause.clone()));
    terminate::by_policy(w, id, cx);
    if retiring {
        return;
    }
    if w.is_surging() {
        exit::give_up(w, wid, cause, cx);
    }
}
