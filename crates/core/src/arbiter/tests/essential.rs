//! `essential = yes`: circusd ends with a watcher that has no worker left.

use serde_json::json;

use super::rig::{Rig, watcher};
use crate::arbiter::WatcherState;
use crate::config::{ExitOn, Respawn};

fn pair(exit_on: ExitOn, respawn: Respawn) -> Rig {
    let essential = watcher("main", |w| {
        w.essential = true;
        w.respawn = respawn;
        w.numprocesses = 2;
    });
    let mut rig = Rig::with_circus(vec![essential, watcher("side", |_| {})], |circus| circus.exit_on = exit_on);
    rig.pass(2000);
    rig
}

#[test]
fn end_of_an_essential_watcher_is_the_exit_status() {
    let mut rig = pair(ExitOn::End, Respawn::Never);
    rig.exit(101, 0);
    rig.expect(["main.reap 101 0"]);
    rig.exit(102, 3);
    rig.expect(["main.reap 102 3", "main.stop", "SIGTERM 103", "side.kill 103"]);
    assert_eq!(rig.arbiter.essential_end().map(|end| (end.watcher.as_str(), end.status)), Some(("main", 3)));
    rig.exit(103, 0);
    rig.expect(["side.reap 103 0", "side.stop", "exit 3"]);
}

#[test]
fn signal_becomes_a_status_as_in_shells() {
    let mut rig = pair(ExitOn::Failure, Respawn::Never);
    rig.exit(101, 0);
    rig.exit(102, -9);
    rig.exit(103, 0);
    assert_eq!(rig.said().last().map(String::as_str), Some("exit 137"));
}

#[test]
fn with_exit_on_failure_a_success_is_no_end() {
    let mut rig = pair(ExitOn::Failure, Respawn::Never);
    rig.exit(101, 0);
    rig.exit(102, 0);
    rig.expect(["main.reap 101 0", "main.reap 102 0", "main.stop"]);
    assert_eq!(rig.arbiter.essential_end(), None);
    rig.assert_quiescent();
}

#[test]
fn replaced_or_stopped_essential_ends_nothing() {
    let mut rig = pair(ExitOn::End, Respawn::Always);
    rig.exit_all(&[101, 102], 1);
    let said = rig.said();
    assert_eq!(said.iter().filter(|line| line.starts_with("main.spawn")).count(), 2, "{said:?}");
    rig.command("stop", json!({"name": "main"}));
    rig.exit_all(&[104, 105], 0);
    assert_eq!(rig.arbiter.essential_end(), None);
    rig.assert_quiescent();
}

#[test]
fn one_that_cannot_be_started_ends_circusd_with_1() {
    let essential = watcher("main", |w| {
        w.essential = true;
        w.max_retry = 1;
    });
    let mut rig = Rig::unstarted(vec![essential], |_| {});
    rig.fail(1, 2);
    rig.settle();
    assert_eq!(rig.arbiter.essential_end().map(|end| end.status), Some(1));
    assert_eq!(rig.said().last().map(String::as_str), Some("exit 1"));
}

#[test]
fn circusd_says_that_it_stays_where_no_watcher_runs() {
    let words = |rig: &mut Rig| rig.logs().iter().filter(|line| line.starts_with("no watcher runs")).count();
    let mut rig = Rig::unstarted(["a", "b"].map(|name| watcher(name, |w| w.max_retry = 1)).to_vec(), |_| {});
    rig.fail(2, 2);
    rig.settle();
    assert_eq!(words(&mut rig), 1);
    rig.command("start", json!({"name": "a"}));
    assert_eq!((words(&mut rig), rig.state("a")), (0, WatcherState::Active));
    // A watcher that is told to stop is not reported.
    rig.command("stop", json!({"name": "a"}));
    let alive = rig.alive.clone();
    rig.exit_all(&alive, -15);
    assert_eq!(words(&mut rig), 0);
    rig.assert_quiescent();
}
