//! The results of checks: `readiness` and `liveness` decide what they mean.

use crate::arbiter::action::Action;
use crate::arbiter::cx::Cx;
use crate::arbiter::event::ProbeOutcome;
use crate::arbiter::fleet::vitals::{Phase, Stage, Vitals};
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::ids::{ProbeId, WorkerId};
use crate::arbiter::lifecycle::{liveness, probes, readiness};
use crate::arbiter::timers::Timer;

/// Looks at a worker.
fn attempt(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    if probes::attempt(w, id, cx) {
        readiness::reached(w, id, cx);
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
                Stage::Early | Stage::GettingReady => probes::ANSWER_TIMEOUT.as_secs_f64(),
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
    probes::change(w, id, |vitals| vitals.phase = Phase::Idle);
    match stage {
        Stage::Early => {}
        Stage::GettingReady => readiness::probed(w, id, outcome, cx),
        Stage::AtWork => liveness::probed(w, id, outcome, cx),
    }
}

/// The daemon that made the attempts is gone: they are made again.
pub(in crate::arbiter) fn try_again(w: &mut Watcher, cx: &mut Cx<'_>) {
    let is_trying = |vitals: &Vitals| matches!(vitals.phase, Phase::Trying(_));
    let tried = w.workers().iter().filter(|(_, worker)| worker.vitals.as_deref().is_some_and(is_trying));
    for id in tried.map(|(id, _)| *id).collect::<Vec<_>>() {
        attempt(w, id, cx);
    }
}
