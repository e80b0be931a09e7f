//! Many workers: they start, die all at once, come back, stop, and nothing is left of them.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::rig::{Circusd, Happening, Process, Site, ask, wait_until};

/// What events said about each process: how often it was spawned, and with what codes it was reaped.
#[derive(Debug, Default)]
struct Lives(BTreeMap<i32, (usize, Vec<i64>)>);

impl Lives {
    fn read(&mut self, happenings: impl IntoIterator<Item = Happening>) {
        for happening in happenings {
            match happening.what.as_str() {
                "spawn" => self.0.entry(happening.pid()).or_default().0 += 1,
                "reap" => {
                    let code = happening.body["exit_code"].as_i64().unwrap();
                    self.0.entry(happening.pid()).or_default().1.push(code);
                }
                _ => {}
            }
        }
    }

    fn of(&self, process: Process) -> (usize, &[i64]) {
        self.0.get(&process.0).map_or((0, &[]), |(spawned, codes)| (*spawned, codes))
    }
}

#[test]
fn of_175_nothing_is_left() {
    live_and_die(175);
}

#[test]
fn of_1000_nothing_is_left() {
    live_and_die(1000);
}

fn live_and_die(count: usize) {
    let circusd = Site::new().start(&format!(
        "[watcher:crowd]
         cmd = {{knobs}} say hello warn oh
         numprocesses = {count}
         autostart = False
         stdout_stream.filename = {{dir}}/out.log
         stderr_stream.filename = {{dir}}/err.log"
    ));
    let (limit, _) = circusd.process().open_files();
    assert!(limit > 1024, "circusd was started with 1024 and raises it");
    let mut events = circusd.events();
    let mut lives = Lives::default();
    let before = circusd.process().fds();

    circusd.tell("start", json!({"name": "crowd"}));
    let answered = answers_until(&circusd, "active");
    println!("{answered} answers while {count} started");
    assert!(answered > 5);
    let first = circusd.wait_for_workers("crowd", count);
    lives.read(events.until("crowd", "start"));
    let said = |times: usize| {
        wait_until("every worker has said hello", || {
            ["out.log", "err.log"].iter().all(|name| circusd.read(name).lines().count() == times)
        });
    };
    said(count);
    // Only now has the last of them been loaded, which takes descriptors.
    first.iter().for_each(|worker| assert_is_clean(*worker));

    first.iter().for_each(|worker| worker.send(Signal::SIGKILL));
    let mut second = Vec::new();
    wait_until("all are back", || {
        second = circusd.workers("crowd");
        second.len() == count && !second.iter().any(|worker| first.contains(worker))
    });
    assert_eq!(circusd.process().zombies(), 0);
    assert_eq!(circusd.process().children().len(), count);
    pipeline(&circusd, 5000);
    said(2 * count);

    circusd.tell("stop", json!({"name": "crowd", "waiting": true}));
    lives.read(events.until("crowd", "stop"));
    assert_eq!(circusd.status("crowd"), "stopped");
    assert_eq!(circusd.process().children(), []);
    for worker in &first {
        assert_eq!(lives.of(*worker), (1, [-9].as_slice()), "{worker:?} was killed");
    }
    for worker in &second {
        assert_eq!(lives.of(*worker), (1, [-15].as_slice()), "{worker:?} was stopped");
    }
    assert_eq!(lives.0.len(), 2 * count);
    let more = || {
        let mut now = circusd.process().fds();
        now.retain(|number, file| before.get(number) != Some(file));
        now
    };
    wait_until("circusd holds nothing that it did not hold before", || more().is_empty());
}

/// A worker holds three descriptors, and has the limit that circusd was started with.
fn assert_is_clean(worker: Process) {
    let fds = worker.fds();
    assert_eq!(fds.keys().collect::<Vec<_>>(), [&0, &1, &2], "{fds:?}");
    assert_eq!(fds[&0].to_str(), Some("/dev/null"));
    assert!([1, 2].iter().all(|fd| fds[fd].to_str().unwrap().starts_with("pipe:")), "{fds:?}");
    assert_eq!(worker.open_files().0, 1024);
}

/// Asks for the state until it is this, and returns how often another was answered.
fn answers_until(circusd: &Circusd, state: &str) -> usize {
    let mut client = circusd.client();
    let mut answered = 0;
    wait_until(state, || {
        answered += 1;
        ask(&mut client, "status", json!({"name": "crowd"}))["status"] == state
    });
    answered
}

/// Sends so many requests without reading, then reads the answers.
fn pipeline(circusd: &Circusd, count: usize) {
    let mut client = circusd.client();
    let mut answers = vec![0; count];
    let mut take = |client: &mut circus::net::Dealer, limit| {
        let Some(answer) = client.recv(limit) else { return false };
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        answers[answer["id"].as_u64().unwrap() as usize] += 1;
        true
    };
    for id in 0..count {
        let request = json!({"command": "numprocesses", "properties": {"name": "crowd"}, "id": id}).to_string();
        wait_until("there is room for a request", || client.send(request.as_bytes()));
    }
    for _ in 0..count {
        assert!(take(&mut client, Duration::from_secs(30)), "an answer is missing");
    }
    assert!(!take(&mut client, Duration::from_millis(20)), "an answer too many");
    assert!(answers.iter().all(|answers| *answers == 1));
}
