//! A stream of URL tasks while everything is killed in turn: no task that was accepted is lost.
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::rig::{self, Kind, Rig, Signal, eventually, needs, signal};
use serde_json::json;

/// Between two tasks. One worker of Celery does each in a few milliseconds, but it has to catch up after each kill.
const PACE: Duration = Duration::from_millis(150);
/// So many tasks are accepted between two kills.
const BETWEEN: usize = 12;

/// How often each task was done, by its number.
type Done = Arc<Mutex<BTreeMap<usize, usize>>>;

/// A web server that counts the requests for each number. Its address.
fn target(done: &Done) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, done) = (format!("http://{}", listener.local_addr().unwrap()), Arc::clone(done));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let (mut first, mut line) = (String::new(), String::new());
            drop(reader.read_line(&mut first));
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            if let Some(number) = first.split(['/', ' ']).find_map(|word| word.parse().ok()) {
                *done.lock().unwrap().entry(number).or_insert(0) += 1;
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            drop(reader.get_mut().write_all(answer));
        }
    });
    address
}

#[test]
fn no_accepted_task_is_lost_over_redis() {
    storm("no_accepted_task_is_lost_over_redis", Kind::Redis);
}

#[test]
fn no_accepted_task_is_lost_over_rabbitmq() {
    storm("no_accepted_task_is_lost_over_rabbitmq", Kind::Rabbit);
}

fn storm(test: &str, kind: Kind) {
    let Some(celery) = needs(test, kind) else { return };
    let mut rig = Rig::remembering(celery, kind, 2);
    let done = Done::default();
    let target = target(&done);
    // With a Redis, Celery gives the tasks of a worker that was killed to another after this time.
    let seconds = "extra_config=%27broker_transport_options%3D%7B%22visibility_timeout%22%3A5%7D%27";
    rig.post(0, 201, "/foo/", if kind == Kind::Redis { seconds } else { "" });
    rig.post(0, 201, "/foo/instances/i1/", "");
    rig.post(0, 201, "/foo/queues/tasks/", "exchange=tasks&routing_key=tasks");
    rig.get(1, 201, "PUT", "/foo/instances/i1/queues/tasks");

    // Each branch accepts every second task, where it lives.
    let (accepted, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let sender = thread::spawn({
        let (accepted, over, ports) = (Arc::clone(&accepted), Arc::clone(&over), rig.ports.clone());
        move || {
            for number in 1.. {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let port = ports[number % ports.len()];
                let url = format!("http://127.0.0.1:{port}/foo/queue/tasks/{target}/{number}");
                if rig::ask(&url, "GET", None).0 == 202 {
                    accepted.lock().unwrap().push(number);
                }
                thread::sleep(PACE);
            }
        }
    });
    let flows = |what: &str| {
        let goal = accepted.lock().unwrap().len() + BETWEEN;
        eventually(what, || (accepted.lock().unwrap().len() >= goal).then_some(()));
        let last = *accepted.lock().unwrap().last().unwrap();
        eventually(what, || done.lock().unwrap().range(last..).next().map(drop));
    };
    flows("tasks are done");

    rig.branches[0].take().unwrap().kill();
    flows("tasks are done with one branch");
    rig.start_branch(0);

    let pid = eventually("a worker", || rig.pid("i1"));
    signal(pid, Signal::SIGKILL);
    eventually("another worker", || rig.pid("i1").filter(|new| *new != pid));
    flows("tasks are done by another worker");

    // A Redis that writes nothing to its disk forgets what it has: there Cyme promises nothing.
    if kind != Kind::Redis {
        rig.broker.kill();
        rig.broker.start_again();
        flows("tasks are done over the new broker");
    }

    let pid = rig.pid("i1").unwrap();
    rig.kill_circusd();
    flows("tasks are done while there is no circusd");
    rig.start_circusd();
    eventually("a worker of the new circusd", || rig.pid("i1").filter(|new| *new != pid));
    flows("tasks are done under the new circusd");

    over.store(true, Ordering::SeqCst);
    sender.join().unwrap();
    let accepted = accepted.lock().unwrap().clone();
    let missing = || {
        let done = done.lock().unwrap();
        accepted.iter().copied().filter(|number| !done.contains_key(number)).collect::<Vec<usize>>()
    };
    let lost = eventually("every accepted task", || Some(missing()).filter(Vec::is_empty));
    assert_eq!(lost, [0; 0]);
    let twice = done.lock().unwrap().values().filter(|times| **times > 1).count();
    let told = format!("{test}: {} tasks were accepted, 0 lost, {twice} done more than once\n", accepted.len());
    drop(std::io::stderr().write_all(told.as_bytes()));
    assert_eq!(rig.get(1, 200, "DELETE", "/foo/instances/i1/"), json!({"ok": "ok"}));
}
