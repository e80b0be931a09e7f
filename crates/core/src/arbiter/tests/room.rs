//! What could never be started is refused when it is asked for.

use serde_json::{Value, json};

use super::rig::{Rig, watcher};
use crate::config::{Limit, Room, StreamConfig};

fn limit(most: u64, name: &str) -> Option<Limit> {
    Some(Limit { most, name: name.into() })
}

/// Two watchers of two workers, with a stream each.
fn rig(room: Room) -> Rig {
    let with_stream = |name| {
        watcher(name, |w| {
            w.numprocesses = 2;
            w.stdout_stream = Some(StreamConfig { class: "MemoryStream".into(), options: [].into() });
        })
    };
    Rig::with_room(vec![with_stream("a"), with_stream("b")], room)
}

fn reason(answer: Option<Value>) -> String {
    answer.unwrap()["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn more_processes_than_the_machine_allows_are_refused() {
    let mut rig = rig(Room { processes: limit(6, "RLIMIT_NPROC"), ..Room::default() });
    let refused = "a: 5 workers cannot be started: 7 processes are wanted in all, and RLIMIT_NPROC allows 6";
    assert_eq!(reason(rig.command("incr", json!({"name": "a", "nb": 3}))), refused);
    assert_eq!(reason(rig.command("set", json!({"name": "a", "options": {"numprocesses": 5}}))), refused);
    let add = json!({"name": "c", "cmd": "x", "start": true, "options": {"numprocesses": 3}});
    assert_eq!(
        reason(rig.command("add", add)),
        "c: 3 workers cannot be started: 7 processes are wanted in all, and RLIMIT_NPROC allows 6"
    );
    assert_eq!(rig.command("incr", json!({"name": "a", "nb": 2})), Some(json!({})));
    // Those of a watcher that has stopped make room, and fewer are always possible.
    rig.command("decr", json!({"name": "a"}));
    rig.exit(101, 0);
    rig.command("stop", json!({"name": "b"}));
    rig.exit_all(&[103, 104], -15);
    assert_eq!(rig.command("incr", json!({"name": "a", "nb": 3})), Some(json!({})));
    rig.assert_quiescent();
}

#[test]
fn more_pipes_than_circusd_may_have_are_refused() {
    let mut rig = rig(Room { descriptors: limit(5, "RLIMIT_NOFILE"), ..Room::default() });
    assert_eq!(
        reason(rig.command("incr", json!({"name": "a", "nb": 2}))),
        "a: 4 workers cannot be started: 6 descriptors for output are wanted in all, and RLIMIT_NOFILE allows 5"
    );
    assert_eq!(rig.command("incr", json!({"name": "a"})), Some(json!({})));
    // Workers without a stream of their own take none.
    let add = json!({"name": "c", "cmd": "x", "start": true, "options": {"numprocesses": 30}});
    assert_eq!(reason(rig.command("add", add)), "");
    rig.assert_quiescent();
}

#[test]
fn ten_thousand_watchers_are_enough() {
    let mut rig = Rig::new(Vec::new());
    for number in 0..10_000 {
        // Each request would look at all of them.
        rig.arbiter.fleet.register_dynamic(watcher(&format!("w{number}"), |_| {}));
    }
    let more = rig.command("add", json!({"name": "more", "cmd": "x"}));
    assert_eq!(reason(more), "there are 10000 watchers, and there can be no more");
    rig.command("rm", json!({"name": "w7"}));
    assert_eq!(reason(rig.command("add", json!({"name": "more", "cmd": "x"}))), "");
}
