//! Hooks: each point, and what its answers come to.

use serde_json::{Value, json};

use super::rig::{Rig, watcher};
use crate::arbiter::{Event, HookOutcome, HookTask, Intent, WatcherState, WorkerState};
use crate::config::{Hook, WatcherConfig};
use crate::proto::{HookPoint, Object};

/// One watcher `w` with these hooks, `POINT` or `POINT!` for one whose failure is ignored.
fn hooked(hooks: &[&str], change: impl FnOnce(&mut WatcherConfig)) -> WatcherConfig {
    watcher("w", |w| {
        for name in hooks {
            let (name, flag) = name.strip_suffix('!').map_or((*name, false), |name| (name, true));
            let hook = Hook { run: "exec:answer".into(), ignore_failure: flag };
            w.hooks.insert(HookPoint::parse(name).unwrap(), hook);
        }
        change(w);
    })
}

fn rig(hooks: &[&str]) -> Rig {
    let mut rig = Rig::unstarted(vec![hooked(hooks, |_| {})], |_| {});
    rig.settle();
    rig
}

/// The same, up, where its hooks have nothing to do with that.
fn running(hooks: &[&str], change: impl FnOnce(&mut WatcherConfig)) -> Rig {
    Rig::new(vec![hooked(hooks, change)])
}

#[test]
fn no_process_before_before_start_has_said_yes() {
    let mut rig = rig(&["before_start"]);
    rig.expect(["hook before_start"]);
    assert_eq!(rig.state("w"), WatcherState::Starting { spawned: false });
    rig.hook(Ok(true));
    rig.expect(["w.hook_success \"before_start\"", "launch worker 1", "w.spawn 101", "w.start"]);
    rig.assert_quiescent();
}

#[test]
fn a_refused_start_leaves_no_trace_and_is_an_error() {
    let mut rig = rig(&["before_start"]);
    rig.hook(Ok(false));
    rig.expect(["hook before_start", "w.hook_success \"before_start\""]);
    assert_eq!(rig.state("w"), WatcherState::Stopped);
    let start = rig.send_command("start", json!({"name": "w", "waiting": true}));
    assert_eq!(rig.answer_to(start), None);
    rig.hook(Err("boom"));
    rig.expect(["hook before_start", "w.hook_failure \"before_start\" \"boom\""]);
    let answer = rig.answer_to(start).unwrap();
    assert_eq!(answer["reason"], "w: hook before_start failed: boom");
    assert_eq!((&answer["failed"][0]["stage"], &answer["failed"][0]["hook"]), (&json!("hook"), &json!("before_start")));
    rig.assert_quiescent();
}

#[test]
fn a_failure_that_is_ignored_counts_as_a_yes_and_a_no_does_not() {
    let mut rig = rig(&["before_start!"]);
    rig.hook(Ok(false));
    assert_eq!(rig.state("w"), WatcherState::Stopped);
    rig.said();
    rig.command("start", json!({"name": "w"}));
    rig.hook(Err("boom"));
    assert_eq!(rig.state("w"), WatcherState::Active);
    rig.assert_quiescent();
}

#[test]
fn a_hook_that_hangs_has_failed_at_its_timeout() {
    let mut rig = Rig::unstarted(vec![hooked(&["before_start"], |w| w.hook_timeout = 2.0)], |_| {});
    rig.settle();
    rig.pass(1999);
    rig.expect(["hook before_start"]);
    rig.pass(1);
    let failed = "w.hook_failure \"before_start\" \"it took longer than hook_timeout (2 s)\"";
    rig.expect(["end before_start", failed]);
    assert_eq!(rig.state("w"), WatcherState::Stopped);
    rig.assert_quiescent();
}

#[test]
fn a_stop_does_not_wait_for_a_start() {
    let mut rig = rig(&["before_start", "before_stop", "after_stop"]);
    rig.said();
    let start = rig.send_command("start", json!({"name": "w", "waiting": true}));
    let stop = rig.send_command("stop", json!({"name": "w", "waiting": true}));
    rig.expect(["end before_start", "w.hook_failure \"before_start\" \"the watcher was stopped\""]);
    assert!(rig.answer_to(start).unwrap().get("reason").is_some());
    assert_eq!(rig.answer_to(stop), Some(json!({"info": null})));
    assert_eq!(rig.state("w"), WatcherState::Stopped);
    rig.assert_quiescent();
}

#[test]
fn a_restart_asks_again() {
    let mut rig = rig(&["before_start", "before_stop", "after_stop"]);
    rig.hook(Ok(true));
    rig.said();
    let restart = rig.send_command("restart", json!({"name": "w", "waiting": true}));
    rig.expect(["hook before_stop"]);
    assert_eq!(rig.running("w"), [101], "it runs on until the hook is done");
    rig.hook(Ok(false));
    rig.expect(["w.hook_success \"before_stop\"", "SIGTERM 101", "w.kill 101"]);
    rig.exit(101, -15);
    rig.expect(["w.reap 101 -15", "w.stop", "hook after_stop"]);
    assert_eq!(rig.state("w"), WatcherState::Stopping);
    rig.hook(Err("boom"));
    rig.expect(["w.hook_failure \"after_stop\" \"boom\"", "hook before_start"]);
    rig.hook(Ok(true));
    rig.expect(["w.hook_success \"before_start\"", "launch worker 1", "w.spawn 102", "w.start"]);
    assert_eq!(rig.answer_to(restart), Some(json!({"info": {"stopped": [101], "started": [102], "kept": []}})));
    stop_without_hooks(rig);
}

/// Stops everything, twice asked, so that no hook is.
fn stop_without_hooks(mut rig: Rig) {
    rig.tell(Event::Intent(Intent::Quit));
    rig.tell(Event::Intent(Intent::Quit));
    let alive = rig.alive.clone();
    rig.exit_all(&alive, -9);
    assert_eq!(rig.said().last().map(String::as_str), Some("exit 0"));
    assert_eq!(rig.arbiter.next_deadline(), None);
}

#[test]
fn after_start_holds_up_the_next_watcher() {
    let first = hooked(&["after_start"], |w| w.priority = 1);
    let mut rig = Rig::unstarted(vec![first, watcher("next", |_| {})], |_| {});
    rig.settle();
    rig.expect(["launch worker 1", "w.spawn 101", "hook after_start"]);
    assert_eq!(rig.state("w"), WatcherState::Starting { spawned: true });
    rig.pass(30_000);
    rig.expect([]);
    rig.hook(Ok(true));
    rig.expect(["w.hook_success \"after_start\"", "w.start", "launch worker 1", "next.spawn 102", "next.start"]);
    rig.command("restart", json!({"name": "w"}));
    rig.exit(101, -15);
    rig.said();
    rig.hook(Ok(false));
    rig.expect(["w.hook_success \"after_start\"", "SIGTERM 103", "w.kill 103"]);
    rig.exit(103, -15);
    rig.expect(["w.reap 103 -15", "w.stop"]);
    rig.assert_quiescent();
}

#[test]
fn fleet_has_started_when_its_start_hooks_have_answered() {
    let mut rig = Rig::unstarted(vec![hooked(&["before_start", "after_spawn", "after_start"], |_| {})], |_| {});
    rig.settle();
    for hook in ["hook before_start", "hook after_spawn", "hook after_start"] {
        assert!(rig.said().iter().any(|said| said.starts_with(hook)), "{hook}");
        assert!(!rig.arbiter.has_started(), "{hook} may still undo the start");
        rig.hook(Ok(true));
    }
    assert!(rig.arbiter.has_started());
}

#[test]
fn worker_that_exits_during_after_start_is_replaced() {
    let mut rig = rig(&["after_start"]);
    rig.pass(2000);
    rig.said();
    rig.exit(101, 1);
    rig.expect(["w.reap 101 1", "launch worker 1", "w.spawn 102"]);
    rig.hook(Ok(true));
    rig.expect(["w.hook_success \"after_start\"", "w.start"]);
    rig.assert_quiescent();
}

#[test]
fn each_process_has_its_before_spawn_and_what_that_sets() {
    let mut rig = Rig::unstarted(vec![hooked(&["before_spawn"], |w| w.numprocesses = 2)], |_| {});
    rig.settle();
    rig.expect(["hook before_spawn wid 1"]);
    let set = |port: &str| Object::from_iter([("env".into(), json!({"PORT": port}))]);
    rig.hold_launches = true;
    rig.hook_with(HookOutcome { set: set("1"), ..HookOutcome::answer(Ok(true)) });
    rig.expect(["w.hook_success \"before_spawn\"", "launch worker 1"]);
    let launch = rig.held.remove(0);
    assert_eq!(launch.config.env.as_ref().unwrap()["PORT"], "1");
    rig.answer(launch);
    rig.settle();
    rig.expect(["w.spawn 101", "hook before_spawn wid 2"]);
    rig.hook_with(HookOutcome { set: set("2"), ..HookOutcome::answer(Ok(true)) });
    let launch = rig.held.remove(0);
    assert_eq!(launch.config.env.as_ref().unwrap()["PORT"], "2");
    rig.answer(launch);
    rig.settle();
    rig.expect(["w.hook_success \"before_spawn\"", "launch worker 2", "w.spawn 102", "w.start"]);
    assert_eq!(
        rig.command("get", json!({"name": "w", "keys": ["env"]})),
        Some(json!({"options": {"env": {"PORT": "2"}}}))
    );
    rig.hold_launches = false;
    rig.assert_quiescent();
}

#[test]
fn what_a_hook_sets_wrongly_is_not_taken_over() {
    let mut rig = rig(&["before_spawn"]);
    let set = Object::from_iter([("numprocesses".into(), json!("many"))]);
    rig.hook_with(HookOutcome { set, ..HookOutcome::answer(Ok(true)) });
    assert_eq!(rig.state("w"), WatcherState::Active);
    assert_eq!(rig.running("w").len(), 1);
    rig.assert_quiescent();
}

#[test]
fn a_no_of_before_spawn_stops_the_watcher() {
    let mut rig = rig(&["before_spawn"]);
    rig.said();
    rig.hook(Ok(false));
    rig.expect(["w.hook_success \"before_spawn\"", "w.stop"]);
    assert_eq!(rig.state("w"), WatcherState::Stopped);
    rig.assert_quiescent();
}

#[test]
fn before_spawn_runs_once_for_all_tries_of_a_launch() {
    let mut rig = rig(&["before_spawn"]);
    rig.fail(2, 2);
    rig.said();
    rig.hook(Ok(true));
    rig.expect([
        "w.hook_success \"before_spawn\"",
        "launch worker 1",
        "launch worker 1",
        "launch worker 1",
        "w.spawn 101",
        "w.start",
    ]);
    rig.assert_quiescent();
}

#[test]
fn a_process_is_announced_when_after_spawn_has_accepted_it() {
    let mut rig = rig(&["after_spawn"]);
    rig.expect(["launch worker 1", "hook after_spawn wid 1 101"]);
    assert_eq!(rig.arbiter.view("w").unwrap().workers[0].state, WorkerState::Accepting);
    assert_eq!(rig.command("list", json!({"name": "w"})), Some(json!({"pids": [101]})));
    rig.hook(Ok(true));
    rig.expect(["w.hook_success \"after_spawn\"", "w.spawn 101", "w.start"]);
    rig.assert_quiescent();
}

#[test]
fn after_spawn_that_refuses_at_start_stops_the_watcher() {
    let mut rig = rig(&["after_spawn"]);
    rig.said();
    rig.hook(Ok(false));
    rig.expect(["w.hook_success \"after_spawn\"", "w.spawn 101", "SIGTERM 101", "w.kill 101"]);
    rig.exit(101, -15);
    rig.expect(["w.reap 101 -15", "w.stop"]);
    rig.assert_quiescent();
}

#[test]
fn worker_that_exits_during_after_spawn_is_tried_again() {
    let mut rig = rig(&["after_spawn"]);
    rig.said();
    rig.exit(101, 3);
    rig.expect([
        "end after_spawn",
        "w.hook_failure \"after_spawn\" \"the process has ended\"",
        "w.spawn 101",
        "w.reap 101 3",
    ]);
    rig.pass(200);
    rig.expect(["launch worker 1", "hook after_spawn wid 1 102"]);
    rig.hook(Ok(true));
    rig.expect(["w.hook_success \"after_spawn\"", "w.spawn 102", "w.start"]);
    rig.assert_quiescent();
}

#[test]
fn reload_that_before_spawn_refuses_keeps_the_old() {
    let mut rig = rig(&["before_spawn"]);
    rig.hook(Ok(true));
    rig.said();
    let reload = rig.send_command("reload", json!({"name": "w", "waiting": true}));
    rig.hook(Ok(false));
    assert!(rig.answer_to(reload).unwrap()["reason"].as_str().unwrap().contains("the old processes are kept"));
    assert_eq!(rig.running("w"), [101]);
    rig.command("set", json!({"name": "w", "options": {"hooks.before_spawn": ""}}));
    rig.assert_quiescent();
}

#[test]
fn a_signal_waits_for_its_hook_and_its_time_begins_with_it() {
    let mut rig = running(&["before_signal", "after_signal"], |_| {});
    rig.command("stop", json!({"name": "w"}));
    rig.expect(["hook before_signal wid 1 101 SIGTERM"]);
    rig.pass(20_000);
    rig.hook(Ok(true));
    let after = "hook after_signal wid 1 101 SIGTERM";
    rig.expect(["w.hook_success \"before_signal\"", "SIGTERM 101", "w.kill 101", after]);
    rig.hook(Ok(true));
    rig.said();
    rig.pass(4999);
    rig.expect([]);
    rig.pass(1);
    rig.expect(["hook before_signal wid 1 101 SIGKILL"]);
    rig.hook(Ok(false));
    let after = "hook after_signal wid 1 101 SIGKILL";
    rig.expect(["w.hook_success \"before_signal\"", "SIGKILL 101 tree", "w.kill 101", after]);
    rig.exit(101, -9);
    rig.expect(["w.reap 101 -9"]);
    rig.hook(Ok(true));
    rig.expect(["w.hook_success \"after_signal\"", "w.stop"]);
    rig.assert_quiescent();
}

#[test]
fn a_no_keeps_a_signal_back_and_a_failure_does_not() {
    let mut rig = running(&["before_signal"], |w| w.graceful_timeout = 3.0);
    rig.command("stop", json!({"name": "w"}));
    rig.said();
    rig.hook(Ok(false));
    rig.expect(["w.hook_success \"before_signal\"", "w.kill 101"]);
    rig.pass(3000);
    rig.hook(Err("boom"));
    rig.said();
    rig.exit(101, -9);
    rig.command("start", json!({"name": "w"}));
    rig.command("stop", json!({"name": "w"}));
    rig.said();
    rig.hook(Err("boom"));
    rig.expect(["w.hook_failure \"before_signal\" \"boom\"", "SIGTERM 102", "w.kill 102"]);
    rig.exit(102, -15);
    rig.assert_quiescent();
}

#[test]
fn before_signal_does_not_spare_the_children() {
    let mut rig = running(&["before_signal"], |w| w.stop_children = true);
    rig.command("stop", json!({"name": "w"}));
    rig.said();
    rig.hook(Ok(false));
    rig.expect(["w.hook_success \"before_signal\"", "SIGTERM 101 children", "w.kill 101", "w.kill 1101"]);
    rig.exit(101, -15);
    rig.assert_quiescent();
}

#[test]
fn a_process_that_dies_meanwhile_is_sent_nothing() {
    let mut rig = running(&["before_signal", "after_signal"], |_| {});
    rig.command("stop", json!({"name": "w"}));
    rig.said();
    rig.exit(101, 0);
    rig.expect(["w.reap 101 0"]);
    assert_eq!(rig.state("w"), WatcherState::Stopping, "its hook is not done");
    rig.hook(Ok(true));
    rig.expect(["w.hook_success \"before_signal\"", "w.stop"]);
    rig.assert_quiescent();
}

#[test]
fn the_signal_command_asks_about_each_process() {
    let mut rig = running(&["before_signal"], |w| w.numprocesses = 2);
    let signal = rig.send_command("signal", json!({"name": "w", "signum": 10}));
    rig.expect(["hook before_signal wid 1 101 SIGUSR1", "hook before_signal wid 2 102 SIGUSR1"]);
    rig.hook(Ok(true));
    rig.expect(["w.hook_success \"before_signal\"", "request SIGUSR1 [101]"]);
    assert_eq!(rig.answer_to(signal), None);
    rig.hook(Ok(false));
    rig.expect(["w.hook_success \"before_signal\""]);
    assert_eq!(rig.answer_to(signal), Some(json!({})));
    rig.command("set", json!({"name": "w", "options": {"hooks.before_signal": ""}}));
    rig.assert_quiescent();
}

#[test]
fn reap_comes_between_its_hooks_and_holds_up_no_respawn() {
    let mut rig = running(&["before_reap", "after_reap"], |_| {});
    rig.pass(2000);
    rig.exit(101, 3);
    rig.expect(["hook before_reap wid 1 101 exit 3", "launch worker 1", "w.spawn 102"]);
    rig.hook(Ok(false));
    rig.expect(["w.hook_success \"before_reap\"", "w.reap 101 3", "hook after_reap wid 1 101 exit 3"]);
    rig.hook(Err("boom"));
    rig.expect(["w.hook_failure \"after_reap\" \"boom\""]);
    let stop = rig.send_command("stop", json!({"name": "w", "waiting": true}));
    rig.exit(102, -15);
    rig.said();
    rig.hook(Ok(true));
    assert_eq!(rig.answer_to(stop), None);
    rig.hook(Ok(true));
    rig.expect([
        "w.hook_success \"before_reap\"",
        "w.reap 102 -15",
        "hook after_reap wid 1 102 exit -15",
        "w.hook_success \"after_reap\"",
        "w.stop",
    ]);
    assert_eq!(rig.answer_to(stop), Some(json!({"info": null})));
    rig.assert_quiescent();
}

#[test]
fn figures_can_be_extended() {
    let mut rig = running(&["extended_stats"], |w| w.numprocesses = 2);
    let plain = rig.send_command("stats", json!({"name": "w"}));
    rig.look();
    assert!(rig.answer_to(plain).is_some());
    let stats = rig.send_command("stats", json!({"name": "w", "extended": true}));
    rig.look();
    let more = |number: i32| HookOutcome {
        stats: Object::from_iter([("queue".into(), number.into())]),
        ..HookOutcome::answer(Ok(true))
    };
    rig.hook_with(more(7));
    assert_eq!(rig.answer_to(stats), None);
    rig.hook_with(more(8));
    let answer = rig.answer_to(stats).unwrap();
    let queue = |pid: &str| answer["info"][pid]["queue"].clone();
    assert_eq!((queue("101"), queue("102"), &answer["info"]["101"]["pid"]), (json!(7), json!(8), &json!(101)));
    let said = rig.said();
    assert!(!said.iter().any(|line| line.contains("hook_success")), "{said:?}");

    let one = rig.send_command("stats", json!({"name": "w", "process": 102, "extended": true}));
    rig.look();
    rig.hook_with(more(9));
    assert_eq!(rig.answer_to(one).unwrap()["info"]["queue"], json!(9));
    let failing = rig.send_command("stats", json!({"name": "w", "extended": true}));
    rig.look();
    rig.hook(Err("boom"));
    let reason = "hook extended_stats failed: boom";
    assert_eq!(rig.answer_to(failing), Some(json!({"errno": 5, "reason": reason})));
    rig.hook(Ok(true));
    rig.assert_quiescent();
}

#[test]
fn python_hooks_are_loaded_before_anything_starts() {
    let python = watcher("w", |w| {
        w.hooks.insert(HookPoint::AfterReap, Hook::read("app.hooks.dead").unwrap());
    });
    let mut rig = Rig::unstarted(vec![python], |_| {});
    rig.settle();
    rig.expect(["load hooks"]);
    assert_eq!(rig.hooks[0].task, HookTask::Load);
    rig.hook(Err("hooks.after_reap = app.hooks.dead cannot be loaded"));
    rig.expect([]);
    assert_eq!(rig.state("w"), WatcherState::Stopped);
    rig.command("start", json!({"name": "w"}));
    rig.hook(Ok(true));
    rig.expect(["load hooks", "launch worker 1", "w.spawn 101", "w.start"]);
    rig.command("set", json!({"name": "w", "options": {"hooks.after_reap": ""}}));
    rig.assert_quiescent();
}

#[test]
fn a_removed_watcher_leaves_no_hook_behind() {
    let mut rig = running(&["before_reap", "before_signal"], |w| w.numprocesses = 2);
    rig.exit(101, 1);
    let signal = rig.send_command("signal", json!({"name": "w", "signum": 10}));
    rig.said();
    rig.command("rm", json!({"name": "w", "nostop": true}));
    rig.expect(["w.remove", "end before_reap", "w.reap 101 1", "end before_signal"]);
    assert_eq!(rig.answer_to(signal), Some(json!({})));
    rig.assert_quiescent();
}

#[test]
fn old_workers_of_a_reload_wait_for_before_stop_too() {
    for lives in [0, 1500] {
        let mut rig = running(&["before_stop"], |_| {});
        rig.pass(2000);
        rig.send_command_held("reload", json!({"name": "w"}));
        rig.said();
        rig.command("stop", json!({"name": "w"}));
        rig.expect(["hook before_stop"]);
        rig.pass(lives);
        rig.expect([]);
        assert_eq!(rig.running("w"), [101, 102]);
        rig.hook(Ok(true));
        rig.expect(["w.hook_success \"before_stop\"", "SIGTERM 101", "w.kill 101", "SIGTERM 102", "w.kill 102"]);
        rig.exit_all(&[101, 102], -15);
        assert_eq!(rig.state("w"), WatcherState::Stopped);
        rig.assert_quiescent();
    }
}

#[test]
fn a_removed_watcher_stops_with_its_hooks() {
    let mut rig = running(&["before_stop", "after_stop"], |_| {});
    let rm = rig.send_command("rm", json!({"name": "w", "waiting": true}));
    rig.hook(Ok(true));
    rig.exit(101, -15);
    assert_eq!(rig.answer_to(rm), None);
    rig.hook(Ok(true));
    assert_eq!(rig.answer_to(rm), Some(json!({})));
    rig.assert_quiescent();
}

#[test]
fn a_second_wish_to_end_waits_for_no_hook() {
    let mut rig = running(&["before_stop", "after_stop", "before_signal"], |_| {});
    rig.tell(Event::Intent(Intent::Quit));
    rig.expect(["hook before_stop"]);
    rig.tell(Event::Intent(Intent::Quit));
    let said = rig.said();
    assert_eq!(said[0], "end before_stop");
    assert!(said.contains(&"SIGKILL 101 tree".to_owned()), "{said:?}");
    rig.exit(101, -9);
    rig.expect(["w.reap 101 -9", "w.stop", "exit 0"]);
}

#[test]
fn what_comes_late_is_of_no_interest() {
    let mut rig = rig(&["before_start"]);
    let hook = rig.hooks[0].id;
    rig.command("stop", json!({"name": "w"}));
    rig.said();
    rig.tell(Event::HookDone { hook, outcome: HookOutcome::answer(Ok(true)) });
    rig.expect([]);
    assert_eq!(rig.state("w"), WatcherState::Stopped);
    rig.assert_quiescent();
}

#[test]
fn status_names_the_hook_that_is_waited_for() {
    let mut rig = rig(&["before_start"]);
    let details = rig.command("status", json!({"name": "w", "verbose": true})).unwrap();
    assert_eq!(details["details"]["hooks"], json!(["before_start"]));
    assert_eq!(details.get("status"), Some(&Value::from("starting")));
    rig.hook(Ok(false));
    rig.assert_quiescent();
}

/// One watcher `w` whose `after_start` hook is this.
fn after_start(run: &str) -> Rig {
    let mut config = hooked(&["after_start"], |_| {});
    for hook in config.hooks.values_mut() {
        run.clone_into(&mut hook.run);
    }
    let mut rig = Rig::unstarted(vec![config], |_| {});
    rig.settle();
    rig
}

#[test]
fn service_that_is_not_there_is_tried_again_until_it_is() {
    let mut rig = after_start("wait_tcp:127.0.0.1:1");
    rig.expect(["launch worker 1", "w.spawn 101", "hook after_start"]);
    for _ in 0..3 {
        let hook = rig.hooks.remove(0).id;
        rig.tell(Event::HookNotYet { hook, reason: "refused".into() });
        rig.pass(99);
        rig.expect([]);
        rig.pass(1);
        rig.expect(["hook after_start"]);
    }
    rig.hook(Ok(true));
    rig.expect(["w.hook_success \"after_start\"", "w.start"]);
    rig.assert_quiescent();
}

#[test]
fn hook_that_pauses_is_over_at_its_deadline_without_being_ended() {
    let mut rig = after_start("wait_cmd:x");
    rig.said();
    let hook = rig.hooks.remove(0).id;
    rig.tell(Event::HookNotYet { hook, reason: "exit status 1".into() });
    rig.pass(249);
    rig.expect([]);
    rig.pass(1);
    rig.expect(["hook after_start"]);
    rig.pass(59_700);
    let hook = rig.hooks.remove(0).id;
    rig.tell(Event::HookNotYet { hook, reason: "exit status 2".into() });
    rig.logs();
    rig.pass(50);
    let failure = "w.hook_failure \"after_start\" \"it took longer than hook_timeout (60 s)\"";
    assert_eq!(rig.said(), [failure, "SIGTERM 101", "w.kill 101"]);
    assert!(rig.logs().iter().any(|line| line == "w: after_start: the last try: exit status 2"));
    rig.exit(101, -15);
    rig.assert_quiescent();
}

#[test]
fn pause_of_a_hook_outlasts_a_hand_over() {
    let mut rig = after_start("wait_unix:/run/x");
    let hook = rig.hooks.remove(0).id;
    rig.tell(Event::HookNotYet { hook, reason: "no such file".into() });
    rig.said();
    rig.hand_over();
    rig.expect([]);
    rig.pass(100);
    rig.expect(["hook after_start"]);
    rig.hook(Ok(true));
    rig.assert_quiescent();
}

#[test]
fn function_whose_python_ends_is_run_once_more_and_no_more() {
    let mut rig = after_start("module.function");
    rig.expect(["load hooks"]);
    assert_eq!(rig.hooks[0].host, Some(0));
    rig.hook(Ok(true));
    rig.expect(["launch worker 1", "w.spawn 101", "hook after_start"]);
    rig.hooks.clear();
    rig.tell(Event::PythonHostLost { host: 0, error: "it ended (by SIGKILL)".into() });
    rig.expect(["hook after_start"]);
    assert_eq!(rig.hooks[0].host, Some(1));
    rig.hooks.clear();
    rig.tell(Event::PythonHostLost { host: 1, error: "it ended (by SIGKILL)".into() });
    let failure = "w.hook_failure \"after_start\" \"its Python process has ended: it ended (by SIGKILL)\"";
    assert_eq!(rig.said(), [failure, "SIGTERM 101", "w.kill 101"]);
    rig.exit(101, -15);
    rig.assert_quiescent();
}

#[test]
fn python_that_hangs_goes_when_its_other_hooks_have_answered() {
    let function = |name: &str| {
        let mut config = hooked(&["after_start"], |w| name.clone_into(&mut w.name));
        config.hook_timeout = if name == "w" { 5.0 } else { 30.0 };
        config.hooks.values_mut().for_each(|hook| "module.function".clone_into(&mut hook.run));
        config
    };
    let mut rig = Rig::unstarted(vec![function("w"), function("x")], |_| {});
    rig.settle();
    while rig.hooks.iter().any(|call| call.task == HookTask::Load) {
        rig.hook(Ok(true));
    }
    assert!(rig.hooks.len() == 2 && rig.hooks.iter().all(|call| call.host == Some(0)));
    rig.said();
    rig.pass(5000);
    let failure = "w.hook_failure \"after_start\" \"it took longer than hook_timeout (5 s)\"";
    assert_eq!(rig.said(), ["end after_start", failure, "SIGTERM 101", "w.kill 101"]);
    // The other hook may finish; the next hook gets another Python.
    rig.exit(101, -15);
    rig.send_command("start", json!({"name": "w"}));
    assert_eq!(rig.hooks.last().unwrap().host, Some(1));
    rig.said();
    rig.hook(Ok(true));
    assert_eq!(rig.said(), ["end python host 0", "x.hook_success \"after_start\"", "x.start"]);
    while !rig.hooks.is_empty() {
        rig.hook(Ok(true));
    }
    rig.assert_quiescent();
}
