//! `status --verbose` as text: each watcher's state, and under it why.

use serde_json::{Map, Value};

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
    operation(details).into_iter().for_each(&mut say);
    waiting(details).into_iter().for_each(&mut say);
    rows(details, "backing_off").map(back_off).for_each(&mut say);
    match count(details, "not_replaced") {
        0 => {}
        1 => say("1 process has ended and is not replaced".into()),
        many => say(format!("{many} processes have ended and are not replaced")),
    }
    object(details, "last_exit").map(|exit| last_exit(exit, now)).into_iter().for_each(&mut say);
    object(details, "last_failure").map(|failure| last_failure(failure, now)).into_iter().for_each(&mut say);
    let (spawned, reaped, failed) = (count(details, "spawned"), count(details, "reaped"), count(details, "failed"));
    say(format!("since its beginning: {spawned} started, {reaped} ended, {failed} failed to start"));
    lines.join("\n")
}

fn head(details: &Details) -> String {
    let mut head =
        format!("{}, {} of {} running", text(details, "state"), count(details, "running"), count(details, "wanted"));
    for key in ["starting", "stopping"] {
        match count(details, key) {
            0 => {}
            some => head.push_str(&format!(", {some} {key}")),
        }
    }
    head
}

fn operation(details: &Details) -> Option<String> {
    let running = details.get("operation").and_then(Value::as_str)?;
    let queued: Vec<&str> =
        details.get("queued").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let then = if queued.is_empty() { String::new() } else { format!(", then: {}", queued.join(", ")) };
    Some(format!("at work on: {running}{then}"))
}

fn waiting(details: &Details) -> Option<String> {
    let sockets: Vec<&str> =
        details.get("waits_for").and_then(Value::as_array)?.iter().filter_map(Value::as_str).collect();
    if sockets.is_empty() {
        return Some("on demand, but at no socket: only start with its name starts it".into());
    }
    let sockets = sockets.join(", ");
    Some(match details.get("rests").and_then(Value::as_f64) {
        None => format!("the next connection to {sockets} starts it"),
        Some(rest) => format!("rests for {} more, then a connection to {sockets} starts it", duration(rest)),
    })
}

fn back_off(row: &Details) -> String {
    let (wait, left) = (number(row, "wait"), number(row, "left"));
    format!(
        "worker {}: backing off {} after {}, {} time; {} left",
        count(row, "wid"),
        duration(wait),
        cause(row),
        ordinal(count(row, "times")),
        duration(left),
    )
}

fn cause(row: &Details) -> String {
    match row.get("exit_code").and_then(Value::as_i64) {
        Some(exit_code) => death(exit_code),
        None => stage(row),
    }
}

fn last_exit(exit: &Details, now: f64) -> String {
    format!(
        "last exit: worker {}, pid {}, {} after {}, {} ago",
        count(exit, "wid"),
        count(exit, "pid"),
        death(exit.get("exit_code").and_then(Value::as_i64).unwrap_or_default()),
        duration(number(exit, "lived")),
        duration(now - number(exit, "time")),
    )
}

fn last_failure(failure: &Details, now: f64) -> String {
    let detail = text(failure, "detail");
    let about = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
    let ago = duration(now - number(failure, "time"));
    format!("last failed start: worker {}, {}{about}, {ago} ago", count(failure, "wid"), stage(failure))
}

fn stage(row: &Details) -> String {
    let stage = text(row, "stage");
    match row.get("error").and_then(Value::as_str) {
        Some(error) => format!("stage {stage} failed with {error}"),
        None => format!("stage {stage} failed"),
    }
}

fn death(exit_code: i64) -> String {
    if exit_code < 0 { format!("signal {}", -exit_code) } else { format!("exit status {exit_code}") }
}

/// Two units at most: what a glance takes in.
fn duration(seconds: f64) -> String {
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

fn ordinal(number: u64) -> String {
    const WORDS: [&str; 10] =
        ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"];
    if let Some(word) = usize::try_from(number).ok().and_then(|number| WORDS.get(number.checked_sub(1)?)) {
        return (*word).to_owned();
    }
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
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
            "state": "active", "wanted": 3, "running": 1, "starting": 0, "stopping": 1, "not_replaced": 1,
            "operation": "restart", "queued": ["reload"], "waits_for": null, "rests": null,
            "backing_off": [
                {"wid": 2, "times": 3, "wait": 0.8, "left": 0.6204, "exit_code": -11},
                {"wid": 3, "times": 12, "wait": 5.0, "left": 2.0, "stage": "fork", "errno": 11, "error": "EAGAIN",
                 "detail": "clone"},
            ],
            "spawned": 12, "reaped": 10, "failed": 1,
            "last_exit": {"wid": 2, "pid": 4711, "exit_code": -11, "lived": 0.31, "time": 994.5},
            "last_failure": {"wid": 1, "stage": "chdir", "errno": 2, "error": "ENOENT", "detail": "/nope", "time": 880.0},
        });
        assert_eq!(
            shown(&details).lines().collect::<Vec<_>>(),
            [
                "web: active, 1 of 3 running, 1 stopping",
                "  at work on: restart, then: reload",
                "  worker 2: backing off 800 ms after signal 11, third time; 620 ms left",
                "  worker 3: backing off 5.0 s after stage fork failed with EAGAIN, 12th time; 2.0 s left",
                "  1 process has ended and is not replaced",
                "  last exit: worker 2, pid 4711, signal 11 after 310 ms, 5.5 s ago",
                "  last failed start: worker 1, stage chdir failed with ENOENT (/nope), 2 min 0 s ago",
                "  since its beginning: 12 started, 10 ended, 1 failed to start",
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
        assert_eq!(of(json!(["web"]), json!(0.25)), "  rests for 250 ms more, then a connection to web starts it");
        assert_eq!(of(json!([]), json!(null)), "  on demand, but at no socket: only start with its name starts it");
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
    fn durations_and_ordinals() {
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
        let words = [1, 2, 10, 11, 12, 13, 21, 22, 23, 101, 111, 113].map(ordinal).join(" ");
        assert_eq!(words, "first second tenth 11th 12th 13th 21st 22nd 23rd 101st 111th 113th");
    }
}
