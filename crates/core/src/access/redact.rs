//! What a client below admin is not shown: arguments and environments, where passwords are.

use serde_json::Value;

use crate::proto::{Body, Object};

/// What stands for a value that is not shown.
const HIDDEN: &str = "***";

/// Options of a watcher that may hold a command line: shown as its program.
const COMMANDS: [&str; 5] = ["cmd", "health", "ready", "executable", "command"];
/// Options that are not shown at all.
const VALUES: [&str; 3] = ["args", "shell_args", "config"];

/// An answer without arguments and values of environments: what `options`, `get` and `stats` tell of watchers.
pub fn redacted(body: &Body) -> Body {
    let Body::Ok(object) = body else { return body.clone() };
    let mut object = object.clone();
    if let Some(Value::Object(options)) = object.get_mut("options") {
        hide_options(options);
    }
    for key in ["info", "infos"] {
        if let Some(infos) = object.get_mut(key) {
            hide_command_lines(infos);
        }
    }
    Body::Ok(object)
}

fn hide_options(options: &mut Object) {
    for (key, value) in options.iter_mut() {
        let last = key.rsplit('.').next().unwrap_or_default();
        match key.as_str() {
            "env" => hide_all(value),
            _ if VALUES.contains(&last) => hide_all(value),
            _ if COMMANDS.contains(&last) || key.starts_with("hooks") => shorten(value),
            _ if key.starts_with("stdout_stream") || key.starts_with("stderr_stream") => {
                if let Value::Object(stream) = value {
                    hide_options(stream);
                }
            }
            _ => {}
        }
    }
}

/// Names stay, values go.
fn hide_all(value: &mut Value) {
    match value {
        Value::Object(object) => object.values_mut().for_each(|value| *value = HIDDEN.into()),
        Value::Null => {}
        Value::Array(values) if values.is_empty() => {}
        Value::String(text) if text.is_empty() => {}
        other => *other = HIDDEN.into(),
    }
}

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) => {
            let program = text.split(char::is_whitespace).next().unwrap_or_default();
            // A shell takes words before the program for its environment, and a URL may carry a token.
            let is_assignment = program.split('/').next().is_some_and(|word| word.contains('='));
            if is_assignment {
                *text = HIDDEN.to_owned();
            } else if let Some((address, _)) = program.split_once('?') {
                *text = format!("{address}?{HIDDEN}");
            } else if program.len() < text.len() {
                *text = format!("{program} {HIDDEN}");
            }
        }
        Value::Object(object) => object.values_mut().for_each(shorten),
        Value::Array(values) => values.iter_mut().for_each(shorten),
        _ => {}
    }
}

/// In whatever depth: the command line of a process.
fn hide_command_lines(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                match value {
                    Value::String(_) if key == "cmdline" => shorten(value),
                    other => hide_command_lines(other),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide_command_lines),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_and_environments_are_hidden() {
        let body = |value: Value| Body::Ok(value.as_object().cloned().unwrap());
        let options = json!({"options": {
            "cmd": "serve --password x", "args": "a b", "env": {"TOKEN": "x"}, "numprocesses": 2, "name": "web",
            "shell_args": "", "health": "cmd:probe --key x", "stdout_stream_conf": {"class": "C", "command": "sink --key x"},
            "stdout_stream.command": "sink --key x", "hooks.before_start": "hook x",
        }});
        let seen = json!({"options": {
            "cmd": "serve ***", "args": "***", "env": {"TOKEN": "***"}, "numprocesses": 2, "name": "web",
            "shell_args": "", "health": "cmd:probe ***", "stdout_stream_conf": {"class": "C", "command": "sink ***"},
            "stdout_stream.command": "sink ***", "hooks.before_start": "hook ***",
        }});
        assert_eq!(redacted(&body(options)), body(seen));
        let stats =
            json!({"infos": {"cmdline": {"7": {"cmdline": "serve --password x", "children": [{"cmdline": "a b"}]}}}});
        let seen = json!({"infos": {"cmdline": {"7": {"cmdline": "serve ***", "children": [{"cmdline": "a ***"}]}}}});
        assert_eq!(redacted(&body(stats)), body(seen));
        let options = json!({"options": {
            "cmd": "PASSWORD=x dump --all", "ready": "http://127.0.0.1/up?token=x", "health": "exec:/opt/a=b probe",
        }});
        let seen = json!({"options": {
            "cmd": "***", "ready": "http://127.0.0.1/up?***", "health": "exec:/opt/a=b ***",
        }});
        assert_eq!(redacted(&body(options)), body(seen));
        let statuses = body(json!({"statuses": {"env": "active", "cmd": "stopped x"}}));
        assert_eq!(redacted(&statuses), statuses);
    }
}
