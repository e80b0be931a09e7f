//! One beat, whatever ends.
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::rig::{self, Broker, Kind, Process, code, eventually, helper, runs};

/// A process with the lease's command, which writes its number and its pid into a file.
fn beat(url: &str, folder: &Path) -> Process {
    let script = format!("echo $CIRCUS_CELERY_LEASE $$ >> {}/starts; while :; do sleep 0.1; done", folder.display());
    Process::start(&mut helper(url, &["beat", "--", "sh", "-c", &script]), &folder.join("log"))
}

/// The starts: the number of the lease, the pid.
fn starts(folder: &Path) -> Vec<(u64, u32)> {
    let text = fs::read_to_string(folder.join("starts")).unwrap_or_default();
    let line = |line: &str| line.split_once(' ').map(|(number, pid)| (number.parse().unwrap(), pid.parse().unwrap()));
    text.lines().filter_map(line).collect()
}

/// The start of this place. All earlier ones have ended by then.
fn start(folder: &Path, place: usize) -> (u64, u32) {
    let found = eventually("another start", || starts(folder).get(place).copied());
    let before = &starts(folder)[..place];
    assert!(before.iter().all(|(number, pid)| !runs(*pid) && *number < found.0), "two at a time: {before:?} {found:?}");
    found
}

#[test]
fn one_beat_over_redis() {
    one_beat("one_beat_over_redis", Kind::Redis);
}

#[test]
fn one_beat_over_rabbitmq() {
    one_beat("one_beat_over_rabbitmq", Kind::Rabbit);
}

fn one_beat(test: &str, kind: Kind) {
    if !rig::is_asked_for(test, kind) || !rig::has_broker(test, kind) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut broker = Broker::start(kind, path);
    let url = broker.url();
    let mut first = beat(&url, path);
    let one = start(path, 0);
    let second = beat(&url, path);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(starts(path).len(), 1, "one of two");

    // Its process is killed, and the command with it: the other takes over when the lease has ended.
    first.kill();
    eventually("the command has ended", || (!runs(one.1)).then_some(()));
    let two = start(path, 1);

    // It is told to end, and gives the lease back.
    let third = beat(&url, path);
    drop(second);
    assert!(!runs(two.1));
    let three = start(path, 2);

    // A broker that is away for a moment costs no second beat, and the command goes on or starts once more.
    broker.stop();
    broker.start_again();
    let fourth = beat(&url, path);
    eventually("one runs", || runs(starts(path).last()?.1).then_some(()));
    thread::sleep(Duration::from_secs(1));
    let running = starts(path).iter().filter(|(_, pid)| runs(*pid)).count();
    assert_eq!(running, 1, "{three:?} {:?}", starts(path));
    drop((third, fourth));
    assert_eq!(starts(path).iter().filter(|(_, pid)| runs(*pid)).count(), 0);
}

#[test]
fn it_ends_as_its_command() {
    if !rig::has_broker("it_ends_as_its_command", Kind::Redis) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(Kind::Redis, folder.path());
    assert_eq!(code(&broker.url(), &["beat", "--name", "a", "--", "sh", "-c", "exit 7"]), 7);
    assert_eq!(code(&broker.url(), &["beat", "--name", "b", "--", "/nowhere/program"]), 1);
    assert_eq!(code(&broker.url(), &["beat"]), 2);
}
