//! One watcher's trouble is no other's.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::rig::{Circusd, Figures, Site, ask, wait_until};

/// A watcher whose stop takes so many seconds, one that works, and one that does not.
fn with_a_slow_one(seconds: u32) -> Circusd {
    let circusd = Site::new().start(&format!(
        "[watcher:slow]
         cmd = {{knobs}} ignore say ready
         graceful_timeout = {seconds}
         stdout_stream.filename = {{dir}}/slow.log
         [watcher:quick]
         cmd = {{knobs}}
         min_uptime = 0
         [watcher:idle]
         cmd = {{knobs}}
         autostart = False"
    ));
    circusd.wait_for_text("slow.log", "ready");
    circusd
}

#[test]
fn while_one_watcher_stops_slowly_the_others_are_served() {
    let circusd = with_a_slow_one(3);
    let slow = circusd.workers("slow")[0];
    let mut events = circusd.events();
    let mut stopper = circusd.client();
    let stop = json!({"command": "stop", "properties": {"name": "slow", "waiting": true}, "id": "stop"});
    assert!(stopper.send(stop.to_string().as_bytes()));
    wait_until("the slow one is stopping", || circusd.status("slow") == "stopping");

    let mut client = circusd.client();
    let mut tell = |command, properties: Value| ask(&mut client, command, properties)["status"].clone();
    assert_eq!(tell("start", json!({"name": "idle", "waiting": true})), "ok");
    assert_eq!(tell("incr", json!({"name": "quick", "waiting": true})), "ok");
    assert_eq!(tell("restart", json!({"name": "idle", "waiting": true})), "ok");
    assert_eq!(tell("status", json!({"name": "quick"})), "active");
    let victim = circusd.workers("quick")[0];
    victim.send(Signal::SIGKILL);
    wait_until("the killed worker is back", || {
        let workers = circusd.workers("quick");
        workers.len() == 2 && !workers.contains(&victim)
    });
    assert_eq!(circusd.status("slow"), "stopping");
    assert!(slow.lives());
    assert_eq!(stopper.try_recv(), None);

    let answer: Value = serde_json::from_slice(&stopper.recv(crate::rig::DEADLINE).unwrap()).unwrap();
    assert_eq!((&answer["status"], &answer["id"]), (&json!("ok"), &json!("stop")));
    assert_eq!(circusd.status("slow"), "stopped");
    // The order in which it happened, as every subscriber heard it.
    let heard = events.until("slow", "stop");
    let place = |watcher: &str, what: &str| heard.iter().position(|one| one.watcher == watcher && one.what == what);
    assert!(place("quick", "reap").is_some() && place("quick", "reap") < place("slow", "reap"), "{heard:#?}");
    assert_eq!(heard.iter().filter(|one| one.watcher == "quick" && one.what == "spawn").count(), 2);
}

/// The figures are for `docs/reliability.md`. What is asserted is the order: all that was asked for is done before the slow
/// stop is over, which takes ten minutes.
#[test]
fn answers_and_successors_take_no_longer_while_a_stop_goes_on() {
    let circusd = with_a_slow_one(600);
    circusd.wait_for_workers("quick", 1);
    let measure = |when: &str| {
        let mut client = circusd.client();
        let mut tell = |command: &str, properties: Value| {
            let reply = ask(&mut client, command, properties);
            assert_ne!(reply["status"], "error", "{command}: {reply}");
        };
        let status = Figures::of(500, || tell("status", json!({"name": "quick"})));
        let incr = Figures::of(500, || tell("incr", json!({"name": "idle"})));
        tell("set", json!({"name": "idle", "options": {"numprocesses": 1}}));
        let start = Figures::of(50, || {
            tell("start", json!({"name": "idle"}));
            tell("stop", json!({"name": "idle", "waiting": true}));
        });
        let mut events = circusd.events();
        let mut victim = circusd.workers("quick")[0];
        let successor = Figures::of(100, || {
            victim.send(Signal::SIGKILL);
            victim = crate::rig::Process(events.until("quick", "spawn").last().unwrap().pid());
        });
        println!("{when}: status {status}; incr {incr}; start and stop {start}; a killed worker is back: {successor}");
    };
    measure("while nothing else happens");
    let slow = circusd.workers("slow")[0];
    let mut stopper = circusd.client();
    let stop = json!({"command": "stop", "properties": {"name": "slow", "waiting": true}});
    assert!(stopper.send(stop.to_string().as_bytes()));
    wait_until("the slow one is stopping", || circusd.status("slow") == "stopping");
    measure("while another watcher stops");
    assert_eq!((circusd.status("slow"), stopper.try_recv()), ("stopping".to_owned(), None));
    slow.send(Signal::SIGKILL);
    assert!(stopper.recv(crate::rig::DEADLINE).is_some());
}
