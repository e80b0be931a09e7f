//! Figures of real processes, by rounds whose times are given.

use super::*;
use circus_sys::{Launch, Spawned, send, spawn};

/// A shell that is stopped when it has done its part.
struct Shell(nix::unistd::Pid);

impl Shell {
    fn new(script: &str) -> Self {
        let script = format!("{script}\nkill -STOP $$; exit 0");
        let launch = Launch::new(vec!["/bin/sh".into(), "-c".into(), script]);
        let Ok(Spawned::Running(pid) | Spawned::Pending { pid, .. }) = spawn(&launch) else { panic!("no shell") };
        let shell = Self(pid);
        while shell.state() != b'T' {
            std::thread::yield_now();
        }
        shell
    }

    fn state(&self) -> u8 {
        let stat = std::fs::read(format!("/proc/{}/stat", self.0)).unwrap();
        let close = stat.iter().rposition(|byte| *byte == b')').unwrap();
        stat[close + 2]
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _gone = circus_sys::kill_tree(&circus_sys::Proc::default(), self.0, None);
        let _gone = send(self.0, circus_core::proto::Signal::KILL);
        // Only this child: collecting all would take the children of tests that run beside this one.
        let _status = nix::sys::wait::waitpid(self.0, None);
    }
}

fn process_cache() -> ProcessCache {
    ProcessCache::new(Duration::from_secs(1))
}

#[test]
fn a_share_is_what_was_used_since_the_last_look() {
    let metrics = |busy: u64| Metrics {
        usage: circus_core::proto::Usage {
            resident: 0,
            mapped: 0,
            cpu: 0.0,
            memory: 0.0,
            cpu_time: Duration::ZERO,
            nice: None,
            created: 0.0,
            age: 0.0,
        },
        busy: Duration::from_millis(busy),
        collected: Duration::ZERO,
        threads: 1,
    };
    let mut process_cache = process_cache();
    process_cache.begin(clock::since_boot());
    process_cache.sample(nix::unistd::Pid::this().as_raw()).unwrap();
    let mut known = process_cache.known.into_values().next().unwrap();
    let at = |ms: u64| known.measured + Duration::from_millis(ms);
    let (soon, later, last) = (at(1000), at(1001), at(2000));
    known.metrics = metrics(5000);
    let cpu = |known: &Known| known.info.usage.unwrap().cpu;
    known.take(metrics(5500), soon);
    assert_eq!(cpu(&known), 50.0);
    known.take(metrics(5510), later);
    assert_eq!(cpu(&known), 50.0, "not 1000 %");
    known.take(metrics(5600), last);
    assert_eq!(cpu(&known), 10.0, "what was used at the look that was too close is not lost");
    known.take(metrics(0), last + Duration::from_secs(1));
    assert_eq!(cpu(&known), 0.0, "never negative");
}

#[test]
fn cpu_time_of_a_tree_never_shrinks() {
    let mut process_cache = process_cache();
    process_cache.begin(clock::since_boot());
    process_cache.sample(nix::unistd::Pid::this().as_raw()).unwrap();
    let mut known = process_cache.known.into_values().next().unwrap();
    let mut now = known.measured;
    let mut told = Vec::new();
    for seconds in [10, 12, 12, 5, 6, 8] {
        now += Duration::from_secs(1);
        let (time, cpu) = known.measure_tree(Duration::from_secs(seconds), 0.0, now);
        assert!(cpu >= 0.0);
        told.push(time.as_secs());
    }
    assert_eq!(told, [10, 12, 12, 12, 13, 15], "a process that had used 7 seconds left");
}

#[test]
fn every_process_of_a_tree_is_counted_once() {
    let shell = Shell::new("sleep 1000 & sleep 1000 & (sleep 1000 & sleep 1000; :) &");
    let mut process_cache = process_cache();
    for round in 0..3 {
        process_cache.begin(clock::since_boot());
        let tree = process_cache.tree(shell.0.as_raw()).unwrap();
        process_cache.end();
        // The subshell may not have started its own yet.
        assert!((4..=6).contains(&tree.processes), "{tree:?}");
        if round > 0 {
            assert!(tree.resident > 0 && tree.threads == tree.processes && tree.fds >= Some(4), "{tree:?}");
            assert!(tree.proportional.is_some_and(|bytes| bytes <= tree.resident + (1 << 20)));
        }
    }
    assert!((4..=6).contains(&process_cache.known.len()));
}

#[test]
fn ended_and_unsampled_processes_are_forgotten() {
    let mut process_cache = process_cache();
    let shell = Shell::new(":");
    let pid = shell.0.as_raw();
    process_cache.track([pid, 0, -1].into_iter(), clock::since_boot());
    assert_eq!(process_cache.known.len(), 1);
    process_cache.begin(clock::since_boot());
    assert!(process_cache.sample(pid).is_some());
    drop(shell);
    process_cache.begin(clock::since_boot());
    assert!(process_cache.sample(pid).is_none() && process_cache.tree(pid).is_none());
    process_cache.end();
    assert!(process_cache.known.is_empty());
}

#[test]
fn process_seen_during_exec_is_sampled_again() {
    let pid = nix::unistd::Pid::this().as_raw();
    let mut process_cache = ProcessCache::new(Duration::from_millis(10));
    process_cache.begin(clock::since_boot());
    let met = process_cache.sample(pid).unwrap().info.command.clone();
    let known = process_cache.known.get_mut(&pid).unwrap();
    (known.info.command, known.details.fds, known.turn) = (None, None, 1);
    (known.proportional, known.proportional_at) = (None, Duration::ZERO);
    process_cache.begin(clock::since_boot());
    assert!(!(process_cache.round + 1).is_multiple_of(DETAILS.rounds(1, process_cache.interval)), "they are not due");
    let known = process_cache.sample(pid).unwrap();
    assert!(known.info.command.is_some() && known.info.command == met, "{known:?}");
    assert!(known.details.fds.is_some() && known.proportional.is_some());
}

#[test]
fn many_processes_are_asked_for_details_in_turn() {
    let second = Duration::from_secs(1);
    assert_eq!((DETAILS.rounds(10, second), DETAILS.rounds(1000, second)), (1, 4));
    assert_eq!((DETAILS.rounds(10, second / 10), DETAILS.rounds(1000, second * 60)), (10, 1));
}
