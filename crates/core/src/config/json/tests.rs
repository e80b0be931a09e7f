use serde_json::json;

use super::super::testing::FakeMachine;
use super::super::{Args, Config, ExitOn, Host, Loaded, Origin, Respawn, Runner};
use super::*;

fn host() -> Host {
    let env = [("HOME", "/root"), ("PATH", "/bin")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    Host { env: env.into(), cwd: "/".into(), ..Host::default() }
}

fn machine() -> FakeMachine {
    FakeMachine::default().with_directory("/tmp")
}

fn loaded(value: &Value) -> Loaded {
    Origin::Text { name: "fd".into(), text: value.to_string() }.load(&host(), &machine())
}

fn config(value: &Value) -> Config {
    let Loaded { config, problems, .. } = loaded(value);
    assert_eq!(problems, []);
    config.unwrap()
}

fn problems(value: &Value) -> Vec<String> {
    loaded(value).problems.iter().map(|problem| format!("{:?} {problem}", problem.severity)).collect()
}

#[test]
fn values_are_what_they_are() {
    let text = "two\nlines; $HOME % $(circus.env.home)  ";
    let config = config(&json!({"watchers": [{
        "name": "w", "cmd": "echo", "args": ["a b", "", text], "env": {"T": text, "PATH": null}, "copy_env": true,
        "my.option": text, "numprocesses": 2, "graceful_timeout": 86400, "respawn": false, "essential": true,
        "stdout_stream": {"class": "FileStream", "filename": "/tmp/x", "time_format": "%H $HOME"}, "rlimit_nofile": 64,
        "hooks": {"before_start": ["a.b", true]}, "stop_signal": 2, "uid": "root",
    }]}));
    let watcher = &config.watchers[0];
    assert_eq!(watcher.args, Some(Args::List(vec!["a b".into(), String::new(), text.into()])));
    let env = watcher.env.clone().unwrap();
    assert_eq!(env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), [("HOME", "/root"), ("T", text)]);
    assert_eq!(watcher.freeform["my.option"], text);
    assert_eq!((watcher.numprocesses, watcher.graceful_timeout, watcher.essential), (2, 86400.0, true));
    assert_eq!((watcher.respawn, watcher.dynamic, watcher.stop_signal.0), (Respawn::Never, false, 2));
    assert_eq!(watcher.stdout_stream.as_ref().unwrap().options["time_format"], "%H $HOME");
    assert_eq!((watcher.rlimits["nofile"], watcher.hooks.len()), (Some(64), 1));
}

#[test]
fn every_section_has_its_place() {
    let config = config(&json!({
        "circus": {"check_delay": 0.5, "endpoint": "ipc:///tmp/c", "exit_on": "failure", "umask": "077", "statsd": true},
        "sockets": [{"name": "Web", "port": 0, "backlog": 5}, {"name": "u", "path": "/tmp/u", "umask": "022"}],
        "plugins": [{"name": "p", "use": "my.Plugin", "python": "/py", "n": 1, "yes": true, "env": {"PYTHONPATH": "/x"}}],
        "watchers": [{"name": "w", "cmd": "x"}],
    }));
    assert_eq!((config.circus.check_delay, config.circus.exit_on), (0.5, ExitOn::Failure));
    assert_eq!((config.circus.umask, config.circus.statsd), (Some(0o077), true));
    assert_eq!(config.sockets.iter().map(|socket| socket.name.as_str()).collect::<Vec<_>>(), ["u", "web"]);
    assert_eq!((config.sockets[0].umask, config.sockets[1].port), (0o022, 0));
    let plugin = config.watchers.iter().find(|watcher| watcher.name == "plugin:p").unwrap();
    assert_eq!(plugin.env.as_ref().unwrap()["PYTHONPATH"], "/x");
    let made = plugin.plugin.as_ref().unwrap();
    assert_eq!(made.runner, Runner::Python { python: "/py".into(), class: "my.Plugin".into() });
    let settings: Vec<_> = made.settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(settings, [("n", "1"), ("name", "plugin:p"), ("yes", "True")]);
}

#[test]
fn items_may_be_named_by_their_keys() {
    let config = config(&json!({"watchers": {"b": {"cmd": "x"}, "a": {"cmd": "y"}}, "sockets": {"web": {"port": 0}}}));
    assert_eq!(config.watchers.iter().map(|watcher| watcher.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(config.sockets[0].name, "web");
}

#[test]
fn watchers_keep_their_order() {
    let config = config(&json!({"watchers": [{"name": "b", "cmd": "x"}, {"name": "a", "cmd": "x"}]}));
    assert_eq!(config.watchers.iter().map(|watcher| watcher.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
}

#[test]
fn texts_of_typed_options_are_read_as_in_a_file() {
    let config = config(&json!({"watchers": [{"name": "w", "cmd": "x", "numprocesses": "3", "stop_signal": "QUIT"}]}));
    assert_eq!((config.watchers[0].numprocesses, config.watchers[0].stop_signal.0), (3, 3));
}

#[test]
fn problems_name_their_key() {
    for (value, problem) in [
        (
            json!({"watcher": []}),
            "Fatal fd: unknown key 'watcher'; there are circus, watchers, sockets, plugins and slots",
        ),
        (json!({"watchers": 1}), "Fatal fd: watchers is neither a list nor an object"),
        (json!({"watchers": {"a": 1}}), "Fatal fd: watchers: 'a' is not an object"),
        (json!({"watchers": {"a": {"name": "a"}}}), "Fatal fd: watchers: 'a' has a name already, by its key"),
        (json!({"watchers": [1]}), "Fatal fd: watchers: item 1 is not an object"),
        (json!({"watchers": [{"cmd": "x"}]}), "Fatal fd: watchers: item 1 has no name"),
        (
            json!({"watchers": [{"name": "a", "cmd": "x"}, {"name": "a", "cmd": "x"}]}),
            "Fatal fd: watchers: 'a' is there twice",
        ),
        (json!({"circus": 1}), "Fatal fd: circus is not an object"),
        (
            json!({"circus": {"check_delay": []}, "watchers": [{"name": "a", "cmd": "x"}]}),
            "Fatal fd: [circus] check_delay: 'check_delay' isn't a number",
        ),
        (
            json!({"watchers": [{"name": "a", "cmd": "x", "env": {"A": 1}}, {"name": "b", "cmd": "x"}]}),
            "Skipped fd: [watcher:a] env: the variable A is neither a string nor null",
        ),
        (
            json!({"watchers": [{"name": "a", "cmd": "x", "shell": 2}, {"name": "b", "cmd": "x"}]}),
            "Skipped fd: [watcher:a] shell: 'shell' isn't a valid boolean",
        ),
    ] {
        assert_eq!(problems(&value), [problem]);
    }
    let text = Origin::Text { name: "fd".into(), text: "{\n 1".into() };
    let said = text.load(&host(), &machine()).problems.remove(0).to_string();
    assert!(said.starts_with("fd:2: is not a JSON object: "), "{said}");
}

#[test]
fn only_a_text_that_begins_with_a_brace_is_json() {
    assert!(is_json(" \n{}"));
    assert!(!is_json("[circus]\n{"));
    assert!(!is_json(""));
}
