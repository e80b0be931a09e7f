//! A kernel of the simulator's own: processes that live, die, ignore signals and cannot be started.

use std::collections::BTreeMap;

use circus_core::arbiter::Reach;
use circus_core::config::{KillMode, StopStep, WatcherConfig};
use circus_core::proto::Signal;

use super::rng::Rng;

pub(crate) const MS: u64 = 1_000_000;

/// How processes of a watcher behave. Changes while the simulation runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Temper {
    /// Lives until told to stop.
    Healthy,
    /// Exits by itself after so many milliseconds.
    DiesAfter(u64),
    /// Has done its work after so many milliseconds: exit status 0.
    SucceedsAfter(u64),
    /// Takes so many milliseconds to stop.
    StopsAfter(u64),
    /// Only SIGKILL helps.
    Stubborn,
    /// Cannot be started: this errno.
    Unlaunchable(i32),
}

#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) watcher: String,
    pub(crate) wid: u32,
    /// How it may be asked to stop: as its watcher said when it started, and as the file has said since.
    pub(crate) stops: Vec<Vec<StopStep>>,
    /// How far that may reach, for the same reasons.
    pub(crate) kill_modes: Vec<KillMode>,
    /// The stop signal that it was sent last, by its place, and when. Nothing is known of it after a `kill`.
    pub(crate) last_stop: LastStop,
    pub(crate) temper: Temper,
    pub(crate) born: u64,
    /// When it will exit, and how.
    pub(crate) exit: Option<(u64, i32)>,
    /// A stop signal or SIGKILL was sent by the core.
    pub(crate) stop_sent: bool,
    /// The test, not the core, ends it.
    pub(crate) killed_from_outside: bool,
    pub(crate) signalled: bool,
    /// It has to have lived for so long before its predecessor goes.
    pub(crate) min_uptime: u64,
    /// It was started so that it can report of itself.
    pub(crate) reports: bool,
    /// It has ended, and what it had started has not.
    pub(crate) left: Option<Left>,
}

/// How far a stop by several signals has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LastStop {
    None,
    Sent { place: usize, at: u64 },
    Unknown,
}

/// The signals that a watcher stops its processes by, the first with the others.
pub(crate) fn stop_of(config: &WatcherConfig) -> Vec<StopStep> {
    let first = StopStep { after: 0.0, signal: config.stop_signal };
    std::iter::once(first).chain(config.stop_steps.iter().copied()).collect()
}

impl Process {
    /// A stop signal is sent to it: one that its watcher has named, in their order, and not too early.
    pub(crate) fn stopped_by(&mut self, signal: Signal, reach: Reach, now: u64) {
        let reaches = |mode: &KillMode| match (mode, reach) {
            // All that is left of it gets it.
            _ if self.left.is_some() && signal != Signal::KILL => true,
            (KillMode::Mixed, Reach::Tree) => signal == Signal::KILL,
            (KillMode::Mixed, Reach::Process | Reach::ProcessAndChildren) => signal != Signal::KILL,
            (KillMode::Process, Reach::Process)
            | (KillMode::Group, Reach::Group)
            | (KillMode::Tree, Reach::Tree)
            | (KillMode::Cgroup, Reach::Cgroup) => true,
            _ => false,
        };
        assert!(self.kill_modes.iter().any(reaches), "{signal} to {reach:?}, not {:?}", self.kill_modes);
        let named = self.stops.iter().flatten().any(|step| step.signal == signal);
        // SIGINT is what the simulator's own kill sends.
        let expected = named || [Signal::KILL, Signal(2)].contains(&signal);
        assert!(expected, "{} is sent {signal}, not {:?}", self.watcher, self.stops);
        let ([steps], false) = (self.stops.as_slice(), self.last_stop == LastStop::Unknown) else { return };
        if steps.len() == 1 {
            return;
        }
        let place = steps.iter().position(|step| step.signal == signal).unwrap_or(steps.len());
        if let LastStop::Sent { place: before, at } = self.last_stop {
            assert!(place >= before, "{}: {signal} comes after what follows it in {steps:?}", self.watcher);
            let waits = steps.iter().take(place + 1).skip(before + 1).map(|step| step.after).sum::<f64>();
            let early = signal != Signal::KILL && now + MS < at + (waits * 1e9) as u64;
            assert!(!early, "{}: {signal} comes too early in {steps:?}", self.watcher);
        }
        // What it leaves behind gets the last one once more, and the next one no later for it.
        if !matches!(self.last_stop, LastStop::Sent { place: before, .. } if before == place) {
            self.last_stop = LastStop::Sent { place, at: now };
        }
    }
}

/// How a process ended that left others behind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    pub(crate) exit_code: i32,
    pub(crate) at: u64,
    pub(crate) asked: bool,
    /// Nothing was being done with its watcher.
    pub(crate) quiet: bool,
    pub(crate) epoch: u64,
}

#[derive(Default)]
pub(crate) struct Kernel {
    pub(crate) processes: BTreeMap<i32, Process>,
    next_pid: i32,
    recycled: Vec<i32>,
}

impl Kernel {
    pub(crate) fn new() -> Self {
        Self { next_pid: 100, ..Self::default() }
    }

    pub(crate) fn fork(&mut self, rng: &mut Rng, process: Process) -> i32 {
        let pid = if rng.chance(10) { self.recycled.pop() } else { None };
        let pid = pid.unwrap_or_else(|| {
            self.next_pid += 1;
            self.next_pid
        });
        assert!(self.processes.insert(pid, process).is_none());
        pid
    }

    /// The exit that comes next.
    pub(crate) fn next_exit(&self) -> Option<u64> {
        self.processes.values().filter_map(|process| process.exit).map(|(at, _)| at).min()
    }

    /// Collects the processes that have exited by now: pid, exit code and what it was.
    pub(crate) fn collect(&mut self, now: u64) -> Vec<(i32, i32, Process)> {
        let gone: Vec<i32> = self
            .processes
            .iter()
            .filter(|(_, p)| p.exit.is_some_and(|(at, _)| at <= now))
            .map(|(pid, _)| *pid)
            .collect();
        gone.into_iter()
            .map(|pid| {
                let process = self.processes.remove(&pid).unwrap();
                (pid, process.exit.unwrap().1, process)
            })
            .collect()
    }

    /// The core knows of the death: the pid may be given to another.
    pub(crate) fn recycle(&mut self, pid: i32) {
        self.recycled.push(pid);
    }

    /// A process that was collected has left others behind, which end when they get the stop signal.
    pub(crate) fn leave(&mut self, pid: i32, process: Process, left: Left) {
        assert!(self.processes.insert(pid, Process { exit: None, left: Some(left), ..process }).is_none());
    }

    pub(crate) fn end(&mut self, pid: i32, at: u64, code: i32) {
        let process = self.processes.get_mut(&pid).expect("a signal to a process that is not there");
        if process.exit.is_none_or(|(due, _)| due > at) {
            process.exit = Some((at, code));
        }
    }
}
