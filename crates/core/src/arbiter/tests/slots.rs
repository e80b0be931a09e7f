//! Values of which each worker has one of its own.

use serde_json::json;

use super::rig::{Rig, watcher};
use crate::config::{SlotPool, WatcherConfig};

fn with_slots(name: &str, change: impl FnOnce(&mut WatcherConfig)) -> WatcherConfig {
    watcher(name, |w| {
        let slots = SlotPool { pool: "GPU".into(), values: ["0", "1", "2"].map(String::from).to_vec() };
        w.slots.insert("CUDA".into(), slots);
        w.cmd = "train $(circus.slot.gpu)".into();
        change(w);
    })
}

/// What was launched since the last time.
fn launches(rig: &mut Rig) -> Vec<String> {
    rig.said().into_iter().filter(|line| line.starts_with("launch ")).collect()
}

#[test]
fn each_worker_has_a_value_and_keeps_it_over_its_respawn() {
    let mut rig = Rig::unstarted(vec![with_slots("w", |w| w.numprocesses = 3)], |_| {});
    rig.settle();
    assert_eq!(launches(&mut rig), ["launch train 0", "launch train 1", "launch train 2"]);
    rig.pass(2000);
    rig.exit_all(&[103, 102], 1);
    let mut again = launches(&mut rig);
    again.sort();
    assert_eq!(again, ["launch train 1", "launch train 2"]);
}

#[test]
fn reload_replaces_one_after_the_other() {
    let mut rig = Rig::new(vec![with_slots("w", |w| w.numprocesses = 3)]);
    rig.pass(2000);
    rig.said();
    rig.command("reload", json!({"name": "w"}));
    assert_eq!(launches(&mut rig), [""; 0], "no value is free for a successor");
    rig.exit(101, 0);
    assert_eq!(launches(&mut rig), ["launch train 0"]);
}

#[test]
fn more_workers_than_values_are_refused() {
    let mut rig = Rig::new(vec![with_slots("w", |w| w.numprocesses = 2)]);
    let reason = |answer: Option<serde_json::Value>| answer.unwrap()["reason"].as_str().unwrap().to_owned();
    rig.command("incr", json!({"name": "w"}));
    assert_eq!(rig.running("w").len(), 3);
    let text = "4 workers need a value each, and [slots:GPU] has 3";
    assert_eq!(reason(rig.command("incr", json!({"name": "w"}))), format!("w: {text}"));
    let set = json!({"name": "w", "options": {"numprocesses": 4}});
    assert_eq!(reason(rig.command("set", set)), format!("numprocesses: {text}"));
    let set = json!({"name": "w", "options": {"slot.CUDA": "other"}});
    assert!(reason(rig.command("set", set)).starts_with("'slot.CUDA' cannot be set"));
}

#[test]
fn worker_of_another_watcher_waits_until_a_value_is_free() {
    let mut rig = Rig::new(vec![with_slots("a", |w| w.numprocesses = 3), with_slots("b", |_| {})]);
    rig.pass(2000);
    let why = rig.command("why", json!({"name": "b"})).unwrap();
    let text = why["events"][0]["text"].as_str().unwrap().to_owned();
    assert!(text.contains("other workers have all values of [slots:GPU]"), "{text}");
    rig.said();
    rig.command("decr", json!({"name": "a"}));
    let gone = rig.alive.iter().copied().find(|pid| !rig.running("a").contains(pid)).unwrap_or(103);
    rig.exit(gone, 0);
    rig.pass(10_000);
    assert_eq!(rig.running("b").len(), 1);
    assert_eq!(launches(&mut rig).len(), 1);
}

#[test]
fn values_outlive_an_upgrade() {
    let mut rig = Rig::new(vec![with_slots("w", |w| w.numprocesses = 2)]);
    rig.pass(2000);
    rig.hand_over();
    rig.said();
    rig.exit(102, 1);
    assert_eq!(launches(&mut rig), ["launch train 1"]);
}
