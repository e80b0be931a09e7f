//! To which processes the signals of a stop go.

use serde_json::json;

use super::rig::{Rig, watcher};
use crate::arbiter::{Event, Pid};
use crate::config::{Hook, KillMode, Orphans, WatcherConfig};
use crate::proto::HookPoint;

fn rig(mode: KillMode, change: impl FnOnce(&mut WatcherConfig)) -> Rig {
    Rig::new(vec![watcher("w", |w| {
        w.kill_mode = mode;
        change(w);
    })])
}

#[test]
fn both_signals_reach_as_far_as_the_mode_says() {
    for (mode, stop, kill) in [
        (KillMode::Mixed, "SIGTERM 101", "SIGKILL 101 tree"),
        (KillMode::Process, "SIGTERM 101", "SIGKILL 101"),
        (KillMode::Group, "SIGTERM 101 group", "SIGKILL 101 group"),
        (KillMode::Tree, "SIGTERM 101 tree", "SIGKILL 101 tree"),
        (KillMode::Cgroup, "SIGTERM 101 cgroup", "SIGKILL 101 cgroup"),
    ] {
        let mut rig = rig(mode, |_| {});
        rig.command("stop", json!({"name": "w"}));
        rig.expect([stop, "w.kill 101"]);
        rig.pass(5000);
        rig.expect([kill, "w.kill 101"]);
        rig.pass(5000);
        rig.expect([kill]);
        rig.exit(101, -9);
        rig.assert_quiescent();
    }
}

#[test]
fn what_is_left_behind_is_ended_as_far_as_the_mode_reaches() {
    let orphans = |mode| rig(mode, |_| {}).arbiter.orphans_of(Pid(101));
    assert_eq!(orphans(KillMode::Process), Some(Orphans::Keep));
    assert_eq!(orphans(KillMode::Group), Some(Orphans::End));
    let mut rig = rig(KillMode::Group, |_| {});
    assert_eq!(rig.arbiter.kill_mode_of(Pid(101)), Some(KillMode::Group));
    rig.tell(Event::LeaderExited(Pid(101)));
    rig.expect(["SIGTERM 101"]);
    rig.pass(5000);
    rig.expect(["SIGKILL 101 group", "w.kill 101"]);
    rig.exit(101, 0);
    rig.assert_quiescent();
}

#[test]
fn a_signal_that_its_hook_keeps_back_goes_to_no_process() {
    let hook = Hook { run: "exec:answer".into(), ignore_failure: false };
    let mut rig = rig(KillMode::Tree, |w| drop(w.hooks.insert(HookPoint::BeforeSignal, hook)));
    rig.command("stop", json!({"name": "w"}));
    rig.said();
    rig.hook(Ok(false));
    rig.expect(["w.hook_success \"before_signal\"", "w.kill 101"]);
    rig.exit(101, 0);
    rig.assert_quiescent();
}

#[test]
fn stop_children_says_something_else_than_a_mode() {
    let mut rig = rig(KillMode::Mixed, |w| w.stop_children = true);
    let refusal = rig.command("set", json!({"name": "w", "options": {"kill_mode": "group"}})).unwrap();
    assert!(refusal["reason"].as_str().unwrap().contains("stop_children is for kill_mode = mixed"), "{refusal}");
    rig.command("set", json!({"name": "w", "options": {"kill_mode": "group", "stop_children": false}}));
    rig.command("stop", json!({"name": "w"}));
    assert!(rig.said().contains(&"SIGTERM 101 group".to_owned()));
    rig.exit(101, 0);
    rig.assert_quiescent();
}
