//! Reloads under load: requests keep coming, over connections that are kept open and over new ones, some of them slow, and
//! none is lost whatever is done with the workers, with circusd, and with other sockets.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::rig::{Circusd, Counts, Load, Process, Site, free_port, observe_for, wait_until};

/// Visitors, and requests a second of all of them.
const VISITORS: u32 = 16;
const RATE: u32 = 200;

/// Three web servers at one socket. `version` says what the next ones are like.
fn fleet(options: &str, also: &str) -> String {
    format!(
        "[socket:web]
         host = 127.0.0.1
         port = 0
         [watcher:web]
         cmd = {{webworker}} $(circus.sockets.web) {{dir}}/version
         use_sockets = True
         numprocesses = 3
         ready = notify
         min_uptime = 0.2
         stderr_stream.class = MemoryStream
         {options}
         {also}"
    )
}

fn start(options: &str) -> (Circusd, u16) {
    let site = Site::new();
    site.write("version", "");
    let circusd = site.start(&fleet(options, ""));
    come_up(&circusd);
    let port = crate::web::http(&circusd, "web").0;
    (circusd, port)
}

/// The first three, once each has read `version` and is ready.
fn come_up(circusd: &Circusd) -> Vec<Process> {
    wait_until("all are ready", || circusd.status("web") == "active");
    circusd.wait_for_workers("web", 3)
}

/// What visitors meet while this is done.
#[track_caller]
fn under_load(port: u16, act: impl FnOnce()) -> Counts {
    let load = Load::start(port, VISITORS, RATE);
    act();
    let counts = load.stop();
    println!("{counts:?}");
    counts
}

#[track_caller]
fn assert_none_lost(counts: &Counts) {
    assert_eq!(counts.failed(), 0, "{counts:?}");
    assert!(counts.answered > 0, "{counts:?}");
}

/// Numbers and pids of the workers.
fn slots(circusd: &Circusd) -> BTreeMap<u64, u64> {
    let details = circusd.details("web");
    let number = |row: &serde_json::Value, key: &str| row[key].as_u64().unwrap();
    details["processes"].as_array().unwrap().iter().map(|row| (number(row, "wid"), number(row, "pid"))).collect()
}

#[test]
fn none_is_lost_by_reloads_of_any_kind() {
    let (circusd, port) = start("");
    let counts = under_load(port, || {
        for batch in
            [json!({"reload_batch": 0}), json!({"reload_batch": 2}), json!({"reload_batch": 1, "reload_surge": 1})]
        {
            circusd.tell("set", json!({"name": "web", "options": batch}));
            circusd.tell("reload", json!({"name": "web", "waiting": true}));
            circusd.tell("reload", json!({"name": "web", "waiting": true, "sequential": true}));
        }
    });
    assert_none_lost(&counts);
}

#[test]
fn none_is_lost_by_upgrades_and_other_sockets() {
    let (circusd, port) = start("");
    let counts = under_load(port, || {
        for turn in 0..4 {
            circusd.tell("upgrade", json!({}));
            let other = "[socket:other]\nhost = 127.0.0.1\nport = 0";
            circusd.ini("circus.ini", &fleet("", if turn % 2 == 0 { other } else { "" }));
            circusd.tell("reloadconfig", json!({"waiting": true}));
            let sockets = circusd.tell("listsockets", json!({}));
            assert_eq!(sockets["sockets"].as_array().unwrap().len(), 2 - turn % 2);
        }
        circusd.tell("reload", json!({"name": "web"}));
        circusd.tell("upgrade", json!({}));
        wait_until("the reload goes on after the upgrade", || circusd.details("web")["operation"].is_null());
    });
    assert_none_lost(&counts);
}

#[test]
fn killed_workers_cost_only_what_they_had_accepted() {
    const KILLS: u64 = 20;
    let (circusd, port) = start("");
    circusd.tell("set", json!({"name": "web", "options": {"min_uptime": 0}}));
    let counts = under_load(port, || {
        for turn in 0..KILLS {
            let workers = circusd.workers("web");
            if let Some(victim) = workers.get(usize::try_from(turn).unwrap() % workers.len().max(1)) {
                victim.send(Signal::SIGKILL);
            }
            observe_for(Duration::from_millis(100));
        }
    });
    assert_eq!((counts.refused, counts.lost), (0, 0), "{counts:?}");
    assert!(counts.reset <= KILLS * u64::from(VISITORS), "{counts:?}");
    circusd.wait_for_workers("web", 3);
    assert_none_lost(&under_load(port, || observe_for(Duration::from_millis(500))));
}

#[test]
fn while_all_workers_are_stopped_visitors_wait() {
    let (circusd, port) = start("");
    let counts = under_load(port, || {
        circusd.tell("stop", json!({"name": "web", "waiting": true}));
        observe_for(Duration::from_secs(1));
        circusd.tell("start", json!({"name": "web", "waiting": true}));
    });
    assert_none_lost(&counts);
    assert!(counts.slowest >= 900, "{counts:?}");
}

/// The lines of the worker that did not come up.
fn printed(reply: &serde_json::Value) -> Vec<&str> {
    let rows = reply["failed"].as_array().unwrap().iter().filter_map(|row| row["lines"].as_array());
    rows.flatten().map(|line| line.as_str().unwrap()).collect()
}

/// A new version that does not work: the old workers serve throughout, and the answer and the event say why.
#[track_caller]
fn assert_refused(version: &str, reason: &str, line: Option<&str>) {
    let (circusd, port) = start("ready_timeout = 2");
    let before = slots(&circusd);
    let mut events = circusd.events();
    let counts = under_load(port, || {
        circusd.write("version", version);
        for sequential in [false, true] {
            let reply = circusd.ask("reload", json!({"name": "web", "waiting": true, "sequential": sequential}));
            assert_eq!(reply["status"], "error", "{reply}");
            let said = reply["reason"].as_str().unwrap();
            assert!(said.contains("the old processes are kept") && said.contains(reason), "{said}");
            if let Some(line) = line {
                assert_eq!(printed(&reply), [line], "{reply}");
            }
            let event = events.until("web", "reload_failed").pop().unwrap();
            assert_eq!(event.body["reason"], reply["reason"]);
            assert_eq!(event.body["lines"].as_array().unwrap().len(), usize::from(line.is_some()));
            wait_until("the new ones are gone", || slots(&circusd) == before && circusd.workers("web").len() == 3);
        }
        let (said, status) = circusd.ctl(&["reload", "web", "--waiting"]);
        assert_eq!(status, Some(3), "{said}");
        assert!(line.is_none_or(|line| said.contains(&format!("  | {line}\n"))), "{said}");
    });
    assert_none_lost(&counts);
    // The next version works.
    circusd.write("version", "");
    wait_until("the new ones are gone", || circusd.workers("web").len() == 3);
    assert_none_lost(&under_load(port, || drop(circusd.tell("reload", json!({"name": "web", "waiting": true})))));
    let after = slots(&circusd);
    assert!(after.keys().eq(before.keys()) && after.values().all(|pid| before.values().all(|old| old != pid)));
}

#[test]
fn version_that_is_never_ready_takes_no_place() {
    assert_refused("never", "was not ready after 2.0 s (notify)", None);
}

#[test]
fn version_that_dies_at_once_takes_no_place() {
    assert_refused("dies", "exited with status 3", Some("this version has a fault in line 1"));
}

#[test]
fn version_that_is_ready_and_then_dies_takes_no_place() {
    let faded = "this version cannot reach its database";
    let (circusd, port) = start("");
    circusd.tell("set", json!({"name": "web", "options": {"min_uptime": 2}}));
    let before = circusd.workers("web");
    let counts = under_load(port, || {
        circusd.write("version", "fades");
        let reply = circusd.ask("reload", json!({"name": "web", "waiting": true}));
        assert!(reply["reason"].as_str().unwrap().contains("the old processes are kept"), "{reply}");
        assert_eq!(printed(&reply), [faded], "{reply}");
    });
    assert_none_lost(&counts);
    wait_until("the old ones are left", || circusd.workers("web") == before);
}

#[test]
fn sockets_are_kept_whatever_becomes_of_the_workers() {
    let site = Site::new();
    site.write("version", "");
    let circusd = site.start(&fleet("", "[socket:kept]\npath = {dir}/kept"));
    let sockets = |circusd: &Circusd| -> Vec<PathBuf> {
        let fds = circusd.process().fds();
        [3, 4].map(|number| fds[&number].clone()).into()
    };
    let before = sockets(&circusd);
    circusd.wait_for_workers("web", 3);
    let port = crate::web::http(&circusd, "web").0;
    // Connections that no worker accepts meanwhile stay in the queue.
    let waiting = std::os::unix::net::UnixStream::connect(circusd.path("kept")).unwrap();
    let same = |what: &str| assert_eq!(sockets(&circusd), before, "{what}");
    circusd.tell("stop", json!({"name": "web", "waiting": true}));
    same("stop");
    circusd.tell("start", json!({"name": "web", "waiting": true}));
    circusd.tell("restart", json!({"name": "web", "waiting": true}));
    same("restart");
    circusd.tell("reload", json!({"name": "web", "waiting": true}));
    same("reload");
    circusd.ini(
        "circus.ini",
        &fleet("max_age = 100", "[socket:kept]\npath = {dir}/kept\n[socket:more]\npath = {dir}/more"),
    );
    circusd.tell("reloadconfig", json!({"waiting": true}));
    same("reloadconfig");
    for worker in circusd.workers("web") {
        worker.send(Signal::SIGKILL);
    }
    circusd.wait_for_workers("web", 3);
    same("crash");
    assert_eq!(crate::web::http(&circusd, "web").0, port);
    assert_none_lost(&under_load(port, || observe_for(Duration::from_millis(300))));
    waiting.set_nonblocking(true).unwrap();
    let end = std::io::Read::read(&mut &waiting, &mut [0]);
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "the connection still waits");
}

#[test]
fn socket_that_moves_serves_at_its_old_address_until_its_workers_go() {
    let site = Site::new();
    site.write("version", "");
    let at = |port: u16| fleet("ready_timeout = 15", "").replace("port = 0", &format!("port = {port}"));
    let (old, new) = (free_port(), free_port());
    let circusd = site.start(&at(old));
    let before = come_up(&circusd);
    // The new workers are never ready, so the old ones stay, and answer where they did.
    circusd.write("version", "never");
    circusd.ini("circus.ini", &at(new));
    let counts = under_load(old, || {
        circusd.tell("reloadconfig", json!({}));
        wait_until("new ones come up", || circusd.workers("web").len() == 6);
        observe_for(Duration::from_millis(500));
    });
    assert_none_lost(&counts);
    assert!(before.iter().all(|worker| worker.lives()));
    circusd.write("version", "");
    circusd.tell("restart", json!({"name": "web", "waiting": true}));
    assert_none_lost(&under_load(new, || observe_for(Duration::from_millis(300))));
}

#[test]
fn own_sockets_stay_with_their_slots() {
    let site = Site::new();
    site.write("version", "");
    let circusd = site.start(&fleet("", "[socket:web]\nso_reuseport = True"));
    let by_slot = |circusd: &Circusd| -> BTreeMap<u64, PathBuf> {
        let number = crate::web::http(circusd, "web");
        let inode = |pid: u64| {
            let fds = Process(i32::try_from(pid).unwrap()).fds();
            fds.values().find(|path| path.to_string_lossy().starts_with("socket:")).unwrap().clone()
        };
        assert_ne!(number.0, 0);
        slots(circusd).into_iter().map(|(wid, pid)| (wid, inode(pid))).collect()
    };
    circusd.wait_for_workers("web", 3);
    wait_until("all are ready", || circusd.status("web") == "active");
    let before = by_slot(&circusd);
    assert_eq!(before.values().collect::<std::collections::BTreeSet<_>>().len(), 3);
    let port = crate::web::http(&circusd, "web").0;
    let counts = under_load(port, || {
        for sequential in [false, true] {
            circusd.tell("reload", json!({"name": "web", "waiting": true, "sequential": sequential}));
            assert_eq!(by_slot(&circusd), before);
        }
    });
    assert_none_lost(&counts);
    for restarts in 1..=2 {
        circusd.workers("web")[1].send(Signal::SIGKILL);
        wait_until("the killed one has a successor", || {
            circusd.details("web")["restarts"] == restarts && slots(&circusd).len() == 3
        });
        wait_until("it is ready", || circusd.status("web") == "active" && circusd.details("web")["running"] == 3);
        assert_eq!(by_slot(&circusd), before);
        // The next circusd has the same ones.
        assert_none_lost(&under_load(port, || drop(circusd.tell("upgrade", json!({})))));
        assert_eq!(by_slot(&circusd), before);
    }
}
