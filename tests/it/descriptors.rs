//! Few file descriptors: circusd refuses to start in words, or keeps some for itself.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::rig::{Circusd, Site, ask, run, wait_until};

/// A circusd that may have so many descriptors.
fn limited(site: &Site, descriptors: u64) -> std::process::Command {
    let mut command = site.command("/bin/sh");
    let script = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_circusd"), "circus.ini"]);
    command
}

#[test]
fn too_few_descriptors_refuse_the_start_and_leave_no_file() {
    let site = Site::new();
    site.ini("circus.ini", "[watcher:a]\ncmd = {knobs}\n");
    for descriptors in (14..=36).step_by(2) {
        let output = run(&mut limited(&site, descriptors));
        assert_eq!(output.status, Some(1), "{descriptors}: {output:?}");
        let words = format!("and may have {descriptors}: raise RLIMIT_NOFILE");
        assert!(output.stderr.contains(&words), "{descriptors}: {}", output.stderr);
        let left: BTreeSet<_> =
            std::fs::read_dir(site.path(".")).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(left, BTreeSet::from(["circus.ini".into()]), "{descriptors}");
    }
}

/// Sixty watchers with a log file for each stream want 240 descriptors.
#[test]
fn control_endpoint_answers_when_workers_want_every_descriptor() {
    let site = Site::new();
    let watcher = |number| {
        format!(
            "[watcher:w{number}]
             cmd = {{knobs}}
             stdout_stream.class = FileStream
             stdout_stream.filename = {{dir}}/{number}.out
             stderr_stream.class = FileStream
             stderr_stream.filename = {{dir}}/{number}.err
             "
        )
    };
    site.ini("circus.ini", &(0..60).map(watcher).collect::<String>());
    let command = limited(&site, 100);
    let mut circusd = Circusd::launch_by(site, command);
    circusd.wait_for_log("circusd keeps the last 25 of its 100 descriptors for itself");
    let up = |circusd: &Circusd| -> Vec<bool> {
        (0..60).map(|number| !circusd.workers(&format!("w{number}")).is_empty()).collect()
    };
    let before = up(&circusd);
    assert!(before.contains(&true) && before.contains(&false), "{before:?}");
    // Each request by a client of its own.
    for _ in 0..20 {
        assert_eq!(circusd.ask("numwatchers", json!({}))["numwatchers"], 60);
    }
    // Watchers that wait are started when others make room: what failed for want of descriptors is tried again.
    let mut client = circusd.client();
    for number in (0..60).filter(|number| before[*number]) {
        ask(&mut client, "rm", json!({"name": format!("w{number}"), "waiting": true}));
    }
    let waited = (0..60).filter(|number| !before[*number]).map(|number| format!("w{number}")).collect::<Vec<_>>();
    wait_until("a watcher that had to wait runs", || waited.iter().any(|name| !circusd.workers(name).is_empty()));
    circusd.quit();
}

/// What could never be started is refused at once, with the limit.
#[test]
fn more_workers_than_there_are_descriptors_for_are_refused() {
    let site = Site::new();
    site.ini("circus.ini", "[watcher:w]\ncmd = {knobs}\nstdout_stream.class = MemoryStream\n");
    let command = limited(&site, 100);
    let mut circusd = Circusd::launch_by(site, command);
    circusd.wait_until_it_listens();
    let reply = circusd.ask("incr", json!({"name": "w", "nb": 90}));
    let reason =
        "w: 91 workers cannot be started: 91 descriptors for output are wanted in all, and RLIMIT_NOFILE allows 75";
    assert_eq!(reply["reason"], reason);
    circusd.tell("incr", json!({"name": "w", "nb": 1, "waiting": true}));
    circusd.quit();
}

/// The pipes of a crash loop, which its children hold, are closed when the watcher is gone.
#[test]
fn pipes_that_children_of_dead_workers_hold_are_closed_with_their_watcher() {
    let mut circusd = Site::new().start(
        "[watcher:loop]
         cmd = sh -c 'sleep 1000 & exit 1'
         min_uptime = 0
         graceful_timeout = 0.2
         stdout_stream.class = FileStream
         stdout_stream.filename = {dir}/out
         [watcher:calm]
         cmd = {knobs}
         ",
    );
    circusd.wait_for_workers("calm", 1);
    let mut events = circusd.events();
    (0..10).for_each(|_| drop(events.until("loop", "reap")));
    circusd.tell("rm", json!({"name": "loop", "waiting": true}));
    let pipes =
        || circusd.process().fds().values().filter(|target| target.to_string_lossy().starts_with("pipe:")).count();
    // Those of signals, and of this test.
    let calm = Site::new().start("[watcher:calm]\ncmd = {knobs}\n");
    calm.wait_for_workers("calm", 1);
    let usual = calm.process().fds().values().filter(|target| target.to_string_lossy().starts_with("pipe:")).count();
    wait_until("the pipes of the loop are closed", || pipes() <= usual);
    circusd.send(Signal::SIGTERM);
    circusd.wait_for_end();
}
