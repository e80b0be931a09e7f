//! circusd becomes another build of itself: its workers, its clients and what is printed go on.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use circus::net::{Context, Subscriber};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::rig::{Answer, Circusd, Process, Site, ask, observe_for, wait_until};

#[track_caller]
fn upgrade(circusd: &Circusd) {
    let reply = circusd.tell("upgrade", json!({}));
    assert_eq!(reply["pid"], circusd.process().0, "{reply}");
}

/// A program that is called in place of the next circusd.
fn script(circusd: &Circusd, text: &str) -> String {
    let path = circusd.write("next", &format!("#!/bin/sh\n{text}\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Why circusd does not become this program.
#[track_caller]
fn refused(circusd: &Circusd, binary: &str) -> String {
    let reply = circusd.ask("upgrade", json!({"binary": binary}));
    assert_eq!(reply["status"], "error", "{reply}");
    reply["reason"].as_str().unwrap().to_owned()
}

#[test]
fn idle_fleet_keeps_its_workers_sockets_and_figures() {
    let circusd = Site::new().start(
        "[socket:web]
         host = 127.0.0.1
         port = 0
         [socket:local]
         path = {dir}/local
         [watcher:w]
         cmd = {knobs} serve $(circus.sockets.web)
         use_sockets = True
         numprocesses = 2
         [watcher:stopped]
         cmd = {knobs}
         autostart = no",
    );
    let workers = circusd.wait_for_workers("w", 2);
    let process = circusd.process();
    let seen = |command: &str| {
        let mut reply = circusd.tell(command, json!({}));
        for fleeting in ["time", "id"] {
            reply.as_object_mut().unwrap().remove(fleeting);
        }
        reply
    };
    let before = ["status", "globaloptions", "listsockets", "numprocesses"].map(seen);
    let sockets = [3, 4].map(|number| process.fds()[&number].clone());
    upgrade(&circusd);
    assert_eq!(["status", "globaloptions", "listsockets", "numprocesses"].map(seen), before);
    assert_eq!(circusd.workers("w"), workers);
    assert_eq!([3, 4].map(|number| process.fds()[&number].clone()), sockets);
    let http = crate::web::http(&circusd, "web");
    assert!(matches!(http.get(), Answer::Body(_)));
    // A worker that ends is replaced, and what was stopped can be started.
    workers[0].send(Signal::SIGKILL);
    wait_until("another takes its place", || {
        let now = circusd.workers("w");
        now.len() == 2 && !now.contains(&workers[0])
    });
    circusd.tell("start", json!({"name": "stopped", "waiting": true}));
    assert_eq!(circusd.workers("stopped").len(), 1);
}

#[test]
fn twenty_in_a_row_leak_nothing() {
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = {knobs} say up
         numprocesses = 3
         stdout_stream.filename = {dir}/w.log",
    );
    let workers = circusd.wait_for_workers("w", 3);
    let process = circusd.process();
    // The first has the memory of a program that was started by exec.
    upgrade(&circusd);
    let count = || process.fds().len();
    let children = || {
        let mut children = process.children();
        children.retain(|child| child.state() != Some('Z'));
        children.sort();
        children
    };
    let (fds, memory, offspring) = (count(), process.status("VmRSS"), children());
    for _ in 0..20 {
        upgrade(&circusd);
    }
    assert_eq!(circusd.workers("w"), workers);
    wait_until("the connections of clients that have gone are closed", || count() <= fds);
    assert_eq!(children(), offspring);
    let now = process.status("VmRSS");
    assert!(now < memory + memory / 4, "{memory} kB before, {now} kB after");
}

/// Three workers that serve HTTP on one socket.
fn serving() -> Circusd {
    let circusd = Site::new().start(
        "[socket:web]
         host = 127.0.0.1
         port = 0
         [watcher:w]
         cmd = {knobs} serve $(circus.sockets.web)
         use_sockets = True
         numprocesses = 3",
    );
    circusd.wait_for_workers("w", 3);
    circusd
}

#[test]
fn requests_under_load_are_neither_refused_nor_cut() {
    let circusd = serving();
    let http = crate::web::http(&circusd, "web");
    let over = Arc::new(AtomicBool::new(false));
    let visitors: Vec<_> = (0..4)
        .map(|_| {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                let mut answers = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    answers.push(http.get());
                    observe_for(Duration::from_millis(5));
                }
                answers
            })
        })
        .collect();
    for _ in 0..20 {
        upgrade(&circusd);
    }
    over.store(true, Ordering::Relaxed);
    let answers: Vec<Answer> = visitors.into_iter().flat_map(|visitor| visitor.join().unwrap()).collect();
    let lost: Vec<_> = answers.iter().filter(|answer| !matches!(answer, Answer::Body(_))).collect();
    assert!(lost.is_empty() && answers.len() > 100, "{} answers, lost: {lost:?}", answers.len());
}

#[test]
fn every_line_of_a_flood_is_there_once_and_in_order() {
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = {knobs} chatter 200000
         numprocesses = 2
         stdout_stream.filename = {dir}/w.log",
    );
    let workers = circusd.wait_for_workers("w", 2);
    for _ in 0..5 {
        upgrade(&circusd);
    }
    let mut counts = std::collections::BTreeMap::new();
    wait_until("everything is written", || {
        counts = crate::output::count_whole_lines(&circusd.read("w.log"));
        workers.iter().all(|worker| counts.get(&worker.0) == Some(&200_000))
    });
    assert_eq!(counts.len(), 2);
}

#[test]
fn unfinished_line_is_gone_on_with() {
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = {knobs} raw begun until {dir}/go say -and-ended
         stdout_stream.filename = {dir}/w.log",
    );
    circusd.wait_for_workers("w", 1);
    upgrade(&circusd);
    circusd.write("go", "");
    assert_eq!(circusd.wait_for_text("w.log", "ended"), "begun-and-ended\n");
}

#[test]
fn stop_goes_on_and_its_client_is_answered() {
    let circusd = Site::new().start(
        "[watcher:stubborn]
         cmd = {knobs} ignore say ready
         stdout_stream.filename = {dir}/w.log
         graceful_timeout = 2",
    );
    circusd.wait_for_text("w.log", "ready");
    let worker = circusd.wait_for_workers("stubborn", 1)[0];
    let mut client = circusd.client();
    thread::scope(|scope| {
        let stopped = scope.spawn(move || ask(&mut client, "stop", json!({"name": "stubborn", "waiting": true})));
        wait_until("it is being stopped", || circusd.status("stubborn") == "stopping");
        upgrade(&circusd);
        assert!(worker.lives());
        assert_eq!(circusd.status("stubborn"), "stopping");
        let reply = stopped.join().unwrap();
        assert_eq!((reply["status"].as_str(), worker.lives()), (Some("ok"), false), "{reply}");
    });
    assert_eq!(circusd.status("stubborn"), "stopped");
}

#[test]
fn reload_goes_on() {
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = {knobs} ignore say ready
         numprocesses = 2
         stdout_stream.filename = {dir}/w.log
         graceful_timeout = 1",
    );
    wait_until("both are ready", || circusd.read("w.log").lines().count() == 2);
    let before = circusd.wait_for_workers("w", 2);
    let mut client = circusd.client();
    thread::scope(|scope| {
        let reload = scope.spawn(move || ask(&mut client, "reload", json!({"name": "w", "waiting": true})));
        wait_until("the new workers are there", || circusd.workers("w").len() > 2);
        upgrade(&circusd);
        let reply = reload.join().unwrap();
        assert_eq!(reply["info"]["stopped"].as_array().map(Vec::len), Some(2), "{reply}");
    });
    let after = circusd.workers("w");
    assert!(after.len() == 2 && after.iter().all(|worker| !before.contains(worker)), "{before:?} {after:?}");
}

#[test]
fn worker_that_dies_meanwhile_is_reaped_and_replaced_once() {
    let circusd = Site::new().start("[watcher:w]\ncmd = {knobs}\nnumprocesses = 4");
    for _ in 0..5 {
        let workers = circusd.wait_for_workers("w", 4);
        let mut client = circusd.client();
        thread::scope(|scope| {
            let done = scope.spawn(move || ask(&mut client, "upgrade", json!({})));
            workers.iter().take(3).for_each(|worker| {
                observe_for(Duration::from_millis(7));
                worker.send(Signal::SIGKILL);
            });
            assert_eq!(done.join().unwrap()["status"], "ok");
        });
        wait_until("three others take their places", || {
            let now = circusd.workers("w");
            now.len() == 4 && now.contains(&workers[3]) && workers.iter().filter(|old| now.contains(old)).count() == 1
        });
        let children: Vec<Process> = circusd.process().children();
        wait_until("the dead are collected", || circusd.process().zombies() == 0);
        assert!(children.len() <= 8, "{children:?}");
    }
}

#[test]
fn hook_that_is_under_way_is_run_again() {
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = {knobs}
         hooks.before_start = exec:/bin/sh -c 'echo run >>{dir}/runs; while ! test -e {dir}/go; do sleep 0.01; done'",
    );
    circusd.wait_for_text("runs", "run");
    upgrade(&circusd);
    wait_until("it runs again", || circusd.read("runs") == "run\nrun\n");
    assert_eq!(circusd.workers("w"), []);
    circusd.write("go", "");
    circusd.wait_for_workers("w", 1);
}

#[test]
fn signals_that_come_meanwhile_are_not_lost() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let mut circusd = Site::new().start("[watcher:w]\ncmd = {knobs}");
        let before = circusd.wait_for_workers("w", 1);
        let mut client = circusd.client();
        thread::scope(|scope| {
            let process = circusd.process();
            scope.spawn(move || {
                let request = json!({"command": "upgrade", "properties": {}});
                client.send(request.to_string().as_bytes());
                observe_for(Duration::from_millis(30));
            });
            observe_for(Duration::from_millis(40));
            process.send(signal);
        });
        if signal == Signal::SIGTERM {
            assert_eq!(circusd.wait_for_end().status, Some(0));
        } else {
            wait_until("the worker is another", || {
                let now = circusd.workers("w");
                now.len() == 1 && now != before
            });
        }
    }
}

#[test]
fn command_of_a_stream_lives_on() {
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = {knobs} say one until {dir}/go say two
         stdout_stream.class = exec
         stdout_stream.command = sh -c 'echo $$ >>{dir}/pids; exec cat >>{dir}/got'",
    );
    circusd.wait_for_text("got", "one\n");
    upgrade(&circusd);
    circusd.write("go", "");
    assert_eq!(circusd.wait_for_text("got", "two\n"), "one\ntwo\n");
    assert_eq!(circusd.read("pids").lines().count(), 1, "it was started once");
}

#[test]
fn subscriber_hears_of_the_upgrade_and_of_everything_after_it() {
    let circusd = Site::new().start("[watcher:w]\ncmd = {knobs}");
    let worker = circusd.wait_for_workers("w", 1)[0];
    let context = Context::new().unwrap();
    let mut subscriber =
        Subscriber::connect(&context, &circusd.pubsub_endpoint(), None, &["watcher.", "circusd."]).unwrap();
    wait_until("the subscription stands", || {
        circusd.tell("set", json!({"name": "w", "options": {"max_retry": 5}}));
        subscriber.recv(Duration::from_millis(20)).is_some()
    });
    let reply = circusd.tell("upgrade", json!({}));
    worker.send(Signal::SIGKILL);
    let mut heard = Vec::new();
    wait_until("the worker's death is heard of", || {
        if let Some((topic, body)) = subscriber.recv(Duration::from_millis(20)) {
            heard.push((String::from_utf8(topic).unwrap(), serde_json::from_slice::<Value>(&body).unwrap()));
        }
        heard.iter().any(|(topic, _)| topic == "watcher.w.spawn")
    });
    heard.retain(|(topic, _)| topic != "watcher.w.updated");
    let topics: Vec<&str> = heard.iter().map(|(topic, _)| topic.as_str()).collect();
    assert_eq!(topics, ["circusd.upgrade", "watcher.w.reap", "watcher.w.spawn"]);
    assert_eq!(heard[0].1["version"], reply["version"]);
}

#[test]
fn sigusr2_is_the_same() {
    let circusd = Site::new().start("[watcher:w]\ncmd = {knobs}");
    let workers = circusd.wait_for_workers("w", 1);
    circusd.send(Signal::SIGUSR2);
    circusd.wait_for_log("circusd was upgraded, and is version");
    assert_eq!(circusd.workers("w"), workers);
}

#[test]
fn program_that_cannot_read_the_state_is_refused_and_all_goes_on() {
    let circusd = Site::new().start("[watcher:w]\ncmd = {knobs}");
    let workers = circusd.wait_for_workers("w", 1);
    let inherited = open_across_exec(&circusd);
    let reason = refused(&circusd, "/nonexistent/circusd");
    assert!(reason.starts_with("not upgraded, at the stage 'program': /nonexistent/circusd: No such file"), "{reason}");
    let plain = circusd.write("plain", "no program");
    let reason = refused(&circusd, plain.to_str().unwrap());
    assert!(reason.contains("'program'") && reason.contains("Permission denied"), "{reason}");
    let reason = refused(&circusd, &script(&circusd, "echo the state is too new >&2; exit 1"));
    assert!(reason.contains("'check'") && reason.ends_with("exit status 1: the state is too new"), "{reason}");
    // It says that it can read the state, and then it cannot be run.
    let vanishing = script(&circusd, "rm \"$0\"");
    let reason = refused(&circusd, &vanishing);
    assert!(reason.contains("'exec'") && reason.contains("No such file"), "{reason}");
    assert_eq!((circusd.workers("w"), circusd.status("w")), (workers, "active".to_owned()));
    assert_eq!(open_across_exec(&circusd), inherited);
    upgrade(&circusd);
    assert_eq!(open_across_exec(&circusd), inherited);
}

/// The descriptors that a program which circusd runs could get.
fn open_across_exec(circusd: &Circusd) -> Vec<i32> {
    let process = circusd.process();
    let is_kept = |number: &i32| {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{}/fdinfo/{number}", process.0)) else { return false };
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        i32::from_str_radix(flags, 8).unwrap() & libc::O_CLOEXEC == 0
    };
    process.fd_numbers().into_iter().filter(is_kept).collect()
}

/// The states that `--check-state` refuses: what is no state, and one that was changed on its way.
#[test]
fn damaged_cut_and_foreign_states_are_refused() {
    let circusd = Site::new().start("[watcher:w]\ncmd = {knobs}");
    circusd.wait_for_workers("w", 1);
    let kept = circusd.path("state");
    let reason = refused(&circusd, &script(&circusd, &format!("cat >{}; exit 1", kept.display())));
    assert!(reason.contains("'check'"), "{reason}");
    let state = std::fs::read(&kept).unwrap();
    let check = |bytes: &[u8]| {
        std::fs::File::create(circusd.path("tried")).unwrap().write_all(bytes).unwrap();
        let mut command = circusd.circusd();
        command.arg("--check-state").stdin(std::fs::File::open(circusd.path("tried")).unwrap());
        let output = crate::rig::run(&mut command);
        (output.status, output.stderr)
    };
    assert_eq!(check(&state), (Some(0), String::new()));
    assert!(circusd.path("control").exists() && circusd.path("circusd.pid").exists(), "a look removes nothing");
    let (status, said) = check(b"[circus]\n");
    assert_eq!((status, said.trim_end()), (Some(1), "this is not a state of circusd"));
    let (status, said) = check(&state[..state.len() - 1]);
    assert!(status == Some(1) && said.starts_with("the state is cut off"), "{said}");
    let mut damaged = state.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(check(&damaged).1.trim_end(), "the state is damaged: its checksum is wrong");
    let at = state.windows(7).position(|window| window == b"version").unwrap() + 7;
    let mut newer = state.clone();
    newer[at] = 9;
    let (status, said) = check(&newer);
    assert!(status == Some(1) && said.contains("is of version 9, which is newer"), "{said}");
}

#[test]
fn unprivileged_circusd_is_upgraded_too() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let site = Site::new();
    let ini = site.ini("circus.ini", "[watcher:w]\ncmd = {knobs}");
    std::fs::set_permissions(site.path(""), std::fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = site.command("setpriv");
    let program = env!("CARGO_BIN_EXE_circusd");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]).arg(ini);
    let mut circusd = Circusd::launch_by(site, command);
    circusd.wait_until_it_listens();
    let workers = circusd.wait_for_workers("w", 1);
    upgrade(&circusd);
    assert_eq!(circusd.workers("w"), workers);
    assert_eq!(workers[0].status("Uid"), 65534);
}

/// Prints how long a client of the control endpoint waits at most for an answer in each of fifty upgrades, from its request
/// to the answer, and how long a client of the workers does.
#[test]
#[ignore = "a measurement"]
fn what_clients_see_of_it() {
    const UPGRADES: usize = 50;
    let circusd = serving();
    let http = crate::web::http(&circusd, "web");
    let over = AtomicBool::new(false);
    let (mut control, mut served) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        let visits = scope.spawn(|| {
            let mut waits = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let begun = circus::sys::since_boot();
                assert!(matches!(http.get(), Answer::Body(_)));
                waits.push(circus::sys::since_boot() - begun);
            }
            waits
        });
        for _ in 0..UPGRADES {
            let begun = circus::sys::since_boot();
            upgrade(&circusd);
            control.push(circus::sys::since_boot() - begun);
        }
        over.store(true, Ordering::Relaxed);
        served = visits.join().unwrap();
    });
    for (name, waits) in [("upgrade asked and answered", &mut control), ("request to a worker", &mut served)] {
        waits.sort();
        let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
        println!("{name}: n = {}, p50 {median:?}, max {longest:?}", waits.len());
    }
}
