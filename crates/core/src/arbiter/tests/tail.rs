//! Questions about what workers print, from the request to the answer.

use serde_json::{Value, json};

use super::rig::{Rig, watcher};
use crate::arbiter::{Event, WatcherState};
use crate::config::{StreamConfig, WatcherConfig};
use crate::proto::{KeptLine, Tail};

fn with_stream(name: &str, change: impl FnOnce(&mut WatcherConfig)) -> WatcherConfig {
    watcher(name, |watcher| {
        watcher.stdout_stream = Some(StreamConfig { class: "MemoryStream".into(), options: Default::default() });
        change(watcher);
    })
}

fn reason(answer: Option<Value>) -> String {
    answer.expect("there is an answer")["reason"].as_str().expect("it is refused").to_owned()
}

#[test]
fn tail_passes_on_what_the_output_answers() {
    let mut rig = Rig::new(vec![with_stream("My App", |_| {})]);
    let first = rig.send_command("tail", json!({"name": "my app", "lines": 5}));
    let second = rig.send_command("tail", json!({"name": "MY APP"}));
    rig.expect(["tail 5 of My App stdout", "tail 10 of My App stdout"]);
    assert_eq!(rig.answer_to(first), None);
    let lines = vec![KeptLine { pid: 101, wid: 1, time: 2.5, line: "hello".into() }];
    let tail = Tail { lines, cursor: 6, missed: 1, next: 3, began: 1.5 };
    let [one, two] = rig.tails[..] else { panic!("two questions") };
    rig.tell(Event::Tailed { job: two, tail: Tail::default() });
    rig.tell(Event::Tailed { job: one, tail: tail.clone() });
    rig.tell(Event::Tailed { job: one, tail });
    let line = json!({"pid": 101, "wid": 1, "time": 2.5, "line": "hello"});
    let answer = json!({"name": "my app", "stream": "stdout", "lines": [line], "cursor": 6, "missed": 1, "next": 3,
                        "began": 1.5});
    assert_eq!(rig.answer_to(first), Some(answer));
    assert_eq!(rig.answer_to(second).unwrap()["lines"], json!([]));
    rig.assert_quiescent();
}

#[test]
fn what_does_not_pass_through_circusd_cannot_be_shown() {
    let mut rig = Rig::new(vec![
        watcher("bare", |_| {}),
        with_stream("closed", |w| w.close_child_stdout = true),
        with_stream("off", |w| w.tail_bytes = 0),
    ]);
    assert_eq!(reason(rig.command("tail", json!({"name": "absent"}))), "program absent not found");
    assert!(reason(rig.command("tail", json!({"name": "bare"}))).starts_with("bare has no stdout_stream"));
    assert!(reason(rig.command("tail", json!({"name": "closed"}))).starts_with("closed has no stdout_stream"));
    let stderr = json!({"name": "off", "stream": "stderr"});
    assert!(reason(rig.command("tail", stderr)).starts_with("off has no stderr_stream"));
    assert!(reason(rig.command("tail", json!({"name": "off"}))).ends_with("its tail_bytes is 0"));
    rig.expect([]);
    rig.send_command("tail", json!({"name": "off", "lines": 0}));
    rig.expect(["tail 0 of off stdout"]);
}

#[test]
fn end_answers_tails_that_wait() {
    let mut rig = Rig::new(vec![with_stream("w", |_| {})]);
    let waits = rig.send_command("tail", json!({"name": "w"}));
    rig.command("quit", json!({}));
    rig.exit(101, 0);
    assert_eq!(rig.state("w"), WatcherState::Stopped);
    assert_eq!(reason(rig.answer_to(waits)), "arbiter is already running arbiter_stop command");
    let late = rig.tails[0];
    rig.tell(Event::Tailed { job: late, tail: Tail::default() });
    let refused = rig.command("tail", json!({"name": "w"}));
    assert_eq!(reason(refused), "arbiter is already running arbiter_stop command");
}
