//! circusd is killed, and the next one deals with the workers that it has left.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::rig::{Answer, Circusd, Process, Site, wait_until};

/// Kills circusd when its state file names these workers, and starts it again.
#[track_caller]
fn kill_and_restart(circusd: &mut Circusd, workers: &[Process]) {
    wait_until("the state file names the workers", || {
        let state = circusd.read("state");
        workers.iter().all(|worker| state.contains(&format!("\"pid\":{},", worker.0)))
    });
    circusd.send(Signal::SIGKILL);
    assert_eq!(circusd.wait_for_end().status, None);
    assert!(workers.iter().all(|worker| worker.lives()));
    circusd.restart();
}

#[test]
fn survivors_are_ended_before_anything_is_started() {
    let mut circusd = Site::new().start(
        "[circus]
         state_file = {dir}/state
         [socket:web]
         path = {dir}/web
         [watcher:polite]
         cmd = {knobs} polite bye say ready
         stdout_stream.filename = {dir}/polite.log
         [watcher:stubborn]
         cmd = {knobs} ignore serve $(circus.sockets.web)
         use_sockets = True
         graceful_timeout = 0.5",
    );
    circusd.wait_for_text("polite.log", "ready");
    let before = [circusd.wait_for_workers("polite", 1), circusd.wait_for_workers("stubborn", 1)].concat();
    kill_and_restart(&mut circusd, &before);
    assert!(!before.iter().any(|worker| worker.lives()), "{}", circusd.log());
    circusd.wait_for_log("ending workers that a killed circusd has left");
    let after = circusd.wait_for_workers("polite", 1);
    assert!(!before.contains(&after[0]));
    circusd.quit();
    assert!(!circusd.path("state").exists());
}

const ADOPT: &str = "
    [circus]
    state_file = {dir}/state
    on_orphans = adopt
    [socket:web]
    host = 127.0.0.1
    port = 0
    [watcher:web]
    cmd = {knobs} serve $(circus.sockets.web)
    use_sockets = True
    numprocesses = 2
    [watcher:log]
    cmd = {knobs} say before until {dir}/go say after
    stdout_stream.filename = {dir}/log.log
    graceful_timeout = 1";

#[test]
fn survivors_go_on_with_their_sockets_and_their_output() {
    let mut circusd = Site::new().start(ADOPT);
    circusd.wait_for_text("log.log", "before\n");
    let web = circusd.wait_for_workers("web", 2);
    let log = circusd.wait_for_workers("log", 1);
    let http = crate::web::http(&circusd, "web");
    kill_and_restart(&mut circusd, &[web.clone(), log.clone()].concat());
    assert_eq!((circusd.wait_for_workers("web", 2), circusd.wait_for_workers("log", 1)), (web.clone(), log.clone()));
    assert!(matches!(http.get(), Answer::Body(_)));
    circusd.write("go", "");
    assert_eq!(circusd.wait_for_text("log.log", "after\n"), "before\nafter\n");
    // One that ends is replaced, at the same socket.
    web[0].send(Signal::SIGKILL);
    wait_until("another takes its place", || {
        let now = circusd.workers("web");
        now.len() == 2 && now.contains(&web[1]) && !now.contains(&web[0])
    });
    circusd.wait_for_log("has exited, its exit status is not known");
    assert!(matches!(http.get(), Answer::Body(_)));
    // And one that is told to stop does.
    circusd.tell("stop", json!({"name": "web", "waiting": true}));
    assert!(!web[1].lives());
}

#[test]
fn adopted_workers_survive_an_upgrade_and_another_kill() {
    let mut circusd = Site::new().start(ADOPT);
    let all = [circusd.wait_for_workers("web", 2), circusd.wait_for_workers("log", 1)].concat();
    let now = |circusd: &Circusd| [circusd.wait_for_workers("web", 2), circusd.wait_for_workers("log", 1)].concat();
    kill_and_restart(&mut circusd, &all);
    circusd.tell("upgrade", json!({}));
    assert_eq!(now(&circusd), all);
    kill_and_restart(&mut circusd, &all);
    circusd.tell("upgrade", json!({}));
    assert_eq!(now(&circusd), all);
    all[2].send(Signal::SIGKILL);
    wait_until("its end is noticed", || {
        let log = circusd.workers("log");
        log.len() == 1 && log[0] != all[2]
    });
}

#[test]
fn survivor_that_is_not_wanted_any_more_ends() {
    let mut circusd = Site::new().start(ADOPT);
    let all = [circusd.wait_for_workers("web", 2), circusd.wait_for_workers("log", 1)].concat();
    wait_until("the state file is there", || circusd.read("state").contains(&format!("\"pid\":{},", all[2].0)));
    circusd.ini("circus.ini", &ADOPT.replace("numprocesses = 2", "numprocesses = 1"));
    kill_and_restart(&mut circusd, &all);
    assert_eq!(circusd.wait_for_workers("web", 1), all[..1]);
    wait_until("the second has ended", || !all[1].lives());
}

#[test]
fn recycled_pid_is_never_touched() {
    let mut circusd = Site::new().start("[circus]\nstate_file = {dir}/state\n[watcher:w]\ncmd = {knobs}");
    let worker = circusd.wait_for_workers("w", 1)[0];
    let named = format!("\"pid\":{},", worker.0);
    wait_until("the state file names it", || circusd.read("state").contains(&named));
    circusd.send(Signal::SIGKILL);
    circusd.wait_for_end();
    // As if the worker had started at another time: it is another process.
    let state = circusd.read("state");
    let (before, after) = state.split_once(&named).unwrap();
    let after = after.replacen("\"started\":", "\"started\":1", 1);
    std::fs::write(circusd.path("state"), format!("{before}{named}{after}")).unwrap();
    circusd.restart();
    circusd.wait_for_workers("w", 1);
    assert!(worker.lives());
    worker.send(Signal::SIGKILL);
}
