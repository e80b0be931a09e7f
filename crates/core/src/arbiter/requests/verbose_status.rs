//! `status` with `verbose`: the health of each watcher, and the reason.

use std::time::Duration;

use serde_json::{Value, json};

use crate::arbiter::fleet::history::{Backoff, LastExit, LastFailure};
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::fleet::worker::Worker;
use crate::arbiter::lifecycle::purpose::HookTask;
use crate::arbiter::outcome::{Cause, Failure};
use crate::arbiter::requests::change::Dispatch;
use crate::arbiter::state::Arbiter;
use crate::arbiter::time::Now;
use crate::arbiter::timers::Timer;
use crate::commands::Health;
use crate::config::{Scale, Schedule, WatcherKind, WatcherOrigin};
use crate::proto::{Object, RunReport};

impl Arbiter {
    /// What `status` answers, and `details` beside it: of one watcher, or of each by name.
    pub(in crate::arbiter) fn verbose_status(&self, name: Option<&str>, now: Now) -> Dispatch {
        let mut answer = self.status(name)?.unwrap_or_default();
        let details = match name {
            Some(name) => self.details(self.fleet.named(name)?, now),
            None => self
                .fleet
                .shown()
                .map(|watcher| (watcher.name().to_owned(), self.details(watcher, now).into()))
                .collect(),
        };
        answer.insert("details".into(), details.into());
        Ok(Some(answer))
    }

    fn details(&self, watcher: &Watcher, now: Now) -> Object {
        let counts = watcher.counts();
        let past = &watcher.history;
        let mut details = Object::new();
        let mut put = |key: &str, value: Value| drop(details.insert(key.into(), value));
        put("state", watcher.state.name().into());
        let (health, why) = self.fares(watcher, now);
        put("health", health.name().into());
        put("reason", why.or_else(|| reason_of(watcher)).into());
        if health == Health::HeldBack {
            put("starts_by_itself", self.starts_by_itself(watcher, now).into());
        }
        if watcher.config.origin != WatcherOrigin::User {
            put("origin", watcher.config.origin.name().into());
        }
        put("enabled", watcher.config.autostart.into());
        if !watcher.is_service() {
            put("kind", watcher.config.kind.name().into());
            put("last_run", watcher.runs.last.as_ref().map(RunReport::fields).into());
            let runs = &watcher.runs;
            put("runs", json!({"succeeded": runs.succeeded, "failed": runs.failed, "skipped": runs.skipped}));
        }
        if watcher.config.kind == WatcherKind::Cron {
            put("schedule", watcher.config.cron.schedule.as_ref().map(Schedule::text).into());
            put("timezone", watcher.config.cron.timezone.clone().into());
            put("next_run", watcher.runs.next.as_ref().map(|next| next.at).into());
            put("next_run_in", self.left(Timer::Run(watcher.key), now).map(|left| left.as_secs_f64()).into());
        }
        put("wanted", watcher.config.numprocesses.into());
        if let Some(bounds) = watcher.config.scaling.bounds() {
            put("scale", scaling(watcher, (*bounds.start(), *bounds.end())));
        }
        if watcher.scaler.drain.is_under_way() {
            put("draining", counts.running.saturating_sub(watcher.config.numprocesses as usize).into());
        }
        put("running", counts.running.into());
        put("starting", (counts.starting + counts.unready).into());
        put("stopping", (counts.dying + counts.retiring + counts.failing).into());
        put("not_replaced", watcher.slots.left_empty.into());
        put("hooks", watcher.hooks.iter().map(|(_, purpose)| under_way(purpose.task())).collect());
        put("operation", watcher.running.as_ref().map(|operation| operation.kind.name()).into());
        put("queued", watcher.waiting.iter().map(|operation| operation.kind.name()).collect());
        put("backing_off", self.back_offs(watcher, now).into());
        put("waits_for", self.sockets_waited_for(watcher));
        put("rests", self.left(Timer::Rearm(watcher.key), now).map(|left| left.as_secs_f64()).into());
        put("spawned", past.spawned.into());
        put("reaped", past.reaped.into());
        put("failed", past.failed.into());
        put("restarts", past.restarts.into());
        put("ended_cpu_time", past.ended_cpu_time.as_secs_f64().into());
        put("uptime", uptime(watcher, now).into());
        put("processes", processes(watcher, now));
        let failures: Vec<Value> = watcher.failures.since(0).map(|failure| failure.fields().into()).collect();
        put("failures", failures.into());
        put("last_exit", past.last_exit.as_ref().map(last_exit).into());
        put("last_failure", past.last_failure.as_ref().map(|failure| last_failure(watcher, failure)).into());
        details
    }

    fn back_offs(&self, watcher: &Watcher, now: Now) -> Vec<Value> {
        let row = |(wid, backoff): (_, &Backoff)| {
            let left = self.left(Timer::Retry(watcher.key, wid), now).unwrap_or_default();
            let mut row = backoff.cause.fields();
            row.insert("wid".into(), wid.0.into());
            row.insert("reason".into(), backoff.cause.words(Some(wid)).into());
            row.insert("times".into(), backoff.times.into());
            row.insert("wait".into(), backoff.wait.as_secs_f64().into());
            row.insert("left".into(), left.as_secs_f64().into());
            row.into()
        };
        watcher.slots.backoffs().map(row).collect()
    }

    /// The sockets at which a watcher waits for a connection; null where it does not wait.
    fn sockets_waited_for(&self, watcher: &Watcher) -> Value {
        self.is_waiting(watcher).then(|| self.own_sockets(watcher).into_iter().collect::<Vec<_>>()).into()
    }

    fn left(&self, timer: Timer, now: Now) -> Option<Duration> {
        self.timers.get(timer).map(|at| at.since(now.mono))
    }
}

/// Why a watcher is not ready, in words: why it has stopped without a command, or the last failure of a slot that
/// waits.
pub(in crate::arbiter) fn reason_of(watcher: &Watcher) -> Option<String> {
    let waits = |failure: &&Failure| watcher.slots.backoffs().any(|(wid, _)| failure.wid == Some(wid));
    watcher.gave_up.as_ref().or_else(|| watcher.failures.since(0).find(waits)).map(Failure::words)
}

/// What the number of workers follows, and its last change.
fn scaling(watcher: &Watcher, (min, max): (u32, u32)) -> Value {
    let (options, scaler) = (&watcher.config.scaling, &watcher.scaler);
    let last = scaler
        .last
        .as_ref()
        .map(|last| json!({"before": last.from, "numprocesses": last.to, "reason": last.reason, "time": last.time}));
    json!({
        "by": options.scale.as_ref().map(Scale::shown), "min": min, "max": max, "target": options.target(),
        "measured": scaler.measured, "error": scaler.error, "last": last,
    })
}

/// A hook that is under way, by its name.
fn under_way(task: HookTask) -> &'static str {
    match task {
        HookTask::Load => "loading",
        HookTask::Run(point) => point.name(),
    }
}

/// Seconds since the watcher left `stopped`.
fn uptime(watcher: &Watcher, now: Now) -> Option<f64> {
    let began = watcher.history.began.filter(|_| watcher.state != WatcherState::Stopped)?;
    Some(now.mono.since(began).as_secs_f64())
}

/// The processes that `list` speaks of, and how long each is there.
fn processes(watcher: &Watcher, now: Now) -> Value {
    let row = |worker: &Worker| {
        let uptime = now.mono.since(worker.started.mono).as_secs_f64();
        let mut row = json!({"pid": worker.pid?.0, "wid": worker.wid.0, "uptime": uptime});
        if let Some(fields) = row.as_object_mut() {
            fields.extend(worker.report());
        }
        Some(row)
    };
    watcher.workers().values().filter(|worker| worker.is_up()).filter_map(row).collect()
}

fn last_exit(exit: &LastExit) -> Value {
    let mut row = json!({
        "wid": exit.wid.0, "pid": exit.pid.0, "exit_code": exit.exit_code, "lived": exit.lived.as_secs_f64(),
        "time": exit.time,
    });
    if let (true, Some(row)) = (exit.oom, row.as_object_mut()) {
        row.insert("oom".into(), true.into());
    }
    row
}

fn last_failure(watcher: &Watcher, failure: &LastFailure) -> Value {
    let mut row = Cause::Launch(failure.error.clone()).fields();
    row.insert("hint".into(), watcher.config.launch_hint(&failure.error).into());
    row.insert("wid".into(), failure.wid.0.into());
    row.insert("time".into(), failure.time.into());
    row.into()
}
