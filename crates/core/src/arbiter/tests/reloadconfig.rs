//! The configuration file is read again.

use serde_json::{Value, json};

use super::rig::{Rig, watcher};
use crate::arbiter::{Event, Intent, WatcherState};
use crate::config::{CircusConfig, Config, SocketConfig, WatcherConfig};
use crate::proto::Signal;

/// A watcher of a file.
fn filed(name: &str, change: impl FnOnce(&mut WatcherConfig)) -> WatcherConfig {
    watcher(name, |w| {
        w.dynamic = false;
        w.cmd = name.into();
        change(w);
    })
}

fn file(watchers: Vec<WatcherConfig>) -> Config {
    Config { circus: CircusConfig::default(), watchers, sockets: Vec::new(), include_dirs: Vec::new() }
}

fn started(config: Config) -> Rig {
    let mut rig = Rig::of_file(config);
    rig.settle();
    rig.said();
    rig
}

fn fleet(names: &[&str]) -> Rig {
    started(file(names.iter().map(|name| filed(name, |_| {})).collect()))
}

fn waiting(rig: &mut Rig) -> u64 {
    rig.send_command("reloadconfig", json!({"waiting": true}))
}

/// The changes in an answer: `{"web": "kept", ...}`.
fn changes(answer: &Value, key: &str) -> Value {
    let steps = answer.get(key).and_then(Value::as_array).unwrap();
    steps.iter().map(|step| (step["name"].as_str().unwrap().to_owned(), step["change"].clone())).collect()
}

#[test]
fn watchers_come_go_change_and_grow() {
    let mut rig = fleet(&["change", "count", "gone", "stay"]);
    rig.file = Ok(file(vec![
        filed("change", |w| w.cmd = "changed".into()),
        filed("count", |w| w.numprocesses = 2),
        filed("fresh", |_| {}),
        filed("idle", |w| w.autostart = false),
        filed("stay", |_| {}),
    ]));
    let request = waiting(&mut rig);
    rig.expect([
        "take over done",
        "SIGTERM 101",
        "change.kill 101",
        "SIGTERM 103",
        "gone.kill 103",
        "launch count",
        "count.spawn 105",
    ]);
    assert_eq!(rig.command("list", json!({})), Some(json!({"watchers": ["change", "count", "fresh", "idle", "stay"]})));
    assert_eq!((rig.state("change"), rig.state("fresh")), (WatcherState::Stopping, WatcherState::Stopped));
    rig.exit(103, -15);
    rig.expect(["gone.reap 103 -15", "gone.stop"]);
    assert_eq!(rig.answer_to(request), None);
    rig.exit(101, -15);
    rig.expect([
        "change.reap 101 -15",
        "change.stop",
        "launch changed",
        "change.spawn 106",
        "change.start",
        "launch fresh",
        "fresh.spawn 107",
        "fresh.start",
    ]);
    let answer = rig.answer_to(request).unwrap();
    assert_eq!(
        changes(&answer, "watchers"),
        json!({"change": "replaced", "count": "scaled", "fresh": "added", "idle": "added", "stay": "kept", "gone": "removed"})
    );
    // Once more: there is nothing left to do.
    let answer = rig.command("reloadconfig", json!({"waiting": true})).unwrap();
    rig.expect([]);
    assert_eq!(
        changes(&answer, "watchers").as_object().unwrap().values().filter(|change| *change != "kept").count(),
        0
    );
    rig.assert_quiescent();
}

#[test]
fn all_stop_before_the_first_by_priority_starts() {
    let mut rig = fleet(&["a", "b", "c"]);
    let moved = |name, priority| filed(name, |w| (w.priority, w.cmd) = (priority, format!("new {name}")));
    rig.file = Ok(file(vec![moved("a", 1), moved("b", 2), moved("c", 2), moved("d", 9)]));
    let request = waiting(&mut rig);
    let kills: Vec<String> = rig.said().into_iter().filter(|said| said.contains("kill")).collect();
    assert_eq!(kills, ["a.kill 101"]);
    rig.exit(101, -15);
    let kills: Vec<String> = rig.said().into_iter().filter(|said| said.contains("kill")).collect();
    assert_eq!(kills, ["b.kill 102", "c.kill 103"]);
    rig.exit(102, -15);
    assert!(!rig.said().iter().any(|said| said.starts_with("launch")), "c has not stopped yet");
    rig.exit(103, -15);
    let launches: Vec<String> = rig.said().into_iter().filter(|said| said.starts_with("launch")).collect();
    assert_eq!(launches, ["launch new d", "launch new b", "launch new c", "launch new a"]);
    assert!(rig.answer_to(request).is_some());
    rig.assert_quiescent();
}

#[test]
fn dry_run_reports_and_does_nothing() {
    let mut rig = fleet(&["gone"]);
    let mut config = file(vec![filed("fresh", |_| {})]);
    config.circus.endpoint = "ipc:///other".into();
    config.circus.check_delay = 1.0;
    rig.file = Ok(config);
    let answer = rig.command("reloadconfig", json!({"dry_run": true})).unwrap();
    assert_eq!(changes(&answer, "watchers"), json!({"fresh": "added", "gone": "removed"}));
    assert_eq!(answer["circus"], json!({"applied": ["check_delay"], "needs_restart": ["endpoint"]}));
    rig.expect([]);
    assert_eq!(rig.state("gone"), WatcherState::Active);
    assert_eq!(rig.command("globaloptions", json!({})).unwrap()["options"]["check_delay"], 5.0);
    rig.assert_quiescent();
}

#[test]
fn a_broken_file_changes_nothing() {
    let mut rig = fleet(&["w"]);
    rig.file = Err(vec!["circus.ini:1: what is this".into()]);
    let refused = json!({"errno": 6, "reason": "server error", "details": ["circus.ini:1: what is this"]});
    for properties in [json!({}), json!({"waiting": true}), json!({"dry_run": true})] {
        assert_eq!(rig.command("reloadconfig", properties), Some(refused.clone()));
    }
    rig.expect([]);
    rig.assert_quiescent();
}

#[test]
fn what_cannot_be_taken_over_changes_nothing() {
    let mut rig = fleet(&["w"]);
    rig.file = Ok(file(vec![filed("other", |_| {})]));
    rig.refusal = Some("socket 'web' cannot be opened".into());
    let answer = rig.command("reloadconfig", json!({})).unwrap();
    assert_eq!(answer, json!({"errno": 6, "reason": "server error", "details": ["socket 'web' cannot be opened"]}));
    rig.expect(["take over refused"]);
    assert_eq!(rig.command("list", json!({})), Some(json!({"watchers": ["w"]})));
    // The next one finds the same to do.
    rig.refusal = None;
    let answer = rig.command("reloadconfig", json!({})).unwrap();
    assert_eq!(changes(&answer, "watchers"), json!({"other": "added", "w": "removed"}));
    rig.exit(101, -15);
    rig.assert_quiescent();
}

#[test]
fn what_set_has_changed_stays_until_the_file_says_otherwise() {
    let mut rig = fleet(&["w"]);
    rig.command("set", json!({"name": "w", "options": {"numprocesses": 3, "graceful_timeout": 9.0}}));
    rig.said();
    rig.command("reloadconfig", json!({}));
    rig.expect([]);
    assert_eq!(rig.running("w").len(), 3);
    rig.file = Ok(file(vec![filed("w", |w| w.numprocesses = 2)]));
    let answer = rig.command("reloadconfig", json!({})).unwrap();
    assert_eq!(answer["watchers"], json!([{"name": "w", "change": "scaled", "from": 1, "to": 2}]));
    rig.expect(["take over done", "SIGTERM 101", "w.kill 101"]);
    let options = rig.command("get", json!({"name": "w", "keys": ["graceful_timeout"]})).unwrap();
    assert_eq!(options, json!({"options": {"graceful_timeout": 9.0}}));
    rig.exit(101, -15);
    rig.assert_quiescent();
}

#[test]
fn watchers_made_by_add_are_kept_unless_pruned() {
    let mut rig = fleet(&["a", "b"]);
    rig.command("add", json!({"name": "extra", "cmd": "x", "start": true}));
    rig.command("rm", json!({"name": "a"}));
    rig.exit(101, -15);
    rig.said();
    let request = waiting(&mut rig);
    rig.expect(["take over done", "launch a", "a.spawn 104", "a.start"]);
    let answer = rig.answer_to(request).unwrap();
    assert_eq!(changes(&answer, "watchers"), json!({"a": "added", "b": "kept", "extra": "kept"}));
    // Again and again: it does not become the file's.
    let answer = rig.command("reloadconfig", json!({"waiting": true})).unwrap();
    assert_eq!(changes(&answer, "watchers")["extra"], "kept");
    rig.expect([]);
    let request = rig.send_command("reloadconfig", json!({"waiting": true, "prune": true}));
    rig.expect(["take over done", "SIGTERM 103", "extra.kill 103"]);
    rig.exit(103, -15);
    let answer = rig.answer_to(request).unwrap();
    assert_eq!(changes(&answer, "watchers")["extra"], "removed");
    rig.assert_quiescent();
}

#[test]
fn old_processes_are_asked_to_stop_as_was_right_for_them() {
    let mut rig = fleet(&["w"]);
    let quick = |w: &mut WatcherConfig| (w.cmd, w.stop_signal, w.graceful_timeout) = ("y".into(), Signal(3), 0.0);
    rig.file = Ok(file(vec![filed("w", quick)]));
    let request = waiting(&mut rig);
    rig.expect(["take over done", "SIGTERM 101", "w.kill 101"]);
    // The old graceful_timeout is five seconds.
    rig.pass(4999);
    rig.expect([]);
    rig.exit(101, -15);
    rig.expect(["w.reap 101 -15", "w.stop", "launch y", "w.spawn 102", "w.start"]);
    assert!(rig.answer_to(request).is_some());
    rig.command("kill", json!({"name": "w"}));
    rig.expect(["SIGQUIT 102", "w.kill 102"]);
    rig.assert_quiescent();
}

#[test]
fn a_stopped_watcher_starts_if_it_starts_by_itself() {
    let mut rig = fleet(&["a", "b"]);
    for name in ["a", "b"] {
        rig.command("stop", json!({"name": name}));
    }
    rig.exit_all(&[101, 102], -15);
    rig.said();
    let moved = |w: &mut WatcherConfig| w.working_dir = "/tmp".into();
    rig.file = Ok(file(vec![filed("a", moved), filed("b", |w| (w.working_dir, w.autostart) = ("/tmp".into(), false))]));
    rig.command("reloadconfig", json!({"waiting": true})).unwrap();
    rig.expect(["take over done", "launch a", "a.spawn 103", "a.start"]);
    rig.assert_quiescent();
}

#[test]
fn a_socket_that_moves_gives_its_users_new_processes_first() {
    let web = |port| SocketConfig { port, ..SocketConfig::new("web") };
    let users = || {
        vec![
            filed("hup", |w| (w.sockets, w.send_hup) = (vec!["web".into()], true)),
            filed("idle", |w| (w.use_sockets, w.autostart) = (true, false)),
            filed("other", |_| {}),
            filed("user", |w| w.cmd = "user $(circus.sockets.web)".into()),
        ]
    };
    let mut rig = started(Config { sockets: vec![web(1)], ..file(users()) });
    rig.file = Ok(Config { sockets: vec![web(2)], ..file(users()) });
    let request = waiting(&mut rig);
    rig.expect(["take over done", "launch hup", "hup.spawn 104", "launch user 3", "user.spawn 105"]);
    rig.pass(1000);
    rig.expect(["SIGTERM 101", "hup.kill 101", "SIGTERM 103", "user.kill 103"]);
    let sockets = rig.command("listsockets", json!({})).unwrap();
    assert_eq!(sockets["sockets"][0]["port"], 2);
    rig.exit_all(&[101, 103], -15);
    let answer = rig.answer_to(request).unwrap();
    assert_eq!(answer["sockets"], json!([{"name": "web", "change": "replaced", "why": ["port"]}]));
    assert_eq!((rig.running("other"), rig.running("hup")), (vec![102], vec![104]));
    assert_eq!(rig.state("idle"), WatcherState::Stopped);
    rig.assert_quiescent();
}

#[test]
fn options_of_circus_count_at_once() {
    let mut rig = fleet(&["w"]);
    let mut config = file(vec![filed("w", |_| {})]);
    config.circus.check_delay = 0.2;
    config.circus.pidfile = Some("/run/x".into());
    rig.file = Ok(config);
    for applied in [json!(["check_delay"]), json!([])] {
        let answer = rig.command("reloadconfig", json!({})).unwrap();
        assert_eq!(answer["circus"], json!({"applied": applied, "needs_restart": ["pidfile"]}));
    }
    rig.expect(["take over done"]);
    for pid in 101..110 {
        rig.exit(pid, 1);
        rig.pass(221);
        assert_eq!(rig.running("w"), [pid + 1], "the back-off is bounded by the new check_delay");
    }
    rig.assert_quiescent();
}

#[test]
fn repeated_request_is_answered_when_all_is_done() {
    let mut rig = fleet(&["w"]);
    rig.file = Ok(file(vec![filed("w", |w| w.cmd = "y".into())]));
    let requests = [waiting(&mut rig), waiting(&mut rig), waiting(&mut rig)];
    rig.expect(["take over done", "SIGTERM 101", "w.kill 101"]);
    assert!(requests.iter().all(|request| rig.answer_to(*request).is_none()));
    // The answer to a request that does not wait says what there was to do for it.
    let answer = rig.command("reloadconfig", json!({})).unwrap();
    assert_eq!(changes(&answer, "watchers"), json!({"w": "kept"}));
    rig.exit(101, -15);
    let answers = requests.map(|request| changes(&rig.answer_to(request).unwrap(), "watchers"));
    assert_eq!(answers, [json!({"w": "replaced"}), json!({"w": "kept"}), json!({"w": "kept"})]);
    rig.assert_quiescent();
}

#[test]
fn a_watcher_that_returns_waits_for_the_end_of_its_predecessor() {
    let mut rig = fleet(&["a", "b"]);
    let before = rig.file.clone();
    rig.file = Ok(file(vec![filed("b", |_| {})]));
    let first = waiting(&mut rig);
    rig.file = before;
    let second = waiting(&mut rig);
    rig.expect(["take over done", "SIGTERM 101", "a.kill 101", "take over done"]);
    assert_eq!(rig.state("a"), WatcherState::Stopped);
    rig.exit(101, -15);
    rig.expect(["a.reap 101 -15", "a.stop", "launch a", "a.spawn 103", "a.start"]);
    assert!(rig.answer_to(first).is_some() && rig.answer_to(second).is_some());
    rig.assert_quiescent();
}

#[test]
fn a_stop_in_the_middle_has_the_last_word() {
    let mut rig = fleet(&["a", "b"]);
    rig.file = Ok(file(vec![filed("a", |w| w.cmd = "y".into()), filed("b", |w| w.cmd = "y".into())]));
    let request = waiting(&mut rig);
    rig.command("stop", json!({"name": "a"}));
    rig.exit_all(&[101, 102], -15);
    assert_eq!((rig.state("a"), rig.state("b")), (WatcherState::Stopped, WatcherState::Active));
    assert!(rig.answer_to(request).is_some());
    rig.assert_quiescent();
}

#[test]
fn quit_in_the_middle_ends_everything_and_answers() {
    let mut rig = fleet(&["a", "gone"]);
    rig.file = Ok(file(vec![filed("a", |w| w.cmd = "y".into()), filed("fresh", |_| {})]));
    let request = waiting(&mut rig);
    rig.tell(Event::Intent(Intent::Quit));
    let late = waiting(&mut rig);
    assert!(rig.answer_to(late).unwrap()["reason"].as_str().unwrap().contains("arbiter_stop"));
    rig.exit_all(&[101, 102], -15);
    assert!(rig.answer_to(request).is_some());
    assert_eq!(rig.said().last().map(String::as_str), Some("exit 0"));
    assert_eq!(rig.arbiter.pending_answers(), 0);
}

#[test]
fn end_answers_requests_that_wait_for_the_file() {
    let mut rig = fleet(&["w"]);
    rig.hold_files = true;
    let requests = [waiting(&mut rig), waiting(&mut rig)];
    rig.tell(Event::Intent(Intent::Quit));
    for request in requests {
        let expected = json!({"errno": 5, "reason": "reloadconfig was cancelled by quit"});
        assert_eq!(rig.answer_to(request), Some(expected));
    }
    // It comes after all, and is of no interest.
    rig.tell(Event::ConfigLoaded(Ok((Box::new(file(Vec::new())), Vec::new()))));
    rig.tell(Event::TakenOver(Ok(Vec::new())));
    rig.exit(101, -15);
    assert_eq!(rig.said().last().map(String::as_str), Some("exit 0"));
}

#[test]
fn watchers_that_come_while_the_file_is_taken_over_are_seen() {
    let mut rig = fleet(&["w"]);
    rig.hold_files = true;
    let request = waiting(&mut rig);
    let config = file(vec![filed("fresh", |_| {}), filed("w", |_| {})]);
    rig.tell(Event::ConfigLoaded(Ok((Box::new(config), Vec::new()))));
    rig.command("add", json!({"name": "fresh", "cmd": "other", "start": true}));
    rig.command("rm", json!({"name": "w"}));
    rig.exit(101, -15);
    rig.said();
    rig.tell(Event::TakenOver(Ok(Vec::new())));
    rig.exit(102, -15);
    rig.expect([
        "SIGTERM 102",
        "fresh.kill 102",
        "fresh.reap 102 -15",
        "fresh.stop",
        "launch fresh",
        "fresh.spawn 103",
        "fresh.start",
        "launch w",
        "w.spawn 104",
        "w.start",
    ]);
    let answer = rig.answer_to(request).unwrap();
    assert_eq!(changes(&answer, "watchers"), json!({"fresh": "replaced", "w": "added"}));
    rig.assert_quiescent();
}

#[test]
fn watcher_on_demand_waits_at_the_new_socket() {
    let web = |port| SocketConfig { port, ..SocketConfig::new("web") };
    let waits = |name: &str| filed(name, |w| (w.on_demand, w.sockets) = (true, vec!["web".into()]));
    let mut rig = started(Config { sockets: vec![web(1)], ..file(vec![waits("a")]) });
    rig.file = Ok(Config { sockets: vec![web(2)], ..file(vec![waits("a"), waits("b")]) });
    assert!(rig.command("reloadconfig", json!({"waiting": true})).is_some());
    // The old one is not watched any more when it is closed.
    rig.expect(["unwatch web", "take over done", "watch web"]);
    rig.tell(Event::Acceptable("web".into()));
    rig.expect(["unwatch web", "launch a", "a.spawn 101", "a.start", "launch b", "b.spawn 102", "b.start"]);
    rig.assert_quiescent();
}

#[test]
fn a_watcher_on_demand_that_is_stopped_before_it_is_replaced_starts_again() {
    let waits = |dir: &str| {
        filed("a", |w| {
            (w.on_demand, w.sockets, w.priority) = (true, vec!["web".into()], 1);
            w.working_dir = dir.into();
        })
    };
    let of = |watchers| Config { sockets: vec![SocketConfig::new("web")], ..file(watchers) };
    let mut rig = started(of(vec![waits("/old"), filed("first", |_| {})]));
    rig.tell(Event::Acceptable("web".into()));
    assert_eq!((rig.running("first"), rig.running("a")), (vec![101], vec![102]));
    rig.pass(2000);
    rig.file = Ok(of(vec![waits("/new")]));
    rig.send_command("reloadconfig", json!({}));
    // It would be replaced when the other, of a lower priority, has stopped; meanwhile its own worker ends.
    rig.exit(102, 0);
    rig.send_command("stop", json!({"name": "a"}));
    rig.exit(101, -15);
    rig.tell(Event::Acceptable("web".into()));
    assert_eq!(rig.running("a"), [103]);
    rig.assert_quiescent();
}

#[test]
fn watcher_on_demand_waits_once_it_wants_a_process() {
    let waits = |numprocesses| {
        let on_demand = |w: &mut WatcherConfig| (w.on_demand, w.sockets) = (true, vec!["web".into()]);
        let watcher = WatcherConfig { numprocesses, ..filed("w", on_demand) };
        Config { sockets: vec![SocketConfig::new("web")], ..file(vec![watcher]) }
    };
    let mut rig = started(waits(0));
    rig.file = Ok(waits(1));
    assert!(rig.command("reloadconfig", json!({"waiting": true})).is_some());
    rig.expect(["take over done", "watch web"]);
    // The file moves the socket only, which replaces the workers of watchers that have some; and it wants two again.
    rig.command("decr", json!({"name": "w"}));
    rig.expect(["unwatch web"]);
    let mut moved = waits(2);
    moved.sockets[0].port = 2;
    rig.file = Ok(moved);
    assert!(rig.command("reloadconfig", json!({"waiting": true})).is_some());
    rig.expect(["take over done", "watch web"]);
    rig.assert_quiescent();
}

#[test]
fn options_that_count_at_once_restart_nothing() {
    let mut rig = fleet(&["w"]);
    // A client has changed another option and the number: both stay.
    rig.command("set", json!({"name": "w", "options": {"max_retry": 7, "numprocesses": 2}}));
    rig.said();
    rig.file = Ok(file(vec![filed("w", |w| {
        (w.graceful_timeout, w.priority) = (1.0, 5);
        w.freeform.insert("colour".into(), "blue".into());
    })]));
    let answer = rig.command("reloadconfig", json!({"waiting": true})).unwrap();
    let expected = json!([{"name": "w", "change": "adjusted", "why": ["graceful_timeout", "priority", "colour"]}]);
    assert_eq!(answer["watchers"], expected);
    rig.expect(["take over done", "w.updated", "w.updated", "w.updated"]);
    assert_eq!(rig.running("w"), [101, 102]);
    let keys = ["graceful_timeout", "priority", "max_retry", "colour"];
    let options = rig.command("get", json!({"name": "w", "keys": keys})).unwrap()["options"].take();
    assert_eq!(options, json!({"graceful_timeout": 1.0, "priority": 5, "max_retry": 7, "colour": "blue"}));
    // A worker that is being stopped gets the new graceful_timeout, too.
    rig.command("kill", json!({"name": "w"}));
    rig.said();
    rig.file = Ok(file(vec![filed("w", |w| (w.graceful_timeout, w.numprocesses) = (0.2, 1))]));
    rig.command("reloadconfig", json!({}));
    rig.said();
    rig.pass(200);
    assert!(rig.said().contains(&"SIGKILL 102 tree".to_owned()));
    rig.assert_quiescent();
}

#[test]
fn number_set_for_a_singleton_outlives_another_option() {
    let single = |w: &mut WatcherConfig| w.singleton = true;
    let numprocesses = |rig: &mut Rig| rig.command("get", json!({"name": "w", "keys": ["numprocesses"]})).unwrap();
    let mut rig = Rig::new(vec![filed("w", single)]);
    rig.command("set", json!({"name": "w", "options": {"numprocesses": 0}}));
    rig.file = Ok(file(vec![filed("w", |w| (w.singleton, w.graceful_timeout) = (true, 1.0))]));
    rig.command("reloadconfig", json!({"waiting": true}));
    assert_eq!(numprocesses(&mut rig), json!({"options": {"numprocesses": 0}}));
    // One that the file makes a singleton has no more than one process.
    let mut rig = fleet(&["w"]);
    rig.command("set", json!({"name": "w", "options": {"numprocesses": 2}}));
    rig.file = Ok(file(vec![filed("w", single)]));
    rig.command("reloadconfig", json!({}));
    assert_eq!(numprocesses(&mut rig), json!({"options": {"numprocesses": 1}}));
}
