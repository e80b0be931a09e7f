//! What a client below admin is not shown: arguments and environments, where passwords are.

use std::borrow::Cow;

use serde_json::Value;

use crate::config::options::{CIRCUS_OPTIONS, find, is_stream_key};
use crate::proto::{Body, Object};

/// What stands for a value that is not shown.
const HIDDEN: &str = "***";

/// Options of a watcher that may hold a command line or an address: shown as the program, or without what a URL may hide.
const COMMANDS: [&str; 7] = ["cmd", "health", "ready", "scale", "drain", "executable", "command"];
/// Options that are not shown at all. Of a slot, the values may be anything that workers are given.
const VALUES: [&str; 4] = ["args", "shell_args", "env", "slot"];

/// An answer without arguments and values of environments: what `options`, `get` and `stats` tell of watchers.
pub fn redacted(body: &Body) -> Cow<'_, Body> {
    let Body::Ok(object) = body else { return Cow::Borrowed(body) };
    if !["options", "info", "infos"].iter().any(|key| object.contains_key(*key)) {
        // Ten thousand lines need not be copied to be sent.
        return Cow::Borrowed(body);
    }
    let mut object = object.clone();
    if let Some(Value::Object(options)) = object.get_mut("options") {
        hide_options(options);
    }
    for key in ["info", "infos"] {
        if let Some(infos) = object.get_mut(key) {
            hide_command_lines(infos);
        }
    }
    Cow::Owned(Body::Ok(object))
}

/// What is not known to be harmless is hidden: freeform options, which plugins read, hold tokens.
fn hide_options(options: &mut Object) {
    for (key, value) in options.iter_mut() {
        let (first, last) = key.split_once('.').map_or((key.as_str(), None), |(first, last)| (first, Some(last)));
        let is_stream = first.starts_with("stdout_stream") || first.starts_with("stderr_stream");
        match last {
            _ if VALUES.contains(&first) => hide_all(value),
            _ if first == "hooks" || COMMANDS.contains(&first) => shorten(value),
            Some(last) if is_stream => hide_of_stream(last, value),
            None if is_stream => match value {
                Value::Object(stream) => stream.iter_mut().for_each(|(key, value)| hide_of_stream(key, value)),
                other => hide_all(other),
            },
            _ if is_known(key) => {}
            _ => hide_all(value),
        }
    }
}

/// A class of one's own may have any keys.
fn hide_of_stream(key: &str, value: &mut Value) {
    match key {
        "command" => shorten(value),
        _ if is_stream_key(key) => {}
        _ => hide_all(value),
    }
}

/// Whether it is an option of a watcher or of `[circus]`, and not one that a file was free to have.
fn is_known(key: &str) -> bool {
    key == "name" || find(key).is_some() || CIRCUS_OPTIONS.iter().any(|spec| spec.key == key)
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
        Value::String(text) => *text = shortened(text),
        Value::Object(object) => object.values_mut().for_each(shorten),
        Value::Array(values) => values.iter_mut().for_each(shorten),
        _ => {}
    }
}

/// The program of a command line, or an address without its user and query.
fn shortened(text: &str) -> String {
    let program = text.split(char::is_whitespace).next().unwrap_or_default();
    // Of a URL: as messages show it, without its user and its query.
    if let Some((scheme, rest)) = program.split_once("://") {
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let host = authority.rsplit('@').next().unwrap_or_default();
        let user = if host.len() < authority.len() { format!("{HIDDEN}@") } else { String::new() };
        let path = match path.split_once(['?', '#']) {
            Some((path, _)) => format!("{path}?{HIDDEN}"),
            None => path.to_owned(),
        };
        return format!("{scheme}://{user}{host}{path}");
    }
    // A shell takes words before the program for its environment, and other signs for more than a name.
    let is_assignment = program.split('/').next().is_some_and(|word| word.contains('='));
    let is_name = program.chars().all(|c| c.is_alphanumeric() || "/._-+:@%,~=".contains(c));
    match text.len() > program.len() {
        _ if is_assignment || !is_name => HIDDEN.to_owned(),
        true => format!("{program} {HIDDEN}"),
        false => text.to_owned(),
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
        assert_eq!(*redacted(&body(options)), body(seen));
        let stats =
            json!({"infos": {"cmdline": {"7": {"cmdline": "serve --password x", "children": [{"cmdline": "a b"}]}}}});
        let seen = json!({"infos": {"cmdline": {"7": {"cmdline": "serve ***", "children": [{"cmdline": "a ***"}]}}}});
        assert_eq!(*redacted(&body(stats)), body(seen));
        let options = json!({"options": {
            "cmd": "PASSWORD=x dump --all", "ready": "http://127.0.0.1/up?token=x", "health": "exec:/opt/a=b probe",
        }});
        let seen = json!({"options": {
            "cmd": "***", "ready": "http://127.0.0.1/up?***", "health": "exec:/opt/a=b ***",
        }});
        assert_eq!(*redacted(&body(options)), body(seen));
        let options = json!({"options": {
            "cmd": "(TOKEN=x dump)", "ready": "http://u:p@[::1]:80#x", "health": "tcp://h:1", "colour": "x", "slot.token": ["x"],
            "stdout_stream": {"class": "my.Stream", "password": "x"}, "stdout_stream.password": "x", "hooks": {"a": "m.f"},
            "after": ["db"], "env": null, "endpoint": "ipc:///c", "rlimit_core": 1, "env_file": "/etc/x", "api_key": 7,
        }});
        let seen = json!({"options": {
            "cmd": "***", "ready": "http://***@[::1]:80?***", "health": "tcp://h:1", "colour": "***", "slot.token": "***",
            "stdout_stream": {"class": "my.Stream", "password": "***"}, "stdout_stream.password": "***", "hooks": {"a": "m.f"},
            "after": ["db"], "env": null, "endpoint": "ipc:///c", "rlimit_core": 1, "env_file": "/etc/x", "api_key": "***",
        }});
        assert_eq!(*redacted(&body(options)), body(seen));
        let statuses = body(json!({"statuses": {"env": "active", "cmd": "stopped x"}}));
        assert!(matches!(redacted(&statuses), Cow::Borrowed(same) if *same == statuses));
    }
}
