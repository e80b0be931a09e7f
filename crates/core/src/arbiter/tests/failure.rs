//! `respawn = on-failure`, and the status that says why.

use std::time::Duration;

use serde_json::{Value, json};

use super::rig::{Rig, watcher};
use crate::arbiter::{Event, Exit, Pid, WatcherState};
use crate::config::{Hook, Respawn, SocketConfig};
use crate::proto::{HookPoint, SpawnError, Stage};

fn on_failure(numprocesses: u32, success_codes: &[u8]) -> Rig {
    let mut rig = Rig::new(vec![watcher("w", |w| {
        w.numprocesses = numprocesses;
        w.respawn = Respawn::OnFailure;
        w.success_codes = success_codes.to_vec();
    })]);
    rig.pass(2000);
    rig
}

fn details(rig: &mut Rig) -> Value {
    rig.command("status", json!({"name": "w", "verbose": true})).unwrap()["details"].take()
}

#[test]
fn on_failure_replaces_failures_only() {
    let mut rig = on_failure(2, &[0, 3]);
    rig.exit(101, 1);
    rig.expect(["w.reap 101 1", "launch worker 1", "w.spawn 103"]);
    rig.exit(102, -11);
    rig.expect(["w.reap 102 -11", "launch worker 2", "w.spawn 104"]);
    rig.exit(103, 3);
    rig.expect(["w.reap 103 3"]);
    assert_eq!(details(&mut rig)["not_replaced"], json!(1));
    rig.pass(60_000);
    rig.expect([]);
    rig.exit(104, 0);
    rig.expect(["w.reap 104 0", "w.stop"]);
    assert_eq!(
        rig.command("start", json!({"name": "w", "waiting": true})).unwrap()["info"]["started"],
        json!([105, 106])
    );
    rig.assert_quiescent();
}

#[test]
fn nothing_but_the_codes_is_a_success() {
    let mut rig = on_failure(1, &[3]);
    rig.exit(101, 0);
    rig.expect(["w.reap 101 0", "launch worker 1", "w.spawn 102"]);
    rig.assert_quiescent();
}

#[test]
fn an_end_that_was_asked_for_is_made_up_for() {
    let mut rig = on_failure(1, &[0]);
    rig.command("kill", json!({"name": "w"}));
    rig.exit(101, 0);
    rig.expect(["SIGTERM 101", "w.kill 101", "w.reap 101 0", "launch worker 1", "w.spawn 102"]);
    rig.command("reload", json!({"name": "w"}));
    rig.exit(102, 0);
    assert_eq!(rig.running("w"), [103]);
    rig.assert_quiescent();
}

/// The process has not got the signal, so it died by itself: of a young one the successor waits.
#[test]
fn death_after_a_signal_that_was_not_sent_was_not_asked_for() {
    let signal = json!({"name": "w", "signum": 10});
    let next = |rig: &mut Rig| {
        rig.exit(101, 3);
        rig.said().iter().any(|said| said == "launch worker 1")
    };
    let mut sent = Rig::new(vec![watcher("w", |_| {})]);
    sent.command("signal", signal.clone());
    assert!(next(&mut sent));
    let mut refused = Rig::new(vec![watcher("w", |_| {})]);
    refused.refuses_signals = true;
    let asked = refused.send_command("signal", signal.clone());
    assert_eq!(refused.answer_to(asked).unwrap()["reason"], "Operation not permitted");
    assert!(!next(&mut refused));
    let mut kept_back = Rig::new(vec![watcher("w", |w| {
        let hook = Hook { run: "exec:answer".into(), ignore_failure: false };
        w.hooks.insert(HookPoint::BeforeSignal, hook);
    })]);
    kept_back.send_command("signal", signal);
    kept_back.hook(Ok(false));
    assert!(!next(&mut kept_back));
    // Children are no worker.
    let mut children = Rig::new(vec![watcher("w", |_| {})]);
    children.command("signal", json!({"name": "w", "signum": 10, "children": true}));
    assert!(!next(&mut children));
}

#[test]
fn failures_at_once_wait_as_ever() {
    let mut rig = on_failure(1, &[0]);
    rig.exit(101, 2);
    rig.exit(102, 2);
    rig.said();
    rig.pass(89);
    rig.expect([]);
    rig.pass(22);
    rig.expect(["launch worker 1", "w.spawn 103"]);
    // Success counts, however young.
    rig.exit(103, 0);
    assert_eq!(rig.state("w"), WatcherState::Stopped);
    rig.assert_quiescent();
}

#[test]
fn status_says_what_is_backing_off_and_why() {
    let mut rig = Rig::fleet(1);
    for pid in 101..104 {
        rig.exit(pid, -11);
        rig.pass(if pid == 103 { 100 } else { 1000 });
    }
    let details = details(&mut rig);
    let row = &details["backing_off"][0];
    assert_eq!((&row["wid"], &row["times"], &row["exit_code"]), (&json!(1), &json!(3), &json!(-11)));
    let (wait, left) = (row["wait"].as_f64().unwrap(), row["left"].as_f64().unwrap());
    assert!((0.36..0.44).contains(&wait) && (wait - left - 0.1).abs() < 1e-6, "{wait} {left}");
    assert_eq!((&details["wanted"], &details["running"]), (&json!(1), &json!(0)));
    assert_eq!((&details["spawned"], &details["reaped"], &details["failed"]), (&json!(3), &json!(3), &json!(0)));
    assert_eq!((&details["last_exit"]["pid"], &details["last_exit"]["exit_code"]), (&json!(103), &json!(-11)));
    assert_eq!(details["last_failure"], json!(null));
    rig.assert_quiescent();
}

#[test]
fn status_says_which_stage_failed_and_why() {
    let mut rig = Rig::new(vec![watcher("w", |w| (w.autostart, w.max_retry) = (false, 1))]);
    rig.failures = vec![SpawnError { stage: Stage::Chdir, errno: 2, detail: "/nope".into() }];
    rig.command("start", json!({"name": "w"}));
    let failure = details(&mut rig)["last_failure"].take();
    let expected = json!({"stage": "chdir", "errno": 2, "error": "ENOENT", "detail": "/nope", "wid": 1});
    for key in ["stage", "errno", "error", "detail", "wid"] {
        assert_eq!(failure[key], expected[key], "{key}");
    }
    // A failure that may mend itself is tried again, and is why a place waits.
    rig.fail(1, 11);
    rig.command("start", json!({"name": "w"}));
    let row = details(&mut rig)["backing_off"][0].take();
    assert_eq!((&row["stage"], &row["error"], &row["times"]), (&json!("exec"), &json!("EAGAIN"), &json!(1)));
    rig.assert_quiescent();
}

#[test]
fn failed_starts_are_logged_once_and_when_given_up() {
    let mut rig = Rig::new(vec![watcher("w", |w| {
        w.autostart = false;
        w.declared = Some("circus.ini:3".into());
    })]);
    rig.failures = vec![SpawnError { stage: Stage::Exec, errno: 2, detail: "uvicorn".into() }; 5];
    rig.command("start", json!({"name": "w"}));
    let logs = rig.logs();
    let warnings: Vec<&String> = logs.iter().filter(|line| line.contains("error in 'w'")).collect();
    assert!(warnings[0].contains("it was looked for in /bin:/usr/bin: copy_env = True"), "{logs:#?}");
    let end = "; given up after 5 failed starts in a row wid=1 stage=exec at=circus.ini:3";
    assert!(warnings.last().unwrap().ends_with(end), "{logs:#?}");
    assert_eq!(warnings.len(), 2, "{logs:#?}");
    let failure = details(&mut rig)["last_failure"].take();
    assert!(failure["hint"].as_str().is_some_and(|hint| hint.starts_with("it was looked for in ")), "{failure}");
}

#[test]
fn processor_time_of_ended_workers_is_added_up() {
    let mut rig = Rig::fleet(2);
    let exit = |pid, millis| Exit { cpu: Duration::from_millis(millis), ..Exit::new(Pid(pid), 1) };
    rig.tell(Event::Exited(vec![exit(101, 1500)]));
    rig.tell(Event::Exited(vec![exit(102, 250)]));
    assert_eq!(details(&mut rig)["ended_cpu_time"], json!(1.75));
}

#[test]
fn early_exit_with_success_hints_at_daemonizing() {
    let mut rig = Rig::fleet(1);
    rig.exit(101, 0);
    let logs = rig.logs();
    let line = logs.iter().find(|line| line.contains("worker exited too soon")).unwrap();
    assert!(line.contains("run it in the foreground"), "{line}");
    rig.pass(1000);
    rig.exit(102, 1);
    assert!(!rig.logs().iter().any(|line| line.contains("foreground")), "a failure has other causes");
}

#[test]
fn status_says_what_is_waited_for() {
    let on_demand = watcher("w", |w| (w.on_demand, w.stdin_socket) = (true, Some("web".into())));
    let mut rig = Rig::with_sockets(vec![on_demand], Default::default(), vec![SocketConfig::new("web")]);
    rig.settle();
    let before = details(&mut rig);
    assert_eq!(
        (&before["waits_for"], &before["rests"], &before["state"]),
        (&json!(["web"]), &json!(null), &json!("stopped"))
    );
    rig.hold_proofs = true;
    rig.command("start", json!({"name": "w"}));
    assert_eq!(details(&mut rig)["waits_for"], json!(null));
    rig.exit(101, 1);
    assert!(details(&mut rig)["rests"].as_f64().is_some_and(|rest| (0.09..=0.11).contains(&rest)));
    let all = rig.command("status", json!({"verbose": true})).unwrap();
    assert_eq!((&all["statuses"]["w"], &all["details"]["w"]["spawned"]), (&json!("stopped"), &json!(1)));
    rig.assert_quiescent();
}

#[test]
fn restarts_count_unexpected_exits() {
    let mut rig = on_failure(2, &[0]);
    let counts = |rig: &mut Rig| {
        let details = details(rig);
        let pids: Vec<i64> =
            details["processes"].as_array().unwrap().iter().map(|row| row["pid"].as_i64().unwrap()).collect();
        (details["restarts"].as_u64().unwrap(), pids)
    };
    assert_eq!(counts(&mut rig), (0, vec![101, 102]));
    rig.pass(5000);
    rig.exit(101, 1);
    assert_eq!(counts(&mut rig), (1, vec![102, 103]));
    let details_now = details(&mut rig);
    let ages: Vec<f64> =
        details_now["processes"].as_array().unwrap().iter().map(|row| row["uptime"].as_f64().unwrap()).collect();
    assert!(ages[0] >= 5.0 && ages[1] < 1.0 && details_now["uptime"].as_f64() >= Some(ages[0]), "{details_now}");
    // A success is not replaced, and what is asked for is no restart.
    rig.exit(102, 0);
    assert_eq!(counts(&mut rig), (1, vec![103]));
    rig.command("stop", json!({"name": "w"}));
    rig.exit(103, -15);
    assert_eq!(counts(&mut rig), (1, vec![]));
    assert_eq!(details(&mut rig)["uptime"], Value::Null);
    rig.assert_quiescent();
}
