//! Launches that come to nothing: each stage with each errno.

use std::time::Duration;

use serde_json::json;

use super::rig::{Rig, watcher};
use crate::arbiter::{Event, Pid, WatcherState};
use crate::proto::{SpawnError, Stage};

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ETXTBSY: i32 = 26;

#[test]
fn every_stage_and_errno_either_waits_or_gives_up() {
    for stage in Stage::ALL {
        for errno in [0, EPERM, ENOENT, EAGAIN, ENOMEM, EACCES, ENFILE, EMFILE, ETXTBSY] {
            let transient = [EAGAIN, ENOMEM, EMFILE, ENFILE, ETXTBSY].contains(&errno);
            let mut rig = Rig::new(vec![watcher("w", |w| w.autostart = false)]);
            let error = SpawnError { stage, errno, detail: "x".into() };
            rig.failures = vec![error; 5];
            let answer = rig.command("start", json!({"name": "w", "waiting": true}));
            let failed = answer.map(|answer| answer["failed"][0].clone()).unwrap_or_default();
            let named = (&failed["watcher"], &failed["wid"], &failed["stage"], &failed["errno"]);
            let expected = (&json!("w"), &json!(1), &json!(stage.name()), &json!(errno));
            assert_eq!(named, expected, "{stage:?} {errno}");
            if transient {
                assert_eq!(rig.state("w"), WatcherState::Starting { spawned: false }, "{stage:?} {errno}");
                rig.expect(["launch worker 1"]);
                // 100 + 200 + 400 + 800 + 1600 ms, and 10 % more.
                rig.pass(3410);
                assert_eq!(rig.state("w"), WatcherState::Active, "{stage:?} {errno}");
            } else {
                assert_eq!(rig.state("w"), WatcherState::Stopped, "{stage:?} {errno}");
                let launches = rig.said().iter().filter(|line| line.starts_with("launch")).count();
                assert_eq!(launches, 5, "{stage:?} {errno}: max_retry");
            }
            rig.failures.clear();
            rig.assert_quiescent();
        }
    }
}

#[test]
fn infinite_retries_neither_block_nor_spin() {
    let mut rig = Rig::with_circus(vec![watcher("w", |w| w.max_retry = -1), watcher("x", |_| {})], |_| {});
    assert_eq!(rig.state("x"), WatcherState::Active);
    rig.command("stop", json!({"name": "w"}));
    rig.exit(101, -15);
    rig.fail(1000, ENOENT);
    rig.command("start", json!({"name": "w"}));
    rig.said();
    rig.pass(60_000);
    let launches = rig.said().len();
    assert!((15..25).contains(&launches), "{launches} launches in a minute");
    assert_eq!(rig.command("status", json!({"name": "w"})), Some(json!({"status": "starting"})));
    rig.failures.clear();
    rig.assert_quiescent();
}

#[test]
fn a_watcher_whose_start_waits_does_not_hold_up_the_others() {
    let mut rig = Rig::unstarted(vec![watcher("a", |w| w.priority = 1), watcher("b", |_| {})], |_| {});
    rig.fail(1, EAGAIN);
    rig.settle();
    rig.expect(["launch worker 1", "launch worker 1", "b.spawn 101", "b.start"]);
    rig.pass(111);
    rig.expect(["launch worker 1", "a.spawn 102", "a.start"]);
    rig.assert_quiescent();
}

#[test]
fn a_failed_respawn_stops_the_watcher_after_max_retry() {
    let mut rig = Rig::new(vec![watcher("w", |w| {
        w.numprocesses = 2;
        w.max_retry = 3;
    })]);
    rig.pass(2000);
    rig.fail(3, ENOENT);
    rig.exit(101, -9);
    rig.expect(["w.reap 101 -9", "launch worker 1", "launch worker 1", "launch worker 1", "SIGTERM 102", "w.kill 102"]);
    rig.exit(102, -15);
    rig.expect(["w.reap 102 -15", "w.stop"]);
    rig.assert_quiescent();
}

#[test]
fn a_command_line_that_cannot_be_split_is_a_failed_launch() {
    let rig = Rig::new(vec![watcher("w", |w| w.cmd = "sleep 'open".into())]);
    assert_eq!(rig.state("w"), WatcherState::Stopped);
    rig.assert_quiescent();
}

#[test]
fn stop_during_a_launch_ends_the_process_when_it_comes() {
    let mut rig = Rig::unstarted(vec![watcher("w", |_| {})], |_| {});
    rig.hold_launches = true;
    rig.settle();
    let stop = rig.send_command("stop", json!({"name": "w", "waiting": true}));
    assert_eq!(rig.answer_to(stop), None);
    rig.said();
    let launch = rig.held.remove(0);
    rig.answer(launch);
    rig.settle();
    rig.expect(["w.spawn 101", "SIGTERM 101", "w.kill 101"]);
    rig.exit(101, -15);
    assert_eq!(rig.answer_to(stop), Some(json!({"info": null})));
    rig.assert_quiescent();
}

#[test]
fn stuck_process_can_be_stopped_and_holds_up_no_other() {
    let mut rig = Rig::unstarted(vec![watcher("a", |w| w.priority = 1), watcher("b", |_| {})], |_| {});
    rig.hold_launches = true;
    rig.settle();
    let stuck = rig.held.remove(0);
    rig.alive.push(500);
    rig.tell(Event::Created { worker: stuck.worker, pid: Pid(500) });
    assert_eq!(rig.command("list", json!({"name": "a"})), Some(json!({"pids": []})));
    rig.hold_launches = false;
    rig.pass(10_000);
    rig.expect(["launch worker 1", "launch worker 1", "b.spawn 101", "b.start"]);
    let stop = rig.send_command("stop", json!({"name": "a", "waiting": true}));
    rig.expect([]);
    rig.pass(5000);
    rig.expect(["SIGKILL 500 tree"]);
    rig.tell(Event::Spawned { worker: stuck.worker, pid: Pid(500) });
    rig.exit(500, -9);
    assert_eq!(rig.answer_to(stop), Some(json!({"info": null})));
    rig.assert_quiescent();
}

#[test]
fn collected_process_is_not_signalled() {
    // A newcomer's success and the death of an old process come in one breath: the surge is over, the old one is gone.
    let mut rig = Rig::fleet(1);
    rig.hold_launches = true;
    rig.command("reload", json!({"name": "w"}));
    let launch = rig.held.remove(0);
    let now = rig.now();
    rig.alive.push(102);
    rig.arbiter.handle_event(Event::Spawned { worker: launch.worker, pid: Pid(102) }, now);
    rig.exit(101, -9);
    let said = rig.said();
    assert!(!said.iter().any(|line| line.starts_with("SIG")), "{said:?}");
    rig.hold_launches = false;
    rig.assert_quiescent();
}

/// A launch that is held, and has got as far as a process.
fn created(rig: &mut Rig, pid: i32) {
    let launch = rig.held.remove(0);
    rig.alive.push(pid);
    rig.tell(Event::Created { worker: launch.worker, pid: Pid(pid) });
}

#[test]
fn request_for_a_worker_that_is_stuck_is_answered_in_time() {
    let requests: [(&str, serde_json::Value); 5] = [
        ("start", json!({"name": "w", "waiting": true})),
        ("restart", json!({"name": "w", "waiting": true})),
        ("reload", json!({"name": "w", "waiting": true})),
        ("incr", json!({"name": "w", "waiting": true})),
        ("set", json!({"name": "w", "options": {"cmd": "other"}, "waiting": true})),
    ];
    for (command, properties) in requests {
        let mut rig = Rig::new(vec![watcher("w", |_| {})]);
        rig.pass(2000);
        if command == "start" {
            rig.command("stop", json!({"name": "w"}));
            rig.exit(101, -15);
        }
        rig.hold_launches = true;
        let request = rig.send_command(command, properties);
        if command == "restart" {
            rig.exit(101, -15);
        }
        created(&mut rig, 500);
        rig.logs();
        rig.pass(9_900);
        assert_eq!(rig.answer_to(request), None, "{command}");
        rig.pass(200);
        let answer = rig.answer_to(request).unwrap_or_else(|| panic!("{command} is not answered"));
        let words = answer["reason"].as_str().unwrap_or_default();
        assert!(words.contains("has not executed its program within 10.0 s"), "{command}: {answer}");
        assert_eq!((&answer["failed"][0]["stage"], &answer["failed"][0]["watcher"]), (&json!("start"), &json!("w")));
        let logged =
            |rig: &mut Rig| rig.logs().iter().filter(|line| line.contains("has not executed its program")).count();
        assert_eq!(logged(&mut rig), 1, "{command}");
        rig.pass(60_000);
        assert_eq!(logged(&mut rig), 0, "it is logged once");
        // Its start goes on, or what waits behind it could not begin.
        rig.hold_launches = false;
        rig.command("stop", json!({"name": "w"}));
        rig.pass(6000);
        rig.exit(500, -9);
        rig.exit(101, -15);
        assert_eq!(rig.state("w"), WatcherState::Stopped, "{command}");
        rig.assert_quiescent();
    }
}

#[test]
fn workers_beside_a_stuck_one_have_to_prove_themselves() {
    let mut rig = Rig::unstarted(vec![watcher("w", |w| (w.numprocesses, w.autostart) = (2, false))], |_| {});
    rig.settle();
    rig.hold_launches = true;
    let request = rig.send_command("start", json!({"name": "w", "waiting": true}));
    created(&mut rig, 500);
    rig.pass(9_800);
    let second = rig.held.remove(0);
    rig.answer(second);
    rig.settle();
    let second_started = rig.now().mono;
    rig.pass(300);
    // Asking for the answer lets the time pass that a proof takes.
    let answer = rig.answer_to(request).unwrap();
    assert_eq!(
        rig.now().mono.since(second_started),
        Duration::from_secs(1),
        "the second worker has lived for min_uptime"
    );
    assert_eq!(answer["reason"], "w: worker 1 has not executed its program within 10.0 s");
    assert_eq!(answer["failed"].as_array().unwrap().len(), 1);
    rig.exit(500, -9);
    rig.hold_launches = false;
    rig.assert_quiescent();
}
