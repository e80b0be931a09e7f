//! Probes in the simulator: answers that come at once, late or never, right or wrong, and reports that workers make.

use std::time::Duration;

use circus_core::arbiter::{Event, Pid, ProbeCall, ProbeId, ProbeOutcome};
use circus_core::config::{Host, WatcherConfig, options};
use circus_core::proto::{Notification, Object};
use serde_json::{Value, json};

use super::kernel::MS;
use super::rng::Rng;
use super::scaling::Needs;

/// A probe under way.
struct Running {
    id: ProbeId,
    pid: Pid,
    about: About,
    /// When it answers; some never do.
    answers: Option<(u64, ProbeOutcome)>,
}

/// What a probe is about, as far as the model has to know.
#[derive(Clone)]
pub(crate) enum About {
    Check,
    /// Whether this worker may go.
    Idle(i32),
    /// How many workers the watcher of this name needs.
    Need(String),
}

/// Every probe under way.
#[derive(Default)]
pub(crate) struct Probes {
    running: Vec<Running>,
    /// Every worker is ready and at work.
    pub(crate) healthy: bool,
    pub(crate) begun: u64,
}

/// Some watchers say how readiness and health show.
pub(crate) fn random_checks(rng: &mut Rng, config: &mut WatcherConfig) {
    if rng.chance(70) {
        return;
    }
    let mut changes = Object::new();
    let mut put = |key: &str, value: Value| drop(changes.insert(key.into(), value));
    put("ready", (*rng.pick(&["none", "notify", "tcp:x:1", "exec:x"])).into());
    put("ready_timeout", json!(*rng.pick(&[0.3, 2.0])));
    put("health", (*rng.pick(&["none", "watchdog", "unix:/x", "exec:x"])).into());
    put("health_interval", json!(*rng.pick(&[1.0, 5.0])));
    put("health_timeout", json!(*rng.pick(&[0.1, 1.0])));
    put("health_retries", json!(1 + rng.below(3)));
    options::apply(config, &changes, &Host::default()).unwrap();
}

impl Probes {
    pub(crate) fn begin(&mut self, call: &ProbeCall, needs: &mut Needs, rng: &mut Rng, now: u64) {
        let same = self.running.iter().filter(|running| running.id.worker == call.id.worker).count();
        assert_eq!(same, 0, "a worker is looked at twice at a time");
        let delay = match rng.below(100) {
            _ if self.healthy => Some(rng.below(20 * MS)),
            0..50 => Some(0),
            50..85 => Some(rng.below(1500 * MS)),
            _ => None,
        };
        let outcome = match rng.below(100) {
            _ if self.healthy => ProbeOutcome::Passed,
            0..60 => ProbeOutcome::Passed,
            60..90 => ProbeOutcome::Failed("refused".into()),
            _ => ProbeOutcome::Unable("too many open files".into()),
        };
        let about = match call.pid {
            None => About::Need(call.config.name.clone()),
            Some(pid) if call.probe.text() == "exec:idle" => About::Idle(pid.0),
            Some(_) => About::Check,
        };
        let outcome = if let About::Need(name) = &about { needs.answer(name, rng) } else { outcome };
        self.begun += 1;
        let answers = delay.map(|delay| (now + delay, outcome));
        self.running.push(Running { id: call.id, pid: call.pid.unwrap_or(Pid(0)), about, answers });
    }

    pub(crate) fn end(&mut self, probe: ProbeId) {
        let at = self.running.iter().position(|running| running.id == probe).expect("the end of no probe");
        self.running.remove(at);
    }

    /// The daemon that made the attempts is gone.
    pub(crate) fn stop(&mut self) {
        self.running.clear();
    }

    /// The probes under way about these processes.
    pub(crate) fn about(&self, pids: impl Iterator<Item = i32>) -> Vec<ProbeId> {
        let of = |pid: i32| self.running.iter().filter(move |running| running.pid.0 == pid);
        pids.flat_map(of).map(|running| running.id).collect()
    }

    /// Their processes were collected and the core told: they are looked at no longer.
    pub(crate) fn check_ended(&self, probes: &[ProbeId]) {
        assert!(!self.running.iter().any(|running| probes.contains(&running.id)), "a look at a process that is gone");
    }

    /// When the next answer comes.
    pub(crate) fn next(&self) -> Option<u64> {
        self.running.iter().filter_map(|running| running.answers.as_ref()).map(|(at, _)| *at).min()
    }

    /// An answer that has come by now.
    pub(crate) fn take(&mut self, now: u64) -> Option<(Event, About)> {
        let due = |running: &Running| running.answers.as_ref().is_some_and(|(at, _)| *at <= now);
        let at = self.running.iter().position(due)?;
        let Running { id, answers, about, .. } = self.running.remove(at);
        Some((Event::Probed { probe: id, outcome: answers?.1 }, about))
    }

    /// What a worker may report of itself.
    pub(crate) fn any_report(&self, rng: &mut Rng) -> Notification {
        match rng.below(10) {
            0..5 => Notification::Ready,
            _ if self.healthy => Notification::Ping,
            5..7 => Notification::Ping,
            7 => Notification::Status("busy".into()),
            8 => Notification::WatchdogInterval(Duration::from_millis(rng.below(3000))),
            _ => Notification::Trigger,
        }
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.running.is_empty()
    }
}
