//! `enable`, `disable` and `remember`: what outlives circusd.

use serde_json::json;

use super::rig::{Rig, watcher};
use crate::arbiter::{Memories, WatcherState};
use crate::config::{CircusConfig, Config, SocketConfig, WatcherConfig};

fn file(watchers: Vec<WatcherConfig>, state_file: bool) -> Config {
    let state_file = state_file.then(|| "/state".to_owned());
    let circus = CircusConfig { state_file, ..CircusConfig::default() };
    Config { circus, watchers, sockets: vec![SocketConfig::new("web")], include_dirs: Vec::new() }
}

fn remembering(name: &str) -> WatcherConfig {
    watcher(name, |w| w.remember = true)
}

fn started(watchers: Vec<WatcherConfig>) -> Rig {
    let mut rig = Rig::of_file(file(watchers, true));
    rig.settle();
    rig.said();
    rig
}

/// Another circusd with this file, after this one has ended.
fn next_life(rig: Rig, watchers: Vec<WatcherConfig>) -> Rig {
    let written = serde_json::to_string(rig.arbiter.memories()).unwrap();
    rig.assert_quiescent();
    let memories: Memories = serde_json::from_str(&written).unwrap();
    let mut rig = Rig::of_file(file(watchers, true));
    rig.arbiter.recall(memories);
    rig.settle();
    rig.said();
    rig
}

fn health(rig: &mut Rig, name: &str) -> serde_json::Value {
    rig.command("status", json!({"name": name, "verbose": true})).unwrap()["details"]["health"].clone()
}

#[test]
fn a_disabled_watcher_starts_by_its_name_alone() {
    let both = || vec![watcher("a", |_| {}), watcher("b", |_| {})];
    let mut rig = started(both());
    let answer = rig.command("disable", json!({"name": "a"})).unwrap();
    assert_eq!(answer, json!({"remembered": true}));
    rig.expect(["remember {\"a\":{\"enabled\":false}}"]);
    assert_eq!(rig.state("a"), WatcherState::Active, "it runs on");
    let mut rig = next_life(rig, both());
    assert_eq!((rig.state("a"), rig.state("b")), (WatcherState::Stopped, WatcherState::Active));
    assert_eq!(health(&mut rig, "a"), "disabled");
    rig.command("start", json!({}));
    assert_eq!(rig.state("a"), WatcherState::Stopped, "it is not one of all");
    rig.command("start", json!({"name": "a"}));
    assert_eq!(rig.state("a"), WatcherState::Active);
    let mut rig = next_life(rig, both());
    assert_eq!(health(&mut rig, "a"), "disabled", "a start does not enable it");
    rig.command("enable", json!({"name": "a", "now": true}));
    rig.expect(["remember {}", "launch worker 1", "a.spawn 102", "a.start"]);
    rig.assert_quiescent();
}

#[test]
fn now_stops_it_and_enable_outweighs_the_file() {
    let both = || vec![watcher("a", |_| {}), watcher("off", |w| w.autostart = false)];
    let mut rig = started(both());
    let stop = rig.send_command("disable", json!({"name": "a", "now": true, "waiting": true}));
    rig.exit(101, -15);
    assert_eq!(rig.answer_to(stop), Some(json!({"info": null})));
    assert_eq!(health(&mut rig, "a"), "disabled");
    rig.command("enable", json!({"name": "off"}));
    assert_eq!(rig.state("off"), WatcherState::Stopped);
    let rig = next_life(rig, both());
    assert_eq!((rig.state("a"), rig.state("off")), (WatcherState::Stopped, WatcherState::Active));
    rig.assert_quiescent();
}

#[test]
fn no_connection_starts_what_is_disabled() {
    let on_demand = || vec![watcher("a", |w| (w.on_demand, w.stdin_socket) = (true, Some("web".into())))];
    let mut rig = started(on_demand());
    rig.command("disable", json!({"name": "a"}));
    rig.expect(["remember {\"a\":{\"enabled\":false}}", "unwatch web"]);
    let mut rig = next_life(rig, on_demand());
    rig.command("enable", json!({"name": "a"}));
    rig.expect(["remember {}", "watch web"]);
    rig.assert_quiescent();
}

#[test]
fn stops_and_numbers_are_remembered_where_the_watcher_says_so() {
    let three = || vec![remembering("a"), remembering("b"), watcher("c", |_| {})];
    let mut rig = started(three());
    rig.command("incr", json!({"name": "a", "nb": 2}));
    for name in ["b", "c"] {
        rig.send_command("stop", json!({"name": name}));
    }
    rig.command("incr", json!({"name": "c"}));
    let mut rig = next_life(rig, three());
    assert_eq!((rig.running("a").len(), rig.running("c").len()), (3, 1));
    assert_eq!((rig.state("b"), health(&mut rig, "b")), (WatcherState::Stopped, json!("stopped")));
    rig.command("start", json!({"name": "b"}));
    rig.command("decr", json!({"name": "a", "nb": 2}));
    rig.exit_all(&[101, 102], -15);
    let rig = next_life(rig, three());
    assert_eq!((rig.running("a").len(), rig.state("b")), (1, WatcherState::Active));
    assert!(rig.arbiter.memories().is_empty());
    rig.assert_quiescent();
}

#[test]
fn a_number_that_changes_in_the_file_counts() {
    let mut rig = started(vec![remembering("a")]);
    rig.command("incr", json!({"name": "a", "nb": 4}));
    let four = || vec![watcher("a", |w| (w.remember, w.numprocesses) = (true, 4))];
    let rig = next_life(rig, four());
    assert_eq!(rig.running("a").len(), 4);
    let rig = next_life(rig, vec![remembering("a")]);
    assert_eq!(rig.running("a").len(), 1, "what was remembered is forgotten");
    rig.assert_quiescent();
}

#[test]
fn a_change_of_the_file_does_not_start_what_is_disabled_or_stopped() {
    let mut rig = started(vec![watcher("a", |_| {}), remembering("b")]);
    let disable = rig.send_command("disable", json!({"name": "a", "now": true, "waiting": true}));
    rig.exit(101, -15);
    rig.answer_to(disable);
    rig.send_command("stop", json!({"name": "b"}));
    rig.exit(102, -15);
    for config in &mut rig.file.as_mut().unwrap().watchers {
        config.working_dir = "/other".into();
    }
    rig.said();
    rig.command("reloadconfig", json!({"waiting": true}));
    assert_eq!((rig.state("a"), rig.state("b")), (WatcherState::Stopped, WatcherState::Stopped));
    let watchers = rig.file.as_ref().unwrap().watchers.clone();
    let rig = next_life(rig, watchers);
    assert_eq!((rig.state("a"), rig.state("b")), (WatcherState::Stopped, WatcherState::Stopped));
    rig.assert_quiescent();
}

#[test]
fn without_a_state_file_it_counts_until_the_end() {
    let mut rig = Rig::of_file(file(vec![remembering("a")], false));
    rig.settle();
    rig.said();
    assert_eq!(rig.command("disable", json!({"name": "a"})), Some(json!({"remembered": false})));
    rig.expect([]);
    rig.hand_over();
    assert_eq!(rig.arbiter.memories().len(), 1);
    rig.assert_quiescent();
}
