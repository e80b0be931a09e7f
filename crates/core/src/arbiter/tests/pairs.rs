//! Every operation against every event, in both orders: the invariants hold after each (they are checked in debug builds),
//! every request is answered, and everything comes to an end.

use serde_json::{Value, json};

use super::rig::{Rig, watcher};
use crate::arbiter::{Event, Intent, ProbeOutcome};
use crate::config::{CircusConfig, Config, SocketConfig, WatcherConfig, options};

/// The watchers: one that gets ready, one that requires it, one that a connection starts, one with hooks, one that runs
/// once, one that runs by a schedule.
const NAMES: [&str; 6] = ["broker", "worker", "web", "hooked", "migrate", "nightly"];

fn fleet() -> Vec<WatcherConfig> {
    let of = |name: &str, changes: Value| {
        watcher(name, |w| drop(options::apply(w, changes.as_object().unwrap(), &Default::default()).unwrap()))
    };
    let mut web = of("web", json!({"on_demand": true, "stdin_socket": "web", "idle_timeout": 4, "numprocesses": 2}));
    web.respawn = crate::config::Respawn::OnFailure;
    vec![
        of("broker", json!({"ready": "tcp:127.0.0.1:1", "ready_timeout": 2, "max_retry": 2})),
        of("worker", json!({"requires": "broker", "numprocesses": 2, "priority": 5, "remember": true})),
        web,
        of("hooked", json!({"hooks.before_start": "exec:x", "hooks.before_stop": "exec:x", "after": "web"})),
        of("migrate", json!({"kind": "oneshot", "max_retry": 2, "priority": 3})),
        of("nightly", json!({"kind": "cron", "schedule": "@every 2s", "overlap": "queue", "requires": "broker"})),
    ]
}

fn rig() -> Rig {
    let circus = CircusConfig { state_file: Some("/state".into()), ..CircusConfig::default() };
    let mut rig = Rig::of_file(Config {
        circus,
        watchers: fleet(),
        sockets: vec![SocketConfig::new("web")],
        include_dirs: Vec::new(),
    });
    rig.settle();
    rig.tell(Event::Acceptable("web".into()));
    rig
}

/// What clients ask of a watcher.
fn operations(name: &str) -> Vec<(&'static str, Value)> {
    let named = |more: Value| {
        let mut properties = json!({"name": name, "waiting": true});
        properties.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        properties
    };
    let of = |command: &'static str, more: Value| (command, named(more));
    vec![
        of("start", json!({})),
        of("stop", json!({})),
        of("restart", json!({})),
        of("reload", json!({})),
        of("reload", json!({"sequential": true})),
        of("reload", json!({"graceful": false})),
        of("run", json!({})),
        of("incr", json!({})),
        of("decr", json!({"nb": 2})),
        of("kill", json!({})),
        of("signal", json!({"signum": 10})),
        of("set", json!({"options": {"cmd": "other"}})),
        of("set", json!({"options": {"numprocesses": 0}})),
        of("set", json!({"options": {"requires": "web", "after": ""}})),
        of("enable", json!({"now": true})),
        of("disable", json!({"now": true})),
        of("rm", json!({})),
        of("rm", json!({"nostop": true})),
    ]
}

/// What clients ask of all.
fn operations_of_all() -> Vec<(&'static str, Value)> {
    let waiting = || json!({"waiting": true});
    vec![
        ("start", waiting()),
        ("stop", waiting()),
        ("restart", json!({"name": "*", "match": "glob", "waiting": true})),
        ("restart", json!({})),
        ("reload", waiting()),
        ("reloadconfig", waiting()),
        ("quit", json!({"timeout": 1, "waiting": true})),
    ]
}

type Happening = (&'static str, fn(&mut Rig));

fn exit(rig: &mut Rig, count: usize, exit_code: i32) {
    let pids: Vec<i32> = rig.alive.iter().copied().take(count).collect();
    if !pids.is_empty() {
        rig.exit_all(&pids, exit_code);
    }
}

fn probe(rig: &mut Rig, outcome: &ProbeOutcome) {
    for call in std::mem::take(&mut rig.probes) {
        rig.tell(Event::Probed { probe: call.id, outcome: outcome.clone() });
    }
}

fn hook(rig: &mut Rig, answer: Result<bool, &str>) {
    for _ in 0..rig.hooks.len() {
        if !rig.hooks.is_empty() {
            rig.hook(answer);
        }
    }
}

fn count(rig: &mut Rig, open: usize) {
    for watcher in std::mem::take(&mut rig.counts) {
        rig.tell(Event::Connections { watcher, open: Ok(open) });
    }
}

/// What happens to circusd.
const EVENTS: [Happening; 20] = [
    ("all exit with 0", |rig| exit(rig, usize::MAX, 0)),
    ("all fail", |rig| exit(rig, usize::MAX, 1)),
    ("all are killed", |rig| exit(rig, usize::MAX, -9)),
    ("the oldest fails", |rig| exit(rig, 1, 1)),
    ("launches fail", |rig| {
        rig.fail(40, 2);
        exit(rig, usize::MAX, 1);
    }),
    ("launches fail for now", |rig| {
        rig.fail(3, 11);
        exit(rig, 2, 1);
    }),
    ("150 ms pass", |rig| rig.pass(150)),
    ("3 s pass", |rig| rig.pass(3000)),
    ("100 s pass", |rig| rig.pass(100_000)),
    ("probes pass", |rig| probe(rig, &ProbeOutcome::Passed)),
    ("probes fail", |rig| probe(rig, &ProbeOutcome::Failed("refused".into()))),
    ("hooks say yes", |rig| hook(rig, Ok(true))),
    ("hooks say no", |rig| hook(rig, Ok(false))),
    ("hooks fail", |rig| hook(rig, Err("broken"))),
    ("a client connects", |rig| rig.tell(Event::Acceptable("web".into()))),
    ("no connection is open", |rig| {
        rig.pass(1000);
        count(rig, 0);
        rig.pass(4000);
        count(rig, 0);
    }),
    ("connections are open", |rig| {
        rig.pass(1000);
        count(rig, 3);
    }),
    ("another daemon takes over", Rig::hand_over),
    ("SIGHUP", |rig| rig.tell(Event::Intent(Intent::Reload))),
    ("SIGTERM", |rig| rig.tell(Event::Intent(Intent::Quit))),
];

/// Brings everything to its end, whatever it was: each request is answered by then.
fn bring_to_an_end(mut rig: Rig, story: &str) {
    rig.failures.clear();
    if !rig.arbiter.has_ended() {
        rig.send_command("quit", json!({"waiting": true}));
    }
    for _ in 0..12 {
        hook(&mut rig, Ok(true));
        probe(&mut rig, &ProbeOutcome::Passed);
        count(&mut rig, 1);
        exit(&mut rig, usize::MAX, -15);
        rig.pass(1500);
    }
    assert_eq!(rig.arbiter.pending_answers(), 0, "{story}: a request still waits");
    assert!(rig.arbiter.has_ended(), "{story}: it does not end");
    assert_eq!(rig.arbiter.next_deadline(), None, "{story}: a timer was left");
}

#[test]
fn every_operation_against_every_event() {
    let each = NAMES.iter().flat_map(|name| operations(name));
    for (command, properties) in each.chain(operations_of_all()) {
        for (event, happens) in EVENTS {
            for event_first in [true, false] {
                let order = if event_first { "after" } else { "before" };
                let story = format!("{command} {properties} {order} '{event}'");
                // The backtrace of a broken invariant does not say which story it was.
                let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    let mut rig = rig();
                    if event_first {
                        happens(&mut rig);
                    }
                    rig.send_command(command, properties.clone());
                    happens(&mut rig);
                    bring_to_an_end(rig, &story);
                }));
                assert!(told.is_ok(), "{story}");
            }
        }
    }
}
