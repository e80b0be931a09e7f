//! Workers by need: `scale` and the options that belong to it.
//!
//! ```text
//!          the watcher is active        scale_interval
//!   Off ─────────────────────▶ Pausing ───────────────▶ Measuring
//!    ▲                          │   ▲                       │
//!    └──────── it is not ───────┘   └─ measured, or failed ─┘
//! ```
//!
//! What is measured asks for a number ([`wanted`]). More workers than now come at once. Fewer come when fewer would have
//! done for `scale_down_after`, and then as many stay as were needed at most in that time ([`decide`]). Nothing is measured
//! while something is done with the watcher or workers are on their way, so that what a start costs does not count, and
//! nothing at all where no watcher has `scale`.

use std::time::Duration;

use crate::arbiter::action::{Action, Measure, ProbeCall};
use crate::arbiter::event::{Measured, ProbeOutcome};
use crate::arbiter::fleet::chronicle::What;
use crate::arbiter::fleet::scaler::{CpuTimes, Low, Rescale, Stage};
use crate::arbiter::fleet::watcher::WatcherState;
use crate::arbiter::fleet::worker::WorkerState;
use crate::arbiter::ids::{ProbeId, WatcherKey};
use crate::arbiter::operate::job::Job;
use crate::arbiter::state::Arbiter;
use crate::arbiter::time::{Mono, Now, seconds};
use crate::arbiter::timers::Timer;
use crate::base::Level;
use crate::config::{Scale, Scaling, named_sockets};
use crate::proto::EventKind;

/// The daemon looks at most at so many workers of a watcher: their mean tells that of all.
const MOST_LOOKED_AT: usize = 64;
/// A mean that is off its target by no more than this share changes nothing.
const TOLERANCE: f64 = 0.1;
/// What is measured without a command is there at once; a daemon that never answers is not waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How many workers a measurement asks for where there are `current` now.
pub(in crate::arbiter) fn wanted(scaling: &Scaling, current: u32, measured: f64) -> u32 {
    let Some(bounds) = scaling.bounds() else { return current };
    let share = measured / scaling.target();
    let asked = match &scaling.scale {
        // Whoever waits would have been accepted, had a worker been free. Nobody waits: one fewer may do.
        Some(Scale::Queue) if measured <= 0.0 => f64::from(current) - 1.0,
        Some(Scale::Queue) => f64::from(current) + share.floor(),
        Some(Scale::Cpu) if (share - 1.0).abs() <= TOLERANCE => f64::from(current),
        Some(Scale::Cpu) => (f64::from(current) * share).ceil(),
        Some(Scale::Exec(_)) => measured,
        None => f64::from(current),
    };
    let most = match &scaling.scale {
        // A single look does no more than double them.
        Some(Scale::Queue | Scale::Cpu) => current.max(1).saturating_mul(2),
        Some(Scale::Exec(_)) | None => u32::MAX,
    };
    let (least, most) = (*bounds.start(), most.min(*bounds.end()));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the number is clamped before")]
    let number = asked.clamp(f64::from(least), f64::from(most.max(least))) as u32;
    number
}

/// The number from now on, where it changes.
pub(in crate::arbiter) fn decide(
    low: &mut Option<Low>,
    (current, wanted): (u32, u32),
    now: Mono,
    down_after: Duration,
) -> Option<u32> {
    if wanted >= current {
        *low = None;
        return (wanted > current).then_some(wanted);
    }
    let begun = low.get_or_insert(Low { since: now, most: wanted });
    begun.most = begun.most.max(wanted);
    let Low { since, most } = *begun;
    if now.since(since) < down_after {
        return None;
    }
    *low = None;
    Some(most)
}

/// Percent of one processor that a worker has used since the last look, in the mean. `None` at the first look, and where
/// none of the workers is one of those of that time.
fn percent(before: Option<&CpuTimes>, now: &CpuTimes) -> Option<f64> {
    let before = before?;
    let passed = now.at.since(before.at).as_secs_f64();
    let used = now.by_pid.iter().filter_map(|(pid, time)| Some(time.saturating_sub(*before.by_pid.get(pid)?)));
    let used: Vec<f64> = used.map(|used| used.as_secs_f64()).collect();
    #[expect(clippy::cast_precision_loss, reason = "they are few")]
    let count = used.len() as f64;
    (count > 0.0 && passed > 0.0).then(|| used.iter().sum::<f64>() / count / passed * 100.0)
}

/// What was measured, in words.
fn words(scaling: &Scaling, measured: f64, is_less: bool) -> String {
    let after = scaling.scale_down_after;
    match (&scaling.scale, is_less) {
        (Some(Scale::Queue), false) if measured <= 1.0 => "1 connection waits".into(),
        (Some(Scale::Queue), false) => format!("{measured} connections wait"),
        (Some(Scale::Queue), true) => format!("no connection has waited for {after} s"),
        (Some(Scale::Cpu), false) => format!("a worker uses {measured:.0} % of a processor"),
        (Some(Scale::Cpu), true) => {
            format!("a worker uses {measured:.0} % of a processor, and fewer did for {after} s")
        }
        (Some(Scale::Exec(_)) | None, false) => format!("the command asks for {measured}"),
        (Some(Scale::Exec(_)) | None, true) => format!("the command has asked for no more for {after} s"),
    }
}

impl Arbiter {
    /// Begins to measure, or ends it, in line with what the watcher is.
    pub(in crate::arbiter) fn update_scale(&mut self, key: WatcherKey, now: Now) {
        let Some(w) = self.fleet.get(key) else { return };
        let scaling = &w.config.scaling;
        if scaling.scale.is_none() && w.scaler.stage == Stage::Off {
            return;
        }
        let active = w.state == WatcherState::Active && !w.removed && self.phase.is_running();
        match (scaling.scale.is_some() && active, w.scaler.stage) {
            (true, Stage::Off) => self.pause_measuring(key, now),
            (false, Stage::Pausing | Stage::Measuring(_)) => self.end_scale(key),
            (true, Stage::Pausing | Stage::Measuring(_)) | (false, Stage::Off) => {}
        }
        let Some(w) = self.fleet.get(key) else { return };
        let (number, bounds) = (w.config.numprocesses, w.config.scaling.bounds());
        let Some(bounds) = bounds.filter(|bounds| !bounds.contains(&number) && !w.removed) else { return };
        let (name, bound) =
            if number < *bounds.start() { ("scale_min", *bounds.start()) } else { ("scale_max", *bounds.end()) };
        self.rescale(key, bound, format!("{name} is {bound}"), now);
    }

    /// Nothing is measured any more, and what was is of no interest.
    pub(in crate::arbiter) fn end_scale(&mut self, key: WatcherKey) {
        self.timers.cancel(Timer::Scale(key));
        let Some(w) = self.fleet.watchers.get_mut(&key) else { return };
        (w.scaler.low, w.scaler.cpu, w.scaler.measured) = (None, None, None);
        if let Stage::Measuring(Some(probe)) = std::mem::take(&mut w.scaler.stage) {
            self.outbox.act(Action::EndProbe(probe));
        }
    }

    fn pause_measuring(&mut self, key: WatcherKey, now: Now) {
        let Some(w) = self.fleet.watchers.get_mut(&key) else { return };
        w.scaler.stage = Stage::Pausing;
        self.timers.set(Timer::Scale(key), now.mono.after(seconds(w.config.scaling.scale_interval)));
    }

    /// It is time for a look, or what is under way has had its time.
    pub(in crate::arbiter) fn scale_due(&mut self, key: WatcherKey, now: Now) {
        let Some(w) = self.fleet.get(key) else { return };
        match w.scaler.stage {
            Stage::Off => {}
            Stage::Pausing => {
                let is_at_rest = w.running.is_none() && w.waiting.is_empty() && w.is_settled();
                if is_at_rest && !self.reconfigurations.is_taking_over() {
                    self.measure(key, now);
                } else {
                    self.pause_measuring(key, now);
                }
            }
            Stage::Measuring(probe) => {
                let limit = w.config.scaling.scale_timeout;
                probe.into_iter().for_each(|probe| self.outbox.act(Action::EndProbe(probe)));
                self.measured(key, Err(format!("no answer within {limit} s")), now);
            }
        }
    }

    /// Looks how much is to be done, for the first time or for another daemon once more.
    pub(in crate::arbiter) fn measure(&mut self, key: WatcherKey, now: Now) {
        let Some(w) = self.fleet.watchers.get_mut(&key) else { return };
        let (config, serial) = (w.config.clone(), w.scaler.next);
        let Some(scale) = &config.scaling.scale else { return };
        let mut limit = ANSWER_TIMEOUT;
        let mut probe = None;
        let action = match scale {
            Scale::Queue => {
                let named = named_sockets(&config);
                let all = named.is_empty() && config.use_sockets;
                let open = self.sockets.open.iter().map(|socket| &socket.name);
                let sockets = open.filter(|name| all || named.contains(*name)).cloned().collect();
                Action::Measure { watcher: key, what: Measure::Queue(sockets) }
            }
            Scale::Cpu => {
                let running = w.workers().values().filter(|worker| worker.state == WorkerState::Running);
                let pids = running.filter_map(|worker| worker.pid).take(MOST_LOOKED_AT).collect();
                Action::Measure { watcher: key, what: Measure::Cpu(pids) }
            }
            Scale::Exec(command) => {
                w.scaler.next += 1;
                limit = seconds(config.scaling.scale_timeout);
                let id = ProbeId::of_watcher(key, serial);
                probe = Some(id);
                let (probe, prints) = (command.clone(), true);
                let call = ProbeCall { id, wid: None, pid: None, probe, config: config.clone(), prints };
                Action::Probe(Box::new(call))
            }
        };
        w.scaler.stage = Stage::Measuring(probe);
        self.timers.set(Timer::Scale(key), now.mono.after(limit));
        self.outbox.act(action);
    }

    /// The daemon has looked.
    pub(in crate::arbiter) fn looked(&mut self, key: WatcherKey, result: Result<Measured, String>, now: Now) {
        let Some(w) = self.fleet.watchers.get_mut(&key) else { return };
        if w.scaler.stage != Stage::Measuring(None) {
            return;
        }
        let measured = match result {
            Ok(Measured::Waiting(count)) => {
                #[expect(clippy::cast_precision_loss, reason = "no queue is that long")]
                let count = count as f64;
                Some(Ok(count))
            }
            Ok(Measured::Cpu(times)) => {
                let by_pid = times.into_iter().map(|(pid, time)| (pid.0, time)).collect();
                let times = CpuTimes { at: now.mono, by_pid };
                let percent = percent(w.scaler.cpu.as_ref(), &times);
                w.scaler.cpu = Some(times);
                percent.map(Ok)
            }
            Err(error) => Some(Err(error)),
        };
        match measured {
            Some(measured) => self.measured(key, measured, now),
            None => self.pause_measuring(key, now),
        }
    }

    /// The command has ended.
    pub(in crate::arbiter) fn asked(&mut self, probe: ProbeId, outcome: ProbeOutcome, now: Now) {
        let key = probe.worker.watcher;
        if self.fleet.get(key).is_none_or(|w| w.scaler.stage != Stage::Measuring(Some(probe))) {
            return;
        }
        let measured = match outcome {
            ProbeOutcome::Printed(text) => match text.trim().parse::<u32>() {
                Ok(number) => Ok(f64::from(number)),
                Err(_) => Err("it has not printed a number".to_owned()),
            },
            ProbeOutcome::Passed => Err("it has not printed a number".to_owned()),
            ProbeOutcome::Failed(why) | ProbeOutcome::Unable(why) => Err(why),
        };
        self.measured(key, measured, now);
    }

    fn measured(&mut self, key: WatcherKey, measured: Result<f64, String>, now: Now) {
        self.pause_measuring(key, now);
        let Some(w) = self.fleet.watchers.get_mut(&key) else { return };
        let config = w.config.clone();
        let (scaling, current) = (&config.scaling, config.numprocesses);
        let measured = match measured {
            Ok(measured) => measured,
            Err(error) => {
                // What is not known for a while may have been much.
                w.scaler.low = None;
                let is_new = w.scaler.error.as_ref() != Some(&error);
                let what = scaling.scale.as_ref().map(Scale::shown).unwrap_or_default();
                let text = format!("{}: scale = {what} has failed, the number stays {current}: {error}", config.name);
                w.scaler.error = Some(error);
                return self.outbox.log(if is_new { Level::Warning } else { Level::Debug }, text);
            }
        };
        w.scaler.error = None;
        w.scaler.measured = Some(measured);
        let wanted = wanted(scaling, current, measured);
        let down_after = seconds(scaling.scale_down_after);
        if let Some(to) = decide(&mut w.scaler.low, (current, wanted), now.mono, down_after) {
            self.rescale(key, to, words(scaling, measured, to < current), now);
        }
    }

    /// Gives a watcher another number of workers of its own accord.
    fn rescale(&mut self, key: WatcherKey, to: u32, reason: String, now: Now) {
        let Some(w) = self.fleet.watchers.get_mut(&key) else { return };
        let from = std::mem::replace(&mut std::sync::Arc::make_mut(&mut w.config).numprocesses, to);
        let change = Rescale { from, to, reason: reason.clone(), time: now.unix };
        w.history.chronicle.note(None, What::Scaled(change.clone()), now);
        w.scaler.last = Some(change);
        let text = format!("{}: {from} to {to} workers: {reason}", w.name());
        self.outbox.log(Level::Info, text);
        self.publish(key, EventKind::Scale { before: from, numprocesses: to, reason }, now);
        let job = self.open_job(Job { left: 1, ..Job::without_client() });
        self.resized(key, from, job, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaling(scale: Scale, max: u32) -> Scaling {
        Scaling { scale: Some(scale), scale_max: max, ..Scaling::default() }
    }

    #[test]
    fn number_that_is_wanted() {
        let queue = scaling(Scale::Queue, 10);
        for (current, waiting, expected) in [(2, 0.0, 1), (1, 0.0, 1), (2, 1.0, 3), (2, 50.0, 4), (8, 50.0, 10)] {
            assert_eq!(wanted(&queue, current, waiting), expected, "{waiting} wait for {current}");
        }
        let patient = Scaling { scale_target: 10, ..queue };
        assert_eq!((wanted(&patient, 2, 9.0), wanted(&patient, 2, 10.0)), (2, 3));
        let cpu = scaling(Scale::Cpu, 10);
        for (current, percent, expected) in [
            (2, 70.0, 2),
            (2, 76.0, 2),
            (2, 80.0, 3),
            (2, 100.0, 3),
            (4, 10.0, 1),
            (4, 60.0, 4),
            (3, 0.0, 1),
            (9, 90.0, 10),
        ] {
            assert_eq!(wanted(&cpu, current, percent), expected, "{percent} % of {current}");
        }
        let off = Scaling::default();
        assert_eq!(wanted(&off, 7, 0.0), 7);
    }

    #[test]
    fn more_come_at_once_and_fewer_after_a_while() {
        let at = |seconds: u64| Mono(seconds * 1_000_000_000);
        let after = Duration::from_secs(60);
        let mut low = None;
        assert_eq!(decide(&mut low, (2, 4), at(0), after), Some(4));
        assert_eq!(decide(&mut low, (4, 1), at(5), after), None);
        assert_eq!(decide(&mut low, (4, 3), at(30), after), None);
        assert_eq!(decide(&mut low, (4, 1), at(64), after), None);
        assert_eq!(decide(&mut low, (4, 1), at(65), after), Some(3), "so many were needed in that time");
        assert_eq!(decide(&mut low, (3, 1), at(70), after), None, "and the time begins anew");
        assert_eq!(decide(&mut low, (3, 3), at(120), after), None);
        assert_eq!(decide(&mut low, (3, 1), at(131), after), None, "all were needed meanwhile");
    }

    #[test]
    fn share_of_a_processor() {
        let times = |at: u64, of: &[(i32, u64)]| CpuTimes {
            at: Mono(at * 1_000_000_000),
            by_pid: of.iter().map(|(pid, ms)| (*pid, Duration::from_millis(*ms))).collect(),
        };
        let before = times(10, &[(1, 1000), (2, 500), (3, 9000)]);
        let now = times(20, &[(1, 6000), (2, 1500), (4, 7000)]);
        assert_eq!(percent(Some(&before), &now), Some(30.0), "of the two that were there both times");
        assert_eq!(percent(None, &now), None);
        assert_eq!(percent(Some(&times(10, &[(9, 0)])), &now), None);
        // A child that was not waited for has taken its time with it.
        assert_eq!(percent(Some(&times(10, &[(1, 7000)])), &times(20, &[(1, 6000)])), Some(0.0));
    }
}
