//! What is counted of events, since the plugin began.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use circus_plugin_sdk::Event;
use serde_json::Value;

/// The upper ends of the histogram's classes, in seconds; beyond them is one more.
pub(crate) const BOUNDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The counts of a watcher.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    /// How often a process ended so: with an exit status, or by a signal where it is below 0.
    pub(crate) exits: BTreeMap<i64, u64>,
    pub(crate) reloads: u64,
    /// Workers that have failed their health checks.
    pub(crate) unhealthy: u64,
    pub(crate) respawns: Histogram,
}

/// How long it took from a death to the next process.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Histogram {
    /// Of each class; what is in none is in `count` alone.
    pub(crate) classes: [u64; BOUNDS.len()],
    pub(crate) count: u64,
    /// In seconds.
    pub(crate) sum: f64,
}

impl Histogram {
    fn add(&mut self, seconds: f64) {
        if let Some(class) = BOUNDS.iter().position(|bound| seconds <= *bound).and_then(|at| self.classes.get_mut(at)) {
            *class += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }
}

/// The state of a watcher between two events.
#[derive(Debug, Default)]
struct Tracker {
    tally: Tally,
    /// Processes that circusd has signalled: their deaths were asked for.
    expected: HashSet<i64>,
    /// Exits of processes that are still to be replaced.
    pending: VecDeque<PendingRestart>,
}

/// An exit after which a process will be started.
#[derive(Debug)]
struct PendingRestart {
    died: f64,
    /// The watcher was complete without it at a look since: no process will be started for it.
    doubtful: bool,
}

/// The counts of every watcher, by the spelling of topics.
#[derive(Debug, Default)]
pub(crate) struct Tallies(HashMap<String, Tracker>);

impl Tallies {
    pub(crate) fn on_event(&mut self, event: &Event) {
        if event.kind == "remove" {
            self.0.remove(&event.watcher);
            return;
        }
        let tracker = self.0.entry(event.watcher.clone()).or_default();
        let time = event.body.get("time").and_then(Value::as_f64);
        match (event.kind.as_str(), event.pid(), time) {
            ("kill", Some(pid), _) => drop(tracker.expected.insert(pid)),
            ("reap", Some(pid), Some(time)) => tracker.reaped(pid, event.body.get("exit_code"), time),
            ("spawn", Some(pid), Some(time)) => tracker.spawned(pid, time),
            ("reload", _, _) => tracker.tally.reloads += 1,
            ("unhealthy", _, _) => tracker.tally.unhealthy += 1,
            // Starts from here on were requested.
            ("stop" | "add", _, _) => tracker.pending.clear(),
            (_, _, _) => {}
        }
    }

    /// The counts of a watcher. A complete watcher has no pending restart, unless the event of a new process is still
    /// on its way; so it counts as complete the second time.
    pub(crate) fn of(&mut self, resource: &str, is_complete: bool) -> Tally {
        let Some(tracker) = self.0.get_mut(resource) else { return Tally::default() };
        if is_complete {
            tracker.pending.retain(|pending_restart| !pending_restart.doubtful);
            tracker.pending.iter_mut().for_each(|pending_restart| pending_restart.doubtful = true);
        }
        tracker.tally.clone()
    }
}

impl Tracker {
    fn reaped(&mut self, pid: i64, code: Option<&Value>, time: f64) {
        if let Some(code) = code.and_then(Value::as_i64) {
            *self.tally.exits.entry(code).or_default() += 1;
        }
        if !self.expected.remove(&pid) {
            self.pending.push_back(PendingRestart { died: time, doubtful: false });
        }
    }

    fn spawned(&mut self, pid: i64, time: f64) {
        // The pid was another's.
        self.expected.remove(&pid);
        if let Some(pending_restart) = self.pending.pop_front() {
            // The clock on the wall may have been set back.
            self.tally.respawns.add((time - pending_restart.died).max(0.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tell(tallies: &mut Tallies, kind: &str, body: Value) {
        let topic = format!("watcher.web.{kind}");
        tallies.on_event(&Event::parse(topic.as_bytes(), body.to_string().as_bytes()).unwrap());
    }

    fn reap(tallies: &mut Tallies, pid: i64, code: i64, time: f64) {
        tell(tallies, "reap", json!({"process_pid": pid, "exit_code": code, "time": time}));
    }

    fn spawn(tallies: &mut Tallies, pid: i64, time: f64) {
        tell(tallies, "spawn", json!({"process_pid": pid, "time": time}));
    }

    #[test]
    fn a_death_and_the_next_process() {
        let mut tallies = Tallies::default();
        reap(&mut tallies, 1, -9, 10.0);
        reap(&mut tallies, 2, 3, 10.25);
        spawn(&mut tallies, 3, 10.0);
        spawn(&mut tallies, 4, 110.25);
        spawn(&mut tallies, 5, 120.0);
        let tally = tallies.of("web", true);
        assert_eq!(tally.exits, BTreeMap::from([(-9, 1), (3, 1)]));
        assert_eq!((tally.respawns.count, tally.respawns.sum, tally.respawns.classes[0]), (2, 100.0, 1));
        assert_eq!(tally.respawns.classes.iter().sum::<u64>(), 1, "100 s are in no class");
    }

    #[test]
    fn commanded_exits_are_not_respawns() {
        let mut tallies = Tallies::default();
        tell(&mut tallies, "kill", json!({"process_pid": 1, "time": 1.0}));
        reap(&mut tallies, 1, -15, 1.0);
        spawn(&mut tallies, 2, 1.5);
        tell(&mut tallies, "reload", json!({"time": 2.0}));
        // It dies by itself, and is stopped before it is replaced.
        reap(&mut tallies, 2, 1, 3.0);
        tell(&mut tallies, "stop", json!({"time": 4.0}));
        spawn(&mut tallies, 3, 5.0);
        let tally = tallies.of("web", true);
        assert_eq!((tally.respawns.count, tally.reloads, tally.exits.len()), (0, 1, 2));
        tell(&mut tallies, "remove", json!({"time": 6.0}));
        assert_eq!(tallies.of("web", true), Tally::default());
    }

    #[test]
    fn unreplaced_exit_is_dropped_at_second_look() {
        for (looks, respawns) in [(0, 1), (1, 1), (2, 0)] {
            let mut tallies = Tallies::default();
            reap(&mut tallies, 1, 0, 1.0);
            (0..looks).for_each(|_| drop(tallies.of("web", true)));
            drop(tallies.of("web", false));
            spawn(&mut tallies, 2, 100.0);
            assert_eq!(tallies.of("web", true).respawns.count, respawns, "{looks}");
        }
    }
}
