//! Ways to replace workers: `reload`, and `max_age`.

use std::collections::BTreeMap;

use serde_json::json;

use super::rig::{Rig, watcher};
use crate::arbiter::{Event, Pid};
use crate::config::{CircusConfig, ReloadMode, Respawn, SocketConfig, StreamConfig, WatcherConfig};
use crate::proto::{KeptLine, Notification, Tail};

fn rig(change: impl FnOnce(&mut WatcherConfig)) -> Rig {
    let mut rig = Rig::new(vec![watcher("w", change)]);
    rig.pass(2000);
    rig
}

#[test]
fn exclusive_stops_each_worker_before_its_successor_starts() {
    let mut rig = rig(|w| (w.numprocesses, w.reload) = (2, Some(ReloadMode::Exclusive)));
    let reload = rig.send_command("reload", json!({"name": "w", "waiting": true}));
    rig.expect(["SIGTERM 101", "w.kill 101"]);
    rig.exit(101, -15);
    rig.expect(["w.reap 101 -15", "launch worker 1", "w.spawn 103"]);
    rig.pass(1000);
    rig.expect(["SIGTERM 102", "w.kill 102"]);
    rig.exit(102, -15);
    rig.expect(["w.reap 102 -15", "launch worker 2", "w.spawn 104"]);
    rig.pass(1000);
    rig.expect(["w.reload"]);
    assert_eq!(
        rig.answer_to(reload),
        Some(json!({"info": {"stopped": [101, 102], "started": [103, 104], "kept": []}}))
    );
    rig.assert_quiescent();
}

#[test]
fn exclusive_reload_ends_with_the_first_failure() {
    let mut rig = rig(|w| (w.numprocesses, w.reload) = (3, Some(ReloadMode::Exclusive)));
    let options = json!({"cmd": "/bin/false"});
    let set = rig.send_command("set", json!({"name": "w", "options": options, "waiting": true}));
    rig.exit(101, -15);
    assert_eq!(rig.running("w"), [102, 103, 104], "the new one has to live before the next is stopped");
    rig.pass(300);
    rig.exit(104, 1);
    let answer = rig.answer_to(set).unwrap();
    assert_eq!(
        answer["reason"],
        "w: reload failed, 2 processes are not replaced: worker 1 exited with status 1 after 300 ms"
    );
    assert_eq!(rig.running("w"), [102, 103]);
    rig.assert_quiescent();
}

#[test]
fn mode_follows_send_hup_and_singleton_unless_it_is_set() {
    type Case = (fn(&mut WatcherConfig), &'static [&'static str]);
    let cases: [Case; 5] = [
        (|_| {}, &["launch worker 1", "w.spawn 102", "SIGTERM 101", "w.kill 101"]),
        (|w| w.send_hup = true, &["SIGHUP 101", "w.reload"]),
        (|w| w.reload = Some(ReloadMode::Hup), &["SIGHUP 101", "w.reload"]),
        (|w| w.singleton = true, &["SIGTERM 101", "w.kill 101"]),
        (|w| (w.send_hup, w.reload) = (true, Some(ReloadMode::Exclusive)), &["SIGTERM 101", "w.kill 101"]),
    ];
    for (change, expected) in cases {
        let mut rig = rig(change);
        rig.command("reload", json!({"name": "w"}));
        rig.pass(1000);
        assert_eq!(rig.said(), expected);
        rig.assert_quiescent();
    }
}

/// Two workers at a managed socket that get old at the same time.
fn aging(reload: Option<ReloadMode>) -> Rig {
    let config = watcher("w", |w| {
        (w.numprocesses, w.max_age, w.max_age_variance, w.reload) = (2, 10, 0, reload);
        w.sockets = vec!["web".into()];
    });
    let mut rig = Rig::with_sockets(vec![config], CircusConfig::default(), vec![SocketConfig::new("web")]);
    rig.settle();
    rig.said();
    rig
}

#[test]
fn worker_of_age_at_a_socket_goes_after_its_successor() {
    let mut rig = aging(None);
    rig.pass(10_000);
    rig.expect(["launch worker 1", "w.spawn 103"]);
    rig.pass(1000);
    rig.expect(["SIGTERM 101", "w.kill 101"]);
    rig.pass(3000);
    rig.expect([]);
    rig.exit(101, -15);
    rig.expect(["w.reap 101 -15"]);
    rig.pass(1500);
    rig.expect(["launch worker 2", "w.spawn 104", "SIGTERM 102", "w.kill 102"]);
    rig.assert_quiescent();
}

#[test]
fn worker_of_age_stays_while_its_successor_cannot_run() {
    let mut rig = aging(None);
    rig.fail(2, 11);
    rig.pass(10_000);
    assert_eq!(rig.running("w"), [101, 102]);
    rig.pass(2000);
    assert_eq!(rig.running("w"), [102, 103]);
    rig.assert_quiescent();
}

#[test]
fn a_reload_counts_a_worker_of_age_in_its_first_batch() {
    let mut rig = aging(None);
    rig.command("set", json!({"name": "w", "options": {"reload_batch": 1}}));
    rig.said();
    rig.pass(10_000);
    rig.expect(["launch worker 1", "w.spawn 103"]);
    let request = reload(&mut rig);
    rig.expect([]);
    rig.pass(1000);
    rig.expect(["SIGTERM 101", "w.kill 101", "launch worker 2", "w.spawn 104"]);
    rig.exit(101, -15);
    rig.pass(1000);
    rig.expect(["w.reap 101 -15", "SIGTERM 102", "w.kill 102", "launch worker 1", "w.spawn 105"]);
    rig.exit(102, -15);
    rig.pass(1000);
    rig.exit(103, -15);
    assert!(rig.answer_to(request).is_some_and(|answer| answer.get("errno").is_none()));
    assert_eq!(rig.running("w"), [104, 105]);
    rig.assert_quiescent();
}

#[test]
fn worker_of_age_goes_first_where_that_is_the_way_to_reload() {
    let mut rig = aging(Some(ReloadMode::Exclusive));
    rig.pass(10_000);
    rig.expect(["SIGTERM 101", "w.kill 101"]);
    rig.exit(101, -15);
    rig.expect(["w.reap 101 -15", "launch worker 1", "w.spawn 103"]);
    rig.pass(500);
    rig.expect(["SIGTERM 102", "w.kill 102"]);
    rig.assert_quiescent();
}

/// Workers at a managed socket.
fn web(change: impl FnOnce(&mut WatcherConfig)) -> Rig {
    let config = watcher("w", |w| {
        w.sockets = vec!["web".into()];
        change(w);
    });
    let mut rig = Rig::with_sockets(vec![config], CircusConfig::default(), vec![SocketConfig::new("web")]);
    rig.settle();
    rig.pass(2000);
    rig.said();
    rig
}

fn reload(rig: &mut Rig) -> u64 {
    rig.send_command("reload", json!({"name": "w", "waiting": true}))
}

#[test]
fn batches_follow_each_other_without_waiting_for_the_old() {
    let mut rig = web(|w| (w.numprocesses, w.reload_batch) = (3, 2));
    let reload = reload(&mut rig);
    rig.expect(["launch worker 1", "w.spawn 104", "launch worker 2", "w.spawn 105"]);
    rig.pass(1000);
    rig.expect(["SIGTERM 101", "w.kill 101", "SIGTERM 102", "w.kill 102", "launch worker 3", "w.spawn 106"]);
    rig.pass(1000);
    rig.expect(["SIGTERM 103", "w.kill 103"]);
    assert_eq!(rig.answer_to(reload), None);
    rig.exit_all(&[101, 102, 103], -15);
    rig.expect(["w.reap 101 -15", "w.reap 102 -15", "w.reap 103 -15", "w.reload"]);
    let info = json!({"info": {"stopped": [101, 102, 103], "started": [104, 105, 106], "kept": []}});
    assert_eq!(rig.answer_to(reload), Some(info));
    rig.assert_quiescent();
}

#[test]
fn surge_counts_those_that_are_stopping() {
    let mut rig = web(|w| (w.numprocesses, w.reload_surge) = (3, 2));
    let reload = reload(&mut rig);
    rig.expect(["launch worker 1", "w.spawn 104", "launch worker 2", "w.spawn 105"]);
    rig.pass(1000);
    rig.expect(["SIGTERM 101", "w.kill 101", "SIGTERM 102", "w.kill 102"]);
    rig.pass(1000);
    rig.expect([]);
    rig.exit(102, -15);
    rig.expect(["w.reap 102 -15", "launch worker 3", "w.spawn 106"]);
    rig.pass(1000);
    rig.expect(["SIGTERM 103", "w.kill 103"]);
    rig.exit_all(&[101, 103], -15);
    assert!(rig.answer_to(reload).unwrap().get("errno").is_none());
    rig.assert_quiescent();
}

#[test]
fn sequential_reload_at_a_socket_starts_each_successor_first() {
    let mut rig = web(|w| w.numprocesses = 2);
    rig.command("reload", json!({"name": "w", "sequential": true}));
    rig.expect(["launch worker 1", "w.spawn 103"]);
    rig.pass(1000);
    rig.expect(["SIGTERM 101", "w.kill 101", "launch worker 2", "w.spawn 104"]);
    rig.pass(1000);
    rig.expect(["SIGTERM 102", "w.kill 102"]);
    rig.exit_all(&[101, 102], -15);
    rig.expect(["w.reap 101 -15", "w.reap 102 -15", "w.reload"]);
    rig.assert_quiescent();
}

#[test]
fn steps_of_a_reload_keep_warmup_delay() {
    let mut rig = web(|w| (w.numprocesses, w.reload_batch, w.warmup_delay, w.graceful_timeout) = (2, 1, 4.0, 30.0));
    rig.pass(5000);
    rig.said();
    rig.command("reload", json!({"name": "w"}));
    rig.expect(["launch worker 1", "w.spawn 103"]);
    rig.pass(3900);
    rig.expect(["SIGTERM 101", "w.kill 101"]);
    rig.pass(200);
    rig.expect(["launch worker 2", "w.spawn 104"]);
    rig.pass(1000);
    rig.exit_all(&[101, 102], -15);
    rig.assert_quiescent();
}

fn notify(rig: &mut Rig, pid: i32) {
    rig.tell(Event::Notified { pid: Pid(pid), said: vec![Notification::Ready] });
}

/// A worker that is ready when it says so, within 3 s.
fn notifying() -> Rig {
    let mut rig = web(|w| (w.autostart, w.graceful_timeout) = (false, 30.0));
    rig.command("set", json!({"name": "w", "options": {"ready": "notify", "ready_timeout": 3}}));
    rig.command("start", json!({"name": "w"}));
    notify(&mut rig, 101);
    rig.pass(2000);
    rig.said();
    rig
}

/// Has the new process of worker 1 die until the reload is given up, and returns the last of them.
fn die_young(rig: &mut Rig, first: i32) -> i32 {
    for pid in first..first + 4 {
        rig.exit(pid, 3);
        rig.pass(1000);
    }
    rig.exit(first + 4, 3);
    first + 4
}

#[test]
fn failed_reload_says_what_the_new_process_printed() {
    let mut rig = web(|w| {
        w.stdout_stream = Some(StreamConfig { class: "MemoryStream".into(), options: BTreeMap::new() });
    });
    let reload = reload(&mut rig);
    let last = die_young(&mut rig, 102);
    assert_eq!(rig.running("w"), [101]);
    assert_eq!(rig.answer_to(reload), None, "the lines are asked for first");
    let line = |pid, text: &str| KeptLine { pid, wid: 1, time: 1.0, line: text.into() };
    let lines = vec![line(101, "served"), line(last, "no module named app"), line(last, "bye")];
    let job = rig.tails[0];
    rig.said();
    rig.tell(Event::Tailed { job, tail: Tail { lines, ..Tail::default() } });
    rig.expect(["w.reload_failed [\"no module named app\",\"bye\"]"]);
    let answer = rig.answer_to(reload).unwrap();
    let reason = answer["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("w: reload failed, the old processes are kept: worker 1 exited with status 3"),
        "{reason}"
    );
    assert_eq!(answer["failed"][0]["lines"], json!(["no module named app", "bye"]));
    // The slot is the old worker's again.
    rig.said();
    rig.pass(5000);
    rig.exit(101, 1);
    rig.expect(["w.reap 101 1", "launch worker 1", "w.spawn 107"]);
    rig.assert_quiescent();
}

#[test]
fn later_batch_that_fails_leaves_the_earlier_ones_replaced() {
    let mut rig = web(|w| (w.numprocesses, w.reload_batch) = (3, 1));
    let reload = reload(&mut rig);
    rig.pass(1000);
    rig.exit(101, -15);
    rig.said();
    die_young(&mut rig, 105);
    let reason = rig.answer_to(reload).unwrap()["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("w: reload failed, 2 processes are not replaced: worker 2 exited"), "{reason}");
    assert_eq!(rig.running("w"), [102, 103, 104]);
    assert!(rig.said().iter().all(|said| !said.starts_with("SIGTERM")));
    rig.assert_quiescent();
}

#[test]
fn worker_that_is_ready_and_then_dies_takes_no_place() {
    let mut rig = notifying();
    let reload = reload(&mut rig);
    for pid in 102..107 {
        rig.pass(2500);
        notify(&mut rig, pid);
        rig.pass(900);
        rig.exit(pid, 1);
        rig.pass(1000);
    }
    assert!(rig.answer_to(reload).unwrap()["reason"].as_str().unwrap().contains("the old processes are kept"));
    assert_eq!(rig.running("w"), [101]);
    rig.assert_quiescent();
}

#[test]
fn second_reload_follows_the_first_and_a_slot_has_two_processes_at_most() {
    let mut rig = web(|_| {});
    let first = reload(&mut rig);
    let second = reload(&mut rig);
    rig.pass(1000);
    rig.expect(["launch worker 1", "w.spawn 102", "SIGTERM 101", "w.kill 101"]);
    rig.pass(1000);
    rig.expect([]);
    rig.exit(101, -15);
    rig.expect(["w.reap 101 -15", "w.reload", "launch worker 1", "w.spawn 103"]);
    assert!(rig.answer_to(first).is_some());
    rig.pass(1000);
    rig.exit(102, -15);
    assert!(rig.answer_to(second).is_some());
    rig.assert_quiescent();
}

#[test]
fn reload_waits_for_what_a_failed_one_has_left_in_the_slot() {
    let mut rig = notifying();
    let first = reload(&mut rig);
    rig.pass(3000);
    assert!(rig.answer_to(first).unwrap().get("errno").is_some());
    rig.said();
    let second = reload(&mut rig);
    rig.pass(2000);
    rig.expect([]);
    rig.exit(102, -15);
    rig.expect(["w.reap 102 -15", "launch worker 1", "w.spawn 103"]);
    notify(&mut rig, 103);
    rig.pass(1000);
    rig.exit(101, -15);
    assert!(rig.answer_to(second).unwrap().get("errno").is_none());
    rig.assert_quiescent();
}

#[test]
fn stop_during_a_reload_and_reload_during_a_stop() {
    let mut rig = web(|w| w.numprocesses = 2);
    let first = reload(&mut rig);
    let stop = rig.send_command("stop", json!({"name": "w", "waiting": true}));
    assert_eq!(rig.answer_to(first), Some(json!({"errno": 5, "reason": "reload was cancelled by stop"})));
    let second = reload(&mut rig);
    rig.said();
    rig.exit_all(&[101, 102, 103, 104], -15);
    let stopped = rig.said().into_iter().skip_while(|said| said != "w.stop").collect::<Vec<_>>();
    assert_eq!(stopped[1..5], ["launch worker 1", "w.spawn 105", "launch worker 2", "w.spawn 106"]);
    assert!(rig.answer_to(stop).is_some());
    rig.pass(1000);
    assert!(rig.answer_to(second).is_some());
    assert_eq!(rig.running("w"), [105, 106]);
    rig.assert_quiescent();
}

#[test]
fn decr_of_a_new_worker_leaves_its_slot_to_the_old_one() {
    let mut rig = web(|w| w.numprocesses = 2);
    let reload = reload(&mut rig);
    rig.command("decr", json!({"name": "w"}));
    // The older of the new ones goes, and the other dies.
    for pid in 104..109 {
        rig.exit(pid, 1);
        rig.pass(1000);
    }
    assert!(rig.answer_to(reload).unwrap()["reason"].as_str().unwrap().contains("the old processes are kept"));
    rig.assert_quiescent();
}

#[test]
fn old_workers_stay_where_new_ones_that_are_not_replaced_die() {
    let mut rig = web(|w| (w.numprocesses, w.respawn) = (2, Respawn::Never));
    let reload = reload(&mut rig);
    rig.exit(103, 1);
    assert!(rig.answer_to(reload).unwrap()["reason"].as_str().unwrap().contains("the old processes are kept"));
    rig.exit(104, -15);
    assert_eq!(rig.running("w"), [101, 102]);
    rig.assert_quiescent();
}

#[test]
fn batch_and_surge_are_no_less_than_zero() {
    let mut rig = web(|_| {});
    let refused = rig.command("set", json!({"name": "w", "options": {"reload_surge": -1}})).unwrap();
    assert_eq!(refused["reason"], "'reload_surge': -1 is out of range");
    rig.command("set", json!({"name": "w", "options": {"reload_surge": 1, "reload_batch": 5}}));
    let options = rig.command("options", json!({"name": "w"})).unwrap();
    assert_eq!((&options["options"]["reload_surge"], &options["options"]["reload_batch"]), (&json!(1), &json!(5)));
    rig.assert_quiescent();
}
