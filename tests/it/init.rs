//! circusd as PID 1 of a pid namespace, as in a container.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::rig::{Circusd, Process, Site, run, wait_for, wait_until};

/// circusd as the first process of a namespace. Its parent, outside, is what exits with circusd's status.
fn init(sections: &str) -> Circusd {
    let site = Site::new();
    let ini = site.ini("circus.ini", sections);
    let mut command = site.command("unshare");
    let circusd = site.circusd();
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(circusd.get_program()).args(circusd.get_args()).arg(ini);
    let mut circusd = Circusd::launch_by(site, command);
    circusd.wait_until_it_listens();
    assert!(circusd.log().contains("Starting master on pid 1\n"), "{}", circusd.log());
    circusd
}

/// circusd itself, as it is seen from outside.
fn pid_one(circusd: &Circusd) -> Process {
    circusd.process().children()[0]
}

/// A watcher's processes, as they are seen from outside: `list` tells their numbers inside.
fn children(circusd: &Circusd, count: usize) -> Vec<Process> {
    wait_for("the workers run", || {
        let children = pid_one(circusd).children();
        let run = children.iter().all(|child| child.lives() && child.has_its_program());
        (run && children.len() == count).then_some(children)
    })
}

#[test]
#[ignore = "needs root"]
fn pid_one_reaps_orphans_that_it_does_not_know() {
    let mut circusd = init(
        "[watcher:w]
         cmd = /bin/sleep 1000
         numprocesses = 2
         [watcher:forker]
         cmd = /bin/sh -c 'i=0; while [ $i -lt 2500 ]; do (exit 3 &); i=$((i+1)); done; echo forked; exec sleep 1000'
         numprocesses = 4
         stdout_stream.filename = {dir}/forker.log",
    );
    wait_until("ten thousand have come and gone", || circusd.read("forker.log").matches("forked\n").count() == 4);
    let before = children(&circusd, 6);
    // These come from no worker: `docker exec` starts such processes, and their children become those of PID 1.
    let target = pid_one(&circusd).0.to_string();
    for _ in 0..20 {
        let strays = "for status in 0 1 7; do (sleep 0.01; exit $status) & done; (kill -SEGV $(sh -c 'echo $PPID')) &";
        let entered = run(circusd.command("nsenter").args(["--target", &target, "--pid", "sh", "-c", strays]));
        assert_eq!(entered.status, Some(0), "{entered:?}");
    }
    assert_eq!(children(&circusd, 6), before, "no zombie is left, and no worker was replaced");
    assert!(!circusd.log().contains("worker exited"), "{}", circusd.log());
    circusd.quit();
}

#[test]
#[ignore = "needs root"]
fn pid_one_exits_with_the_status_of_its_essential_watcher() {
    for (end, status) in [("exit 3", 3), ("kill -SEGV $$", 139)] {
        let mut circusd = init(&format!(
            "[watcher:main]
             cmd = /bin/sh -c \"until [ -e go ]; do sleep 0.01; done; {end}\"
             essential = yes
             respawn = no
             after = db
             [watcher:db]
             cmd = {{knobs}} child 'session ignore say ready' ignore say ready
             graceful_timeout = 0.3
             stdout_stream.filename = {{dir}}/db.log",
        ));
        wait_until("all are ready", || circusd.read("db.log").matches("ready\n").count() == 2);
        circusd.write("go", "");
        assert_eq!(circusd.wait_for_end().status, Some(status), "{}", circusd.log());
        let log = circusd.log();
        let text = format!("main is essential and has ended, so circusd ends, with the exit status {status}");
        assert!(log.contains(&text), "{log}");
        // Nothing was left to the kernel, which kills the rest of a namespace with its first process.
        assert!(log.contains("db: worker exited"), "{log}");
    }
}

#[test]
#[ignore = "needs root"]
fn pid_one_whose_essential_watcher_gives_up_exits_with_failure() {
    let mut circusd = init(
        "[watcher:main]
         cmd = {dir}/nothing
         essential = yes
         max_retry = 2
         [watcher:side]
         cmd = /bin/sleep 1000",
    );
    assert_eq!(circusd.wait_for_end().status, Some(1), "{}", circusd.log());
}

#[test]
#[ignore = "needs root"]
fn pid_one_stops_in_order_at_each_signal_and_exits_with_success() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let mut circusd = init(
            "[watcher:web]
             cmd = {knobs} polite bye say ready
             after = db
             stdout_stream.filename = {dir}/web.log
             [watcher:db]
             cmd = {knobs} polite bye say ready
             stdout_stream.filename = {dir}/db.log",
        );
        for log in ["web.log", "db.log"] {
            circusd.wait_for_text(log, "ready");
        }
        pid_one(&circusd).send(signal);
        assert_eq!(circusd.wait_for_end().status, Some(0), "{signal}: {}", circusd.log());
        let log = circusd.log();
        let exits: Vec<usize> =
            ["web: worker exited", "db: worker exited"].iter().map(|text| log.find(text).unwrap()).collect();
        assert!(exits.is_sorted(), "{signal}: {log}");
    }
}

#[test]
#[ignore = "needs root"]
fn signals_without_a_meaning_do_not_end_pid_one() {
    let mut circusd = init(
        "[watcher:w]
         cmd = /bin/sh -c 'kill -TERM $PPID; exec sleep 1000'
         autostart = no",
    );
    for signal in [Signal::SIGPIPE, Signal::SIGUSR1, Signal::SIGHUP, Signal::SIGALRM, Signal::SIGCHLD] {
        // Those that PID 1 has no handler for do not reach it from its own namespace.
        let (target, signal) = (pid_one(&circusd).0.to_string(), signal.as_str().trim_start_matches("SIG").to_owned());
        let kill = format!("kill -{signal} 1");
        run(circusd.command("nsenter").args(["--target", &target, "--pid", "sh", "-c", &kill]));
    }
    assert_eq!(circusd.status("w"), "stopped");
    // A worker may end it as it may end any parent.
    circusd.tell("start", json!({"name": "w"}));
    assert_eq!(circusd.wait_for_end().status, Some(0), "{}", circusd.log());
}
