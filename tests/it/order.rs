//! `after` with real programs: what a watcher needs starts before it and stops after it.

use serde_json::json;

use crate::rig::{Site, python, wait_until};

#[test]
fn worker_waits_for_its_broker_and_ends_before_it() {
    let mut circusd = Site::new().start(
        "[watcher:worker]
         cmd = {knobs} polite worker-left say begun
         after = broker
         stdout_stream.class = FileStream
         stdout_stream.filename = {dir}/ends
         [watcher:broker]
         cmd = {knobs} polite broker-left say begun
         ready = exec:/usr/bin/test -f {dir}/up
         ready_interval = 0.05
         stdout_stream.class = FileStream
         stdout_stream.filename = {dir}/ends",
    );
    wait_until("the broker is asked whether it is ready", || {
        circusd.details("broker")["processes"][0]["check_error"] == "exit status 1"
    });
    assert_eq!(circusd.workers("worker").len(), 0);
    circusd.write("up", "");
    wait_until("both mind their signals", || circusd.read("ends").matches("begun").count() == 2);
    circusd.quit();
    let ends = circusd.read("ends");
    let place = |text: &str| ends.find(text).unwrap_or_else(|| panic!("{text} is missing in {ends:?}"));
    assert!(place("worker-left") < place("broker-left"), "{ends:?}");
}

#[test]
fn impossible_orders_are_named_with_their_path() {
    let site = Site::new();
    let file = site.write(
        "f.ini",
        "[watcher:a]\ncmd = sh\nafter = b\n[watcher:b]\ncmd = sh\nafter = a\n[watcher:c]\ncmd = sh\nafter = nothing\n",
    );
    let output = site.run_circusd(&["--check", file.to_str().unwrap()]);
    assert_eq!(output.status, Some(1), "{output:?}");
    for told in ["f.ini:3: error: [watcher:a] after: ", "a -> b -> a", "f.ini:9: error: [watcher:c] after: ", "nothing"]
    {
        assert!(output.stdout.contains(told), "{told}: {output:?}");
    }
}

#[test]
fn order_set_later_is_checked_and_holds() {
    let circusd = Site::new().start("[watcher:a]\ncmd = {knobs}\n[watcher:b]\ncmd = {knobs}");
    circusd.wait_for_workers("b", 1);
    assert_eq!(circusd.ctl(&["set", "a", "after", "b"]).1, Some(0));
    let (text, status) = circusd.ctl(&["set", "b", "after", "a"]);
    assert!(status == Some(3) && text.contains("b -> a -> b"), "{text} {status:?}");
    circusd.tell("stop", json!({"name": "*", "match": "glob", "waiting": true}));
    circusd.tell("start", json!({"name": "*", "match": "glob", "waiting": true}));
    circusd.wait_for_workers("a", 1);
}

/// A broker that notes what workers acknowledge, and workers with a task under way that acknowledge it when they are told
/// to stop.
const BROKER_AND_WORKER: &str = r#"
import os, signal, socket, sys, time
role, folder = sys.argv[1:]
address = os.path.join(folder, "broker.sock")
def note(name, text):
    with open(os.path.join(folder, name), "a") as file:
        file.write(text + "\n")
if role == "broker":
    def end(*_):
        os.unlink(address)
        os._exit(0)
    signal.signal(signal.SIGTERM, end)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(16)
    while True:
        peer, _ = listener.accept()
        text = peer.recv(100).decode()
        if text:
            note("acknowledged", text)
            peer.sendall(b"ok")
        peer.close()
def acknowledge(*_):
    time.sleep(0.3)
    try:
        broker = socket.socket(socket.AF_UNIX)
        broker.connect(address)
        broker.sendall(str(os.getpid()).encode())
        done = broker.recv(2) == b"ok"
    except OSError:
        done = False
    note("done" if done else "lost", str(os.getpid()))
    os._exit(0)
signal.signal(signal.SIGTERM, acknowledge)
note("working", str(os.getpid()))
while True:
    time.sleep(1000)
"#;

#[test]
fn broker_outlives_the_tasks_that_are_under_way() {
    let Some(python) = python("order::broker_outlives_the_tasks_that_are_under_way") else { return };
    let site = Site::new();
    std::os::unix::fs::symlink(python.canonicalize().unwrap(), site.path("python3")).unwrap();
    site.write("both.py", BROKER_AND_WORKER);
    let mut circusd = site.start(
        "[watcher:worker]
         cmd = {dir}/python3 {dir}/both.py worker {dir}
         numprocesses = 4
         requires = broker
         [watcher:broker]
         cmd = {dir}/python3 {dir}/both.py broker {dir}
         ready = unix:{dir}/broker.sock
         ready_interval = 0.05",
    );
    let working = |count: usize| {
        wait_until("the workers have tasks", || circusd.read("working").lines().count() == count);
    };
    working(4);
    // A restart of the broker, and then the end: no task is lost either time.
    let (_, status) = circusd.ctl(&["restart", "broker", "--waiting"]);
    assert_eq!(status, Some(0));
    working(8);
    circusd.quit();
    assert!(!circusd.path("lost").exists(), "a task was lost:\n{}", circusd.log());
    assert_eq!((circusd.read("done").lines().count(), circusd.read("acknowledged").lines().count()), (8, 8));
}

#[test]
fn quit_ends_what_does_not_stop_when_its_time_is_over() {
    let mut circusd = Site::new().start(
        "[watcher:worker]
         cmd = sh -c 'trap \"\" TERM; touch {dir}/deaf; while :; do sleep 1; done'
         graceful_timeout = 600
         requires = broker
         [watcher:broker]
         cmd = {knobs}
         graceful_timeout = 600",
    );
    wait_until("the worker does not hear", || circusd.path("deaf").exists());
    let answer = circusd.circusctl(&["quit", "--waiting", "--timeout", "1"]);
    assert_eq!((answer.stdout.trim(), answer.status), ("ok", Some(0)), "{answer:?}");
    assert_eq!(circusd.wait_for_end().status, Some(0));
}

#[test]
fn start_says_what_it_waits_for() {
    let circusd = Site::new().start(
        "[watcher:worker]
         cmd = {knobs}
         requires = broker
         [watcher:broker]
         cmd = {knobs}
         autostart = no",
    );
    let (text, status) = circusd.ctl(&["start", "worker", "--waiting"]);
    assert!(status == Some(3) && text.contains("worker: waits for broker (disabled)"), "{text} {status:?}");
    assert_eq!(circusd.details("worker")["health"], "held back");
    assert_eq!(circusd.ctl(&["start", "broker", "--waiting"]).1, Some(0));
    circusd.wait_for_workers("worker", 1);
}
