//! A stop by several signals.

use serde_json::json;

use super::rig::{Rig, watcher};
use crate::config::StopStep;
use crate::config::{Hook, WatcherConfig};
use crate::proto::{HookPoint, Signal};

/// `stop_signal = TERM, 60:QUIT, 30:KILL`, or without its end.
fn escalating(steps: usize, change: impl FnOnce(&mut WatcherConfig)) -> Rig {
    let all = [StopStep { after: 60.0, signal: Signal(3) }, StopStep { after: 30.0, signal: Signal::KILL }];
    Rig::new(vec![watcher("w", |w| {
        w.stop_steps = all[..steps].to_vec();
        change(w);
    })])
}

#[test]
fn each_signal_comes_in_its_time_and_kill_at_the_end() {
    let mut rig = escalating(2, |_| {});
    let stop = rig.send_command("stop", json!({"name": "w", "waiting": true}));
    rig.expect(["SIGTERM 101", "w.kill 101"]);
    rig.pass(59_999);
    rig.expect([]);
    rig.pass(1);
    rig.expect(["SIGQUIT 101", "w.kill 101"]);
    rig.pass(29_999);
    rig.expect([]);
    rig.pass(1);
    rig.expect(["SIGKILL 101 tree", "w.kill 101"]);
    let logs = rig.logs();
    assert!(logs.iter().any(|line| line.ends_with("gets the next signal wid=1 pid=101 signal=SIGQUIT")), "{logs:?}");
    assert!(logs.iter().any(|line| line.ends_with("pid=101 stop_signal=\"TERM, 60:QUIT, 30:KILL\"")), "{logs:?}");
    rig.exit(101, -9);
    assert!(rig.answer_to(stop).is_some());
    rig.assert_quiescent();
}

#[test]
fn graceful_timeout_follows_the_last_signal_also_when_it_is_set_meanwhile() {
    let mut rig = escalating(1, |_| {});
    rig.command("stop", json!({"name": "w"}));
    rig.command("set", json!({"name": "w", "options": {"graceful_timeout": 7}}));
    rig.pass(60_000);
    rig.command("set", json!({"name": "w", "options": {"graceful_timeout": 9}}));
    rig.said();
    rig.pass(8999);
    rig.expect([]);
    rig.pass(1);
    rig.expect(["SIGKILL 101 tree", "w.kill 101"]);
    rig.exit(101, -9);
    rig.assert_quiescent();
}

#[test]
fn another_stop_does_not_begin_anew() {
    let mut rig = escalating(2, |_| {});
    rig.command("stop", json!({"name": "w"}));
    rig.pass(60_000);
    rig.said();
    rig.command("stop", json!({"name": "w"}));
    rig.command("kill", json!({"name": "w"}));
    rig.expect([]);
    rig.pass(30_000);
    rig.expect(["SIGKILL 101 tree", "w.kill 101"]);
    rig.exit(101, -9);
    rig.assert_quiescent();
}

#[test]
fn kill_with_a_signal_or_a_time_sends_one_signal_and_kills_no_later_than_before() {
    let mut rig = escalating(2, |_| {});
    rig.command("kill", json!({"name": "w", "signum": "INT"}));
    rig.expect(["SIGINT 101", "w.kill 101"]);
    rig.pass(5000);
    rig.expect(["SIGKILL 101 tree", "w.kill 101"]);
    rig.exit(101, -9);
    rig.said();
    rig.command("stop", json!({"name": "w"}));
    rig.command("kill", json!({"name": "w", "signum": "INT", "graceful_timeout": 1000.0}));
    rig.expect(["SIGTERM 102", "w.kill 102", "SIGINT 102", "w.kill 102"]);
    rig.pass(89_999);
    rig.expect([]);
    rig.pass(1);
    rig.expect(["SIGKILL 102 tree", "w.kill 102"]);
    rig.exit(102, -9);
    rig.assert_quiescent();
}

#[test]
fn stop_after_a_kill_keeps_to_its_end() {
    let mut rig = escalating(2, |_| {});
    rig.command("kill", json!({"name": "w", "signum": "INT", "graceful_timeout": 65.0}));
    rig.command("stop", json!({"name": "w"}));
    rig.expect(["SIGINT 101", "w.kill 101", "SIGTERM 101", "w.kill 101"]);
    rig.pass(60_000);
    rig.expect(["SIGQUIT 101", "w.kill 101"]);
    rig.pass(5000);
    rig.expect(["SIGKILL 101 tree", "w.kill 101"]);
    rig.exit(101, -9);
    rig.assert_quiescent();
}

fn hooked() -> Rig {
    let hook = Hook { run: "exec:answer".into(), ignore_failure: false };
    escalating(2, |w| drop(w.hooks.insert(HookPoint::BeforeSignal, hook)))
}

#[test]
fn a_signal_waits_for_the_hook_of_the_one_before() {
    let mut rig = hooked();
    rig.command("stop", json!({"name": "w"}));
    rig.expect(["hook before_signal wid 1 101 SIGTERM"]);
    rig.pass(50_000);
    // The hook runs again with its whole time, so that it answers when QUIT would have been due.
    rig.hand_over();
    rig.said();
    rig.pass(59_000);
    rig.hook(Ok(true));
    rig.expect(["w.hook_success \"before_signal\"", "SIGTERM 101", "w.kill 101"]);
    rig.pass(59_999);
    rig.expect([]);
    rig.pass(1);
    rig.expect(["hook before_signal wid 1 101 SIGQUIT"]);
    rig.hook(Ok(false));
    rig.expect(["w.hook_success \"before_signal\"", "w.kill 101"]);
    rig.pass(30_000);
    rig.expect(["hook before_signal wid 1 101 SIGKILL"]);
    rig.hook(Ok(false));
    rig.expect(["w.hook_success \"before_signal\"", "SIGKILL 101 tree", "w.kill 101"]);
    rig.exit(101, -9);
    rig.assert_quiescent();
}

#[test]
fn a_hook_that_never_answers_holds_up_the_next_signal_for_its_time_only() {
    let mut rig = hooked();
    rig.command("stop", json!({"name": "w"}));
    rig.pass(30_000);
    rig.hand_over();
    rig.said();
    rig.pass(60_000);
    let said = rig.said();
    assert!(said[0].starts_with("end before_signal") && said[1].contains("hook_failure"), "{said:?}");
    assert_eq!(said[2..], ["SIGTERM 101", "w.kill 101"]);
    rig.pass(60_000);
    rig.expect(["hook before_signal wid 1 101 SIGQUIT"]);
    rig.exit(101, -15);
    rig.hook(Ok(true));
    rig.assert_quiescent();
}

#[test]
fn what_a_worker_leaves_behind_gets_the_same_signals() {
    let mut rig = escalating(2, |_| {});
    rig.tell(crate::arbiter::Event::LeaderExited(crate::arbiter::Pid(101)));
    rig.expect(["SIGTERM 101"]);
    rig.pass(60_000);
    rig.expect(["SIGQUIT 101", "w.kill 101"]);
    rig.pass(30_000);
    rig.expect(["SIGKILL 101 tree", "w.kill 101"]);
    rig.exit(101, 0);
    rig.assert_quiescent();
}

#[test]
fn a_second_request_to_end_circusd_skips_the_rest() {
    let mut rig = escalating(2, |_| {});
    rig.tell(crate::arbiter::Event::Intent(crate::arbiter::Intent::Quit));
    rig.said();
    rig.tell(crate::arbiter::Event::Intent(crate::arbiter::Intent::Quit));
    rig.expect(["SIGKILL 101 tree", "w.kill 101"]);
    rig.exit(101, -9);
}

#[test]
fn options_show_one_signal_as_a_number_and_several_as_a_text() {
    let mut rig = escalating(2, |_| {});
    let shown = |rig: &mut Rig| rig.command("options", json!({"name": "w"})).unwrap()["options"]["stop_signal"].clone();
    assert_eq!(shown(&mut rig), json!("TERM, 60:QUIT, 30:KILL"));
    rig.command("set", json!({"name": "w", "options": {"stop_signal": 3}}));
    assert_eq!(shown(&mut rig), json!(3));
    rig.command("set", json!({"name": "w", "options": {"stop_signal": "hup,1:kill"}}));
    assert_eq!(shown(&mut rig), json!("HUP, 1:KILL"));
    rig.assert_quiescent();
}
