//! Readiness of a broker and of workers, and health by what they consume.
use std::fs;

use crate::rig::{self, Broker, Kind, Process, code, eventually, helper, of_app};

#[test]
fn it_waits_for_redis() {
    waits("it_waits_for_redis", Kind::Redis);
}

#[test]
fn it_waits_for_rabbitmq() {
    waits("it_waits_for_rabbitmq", Kind::Rabbit);
}

fn waits(test: &str, kind: Kind) {
    if !rig::has_broker(test, kind) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(kind, folder.path());
    let url = broker.url();
    assert_eq!(code(&url, &["wait"]), 0);
    broker.stop();
    assert_eq!(code(&url, &["wait", "--timeout", "0"]), 1);
    let mut waiting = Process::start(&mut helper(&url, &["wait", "--timeout", "100"]), &folder.path().join("log"));
    assert!(!waiting.has_ended(), "it waits");
    broker.start_again();
    assert_eq!(waiting.wait(), Some(0));
    assert_eq!(code("nonsense", &["wait"]), 2);
}

#[test]
fn health_over_redis() {
    health("health_over_redis", Kind::Redis);
}

#[test]
fn health_over_rabbitmq() {
    health("health_over_rabbitmq", Kind::Rabbit);
}

/// A worker that answers a ping and consumes nothing is not healthy: celery's issue 4079.
fn health(test: &str, kind: Kind) {
    let Some(celery) = rig::celery(test, kind) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(kind, folder.path());
    let url = broker.url();
    let control = |words: &[&str]| of_app(&celery, &url, folder.path(), words).output().unwrap();
    let words = ["worker", "-n", "w@%h", "-Q", "one,two", "-c", "1", "--without-mingle", "--without-gossip"];
    let worker = Process::start(&mut of_app(&celery, &url, folder.path(), &words), &folder.path().join("log"));
    let pid = worker.pid().to_string();
    let said = |what: &str| code(&url, &[what, "--pid", &pid]);
    assert_eq!(said("ready"), 1, "before it consumes");
    eventually("the worker is ready", || (said("ready") == 0).then_some(()));
    assert_eq!(said("health"), 0);

    assert!(control(&["control", "cancel_consumer", "two"]).status.success());
    assert_eq!((said("health"), said("ready")), (1, 1));
    assert!(String::from_utf8_lossy(&control(&["inspect", "ping"]).stdout).contains("pong"));
    assert!(control(&["control", "add_consumer", "two"]).status.success());
    assert_eq!(said("health"), 0);

    // A drain by hand.
    assert_eq!(code(&url, &["drain", "--pid", &pid]), 0);
    assert_eq!(said("health"), 1);

    // A broker that has gone is no fault of the worker.
    broker.stop();
    assert_eq!((said("health"), said("ready")), (0, 1));
    assert_eq!(code(&url, &["drain", "--pid", &pid]), 0);
    drop(fs::remove_file(folder.path().join("app.py")));
}
