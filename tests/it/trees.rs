//! Workers that have children of their own.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::rig::{Circusd, Process, Site, wait_for, wait_until};

/// A worker that started these others; each has said that it runs.
fn family(steps: &str, options: &str, members: usize) -> (Circusd, Process, Vec<Process>) {
    let circusd = Site::new().start(&format!(
        "[watcher:w]
         cmd = {{knobs}} {steps} say ready
         stdout_stream.filename = {{dir}}/w.log
         {options}"
    ));
    wait_until("every process is ready", || circusd.read("w.log").matches("ready\n").count() == members);
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
    wait_until("every process is gone", || !processes.iter().any(|process| process.lives()));
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
    // The one between leaves, so that its child gets another parent.
    let steps = "ignore child 'child ignore+say+ready exit 0'";
    let (circusd, worker, others) = family(steps, "graceful_timeout = 0.2", 2);
    assert_ne!(others[0].parent(), Some(worker));
    stop(&circusd);
    assert_all_gone(&others);
}

#[test]
fn stop_goes_on_to_the_next_signal_where_the_worker_does_not_exit() {
    let (circusd, worker, _) = family("ignore", "stop_signal = TERM, 0.2:QUIT, 600:KILL", 1);
    let mut events = circusd.events();
    stop(&circusd);
    let story: Vec<_> = events.until("w", "stop");
    assert_eq!(story.iter().map(|one| one.what.as_str()).collect::<Vec<_>>(), ["kill", "kill", "reap", "stop"]);
    assert_eq!((story[2].pid(), &story[2].body["exit_code"]), (worker.0, &json!(-3)));
    let line = format!("gets the next signal wid=1 pid={} signal=SIGQUIT", worker.0);
    assert!(circusd.log().contains(&line), "{}", circusd.log());
    assert_eq!(
        circusd.tell("get", json!({"name": "w", "keys": ["stop_signal"]}))["options"]["stop_signal"],
        "TERM, 0.2:QUIT, 600:KILL"
    );
}

/// The members of a family by where they are: in the worker's group, in its session only, in another session.
fn places(worker: Process, others: &[Process]) -> (Vec<Process>, Vec<Process>) {
    others.iter().partition(|other| other.group() == Some(worker.0))
}

#[test]
fn kill_mode_process_ends_the_worker_alone() {
    let steps = "ignore child 'say ready' child 'session say ready'";
    let (circusd, worker, others) = family(steps, "kill_mode = process\ngraceful_timeout = 0.2", 3);
    stop(&circusd);
    assert!(!worker.lives());
    assert!(others.iter().all(|other| other.lives()), "they are nobody's but their own");
    others.iter().for_each(|other| other.send(Signal::SIGKILL));
}

#[test]
fn kill_mode_group_ends_the_group_and_nothing_that_has_left_it() {
    // One ends at the stop signal, one by force; the worker itself ends at once.
    let steps = "child 'say ready' child 'ignore say ready' child 'session say ready'";
    let (circusd, worker, others) = family(steps, "kill_mode = group\ngraceful_timeout = 0.3", 4);
    let (group, apart) = places(worker, &others);
    assert_eq!((group.len(), apart.len()), (2, 1));
    stop(&circusd);
    assert!(!worker.lives() && !group.iter().any(|one| one.lives()), "the answer waits for them");
    assert!(apart[0].lives());
    apart[0].send(Signal::SIGKILL);
}

#[test]
fn kill_mode_group_kills_a_worker_and_a_group_that_ignore_the_stop_signal() {
    let steps = "ignore child 'ignore child ignore+say+ready say ready' child 'session ignore say ready'";
    let (circusd, worker, others) = family(steps, "kill_mode = group\ngraceful_timeout = 0.2", 4);
    let (group, apart) = places(worker, &others);
    stop(&circusd);
    assert!(!worker.lives());
    assert_all_gone(&group);
    assert!(apart[0].lives());
    apart[0].send(Signal::SIGKILL);
}

#[test]
fn kill_mode_tree_sends_the_stop_signal_to_all_at_once() {
    // Nothing here ends with its parent, and graceful_timeout is never over.
    let steps = "child 'child say+ready session say ready' child 'session child say+ready say ready'";
    let (circusd, worker, others) = family(steps, "kill_mode = tree\ngraceful_timeout = 600", 5);
    let mut events = circusd.events();
    stop(&circusd);
    assert!(!worker.lives() && !others.iter().any(|one| one.lives()));
    let told: Vec<i32> =
        events.until("w", "stop").iter().filter(|one| one.what == "kill").map(|one| one.pid()).collect();
    assert_eq!(told, [worker.0], "as without the option, the event names the worker");
}

#[test]
fn kill_mode_tree_ends_what_ignores_signals_leaves_the_session_and_holds_the_output() {
    let steps = "child 'session ignore child session+ignore+say+ready say ready' child 'ignore say ready'";
    let (circusd, worker, others) = family(steps, "kill_mode = tree\ngraceful_timeout = 0.3", 4);
    let mut events = circusd.events();
    stop(&circusd);
    assert!(![worker].iter().chain(&others).any(|one| one.lives()));
    // Each of them had the pipe of its standard output, and no one waits for its end.
    assert_eq!(events.until("w", "stop").iter().filter(|one| one.what == "reap").count(), 1);
}

#[test]
fn worker_of_a_killed_circusd_is_ended_as_its_kill_mode_says() {
    let steps = "child 'ignore say ready' child 'session ignore say ready'";
    let site = Site::new();
    let mut circusd = site.start(&format!(
        "[circus]
         state_file = {{dir}}/state
         [watcher:w]
         cmd = {{knobs}} ignore {steps} say ready
         stdout_stream.filename = {{dir}}/w.log
         kill_mode = group
         graceful_timeout = 0.2"
    ));
    wait_until("every process is ready", || circusd.read("w.log").matches("ready\n").count() == 3);
    let worker = circusd.workers("w")[0];
    let others: Vec<Process> =
        circusd.inhabitants().into_iter().filter(|one| ![worker, circusd.process()].contains(one)).collect();
    let (group, apart) = places(worker, &others);
    assert_eq!((group.len(), apart.len()), (1, 1));
    wait_until("the state file names it", || circusd.read("state").contains(&format!("\"pid\":{},", worker.0)));
    circusd.send(Signal::SIGKILL);
    circusd.wait_for_end();
    circusd.restart();
    assert!(!worker.lives());
    assert_all_gone(&group);
    assert!(apart[0].lives());
    apart[0].send(Signal::SIGKILL);
}

#[test]
fn the_stop_signal_is_for_the_worker() {
    let (circusd, worker, others) = family("child 'say ready'", "orphans = keep", 2);
    stop(&circusd);
    assert!(!worker.lives());
    assert!(others[0].lives(), "as in Circus");
    others[0].send(Signal::SIGKILL);
}

#[test]
fn stop_ends_what_its_worker_leaves_behind_before_it_answers() {
    // The worker goes at once; one child with it, one only by force, one of them in a session of its own.
    let steps = "child 'say ready' child 'ignore say ready' child 'session ignore say ready'";
    let (circusd, worker, others) = family(steps, "graceful_timeout = 0.3", 4);
    stop(&circusd);
    assert!(![worker].iter().chain(&others).any(|one| one.lives()));
    assert_eq!(circusd.status("w"), "stopped");
}

#[test]
fn restart_and_quit_leave_no_child_of_a_shell() {
    let mut circusd = Site::new().start("[watcher:w]\ncmd = sh -c 'echo hi; sleep 1011; true'\ncopy_env = True");
    let sleepers = || circusd.inhabitants().into_iter().filter(|one| one.argv().contains(&"1011".into()));
    let sleeper = |count| {
        wait_until("the shell has its child", || sleepers().filter(|one| one.argv().len() == 2).count() == count);
        sleepers().find(|one| one.argv().len() == 2).unwrap()
    };
    let first = sleeper(1);
    circusd.tell("restart", json!({"name": "w", "waiting": true}));
    assert!(!first.lives());
    let second = sleeper(1);
    circusd.quit();
    assert!(!second.lives());
    assert_eq!(circusd.inhabitants(), []);
}

#[test]
fn a_child_that_ignores_the_stop_signal_is_killed_before_stop_answers() {
    let steps = "child 'ignore say ready'";
    let (circusd, _, others) = family(steps, "stop_children = True\ngraceful_timeout = 0.3", 2);
    stop(&circusd);
    assert!(!others[0].lives());
}

#[test]
fn group_of_a_killed_worker_is_ended_before_its_successor_starts() {
    let (circusd, worker, others) = family("child 'say ready' child 'say ready'", "", 3);
    let mut events = circusd.events();
    worker.send(Signal::SIGKILL);
    let story = events.until("w", "spawn");
    assert_eq!(story.iter().map(|one| one.what.as_str()).collect::<Vec<_>>(), ["reap", "spawn"]);
    assert_eq!(story[0].body["exit_code"], -9);
    assert_all_gone(&others);
    assert_ne!(circusd.wait_for_workers("w", 1), [worker]);
}

#[test]
fn orphans_that_are_to_be_kept_live_on() {
    let (mut circusd, worker, others) = family("child 'say ready'", "orphans = keep", 2);
    worker.send(Signal::SIGKILL);
    wait_until("there is a successor", || circusd.workers("w").first().is_some_and(|one| *one != worker));
    assert!(others[0].lives());
    circusd.tell("set", json!({"name": "w", "options": {"orphans": "end"}}));
    circusd.quit();
    assert!(others[0].lives(), "it was kept when its worker ended");
    others[0].send(Signal::SIGKILL);
    assert_all_gone(&others);
}

#[test]
fn quit_ends_orphans_that_have_left_their_session() {
    // A program that puts itself into the background: the one between has ended before anything looks.
    let steps = "child 'child session+ignore+say+ready exit 0'";
    let (mut circusd, _, others) = family(steps, "", 2);
    wait_until("the orphan is circusd's", || others[0].parent() == Some(circusd.process()));
    circusd.quit();
    assert!(!others[0].lives());
}

#[test]
fn stop_names_once_what_it_leaves_alone() {
    let steps = "child 'child session+say+ready exit 0'";
    let (circusd, _, others) = family(steps, "", 2);
    wait_until("the orphan is circusd's", || others[0].parent() == Some(circusd.process()));
    stop(&circusd);
    let named = format!("live on until circusd ends pids={}", others[0].0);
    wait_until("it is named", || circusd.log().contains(&named));
    circusd.tell("start", json!({"name": "w", "waiting": true}));
    stop(&circusd);
    assert_eq!(circusd.log().matches(&named).count(), 1, "{}", circusd.log());
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
    assert!(!others.iter().any(|child| child.lives()));
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
    // A worker whose grandchildren are left to the process that collects orphans.
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
