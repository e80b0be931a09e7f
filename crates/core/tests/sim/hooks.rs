//! Hooks in the simulator: answers that come at once, late or never, and what may not happen before them.

use std::collections::BTreeSet;

use circus_core::arbiter::{HookCall, HookId, HookOutcome, HookTask};
use circus_core::config::{Hook, WatcherConfig};
use circus_core::proto::{HookPoint, Object, Signal};
use serde_json::json;

use super::kernel::MS;
use super::rng::Rng;

/// A hook under way.
struct Running {
    call: HookCall,
    begun: u64,
    /// When it answers; some never do. `None` for what it comes to: what it waits for is not there yet.
    answers: Option<(u64, Option<HookOutcome>)>,
}

/// Every hook under way, and what the answers so far forbid.
#[derive(Default)]
pub(crate) struct Hooks {
    running: Vec<Running>,
    /// Pythons that run no more hooks.
    ended_hosts: BTreeSet<u64>,
    /// Signals that were kept back, by pid.
    refused: BTreeSet<(i32, i32)>,
    /// No hook hangs or says no any more.
    pub(crate) healthy: bool,
    pub(crate) begun: u64,
}

/// Some watchers have some hooks.
pub(crate) fn random_hooks(rng: &mut Rng, config: &mut WatcherConfig) {
    if rng.chance(60) {
        return;
    }
    config.hook_timeout = *rng.pick(&[0.3, 2.0]);
    for point in HookPoint::ALL {
        if rng.chance(30) {
            let run = rng.pick(&["exec:x", "exec:x", "a.b", "wait_cmd:x", "wait_tcp:x:1"]).to_string();
            config.hooks.insert(point, Hook { run, ignore_failure: rng.chance(20) });
        }
    }
}

impl Hooks {
    pub(crate) fn run(&mut self, call: HookCall, rng: &mut Rng, now: u64) {
        let point = point(&call);
        let same = |other: &&Running| other.call.id.watcher == call.id.watcher && self::point(&other.call) == point;
        let alone = [None, Some(HookPoint::BeforeStart), Some(HookPoint::BeforeSpawn), Some(HookPoint::AfterSpawn)];
        if alone.contains(&point) {
            assert_eq!(self.running.iter().filter(same).count(), 0, "{point:?} twice at a time");
        }
        if point == Some(HookPoint::BeforeSignal) {
            self.refused.remove(&signal_of(&call));
        }
        let delay = match rng.below(100) {
            _ if self.healthy => Some(rng.below(20 * MS)),
            0..50 => Some(0),
            50..90 => Some(rng.below(800 * MS)),
            _ => None,
        };
        let answer = match rng.below(100) {
            _ if self.healthy => Ok(true),
            0..75 => Ok(true),
            75..88 => Ok(false),
            _ => Err("boom".to_owned()),
        };
        let mut outcome = HookOutcome::answer(answer);
        if rng.chance(20) {
            outcome.set = Object::from_iter([("env".into(), json!({"A": rng.below(9).to_string()}))]);
        }
        let waits =
            point.and_then(|point| call.config.hooks.get(&point)).is_some_and(|hook| hook.run.starts_with("wait"));
        let outcome = Some(outcome).filter(|_| !waits || rng.chance(50));
        self.begun += 1;
        if let Some(host) = call.host {
            assert!(!self.ended_hosts.contains(&host), "a Python that has ended, or hangs, is to run a hook");
        }
        self.running.push(Running { call, begun: now, answers: delay.map(|delay| (now + delay, outcome)) });
    }

    /// The daemon that ran them is gone, and they with it. Returns how many there were.
    pub(crate) fn stop(&mut self) -> usize {
        self.ended_hosts.extend(self.running.iter().filter_map(|running| running.call.host));
        std::mem::take(&mut self.running).len()
    }

    pub(crate) fn end(&mut self, hook: HookId) {
        let at = self.running.iter().position(|running| running.call.id == hook).expect("the end of no hook");
        // A function cannot be ended: its Python hangs, and is of no use to others.
        self.ended_hosts.extend(self.running.remove(at).call.host);
    }

    /// The core ends a Python, which runs no hook that anything waits for.
    pub(crate) fn end_host(&mut self, host: u64) {
        assert!(
            self.running.iter().all(|running| running.call.host != Some(host)),
            "a Python is ended under its hooks"
        );
        self.ended_hosts.insert(host);
    }

    /// A Python ends by itself, with all that it runs.
    pub(crate) fn lose_host(&mut self) -> Option<u64> {
        let host = self.running.iter().find_map(|running| running.call.host)?;
        self.running.retain(|running| running.call.host != Some(host));
        self.ended_hosts.insert(host);
        Some(host)
    }

    /// When the next answer comes.
    pub(crate) fn next(&self) -> Option<u64> {
        self.running.iter().filter_map(|running| running.answers.as_ref()).map(|(at, _)| *at).min()
    }

    /// An answer that has come by now.
    pub(crate) fn take(&mut self, now: u64) -> Option<(HookId, Option<HookOutcome>)> {
        let due = |running: &Running| running.answers.as_ref().is_some_and(|(at, _)| *at <= now);
        let at = self.running.iter().position(due)?;
        let Running { call, answers, .. } = self.running.remove(at);
        let (_, outcome) = answers?;
        let refused = outcome.as_ref().is_some_and(|outcome| outcome.answer == Ok(false));
        if point(&call) == Some(HookPoint::BeforeSignal) && refused {
            self.refused.insert(signal_of(&call));
        }
        Some((call.id, outcome))
    }

    /// Whether this process is still to be accepted.
    pub(crate) fn judges(&self, pid: i32) -> bool {
        self.running.iter().any(|r| point(&r.call) == Some(HookPoint::AfterSpawn) && pid_of(&r.call) == Some(pid))
    }

    /// Nothing is started before `before_start` has answered.
    pub(crate) fn check_launch(&self, watcher: &str, launcher: circus_core::arbiter::WatcherKey) {
        let bars = |r: &&Running| matches!(point(&r.call), None | Some(HookPoint::BeforeStart));
        let barred = self.running.iter().filter(bars).any(|r| r.call.id.watcher == launcher);
        assert!(!barred, "{watcher}: a process is started before its hook has answered");
    }

    /// Whether a signal was kept back.
    pub(crate) fn has_refused(&self, pid: i32, signal: Signal) -> bool {
        signal != Signal::KILL && self.refused.contains(&(pid, signal.0))
    }

    /// No hook outlives its time.
    pub(crate) fn check(&self, now: u64) {
        for running in &self.running {
            let limit = running.call.limit.as_nanos() as u64;
            assert!(now <= running.begun + limit + MS, "a hook that hangs was not ended: {:?}", running.call.task);
        }
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.running.is_empty()
    }

    /// The pid is another's from now on.
    pub(crate) fn forget(&mut self, pid: i32) {
        self.refused.retain(|(known, _)| *known != pid);
    }
}

/// `None` for the loading of hooks.
pub(crate) fn point(call: &HookCall) -> Option<HookPoint> {
    match call.task {
        HookTask::Load => None,
        HookTask::Run(point) => Some(point),
    }
}

pub(crate) fn pid_of(call: &HookCall) -> Option<i32> {
    call.subject.pid.map(|pid| pid.0)
}

fn signal_of(call: &HookCall) -> (i32, i32) {
    (pid_of(call).unwrap(), call.subject.signum.unwrap().0)
}
