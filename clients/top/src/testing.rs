//! A fleet for tests.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::input::{Asked, Effect, Endpoints, Heard, Input, Question};
use super::keys::Key;
use super::state::{Given, State};

/// When it is.
pub(super) const NOW: Duration = Duration::from_secs(5000);

/// Types letters; what is to be done for them.
pub(super) fn press(state: &mut State, letters: &str) -> Vec<Effect> {
    letters.chars().filter_map(|letter| state.feed(Input::Key(Key::Char(letter)), NOW)).collect()
}

pub(super) fn answer(state: &mut State, asked: Asked, answer: Value) -> Option<Effect> {
    state.feed(Input::Answer(asked, answer.as_object().unwrap()), NOW)
}

fn stat(state: &mut State, topic: &str, body: Value, at: u64) {
    state.feed(Input::Stat { topic: topic.as_bytes(), body: body.to_string().as_bytes() }, Duration::from_secs(at));
}

fn process(pid: i64, cpu: f64, mebibytes: u64, age: f64, program: &str) -> Value {
    json!({"subtopic": pid, "pid": pid, "name": null, "cmdline": program, "username": "www", "age": age,
        "cpu": cpu, "mem": mebibytes as f64 / 100.0,
        "tree": {"cpu": cpu, "mem": mebibytes as f64 / 100.0, "rss": mebibytes << 20, "threads": 2, "fds": 9}})
}

/// circusd greets the subscriber to the selected line, and sends the last lines.
pub(super) fn open_output(state: &mut State, tail: Value) {
    state.output.begin(state.subject());
    state.feed(Input::Output(Heard::Greeting), NOW);
    let number = state.output.inquiry().unwrap().number;
    answer(state, Asked::Tail(number), tail);
}

/// A line is published: the first of this number.
pub(super) fn publish(state: &mut State, first: u64, wid: u32, line: &str) {
    let event = json!({"watcher": "web", "stream": "stdout", "pid": 20 + wid, "wid": wid, "time": 1.5, "first": first,
        "lines": [line], "more": false, "cursor": 100 + first, "began": 1.0});
    state.feed(Input::Output(Heard::Lines(serde_json::from_value(event).unwrap())), NOW);
}

/// Three watchers, of which one is stopped, two sockets, and some events; as it is at [`NOW`].
pub(super) fn state() -> State {
    let endpoints = Endpoints { control: "c".into(), stats: "s".into(), events: "e".into() };
    let begun = Duration::from_secs(4800);
    let mut state = State::new(endpoints, Given::default(), Duration::from_secs(3), TimeZone::UTC, begun);
    for second in 4880..=5000 {
        let busy = f64::from(u32::try_from(second % 60).unwrap());
        for (topic, body) in [
            ("api.11", process(11, 1.0, 300, 90_000.0, "gunicorn")),
            ("api.12", process(12, 4.5, 200, 61.0, "gunicorn")),
            ("api", json!({"state": "active", "restarts": 3})),
            ("web.21", process(21, 20.0, 90, 3700.0, "worker")),
            ("web.22", process(22, busy + 30.0, 80, 3700.0, "worker")),
            ("web.23", process(23, 0.0, 70, 12.0, "worker")),
            ("web", json!({"state": "active", "restarts": 0})),
            ("circus.90", json!({"subtopic": 90, "name": "circusd", "cpu": 0.2, "mem_info1": "3.5M", "age": 1e5})),
            ("circus.91", json!({"subtopic": 91, "name": "circusd-stats", "cpu": 0.4, "mem_info1": "3M", "age": 1e5})),
            ("circus", json!({})),
            ("sockets.3", json!({"subtopic": 3, "fd": 3, "reads": second % 4, "address": "127.0.0.1:8080"})),
        ] {
            stat(&mut state, &format!("stat.{topic}"), body, second);
        }
    }
    let row = |pid: i64| json!({"pid": pid, "wid": pid % 10, "uptime": 5.0});
    let details = json!({"details": {
        "api": {"state": "active", "wanted": 2, "restarts": 3, "processes": [row(11), row(12)]},
        "web": {"state": "active", "wanted": 3, "restarts": 0, "processes": [row(21), row(22), row(23)]},
        "idle": {"state": "stopped", "wanted": 1, "restarts": 0, "processes": []},
    }});
    answer(&mut state, Asked::Question(Question::Status), details);
    let sockets = json!({"sockets": [{"fd": 3, "name": "web", "host": "127.0.0.1", "port": 8080},
        {"fd": 4, "name": "admin", "path": "/run/admin.sock"}]});
    answer(&mut state, Asked::Question(Question::Sockets), sockets);
    for (topic, body) in [
        ("web.reap", json!({"process_pid": 20, "time": 1_700_000_000.5, "exit_code": -9})),
        ("web.spawn", json!({"process_pid": 23, "time": 1_700_000_001.5})),
        ("idle.stop", json!({"time": 1_700_000_060})),
    ] {
        let topic = format!("watcher.{topic}");
        state.feed(Input::Event { topic: topic.as_bytes(), body: body.to_string().as_bytes() }, NOW);
    }
    state
}
