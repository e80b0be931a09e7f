//! A worker's life as events and as lines in the log.

use std::fmt::Write as _;
use std::time::Duration;

use crate::arbiter::cx::Cx;
use crate::arbiter::event::Exit;
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::fleet::worker::Worker;
use crate::arbiter::ids::{Wid, WorkerId};
use crate::arbiter::outcome::Cause;
use crate::arbiter::time::seconds;
use crate::arbiter::timers::Timer;
use crate::base::{Level, Pid};
use crate::proto::{EventKind, Signal};

/// Logs a line about a worker, or counts it where there are too many.
fn log(level: Level, text: impl FnOnce() -> String, cx: &mut Cx<'_>) {
    let now = cx.mono();
    if cx.outbox.log_limit.admit(now) {
        return cx.log(level, text());
    }
    let end = cx.outbox.log_limit.until();
    cx.timers.set(Timer::LogLimit, end);
}

/// A line of the usual length, in memory that is asked for once: there are two for every death.
fn line(text: std::fmt::Arguments<'_>) -> String {
    let mut line = String::with_capacity(128);
    let _never_fails = line.write_fmt(text);
    line
}

/// A process counts as one of the watcher's from now on.
pub(in crate::arbiter) fn spawned(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    let Some(worker) = w.workers().get(&id) else { return };
    let (Some(pid), wid) = (worker.pid, worker.wid) else { return };
    w.history.spawned += 1;
    log(Level::Info, || line(format_args!("{}: worker started wid={} pid={}", w.name(), wid.0, pid.0)), cx);
    cx.publish(w, EventKind::Spawn { process_pid: pid.0 });
}

/// A worker was collected.
pub(in crate::arbiter) fn exited(w: &Watcher, worker: &Worker, exit: Exit, cx: &mut Cx<'_>) {
    let lived = Seconds(cx.mono().since(worker.started.mono));
    let asked = if worker.exit_expected { "yes" } else { "no" };
    let text = || {
        let (name, wid, pid, how) = (w.name(), worker.wid.0, exit.pid.0, How(exit.exit_code));
        let oom = if exit.oom { " oom=yes" } else { "" };
        line(format_args!("{name}: worker exited wid={wid} pid={pid} {how} after={lived} asked={asked}{oom}"))
    };
    log(Level::Info, text, cx);
}

/// A worker has not stopped within graceful_timeout, or by the signals of stop_signal.
pub(in crate::arbiter) fn killed(w: &Watcher, worker: &Worker, pid: Pid, cx: &mut Cx<'_>) {
    let text = || {
        let policy = w.stop_policy();
        let time = match worker.escalation {
            Some(_) => format!("stop_signal={:?}", policy.signals()),
            None => format!("graceful_timeout={}", policy.timeout),
        };
        let (name, wid) = (w.name(), worker.wid.0);
        format!("{name}: worker did not stop in time and was killed wid={wid} pid={} {time}", pid.0)
    };
    log(Level::Warning, text, cx);
}

/// A worker has not stopped by the signal before, and gets this one.
pub(in crate::arbiter) fn escalates(w: &Watcher, (wid, pid): (Wid, Pid), signal: Signal, cx: &mut Cx<'_>) {
    let text = || {
        let (name, wid, pid) = (w.name(), wid.0, pid.0);
        format!("{name}: worker did not stop in time and gets the next signal wid={wid} pid={pid} signal={signal}")
    };
    log(Level::Warning, text, cx);
}

/// A worker has shown that it is ready.
pub(in crate::arbiter) fn ready(w: &Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    let Some(worker) = w.workers().get(&id) else { return };
    let (Some(pid), wid) = (worker.pid, worker.wid.0) else { return };
    let after = Seconds(cx.mono().since(worker.started.mono));
    let text = || line(format_args!("{}: worker ready wid={wid} pid={} after={after}", w.name(), pid.0));
    log(Level::Info, text, cx);
    cx.publish(w, EventKind::Ready { process_pid: pid.0, wid });
}

/// A worker is being stopped because it is not ready in time or unhealthy.
pub(in crate::arbiter) fn condemned(w: &Watcher, worker: &Worker, cause: &Cause, cx: &mut Cx<'_>) {
    let (Some(pid), wid) = (worker.pid, worker.wid.0) else { return };
    let reason = cause.words(None);
    let what = if worker.is_short_of_ready() { "not ready in time" } else { "unhealthy" };
    let text =
        || line(format_args!("{}: worker {what}, stopping it wid={wid} pid={} reason={reason:?}", w.name(), pid.0));
    log(Level::Warning, text, cx);
    if !worker.is_short_of_ready() {
        cx.publish(w, EventKind::Unhealthy { process_pid: pid.0, wid, reason });
    }
}

/// A health check has failed, and more may.
pub(in crate::arbiter) fn check_failed(w: &Watcher, id: WorkerId, error: &str, times: u32, cx: &mut Cx<'_>) {
    let Some(worker) = w.workers().get(&id) else { return };
    let (Some(pid), wid) = (worker.pid, worker.wid.0) else { return };
    let text = || {
        let (name, pid) = (w.name(), pid.0);
        line(format_args!("{name}: health check failed wid={wid} pid={pid} times={times} error={error:?}"))
    };
    log(Level::Warning, text, cx);
}

/// A worker's health cannot be looked at.
pub(in crate::arbiter) fn unable(w: &Watcher, id: WorkerId, error: &str, cx: &mut Cx<'_>) {
    let Some(worker) = w.workers().get(&id) else { return };
    let (Some(pid), wid) = (worker.pid, worker.wid.0) else { return };
    let text = || {
        let (name, pid) = (w.name(), pid.0);
        line(format_args!("{name}: health check cannot run, the worker is kept wid={wid} pid={pid} error={error:?}"))
    };
    log(Level::Warning, text, cx);
}

/// The next worker of a slot waits.
pub(in crate::arbiter) fn backs_off(
    w: &Watcher,
    wid: u32,
    exit_code: i32,
    (lived, times, wait): (Duration, u32, Duration),
    cx: &mut Cx<'_>,
) {
    let early = lived < seconds(w.config.min_uptime);
    let text = || {
        let (how, lived, wait) = (How(exit_code), Seconds(lived), Seconds(wait));
        let hint = daemonizing(exit_code, times);
        let what = match (w.is_service(), early) {
            (false, _) => "failed",
            (true, true) => "exited too soon",
            (true, false) => "exits again and again",
        };
        let name = w.name();
        format!(
            "{name}: worker {what}{hint}, the next start is delayed wid={wid} {how} after={lived} times={times} \
            wait={wait}"
        )
    };
    log(Level::Warning, text, cx);
}

/// A watcher with on_demand rests, since its worker exited early: connections start no worker meanwhile.
pub(in crate::arbiter) fn rests(
    w: &Watcher,
    wid: Wid,
    exit_code: i32,
    (lived, rest): (Duration, Duration),
    cx: &mut Cx<'_>,
) {
    let text = || {
        let (name, wid, how, lived, rest) = (w.name(), wid.0, How(exit_code), Seconds(lived), Seconds(rest));
        format!(
            "{name}: worker exited too soon, connections start no worker for a while wid={wid} {how} after={lived} \
            wait={rest}"
        )
    };
    log(Level::Warning, text, cx);
}

/// What the first early exit with status 0 suggests: nothing else that is so quick succeeds.
fn daemonizing(exit_code: i32, times: u32) -> &'static str {
    if exit_code == 0 && times == 1 {
        " (circusd cannot supervise a program that goes into the background; run it in the foreground)"
    } else {
        ""
    }
}

/// An exit code as a key and a value.
struct How(i32);

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = self.0;
        if code < 0 { write!(f, "signal={}", Signal(-code)) } else { write!(f, "status={code}") }
    }
}

/// `1.250s`, in whole numbers: the general way to write a fraction is several times as dear.
pub(in crate::arbiter) struct Seconds(pub(in crate::arbiter) Duration);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}s", self.0.as_secs(), self.0.subsec_millis())
    }
}
