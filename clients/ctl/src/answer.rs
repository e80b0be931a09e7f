//! Formats a reply for printing.

use serde_json::Value;

use super::{Exit, Globals};
use circus_core::commands::{Action, CommandSpec, Invocation, py_str};
use circus_core::config::options::WATCHER_OPTIONS;
use circus_core::config::suggestion;
use circus_core::escape::{escaped, escaped_lines, escaped_value};

/// What a command prints, and its exit status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// For standard output, with its last line end.
    pub stdout: String,
    /// For standard error, with its last line end.
    pub stderr: String,
    /// The exit status.
    pub exit: Exit,
}

impl Outcome {
    /// Success.
    pub(super) fn done(text: &str) -> Self {
        Self { stdout: format!("{text}\n"), stderr: String::new(), exit: Exit::Success }
    }

    /// A failure, with a text that ends its line.
    pub(super) fn failed(exit: Exit, text: String) -> Self {
        Self { stdout: String::new(), stderr: text, exit }
    }
}

impl Outcome {
    /// The outcomes of one command for several watchers, each headed with its label. The worst exit status counts.
    pub(super) fn joined(mut outcomes: Vec<(Option<&str>, Self)>, json: bool) -> Self {
        if let [(None, _)] = outcomes.as_slice() {
            return outcomes.swap_remove(0).1;
        }
        let exit = outcomes.iter().map(|(_, outcome)| outcome.exit).max_by_key(|exit| exit.code());
        let label = |label: Option<&str>| escaped(label.unwrap_or_default()).into_owned();
        let stderr = outcomes.iter().map(|(name, outcome)| headed_error(&label(*name), &outcome.stderr)).collect();
        let stdout = if json {
            let replies = outcomes.iter().filter_map(|(name, outcome)| {
                let key = Value::from(label(*name));
                (!outcome.stdout.is_empty()).then(|| format!("{key}: {}", outcome.stdout.trim_end()))
            });
            format!("{{{}}}\n", replies.collect::<Vec<_>>().join(", "))
        } else {
            outcomes.iter().map(|(name, outcome)| headed(&label(*name), &outcome.stdout)).collect()
        };
        Self { stdout, stderr, exit: exit.unwrap_or(Exit::Success) }
    }
}

/// A text with its watcher's name: on its line if it has one, above its lines if it has more.
fn headed(label: &str, text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    match lines.as_slice() {
        [] => String::new(),
        [first, ..] if first.strip_prefix(label).is_some_and(|rest| rest.starts_with(':')) => text.to_owned(),
        [line] => format!("{label}: {line}\n"),
        lines => format!("{label}:\n{}", lines.iter().map(|line| format!("  {line}\n")).collect::<String>()),
    }
}

fn headed_error(label: &str, text: &str) -> String {
    match text.strip_prefix("error: ") {
        Some(reason) if !reason.contains(label) => format!("error: {label}: {reason}"),
        Some(_) | None => text.to_owned(),
    }
}

/// What is printed of a reply.
pub fn answer(spec: &CommandSpec, invocation: &Invocation, globals: &Globals, reply: &[u8]) -> Outcome {
    let value = match serde_json::from_slice::<Value>(reply) {
        Ok(value @ Value::Object(_)) => value,
        _ => {
            let text = String::from_utf8_lossy(reply);
            let text = escaped(&text);
            return Outcome::failed(Exit::Failure, format!("error: the answer is not a JSON object: {text}\n"));
        }
    };
    let refused = value.get("status").is_some_and(|status| status == "error");
    if globals.json {
        let exit = if refused { Exit::Refused } else { Exit::Success };
        return Outcome { exit, ..Outcome::done(&json(reply, value, globals.prettify)) };
    }
    // Names and reasons come from other programs, and a terminal may be what shows them.
    let value = escaped_value(value);
    if refused { refusal(spec, &value) } else { shown(spec, invocation, &value) }
}

fn json(raw: &[u8], value: Value, prettify: bool) -> String {
    let raw = || String::from_utf8_lossy(raw).into_owned();
    let text = if prettify { serde_json::to_string_pretty(&sorted(value)).unwrap_or_else(|_| raw()) } else { raw() };
    // Escapes are those of JSON, so the text means the same.
    escaped_lines(&text).into_owned()
}

/// With the keys of every object in order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> = object.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
    }
}

fn refusal(spec: &CommandSpec, reply: &Value) -> Outcome {
    let mut text = match reply.get("reason").map(py_str) {
        Some(reason) if spec.console.bare_errors => format!("{reason}\n"),
        Some(reason) => format!("error: {reason}{}\n", hint(&reason)),
        None => "error\n".into(),
    };
    for detail in reply.get("details").and_then(Value::as_array).into_iter().flatten() {
        text.push_str(&format!("{}\n", py_str(detail)));
    }
    for failure in failures(reply) {
        text.push_str(&format!("  {failure}\n"));
    }
    for line in printed(reply) {
        text.push_str(&format!("  | {line}\n"));
    }
    Outcome::failed(Exit::Refused, text)
}

/// How a reason goes on that names an unknown option of a watcher. circusd says it in Circus' words.
fn hint(reason: &str) -> String {
    let key = reason.strip_prefix('\'').and_then(|rest| rest.strip_suffix("' option not found"));
    key.map_or_else(String::new, |key| suggestion(key, WATCHER_OPTIONS.iter().map(|spec| spec.key)))
}

/// What did not come up, each once; nothing where it is one, which the reason names.
fn failures(reply: &Value) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for row in reply.get("failed").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| row.get(key).map(py_str).unwrap_or_default();
        let line = format!("{}: {}", text("watcher"), text("reason"));
        if !found.contains(&line) {
            found.push(line);
        }
    }
    if found.len() > 1 { found } else { Vec::new() }
}

/// What the workers that did not come up have printed last.
fn printed(reply: &Value) -> Vec<&str> {
    let rows = reply.get("failed").and_then(Value::as_array).into_iter().flatten();
    let lines = rows.filter_map(|row| row.get("lines").and_then(Value::as_array)).flatten();
    lines.filter_map(Value::as_str).collect()
}

fn shown(spec: &CommandSpec, invocation: &Invocation, reply: &Value) -> Outcome {
    match spec.console.action {
        Action::Call { show, .. } => Outcome::done(&show(reply, invocation)),
        // A subscription makes no call, so no reply is its own.
        Action::Subscribe | Action::Await => Outcome::done("ok"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use circus_core::commands::find;

    fn outcome(name: &str, json: bool, prettify: bool, reply: &str) -> (String, String, u8) {
        let globals = Globals { json, prettify, ..Globals::default() };
        let outcome = answer(find(name).unwrap(), &Invocation::default(), &globals, reply.as_bytes());
        (outcome.stdout, outcome.stderr, outcome.exit.code())
    }

    fn both(stdout: &str, stderr: &str, exit: u8) -> (String, String, u8) {
        (stdout.into(), stderr.into(), exit)
    }

    const ERROR: &str = r#"{"status": "error", "reason": "program nope not found", "tb": null, "errno": 3}"#;

    #[test]
    fn several_failures_are_listed() {
        let row =
            |wid: u32| format!(r#"{{"watcher": "web", "wid": {wid}, "reason": "worker {wid} exited with status 1"}}"#);
        let reason = "web: 2 workers did not come up: worker 1 exited with status 1, ...";
        let reply = |rows: &[String]| {
            format!(r#"{{"status": "error", "reason": "{reason}", "failed": [{}]}}"#, rows.join(", "))
        };
        let lines = "  web: worker 1 exited with status 1\n  web: worker 2 exited with status 1\n";
        let both_rows = reply(&[row(1), row(2)]);
        assert_eq!(outcome("start", false, false, &both_rows), both("", &format!("error: {reason}\n{lines}"), 3));
        assert_eq!(outcome("start", false, false, &reply(&[row(1)])), both("", &format!("error: {reason}\n"), 3));
    }

    #[test]
    fn what_a_failed_worker_printed_is_shown() {
        let reply = r#"{"status": "error", "reason": "web: reload failed", "failed": [
            {"watcher": "web", "wid": 1, "reason": "worker 1 exited", "lines": ["no module\u001b[2J", "bye"]}]}"#;
        let expected = "error: web: reload failed\n  | no module\\u001b[2J\n  | bye\n";
        assert_eq!(outcome("reload", false, false, reply), both("", expected, 3));
    }

    #[test]
    fn success_is_shown() {
        let reply = r#"{"status": "ok", "time": 1.5, "watchers": ["a1", "my app", "solo"]}"#;
        assert_eq!(outcome("list", false, false, reply), both("a1,my app,solo\n", "", 0));
        assert_eq!(outcome("status", false, false, r#"{"status": "active"}"#), both("active\n", "", 0));
    }

    #[test]
    fn a_refusal_goes_to_standard_error() {
        assert_eq!(outcome("list", false, false, ERROR), both("", "error: program nope not found\n", 3));
        assert_eq!(outcome("status", false, false, ERROR), both("", "error: program nope not found\n", 3));
        let bare = r#"{"status": "error", "reason": "'zork' not an existing option"}"#;
        assert_eq!(outcome("globaloptions", false, false, bare), both("", "'zork' not an existing option\n", 3));
        assert_eq!(outcome("list", false, false, r#"{"status": "error"}"#), both("", "error\n", 3));
        let reason = "'grceful_timeout' option not found";
        let reply = format!(r#"{{"status": "error", "reason": "{reason}"}}"#);
        let text = format!("error: {reason}; did you mean 'graceful_timeout'?\n");
        assert_eq!(outcome("get", false, false, &reply), both("", &text, 3));
    }

    #[test]
    fn json_is_the_reply_itself() {
        let reply = r#"{"status": "ok", "time": 1.5, "numwatchers": 1, "id": "x"}"#;
        assert_eq!(outcome("numwatchers", true, false, reply), both(&format!("{reply}\n"), "", 0));
        assert_eq!(outcome("list", true, false, ERROR), both(&format!("{ERROR}\n"), "", 3));
    }

    #[test]
    fn foreign_text_forges_no_line_and_no_escape() {
        let statuses = r#"{"status": "ok", "statuses": {"a\nweb": "active", "\u001b[2J": "x\u009b"}}"#;
        assert_eq!(outcome("status", false, false, statuses), both("\\u001b[2J: x\\u009b\na\\nweb: active\n", "", 0));
        let options = r#"{"status": "ok", "options": {"env": {"A": "1\nuid: root"}, "cmd": "x\r"}}"#;
        assert_eq!(outcome("options", false, false, options), both("env: A=1\\nuid: root\ncmd: x\\r\n", "", 0));
        let refusal = r#"{"status": "error", "reason": "no \u202eb"}"#;
        assert_eq!(outcome("list", false, false, refusal), both("", "error: no \\u202eb\n", 3));
        let raw = "{\"status\": \"ok\", \"watchers\": [\"\u{9b}\"]}";
        let shown = "{\"status\": \"ok\", \"watchers\": [\"\\u009b\"]}\n";
        assert_eq!(outcome("list", true, false, raw), both(shown, "", 0));
    }

    #[test]
    fn prettified_json_has_its_keys_in_order() {
        let reply = r#"{"status": "ok", "b": {"d": 1, "c": []}, "a": 2.0}"#;
        let pretty = "{\n  \"a\": 2.0,\n  \"b\": {\n    \"c\": [],\n    \"d\": 1\n  },\n  \"status\": \"ok\"\n}\n";
        assert_eq!(outcome("list", true, true, reply), both(pretty, "", 0));
        assert_eq!(outcome("list", false, true, r#"{"watchers": ["a"]}"#), both("a\n", "", 0), "only with --json");
    }

    #[test]
    fn invalid_reply_is_an_error() {
        for reply in ["", "[1]", "{"] {
            let expected = both("", &format!("error: the answer is not a JSON object: {reply}\n"), 1);
            assert_eq!(outcome("list", false, false, reply), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_reply_panics(
            reply in ".{0,40}",
            key in "(watchers|pids|options|sockets|statuses|numprocesses|singleton|reason|status)",
            n in 0..9,
        ) {
            for value in ["null", "1", "[1, null]", "{\"env\": {\"a\": 1}}", "\"x\""] {
                for spec in circus_core::commands::COMMANDS {
                    let text = format!("{{\"{key}\": {value}, \"n\": {n}}}");
                    drop(answer(spec, &Invocation::default(), &Globals::default(), text.as_bytes()));
                    drop(answer(spec, &Invocation::default(), &Globals::default(), reply.as_bytes()));
                }
            }
        }
    }
}
