//! Watchers that run once.

use serde_json::{Value, json};

use super::rig::{Rig, watcher};
use crate::arbiter::WatcherState;
use crate::config::{Hook, Respawn, WatcherConfig, WatcherKind};
use crate::proto::HookPoint;

/// `migrate`, which runs once.
fn migrate(change: impl FnOnce(&mut WatcherConfig)) -> WatcherConfig {
    watcher("migrate", |w| {
        w.kind = WatcherKind::Oneshot;
        change(w);
    })
}

fn details(rig: &mut Rig, name: &str) -> Value {
    rig.command("status", json!({"name": name, "verbose": true})).unwrap()["details"].take()
}

fn health(rig: &mut Rig) -> String {
    details(rig, "migrate")["health"].as_str().unwrap().to_owned()
}

#[test]
fn a_run_succeeds_and_rests() {
    let mut rig = Rig::unstarted(vec![migrate(|_| {})], |_| {});
    rig.settle();
    assert_eq!(health(&mut rig), "running");
    rig.expect(["migrate.run_begin", "launch worker 1", "migrate.spawn 101", "migrate.start"]);
    rig.pass(250);
    rig.exit(101, 0);
    rig.expect(["migrate.reap 101 0", "migrate.stop", "migrate.run_end 0"]);
    assert_eq!(rig.state("migrate"), WatcherState::Stopped);
    let mut details = details(&mut rig, "migrate");
    assert_eq!((&details["health"], &details["reason"]), (&json!("succeeded"), &Value::Null));
    let last = json!({
        "result": "success", "exit_code": 0, "began": 1000.0, "duration": 0.25, "attempts": 1, "trigger": "start",
        "reason": null,
    });
    assert_eq!((details["last_run"].take(), details["kind"].take()), (last, json!("oneshot")));
    rig.pass(60_000);
    rig.expect([]);
    rig.assert_quiescent();
}

#[test]
fn a_run_that_fails_is_tried_again_and_then_given_up() {
    let mut rig = Rig::new(vec![migrate(|w| w.max_retry = 3)]);
    rig.exit(101, 7);
    assert_eq!(health(&mut rig), "backing off");
    rig.pass(120);
    assert_eq!(health(&mut rig), "running");
    // That it has run for long is no success.
    rig.pass(3_600_000);
    rig.exit(102, 7);
    rig.pass(240);
    rig.said();
    rig.exit(103, 9);
    rig.expect(["migrate.reap 103 9", "migrate.stop", "migrate.run_end 9"]);
    let details = details(&mut rig, "migrate");
    assert_eq!((&details["health"], &details["state"]), (&json!("failed"), &json!("stopped")));
    assert_eq!(details["reason"], "worker 1 exited with status 9 after 59 ms");
    let last = &details["last_run"];
    assert_eq!((&last["result"], &last["attempts"]), (&json!("failure"), &json!(3)));
    assert_eq!(last["reason"], details["reason"]);
    assert_eq!(details["runs"], json!({"succeeded": 0, "failed": 1, "skipped": 0}));
    rig.pass(60_000);
    assert_eq!(rig.state("migrate"), WatcherState::Stopped);
    rig.assert_quiescent();
}

#[test]
fn a_failure_is_forgotten_when_a_later_try_succeeds() {
    let mut rig = Rig::new(vec![migrate(|_| {})]);
    rig.exit(101, -11);
    rig.pass(120);
    rig.exit(102, 0);
    let details = details(&mut rig, "migrate");
    assert_eq!((&details["health"], &details["reason"]), (&json!("succeeded"), &Value::Null));
    assert_eq!(details["last_run"]["attempts"], 2);
    rig.assert_quiescent();
}

#[test]
fn respawn_no_means_one_try_and_success_codes_count() {
    let mut rig = Rig::new(vec![migrate(|w| {
        w.respawn = Respawn::Never;
        w.success_codes = vec![0, 3];
    })]);
    rig.exit(101, 1);
    assert_eq!(health(&mut rig), "failed");
    rig.command("start", json!({"name": "migrate"}));
    rig.exit(102, 3);
    assert_eq!(health(&mut rig), "succeeded");
    rig.assert_quiescent();
}

#[test]
fn a_program_that_is_missing_fails_the_run() {
    let mut rig = Rig::new(vec![migrate(|w| (w.autostart, w.max_retry) = (false, 2))]);
    rig.fail(2, 2);
    let answer = rig.command("start", json!({"name": "migrate", "waiting": true})).unwrap();
    assert!(answer["reason"].as_str().unwrap().starts_with("migrate: worker 1 could not be started"), "{answer}");
    let last = details(&mut rig, "migrate")["last_run"].take();
    assert_eq!((&last["result"], &last["exit_code"], &last["attempts"]), (&json!("failure"), &Value::Null, &json!(0)));
    rig.assert_quiescent();
}

#[test]
fn a_request_that_waits_is_answered_with_the_result() {
    for command in ["start", "run", "restart"] {
        let mut rig = Rig::new(vec![migrate(|w| w.autostart = false)]);
        let id = rig.send_command(command, json!({"name": "migrate", "waiting": true}));
        rig.pass(5000);
        assert_eq!(rig.answer_to(id), None, "{command}");
        rig.exit(101, 1);
        assert_eq!(rig.answer_to(id), None, "{command}: it is tried again");
        rig.pass(120);
        rig.exit(102, 0);
        let answer = rig.answer_to(id).unwrap();
        let run = &answer["info"]["run"];
        assert_eq!((&run["result"], &run["exit_code"]), (&json!("success"), &json!(0)), "{command}: {answer}");
        let trigger = if command == "run" { "request" } else { "start" };
        assert_eq!(run["trigger"], trigger);
        rig.assert_quiescent();
    }
}

#[test]
fn a_failure_is_the_answer_with_its_exit_status() {
    let mut rig = Rig::new(vec![migrate(|w| (w.autostart, w.max_retry) = (false, 1))]);
    let id = rig.send_command("run", json!({"name": "migrate", "waiting": true}));
    rig.exit(101, 7);
    let answer = rig.answer_to(id).unwrap();
    assert_eq!(answer["reason"], "migrate: worker 1 exited with status 7 after 0 ms");
    assert_eq!(answer["failed"][0]["exit_code"], 7);
    rig.assert_quiescent();
}

#[test]
fn a_run_under_way_is_the_one_that_is_asked_for() {
    let mut rig = Rig::new(vec![migrate(|_| {})]);
    let ids = ["run", "start"].map(|command| rig.send_command(command, json!({"name": "migrate", "waiting": true})));
    rig.expect([]);
    rig.exit(101, 0);
    for id in ids {
        assert_eq!(rig.answer_to(id).unwrap()["info"]["run"]["result"], "success");
    }
    rig.assert_quiescent();
}

#[test]
fn a_stop_ends_the_run_and_is_no_failure() {
    let mut rig = Rig::new(vec![migrate(|_| {})]);
    let id = rig.send_command("run", json!({"name": "migrate", "waiting": true}));
    rig.send_command("stop", json!({"name": "migrate"}));
    rig.exit(101, 0);
    assert_eq!(rig.answer_to(id).unwrap()["reason"], "migrate: the run was stopped before its end");
    let details = details(&mut rig, "migrate");
    assert_eq!((&details["health"], &details["last_run"]["result"]), (&json!("stopped"), &json!("stopped")));
    rig.assert_quiescent();
}

#[test]
fn a_process_that_was_killed_by_command_is_not_tried_again() {
    let mut rig = Rig::new(vec![migrate(|_| {})]);
    rig.send_command("kill", json!({"name": "migrate"}));
    rig.exit(101, -15);
    assert_eq!(health(&mut rig), "failed");
    rig.pass(60_000);
    assert_eq!(rig.state("migrate"), WatcherState::Stopped);
    rig.assert_quiescent();
}

#[test]
fn what_comes_after_waits_for_success() {
    let web = watcher("web", |w| (w.after, w.priority) = (vec!["migrate".into()], 9));
    let mut rig = Rig::unstarted(vec![web, migrate(|w| w.max_retry = 2)], |_| {});
    rig.settle();
    assert_eq!(rig.state("web"), WatcherState::Stopped);
    assert_eq!(details(&mut rig, "web")["reason"], "waits for migrate (running)");
    rig.exit(101, 1);
    rig.pass(120);
    rig.exit(102, 1);
    assert_eq!(rig.state("web"), WatcherState::Stopped, "a failure is no success");
    let fault = rig.command("start", json!({"name": "web"})).unwrap();
    assert_eq!(fault["reason"], "web: waits for migrate (failed)");
    rig.send_command("start", json!({"name": "migrate"}));
    assert_eq!(rig.state("web"), WatcherState::Stopped);
    rig.exit(103, 0);
    assert_eq!(rig.state("web"), WatcherState::Active);
    // It runs again: what runs already is not disturbed.
    rig.send_command("run", json!({"name": "migrate"}));
    rig.exit(105, 0);
    assert_eq!(rig.running("web"), [104]);
    rig.assert_quiescent();
}

#[test]
fn a_reload_leaves_runs_alone() {
    let mut rig = Rig::new(vec![migrate(|_| {})]);
    rig.said();
    for sequential in [false, true] {
        let answer = rig.command("reload", json!({"name": "migrate", "waiting": true, "sequential": sequential}));
        assert!(answer.unwrap().get("errno").is_none());
    }
    rig.command("set", json!({"name": "migrate", "waiting": true, "options": {"cmd": "other"}})).unwrap();
    rig.exit(101, 0);
    rig.send_command("reload", json!({}));
    rig.expect(["migrate.updated", "migrate.reap 101 0", "migrate.stop", "migrate.run_end 0"]);
    rig.command("run", json!({"name": "migrate"}));
    assert_eq!(rig.said()[1], "launch other", "the change counts from the next run");
    rig.assert_quiescent();
}

#[test]
fn hooks_decide_about_runs() {
    let hook = |w: &mut WatcherConfig, point| {
        w.hooks.insert(point, Hook { run: "exec:x".into(), ignore_failure: false });
    };
    let mut rig = Rig::new(vec![migrate(|w| {
        w.autostart = false;
        hook(w, HookPoint::BeforeStart);
        hook(w, HookPoint::AfterStart);
    })]);
    let id = rig.send_command("run", json!({"name": "migrate", "waiting": true}));
    rig.hook(Ok(false));
    assert_eq!(rig.answer_to(id).unwrap()["reason"], "migrate: hook before_start returned false");
    assert_eq!(details(&mut rig, "migrate")["last_run"]["result"], "failure");
    // The process has ended before after_start has answered.
    rig.send_command("run", json!({"name": "migrate"}));
    rig.hook(Ok(true));
    rig.exit(101, 0);
    rig.hook(Ok(true));
    assert_eq!(health(&mut rig), "succeeded");
    rig.send_command("run", json!({"name": "migrate"}));
    rig.hook(Ok(true));
    rig.exit(102, 0);
    rig.hook(Ok(false));
    assert_eq!(health(&mut rig), "failed");
    rig.assert_quiescent();
}

#[test]
fn another_circusd_goes_on_with_a_run() {
    let mut rig = Rig::new(vec![migrate(|w| w.max_retry = 2)]);
    let id = rig.send_command("run", json!({"name": "migrate", "waiting": true}));
    rig.exit(101, 1);
    rig.hand_over();
    rig.pass(120);
    rig.hand_over();
    rig.exit(102, 0);
    assert_eq!(rig.answer_to(id).unwrap()["info"]["run"]["attempts"], 2);
    rig.hand_over();
    assert_eq!(health(&mut rig), "succeeded");
    rig.assert_quiescent();
}

#[test]
fn what_is_for_services_is_refused() {
    let mut rig = Rig::new(vec![migrate(|_| {}), watcher("web", |_| {})]);
    for (command, properties, reason) in [
        ("run", json!({"name": "web"}), "web is a service (kind), which does not run once: use start"),
        ("incr", json!({"name": "migrate"}), "migrate runs one process (kind = oneshot)"),
        (
            "set",
            json!({"name": "migrate", "options": {"numprocesses": 2}}),
            "'numprocesses': kind = oneshot runs one process, not 2",
        ),
        (
            "set",
            json!({"name": "migrate", "options": {"max_age": 2}}),
            "'max_age': is for services, and kind = oneshot is none",
        ),
        (
            "set",
            json!({"name": "web", "options": {"kind": "oneshot"}}),
            "'kind' cannot be set: change it in the file and run reloadconfig, or rm and add the watcher",
        ),
        (
            "add",
            json!({"name": "x", "cmd": "x", "options": {"kind": "oneshot", "on_demand": true}}),
            "'on_demand': is for services, and kind = oneshot is none",
        ),
    ] {
        assert_eq!(rig.command(command, properties).unwrap()["reason"], reason);
    }
    rig.assert_quiescent();
}
