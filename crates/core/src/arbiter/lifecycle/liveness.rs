//! Health checks of workers: `health` and the options that belong to it.
//!
//! A worker that fails `health_retries` checks in a row, or whose watchdog is silent, is stopped, and its successor
//! waits out a back-off, so that a program that is never healthy does not spin. If a check cannot run, the worker is kept.

use std::time::Duration;

use crate::arbiter::cx::Cx;
use crate::arbiter::event::ProbeOutcome;
use crate::arbiter::fleet::vitals::{Phase, Stage};
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::fleet::worker::Worker;
use crate::arbiter::ids::WorkerId;
use crate::arbiter::lifecycle::{announce, backoff, probes, terminate};
use crate::arbiter::outcome::Cause;
use crate::arbiter::time::seconds;
use crate::arbiter::timers::Timer;
use crate::base::Level;
use crate::config::{Probe, ProbeKind};

/// A worker is at work: from now on it is looked at.
pub(in crate::arbiter) fn begin(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    let checks = &w.config.checks;
    let Some(probe) = &checks.health else { return };
    let (delay, interval) = (seconds(checks.health_start_delay), seconds(checks.health_interval));
    let is_watchdog = probe.kind == ProbeKind::Watchdog;
    probes::change(w, id, |vitals| vitals.stage = Stage::AtWork);
    if is_watchdog && w.workers().get(&id).is_some_and(Worker::is_adopted) {
        return;
    }
    if !is_watchdog {
        return probes::pause(w, id, delay.saturating_add(interval), cx);
    }
    let limit = probes::change(w, id, |vitals| {
        vitals.phase = Phase::Listening;
        *vitals.watchdog.get_or_insert(interval)
    });
    if let Some(limit) = limit {
        cx.timers.set(Timer::Probe(id), cx.mono().after(delay.saturating_add(limit)));
    }
}

/// A health check has come to something.
pub(in crate::arbiter) fn probed(w: &mut Watcher, id: WorkerId, outcome: ProbeOutcome, cx: &mut Cx<'_>) {
    let interval = seconds(w.config.checks.health_interval);
    match outcome {
        ProbeOutcome::Passed | ProbeOutcome::Printed(_) => {
            probes::change(w, id, |vitals| {
                (vitals.failures, vitals.has_passed, vitals.is_told, vitals.error) = (0, true, false, None);
            });
        }
        ProbeOutcome::Failed(error) => {
            let failures = probes::change(w, id, |vitals| {
                vitals.failures = vitals.failures.saturating_add(1);
                vitals.error = Some(error.clone());
                vitals.failures
            });
            let Some(times) = failures else { return };
            if times >= w.config.checks.health_retries {
                return condemn(w, id, error, times, cx);
            }
            announce::check_failed(w, id, &error, times, cx);
        }
        ProbeOutcome::Unable(error) => {
            let told = probes::change(w, id, |vitals| {
                vitals.error = Some(error.clone());
                std::mem::replace(&mut vitals.is_told, true)
            });
            if told == Some(false) {
                announce::unable(w, id, &error, cx);
            }
        }
    }
    probes::pause(w, id, interval, cx);
}

/// A worker's watchdog has not reported in time.
pub(in crate::arbiter) fn silent(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    let limit = w.workers().get(&id).and_then(|worker| worker.vitals.as_ref()?.watchdog).unwrap_or_default();
    condemn(w, id, format!("silent for {} s", limit.as_secs_f64()), 1, cx);
}

/// A worker's watchdog has reported.
pub(in crate::arbiter) fn pinged(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    let Some(vitals) = w.workers().get(&id).and_then(|worker| worker.vitals.as_deref()) else { return };
    let (Phase::Listening, Stage::AtWork, Some(limit)) = (vitals.phase, vitals.stage, vitals.watchdog) else { return };
    probes::change(w, id, |vitals| vitals.has_passed = true);
    cx.timers.set(Timer::Probe(id), cx.mono().after(limit));
}

/// A worker wants another time between two reports.
pub(in crate::arbiter) fn set_interval(w: &mut Watcher, id: WorkerId, interval: Duration, cx: &mut Cx<'_>) {
    probes::change(w, id, |vitals| vitals.watchdog = Some(interval));
    pinged(w, id, cx);
}

/// A worker is not at work any more.
pub(in crate::arbiter) fn condemn(w: &mut Watcher, id: WorkerId, error: String, times: u32, cx: &mut Cx<'_>) {
    let Some(worker) = w.workers().get(&id) else { return };
    let wid = worker.wid;
    let probe = w.config.checks.health.as_ref().map_or_else(|| "none".to_owned(), Probe::shown);
    let cause = Cause::Unhealthy { probe, error, times };
    announce::condemned(w, worker, &cause, cx);
    w.note_failure(Some(wid), cause.clone(), cx.now);
    probes::change(w, id, |vitals| vitals.verdict = Some(cause));
    terminate::by_policy(w, id, cx);
}

/// Such a worker is gone: its successor waits, the longer the more of them were never well.
pub(in crate::arbiter) fn back_off(w: &mut Watcher, worker: &Worker, cause: Cause, cx: &mut Cx<'_>) {
    let wid = worker.wid;
    if worker.vitals.as_ref().is_some_and(|vitals| vitals.has_passed) {
        w.slots.forget_exits(wid);
    }
    let times = w.slots.count_early_death(wid);
    let wait = backoff::begin(w, wid, cause, (times, times), cx);
    let text = format!("{}: worker waits for its next start wid={} wait={}ms", w.name(), wid.0, wait.as_millis());
    cx.log(Level::Warning, text);
}
