//! circusd is upgraded while something is under way: the program after it goes on from there, with real processes.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::rig::{Circusd, Process, Site, ask, wait_until};

#[track_caller]
fn upgrade(circusd: &Circusd) {
    let reply = circusd.tell("upgrade", json!({}));
    assert_eq!(reply["pid"], circusd.process().0, "{reply}");
}

/// A program that checks the state as circusd does, and becomes circusd after it has done this: between the two programs.
fn in_between(circusd: &Circusd, text: &str) -> String {
    let next = env!("CARGO_BIN_EXE_circusd");
    // Nothing here starts a process: a shell that waited for one would collect workers, too.
    let check = format!("[ \"$1\" = --check-state ] && exec {next} --check-state");
    executable(circusd, "next", &format!("{check}\n{text}\nexec {next} \"$@\""))
}

/// Writes a shell script; its path.
fn executable(site: &Site, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = site.write(&format!("{name}.new"), &format!("#!/bin/sh\n{text}\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(path, site.path(name)).unwrap();
    site.path(name).to_str().unwrap().to_owned()
}

#[test]
fn child_that_dies_between_the_two_programs_is_reaped_and_replaced_once() {
    let circusd = Site::new().start("[watcher:w]\ncmd = {knobs}\nnumprocesses = 4");
    let workers = circusd.wait_for_workers("w", 4);
    let dead = [workers[0], workers[2]];
    let mut events = circusd.events();
    let kill = |worker: &Process| {
        let pid = worker.0;
        format!("kill -KILL {pid}\nstate=\nuntil [ \"$state\" = Z ]; do read -r _ _ state _ </proc/{pid}/stat; done\n")
    };
    let program = in_between(&circusd, &dead.iter().map(kill).collect::<String>());
    circusd.tell("upgrade", json!({"binary": program}));
    wait_until("two others take their places", || {
        let now = circusd.workers("w");
        now.len() == 4 && now.contains(&workers[1]) && now.contains(&workers[3]) && !now.contains(&dead[0])
    });
    assert_eq!(circusd.process().zombies(), 0);
    let reaped = [(); 2].map(|()| events.until("w", "reap").pop().unwrap());
    let mut pids = reaped.each_ref().map(|event| event.pid());
    pids.sort_unstable();
    let mut expected = dead.map(|worker| worker.0);
    expected.sort_unstable();
    assert_eq!(pids, expected);
    assert!(reaped.iter().all(|event| event.body["exit_code"] == -9), "{reaped:?}");
    assert_eq!(circusd.details("w")["restarts"], 2);
}

#[test]
fn reload_whose_new_workers_are_not_ready_yet_goes_on() {
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = {knobs}
         numprocesses = 2
         ready = exec:/usr/bin/test -f {dir}/ready
         ready_interval = 0.05
         min_uptime = 0.2",
    );
    circusd.write("ready", "");
    let old = circusd.wait_for_workers("w", 2);
    wait_until("they are ready", || circusd.status("w") == "active");
    std::fs::remove_file(circusd.path("ready")).unwrap();
    let mut client = circusd.client();
    std::thread::scope(|scope| {
        let reload = scope.spawn(move || ask(&mut client, "reload", json!({"name": "w", "waiting": true})));
        let all = circusd.wait_for_workers("w", 4);
        upgrade(&circusd);
        assert_eq!(circusd.workers("w"), all, "the old ones serve, and the new ones are the same");
        circusd.write("ready", "");
        let reply = reload.join().unwrap();
        assert_eq!(
            (&reply["status"], reply["info"]["stopped"].as_array().map(Vec::len)),
            (&json!("ok"), Some(2)),
            "{reply}"
        );
        let now = circusd.workers("w");
        assert!(now.len() == 2 && now.iter().all(|worker| all.contains(worker) && !old.contains(worker)), "{now:?}");
    });
}

#[test]
fn stop_by_tiers_with_a_hook_under_way_goes_on() {
    let mut circusd = Site::new().start(
        "[watcher:broker]
         cmd = {knobs}
         [watcher:worker]
         cmd = {knobs} polite left
         requires = broker
         stdout_stream.filename = {dir}/w.log
         hooks.before_stop = exec:/bin/sh -c 'echo asked >>{dir}/hook; while ! test -e {dir}/go; do sleep 0.01; done'",
    );
    let [broker, worker] = ["broker", "worker"].map(|name| circusd.wait_for_workers(name, 1)[0]);
    let mut client = circusd.client();
    std::thread::scope(|scope| {
        let stop = scope.spawn(move || ask(&mut client, "stop", json!({"name": "broker", "waiting": true})));
        circusd.wait_for_text("hook", "asked");
        upgrade(&circusd);
        wait_until("the hook runs again", || circusd.read("hook") == "asked\nasked\n");
        assert!(broker.lives() && worker.lives());
        circusd.write("go", "");
        let reply = stop.join().unwrap();
        assert_eq!(reply["status"], "ok", "{reply}");
    });
    assert!(!broker.lives() && !worker.lives());
    assert_eq!(
        (circusd.read("w.log").as_str(), circusd.details("worker")["health"].as_str()),
        ("left", Some("held back"))
    );
    circusd.quit();
}

#[test]
fn everything_that_waits_goes_on_waiting() {
    let circusd = Site::new().start(
        "[circus]
         check_delay = 0.2
         [socket:web]
         path = {dir}/web
         [watcher:failing]
         cmd = {dir}/later
         max_retry = -1
         [watcher:held]
         cmd = {knobs}
         requires = failing
         [watcher:asleep]
         cmd = {knobs} serve $(circus.sockets.web)
         use_sockets = True
         on_demand = True
         idle_timeout = 600
         [watcher:slow]
         cmd = {knobs}
         ready = exec:/usr/bin/test -f {dir}/up
         ready_interval = 0.05
         priority = -1
         [watcher:nightly]
         cmd = /bin/true
         kind = cron
         schedule = 0 3 1 1 *
         timezone = UTC
         [watcher:off]
         cmd = {knobs}
         autostart = no",
    );
    let health =
        || ["failing", "held", "asleep", "slow", "nightly", "off"].map(|name| circusd.details(name)["health"].clone());
    let expected =
        ["backing off", "held back", "on demand", "starting", "scheduled", "disabled"].map(|text| json!(text));
    wait_until("all are at it", || health() == expected);
    let next = circusd.details("nightly")["next_run"].clone();
    for _ in 0..2 {
        upgrade(&circusd);
        wait_until("all are at it again", || health() == expected);
        assert_eq!(circusd.details("nightly")["next_run"], next);
    }
    circusd.write("up", "");
    wait_until("it is ready", || circusd.details("slow")["health"] == "ready");
    let mut visitor = std::os::unix::net::UnixStream::connect(circusd.path("web")).unwrap();
    std::io::Write::write_all(&mut visitor, b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut visitor, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    // The next try finds it.
    executable(&circusd, "later", "exec sleep 1000");
    circusd.wait_for_workers("held", 1);
}

/// In the background its output goes nowhere, and it has the pid that its pid file names.
#[test]
fn daemon_in_the_background_is_upgraded_too() {
    let site = Site::new();
    let ini = site.ini(
        "circus.ini",
        "[circus]\nlogoutput = {dir}/log\n[socket:web]\npath = {dir}/web\n[watcher:w]\ncmd = {knobs} say up\n\
         stdout_stream.filename = {dir}/w.log",
    );
    assert_eq!(site.run_circusd(&["--daemon", ini.to_str().unwrap()]).status, Some(0));
    let daemon = Process(site.read("circusd.pid").trim().parse().unwrap());
    wait_until("the worker is there", || site.read("w.log") == "up\n");
    let children = daemon.children();
    for _ in 0..2 {
        let output = site.circusctl(&["upgrade"]);
        assert!(output.stdout.contains(&format!("pid {}", daemon.0)), "{output:?}");
    }
    daemon.send(Signal::SIGUSR2);
    wait_until("the third is through", || site.read("log").matches("circusd was upgraded").count() == 3);
    assert_eq!(daemon.children(), children);
    assert_eq!(site.read("circusd.pid").trim(), daemon.0.to_string());
    assert_eq!(site.circusctl(&["status", "w"]).stdout.trim(), "active");
    daemon.send(Signal::SIGTERM);
    wait_until("the daemon has ended", || !daemon.lives());
    assert_eq!(site.inhabitants(), []);
}

/// States that released and earlier builds have written: this one reads them, so that it can follow them in place.
#[test]
fn states_of_earlier_builds_are_read() {
    let site = Site::new();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/states");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mut command = site.circusd();
        command.arg("--check-state").stdin(std::fs::File::open(&path).unwrap());
        let output = crate::rig::run(&mut command);
        assert_eq!((output.status, output.stderr.as_str()), (Some(0), ""), "{}", path.display());
        count += 1;
    }
    assert!(count > 0);
}
