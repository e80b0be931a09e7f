//! `ready` and `health`: workers that are ready late, never, or not at work any more.

use serde_json::json;

use super::rig::{Rig, watcher};
use crate::arbiter::{Event, Pid, ProbeOutcome, WatcherState, WorkerState};
use crate::config::{WatcherConfig, options};
use crate::proto::{Notification, Object};

/// `w`, with these options.
fn with(options: serde_json::Value) -> WatcherConfig {
    watcher("w", |w| {
        let changes: Object = options.as_object().unwrap().clone();
        options::apply(w, &changes, &Default::default()).unwrap();
    })
}

fn unstarted(options: serde_json::Value) -> Rig {
    let mut rig = Rig::unstarted(vec![with(options), watcher("next", |w| w.priority = -1)], |_| {});
    rig.settle();
    rig
}

impl Rig {
    /// The attempt that has been under way the longest comes to this.
    fn probe(&mut self, outcome: Result<(), &str>) {
        let probe = self.probes.remove(0).id;
        let outcome = outcome.map_or_else(|error| ProbeOutcome::Failed(error.into()), |()| ProbeOutcome::Passed);
        self.tell(Event::Probed { probe, outcome });
    }

    fn notify(&mut self, pid: i32, said: Notification) {
        self.tell(Event::Notified { pid: Pid(pid), said: vec![said] });
    }
}

#[test]
fn a_start_waits_until_the_worker_is_ready() {
    let mut rig = unstarted(json!({"ready": "tcp:127.0.0.1:80"}));
    rig.expect(["launch worker 1", "w.spawn 101", "probe tcp:127.0.0.1:80 of 101"]);
    assert_eq!(rig.state("w"), WatcherState::Starting { spawned: false });
    assert_eq!(rig.arbiter.view("w").unwrap().workers[0].state, WorkerState::Unready);
    rig.probe(Err("connection refused"));
    rig.expect([]);
    rig.pass(500);
    rig.expect(["probe tcp:127.0.0.1:80 of 101"]);
    rig.probe(Ok(()));
    rig.expect(["w.ready 101", "w.start", "launch worker 1", "next.spawn 102", "next.start"]);
    assert!(rig.logs().iter().any(|line| line == "w: worker ready wid=1 pid=101 after=0.500s"));
    rig.assert_quiescent();
}

/// `w` and `other` of one priority, both with a check of readiness, and `next` of a lower one.
fn equals(warmup_delay: f64) -> Rig {
    let ready = || with(json!({"ready": "tcp:127.0.0.1:80", "numprocesses": 2}));
    let other = WatcherConfig { name: "other".into(), numprocesses: 1, ..ready() };
    let watchers = vec![ready(), other, watcher("next", |w| w.priority = -1)];
    let mut rig = Rig::unstarted(watchers, |circus| circus.warmup_delay = warmup_delay);
    rig.settle();
    rig
}

#[test]
fn watchers_of_one_priority_get_ready_side_by_side() {
    let mut rig = equals(0.0);
    let probe = "probe tcp:127.0.0.1:80 of";
    rig.expect([
        "launch worker 1",
        "w.spawn 101",
        &format!("{probe} 101"),
        "launch worker 2",
        "w.spawn 102",
        &format!("{probe} 102"),
        "launch worker 1",
        "other.spawn 103",
        &format!("{probe} 103"),
    ]);
    // The other one is ready first; what is of a lower priority waits for both.
    let last = rig.probes.remove(2);
    rig.tell(Event::Probed { probe: last.id, outcome: ProbeOutcome::Passed });
    rig.expect(["other.ready 103", "other.start"]);
    rig.probe(Ok(()));
    rig.expect(["w.ready 101"]);
    rig.probe(Ok(()));
    rig.expect(["w.ready 102", "w.start", "launch worker 1", "next.spawn 104", "next.start"]);
    rig.assert_quiescent();
}

#[test]
fn watchers_of_one_priority_get_ready_warmup_delay_apart() {
    let mut rig = equals(3.0);
    rig.probe(Err("connection refused"));
    rig.pass(2999);
    assert_eq!(rig.state("other"), WatcherState::Stopped);
    rig.pass(1);
    assert_eq!(rig.state("other"), WatcherState::Starting { spawned: false });
    rig.assert_quiescent();
}

#[test]
fn watchers_reload_one_by_one_however_long_the_first_one_takes_to_be_ready() {
    let mut rig = equals(0.0);
    for _ in 0..3 {
        rig.probe(Ok(()));
    }
    rig.said();
    rig.send_command("reload", json!({}));
    let said = rig.said();
    let launched = said.iter().filter(|said| said.starts_with("launch")).count();
    assert_eq!(launched, 2, "a new version that is never ready takes down one watcher at most: {said:?}");
    rig.assert_quiescent();
}

#[test]
fn request_that_waits_is_answered_when_the_worker_is_ready() {
    let mut rig = unstarted(json!({"ready": "notify", "min_uptime": 100}));
    rig.notify(101, Notification::Ready);
    rig.said();
    let incr = rig.send_command("incr", json!({"name": "w", "nb": 1, "waiting": true}));
    rig.pass(30_000);
    assert_eq!(rig.answer_to(incr), None);
    rig.notify(103, Notification::Status("warming up".into()));
    assert_eq!(rig.answer_to(incr), None);
    rig.notify(103, Notification::Ready);
    assert_eq!(rig.answer_to(incr), Some(json!({"numprocesses": 2})));
    rig.assert_quiescent();
}

#[test]
fn what_is_said_of_a_probe_has_no_arguments() {
    for (probe, shown) in
        [("exec:probe --token x", "exec:probe"), ("http://127.0.0.1/up?token=x", "http://127.0.0.1/up")]
    {
        let mut rig = unstarted(json!({"ready": probe, "ready_timeout": 2, "max_retry": 0}));
        rig.pass(2000);
        rig.exit(101, -15);
        let why = rig.command("why", json!({"name": "w"})).unwrap().to_string();
        let status = rig.command("status", json!({"name": "w", "verbose": true})).unwrap().to_string();
        for said in [why, status] {
            assert!(said.contains(&format!("({shown}: no answer)")) && !said.contains("token"), "{said}");
        }
    }
}

#[test]
fn worker_that_is_not_ready_in_time_is_a_failed_start() {
    let mut rig = unstarted(json!({"ready": "tcp:127.0.0.1:80", "ready_timeout": 2, "max_retry": 2}));
    rig.said();
    let start = rig.send_command("start", json!({"name": "w", "waiting": true}));
    for _ in 0..3 {
        rig.probe(Err("connection refused"));
        rig.pass(500);
    }
    rig.pass(500);
    // The attempt that was under way is ended.
    let said = rig.said();
    assert_eq!(said[said.len() - 3..], ["end probe", "SIGTERM 101", "w.kill 101"]);
    // Until it is gone, nothing is settled.
    assert_eq!(rig.state("w"), WatcherState::Starting { spawned: false });
    rig.exit(101, -15);
    let said = rig.said();
    assert_eq!(said, ["w.reap 101 -15", "launch worker 1", "next.spawn 102", "next.start"], "the next one starts");
    let reason = "w: worker 1 was not ready after 2.0 s (tcp:127.0.0.1:80: connection refused)";
    let answer = rig.answer_to(start).unwrap();
    assert_eq!((&answer["reason"], &answer["failed"][0]["stage"]), (&json!(reason), &json!("ready")));
    rig.pass(120);
    rig.expect(["launch worker 1", "w.spawn 103", "probe tcp:127.0.0.1:80 of 103"]);
    rig.pass(2000);
    rig.exit(103, -15);
    assert_eq!(rig.state("w"), WatcherState::Stopped);
    let status = rig.command("status", json!({"name": "w", "verbose": true})).unwrap();
    assert_eq!(status["details"]["health"], "failed");
    assert_eq!(status["details"]["reason"], "worker 1 was not ready after 2.0 s (tcp:127.0.0.1:80: no answer)");
    rig.assert_quiescent();
}

#[test]
fn old_workers_stay_until_the_new_ones_are_ready() {
    let mut rig = unstarted(json!({"ready": "notify"}));
    rig.notify(101, Notification::Ready);
    rig.said();
    let reload = rig.send_command("reload", json!({"name": "w", "waiting": true}));
    rig.pass(5000);
    assert!(!rig.said().iter().any(|said| said.contains("SIGTERM")), "the old worker was told to stop");
    rig.notify(103, Notification::Ready);
    rig.expect(["w.ready 103"]);
    rig.pass(1000);
    rig.expect(["SIGTERM 101", "w.kill 101"]);
    rig.exit(101, -15);
    assert!(rig.answer_to(reload).unwrap().get("errno").is_none());
    assert_eq!(rig.running("w"), [103]);
    rig.assert_quiescent();
}

#[test]
fn reload_to_a_worker_that_is_never_ready_keeps_the_old_one() {
    let mut rig = unstarted(json!({"ready": "notify", "ready_timeout": 3}));
    rig.notify(101, Notification::Ready);
    rig.said();
    let reload = rig.send_command("reload", json!({"name": "w", "waiting": true}));
    rig.pass(3000);
    let said = rig.said();
    assert!(said.contains(&"SIGTERM 103".to_owned()) && !said.contains(&"SIGTERM 101".to_owned()), "{said:?}");
    let reason = rig.answer_to(reload).unwrap()["reason"].as_str().unwrap().to_owned();
    assert!(reason.ends_with("was not ready after 3.0 s (notify)"), "{reason}");
    rig.exit(103, -15);
    rig.pass(10_000);
    assert_eq!(rig.running("w"), [101]);
    assert!(!rig.said().iter().any(|said| said.starts_with("launch")), "a worker too many");
    rig.assert_quiescent();
}

#[test]
fn stop_ends_the_wait_for_readiness() {
    let mut rig = unstarted(json!({"ready": "exec:check", "ready_timeout": 30}));
    rig.said();
    let stop = rig.send_command("stop", json!({"name": "w", "waiting": true}));
    assert_eq!(rig.said()[..3], ["end probe", "SIGTERM 101", "w.kill 101"]);
    rig.exit(101, -15);
    assert!(rig.answer_to(stop).is_some());
    assert_eq!(rig.state("w"), WatcherState::Stopped);
    rig.assert_quiescent();
}

#[test]
fn worker_that_dies_before_it_is_ready_backs_off_however_long_it_has_lived() {
    let mut rig = unstarted(json!({"ready": "notify", "min_uptime": 1}));
    rig.said();
    rig.pass(5000);
    rig.exit(101, 1);
    assert!(!rig.said().contains(&"launch worker 1".to_owned()) || rig.running("w").is_empty());
    rig.pass(120);
    assert!(rig.said().iter().any(|said| said.starts_with("w.spawn")));
    rig.assert_quiescent();
}

#[test]
fn report_that_comes_before_the_hook_has_answered_counts() {
    let mut config = with(json!({"ready": "notify"}));
    let hook = crate::config::Hook { run: "exec:x".into(), ignore_failure: false };
    config.hooks.insert(crate::proto::HookPoint::AfterSpawn, hook);
    let mut rig = Rig::unstarted(vec![config], |_| {});
    rig.settle();
    rig.said();
    rig.notify(101, Notification::Ready);
    rig.expect([]);
    rig.hook(Ok(true));
    rig.expect(["w.hook_success \"after_spawn\"", "w.spawn 101", "w.ready 101", "w.start"]);
    rig.assert_quiescent();
}

fn healthy(options: serde_json::Value) -> Rig {
    let mut rig = Rig::unstarted(vec![with(options)], |_| {});
    rig.settle();
    rig.said();
    rig
}

#[test]
fn worker_that_fails_its_checks_is_replaced_after_a_pause() {
    let mut rig = healthy(json!({"health": "http://127.0.0.1/", "health_interval": 2, "health_retries": 2}));
    rig.pass(2000);
    rig.expect(["probe http://127.0.0.1/ of 101"]);
    rig.probe(Err("status 503"));
    rig.pass(2000);
    rig.probe(Ok(()));
    rig.pass(2000);
    rig.probe(Err("status 503"));
    rig.pass(2000);
    rig.said();
    // One that does not answer has failed, too.
    rig.pass(5000);
    rig.expect(["end probe", "w.unhealthy 101", "SIGTERM 101", "w.kill 101"]);
    rig.exit(101, -15);
    rig.expect(["w.reap 101 -15"]);
    let status = rig.command("status", json!({"name": "w", "verbose": true})).unwrap();
    let reason = "worker 1 was unhealthy (http://127.0.0.1/: 2 times in a row: no answer within 5 s)";
    assert_eq!(status["details"]["reason"], reason);
    rig.pass(120);
    rig.expect(["launch worker 1", "w.spawn 102"]);
    rig.assert_quiescent();
}

#[test]
fn check_that_cannot_run_is_no_death_and_is_told_once() {
    let mut rig = healthy(json!({"health": "exec:nope", "health_interval": 2, "health_retries": 1}));
    rig.logs();
    for _ in 0..5 {
        rig.pass(2000);
        let probe = rig.probes.remove(0).id;
        rig.tell(Event::Probed { probe, outcome: ProbeOutcome::Unable("no such file".into()) });
    }
    let told: Vec<String> = rig.logs();
    assert_eq!(told, ["w: health check cannot run, the worker is kept wid=1 pid=101 error=\"no such file\""]);
    assert_eq!(rig.running("w"), [101]);
    rig.assert_quiescent();
}

#[test]
fn silent_watchdog_is_replaced_and_a_pinging_one_lives() {
    let mut rig = healthy(json!({"health": "watchdog", "health_interval": 2}));
    for _ in 0..5 {
        rig.pass(1900);
        rig.notify(101, Notification::Ping);
    }
    rig.expect([]);
    rig.notify(101, Notification::WatchdogInterval(std::time::Duration::from_secs(4)));
    rig.pass(3900);
    rig.expect([]);
    rig.pass(200);
    rig.expect(["w.unhealthy 101", "SIGTERM 101", "w.kill 101"]);
    rig.exit(101, -15);
    rig.said();
    rig.pass(120);
    rig.notify(102, Notification::Trigger);
    assert_eq!(rig.said()[2..], ["w.unhealthy 102", "SIGTERM 102", "w.kill 102"]);
    rig.assert_quiescent();
}

#[test]
fn program_that_is_never_well_waits_longer_each_time() {
    let mut rig = healthy(json!({"health": "tcp:127.0.0.1:1", "health_interval": 0.01, "health_retries": 1}));
    let mut pauses = Vec::new();
    for pid in 101..106 {
        rig.pass(10);
        rig.probe(Err("connection refused"));
        rig.exit(pid, -15);
        let status = rig.command("status", json!({"name": "w", "verbose": true})).unwrap();
        pauses.push(status["details"]["backing_off"][0]["wait"].as_f64().unwrap());
        rig.pass(status["details"]["backing_off"][0]["left"].as_f64().map(|s| (s * 1000.0).ceil() as u64).unwrap());
        rig.said();
    }
    assert!(pauses.windows(2).all(|pair| pair[1] > pair[0] * 1.5), "{pauses:?}");
    rig.assert_quiescent();
}

#[test]
fn attempts_are_made_again_after_a_hand_over() {
    let mut rig = unstarted(json!({"ready": "tcp:127.0.0.1:80"}));
    rig.said();
    rig.probes.clear();
    rig.hand_over();
    rig.expect(["probe tcp:127.0.0.1:80 of 101"]);
    rig.probe(Ok(()));
    assert_eq!(rig.state("w"), WatcherState::Active);
    rig.assert_quiescent();
}

#[test]
fn worker_of_an_earlier_circusd_cannot_report_and_counts_as_ready() {
    let config = with(json!({"ready": "notify", "health": "watchdog", "health_interval": 1}));
    let mut rig = Rig::unstarted(vec![config], |_| {});
    rig.hold_launches = true;
    rig.settle();
    rig.said();
    let worker = rig.held.remove(0).worker;
    rig.alive.push(500);
    rig.tell(Event::Adopted { worker, pid: Pid(500) });
    rig.expect(["w.spawn 500", "w.ready 500", "w.start"]);
    rig.pass(60_000);
    rig.expect([]);
    assert_eq!(rig.running("w"), [500]);
    rig.assert_quiescent();
}
