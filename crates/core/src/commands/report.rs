//! `status --verbose` as text: each watcher's state, and under it why.

use serde_json::{Map, Value};

use super::health::{Health, health};
use crate::proto::{Signal, SpawnError, Stage};

type Details = Map<String, Value>;

/// The watchers of an answer, by name. `now` is the answer's time.
pub(super) fn all(details: &Details, now: f64) -> String {
    let mut watchers: Vec<(&String, &Details)> =
        details.iter().filter_map(|(name, details)| Some((name, details.as_object()?))).collect();
    watchers.sort_unstable_by_key(|(name, _)| name.as_str());
    watchers.into_iter().map(|(name, details)| watcher(name, details, now)).collect::<Vec<_>>().join("\n")
}

/// One watcher.
pub(super) fn watcher(name: &str, details: &Details, now: f64) -> String {
    let mut lines = vec![format!("{name}: {}", head(details))];
    let mut say = |line: String| lines.push(format!("  {line}"));
    if rows(details, "backing_off").next().is_none() {
        stated_reason(details).map(str::to_owned).into_iter().for_each(&mut say);
    }
    if details.get("enabled") == Some(&Value::Bool(false)) && health(details) != Health::Disabled {
        say("disabled: it does not start with circusd".into());
    }
    running(details).into_iter().for_each(&mut say);
    operation(details).into_iter().for_each(&mut say);
    waiting(details).into_iter().for_each(&mut say);
    rows(details, "backing_off").map(back_off).for_each(&mut say);
    match count(details, "not_replaced") {
        0 => {}
        1 => say("1 worker has exited and is not replaced".into()),
        many => say(format!("{many} workers have exited and are not replaced")),
    }
    object(details, "scale").map(|scale| scaled(scale, now)).into_iter().flatten().for_each(&mut say);
    match count(details, "draining") {
        0 => {}
        1 => say("1 worker too many is busy, and stops when it is idle (drain)".into()),
        many => say(format!("{many} workers too many are busy, and stop when they are idle (drain)")),
    }
    next_run(details).into_iter().for_each(&mut say);
    object(details, "last_run").map(|run| ended_run(run, now)).into_iter().for_each(&mut say);
    object(details, "runs").map(runs).into_iter().for_each(&mut say);
    object(details, "last_exit").map(|exit| last_exit(exit, now)).into_iter().for_each(&mut say);
    object(details, "last_failure").map(|failure| last_failure(failure, now)).into_iter().for_each(&mut say);
    let (spawned, reaped, failed) = (count(details, "spawned"), count(details, "reaped"), count(details, "failed"));
    let restarts = count(details, "restarts");
    say(format!("totals: {spawned} started, {reaped} exited, {failed} failed to start, {restarts} replaced"));
    lines.join("\n")
}

fn head(details: &Details) -> String {
    let state = text(details, "state");
    let mut head = format!("{state}, {} of {} running", count(details, "running"), count(details, "wanted"));
    let health = health(details);
    if health.name() != state && health != Health::Ready {
        head.push_str(&format!(", {}", health.name()));
    }
    for key in ["starting", "stopping"] {
        match count(details, key) {
            0 => {}
            some => head.push_str(&format!(", {some} {key}")),
        }
    }
    head
}

/// The workers that run, and since when the watcher is started.
fn running(details: &Details) -> Vec<String> {
    let uptime = details.get("uptime").and_then(Value::as_f64).map(|uptime| format!("up for {}", duration(uptime)));
    let worker = |row: &Details| {
        let uptime = duration(number(row, "uptime"));
        let error = row.get("check_error").and_then(Value::as_str);
        let checked = match (row.get("ready").and_then(Value::as_bool), error) {
            (Some(false), Some(error)) => format!(", not ready: {error}"),
            (Some(false), None) => ", not ready".to_owned(),
            (_, Some(error)) => format!(", last health check: {error}"),
            (_, None) => String::new(),
        };
        let status = row.get("status").and_then(Value::as_str).map(|status| format!(" ({status})"));
        let status = status.unwrap_or_default();
        format!("worker {}: pid {}, running for {uptime}{checked}{status}", count(row, "wid"), count(row, "pid"))
    };
    uptime.into_iter().chain(rows(details, "processes").map(worker)).collect()
}

/// Why a watcher is in trouble, in a few words: the last back-off, or else the last failed start or exit.
pub(super) fn reason(details: &Details) -> Option<String> {
    if let Some(row) = rows(details, "backing_off").last() {
        let left = duration(number(row, "left"));
        return Some(format!("worker {} {}, next start in {left}", count(row, "wid"), cause(row)));
    }
    if let Some(reason) = stated_reason(details) {
        return Some(reason.to_owned());
    }
    match health(details) {
        Health::Scheduled => next_run(details),
        Health::Degraded => object(details, "last_exit")
            .map(|exit| death(exit.get("exit_code").and_then(Value::as_i64).unwrap_or_default())),
        _ => operation(details),
    }
}

/// The reason that circusd gives.
fn stated_reason(details: &Details) -> Option<&str> {
    details.get("reason").and_then(Value::as_str)
}

fn operation(details: &Details) -> Option<String> {
    let running = details.get("operation").and_then(Value::as_str)?;
    let queued: Vec<&str> =
        details.get("queued").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let then = if queued.is_empty() { String::new() } else { format!(", then: {}", queued.join(", ")) };
    Some(format!("in progress: {running}{then}"))
}

fn waiting(details: &Details) -> Option<String> {
    let sockets: Vec<&str> =
        details.get("waits_for").and_then(Value::as_array)?.iter().filter_map(Value::as_str).collect();
    if sockets.is_empty() {
        return Some("on demand, but no socket activates it; start it explicitly".into());
    }
    let sockets = sockets.join(", ");
    Some(match details.get("rests").and_then(Value::as_f64) {
        None => format!("the next connection to {sockets} starts it"),
        Some(rest) => {
            format!("no connection starts it for {}; then the next connection to {sockets} does", duration(rest))
        }
    })
}

fn back_off(row: &Details) -> String {
    let left = duration(number(row, "left"));
    let times = count(row, "times");
    let (what, last) = match row.get("exit_code").and_then(Value::as_i64) {
        Some(exit_code) => ("exit", death(exit_code)),
        None => ("failed start", failed_start(row)),
    };
    let row_of = if times == 1 { format!("1 {what}") } else { format!("{times} {what}s in a row, the last") };
    format!("worker {}: backing off, next start in {left}; {row_of}: {last}", count(row, "wid"))
}

fn cause(row: &Details) -> String {
    match (row.get("exit_code").and_then(Value::as_i64), row.get("hook").and_then(Value::as_str)) {
        (Some(exit_code), _) => death(exit_code),
        (None, Some(hook)) => format!("was refused by hook {hook}"),
        (None, None) => failed_start(row),
    }
}

fn last_exit(exit: &Details, now: f64) -> String {
    let oom = if exit.get("oom") == Some(&Value::Bool(true)) { ", for lack of memory" } else { "" };
    format!(
        "last exit, {} ago: worker {} (pid {}) {} after {}{oom}",
        duration(now - number(exit, "time")),
        count(exit, "wid"),
        count(exit, "pid"),
        death(exit.get("exit_code").and_then(Value::as_i64).unwrap_or_default()),
        duration(number(exit, "lived")),
    )
}

/// What the last run of a watcher came to, from its details; none where it has had none.
pub fn last_run(details: &Details) -> Option<String> {
    object(details, "last_run").map(run)
}

/// What a run came to.
pub(super) fn run(run: &Details) -> String {
    let how = match run.get("exit_code").and_then(Value::as_i64) {
        Some(exit_code) => death(exit_code),
        None => "no process has run".into(),
    };
    let attempts = match count(run, "attempts") {
        0 | 1 => String::new(),
        many => format!(", {many} attempts"),
    };
    format!("{}: {how} after {}{attempts}", text(run, "result"), duration(number(run, "duration")))
}

/// What the number of workers follows, and its last change.
fn scaled(scale: &Details, now: f64) -> Vec<String> {
    let (by, min, max) = (text(scale, "by"), count(scale, "min"), count(scale, "max"));
    let last = object(scale, "last").map(|last| {
        let ago = duration(now - number(last, "time"));
        let (before, after) = (count(last, "before"), count(last, "numprocesses"));
        format!("{before} to {after} workers {ago} ago: {}", text(last, "reason"))
    });
    let error = scale.get("error").and_then(Value::as_str).map(|error| format!("scale has failed: {error}"));
    [Some(format!("scale = {by}, {min} to {max} workers")), last, error].into_iter().flatten().collect()
}

fn ended_run(last: &Details, now: f64) -> String {
    let ago = duration(now - number(last, "began") - number(last, "duration"));
    format!("last run, {ago} ago: {}", run(last))
}

fn runs(runs: &Details) -> String {
    let skipped = match count(runs, "skipped") {
        0 => String::new(),
        some => format!(", {some} skipped"),
    };
    format!("runs: {} succeeded, {} failed{skipped}", count(runs, "succeeded"), count(runs, "failed"))
}

/// When a watcher runs next as its schedule says, from its details; none where no run is due.
pub fn next_run(details: &Details) -> Option<String> {
    let left = details.get("next_run_in").and_then(Value::as_f64)?;
    let zone = details.get("timezone").and_then(Value::as_str).map(|zone| format!(", {zone}")).unwrap_or_default();
    Some(format!("next run in {} ({}{zone})", duration(left), text(details, "schedule")))
}

fn last_failure(failure: &Details, now: f64) -> String {
    let ago = duration(now - number(failure, "time"));
    format!("last failed start, {ago} ago: worker {}: {}", count(failure, "wid"), failed_start(failure))
}

/// A start that failed, as the log has it too.
fn failed_start(row: &Details) -> String {
    let errno = row.get("errno").and_then(Value::as_i64).and_then(|errno| i32::try_from(errno).ok());
    let (stage, detail) = (text(row, "stage"), text(row, "detail"));
    let reason = match (Stage::named(stage), row.get("hook").and_then(Value::as_str)) {
        (Some(stage), _) => {
            SpawnError { stage, errno: errno.unwrap_or_default(), detail: detail.to_owned() }.describe()
        }
        (None, Some(hook)) => match text(row, "error") {
            "" => format!("hook {hook} returned false"),
            error => format!("hook {hook} failed: {error}"),
        },
        (None, None) => format!("{stage} failed: {detail}"),
    };
    match text(row, "hint") {
        "" => reason,
        hint => format!("{reason}; {hint}"),
    }
}

fn death(exit_code: i64) -> String {
    match i32::try_from(-exit_code) {
        Ok(signal @ 1..) => format!("ended by {}", Signal(signal)),
        _ => format!("exited with status {exit_code}"),
    }
}

/// The answer to `why` as text: a line for each thing that went wrong, and for each line that was printed.
pub fn why_in_words(answer: &Details) -> String {
    let now = number(answer, "time");
    let reason = stated_reason(answer).map(|reason| format!(": {reason}")).unwrap_or_default();
    let mut lines = vec![format!("{}: {}{reason}", text(answer, "name"), text(answer, "health"))];
    let mut say = |line: String| lines.push(format!("  {line}"));
    for event in rows(answer, "events") {
        say(format!("{} ago: {}", duration(now - number(event, "time")), text(event, "text")));
    }
    let is_kept = answer.get("output_kept") == Some(&Value::Bool(true));
    match (rows(answer, "events").next(), rows(answer, "lines").next()) {
        (None, _) => say("nothing has gone wrong".into()),
        (Some(_), None) if is_kept => say("its output has no lines".into()),
        (Some(_), None) => {
            say("its output is not kept: set stderr_stream.class = MemoryStream to see the last lines here".into());
        }
        (Some(_), Some(_)) => {
            let pid = |worker: &Details| worker.get("pid").and_then(Value::as_i64);
            say(match object(answer, "worker").map(|worker| (count(worker, "wid"), pid(worker))) {
                Some((wid, Some(pid))) => format!("the last lines of worker {wid} (pid {pid}):"),
                Some((wid, None)) => format!("the last lines of worker {wid}:"),
                None => "the last lines:".into(),
            });
            for line in rows(answer, "lines") {
                say(format!("  {}: {}", text(line, "stream"), text(line, "line")));
            }
        }
    }
    lines.join("\n")
}

/// Two units at most: what a glance takes in.
pub(super) fn duration(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is not negative, and saturates")]
    let ms = (seconds.max(0.0) * 1000.0).round() as u64;
    match ms / 1000 {
        0 => format!("{ms} ms"),
        1..60 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        s @ 60..3600 => format!("{} min {} s", s / 60, s % 60),
        s @ 3600..86_400 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        s => format!("{} d {} h", s / 86_400, s % 86_400 / 3600),
    }
}

fn rows<'d>(details: &'d Details, key: &str) -> impl Iterator<Item = &'d Details> {
    details.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

fn object<'d>(details: &'d Details, key: &str) -> Option<&'d Details> {
    details.get(key).and_then(Value::as_object)
}

fn text<'d>(details: &'d Details, key: &str) -> &'d str {
    details.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn count(details: &Details, key: &str) -> u64 {
    details.get(key).and_then(Value::as_u64).unwrap_or_default()
}

fn number(details: &Details, key: &str) -> f64 {
    details.get(key).and_then(Value::as_f64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(details: &Value) -> String {
        watcher("web", details.as_object().unwrap(), 1000.0)
    }

    #[test]
    fn a_watcher_in_trouble_says_why() {
        let details = json!({
            "state": "active", "health": "degraded", "reason": "worker 2 was ended by SIGSEGV after 310 ms",
            "wanted": 3, "running": 1, "starting": 0, "stopping": 1, "not_replaced": 1,
            "operation": "restart", "queued": ["reload"], "waits_for": null, "rests": null,
            "backing_off": [
                {"wid": 2, "times": 3, "wait": 0.8, "left": 0.6204, "exit_code": -11},
                {"wid": 3, "times": 12, "wait": 5.0, "left": 2.0, "stage": "fork", "errno": 11, "error": "EAGAIN",
                 "detail": "clone"},
            ],
            "spawned": 12, "reaped": 10, "failed": 1, "restarts": 9, "uptime": 75.0,
            "processes": [{"pid": 4712, "wid": 1, "uptime": 75.0}],
            "last_exit": {"wid": 2, "pid": 4711, "exit_code": -9, "lived": 0.31, "time": 994.5, "oom": true},
            "last_failure": {"wid": 1, "stage": "chdir", "errno": 2, "error": "ENOENT", "detail": "/nope", "time": 880.0},
        });
        assert_eq!(
            shown(&details).lines().collect::<Vec<_>>(),
            [
                "web: active, 1 of 3 running, degraded, 1 stopping",
                "  up for 1 min 15 s",
                "  worker 1: pid 4712, running for 1 min 15 s",
                "  in progress: restart, then: reload",
                "  worker 2: backing off, next start in 620 ms; 3 exits in a row, the last: ended by SIGSEGV",
                "  worker 3: backing off, next start in 2.0 s; 12 failed starts in a row, the last: failed to create a \
                 process: clone ([Errno 11] Resource temporarily unavailable)",
                "  1 worker has exited and is not replaced",
                "  last exit, 5.5 s ago: worker 2 (pid 4711) ended by SIGKILL after 310 ms, for lack of memory",
                "  last failed start, 2 min 0 s ago: worker 1: failed to change to the working directory: /nope \
                 ([Errno 2] No such file or directory)",
                "  totals: 12 started, 10 exited, 1 failed to start, 9 replaced",
            ]
        );
    }

    #[test]
    fn a_watcher_that_waits_says_what_for() {
        let of = |waits_for: Value, rests: Value| {
            let details = json!({"state": "stopped", "wanted": 1, "waits_for": waits_for, "rests": rests});
            shown(&details).lines().nth(1).unwrap().to_owned()
        };
        assert_eq!(of(json!(["api", "web"]), json!(null)), "  the next connection to api, web starts it");
        assert_eq!(
            of(json!(["web"]), json!(0.25)),
            "  no connection starts it for 250 ms; then the next connection to web does"
        );
        assert_eq!(of(json!([]), json!(null)), "  on demand, but no socket activates it; start it explicitly");
    }

    #[test]
    fn a_watcher_that_has_stopped_of_its_own_accord_says_why() {
        let details = json!({
            "state": "stopped", "health": "failed", "wanted": 1, "running": 0,
            "reason": "hook after_start failed: connection refused",
        });
        let text = shown(&details);
        let lines: Vec<_> = text.lines().take(2).collect();
        assert_eq!(lines, ["web: stopped, 0 of 1 running, failed", "  hook after_start failed: connection refused"]);
    }

    #[test]
    fn all_watchers_in_order_of_name() {
        let one = json!({"state": "active", "wanted": 1, "running": 1});
        let details = json!({"b": one, "a": one});
        let text = all(details.as_object().unwrap(), 0.0);
        let heads: Vec<_> = text.lines().filter(|line| !line.starts_with(' ')).collect();
        assert_eq!(heads, ["a: active, 1 of 1 running", "b: active, 1 of 1 running"]);
    }

    #[test]
    fn durations_have_two_units_at_most() {
        for (seconds, text) in [
            (-1.0, "0 ms"),
            (0.9994, "999 ms"),
            (1.0, "1.0 s"),
            (61.2, "1 min 1 s"),
            (7265.0, "2 h 1 min"),
            (9e4, "1 d 1 h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
