//! Workers that have children of their own.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::rig::{Circusd, Process, Site, wait_for, wait_until};

/// A worker that started these others; everybody has said so.
fn family(steps: &str, options: &str, members: usize) -> (Circusd, Process, Vec<Process>) {
    let circusd = Site::new().start(&format!(
        "[watcher:w]
         cmd = {{knobs}} {steps} say ready
         stdout_stream.filename = {{dir}}/w.log
         {options}"
    ));
    wait_until("everybody is ready", || circusd.read("w.log").matches("ready\n").count() == members);
    let worker = circusd.workers("w")[0];
    let mut others = Vec::new();
    wait_until("only they are left", || {
        others = circusd.inhabitants();
        others.retain(|one| ![worker, circusd.process()].contains(one));
        others.len() == members - 1
    });
    (circusd, worker, others)
}

fn stop(circusd: &Circusd) {
    circusd.tell("stop", json!({"name": "w", "waiting": true}));
}

#[track_caller]
fn assert_all_gone(processes: &[Process]) {
    wait_until("everybody is gone", || !processes.iter().any(|process| process.lives()));
}

#[test]
fn a_worker_that_has_to_be_killed_takes_its_tree_with_it() {
    let (circusd, worker, others) = family(
        "ignore child 'ignore child ignore+say+ready say ready' child 'session ignore say ready'",
        "graceful_timeout = 0.2",
        4,
    );
    stop(&circusd);
    assert!(!worker.lives());
    assert_all_gone(&others);
}

#[test]
fn an_orphan_in_a_session_of_its_own_is_killed_when_its_parent_is_still_there() {
    // The child leaves the session, and has a child that does so too.
    let steps = "ignore child 'session ignore child session+ignore+say+ready say ready'";
    let (circusd, _, others) = family(steps, "graceful_timeout = 0.2", 3);
    stop(&circusd);
    assert_all_gone(&others);
}

#[test]
fn an_orphan_in_the_session_of_the_worker_is_killed() {
    // The one between leaves, so that its child's parent is somebody else.
    let steps = "ignore child 'child ignore+say+ready exit 0'";
    let (circusd, worker, others) = family(steps, "graceful_timeout = 0.2", 2);
    assert_ne!(others[0].parent(), Some(worker));
    stop(&circusd);
    assert_all_gone(&others);
}

#[test]
fn the_stop_signal_is_for_the_worker() {
    let (circusd, worker, others) = family("child 'say ready'", "", 2);
    stop(&circusd);
    assert!(!worker.lives());
    assert!(others[0].lives(), "as in Circus");
    others[0].send(Signal::SIGKILL);
}

#[test]
fn the_stop_signal_is_for_the_children_too_where_that_is_wanted() {
    let steps = "child 'say ready' child 'ignore say ready'";
    let (circusd, _, others) = family(steps, "stop_children = True\ngraceful_timeout = 0.3", 3);
    let mut events = circusd.events();
    stop(&circusd);
    let told: Vec<i32> =
        events.until("w", "stop").iter().filter(|one| one.what == "kill").map(|one| one.pid()).collect();
    assert!(others.iter().all(|child| told.contains(&child.0)), "{told:?}");
    let stubborn: Vec<Process> = others.into_iter().filter(|child| child.argv().contains(&"ignore".into())).collect();
    assert_eq!(stubborn.len(), 1);
    // The worker went at once, so nobody had to be killed.
    stubborn[0].send(Signal::SIGKILL);
    assert_all_gone(&stubborn);
}

#[test]
fn signals_reach_children_and_descendants_where_that_is_wanted() {
    let steps = "child 'child hup+{dir}/grandchild+say+ready hup {dir}/child say ready' hup {dir}/worker";
    let (circusd, worker, others) = family(steps, "", 3);
    let heard = |name: &str| circusd.path(name).exists();
    circusd.tell("signal", json!({"name": "w", "signum": "HUP", "children": true}));
    wait_until("the child has heard", || heard("child"));
    assert!(!heard("worker") && !heard("grandchild"));
    circusd.tell("signal", json!({"name": "w", "signum": 1, "recursive": true}));
    wait_until("all have heard", || heard("worker") && heard("grandchild"));
    assert_eq!(circusd.workers("w"), [worker]);
    others.iter().for_each(|other| other.send(Signal::SIGKILL));
}

#[test]
fn orphans_that_leave_at_once_are_nobodys_trouble() {
    // A worker whose grandchildren are left to whoever collects orphans.
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = {knobs} child 'child exit+0 child exit+0 exit 0' sleep 20 say ready
         stdout_stream.filename = {dir}/w.log",
    );
    circusd.wait_for_text("w.log", "ready");
    let worker = wait_for("the worker stays", || circusd.workers("w").first().copied());
    wait_until("only the worker is left", || circusd.process().children() == [worker]);
    assert_eq!(circusd.status("w"), "active");
}
