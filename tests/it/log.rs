//! circusd's own log: where it cannot be written, what repeats, and as JSON.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use nix::libc::O_NONBLOCK;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::rig::{Circusd, Site, wait_until};

/// Starts a circusd whose log cannot be written, and checks that it answers, replaces a worker, and ends.
fn assert_works(site: Site) {
    let ini =
        site.ini("circus.ini", "[circus]\nloglevel = debug\nlogoutput = {dir}/fifo\n[watcher:w]\ncmd = {knobs}\n");
    let mut circusd = Circusd::launch(site, &[ini.to_str().unwrap()]);
    wait_until("the endpoint is there", || circusd.path("control").exists());
    let workers = circusd.wait_for_workers("w", 1);
    workers[0].send(Signal::SIGKILL);
    wait_until("the worker is replaced", || {
        let found = circusd.workers("w");
        found.len() == 1 && found != workers
    });
    circusd.tell("status", json!({}));
    circusd.send(Signal::SIGTERM);
    assert_eq!(circusd.wait_for_end().status, Some(0));
}

#[test]
fn a_log_fifo_without_a_reader_stops_nothing() {
    let site = Site::new();
    mkfifo(&site.path("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
    assert_works(site);
}

#[test]
fn a_log_whose_reader_stalls_stops_nothing() {
    let site = Site::new();
    mkfifo(&site.path("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
    let mut full = File::options().read(true).write(true).custom_flags(O_NONBLOCK).open(site.path("fifo")).unwrap();
    while full.write(&[b'x'; 4096]).is_ok() {}
    assert_works(site);
}

/// root's circusd must not write where the owner of its log directory leads it.
#[test]
#[ignore = "needs root"]
fn log_does_not_follow_a_link_that_another_user_made() {
    let site = Site::new();
    let (logs, moved, target) = (site.path("user/logs"), site.path("user/old"), site.path("target"));
    std::fs::create_dir_all(&logs).unwrap();
    std::fs::create_dir(&target).unwrap();
    let ini = site.ini("linked.ini", "[circus]\nlogoutput = {dir}/user/logs/log\n[watcher:w]\ncmd = {knobs}\n");
    let mut circusd = Circusd::launch(site, &[ini.to_str().unwrap()]);
    circusd.wait_for_workers("w", 1);
    std::fs::rename(&logs, &moved).unwrap();
    std::os::unix::fs::symlink(&target, &logs).unwrap();
    std::os::unix::fs::lchown(&logs, Some(65534), Some(65534)).unwrap();
    let logged = || std::fs::read_to_string(moved.join("log")).unwrap();
    circusd.tell("stop", json!({"name": "w", "waiting": true}));
    wait_until("the log is written on where it was", || logged().contains("w stopped"));
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 0);
    circusd.send(Signal::SIGTERM);
    circusd.wait_for_end();
    let refused = circusd.run_circusd(&[ini.to_str().unwrap()]);
    assert_eq!(refused.status, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("is a symbolic link made by uid 65534, which is not followed"), "{refused:?}");
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 0);
}

#[test]
fn failed_start_is_logged_once_and_when_it_is_given_up() {
    let site = Site::new();
    let mut circusd = site.start("[watcher:gone]\ncmd = {dir}/nosuchprogram\nmax_retry = 5\n");
    circusd.wait_for_log("given up after 5 failed starts");
    assert_eq!(circusd.log().matches("error in 'gone'").count(), 2, "{}", circusd.log());
    circusd.quit();
}

#[test]
fn log_is_one_object_a_line() {
    let site = Site::new();
    let ini = site.ini("circus.ini", "[circus]\nlog_format = json\n[watcher:w]\ncmd = {knobs}\n");
    let mut circusd = Circusd::start(site, &[ini.to_str().unwrap()]);
    let pid = circusd.wait_for_workers("w", 1)[0].0;
    circusd.wait_for_log("w: worker started");
    circusd.quit();
    let lines: Vec<Value> = circusd.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = lines.iter().find(|line| line["message"] == "w: worker started").unwrap();
    assert_eq!((&line["level"], &line["wid"], &line["pid"]), (&json!("INFO"), &json!(1), &json!(pid)));
    assert_eq!(line["process"], circusd.process().0);
}
