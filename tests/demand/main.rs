//! Real programs: watchers that wait for a connection, sockets of one's own, the Python options, and why a watcher is
//! as it is. The rig is that of `tests/it`.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "../it/rig/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the rig of tests/it, of which these tests need a part")]
mod rig;

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use rig::{Answer, Circusd, Http, Site, wait_for, wait_until};
use serde_json::{Value, json};

/// The port of a managed socket.
fn port(circusd: &Circusd, socket: &str) -> u16 {
    let sockets = circusd.tell("listsockets", json!({}));
    let found = sockets["sockets"].as_array().unwrap().iter().find(|one| one["name"] == socket).unwrap();
    found["port"].as_u64().unwrap() as u16
}

fn details(circusd: &Circusd, watcher: &str) -> Value {
    circusd.tell("status", json!({"name": watcher, "verbose": true}))["details"].take()
}

fn body(answer: Answer) -> String {
    match answer {
        Answer::Body(body) => body,
        Answer::Refused(_) | Answer::Cut | Answer::Silence => panic!("{answer:?}"),
    }
}

const TWO_WAIT: &str = "
    [socket:api]
    host = 127.0.0.1
    port = 0
    [socket:web]
    host = 127.0.0.1
    port = 0
    [watcher:ahead]
    cmd = {knobs}
    priority = 10
    [watcher:api]
    cmd = {worker} serve --fd $(circus.sockets.api)
    use_sockets = True
    on_demand = True
    min_uptime = 0
    [watcher:web]
    cmd = {worker} serve
    sockets = web
    on_demand = True
    numprocesses = 2";

#[test]
fn each_waits_for_its_own_first_connection() {
    let circusd = Site::new().start(TWO_WAIT);
    let (api, web) = (Http(port(&circusd, "api")), Http(port(&circusd, "web")));
    circusd.wait_for_workers("ahead", 1);
    assert_eq!((circusd.status("api").as_str(), circusd.status("web").as_str()), ("stopped", "stopped"));
    assert_eq!(details(&circusd, "api")["waits_for"], json!(["api"]));
    let mut events = circusd.events();
    let answered = body(web.get());
    let workers = circusd.wait_for_workers("web", 2);
    assert!(workers.iter().any(|worker| answered == format!("hello from worker {}\n", worker.0)), "{answered}");
    assert_eq!(circusd.status("api"), "stopped", "a connection to another's socket is none to its own");
    assert_eq!(events.until("web", "start").iter().filter(|event| event.what == "spawn").count(), 2);

    // An operator starts it without any.
    let started = circusd.tell("start", json!({"name": "api", "waiting": true}));
    assert_eq!(started["info"]["started"].as_array().unwrap().len(), 1);
    body(api.get());
    // After a stop it waits again.
    circusd.tell("stop", json!({"name": "api", "waiting": true}));
    assert_eq!(circusd.status("api"), "stopped");
    body(api.get());
    wait_until("the connection has started it", || circusd.status("api") == "active");
}

#[test]
fn who_connected_before_the_last_worker_died_is_answered_by_the_next() {
    let circusd = Site::new().start(TWO_WAIT);
    let api = Http(port(&circusd, "api"));
    body(api.get());
    let worker = circusd.wait_for_workers("api", 1)[0];
    let mut events = circusd.events();
    worker.send(Signal::SIGSTOP);
    let begun = api.begin();
    worker.send(Signal::SIGKILL);
    let heard = events.until("api", "spawn");
    let what: Vec<&str> = heard.iter().filter(|one| one.watcher == "api").map(|one| one.what.as_str()).collect();
    assert_eq!(what, ["reap", "spawn"], "that it waits is no stop");
    let answered = body(begun.end());
    assert_ne!(answered, format!("hello from worker {}\n", worker.0));
}

#[test]
fn a_connection_that_nobody_accepts_is_no_crash_loop() {
    let circusd = Site::new().start(
        "[socket:web]
         host = 127.0.0.1
         port = 0
         [watcher:web]
         cmd = {knobs} exit 3
         sockets = web
         on_demand = True",
    );
    let mut events = circusd.events();
    let waiting = Http(port(&circusd, "web")).begin();
    let mut spawns = Vec::new();
    while spawns.len() < 5 {
        let next = events.next();
        if next.what == "spawn" {
            spawns.push(next.body["time"].as_f64().unwrap());
        }
    }
    let pauses: Vec<f64> = spawns.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, least) in pauses.iter().zip([0.09, 0.18, 0.36, 0.72]) {
        assert!(*pause >= least, "{pauses:?}");
    }
    wait_until("its worker is gone", || details(&circusd, "web")["rests"].is_f64());
    let told = circusd.circusctl(&["status", "web", "--verbose"]).stdout;
    assert!(told.starts_with("web: stopped, 0 of 1 running, on demand\n  no connection starts it for "), "{told}");
    assert!(told.contains(" s; then the next connection to web does\n  last exit, "), "{told}");
    assert_eq!(waiting.inode_of_server(), None, "circusd itself accepts no connection");
}

/// The sockets that listen at a port of this machine, as inodes.
fn listeners(port: u16) -> BTreeSet<String> {
    let (port, table) = (format!(":{port:04X}"), std::fs::read_to_string("/proc/net/tcp").unwrap());
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[1].ends_with(&port) && row[3] == "0A").map(|row| row[9].to_owned()).collect()
}

#[test]
fn with_so_reuseport_every_worker_listens_for_itself() {
    let circusd = Site::new().start(
        "[socket:web]
         host = 127.0.0.1
         port = 0
         so_reuseport = True
         [watcher:web]
         cmd = {worker} serve --fd $(circus.sockets.web)
         use_sockets = True
         numprocesses = 3
         [watcher:listen]
         cmd = {worker} serve
         sockets = web
         numprocesses = 0
         [watcher:other]
         cmd = {knobs}
         use_sockets = True",
    );
    let port = port(&circusd, "web");
    let workers = circusd.wait_for_workers("web", 3);
    circusd.wait_for_workers("other", 1);
    assert_eq!(listeners(port).len(), 3, "one each, none of circusd's and none of a watcher that does not name it");
    let seen = |count: usize| {
        let mut answers = BTreeSet::new();
        wait_until(&format!("{count} workers have answered"), || {
            answers.insert(body(Http(port).get()));
            answers.len() == count
        });
    };
    seen(3);
    // The successor of a dead worker has a socket of its own again; circusd keeps none of them open.
    workers[0].send(Signal::SIGKILL);
    wait_until("it is replaced", || !circusd.workers("web").contains(&workers[0]));
    circusd.wait_for_workers("web", 3);
    wait_until("three listen", || listeners(port).len() == 3);
    seen(3);
    circusd.tell("incr", json!({"name": "listen", "nb": 2, "waiting": true}));
    circusd.tell("start", json!({"name": "listen", "waiting": true}));
    wait_until("five listen", || listeners(port).len() == 5);
    circusd.tell("stop", json!({"waiting": true}));
    assert_eq!(listeners(port).len(), 0);
}

#[test]
fn who_has_succeeded_is_done_and_who_has_failed_is_not() {
    let circusd = Site::new().start(
        "[watcher:good]
         cmd = {knobs} exit 3
         respawn = on-failure
         success_codes = 0, 3
         [watcher:bad]
         cmd = {knobs} exit 4
         respawn = on-failure
         [watcher:lost]
         cmd = {knobs}
         working_dir = {dir}/nowhere
         max_retry = 1",
    );
    wait_until("the good one is done", || circusd.status("good") == "stopped");
    wait_until("the bad one has failed again and again", || {
        details(&circusd, "bad")["backing_off"][0]["times"].as_u64().is_some_and(|times| times >= 4)
    });
    assert_eq!(details(&circusd, "good")["spawned"], json!(1));
    let told = circusd.circusctl(&["status", "--verbose"]).stdout;
    for part in [
        "bad: active, 0 of 1 running, backing off\n",
        "\n  worker 1: backing off, next start in ",
        " exits in a row, the last: exited with status 4\n",
        "good: stopped, 0 of 1 running\n",
        ") exited with status 3 after ",
        "lost: stopped, 0 of 1 running, failed\n  worker 1 could not be started: failed to change to the working \
        directory: ",
        "\n  last failed start, ",
        " ago: worker 1: failed to change to the working directory: ",
        "totals: 0 started, 0 exited, 1 failed to start",
    ] {
        assert!(told.contains(part), "{part:?} is not in\n{told}");
    }
    // Without --verbose nothing is said but the state, as ever.
    assert_eq!(circusd.circusctl(&["status", "good"]).stdout, "stopped\n");
}

#[test]
fn a_virtual_environment_is_entered_and_an_executable_executed() {
    let site = Site::new();
    std::fs::create_dir_all(site.path("venv/lib/python3.99/site-packages")).unwrap();
    std::fs::create_dir(site.path("venv/bin")).unwrap();
    let tool = site.write("venv/bin/tool", "#!/bin/sh\necho $PATH $PYTHONPATH > {dir}/told\nexec sleep 1000\n");
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let circusd = site.start(
        "[watcher:tool]
         cmd = tool
         copy_env = True
         virtualenv = {dir}/venv
         [watcher:named]
         cmd = zero -c 'echo $0 $1 > {dir}/named; exec sleep 1000' first second
         executable = /bin/sh",
    );
    let root = circusd.path("venv").display().to_string();
    let told = format!("{root}/bin:/usr/local/bin:/usr/bin:/bin {root}/lib/python3.99/site-packages\n");
    assert_eq!(wait_for("it has told", || Some(circusd.read("told")).filter(|told| told.ends_with('\n'))), told);
    circusd.wait_for_text("named", "first second");
    let refused = circusd.ask("set", json!({"name": "tool", "options": {"virtualenv": "/nonexistent"}}));
    assert_eq!(refused["errno"], 5);
    assert!(refused["reason"].as_str().unwrap().contains("is not a virtual environment"), "{refused}");
}

#[test]
fn a_socket_is_bound_to_its_interface() {
    let circusd = Site::new().start(
        "[socket:web]
         host = 127.0.0.1
         port = 0
         interface = lo
         [watcher:web]
         cmd = {worker} serve
         sockets = web",
    );
    body(Http(port(&circusd, "web")).get());
    let site = Site::new();
    let ini = site.ini("circus.ini", "[socket:web]\nport = 0\ninterface = nosuch0\n[watcher:w]\ncmd = x\n");
    let output = site.run_circusd(&[ini.to_str().unwrap()]);
    assert_eq!(output.status, Some(1));
    assert!(output.stderr.contains("there is no network interface 'nosuch0'"), "{}", output.stderr);
}

/// A server that takes its time with a request: it answers when a file is there.
const SLOW: &str = "
import os, socket, sys, time
listener = socket.socket(fileno=int(sys.argv[1]))
listener.setblocking(True)
while True:
    peer, _ = listener.accept()
    request = peer.recv(1000)
    open(sys.argv[2] + '/asked', 'w').close()
    while b'/slow' in request and not os.path.exists(sys.argv[2] + '/go'):
        time.sleep(0.01)
    body = b'from %d' % os.getpid()
    peer.sendall(b'HTTP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s' % (len(body), body))
    peer.close()
";

#[test]
fn idle_workers_stop_and_never_under_a_request() {
    use std::io::{Read as _, Write as _};
    let Some(python) = rig::python("idle_workers_stop_and_never_under_a_request") else { return };
    let site = Site::new();
    std::os::unix::fs::symlink(python.canonicalize().unwrap(), site.path("python3")).unwrap();
    site.write("slow.py", SLOW);
    let circusd = site.start(
        "[socket:web]
         host = 127.0.0.1
         port = 0
         [socket:file]
         path = {dir}/web.sock
         [watcher:web]
         cmd = {dir}/python3 {dir}/slow.py $(circus.sockets.web) {dir}
         use_sockets = True
         on_demand = True
         idle_timeout = 0.5
         [watcher:other]
         cmd = {knobs}",
    );
    let port = port(&circusd, "web");
    let mut events = circusd.events();
    let mut slow = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    slow.write_all(b"GET /slow HTTP/1.0\r\n\r\n").unwrap();
    wait_until("the request is under way", || circusd.path("asked").exists());
    let worker = circusd.wait_for_workers("web", 1)[0];
    // Ten times idle_timeout and more, by circusd's own clock.
    wait_until("the request takes long", || details(&circusd, "web")["uptime"].as_f64().is_some_and(|up| up > 6.0));
    assert_eq!(circusd.workers("web"), [worker]);
    circusd.write("go", "");
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with(&format!("from {}", worker.0)), "{answer}");
    drop(slow);
    events.until("web", "stop");
    wait_until("it waits again", || details(&circusd, "web")["health"] == "on demand");
    assert_eq!(circusd.workers("web").len(), 0);
    assert_ne!(body(Http(port).get()), format!("from {}", worker.0));
    events.until("web", "stop");
}
