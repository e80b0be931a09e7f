//! `after`: watchers that start when others are up, and stop before them.

use serde_json::json;

use super::rig::{Rig, watcher};
use crate::arbiter::{Event, ProbeOutcome, WatcherState};
use crate::config::{Hook, WatcherConfig, options};
use crate::proto::HookPoint;

/// `broker`, ready when a probe says so, and `worker`, of a higher priority, after it.
fn broker_and_worker() -> Vec<WatcherConfig> {
    let broker = watcher("broker", |w| {
        let changes = json!({"ready": "tcp:127.0.0.1:5672", "ready_timeout": 2, "max_retry": 2});
        options::apply(w, changes.as_object().unwrap(), &Default::default()).unwrap();
    });
    let worker = watcher("worker", |w| (w.after, w.priority) = (vec!["broker".into()], 9));
    vec![worker, broker]
}

fn unstarted() -> Rig {
    let mut rig = Rig::unstarted(broker_and_worker(), |_| {});
    rig.settle();
    rig
}

fn started() -> Rig {
    let mut rig = unstarted();
    ready(&mut rig);
    rig.said();
    rig
}

fn ready(rig: &mut Rig) {
    let probe = rig.probes.remove(0).id;
    rig.tell(Event::Probed { probe, outcome: ProbeOutcome::Passed });
}

fn reason(rig: &mut Rig, name: &str) -> serde_json::Value {
    rig.command("status", json!({"name": name, "verbose": true})).unwrap()["details"]["reason"].clone()
}

#[test]
fn the_worker_starts_when_the_broker_is_ready() {
    let mut rig = unstarted();
    rig.expect(["launch worker 1", "broker.spawn 101", "probe tcp:127.0.0.1:5672 of 101"]);
    assert_eq!(rig.state("worker"), WatcherState::Stopped);
    ready(&mut rig);
    rig.expect(["broker.ready 101", "broker.start", "launch worker 1", "worker.spawn 102", "worker.start"]);
    rig.assert_quiescent();
}

#[test]
fn the_worker_waits_for_a_broker_that_backs_off_and_says_so() {
    let mut rig = unstarted();
    rig.pass(2000);
    rig.exit(101, -15);
    assert_eq!(rig.state("worker"), WatcherState::Stopped);
    assert_eq!(reason(&mut rig, "worker"), "waits for broker (backing off)");
    rig.said();
    rig.pass(120);
    ready(&mut rig);
    rig.expect([
        "launch worker 1",
        "broker.spawn 102",
        "probe tcp:127.0.0.1:5672 of 102",
        "broker.ready 102",
        "broker.start",
        "launch worker 1",
        "worker.spawn 103",
        "worker.start",
    ]);
    rig.assert_quiescent();
}

#[test]
fn a_start_of_the_worker_alone_waits_for_its_broker() {
    let mut rig = started();
    rig.send_command("stop", json!({}));
    rig.exit(102, -15);
    rig.exit(101, -15);
    let fault = rig.command("start", json!({"name": "worker"})).unwrap();
    assert_eq!(fault["reason"], "worker: waits for broker (stopped)");
    rig.said();
    rig.send_command("start", json!({"name": "broker"}));
    ready(&mut rig);
    assert_eq!(rig.state("worker"), WatcherState::Active);
    rig.assert_quiescent();
}

#[test]
fn a_worker_that_was_told_to_stop_waits_no_longer() {
    let mut rig = unstarted();
    rig.pass(2000);
    rig.exit(101, -15);
    rig.send_command("stop", json!({"name": "worker"}));
    rig.pass(120);
    ready(&mut rig);
    assert_eq!(rig.state("worker"), WatcherState::Stopped);
    rig.assert_quiescent();
}

#[test]
fn the_broker_outlives_its_worker_at_the_end() {
    let mut rig = started();
    rig.send_command("quit", json!({}));
    assert_eq!((rig.state("worker"), rig.state("broker")), (WatcherState::Stopping, WatcherState::Active));
    rig.exit(102, -15);
    assert_eq!(rig.state("broker"), WatcherState::Stopping);
    rig.exit(101, -15);
}

#[test]
fn an_impossible_order_is_refused() {
    let mut rig = started();
    let fault = rig.command("set", json!({"name": "broker", "options": {"after": "worker"}})).unwrap();
    assert_eq!(fault["reason"], "after: comes after itself: broker -> worker -> broker");
    let add = json!({"name": "web", "cmd": "web", "options": {"after": "brokr"}});
    let fault = rig.command("add", add).unwrap();
    assert_eq!(fault["reason"], "after: there is no watcher 'brokr'; did you mean 'broker'?");
    rig.command("set", json!({"name": "broker", "options": {"priority": 3}})).unwrap();
    rig.assert_quiescent();
}

/// `broker`, `worker` that requires it and has these options too, and `web` that requires the worker.
fn chain(propagate: &str) -> Vec<WatcherConfig> {
    let of = |name: &str, changes: serde_json::Value| {
        watcher(name, |w| drop(options::apply(w, changes.as_object().unwrap(), &Default::default()).unwrap()))
    };
    vec![
        of("web", json!({"requires": "worker"})),
        of("worker", json!({"requires": "broker", "propagate": propagate})),
        of("broker", json!({})),
    ]
}

fn chained(propagate: &str) -> Rig {
    let rig = Rig::new(chain(propagate));
    assert_eq!([rig.running("broker"), rig.running("worker"), rig.running("web")], [[101], [102], [103]]);
    rig
}

fn health(rig: &mut Rig, name: &str) -> serde_json::Value {
    rig.command("status", json!({"name": name, "verbose": true})).unwrap()["details"]["health"].clone()
}

#[test]
fn those_that_require_a_watcher_stop_before_it_and_start_with_it() {
    let mut rig = chained("restart");
    let stop = rig.send_command("stop", json!({"name": "broker", "waiting": true}));
    rig.expect(["SIGTERM 103", "web.kill 103"]);
    rig.exit(103, -15);
    rig.expect(["web.reap 103 -15", "web.stop", "SIGTERM 102", "worker.kill 102"]);
    rig.exit(102, -15);
    assert_eq!(rig.answer_to(stop), None, "the broker has not stopped yet");
    rig.exit(101, -15);
    assert_eq!(rig.answer_to(stop), Some(json!({"info": null})));
    assert_eq!(reason(&mut rig, "worker"), "waits for broker (stopped)");
    assert_eq!(reason(&mut rig, "web"), "waits for worker (held back)");
    rig.said();
    rig.command("start", json!({"name": "broker"}));
    for name in ["broker", "worker", "web"] {
        assert_eq!(rig.state(name), WatcherState::Active, "{name}");
    }
    rig.assert_quiescent();
}

#[test]
fn propagate_says_what_reaches_a_watcher() {
    let mut rig = chained("stop");
    rig.send_command("stop", json!({"name": "broker"}));
    rig.exit(103, -15);
    rig.exit(102, -15);
    rig.exit(101, -15);
    rig.command("start", json!({"name": "broker"}));
    assert_eq!(rig.state("worker"), WatcherState::Stopped);
    assert_eq!(health(&mut rig, "worker"), "stopped");
    rig.assert_quiescent();
    let mut rig = chained("none");
    rig.send_command("stop", json!({"name": "broker"}));
    rig.expect(["SIGTERM 101", "broker.kill 101"]);
    rig.exit(101, -15);
    assert_eq!(rig.running("worker"), [102]);
    rig.assert_quiescent();
}

#[test]
fn a_restart_of_the_broker_restarts_those_that_require_it() {
    let mut rig = chained("restart");
    let restart = rig.send_command("restart", json!({"name": "broker", "waiting": true}));
    rig.exit(103, -15);
    rig.exit(102, -15);
    rig.said();
    rig.exit(101, -15);
    let answer = json!({"info": {"stopped": [101], "started": [104], "kept": []}});
    assert_eq!(rig.answer_to(restart), Some(answer));
    assert_eq!([rig.running("broker"), rig.running("worker"), rig.running("web")], [[104], [105], [106]]);
    rig.assert_quiescent();
}

#[test]
fn a_broker_that_was_replaced_as_a_whole_restarts_those_that_require_it() {
    let mut rig = chained("restart");
    rig.pass(2000);
    rig.said();
    rig.exit(101, 1);
    assert_eq!(rig.running("broker"), [104], "it is replaced at once");
    rig.exit(103, -15);
    rig.exit(102, -15);
    assert_eq!([rig.running("worker"), rig.running("web")], [[105], [106]]);
    // With a part of its processes left, nothing happens.
    rig.command("incr", json!({"name": "broker"}));
    rig.pass(2000);
    rig.said();
    rig.exit(104, 1);
    rig.expect(["broker.reap 104 1", "launch worker 1", "broker.spawn 108"]);
    // Nor where a graceful reload brings the new ones first.
    rig.send_command("reload", json!({"name": "broker"}));
    rig.exit_all(&[107, 108], -15);
    assert_eq!([rig.running("worker"), rig.running("web")], [[105], [106]]);
    rig.assert_quiescent();
}

#[test]
fn a_reload_of_all_replaces_each_process_once() {
    let mut rig = chained("restart");
    let reload = rig.send_command("reload", json!({"graceful": false, "waiting": true}));
    for _ in 0..6 {
        let stopping: Vec<i32> = rig.alive.clone().into_iter().filter(|pid| *pid <= 103).collect();
        if let Some(pid) = stopping.first() {
            rig.exit(*pid, -15);
        }
    }
    assert_eq!(rig.answer_to(reload), Some(json!({})));
    assert_eq!([rig.running("broker"), rig.running("worker"), rig.running("web")], [[104], [105], [106]]);
    rig.assert_quiescent();
}

#[test]
fn a_broker_that_gives_up_takes_those_that_require_it_along() {
    let mut rig = chained("restart");
    rig.fail(50, 2);
    rig.exit(101, 1);
    rig.pass(10_000);
    assert_eq!(rig.state("broker"), WatcherState::Stopped);
    rig.exit(103, -15);
    rig.exit(102, -15);
    assert_eq!(reason(&mut rig, "worker"), "waits for broker (failed)");
    rig.failures.clear();
    rig.command("start", json!({"name": "broker"}));
    assert_eq!(rig.state("web"), WatcherState::Active);
    rig.assert_quiescent();
}

#[test]
fn a_start_waits_as_long_as_its_broker_may_still_come() {
    let mut rig = unstarted();
    rig.pass(2000);
    rig.exit(101, -15);
    let start = rig.send_command("start", json!({"name": "worker", "waiting": true}));
    let all = rig.send_command("start", json!({"waiting": true}));
    assert_eq!(rig.answer_to(start), None, "the broker backs off, and may come");
    rig.pass(120);
    ready(&mut rig);
    assert_eq!(rig.answer_to(start), Some(json!({"info": {"started": [103], "kept": []}})));
    assert_eq!(rig.answer_to(all), Some(json!({})));
    rig.assert_quiescent();
}

#[test]
fn a_start_that_waits_is_answered_when_its_broker_gives_up() {
    let mut rig = unstarted();
    rig.pass(2000);
    rig.exit(101, -15);
    let start = rig.send_command("start", json!({"name": "worker", "waiting": true}));
    rig.pass(120);
    rig.pass(2000);
    rig.exit(102, -15);
    assert_eq!(rig.state("broker"), WatcherState::Stopped);
    assert_eq!(rig.answer_to(start).unwrap()["reason"], "worker: waits for broker (failed)");
    rig.assert_quiescent();
}

#[test]
fn a_start_that_waits_is_answered_when_another_holds_it_back() {
    let mut watchers = broker_and_worker();
    watchers.push(watcher("first", |w| {
        (w.after, w.priority) = (vec!["broker".into()], 10);
        w.hooks.insert(HookPoint::BeforeStart, Hook::read("app.hooks.first").unwrap());
    }));
    let mut rig = Rig::unstarted(watchers, |_| {});
    rig.settle();
    let start = rig.send_command("start", json!({"name": "worker", "waiting": true}));
    rig.send_command("start", json!({"name": "first"}));
    ready(&mut rig);
    rig.hook(Err("no"));
    let fault = rig.answer_to(start).unwrap();
    assert_eq!(fault["reason"], "worker: not started: first, which has a higher priority, has not come up");
    rig.assert_quiescent();
}

#[test]
fn a_restart_while_it_waits_for_its_broker_does_not_start_it() {
    // process-compose 530: the restart of a process that waited for another started it at once.
    for command in ["restart", "reload"] {
        let mut rig = unstarted();
        let request = rig.send_command(command, json!({"name": "worker", "waiting": true}));
        assert_eq!(rig.running("worker"), [0; 0], "{command}");
        ready(&mut rig);
        assert_eq!(rig.running("worker"), [102], "{command}");
        assert!(rig.answer_to(request).unwrap().get("errno").is_none(), "{command}");
        rig.assert_quiescent();
    }
}

#[test]
fn a_stop_ends_a_start_that_waits() {
    // s6-overlay 566: a stop during the start waited for what would never come.
    let mut rig = unstarted();
    let start = rig.send_command("start", json!({"name": "worker", "waiting": true}));
    let stop = rig.send_command("stop", json!({"waiting": true}));
    assert_eq!(rig.answer_to(start).unwrap()["reason"], "start was cancelled by stop");
    rig.exit(101, -15);
    assert_eq!(rig.answer_to(stop), Some(json!({})));
    assert_eq!(rig.state("worker"), WatcherState::Stopped);
    assert_eq!(health(&mut rig, "worker"), "stopped");
    rig.assert_quiescent();
}

#[test]
fn restarts_side_by_side_leave_one_process_in_a_slot() {
    // process-compose 347. That no two workers share a number is checked after each event.
    let mut rig = Rig::fleet(3);
    for _ in 0..5 {
        rig.send_command("restart", json!({"name": "w"}));
        rig.send_command("reload", json!({"name": "w"}));
        rig.send_command("restart", json!({"name": "*", "match": "glob"}));
    }
    for _ in 0..10 {
        let alive = rig.alive.clone();
        rig.exit_all(&alive[..alive.len().min(3)], -15);
        rig.pass(1000);
    }
    assert_eq!(rig.running("w").len(), 3);
    rig.assert_quiescent();
}

#[test]
fn what_waits_for_its_turn_at_the_start_says_so() {
    let mut rig = unstarted();
    assert_eq!(health(&mut rig, "worker"), "held back");
    assert_eq!(reason(&mut rig, "worker"), "waits for broker (starting)");
    let details = rig.command("status", json!({"name": "worker", "verbose": true})).unwrap();
    assert_eq!(details["details"]["starts_by_itself"], true);
    ready(&mut rig);
    rig.assert_quiescent();
    let slow = watcher("slow", |w| (w.warmup_delay, w.numprocesses, w.priority) = (60.0, 2, 2));
    let mut rig = Rig::new(vec![slow, watcher("next", |_| {})]);
    assert_eq!(health(&mut rig, "next"), "starting");
    assert_eq!(reason(&mut rig, "next"), "waits for its turn: slow is starting");
    rig.assert_quiescent();
}

#[test]
fn a_removed_broker_takes_those_that_require_it_along() {
    let mut rig = chained("restart");
    let rm = rig.send_command("rm", json!({"name": "broker", "waiting": true}));
    rig.exit(103, -15);
    rig.exit(102, -15);
    rig.exit(101, -15);
    assert_eq!(rig.answer_to(rm), Some(json!({})));
    assert_eq!(reason(&mut rig, "worker"), "waits for broker (no such watcher)");
    rig.assert_quiescent();
}

#[test]
fn quit_with_a_timeout_kills_what_is_left() {
    let mut rig = Rig::new(chain("restart").into_iter().map(|mut w| (w.graceful_timeout = 600.0, w).1).collect());
    let quit = rig.send_command("quit", json!({"timeout": 60, "waiting": true}));
    rig.said();
    rig.pass(59_000);
    assert_eq!(rig.said(), [""; 0], "the worker waits for web");
    rig.pass(1_000);
    let said = rig.said();
    for killed in ["SIGKILL 101 tree", "SIGKILL 102 tree", "SIGKILL 103 tree"] {
        assert!(said.iter().any(|text| text == killed), "{said:?}");
    }
    rig.exit_all(&[101, 102, 103], -9);
    assert_eq!(rig.answer_to(quit), Some(json!({})));
    assert_eq!(rig.arbiter.next_deadline(), None);
}

#[test]
fn a_signal_after_quit_hastens_and_a_timeout_can_be_set_meanwhile() {
    let mut rig = Rig::new(chain("restart").into_iter().map(|mut w| (w.graceful_timeout = 600.0, w).1).collect());
    rig.send_command("quit", json!({}));
    rig.expect(["SIGTERM 103", "web.kill 103"]);
    rig.tell(Event::Intent(crate::arbiter::Intent::Quit));
    rig.expect(["SIGTERM 102", "worker.kill 102", "SIGTERM 101", "broker.kill 101"]);
    rig.command("set", json!({"name": "web", "options": {"graceful_timeout": 1}}));
    rig.said();
    rig.pass(1000);
    assert!(rig.said().contains(&"SIGKILL 103 tree".to_owned()));
    rig.exit_all(&[101, 102, 103], -9);
    assert!(rig.arbiter.has_ended());
}

#[test]
fn a_new_timeout_counts_for_a_worker_that_still_starts() {
    let mut rig = Rig::unstarted(vec![watcher("w", |w| w.graceful_timeout = 600.0)], |_| {});
    rig.hold_launches = true;
    rig.settle();
    let launch = rig.held.remove(0);
    rig.alive.push(101);
    rig.tell(Event::Created { worker: launch.worker, pid: crate::arbiter::Pid(101) });
    rig.send_command("stop", json!({"name": "w"}));
    rig.command("set", json!({"name": "w", "options": {"graceful_timeout": 1}}));
    rig.said();
    rig.pass(1000);
    rig.expect(["SIGKILL 101 tree"]);
}
