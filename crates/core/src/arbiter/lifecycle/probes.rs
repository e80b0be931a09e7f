//! Readiness and health checks of a worker: one at a time, with a pause between two. `readiness` and `liveness` decide
//! what a result means.

use std::time::Duration;

use crate::arbiter::action::{Action, ProbeCall};
use crate::arbiter::cx::Cx;
use crate::arbiter::event::ProbeOutcome;
use crate::arbiter::fleet::vitals::{Phase, Stage, Vitals};
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::ids::{ProbeId, WorkerId};
use crate::arbiter::lifecycle::{liveness, readiness};
use crate::arbiter::time::seconds;
use crate::arbiter::timers::Timer;
use crate::config::{Probe, ProbeKind};

/// A worker that is to get ready is asked again when it has not answered for so long: it may have been asked too early.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

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

/// Looks at a worker.
pub(in crate::arbiter) fn attempt(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    let Some(worker) = w.workers().get(&id) else { return };
    let (Some(vitals), Some(pid)) = (&worker.vitals, worker.pid) else { return };
    let (stage, wid) = (vitals.stage, worker.wid);
    let Some(probe) = probe(w, stage).cloned() else {
        // The option was taken back meanwhile.
        change(w, id, |vitals| vitals.phase = Phase::Idle);
        if stage == Stage::GettingReady {
            readiness::reached(w, id, cx);
        }
        return;
    };
    if probe.is_passive() {
        // Only workers that were started with the socket can report: this one is replaced by one that is.
        change(w, id, |vitals| vitals.phase = Phase::Listening);
        return;
    }
    let Some(probe_id) = change(w, id, |vitals| {
        let probe = ProbeId { worker: id, serial: vitals.next };
        vitals.next += 1;
        vitals.phase = Phase::Trying(probe);
        probe
    }) else {
        return;
    };
    let until = match (stage, cx.timers.get(Timer::Ready(id))) {
        (Stage::GettingReady, Some(end)) if matches!(probe.kind, ProbeKind::Exec(_)) => end,
        (Stage::GettingReady, Some(end)) => end.min(cx.mono().after(ANSWER_TIMEOUT)),
        _ => cx.mono().after(seconds(w.config.checks.health_timeout)),
    };
    cx.timers.set(Timer::Probe(id), until);
    let call = ProbeCall { id: probe_id, wid, pid, probe, config: w.config.clone() };
    cx.act(Action::Probe(Box::new(call)));
}

/// The next attempt comes after a pause.
pub(in crate::arbiter) fn pause(w: &mut Watcher, id: WorkerId, pause: Duration, cx: &mut Cx<'_>) {
    if change(w, id, |vitals| vitals.phase = Phase::Pausing).is_some() {
        cx.timers.set(Timer::Probe(id), cx.mono().after(pause));
    }
}

/// A worker's next attempt is due, or what is under way has had its time.
pub(in crate::arbiter) fn due(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    let Some(vitals) = w.workers().get(&id).and_then(|worker| worker.vitals.as_deref()) else { return };
    match (vitals.phase, vitals.stage) {
        (Phase::Pausing, _) => attempt(w, id, cx),
        (Phase::Trying(probe), stage) => {
            cx.act(Action::EndProbe(probe));
            let limit = match stage {
                Stage::AtWork => w.config.checks.health_timeout,
                Stage::Early | Stage::GettingReady => ANSWER_TIMEOUT.as_secs_f64(),
            };
            done(w, probe, ProbeOutcome::Failed(format!("no answer within {limit} s")), cx);
        }
        (Phase::Listening, Stage::AtWork) => liveness::silent(w, id, cx),
        (Phase::Listening | Phase::Idle, _) => {}
    }
}

/// An attempt has come to something.
pub(in crate::arbiter) fn done(w: &mut Watcher, probe: ProbeId, outcome: ProbeOutcome, cx: &mut Cx<'_>) {
    let id = probe.worker;
    // The answer to an attempt that was ended may still come.
    let stage = w.workers().get(&id).and_then(|worker| worker.vitals.as_deref());
    let Some(stage) = stage.filter(|vitals| vitals.phase == Phase::Trying(probe)).map(|vitals| vitals.stage) else {
        return;
    };
    cx.timers.cancel(Timer::Probe(id));
    change(w, id, |vitals| vitals.phase = Phase::Idle);
    match stage {
        Stage::Early => {}
        Stage::GettingReady => readiness::probed(w, id, outcome, cx),
        Stage::AtWork => liveness::probed(w, id, outcome, cx),
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

/// The daemon that made the attempts is gone: they are made again.
pub(in crate::arbiter) fn try_again(w: &mut Watcher, cx: &mut Cx<'_>) {
    let is_trying = |vitals: &Vitals| matches!(vitals.phase, Phase::Trying(_));
    let tried = w.workers().iter().filter(|(_, worker)| worker.vitals.as_deref().is_some_and(is_trying));
    for id in tried.map(|(id, _)| *id).collect::<Vec<_>>() {
        attempt(w, id, cx);
    }
}
