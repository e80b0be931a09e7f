//! Workers by need: `scale` and `drain` with real programs.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use serde_json::json;

use crate::rig::{Answer, Circusd, Process, Site, wait_until};

fn port(circusd: &Circusd, name: &str) -> u16 {
    let sockets = circusd.tell("listsockets", json!({}));
    let rows = sockets["sockets"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == name).unwrap()["port"].as_u64().unwrap() as u16
}

/// A worker answers one visitor at a time, so those that come while it does wait in the queue.
#[test]
fn queue_that_grows_makes_workers_and_only_idle_ones_go() {
    let site = Site::new();
    site.write("idle", "test -e {dir}/idle-$CIRCUS_PID\n");
    let circusd = site.start(
        "[socket:web]
         host = 127.0.0.1
         port = 0
         [watcher:web]
         cmd = {knobs} serve $(circus.sockets.web)
         use_sockets = True
         min_uptime = 0
         scale = queue
         scale_max = 3
         scale_interval = 0.1
         scale_down_after = 0.3
         drain = exec:/bin/sh {dir}/idle",
    );
    let http = crate::web::http(&circusd, "web");
    let mut events = circusd.events();
    let visitors: Vec<_> = (0..3).map(|_| http.begin()).collect();
    let workers = circusd.wait_for_workers("web", 3);
    let grown = events.until("web", "scale").pop().unwrap().body;
    assert_eq!((&grown["before"], &grown["numprocesses"]), (&json!(1), &json!(2)), "{grown}");
    assert!(grown["reason"].as_str().unwrap().contains("wait"), "{grown}");
    // Nobody waits any more, and fewer would do; but all are busy.
    wait_until("two are too many", || circusd.details("web")["draining"] == 2);
    assert_eq!(circusd.workers("web"), workers);
    let said = circusd.circusctl(&["status", "--verbose", "web"]).stdout;
    assert!(said.contains("2 workers too many are busy") && said.contains("scale = queue, 1 to 3 workers"), "{said}");
    assert!(circusd.circusctl(&["why", "web"]).stdout.contains("no connection has waited for 0.3 s"));
    let mut visitors = visitors.into_iter();
    let first = visitors.next().unwrap();
    let inode = first.inode_of_server().unwrap();
    let idle = *workers.iter().find(|worker| worker.has_socket(inode)).unwrap();
    assert_eq!(first.end(), Answer::Body(format!("{}\n", idle.0)));
    circusd.write(&format!("idle-{}", idle.0), "");
    wait_until("the idle one has gone", || !idle.lives());
    for visitor in visitors {
        let Answer::Body(pid) = visitor.end() else { panic!("a busy worker was stopped") };
        assert_ne!(pid.trim(), idle.0.to_string());
    }
    assert_eq!(circusd.workers("web").len(), 2);
}

#[test]
fn queues_of_every_kind_of_socket_count() {
    let circusd = Site::new().start(
        "[socket:shared]
         host = 127.0.0.1
         port = 0
         [socket:own]
         host = 127.0.0.1
         port = 0
         so_reuseport = True
         [socket:file]
         path = {dir}/file
         [watcher:shared]
         cmd = sh -c 'exec sleep 1000' $(circus.sockets.shared)
         use_sockets = True
         scale = queue
         scale_max = 2
         scale_interval = 0.1
         [watcher:own]
         cmd = sh -c 'exec sleep 1000' $(circus.sockets.own)
         use_sockets = True
         scale = queue
         scale_max = 2
         scale_interval = 0.1
         [watcher:file]
         cmd = sleep 1000
         sockets = file
         scale = queue
         scale_max = 2
         scale_interval = 0.1",
    );
    let all = ["shared", "own", "file"];
    all.iter().for_each(|name| drop(circusd.wait_for_workers(name, 1)));
    wait_until("each was looked at", || all.iter().all(|name| circusd.details(name)["scale"]["measured"] == 0.0));
    let _tcp = ["shared", "own"].map(|name| TcpStream::connect(("127.0.0.1", port(&circusd, name))).unwrap());
    let _file = UnixStream::connect(circusd.path("file")).unwrap();
    all.iter().for_each(|name| drop(circusd.wait_for_workers(name, 2)));
}

#[test]
fn processor_time_of_workers_and_their_children_counts() {
    let circusd = Site::new().start(
        "[watcher:busy]
         cmd = {knobs} child 'burn 90'
         scale = cpu
         scale_target = 20
         scale_max = 2
         scale_interval = 0.3
         [watcher:idle]
         cmd = {knobs}
         scale = cpu
         scale_max = 2
         scale_interval = 0.1",
    );
    circusd.wait_for_workers("busy", 2);
    assert!(circusd.details("busy")["scale"]["last"]["reason"].as_str().unwrap().contains("% of a processor"));
    wait_until("the idle one was looked at", || circusd.details("idle")["scale"]["measured"].is_f64());
    assert_eq!(circusd.workers("idle").len(), 1);
    for process in circusd.inhabitants() {
        if process.argv().contains(&"burn".to_owned()) {
            process.send(nix::sys::signal::Signal::SIGKILL);
        }
    }
}

#[test]
fn command_says_how_many_also_after_an_upgrade() {
    let site = Site::new();
    site.write("wanted", "3\n");
    let circusd = site.start(
        "[watcher:w]
         cmd = {knobs}
         scale = exec:/bin/cat {dir}/wanted
         scale_max = 4
         scale_interval = 0.05
         scale_down_after = 0",
    );
    circusd.wait_for_workers("w", 3);
    circusd.write("wanted", "nonsense");
    circusd.wait_for_log("scale = exec:/bin/cat has failed, the number stays 3: it has not printed a number");
    circusd.tell("upgrade", json!({}));
    circusd.write("wanted", "1");
    let left = circusd.wait_for_workers("w", 1);
    assert_eq!(circusd.details("w")["scale"]["error"], json!(null));
    let refused = circusd.ask("incr", json!({"name": "w", "nb": 9}));
    assert_eq!(refused["reason"], "w: numprocesses has to be from 1 to 4 (scale_min, scale_max)");
    assert_eq!(circusd.workers("w"), left);
}

/// The command prints the number of its user.
#[test]
#[ignore = "needs root"]
fn command_runs_as_the_user_of_the_workers() {
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = /bin/sleep 1000
         uid = 3
         working_dir = /
         scale = exec:/usr/bin/id -u
         scale_max = 5
         scale_interval = 0.05",
    );
    let workers: Vec<Process> = circusd.wait_for_workers("w", 3);
    assert!(workers.iter().all(|worker| worker.status("Uid") == 3));
}
