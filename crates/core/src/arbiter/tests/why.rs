//! `why`: what went wrong in a watcher, and what its worker has printed last.

use serde_json::{Value, json};

use super::rig::{Rig, watcher};
use crate::arbiter::{Event, Exit, Pid};
use crate::config::{Respawn, StreamConfig, WatcherConfig};
use crate::proto::{KeptLine, SpawnError, Stage, Tail};

fn texts(rig: &mut Rig, name: &str) -> Vec<String> {
    let answer = rig.command("why", json!({"name": name})).expect("it is answered");
    let events = answer["events"].as_array().expect("it lists events");
    events.iter().map(|event| event["text"].as_str().unwrap().to_owned()).collect()
}

fn stream() -> StreamConfig {
    StreamConfig { class: "MemoryStream".into(), options: Default::default() }
}

fn line(pid: i32, time: f64, line: &str) -> KeptLine {
    KeptLine { pid, wid: 1, time, line: line.into() }
}

#[test]
fn watcher_that_does_as_it_is_told_has_nothing_to_tell() {
    let mut rig = Rig::fleet(2);
    rig.pass(2000);
    rig.command("restart", json!({"name": "w"}));
    rig.exit_all(&[101, 102], 0);
    rig.pass(2000);
    let answer = rig.command("why", json!({"name": "W"})).unwrap();
    assert_eq!(
        answer,
        json!({"name": "w", "state": "active", "health": "ready", "reason": null, "restarts": 0, "events": [],
               "worker": null, "output_kept": false, "lines": []})
    );
    let unknown = rig.command("why", json!({"name": "x"})).unwrap();
    assert_eq!(unknown["reason"], "program x not found");
}

#[test]
fn death_for_lack_of_memory_is_called_that_in_why_status_and_the_event() {
    let mut rig = Rig::new(vec![watcher("w", |w: &mut WatcherConfig| w.respawn = Respawn::Never)]);
    rig.pass(2000);
    rig.alive.clear();
    rig.tell(Event::Exited(vec![Exit { oom: true, ..Exit::new(Pid(101), -9) }]));
    let told = texts(&mut rig, "w");
    let expected = "worker 1 (pid 101) was ended by SIGKILL after 2.0 s, by the kernel because memory ran out in its \
                    control group (memory_max) or on the machine";
    assert_eq!(told[0], expected);
    let events = rig.command("why", json!({"name": "w"})).unwrap()["events"][0].clone();
    assert_eq!(events["oom"], true);
    let status = rig.command("status", json!({"name": "w", "verbose": true})).unwrap();
    assert_eq!(status["details"]["last_exit"]["oom"], true, "{status}");
    assert!(rig.logs().iter().any(|line| line.ends_with("asked=no oom=yes")));
    let bodies = rig.said();
    assert!(bodies.contains(&"w.reap 101 -9 true".to_owned()), "{bodies:?}");
}

#[test]
fn deaths_starts_that_fail_and_stops_are_told_in_order() {
    let mut rig = Rig::new(vec![watcher("w", |w: &mut WatcherConfig| w.max_retry = 2)]);
    rig.pass(2000);
    rig.exit(101, 3);
    rig.exit(102, -11);
    let nope = SpawnError { stage: Stage::Chdir, errno: 2, detail: "/nope".into() };
    rig.failures = vec![nope.clone(), nope];
    rig.pass(200);
    let chdir = "worker 1 could not be started: failed to change to the working directory: /nope ([Errno 2] No such file \
                 or directory)";
    let told = texts(&mut rig, "w");
    assert_eq!(told[0], "worker 1 (pid 101) exited with status 3 after 2.0 s");
    assert!(
        told[1].starts_with("worker 1 (pid 102) was ended by SIGSEGV after 0 ms; the next start waited "),
        "{told:?}"
    );
    assert_eq!(told[2..], [format!("{chdir}, 2 times; given up"), format!("stopped: {chdir}")]);
    rig.command("start", json!({"name": "w"}));
    assert_eq!(texts(&mut rig, "w").last().map(String::as_str), Some("started"));
}

#[test]
fn worker_that_had_to_be_killed_and_a_watcher_that_waits_are_told() {
    let mut rig = Rig::new(vec![
        watcher("db", |w| w.autostart = false),
        watcher("web", |w| w.after = vec!["db".into()]),
        watcher("deaf", |_| {}),
    ]);
    rig.command("stop", json!({"name": "deaf"}));
    rig.pass(6000);
    assert_eq!(
        texts(&mut rig, "deaf"),
        ["worker 1 (pid 101) did not stop within 5 s (graceful_timeout) and was killed"]
    );
    rig.exit(101, -9);
    assert_eq!(texts(&mut rig, "deaf").last().map(String::as_str), Some("stopped as it was told to"));
    assert_eq!(texts(&mut rig, "web"), ["waits for db (disabled)"]);
}

#[test]
fn last_lines_are_those_of_the_worker_that_died() {
    let mut rig = Rig::new(vec![watcher("w", |w| {
        w.stdout_stream = Some(stream());
        w.stderr_stream = Some(stream());
        w.respawn = Respawn::Never;
    })]);
    rig.exit(101, 1);
    rig.said();
    let request = rig.send_command("why", json!({"name": "w"}));
    rig.expect(["tail 1000 of w stdout", "tail 1000 of w stderr"]);
    let [out, err] = rig.tails[..] else { panic!("two questions") };
    assert_eq!(rig.answer_to(request), None);
    let tail = |lines| Tail { lines, ..Tail::default() };
    rig.tell(Event::Tailed { job: err, tail: tail(vec![line(101, 2.0, &"x".repeat(900))]) });
    rig.tell(Event::Tailed { job: err, tail: tail(vec![line(101, 2.0, "twice")]) });
    let lines =
        (0..20).map(|second| line(if second < 2 { 99 } else { 101 }, f64::from(second) / 20.0, "out")).collect();
    rig.tell(Event::Tailed { job: out, tail: tail(lines) });
    let answer = rig.answer_to(request).unwrap();
    assert_eq!((&answer["worker"], &answer["output_kept"]), (&json!({"wid": 1, "pid": 101}), &json!(true)));
    let lines = answer["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 10);
    assert!(lines.iter().all(|line| line["pid"] == 101));
    let last = lines.last().unwrap();
    assert_eq!((&last["stream"], last["line"].as_str().map(str::len)), (&json!("stderr"), Some(500)));
    rig.assert_quiescent();
}

#[test]
fn end_of_circusd_answers_with_what_there_is() {
    let mut rig = Rig::new(vec![watcher("w", |w| w.stderr_stream = Some(stream()))]);
    rig.exit(101, -6);
    let waits = rig.send_command("why", json!({"name": "w"}));
    rig.command("quit", json!({}));
    rig.exit_all(&rig.alive.clone(), 0);
    let answer = rig.answer_to(waits).expect("it is answered");
    assert_eq!((&answer["events"][0]["signal"], &answer["lines"]), (&json!("SIGABRT"), &Value::Array(Vec::new())));
}

#[test]
fn history_and_questions_outlive_an_upgrade() {
    let mut rig = Rig::new(vec![watcher("w", |w| w.stderr_stream = Some(stream()))]);
    rig.exit(101, -6);
    rig.said();
    let waits = rig.send_command("why", json!({"name": "w"}));
    rig.said();
    rig.hand_over();
    rig.expect(["tail 1000 of w stderr"]);
    let job = *rig.tails.last().unwrap();
    rig.tell(Event::Tailed { job, tail: Tail { lines: vec![line(101, 1.0, "oh")], ..Tail::default() } });
    let answer = rig.answer_to(waits).unwrap();
    assert_eq!((&answer["events"][0]["signal"], &answer["lines"][0]["line"]), (&json!("SIGABRT"), &json!("oh")));
}
