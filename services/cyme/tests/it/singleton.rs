//! `cyme singleton`: one command in the fleet, whatever ends.
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::rig::{self, Broker, Process, eventually, free_port, program, runs};

fn branch(folder: &Path, broker: &str, id: &str) -> (Process, String) {
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cyme-branch"));
    command.args([&port.to_string(), "-b", broker, "-i", id, "--circus-endpoint", "ipc:///nowhere/control"]);
    command.args(["--circus-pubsub", "ipc:///nowhere/events", "-D", id]).current_dir(folder);
    let branch = Process::start(&mut command, &folder.join(format!("{id}.log")));
    let url = format!("http://127.0.0.1:{port}");
    eventually("the branch answers", || (rig::ask(&format!("{url}/branches/"), "GET", None).0 == 200).then_some(()));
    (branch, url)
}

/// A machine's `cyme singleton`, whose command writes the number of its lease and its pid into a file, and goes on writing.
fn machine(folder: &Path, url: &str, name: &str) -> Process {
    let script = format!(
        "echo \"$CYME_LEASE $$ {name}\" >> {0}/starts; while :; do echo $$ > {0}/alive.{name}; sleep 0.1; done",
        folder.display()
    );
    let mut command = Command::new(program("cyme"));
    command.args(["-u", url, "singleton", "beat", "--", "sh", "-c", &script]);
    Process::start(&mut command, &folder.join(format!("{name}.log")))
}

/// The starts: the number of the lease, the pid, the machine.
fn starts(folder: &Path) -> Vec<(u64, u32, String)> {
    let text = fs::read_to_string(folder.join("starts")).unwrap_or_default();
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[0].parse().unwrap(), words[1].parse().unwrap(), words[2].to_owned())
    };
    text.lines().map(line).collect()
}

/// The start of this number. All earlier ones have ended by then.
fn start(folder: &Path, number: usize) -> (u64, u32, String) {
    let found = eventually("another start", || starts(folder).get(number).cloned());
    for (_, pid, name) in &starts(folder)[..number] {
        assert!(!runs(*pid), "two at a time: {pid} of {name} still runs");
    }
    found
}

#[test]
fn one_machine_runs_it() {
    if !rig::has_broker("one_machine_runs_it", rig::Kind::Redis) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let broker = Broker::start(rig::Kind::Redis, path);
    let ((mut a, url_a), (mut b, url_b)) = (branch(path, &broker.url(), "a"), branch(path, &broker.url(), "b"));
    let mut machines = [machine(path, &url_a, "a"), machine(path, &url_b, "b")].map(Some);
    // A Redis that was just started gives no lease for a while.
    let first = start(path, 0);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(starts(path).len(), 1, "one of two");

    // Its process is killed, and its command with it: the other machine takes over when the lease ends.
    let holder = usize::from(first.2 == "b");
    machines[holder].take().unwrap().kill();
    eventually("the command has ended", || (!runs(first.1)).then_some(()));
    let second = start(path, 1);
    assert!(second.0 > first.0 && second.2 != first.2, "{first:?} {second:?}");

    // It ends by request, and gives the lease back.
    let url = if holder == 0 { &url_a } else { &url_b };
    machines[holder] = Some(machine(path, url, &first.2));
    drop(machines[1 - holder].take());
    assert!(!runs(second.1));
    let third = start(path, 2);
    assert!(third.0 > second.0 && third.2 == first.2, "{second:?} {third:?}");

    // Its branch ends, so it cannot keep the lease: the command has ended before another begins.
    let other = machine(path, if holder == 0 { &url_b } else { &url_a }, "other");
    let of_a = third.2 == "a";
    if of_a {
        a.kill();
    } else {
        b.kill();
    }
    let fourth = start(path, 3);
    assert!(fourth.0 > third.0 && fourth.2 == "other", "{third:?} {fourth:?}");
    drop(other);
}

#[test]
fn it_ends_as_its_command() {
    let folder = tempfile::tempdir().unwrap();
    let (_branch, url) = branch(folder.path(), "memory://", "alone");
    let run = |words: &[&str]| {
        let mut command = Command::new(program("cyme"));
        command.args(["-u", &url, "singleton"]).args(words).status().unwrap().code().unwrap()
    };
    assert_eq!(run(&["x", "--", "sh", "-c", "exit 7"]), 7);
    assert_eq!(run(&["x", "--", "sh", "-c", "kill -KILL $$"]), 137);
    assert_eq!(run(&["x", "--", "/nowhere/program"]), 1);
    assert_eq!(run(&["x"]), 2);
}
