//! The clock on the wall is set, by a day in each direction: nothing starts, ends or expires by it.
//!
//! What circusd and its workers are told of the wall is shifted by `faults/clock.c`, which is loaded with LD_PRELOAD: the
//! clock of the machine belongs to others as well.
#![expect(clippy::disallowed_methods, reason = "a test compiles what it needs")]

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::rig::{Circusd, Site, observe_for, wait_until};

const DAY: i64 = 24 * 60 * 60;

/// circusd, and the file that says by how many seconds its clock is wrong.
fn start(sections: &str) -> (Circusd, File) {
    let site = Site::new();
    let ini = site.ini("circus.ini", sections);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/clock.c");
    let mut compiler = Command::new("cc");
    let compiled = compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(site.path("clock.so")).arg(source).arg("-ldl");
    assert!(compiled.status().unwrap().success(), "the shim cannot be compiled");
    let shift = File::options().read(true).write(true).create_new(true).open(site.path("shift")).unwrap();
    shift.set_len(8).unwrap();
    let mut command = site.command("/bin/sh");
    command.args(["-c", "LD_PRELOAD=$SHIM; export LD_PRELOAD; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_circusd")]);
    command.arg(ini).env("SHIM", site.path("clock.so")).env("CIRCUS_CLOCK", site.path("shift"));
    let mut circusd = Circusd::launch_by(site, command);
    circusd.wait_until_it_listens();
    (circusd, shift)
}

#[test]
fn clock_that_is_set_starts_ends_and_expires_nothing() {
    let (circusd, shift) = start(
        "[watcher:aged]
         cmd = {knobs}
         numprocesses = 2
         max_age = 80000
         max_age_variance = 0
         [watcher:checked]
         cmd = {knobs}
         health = exec:/bin/true
         health_interval = 0.05
         health_timeout = 30
         [watcher:slow]
         cmd = {knobs} ignore say ready
         graceful_timeout = 80000
         stdout_stream.filename = {dir}/slow.log
         [watcher:early]
         cmd = {knobs} until {dir}/never
         ready = log:never
         stdout_stream.class = MemoryStream
         priority = -1
         ready_timeout = 80000
         [watcher:each]
         cmd = {knobs} write {dir}/run x exit 0
         kind = cron
         schedule = @every 20h
         [watcher:other]
         cmd = {knobs}
         min_uptime = 0",
    );
    circusd.wait_for_text("slow.log", "ready");
    let all = ["aged", "checked", "slow", "early"];
    let before: Vec<_> =
        all.iter().map(|name| circusd.wait_for_workers(name, 1 + usize::from(*name == "aged"))).collect();
    circusd.tell("stop", json!({"name": "slow"}));
    let time = |circusd: &Circusd| circusd.ask("status", json!({}))["time"].as_f64().unwrap();
    let begun = time(&circusd);
    for shifted in [DAY, -DAY, 0] {
        shift.write_all_at(&shifted.to_ne_bytes(), 0).unwrap();
        assert!((time(&circusd) - begun - shifted as f64).abs() < 3600.0, "circusd sees a clock that was set");
        // circusd has much to do meanwhile, and looks at all that is due.
        for _ in 0..5 {
            let victim = circusd.wait_for_workers("other", 1)[0];
            victim.send(Signal::SIGKILL);
            wait_until("the killed one is back", || circusd.workers("other").first().is_some_and(|one| *one != victim));
            observe_for(Duration::from_millis(100));
        }
        let now: Vec<_> = all.iter().map(|name| circusd.workers(name)).collect();
        assert_eq!(now, before, "by {shifted} s");
        assert_eq!(circusd.status("slow"), "stopping");
        assert!(!circusd.path("run").exists(), "a run of @every began");
    }
    before[2][0].send(Signal::SIGKILL);
}
