//! Questions about what processes use, from the request to the answer.

use serde_json::{Value, json};

use super::rig::{Rig, watcher};
use crate::arbiter::{Event, WatcherState};

/// Only what the scenarios speak of: the figures of a process become what it calls itself, its number and its start.
fn brief(answer: Option<Value>) -> Value {
    fn shorten(value: &mut Value) {
        if let Some(command) = value.get("cmdline").and_then(Value::as_str) {
            let ours = [value.get("wid"), value.get("started")].map(|own| own.map_or("-".into(), Value::to_string));
            *value = format!("{command} {} {}", ours[0], ours[1]).into();
        } else if let Value::Object(object) = value {
            object.values_mut().for_each(shorten);
        }
    }
    let mut answer = answer.expect("there is an answer");
    shorten(&mut answer);
    answer
}

fn two_watchers() -> Rig {
    Rig::new(vec![
        watcher("My App", |w| w.numprocesses = 2),
        watcher("off", |w| w.autostart = false),
        watcher("solo", |_| {}),
    ])
}

const GONE: &str = "No such process (stopped?)";

#[test]
fn stats_of_all_are_grouped_by_watcher() {
    let mut rig = two_watchers();
    let id = rig.send_command("stats", json!({}));
    rig.expect(["look at 101 102 103"]);
    assert_eq!(rig.answer_to(id), None);
    rig.look();
    let infos = json!({"My App": {"101": "worker-101 1 1000.0", "102": "worker-102 2 1000.0"}, "off": {},
                       "solo": {"103": "worker-103 1 1000.0"}});
    assert_eq!(brief(rig.answer_to(id)), json!({ "infos": infos }));
    rig.assert_quiescent();
}

#[test]
fn one_watcher_and_one_process() {
    let mut rig = two_watchers();
    rig.pass(2500);
    rig.exit(102, -9);
    rig.said();
    let one = rig.send_command("stats", json!({"name": "MY app", "extended": true}));
    rig.expect(["look at 101 104"]);
    rig.look();
    let info = json!({"101": "worker-101 1 1000.0", "104": "worker-104 2 1002.5"});
    assert_eq!(brief(rig.answer_to(one)), json!({"name": "MY app", "info": info}));
    let process = rig.send_command("stats", json!({"name": "my app", "process": "104"}));
    rig.expect(["look at 104"]);
    rig.look();
    assert_eq!(brief(rig.answer_to(process)), json!({"process": "104", "info": "worker-104 2 1002.5"}));
    rig.assert_quiescent();
}

#[test]
fn the_daemon_itself() {
    let mut rig = two_watchers();
    let id = rig.send_command("dstats", json!({}));
    rig.expect(["look at circusd"]);
    rig.look();
    assert_eq!(brief(rig.answer_to(id)), json!({"info": "circusd - -"}));
    rig.assert_quiescent();
}

#[test]
fn stats_without_processes_are_answered_at_once() {
    let mut rig = two_watchers();
    assert_eq!(rig.command("stats", json!({"name": "off"})), Some(json!({"name": "off", "info": {}})));
    for (properties, reason) in [
        (json!({"name": "nope"}), "program nope not found"),
        (json!({"name": "nope", "process": 1}), "program nope not found"),
        (json!({"name": "solo", "process": 1}), "process 1 not found in 'solo'"),
        (json!({"name": "Solo", "process": "101"}), "process '101' not found in 'Solo'"),
    ] {
        assert_eq!(rig.command("stats", properties), Some(json!({"errno": 3, "reason": reason})));
    }
    rig.expect([]);
    rig.assert_quiescent();
}

#[test]
fn stats_say_that_a_process_has_gone() {
    let mut rig = two_watchers();
    rig.pass(2000);
    let all = rig.send_command("stats", json!({"name": "my app"}));
    rig.exit(101, -9);
    rig.look();
    let info = json!({"101": GONE, "102": "worker-102 2 1000.0"});
    assert_eq!(brief(rig.answer_to(all)), json!({"name": "my app", "info": info}));
    let one = rig.send_command("stats", json!({"name": "solo", "process": 103}));
    rig.exit(103, -9);
    rig.look();
    assert_eq!(rig.answer_to(one), Some(json!({"process": 103, "info": GONE})));
    rig.assert_quiescent();
}

#[test]
fn a_newcomer_with_the_pid_of_the_dead_is_not_shown_for_it() {
    let mut rig = two_watchers();
    rig.pass(2000);
    let id = rig.send_command("stats", json!({"name": "solo"}));
    rig.exit(103, -9);
    // Another process, by the time of the look.
    rig.alive.push(103);
    rig.look();
    rig.alive.retain(|pid| *pid != 103);
    assert_eq!(rig.answer_to(id), Some(json!({"name": "solo", "info": {"103": GONE}})));
    rig.assert_quiescent();
}

#[test]
fn watcher_may_go_while_its_processes_are_sampled() {
    let mut rig = two_watchers();
    let asked = rig.send_command("stats", json!({"name": "solo"}));
    let waits = rig.send_command("stats", json!({"name": "solo"}));
    rig.command("rm", json!({"name": "solo"}));
    rig.exit(103, -15);
    rig.look();
    assert_eq!(rig.answer_to(asked), Some(json!({"name": "solo", "info": {"103": GONE}})));
    let gone = json!({"errno": 3, "reason": "program solo not found"});
    assert_eq!(rig.answer_to(waits), Some(gone), "its turn came when there was no such watcher");
    rig.assert_quiescent();
}

#[test]
fn stats_requests_take_turns_and_hold_up_no_other() {
    let mut rig = two_watchers();
    let first = rig.send_command("stats", json!({}));
    let second = rig.send_command("stats", json!({"name": "solo"}));
    let third = rig.send_command("dstats", json!({}));
    rig.expect(["look at 101 102 103"]);
    assert!(rig.command("status", json!({})).is_some());
    assert_eq!(rig.arbiter.pending_answers(), 3);
    rig.look();
    rig.expect(["look at 103"]);
    assert!(rig.answer_to(first).is_some() && rig.answer_to(second).is_none());
    rig.look();
    rig.expect(["look at circusd"]);
    assert!(rig.answer_to(second).is_some());
    rig.look();
    assert!(rig.answer_to(third).is_some());
    rig.assert_quiescent();
}

#[test]
fn an_answer_to_another_question_is_none() {
    let mut rig = two_watchers();
    let id = rig.send_command("stats", json!({"name": "solo"}));
    let late = crate::arbiter::JobId(4711);
    rig.tell(Event::Sampled { job: late, samples: vec![None] });
    assert_eq!(rig.answer_to(id), None);
    rig.look();
    assert_eq!(brief(rig.answer_to(id)), json!({"name": "solo", "info": {"103": "worker-103 1 1000.0"}}));
    rig.tell(Event::Sampled { job: late, samples: Vec::new() });
    rig.assert_quiescent();
}

#[test]
fn end_answers_stats_requests_that_wait() {
    let mut rig = two_watchers();
    rig.command("quit", json!({}));
    let asked = rig.send_command("stats", json!({}));
    let waits = rig.send_command("dstats", json!({}));
    assert_eq!(rig.state("solo"), WatcherState::Stopping);
    rig.exit_all(&[101, 102, 103], -15);
    assert!(rig.arbiter.has_ended());
    let refused = Some(json!({"errno": 5, "reason": "arbiter is already running arbiter_stop command"}));
    assert_eq!(rig.answer_to(asked), refused);
    assert_eq!(rig.answer_to(waits), refused);
    assert_eq!(rig.command("dstats", json!({})), refused, "no sample is taken any more");
    assert_eq!(rig.arbiter.pending_answers(), 0);
    rig.look();
}
