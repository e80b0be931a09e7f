//! What circusd does when nothing is to be done, and when too much is.

use std::time::Duration;

use serde_json::json;

use crate::rig::{Figures, Site, ask, knob, observe_for, wait_until};

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
    // Each place starts at 0, 0.1, 0.3, 0.7, 1.5 and 3.1 s, and the next time after 5.
    let spawned = crash_loop(200, 10);
    assert!((200..=7 * 200).contains(&spawned), "{spawned}");
}

/// A minute of it: `CIRCUS_CRASH_SECONDS=60`.
#[test]
fn a_crash_loop_of_1000_leaves_nothing() {
    let spawned = crash_loop(1000, usize::try_from(2 * knob("CIRCUS_CRASH_SECONDS", 5)).unwrap());
    assert!(spawned >= 1000, "{spawned}");
}

/// So many workers exit at once again and again, for so many half seconds. How often one was started.
fn crash_loop(workers: usize, rounds: usize) -> usize {
    let circusd = Site::new().start(&format!(
        "[watcher:crashing]
         cmd = {{knobs}} say hello exit 1
         numprocesses = {workers}
         stdout_stream.filename = {{dir}}/out.log
         autostart = False
         [watcher:healthy]
         cmd = {{knobs}}"
    ));
    let process = circusd.process();
    let healthy = circusd.wait_for_workers("healthy", 1);
    let mut events = circusd.events();
    let mut client = circusd.client();
    circusd.tell("start", json!({"name": "crashing"}));
    let mut samples = Vec::new();
    for _ in 0..rounds {
        observe_for(Duration::from_millis(500));
        let status = Figures::of(100, || {
            let status = ask(&mut client, "status", json!({"name": "crashing"}))["status"].take();
            assert!(status == "active" || status == "starting", "{status}");
        });
        assert_eq!(circusd.workers("healthy"), healthy);
        samples.push((process.status("VmRSS"), process.fds().len()));
        println!("status of a crash loop of {workers}: {status}; kB and descriptors: {:?}", samples.last());
    }
    circusd.tell("stop", json!({"name": "crashing", "waiting": true}));
    assert_eq!(circusd.status("crashing"), "stopped");
    assert_eq!(process.children(), healthy, "no zombie is left");
    let heard = events.until("crashing", "stop");
    let count = |what: &str| heard.iter().filter(|one| one.watcher == "crashing" && one.what == what).count();
    let (spawned, reaped) = (count("spawn"), count("reap"));
    println!("{spawned} launches of {workers}");
    assert_eq!(spawned, reaped);
    let (memory, fds): (Vec<u64>, Vec<usize>) = samples.into_iter().unzip();
    assert!(memory[rounds - 1] < memory[1] + 2000 + 10 * workers as u64, "{memory:?}");
    assert!(fds.iter().all(|fds| *fds < fds_of_daemon(workers)), "{fds:?}");
    spawned
}

/// Its own, and the pipes of all its workers.
fn fds_of_daemon(workers: usize) -> usize {
    60 + workers
}
