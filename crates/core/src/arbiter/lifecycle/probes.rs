//! Readiness and health checks of a worker: one at a time, with a pause between two. `checks` has their results.

use std::time::Duration;

use crate::arbiter::action::{Action, ProbeCall};
use crate::arbiter::cx::Cx;
use crate::arbiter::fleet::vitals::{Phase, Stage, Vitals};
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::ids::{ProbeId, WorkerId};
use crate::arbiter::time::seconds;
use crate::arbiter::timers::Timer;
use crate::config::{Probe, ProbeKind};

/// A worker that is to get ready is asked again when it has not answered for so long: it may have been asked too early.
pub(in crate::arbiter) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Changes what is known of a worker; `None` if there is no such worker.
pub(in crate::arbiter) fn change<R>(w: &mut Watcher, id: WorkerId, change: impl FnOnce(&mut Vitals) -> R) -> Option<R> {
    w.change(id, |worker| change(worker.vitals.get_or_insert_default()))
}

/// The probe that counts for a worker now.
fn probe(w: &Watcher, stage: Stage) -> Option<&Probe> {
    match stage {
        Stage::Early => None,
        Stage::GettingReady => w.config.checks.ready.as_ref(),
        Stage::AtWork => w.config.checks.health.as_ref(),
    }
}

/// Looks at a worker. Returns `true` if it counts as ready, because the option `ready` was taken back meanwhile.
#[must_use]
pub(in crate::arbiter) fn attempt(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) -> bool {
    let Some(worker) = w.workers().get(&id) else { return false };
    let (Some(vitals), Some(pid)) = (&worker.vitals, worker.pid) else { return false };
    let (stage, wid) = (vitals.stage, worker.wid);
    let Some(probe) = probe(w, stage).cloned() else {
        // The option was taken back meanwhile.
        change(w, id, |vitals| vitals.phase = Phase::Idle);
        return stage == Stage::GettingReady;
    };
    if probe.is_passive() {
        // Only workers that were started with the socket can report: this one is replaced by one that is.
        change(w, id, |vitals| vitals.phase = Phase::Listening);
        return false;
    }
    let Some(probe_id) = change(w, id, |vitals| {
        let probe = ProbeId { worker: id, serial: vitals.next };
        vitals.next += 1;
        vitals.phase = Phase::Trying(probe);
        probe
    }) else {
        return false;
    };
    let until = match (stage, cx.timers.get(Timer::Ready(id))) {
        (Stage::GettingReady, Some(end)) if matches!(probe.kind, ProbeKind::Exec(_)) => end,
        (Stage::GettingReady, Some(end)) => end.min(cx.mono().after(ANSWER_TIMEOUT)),
        _ => cx.mono().after(seconds(w.config.checks.health_timeout)),
    };
    cx.timers.set(Timer::Probe(id), until);
    let call =
        ProbeCall { id: probe_id, wid: Some(wid), pid: Some(pid), probe, config: w.config.clone(), prints: false };
    cx.act(Action::Probe(Box::new(call)));
    false
}

/// The next attempt comes after a pause.
pub(in crate::arbiter) fn pause(w: &mut Watcher, id: WorkerId, pause: Duration, cx: &mut Cx<'_>) {
    if change(w, id, |vitals| vitals.phase = Phase::Pausing).is_some() {
        cx.timers.set(Timer::Probe(id), cx.mono().after(pause));
    }
}

/// A worker is of no interest any more: it goes, or is ready.
pub(in crate::arbiter) fn end(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    let Some(vitals) = w.workers().get(&id).and_then(|worker| worker.vitals.as_deref()) else { return };
    if let Phase::Trying(probe) = vitals.phase {
        cx.act(Action::EndProbe(probe));
    }
    change(w, id, |vitals| vitals.phase = Phase::Idle);
    cx.timers.cancel(Timer::Ready(id));
    cx.timers.cancel(Timer::Probe(id));
}
