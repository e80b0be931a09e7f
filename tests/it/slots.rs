//! Values of which each worker has one of its own, and variables from a file.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::rig::{Circusd, Site, wait_until};

const FLEET: &str = "[slots:gpu]
     values = 0, 1, 2
     [watcher:train]
     cmd = {knobs} say card-$(circus.slot.gpu)
     numprocesses = 3
     slot.CUDA_VISIBLE_DEVICES = gpu
     stdout_stream.filename = {dir}/train.log";

/// The values of the workers, as their environments have them.
fn cards(circusd: &Circusd) -> Vec<(i32, String)> {
    let workers = circusd.wait_for_workers("train", 3);
    workers.iter().map(|worker| (worker.0, worker.environment()["CUDA_VISIBLE_DEVICES"].clone())).collect()
}

fn values(circusd: &Circusd) -> BTreeSet<String> {
    cards(circusd).into_iter().map(|(_, value)| value).collect()
}

#[test]
fn each_worker_has_a_card_and_its_successor_gets_it() {
    let circusd = Site::new().start(FLEET);
    let all: BTreeSet<String> = ["0", "1", "2"].map(String::from).into();
    let before = cards(&circusd);
    assert_eq!(values(&circusd), all);
    wait_until("they have said so", || {
        let mut said: Vec<String> = circusd.read("train.log").lines().map(str::to_owned).collect();
        said.sort();
        said == ["card-0", "card-1", "card-2"]
    });
    let dead = circusd.workers("train")[1];
    let its = before.iter().find(|(pid, _)| *pid == dead.0).unwrap().1.clone();
    dead.send(Signal::SIGKILL);
    wait_until("it is replaced", || !circusd.workers("train").contains(&dead) && circusd.workers("train").len() == 3);
    let after = cards(&circusd);
    let new = after.iter().find(|(pid, _)| before.iter().all(|(old, _)| old != pid)).unwrap();
    assert_eq!(new.1, its);
    assert_eq!(values(&circusd), all);
    circusd.tell("reload", json!({"name": "train", "waiting": true}));
    assert_eq!(values(&circusd), all);
    assert!(cards(&circusd).iter().all(|(pid, _)| after.iter().all(|(old, _)| old != pid)));
    let (error, status) = circusd.ctl(&["incr", "train"]);
    assert_eq!(error, "error: train: 4 workers need a value each, and [slots:gpu] has 3\n");
    assert_eq!(status, Some(3));
    // Other values in the file reach the workers.
    circusd.ini("circus.ini", &FLEET.replace("0, 1, 2", "0, 1, 7"));
    assert_eq!(circusd.circusctl(&["reloadconfig", "--waiting"]).status, Some(0));
    assert_eq!(values(&circusd), ["0", "1", "7"].map(String::from).into());
}

#[test]
fn variables_of_a_file_reach_the_workers_at_each_start() {
    let site = Site::new();
    site.write("vars.env", "# the database\nexport DB='a b'\nPORT=5432\nURL=\"pg://${PORT}\"\nOWN=file\n");
    let circusd = site.start(
        "[watcher:w]
         cmd = {knobs}
         working_dir = {dir}
         env_file = vars.env
         [env:w]
         OWN = section
         OTHER = kept
         [watcher:gone]
         cmd = {knobs}
         env_file = {dir}/missing.env
         autostart = no",
    );
    let env = circusd.wait_for_workers("w", 1)[0].environment();
    let values = ["DB", "PORT", "URL", "OWN", "OTHER"].map(|name| env[name].as_str());
    assert_eq!(values, ["a b", "5432", "pg://5432", "file", "kept"]);
    circusd.write("vars.env", "DB=new\n");
    circusd.tell("restart", json!({"name": "w", "waiting": true}));
    let env = circusd.wait_for_workers("w", 1)[0].environment();
    assert_eq!((env["DB"].as_str(), env["OWN"].as_str()), ("new", "section"));
    let (error, status) = circusd.ctl(&["start", "gone", "--waiting"]);
    assert!(error.contains("env_file ") && error.contains("missing.env ([Errno 2]"), "{error}");
    assert_eq!(status, Some(3));
    circusd.write("missing.env", "no variable\n");
    let (error, _) = circusd.ctl(&["start", "gone", "--waiting"]);
    assert!(error.contains("missing.env:1: the line is no NAME=VALUE"), "{error}");
}
