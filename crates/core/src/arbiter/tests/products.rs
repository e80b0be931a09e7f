//! Every state of a watcher against every request: what is answered at once, and the state right after.

use serde_json::{Value, json};

use super::rig::{Rig, watcher};
use crate::arbiter::{Event, Intent, WatcherState};

/// The states, and how a watcher gets there.
const STATES: [&str; 6] = ["stopped", "starting", "retrying", "active", "stopping", "quitting"];

fn rig_in(state: &str) -> Rig {
    let config = watcher("w", |w| {
        w.numprocesses = 2;
        w.warmup_delay = if state == "starting" { 1.0 } else { 0.0 };
        w.autostart = !matches!(state, "stopped" | "retrying");
    });
    let mut rig = Rig::new(vec![config]);
    match state {
        "retrying" => {
            rig.fail(1000, 11);
            rig.command("start", json!({"name": "w"}));
        }
        "stopping" => drop(rig.command("stop", json!({"name": "w"}))),
        "quitting" => rig.tell(Event::Intent(Intent::Quit)),
        _ => {}
    }
    let expected = match state {
        "stopped" => WatcherState::Stopped,
        "starting" => WatcherState::Starting { spawned: true },
        "retrying" => WatcherState::Starting { spawned: false },
        "active" => WatcherState::Active,
        _ => WatcherState::Stopping,
    };
    assert_eq!(rig.state("w"), expected);
    rig
}

/// What a request comes to, in a word each: the answer and the state.
fn outcome(rig: &mut Rig, command: &str, properties: Value) -> String {
    let answer = match rig.command(command, properties) {
        None => "waits".to_owned(),
        Some(answer) => match answer.get("errno") {
            Some(errno) => format!("error {errno}"),
            None => "ok".to_owned(),
        },
    };
    let state = rig.arbiter.view("w").map_or("gone", |view| view.state.name());
    format!("{answer}, {state}")
}

/// Each row: the request, then what it comes to in each of [`STATES`].
fn table() -> Vec<(&'static str, Value, [&'static str; 6])> {
    let w = || json!({"name": "w"});
    let waiting = || json!({"name": "w", "waiting": true});
    let asks = |what: &'static str| -> (&'static str, Value, [&'static str; 6]) {
        let all = ["ok, stopped", "ok, starting", "ok, starting", "ok, active", "ok, stopping", "ok, stopping"];
        (what, w(), all)
    };
    let changes_nothing =
        ["ok, stopped", "ok, starting", "ok, starting", "ok, active", "ok, stopping", "error 5, stopping"];
    vec![
        asks("list"),
        asks("status"),
        asks("numprocesses"),
        asks("numwatchers"),
        asks("options"),
        asks("listsockets"),
        asks("globaloptions"),
        ("get", json!({"name": "w", "keys": ["cmd"]}), asks("").2),
        (
            "start",
            w(),
            ["ok, active", "ok, starting", "ok, starting", "ok, active", "ok, stopping", "error 5, stopping"],
        ),
        (
            "start",
            waiting(),
            [
                "ok, active",
                "waits, starting",
                "error 5, starting",
                "ok, active",
                "waits, stopping",
                "error 5, stopping",
            ],
        ),
        ("stop", w(), ["ok, stopped", "ok, stopping", "ok, stopped", "ok, stopping", "ok, stopping", "ok, stopping"]),
        (
            "stop",
            waiting(),
            ["ok, stopped", "waits, stopping", "ok, stopped", "waits, stopping", "waits, stopping", "waits, stopping"],
        ),
        (
            "restart",
            w(),
            ["ok, active", "ok, starting", "ok, starting", "ok, stopping", "ok, stopping", "error 5, stopping"],
        ),
        (
            "restart",
            waiting(),
            [
                "ok, active",
                "waits, starting",
                "error 5, starting",
                "waits, stopping",
                "waits, stopping",
                "error 5, stopping",
            ],
        ),
        (
            "reload",
            w(),
            ["ok, active", "ok, starting", "ok, starting", "ok, active", "ok, stopping", "error 5, stopping"],
        ),
        (
            "reload",
            waiting(),
            [
                "ok, active",
                "waits, starting",
                "waits, starting",
                "waits, active",
                "waits, stopping",
                "error 5, stopping",
            ],
        ),
        (
            "incr",
            waiting(),
            ["ok, stopped", "waits, starting", "error 5, starting", "ok, active", "ok, stopping", "error 5, stopping"],
        ),
        (
            "decr",
            waiting(),
            ["ok, stopped", "ok, active", "ok, starting", "waits, active", "ok, stopping", "error 5, stopping"],
        ),
        ("kill", w(), ["ok, stopped", "ok, starting", "ok, starting", "ok, active", "ok, stopping", "ok, stopping"]),
        (
            "kill",
            waiting(),
            ["ok, stopped", "waits, starting", "ok, starting", "waits, active", "waits, stopping", "waits, stopping"],
        ),
        (
            "signal",
            json!({"name": "w", "signum": "USR1"}),
            ["ok, stopped", "ok, starting", "ok, starting", "ok, active", "ok, stopping", "ok, stopping"],
        ),
        (
            "set",
            json!({"name": "w", "options": {"numprocesses": 3}, "waiting": true}),
            ["ok, stopped", "waits, starting", "error 5, starting", "ok, active", "ok, stopping", "error 5, stopping"],
        ),
        (
            "set",
            json!({"name": "w", "options": {"cmd": "y"}, "waiting": true}),
            ["ok, stopped", "waits, starting", "waits, starting", "waits, active", "ok, stopping", "error 5, stopping"],
        ),
        (
            "add",
            json!({"name": "w", "cmd": "y"}),
            [
                "error 5, stopped",
                "error 5, starting",
                "error 5, starting",
                "error 5, active",
                "error 5, stopping",
                "error 5, stopping",
            ],
        ),
        ("rm", w(), ["ok, gone", "ok, gone", "ok, gone", "ok, gone", "ok, gone", "error 5, stopping"]),
        ("rm", waiting(), ["ok, gone", "waits, gone", "ok, gone", "waits, gone", "waits, gone", "error 5, stopping"]),
        (
            "rm",
            json!({"name": "w", "nostop": true, "waiting": true}),
            ["ok, gone", "ok, gone", "ok, gone", "ok, gone", "ok, gone", "error 5, stopping"],
        ),
        ("reloadconfig", json!({}), changes_nothing),
        ("reloadconfig", json!({"waiting": true}), changes_nothing),
        ("reloadconfig", json!({"dry_run": true}), changes_nothing),
        (
            "quit",
            json!({}),
            ["ok, stopped", "ok, stopping", "ok, stopped", "ok, stopping", "ok, stopping", "ok, stopping"],
        ),
        (
            "quit",
            json!({"waiting": true}),
            ["ok, stopped", "waits, stopping", "ok, stopped", "waits, stopping", "waits, stopping", "waits, stopping"],
        ),
    ]
}

#[test]
fn every_state_against_every_request() {
    let mut wrong = Vec::new();
    for (command, properties, expected) in table() {
        for (state, expected) in STATES.iter().zip(expected) {
            let mut rig = rig_in(state);
            let outcome = outcome(&mut rig, command, properties.clone());
            if outcome != expected {
                wrong.push(format!("{command} {properties} while {state}: {outcome}, expected {expected}"));
            }
            // Whatever it was, it can be brought to an end, and every request is answered.
            rig.failures.clear();
            rig.pass(4000);
            let alive = rig.alive.clone();
            rig.exit_all(&alive, -15);
            rig.pass(4000);
            let alive = rig.alive.clone();
            rig.exit_all(&alive, -15);
            rig.pass(10_000);
            assert_eq!(rig.arbiter.pending_answers(), 0, "{command} {properties} while {state}: a request still waits");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn commands_for_an_absent_watcher_change_nothing() {
    for command in [
        "decr",
        "incr",
        "kill",
        "list",
        "numprocesses",
        "options",
        "reload",
        "restart",
        "rm",
        "start",
        "status",
        "stop",
    ] {
        let mut rig = Rig::fleet(1);
        let answer = rig.command(command, json!({"name": "Nope", "waiting": true})).unwrap();
        assert_eq!(answer, json!({"errno": 3, "reason": "program Nope not found"}), "{command}");
        rig.expect([]);
        rig.assert_quiescent();
    }
}
