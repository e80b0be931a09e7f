//! Workers by need (`scale`), and which of them may go (`drain`).

use std::time::Duration;

use serde_json::{Value, json};

use super::rig::{Rig, watcher};
use crate::arbiter::{Event, Measured, Pid, ProbeOutcome};
use crate::config::options;
use crate::config::{CircusConfig, Host, SocketConfig, WatcherConfig};

/// `w` with these options, up, with the socket `web`.
fn rig(options: Value) -> Rig {
    let mut config = watcher("w", |w| {
        w.stdin_socket = Some("web".into());
        w.min_uptime = 0.0;
    });
    set(&mut config, options);
    let mut rig = Rig::with_sockets(vec![config], CircusConfig::default(), vec![SocketConfig::new("web")]);
    rig.settle();
    rig.said();
    rig
}

fn set(config: &mut WatcherConfig, options: Value) {
    options::apply(config, options.as_object().unwrap(), &Host::default()).unwrap();
}

fn queue(more: Value) -> Rig {
    let mut options = json!({"scale": "queue", "scale_max": 4});
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rig(options)
}

impl Rig {
    /// The pause is over, and so many connections wait.
    fn wait_with(&mut self, waiting: usize) {
        self.pass(5000);
        self.measured(Ok(Measured::Waiting(waiting)));
    }

    fn measured(&mut self, result: Result<Measured, String>) {
        let watcher = self.counts.pop().expect("nothing is to be measured");
        self.tell(Event::Measured { watcher, result });
    }

    fn probed(&mut self, outcome: ProbeOutcome) {
        let probe = self.probes.remove(0).id;
        self.tell(Event::Probed { probe, outcome });
    }

    #[track_caller]
    fn assert_logged(&mut self, text: &str) {
        let logs = self.logs();
        assert!(logs.iter().any(|line| line == text), "{text:?} is not in {logs:#?}");
    }

    fn wanted(&mut self) -> u64 {
        self.details()["wanted"].as_u64().unwrap()
    }

    fn details(&mut self) -> Value {
        self.command("status", json!({"name": "w", "verbose": true})).unwrap()["details"].take()
    }
}

#[test]
fn without_scale_nothing_is_measured() {
    let mut plain = rig(json!({}));
    plain.pass(1_000_000);
    plain.expect([]);
    assert_eq!(plain.arbiter.next_deadline(), None);
    plain.assert_quiescent();
}

#[test]
fn queue_makes_workers_at_once_and_its_absence_ends_them_after_a_while() {
    let mut rig = queue(json!({"scale_down_after": 12}));
    rig.pass(4999);
    rig.expect([]);
    rig.pass(1);
    rig.expect(["measure Queue([\"web\"])"]);
    rig.measured(Ok(Measured::Waiting(3)));
    rig.expect(["w.scale", "launch worker 2", "w.spawn 102"]);
    rig.assert_logged("w: 1 to 2 workers: 3 connections wait");
    rig.wait_with(3);
    rig.wait_with(3);
    assert_eq!((rig.wanted(), rig.running("w")), (4, vec![101, 102, 103, 104]));
    for _ in 0..3 {
        rig.wait_with(0);
        assert_eq!(rig.wanted(), 4);
    }
    // A connection waits: the time begins anew.
    rig.wait_with(1);
    rig.said();
    for _ in 0..3 {
        rig.wait_with(0);
    }
    assert_eq!(rig.said().iter().filter(|said| *said == "w.scale").count(), 0);
    rig.wait_with(0);
    rig.expect(["measure Queue([\"web\"])", "w.scale", "SIGTERM 101", "w.kill 101"]);
    rig.assert_logged("w: 4 to 3 workers: no connection has waited for 12 s");
    rig.exit(101, 0);
    let scale = rig.details()["scale"].take();
    assert_eq!(
        (&scale["by"], &scale["min"], &scale["max"], &scale["measured"]),
        (&json!("queue"), &json!(1), &json!(4), &json!(0.0))
    );
    assert_eq!((&scale["last"]["before"], &scale["last"]["numprocesses"]), (&json!(4), &json!(3)));
    let why = rig.command("why", json!({"name": "w"})).unwrap();
    assert_eq!(
        why["events"].as_array().unwrap().last().unwrap()["text"],
        "4 to 3 workers: no connection has waited for 12 s"
    );
    rig.assert_quiescent();
}

#[test]
fn nothing_is_measured_while_workers_are_on_their_way_or_something_is_done() {
    let mut rig = queue(json!({}));
    rig.hold_launches = true;
    rig.wait_with(2);
    rig.said();
    rig.pass(20_000);
    rig.expect([]);
    rig.hold_launches = false;
    let launch = rig.held.remove(0);
    rig.answer(launch);
    rig.settle();
    rig.pass(5000);
    assert_eq!(rig.counts.len(), 1);
    rig.measured(Ok(Measured::Waiting(0)));
    let stop = rig.send_command("stop", json!({"name": "w", "waiting": true}));
    rig.pass(3000);
    rig.exit_all(&[101, 102], -15);
    rig.answer_to(stop).unwrap();
    rig.said();
    rig.pass(100_000);
    rig.expect([]);
    rig.command("start", json!({"name": "w"}));
    assert_eq!(rig.running("w").len(), 2, "the number stays");
    rig.pass(5000);
    assert_eq!(rig.counts.len(), 1);
    rig.assert_quiescent();
}

#[test]
fn processor_time_of_workers() {
    let mut rig =
        rig(json!({"scale": "cpu", "scale_max": 3, "scale_min": 2, "numprocesses": 2, "scale_down_after": 5}));
    let look = |rig: &mut Rig, ms: u64| {
        rig.pass(5000);
        let times = rig.running("w").into_iter().map(|pid| (Pid(pid), Duration::from_millis(ms)));
        rig.measured(Ok(Measured::Cpu(times.collect())));
    };
    look(&mut rig, 0);
    rig.expect(["measure Cpu([Pid(101), Pid(102)])"]);
    look(&mut rig, 4500);
    rig.assert_logged("w: 2 to 3 workers: a worker uses 90 % of a processor");
    // The new one was not there the last time.
    look(&mut rig, 8000);
    assert_eq!(rig.wanted(), 3);
    look(&mut rig, 8000);
    look(&mut rig, 8000);
    rig.assert_logged("w: 3 to 2 workers: a worker uses 0 % of a processor, and fewer did for 5 s");
    rig.assert_quiescent();
}

#[test]
fn command_that_prints_the_number() {
    let mut rig = rig(json!({"scale": "exec:count jobs", "scale_max": 3, "scale_timeout": 2}));
    rig.pass(5000);
    rig.expect(["probe exec:count jobs of the watcher"]);
    rig.probed(ProbeOutcome::Printed(" 7\n".into()));
    rig.expect(["w.scale", "launch worker 2", "w.spawn 102", "launch worker 3", "w.spawn 103"]);
    rig.assert_logged("w: 1 to 3 workers: the command asks for 7");
    for outcome in [
        ProbeOutcome::Printed("many".into()),
        ProbeOutcome::Printed("-1".into()),
        ProbeOutcome::Failed("exit status 1".into()),
    ] {
        rig.pass(5000);
        rig.probed(outcome);
        assert_eq!(rig.wanted(), 3);
    }
    let failed = "w: scale = exec:count has failed, the number stays 3: exit status 1";
    rig.assert_logged(failed);
    // One that does not end is ended.
    rig.pass(7000);
    assert_eq!(rig.said().last().unwrap(), "end probe");
    assert_eq!(rig.details()["scale"]["error"], "no answer within 2 s");
    // A stop ends one that is under way.
    rig.pass(5000);
    rig.command("stop", json!({"name": "w"}));
    assert!(rig.said().contains(&"end probe".to_owned()));
    rig.assert_quiescent();
}

#[test]
fn time_of_too_many_workers_begins_anew_when_a_client_changes_the_number() {
    let mut rig = rig(json!({"scale": "exec:need", "scale_max": 4, "numprocesses": 4, "scale_down_after": 8}));
    let ask = |rig: &mut Rig, number: u32| {
        rig.pass(5000);
        rig.probed(ProbeOutcome::Printed(format!("{number}\n")));
        rig.wanted()
    };
    assert_eq!(ask(&mut rig, 3), 4);
    rig.command("decr", json!({"name": "w", "nb": 2}));
    rig.exit_all(&[101, 102], -15);
    // Three were enough of four; of two, three are no fewer.
    assert_eq!((ask(&mut rig, 1), ask(&mut rig, 1)), (2, 2));
    assert_eq!(ask(&mut rig, 1), 1);
    rig.assert_logged("w: 2 to 1 workers: the command has asked for no more for 8 s");
    rig.exit(103, -15);
    rig.assert_quiescent();
}

#[test]
fn clients_give_another_number_within_the_bounds() {
    let mut rig = queue(json!({"scale_min": 2, "numprocesses": 2}));
    let refused = json!({"errno": 5, "reason": "w: numprocesses has to be from 2 to 4 (scale_min, scale_max)"});
    assert_eq!(rig.command("decr", json!({"name": "w"})), Some(refused.clone()));
    assert_eq!(rig.command("incr", json!({"name": "w", "nb": 3})), Some(refused.clone()));
    assert_eq!(rig.command("set", json!({"name": "w", "options": {"numprocesses": 5}})), Some(refused));
    assert_eq!(rig.command("incr", json!({"name": "w", "nb": 2})), Some(json!({})));
    assert_eq!(rig.running("w").len(), 4);
    // Bounds that are moved take the number with them.
    rig.command("set", json!({"name": "w", "options": {"scale_max": 3}}));
    assert_eq!(rig.wanted(), 3);
    rig.assert_logged("w: 4 to 3 workers: scale_max is 3");
    // Without scale there are no bounds, and nothing is measured.
    rig.command("set", json!({"name": "w", "options": {"scale": "none"}}));
    rig.command("decr", json!({"name": "w", "nb": 2}));
    rig.said();
    rig.pass(100_000);
    assert_eq!((rig.wanted(), rig.counts.len()), (1, 0));
    rig.assert_quiescent();
}

#[test]
fn another_daemon_measures_and_asks_again() {
    let mut rig = queue(json!({"drain": "exec:idle", "numprocesses": 3}));
    rig.pass(5000);
    rig.command("decr", json!({"name": "w"}));
    rig.said();
    rig.hand_over();
    rig.expect(["probe exec:idle of 101", "measure Queue([\"web\"])"]);
    rig.measured(Ok(Measured::Waiting(0)));
    rig.probed(ProbeOutcome::Passed);
    rig.expect(["SIGTERM 101", "w.kill 101"]);
    rig.assert_quiescent();
}

#[test]
fn idle_worker_is_told_to_stop_and_a_busy_one_is_not() {
    let mut rig = rig(json!({"drain": "exec:idle", "drain_timeout": 1, "scale_interval": 3, "numprocesses": 3}));
    let decr = rig.send_command("decr", json!({"name": "w", "waiting": true}));
    rig.expect(["probe exec:idle of 101"]);
    rig.probed(ProbeOutcome::Failed("exit status 1".into()));
    rig.expect(["probe exec:idle of 102"]);
    // It does not answer.
    rig.pass(1000);
    rig.expect(["end probe", "probe exec:idle of 103"]);
    rig.probed(ProbeOutcome::Unable("no such program".into()));
    rig.expect([]);
    assert_eq!((rig.running("w").len(), rig.answer_to(decr)), (3, None));
    assert_eq!(rig.details()["draining"], 1);
    // All were busy: they are asked again later.
    rig.pass(2999);
    rig.expect([]);
    rig.pass(1);
    rig.expect(["probe exec:idle of 101"]);
    rig.probed(ProbeOutcome::Failed("exit status 1".into()));
    rig.probed(ProbeOutcome::Passed);
    rig.expect(["probe exec:idle of 102", "SIGTERM 102", "w.kill 102"]);
    assert_eq!(rig.answer_to(decr), None);
    rig.exit(102, 0);
    assert_eq!(rig.answer_to(decr), Some(json!({"numprocesses": 2})));
    assert_eq!(rig.running("w"), [101, 103]);
    rig.assert_quiescent();
}

#[test]
fn question_ends_with_its_worker_its_reason_and_its_watcher() {
    let mut rig = rig(json!({"drain": "exec:idle", "numprocesses": 3}));
    rig.command("decr", json!({"name": "w"}));
    rig.said();
    // It has died: that is one fewer, and another would be one too few.
    rig.exit(101, 0);
    rig.expect(["w.reap 101 0", "end probe"]);
    rig.command("decr", json!({"name": "w"}));
    rig.expect(["probe exec:idle of 102"]);
    rig.command("incr", json!({"name": "w"}));
    rig.expect(["end probe"]);
    rig.command("decr", json!({"name": "w"}));
    rig.command("set", json!({"name": "w", "options": {"drain": ""}}));
    assert_eq!(rig.said().last().unwrap(), "w.kill 102", "nobody has to be asked any more");
    rig.exit(102, 0);
    rig.command("set", json!({"name": "w", "options": {"drain": "exec:idle", "numprocesses": 2}}));
    rig.command("decr", json!({"name": "w"}));
    rig.said();
    let stop = rig.send_command("stop", json!({"name": "w", "waiting": true}));
    assert_eq!(rig.said()[0], "SIGTERM 103");
    assert_eq!(rig.probes.len(), 0);
    rig.exit_all(&[103, 104], 0);
    rig.answer_to(stop).unwrap();
    rig.assert_quiescent();
}
