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

fn ledger() -> Ledger {
    Ledger::new(Duration::from_secs(1))
}

#[test]
fn a_share_is_what_was_used_since_the_last_look() {
    let vitals = |busy: u64| Vitals {
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
    let mut ledger = ledger();
    ledger.begin(clock::since_boot());
    ledger.look(nix::unistd::Pid::this().as_raw()).unwrap();
    let mut known = ledger.known.into_values().next().unwrap();
    let at = |ms: u64| known.measured + Duration::from_millis(ms);
    let (soon, later, last) = (at(1000), at(1001), at(2000));
    known.vitals = vitals(5000);
    let cpu = |known: &Known| known.info.usage.unwrap().cpu;
    known.take(vitals(5500), soon);
    assert_eq!(cpu(&known), 50.0);
    known.take(vitals(5510), later);
    assert_eq!(cpu(&known), 50.0, "not 1000 %");
    known.take(vitals(5600), last);
    assert_eq!(cpu(&known), 10.0, "what was used at the look that was too close is not lost");
    known.take(vitals(0), last + Duration::from_secs(1));
    assert_eq!(cpu(&known), 0.0, "never negative");
}

#[test]
fn what_a_tree_has_used_never_shrinks() {
    let mut ledger = ledger();
    ledger.begin(clock::since_boot());
    ledger.look(nix::unistd::Pid::this().as_raw()).unwrap();
    let mut known = ledger.known.into_values().next().unwrap();
    let mut now = known.measured;
    let mut told = Vec::new();
    for seconds in [10, 12, 12, 5, 6, 8] {
        now += Duration::from_secs(1);
        let (time, cpu) = known.measure_tree(Duration::from_secs(seconds), 0.0, now);
        assert!(cpu >= 0.0);
        told.push(time.as_secs());
    }
    assert_eq!(told, [10, 12, 12, 12, 13, 15], "somebody who had used 7 seconds left");
}

#[test]
fn every_process_of_a_tree_is_counted_once() {
    let shell = Shell::new("sleep 1000 & sleep 1000 & (sleep 1000 & sleep 1000; :) &");
    let mut ledger = ledger();
    for round in 0..3 {
        ledger.begin(clock::since_boot());
        let tree = ledger.tree(shell.0.as_raw()).unwrap();
        ledger.end();
        // The subshell may not have started its own yet.
        assert!((4..=6).contains(&tree.processes), "{tree:?}");
        if round > 0 {
            assert!(tree.resident > 0 && tree.threads == tree.processes && tree.fds >= Some(4), "{tree:?}");
            assert!(tree.proportional.is_some_and(|bytes| bytes <= tree.resident + (1 << 20)));
        }
    }
    assert!((4..=6).contains(&ledger.known.len()));
}

#[test]
fn who_has_ended_is_nobody_and_who_was_not_looked_at_is_forgotten() {
    let mut ledger = ledger();
    let shell = Shell::new(":");
    let pid = shell.0.as_raw();
    ledger.welcome([pid, 0, -1].into_iter(), clock::since_boot());
    assert_eq!(ledger.known.len(), 1);
    ledger.begin(clock::since_boot());
    assert!(ledger.look(pid).is_some());
    drop(shell);
    ledger.begin(clock::since_boot());
    assert!(ledger.look(pid).is_none() && ledger.tree(pid).is_none());
    ledger.end();
    assert!(ledger.known.is_empty());
}

#[test]
fn who_was_met_in_the_middle_of_its_exec_is_asked_for_details_again() {
    let pid = nix::unistd::Pid::this().as_raw();
    let mut ledger = Ledger::new(Duration::from_millis(10));
    ledger.begin(clock::since_boot());
    let met = ledger.look(pid).unwrap().info.command.clone();
    let known = ledger.known.get_mut(&pid).unwrap();
    (known.info.command, known.details.fds, known.turn) = (None, None, 1);
    (known.proportional, known.proportional_at) = (None, Duration::ZERO);
    ledger.begin(clock::since_boot());
    assert!(!(ledger.round + 1).is_multiple_of(DETAILS.rounds(1, ledger.interval)), "they are not due");
    let known = ledger.look(pid).unwrap();
    assert!(known.info.command.is_some() && known.info.command == met, "{known:?}");
    assert!(known.details.fds.is_some() && known.proportional.is_some());
}

#[test]
fn many_processes_are_asked_for_details_in_turn() {
    let second = Duration::from_secs(1);
    assert_eq!((DETAILS.rounds(10, second), DETAILS.rounds(1000, second)), (1, 4));
    assert_eq!((DETAILS.rounds(10, second / 10), DETAILS.rounds(1000, second * 60)), (10, 1));
}
