//! The main job: HTTP from five workers that share circusd's socket, while they are killed at random.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::rig::{Answer, Circusd, Http, Process, Site, observe_for, wait_for, wait_until};

/// `examples/web.ini` with a port of the kernel's choice, in the site's directory.
fn web(site: &Site) -> String {
    let example = include_str!("../../examples/web.ini");
    let ours = example
        .replace("target/release/examples/worker", "{worker}")
        .replace("ipc://target/control.sock", &site.endpoint())
        .replace("ipc://target/events.sock", &site.pubsub_endpoint())
        .replace("target/", "{dir}/")
        .replace("port = 8080", "port = 0")
        .replace("web.pid", "circusd.pid");
    assert_eq!(ours.matches("127.0.0.1").count(), 2, "the comment and the socket: {ours}");
    ours
}

fn start(also: &str) -> (Circusd, Http) {
    let site = Site::new();
    let sections = web(&site) + also;
    let circusd = site.start(&sections);
    let http = http(&circusd, "web");
    circusd.wait_for_workers("web", 5);
    (circusd, http)
}

/// The port of a managed socket.
pub(crate) fn http(circusd: &Circusd, socket: &str) -> Http {
    let sockets = circusd.tell("listsockets", json!({}));
    let found = sockets["sockets"].as_array().unwrap().iter().find(|one| one["name"] == socket).unwrap();
    Http(found["port"].as_u64().unwrap() as u16)
}

#[test]
fn fifty_killed_workers_cost_only_the_requests_they_were_answering() {
    const KILLED: usize = 50;
    // The replacements of the killed ones are to be killed as well, soon: that is no crash loop.
    let (circusd, http) = start("\n[watcher:web]\nmin_uptime = 0\n");
    let (over, answers) = (AtomicBool::new(false), std::sync::Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        // Four clients that ask 50 times a second each.
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let answer = http.get();
                    answers.lock().unwrap().push(answer);
                    observe_for(Duration::from_millis(20));
                }
            });
        }
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..KILLED {
                let before = answers.lock().unwrap().len();
                let begun = http.begin();
                let workers = circusd.workers("web");
                let victim = wait_for("a worker has accepted the request", || {
                    let inode = begun.inode_of_server()?;
                    workers.iter().copied().find(|worker| worker.has_socket(inode))
                });
                victim.send(Signal::SIGKILL);
                assert_eq!(begun.end(), Answer::Cut, "it was in flight on the killed worker");
                wait_until("the killed worker is replaced", || {
                    let workers = circusd.workers("web");
                    workers.len() == 5 && !workers.contains(&victim)
                });
                wait_until("requests go on", || answers.lock().unwrap().len() >= before + 8);
            }
        }));
        over.store(true, Ordering::Relaxed);
        result.unwrap();
    });
    let answers = answers.into_inner().unwrap();
    let answered = answers.iter().filter(|answer| matches!(answer, Answer::Body(_))).count();
    let others: Vec<_> = answers.iter().filter(|answer| !matches!(answer, Answer::Body(_))).collect();
    println!("{} requests, {KILLED} workers killed: {answered} answered; {KILLED} more cut", answers.len());
    // A worker of the example answers one request at a time: the killed ones had no other.
    assert!(others.is_empty(), "{others:?}");
    assert!(answered >= 8 * KILLED, "{answered}");
}

#[test]
fn the_example_does_what_its_first_lines_say() {
    let (mut circusd, http) = start("");
    let workers = circusd.workers("web");
    let Answer::Body(body) = http.get() else { panic!("no answer") };
    assert!(workers.iter().any(|worker| body == format!("hello from worker {}\n", worker.0)), "{body}");
    let ctl = |words: &str| {
        let output = circusd.circusctl(&words.split(' ').collect::<Vec<_>>());
        assert_eq!((output.status, output.stderr.as_str()), (Some(0), ""), "{words}");
        output.stdout
    };
    assert_eq!(ctl("incr web --waiting"), "6\n");
    assert_eq!(ctl("status"), "ticker: active\nweb: active\n");
    assert_eq!(ctl("list web").trim().split(',').count(), 6);
    assert_eq!(ctl("stop web --waiting"), "ok\n");
    assert_eq!(ctl("status web"), "stopped\n");
    assert!(workers.iter().all(|worker| !worker.lives()));
    assert_eq!(ctl("start web --waiting"), "ok\n");
    assert!(matches!(http.get(), Answer::Body(_)));
    circusd.wait_for_text("ticker.log", "tick 1\n");
    let all: Vec<Process> = circusd.inhabitants();
    assert_eq!(all.len(), 1 + 6 + 2, "circusd, web, ticker");
    assert_eq!(ctl("quit --waiting"), "ok\n");
    assert_eq!(circusd.wait_for_end().status, Some(0));
    assert!(all.iter().all(|process| !process.lives()));
    assert!(circusd.read("web.log").lines().last().unwrap().ends_with(" leaves"));
    assert_eq!(circusd.read("web-errors.log"), "");
}
