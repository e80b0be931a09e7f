//! What did not come up, and how it is reported.

use serde_json::{Value, json};

use super::rig::{Rig, watcher};
use crate::arbiter::WatcherState;
use crate::config::{Hook, Respawn, WatcherConfig};
use crate::proto::HookPoint;

fn hook(w: &mut WatcherConfig, point: HookPoint, run: &str) {
    w.hooks.insert(point, Hook { run: run.into(), ignore_failure: false });
}

/// A watcher `w` that is started by hand.
fn idle(change: impl FnOnce(&mut WatcherConfig)) -> Rig {
    let mut rig = Rig::new(vec![watcher("w", |w| {
        w.autostart = false;
        change(w);
    })]);
    rig.hold_proofs = true;
    rig
}

fn start(rig: &mut Rig) -> u64 {
    rig.send_command("start", json!({"name": "w", "waiting": true}))
}

fn details(rig: &mut Rig, name: &str) -> Value {
    rig.command("status", json!({"name": name, "verbose": true})).unwrap()["details"].take()
}

fn health(rig: &mut Rig, name: &str) -> String {
    details(rig, name)["health"].as_str().unwrap().to_owned()
}

#[test]
fn missing_program_is_an_error() {
    let mut rig = idle(|w| w.max_retry = 2);
    rig.fail(2, 2);
    let id = start(&mut rig);
    let answer = rig.answer_to(id).unwrap();
    assert_eq!(
        answer["reason"],
        "w: worker 1 could not be started: failed to execute the program: /bin/x ([Errno 2] No such file or directory)"
    );
    let row = &answer["failed"][0];
    assert_eq!((&row["watcher"], &row["stage"], &row["error"]), (&json!("w"), &json!("exec"), &json!("ENOENT")));
    assert_eq!(health(&mut rig, "w"), "failed");
    assert_eq!(details(&mut rig, "w")["reason"], row["reason"]);
    // It was asked to stop, so it is as it should be.
    rig.command("stop", json!({"name": "w"}));
    assert_eq!(health(&mut rig, "w"), "stopped");
    rig.assert_quiescent();
}

#[test]
fn early_exit_is_an_error_and_a_long_life_is_none() {
    for (lived, fails) in [(5, true), (500, true), (999, true), (1001, false)] {
        let mut rig = idle(|_| {});
        let id = start(&mut rig);
        rig.pass(lived);
        let before = rig.answer_to(id);
        assert_eq!(before.is_none(), fails, "{lived} ms");
        rig.exit(101, 7);
        if let (None, Some(answer)) = (before, rig.answer_to(id)) {
            assert_eq!(answer["reason"], format!("w: worker 1 exited with status 7 after {lived} ms"));
            assert_eq!(answer["failed"][0]["exit_code"], json!(7));
        }
        rig.assert_quiescent();
    }
}

#[test]
fn some_workers_of_many_are_named() {
    let mut rig = idle(|w| w.numprocesses = 3);
    let id = start(&mut rig);
    rig.pass(10);
    rig.exit_all(&[101, 103], -11);
    assert_eq!(rig.answer_to(id), None, "worker 2 may fail as well");
    rig.pass(1000);
    let answer = rig.answer_to(id).unwrap();
    assert_eq!(answer["reason"], "w: 2 workers did not come up: worker 1 was ended by SIGSEGV after 10 ms, ...");
    let wids: Vec<&Value> = answer["failed"].as_array().unwrap().iter().map(|row| &row["wid"]).collect();
    assert_eq!(wids, [&json!(1), &json!(3)]);
    rig.assert_quiescent();
}

#[test]
fn work_that_is_done_has_not_failed() {
    for (respawn, exit_code, fails) in
        [(Respawn::OnFailure, 0, false), (Respawn::Never, 0, false), (Respawn::Never, 3, true)]
    {
        let mut rig = idle(|w| w.respawn = respawn);
        let id = start(&mut rig);
        rig.pass(5);
        rig.exit(101, exit_code);
        let answer = rig.answer_to(id).unwrap();
        assert_eq!(answer.get("failed").is_some(), fails, "{respawn:?} {exit_code}: {answer}");
        assert_eq!(health(&mut rig, "w"), if fails { "failed" } else { "stopped" });
        rig.assert_quiescent();
    }
}

#[test]
fn slot_whose_next_worker_has_done_its_work_has_not_failed() {
    let mut rig = idle(|w| w.respawn = Respawn::OnFailure);
    start(&mut rig);
    rig.exit(101, 1);
    rig.pass(1000);
    rig.exit(102, 0);
    assert_eq!((rig.state("w"), health(&mut rig, "w")), (WatcherState::Stopped, "stopped".to_owned()));
    assert_eq!(details(&mut rig, "w")["reason"], Value::Null);
    rig.assert_quiescent();
}

#[test]
fn each_request_is_answered_in_its_own_time() {
    let mut rig = idle(|w| w.min_uptime = 10.0);
    let first = start(&mut rig);
    rig.pass(8000);
    let second = rig.send_command("incr", json!({"name": "w", "waiting": true}));
    rig.pass(2000);
    assert!(rig.answer_to(first).is_some() && rig.answer_to(second).is_none(), "worker 2 is 2 s old");
    rig.pass(8000);
    assert_eq!(rig.answer_to(second), Some(json!({"numprocesses": 2})));
    rig.assert_quiescent();
}

#[test]
fn service_that_answers_proves_its_workers() {
    let mut rig = idle(|w| hook(w, HookPoint::AfterStart, "wait_tcp:127.0.0.1:1"));
    let id = start(&mut rig);
    assert_eq!(rig.answer_to(id), None);
    rig.hook(Ok(true));
    assert_eq!(rig.answer_to(id), Some(json!({"info": {"started": [101], "kept": []}})));
    rig.assert_quiescent();
}

#[test]
fn service_that_does_not_come_is_an_error() {
    let mut rig = idle(|w| hook(w, HookPoint::AfterStart, "wait_tcp:127.0.0.1:1"));
    let id = start(&mut rig);
    rig.hook(Err("nothing listens at 127.0.0.1:1"));
    rig.exit(101, -15);
    let answer = rig.answer_to(id).unwrap();
    assert_eq!(answer["reason"], "w: hook after_start failed: nothing listens at 127.0.0.1:1");
    assert_eq!(answer["failed"][0]["hook"], json!("after_start"));
    assert_eq!(health(&mut rig, "w"), "failed");
    assert_eq!(details(&mut rig, "w")["reason"], "hook after_start failed: nothing listens at 127.0.0.1:1");
    rig.assert_quiescent();
}

#[test]
fn each_request_that_starts_workers_reports_failures() {
    let requests: [(&str, Value); 5] = [
        ("start", json!({"waiting": true})),
        ("restart", json!({"name": "w", "waiting": true})),
        ("incr", json!({"name": "w", "waiting": true})),
        ("set", json!({"name": "w", "options": {"numprocesses": 2}, "waiting": true})),
        ("add", json!({"name": "more", "cmd": "x", "start": true, "waiting": true})),
    ];
    for (command, properties) in requests {
        let mut rig = Rig::fleet(1);
        rig.hold_proofs = true;
        rig.pass(2000);
        if command == "start" {
            rig.command("stop", json!({"name": "w"}));
            rig.exit(101, -15);
        }
        let id = rig.send_command(command, properties);
        if command == "restart" {
            rig.exit(101, -15);
        }
        assert_eq!(rig.answer_to(id), None, "{command}");
        rig.exit(102, 1);
        let answer = rig.answer_to(id).unwrap_or_else(|| panic!("{command} is not answered"));
        assert_eq!(answer["failed"][0]["exit_code"], json!(1), "{command}: {answer}");
        rig.assert_quiescent();
    }
}

#[test]
fn failure_from_before_is_not_of_this_request() {
    let mut rig = Rig::fleet(1);
    rig.hold_proofs = true;
    rig.exit(101, 1);
    let id = rig.send_command("incr", json!({"name": "w", "waiting": true}));
    rig.expect(["w.reap 101 1", "launch worker 2", "w.spawn 102"]);
    rig.pass(1100);
    assert_eq!(rig.answer_to(id), Some(json!({"numprocesses": 2})));
    rig.assert_quiescent();
}

#[test]
fn workers_that_come_later_prove_nothing_for_this_request() {
    let mut rig = idle(|w| {
        w.max_age = 1;
        w.max_age_variance = 0;
    });
    start(&mut rig);
    rig.pass(500);
    let id = rig.send_command("incr", json!({"name": "w", "waiting": true}));
    rig.pass(500);
    rig.exit(101, -15);
    assert_eq!(rig.answer_to(id), None, "worker 2 is half a second old");
    rig.pass(500);
    assert_eq!(rig.answer_to(id), Some(json!({"numprocesses": 2})), "it need not wait for the successor of worker 1");
    rig.exit(102, -15);
    rig.assert_quiescent();
}

#[test]
fn request_for_all_names_each_watcher() {
    let mut rig = Rig::new(["a", "b", "c"].map(|name| watcher(name, |w| w.max_retry = 1)).to_vec());
    rig.command("stop", json!({}));
    rig.exit_all(&[101, 102, 103], -15);
    rig.fail(2, 2);
    let answer = rig.command("start", json!({"waiting": true})).unwrap();
    let failed: Vec<&Value> = answer["failed"].as_array().unwrap().iter().map(|row| &row["watcher"]).collect();
    assert_eq!(failed, [&json!("a"), &json!("b")]);
    assert_eq!(rig.state("c"), WatcherState::Active);
    rig.assert_quiescent();
}

#[test]
fn crash_loop_is_never_ready() {
    let mut rig = Rig::fleet(1);
    rig.hold_proofs = true;
    rig.exit(101, 1);
    assert_eq!(health(&mut rig, "w"), "backing off");
    rig.pass(111);
    assert_eq!(rig.running("w"), [102]);
    assert_eq!(health(&mut rig, "w"), "backing off", "it has not proved itself");
    rig.pass(1000);
    assert_eq!(health(&mut rig, "w"), "ready");
    rig.assert_quiescent();
}

#[test]
fn some_of_the_workers_make_it_degraded() {
    let mut rig = Rig::fleet(3);
    rig.pass(5000);
    rig.exit(102, -9);
    assert_eq!(health(&mut rig, "w"), "ready", "its successor runs");
    rig.exit(104, 1);
    assert_eq!(health(&mut rig, "w"), "degraded");
    assert_eq!(details(&mut rig, "w")["reason"], "worker 2 exited with status 1 after 0 ms");
    rig.assert_quiescent();
}

#[test]
fn watcher_that_was_never_started_is_disabled() {
    let mut rig = idle(|_| {});
    assert_eq!(health(&mut rig, "w"), "disabled");
    rig.assert_quiescent();
}

/// A database, and a program that needs it.
fn tiers(point: HookPoint, run: &str) -> Rig {
    let base = watcher("db", |w| {
        w.priority = 2;
        hook(w, point, run);
    });
    let mut rig = Rig::unstarted(vec![base, watcher("api", |w| w.priority = 1)], |_| {});
    rig.hold_proofs = true;
    rig.settle();
    rig
}

#[test]
fn failed_hook_holds_back_lower_priorities() {
    let mut rig = tiers(HookPoint::AfterStart, "wait_tcp:127.0.0.1:1");
    rig.hook(Err("nothing listens"));
    rig.exit(101, -15);
    assert_eq!(rig.state("api"), WatcherState::Stopped);
    assert_eq!(health(&mut rig, "api"), "held back");
    assert_eq!(details(&mut rig, "api")["reason"], "not started: db, which has a higher priority, has not come up");
    assert_eq!(rig.command("start", json!({"name": "db"})), Some(json!({})));
    assert_eq!(rig.state("api"), WatcherState::Stopped);
    rig.hook(Ok(true));
    assert_eq!(rig.state("api"), WatcherState::Active);
    assert_eq!(health(&mut rig, "api"), "ready");
    rig.assert_quiescent();
}

#[test]
fn request_for_all_names_watchers_held_back() {
    let mut rig = tiers(HookPoint::BeforeStart, "exec:x");
    rig.hook(Err("boom"));
    let id = rig.send_command("start", json!({"waiting": true}));
    rig.hook(Err("boom"));
    let answer = rig.answer_to(id).unwrap();
    let failed: Vec<&Value> = answer["failed"].as_array().unwrap().iter().map(|row| &row["stage"]).collect();
    assert_eq!(failed, [&json!("order"), &json!("hook")], "{answer}");
    rig.assert_quiescent();
}

#[test]
fn before_start_that_says_no_holds_back_none() {
    let mut rig = tiers(HookPoint::BeforeStart, "exec:x");
    rig.hook(Ok(false));
    assert_eq!((rig.state("db"), rig.state("api")), (WatcherState::Stopped, WatcherState::Active));
    rig.assert_quiescent();
}

#[test]
fn watcher_that_is_held_back_can_be_started_by_hand() {
    let mut rig = tiers(HookPoint::BeforeStart, "exec:x");
    rig.hook(Err("boom"));
    rig.command("start", json!({"name": "api"}));
    assert_eq!(rig.state("api"), WatcherState::Active);
    assert_eq!(health(&mut rig, "api"), "ready");
    rig.assert_quiescent();
}
