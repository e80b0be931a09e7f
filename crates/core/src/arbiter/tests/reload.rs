//! Ways to replace workers: `reload`, and `max_age`.

use serde_json::json;

use super::rig::{Rig, watcher};
use crate::config::{CircusConfig, ReloadMode, SocketConfig, WatcherConfig};

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
    rig.expect(["w.reap 101 -15", "launch worker 1", "w.spawn 103", "SIGTERM 102", "w.kill 102"]);
    rig.exit(102, -15);
    rig.expect(["w.reap 102 -15", "launch worker 2", "w.spawn 104", "w.reload"]);
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
        (|_| {}, &["launch worker 2", "w.spawn 102", "SIGTERM 101", "w.kill 101"]),
        (|w| w.send_hup = true, &["SIGHUP 101", "w.reload"]),
        (|w| w.reload = Some(ReloadMode::Hup), &["SIGHUP 101", "w.reload"]),
        (|w| w.singleton = true, &["SIGTERM 101", "w.kill 101"]),
        (|w| (w.send_hup, w.reload) = (true, Some(ReloadMode::Exclusive)), &["SIGTERM 101", "w.kill 101"]),
    ];
    for (change, expected) in cases {
        let mut rig = rig(change);
        rig.command("reload", json!({"name": "w"}));
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
    rig.expect(["launch worker 3", "w.spawn 103", "SIGTERM 101", "w.kill 101"]);
    rig.pass(3000);
    rig.expect([]);
    rig.exit(101, -15);
    rig.expect(["w.reap 101 -15"]);
    rig.pass(500);
    rig.expect(["launch worker 1", "w.spawn 104", "SIGTERM 102", "w.kill 102"]);
    rig.assert_quiescent();
}

#[test]
fn worker_of_age_stays_while_its_successor_cannot_run() {
    let mut rig = aging(None);
    rig.fail(2, 11);
    rig.pass(10_000);
    assert_eq!(rig.running("w"), [101, 102]);
    rig.pass(1000);
    assert_eq!(rig.running("w"), [102, 103]);
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
