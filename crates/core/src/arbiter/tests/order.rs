//! `after`: watchers that start when others are up, and stop before them.

use serde_json::json;

use super::rig::{Rig, watcher};
use crate::arbiter::{Event, ProbeOutcome, WatcherState};
use crate::config::{WatcherConfig, options};

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
