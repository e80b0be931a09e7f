//! Answers as circusctl prints them, where commands share a form.

use serde_json::Value;

use super::{Invocation, python, report};

/// `ok`, whatever the answer holds.
pub(super) fn ok(_reply: &Value, _invocation: &Invocation) -> String {
    "ok".into()
}

/// What a run came to, where the answer tells it, else `ok`.
pub(super) fn run(reply: &Value, _invocation: &Invocation) -> String {
    let run = reply.get("info").and_then(|info| info.get("run")?.as_object());
    run.map_or_else(|| "ok".into(), report::run)
}

/// One field of the answer, `ok` where it has none.
pub(super) fn field(reply: &Value, key: &str) -> String {
    reply.get(key).map_or_else(|| "ok".into(), python::display)
}

/// The items of a list, with commas and no spaces.
pub(super) fn commas(list: &[Value]) -> String {
    list.iter().map(python::display).collect::<Vec<_>>().join(",")
}

/// `options` as `key: value` lines, in the answer's order.
pub(super) fn option_lines(reply: &Value, _invocation: &Invocation) -> String {
    let Some(options) = reply.get("options").and_then(Value::as_object) else {
        return String::new();
    };
    let line = |(key, value): (&String, &Value)| format!("{key}: {}", option_value(key, value));
    options.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn option_value(key: &str, value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Object(env) if key == "env" => {
            let mut pairs: Vec<_> =
                env.iter().map(|(name, value)| format!("{name}={}", python::display(value))).collect();
            pairs.sort_unstable();
            pairs.join(",")
        }
        other => python::display(other),
    }
}

/// What `incr` and `decr` answer: the new number where it was waited for.
pub(super) fn process_count(reply: &Value, _invocation: &Invocation) -> String {
    match reply.get("singleton") {
        Some(Value::Bool(true)) => "This watcher is a Singleton - not changing the number of processes".into(),
        _ => field(reply, "numprocesses"),
    }
}

/// The figures of a process in a line: `PID  CMDLINE USER NICE RSS VMS CPU MEM CTIME`.
pub(super) fn process_line(info: &Value) -> String {
    let text = |key| info.get(key).map(python::display).unwrap_or_default();
    let others = ["cmdline", "username", "nice", "mem_info1", "mem_info2", "cpu", "mem", "ctime"].map(text);
    format!("{}  {}", text("pid"), others.join(" "))
}

/// The heads of the columns that [`process_rows`] fills.
pub(super) const PROCESS_HEADER: &[&str] =
    &["WATCHER", "PID", "COMMAND", "USER", "NICE", "RSS", "VMS", "CPU%", "MEM%", "TIME"];

/// A row for a process and one for each of its direct children.
pub(super) fn process_rows(watcher: &str, info: &Value) -> Vec<Vec<String>> {
    let row = |info: &Value, indent: &str| {
        let text = |key| info.get(key).map(python::display).unwrap_or_default();
        let command = format!("{indent}{}", text("cmdline"));
        let figures = ["username", "nice", "mem_info1", "mem_info2", "cpu", "mem", "ctime"].map(text);
        [watcher.to_owned(), text("pid"), command].into_iter().chain(figures).collect()
    };
    if !info.is_object() {
        return Vec::new();
    }
    std::iter::once(row(info, "")).chain(children(info).iter().map(|child| row(child, "  "))).collect()
}

/// The children among the figures of a process.
pub(super) fn children(info: &Value) -> &[Value] {
    info.get("children").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_as_circusctl_lists_them() {
        let reply = json!({"status": "ok", "options": {
            "args": "", "close_child_stdin": true, "env": {"Z": "1", "Y": "two words"}, "executable": null,
            "graceful_timeout": 30.0, "max_age": 0, "stdout_stream_conf": {},
            "stderr_stream_conf": {"filename": "/tmp/x"}, "working_dir": "/srv"}});
        let lines = "args: \nclose_child_stdin: True\nenv: Y=two words,Z=1\nexecutable: \ngraceful_timeout: 30.0\n\
                     max_age: 0\nstdout_stream_conf: {}\nstderr_stream_conf: {'filename': '/tmp/x'}\nworking_dir: /srv";
        assert_eq!(option_lines(&reply, &Invocation::default()), lines);
        assert_eq!(option_lines(&json!({"options": {"env": null}}), &Invocation::default()), "env: ");
        assert_eq!(option_lines(&json!({"options": {"env": {}}}), &Invocation::default()), "env: ");
        assert_eq!(option_lines(&json!({}), &Invocation::default()), "");
    }

    #[test]
    fn counts_of_processes() {
        let shown = |reply| process_count(&reply, &Invocation::default());
        assert_eq!(shown(json!({"status": "ok"})), "ok");
        assert_eq!(shown(json!({"status": "ok", "numprocesses": 6})), "6");
        assert_eq!(
            shown(json!({"status": "ok", "numprocesses": 1, "singleton": true})),
            "This watcher is a Singleton - not changing the number of processes"
        );
    }
}
