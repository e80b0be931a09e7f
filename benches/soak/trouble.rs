//! What befalls circusd beside the crashes: each kind again and again, at its pace.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Outcome;
use crate::fleet::{Client, DEADLINE, Fleet};

/// How often what was done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    pub(crate) reloads: u64,
    pub(crate) upgrades: u64,
    pub(crate) floods: u64,
    pub(crate) files: u64,
    pub(crate) watchers: u64,
    /// Events that a subscriber has got.
    pub(crate) deaths: u64,
    pub(crate) starts: u64,
}

/// One kind of trouble: so often, for the first time after so long.
struct Kind {
    every: Duration,
    due: Duration,
    act: fn(&Fleet, &mut Client, &mut Done) -> Outcome<()>,
}

impl Kind {
    fn new(every: u64, first: u64, act: fn(&Fleet, &mut Client, &mut Done) -> Outcome<()>) -> Self {
        Self { every: Duration::from_secs(every), due: Duration::from_secs(first), act }
    }
}

/// Goes on until it is over.
pub(crate) fn cause(fleet: &Fleet, over: &AtomicBool) -> Outcome<Done> {
    let begun = Instant::now();
    let mut client = fleet.client()?;
    let mut done = Done::default();
    let mut kinds = [
        Kind::new(5, 1, reload),
        Kind::new(3, 2, come_and_go),
        Kind::new(10, 3, flood),
        Kind::new(15, 4, change_file),
        Kind::new(10, 7, upgrade),
    ];
    while !over.load(Ordering::Relaxed) {
        let now = begun.elapsed();
        for kind in kinds.iter_mut().filter(|kind| kind.due <= now) {
            (kind.act)(fleet, &mut client, &mut done)?;
            kind.due = now + kind.every;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(done)
}

fn reload(_: &Fleet, client: &mut Client, done: &mut Done) -> Outcome<()> {
    client.tell("reload", json!({"name": "web", "waiting": true}))?;
    done.reloads += 1;
    Ok(())
}

fn come_and_go(_: &Fleet, client: &mut Client, done: &mut Done) -> Outcome<()> {
    let options = json!({"stdout_stream": {"class": "MemoryStream"}, "numprocesses": 2});
    client.tell("add", json!({"name": "guest", "cmd": "sleep 1000", "options": options, "start": true}))?;
    client.tell("incr", json!({"name": "guest", "waiting": true}))?;
    client.tell("rm", json!({"name": "guest", "waiting": true}))?;
    done.watchers += 1;
    Ok(())
}

fn flood(_: &Fleet, client: &mut Client, done: &mut Done) -> Outcome<()> {
    client.tell("stop", json!({"name": "flood", "waiting": true}))?;
    client.tell("start", json!({"name": "flood", "waiting": true}))?;
    done.floods += 1;
    Ok(())
}

fn change_file(fleet: &Fleet, client: &mut Client, done: &mut Done) -> Outcome<()> {
    for more in [true, false] {
        fleet.change_file(more)?;
        client.tell("reloadconfig", json!({"waiting": true}))?;
    }
    done.files += 1;
    Ok(())
}

fn upgrade(_: &Fleet, client: &mut Client, done: &mut Done) -> Outcome<()> {
    let begun = Instant::now();
    loop {
        let reply = client.ask("upgrade", json!({}))?;
        // The looks at the state are upgrades, too, which are declined.
        let is_busy = reply["reason"].as_str().is_some_and(|reason| reason.contains("another upgrade is in progress"));
        match reply["status"].as_str() {
            Some("error") if is_busy && begun.elapsed() < DEADLINE => std::thread::sleep(Duration::from_millis(100)),
            Some("error") => return Err(format!("upgrade: {reply}").into()),
            _ => break,
        }
    }
    done.upgrades += 1;
    Ok(())
}

/// A subscriber that reads everything: deaths and starts that it has heard of.
pub(crate) fn listen(fleet: &Fleet, over: &AtomicBool) -> Outcome<(u64, u64)> {
    let mut subscriber = fleet.subscriber(&["watcher."])?;
    let (mut deaths, mut starts) = (0, 0);
    let mut quiet = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let Some((topic, _)) = subscriber.recv(Duration::from_millis(200)) else {
            if quiet.elapsed() > DEADLINE {
                return Err("there are no events any more".into());
            }
            continue;
        };
        quiet = Instant::now();
        deaths += u64::from(topic.ends_with(b".reap"));
        starts += u64::from(topic.ends_with(b".spawn"));
    }
    Ok((deaths, starts))
}
