//! What circusd does when nothing is to be done, and when too much is.

use std::time::Duration;

use serde_json::json;

use crate::rig::{Site, observe_for, wait_until};

#[test]
fn changes_are_logged_with_who_asked() {
    let circusd = Site::new().start("[watcher:w]\ncmd = /bin/sleep 1000");
    circusd.tell("status", json!({"name": "w"}));
    circusd.tell("incr", json!({"name": "w", "nb": 2}));
    let (uid, pid) = (nix::unistd::geteuid(), std::process::id());
    circusd.wait_for_log(&format!("incr \"w\" requested by uid {uid}, pid {pid}\n"));
    assert!(!circusd.log().contains("status \"w\" asked"));
}

#[test]
fn an_idle_circusd_sleeps() {
    let circusd = Site::new().start(
        "[circus]
         check_delay = 1
         [socket:web]
         host = 127.0.0.1
         port = 0
         [watcher:a]
         cmd = {knobs} say hello
         numprocesses = 5
         use_sockets = True
         stdout_stream.filename = {dir}/a.log
         [watcher:b]
         cmd = {knobs}
         max_age = 100000",
    );
    circusd.wait_for_workers("a", 5);
    circusd.wait_for_workers("b", 1);
    wait_until("every worker has said hello", || circusd.read("a.log").lines().count() == 5);
    let process = circusd.process();
    // The client's connection is being taken down.
    let mut before = process.voluntary_switches();
    wait_until("it has settled", || {
        observe_for(Duration::from_millis(500));
        std::mem::replace(&mut before, process.voluntary_switches()) == before
    });
    observe_for(Duration::from_secs(5));
    let woken = process.voluntary_switches() - before;
    println!("{woken} voluntary context switches in 5 s");
    assert!(woken <= 2, "{woken}");
}

#[test]
fn a_crash_loop_of_200_costs_little() {
    const WORKERS: usize = 200;
    let circusd = Site::new().start(&format!(
        "[watcher:crashing]
         cmd = {{knobs}} say hello exit 1
         numprocesses = {WORKERS}
         stdout_stream.filename = {{dir}}/out.log
         autostart = False
         [watcher:healthy]
         cmd = {{knobs}}"
    ));
    let process = circusd.process();
    let healthy = circusd.wait_for_workers("healthy", 1);
    let mut events = circusd.events();
    circusd.tell("start", json!({"name": "crashing"}));
    let (mut answers, mut samples) = (0, Vec::new());
    for _ in 0..10 {
        observe_for(Duration::from_millis(500));
        for _ in 0..10 {
            assert!(["active", "starting"].contains(&circusd.status("crashing").as_str()));
            answers += 1;
        }
        assert_eq!(circusd.workers("healthy"), healthy);
        samples.push((process.status("VmRSS"), process.fds().len()));
    }
    circusd.tell("stop", json!({"name": "crashing", "waiting": true}));
    assert_eq!(circusd.status("crashing"), "stopped");
    assert_eq!(process.children(), healthy);
    let heard = events.until("crashing", "stop");
    let count = |what: &str| heard.iter().filter(|one| one.watcher == "crashing" && one.what == what).count();
    let (spawned, reaped) = (count("spawn"), count("reap"));
    println!("{spawned} launches in 5 s, {answers} answers; kB and descriptors: {samples:?}");
    assert_eq!(spawned, reaped);
    // Each place starts at 0, 0.1, 0.3, 0.7, 1.5 and 3.1 s, and the next time after 5.
    assert!((WORKERS..=7 * WORKERS).contains(&spawned), "{spawned}");
    let (memory, fds): (Vec<u64>, Vec<usize>) = samples.into_iter().unzip();
    assert!(memory[9] < memory[1] + 2000, "{memory:?}");
    assert!(fds.iter().all(|fds| *fds < fds_of_daemon(WORKERS)), "{fds:?}");
}

/// Its own, and the pipes of all its workers.
fn fds_of_daemon(workers: usize) -> usize {
    60 + workers
}
