//! Eight clients give random commands, valid and invalid, to ten watchers whose workers die at random.
//!
//! `CIRCUS_STRESS_SECONDS` says for how long (CI: 60), `CIRCUS_STRESS_SEED` repeats the choices.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::rig::{Circusd, Process, Site, ask, knob, observe_for, wait_until};
use crate::rng::Rng;

const WATCHERS: u64 = 10;
const CLIENTS: u64 = 8;

fn fleet() -> Circusd {
    let watchers: String = (0..WATCHERS)
        .map(|number| {
            let traits = match number % 5 {
                0 => "numprocesses = 3",
                1 => "singleton = True",
                2 => "autostart = False\nnumprocesses = 2",
                3 => "send_hup = True\nmax_retry = -1",
                _ => "max_age = 1\nmax_age_variance = 1\nnumprocesses = 2",
            };
            let deaf = if number.is_multiple_of(5) { " ignore" } else { "" };
            format!("[watcher:w{number}]\ncmd = {{knobs}} hup {{dir}}/heard{deaf}\ngraceful_timeout = 2\nmin_uptime = 0.2\n{traits}\n")
        })
        .collect();
    Site::new().start(&watchers)
}

/// A command for any watcher, or for none.
fn any_command(rng: &mut Rng, client: u64) -> (&'static str, Value) {
    let waiting = rng.chance(60);
    let name = match rng.below(12) {
        0 => "nobody".to_owned(),
        1 => "w*".to_owned(),
        _ => format!("w{}", rng.below(WATCHERS)),
    };
    let own = format!("own-{client}");
    match rng.below(26) {
        0 => ("status", json!({"name": name})),
        1 => ("list", json!({"name": name})),
        2 => ("stats", json!({"name": name, "extended": rng.chance(50)})),
        3 => ("options", json!({"name": name})),
        4 => ("get", json!({"name": name, "keys": ["cmd", "numprocesses"]})),
        5..=7 => ("incr", json!({"name": name, "nb": 1 + rng.below(2), "waiting": waiting})),
        8..=10 => ("decr", json!({"name": name, "nb": 1 + rng.below(2), "waiting": waiting})),
        11 => ("stop", json!({"name": name, "match": "glob", "waiting": waiting})),
        12 | 13 => ("start", json!({"name": name, "match": "glob", "waiting": waiting})),
        14 => ("restart", json!({"name": name, "match": "simple", "waiting": waiting})),
        15 => (
            "reload",
            json!({"name": name, "graceful": rng.chance(70), "sequential": rng.chance(30), "waiting": waiting}),
        ),
        16 => ("kill", json!({"name": name, "signum": rng.pick(&[9, 15]), "waiting": waiting})),
        17 => ("signal", json!({"name": name, "signum": rng.pick(&[0, 1, 9])})),
        18 => ("set", json!({"name": name, "options": {"numprocesses": rng.below(4)}, "waiting": waiting})),
        19 => ("set", json!({"name": name, "options": {"graceful_timeout": 1 + rng.below(2)}, "waiting": waiting})),
        20 => ("add", json!({"name": own, "cmd": "sleep 1000", "start": rng.chance(70), "waiting": waiting})),
        21 => ("rm", json!({"name": own, "waiting": waiting})),
        22 => ("dstats", json!({})),
        23 => ("numprocesses", json!({})),
        24 => ("incr", json!({"name": 7, "nb": "many"})),
        _ => ("nonsense", json!({"name": name, "waiting": true})),
    }
}

/// What may be refused with which errno, whichever client asks.
fn assert_is_an_answer(command: &str, properties: &Value, reply: &Value) {
    let errno = reply["errno"].as_u64();
    let sound = match reply["status"].as_str() {
        Some("error") => errno.is_some_and(|errno| (1..=6).contains(&errno)) && reply["reason"].is_string(),
        // `status` of a watcher says its state here.
        Some(_) => errno.is_none(),
        None => false,
    };
    assert!(sound && reply["time"].is_f64(), "{command} {properties}: {reply}");
    assert!(command != "nonsense" || errno == Some(2), "{reply}");
}

/// Gives commands until it is over; each is answered, whether it waits or not.
fn command(circusd: &Circusd, client: u64, seed: u64, over: &AtomicBool, answered: &AtomicUsize) {
    let mut rng = Rng::new(seed.wrapping_add(client + 1));
    let mut dealer = circusd.client();
    while !over.load(Ordering::Relaxed) {
        let (command, properties) = any_command(&mut rng, client);
        let reply = ask(&mut dealer, command, properties.clone());
        assert_is_an_answer(command, &properties, &reply);
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// Kills a worker now and then.
fn murder(circusd: &Circusd, seed: u64, over: &AtomicBool) {
    let mut rng = Rng::new(seed);
    while !over.load(Ordering::Relaxed) {
        let workers = workers(circusd);
        if !workers.is_empty() {
            rng.pick(&workers).send(*rng.pick(&[Signal::SIGKILL, Signal::SIGTERM, Signal::SIGSEGV]));
        }
        observe_for(Duration::from_millis(1 + rng.below(40)));
    }
}

fn workers(circusd: &Circusd) -> Vec<Process> {
    let daemon = circusd.process();
    let mut all = circusd.inhabitants();
    all.retain(|process| *process != daemon && process.lives());
    all
}

/// Requests a definite state of every watcher, and checks that it is reached.
fn assert_last_commands_count(circusd: &Circusd, rng: &mut Rng) {
    let mut expected = Vec::new();
    for number in 0..WATCHERS {
        let (name, singleton) = (format!("w{number}"), number % 5 == 1);
        let count = if singleton { 1 } else { 1 + rng.below(4) };
        circusd.tell("set", json!({"name": name, "options": {"numprocesses": count}, "waiting": true}));
        let up = rng.chance(70);
        circusd.tell(if up { "start" } else { "stop" }, json!({"name": name, "waiting": rng.chance(50)}));
        expected.push((name, if up { ("active", count as usize) } else { ("stopped", 0) }));
    }
    for (name, (state, count)) in &expected {
        wait_until(&format!("{name} is {state} with {count}"), || {
            circusd.status(name) == *state && circusd.workers(name).len() == *count
        });
    }
    let listed = || -> BTreeSet<i32> {
        let names = circusd.tell("list", json!({}))["watchers"].clone();
        let names = names.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
        names.flat_map(|name| circusd.workers(&name)).map(|process| process.0).collect()
    };
    wait_until("each process belongs to a worker", || {
        let there: BTreeSet<i32> = workers(circusd).into_iter().map(|process| process.0).collect();
        there == listed()
    });
}

#[test]
fn of_commands_is_weathered() {
    let seed = knob("CIRCUS_STRESS_SEED", u64::from(std::process::id()));
    println!("repeat it with CIRCUS_STRESS_SEED={seed}");
    let mut circusd = fleet();
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn({
                    let (circusd, over, answered) = (&circusd, &over, &answered);
                    move || command(circusd, client, seed, over, answered)
                })
            })
            .collect();
        let murderer = scope.spawn(|| murder(&circusd, seed, &over));
        for _ in 0..knob("CIRCUS_STRESS_SECONDS", 5) * 10 {
            observe_for(Duration::from_millis(100));
            if clients.iter().any(|client| client.is_finished()) {
                break;
            }
        }
        over.store(true, Ordering::Relaxed);
        murderer.join().unwrap();
    });
    let answered = answered.into_inner();
    println!("{answered} commands were answered");
    assert!(answered > CLIENTS as usize * 10, "hardly any request was answered: {answered}");
    assert_last_commands_count(&circusd, &mut Rng::new(seed));
    circusd.quit();
}
