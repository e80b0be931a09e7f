//! The last sample of each process, and what changed since.

use std::collections::HashMap;
use std::time::Duration;

use super::clock;
use super::totals::Totals;
use circus_core::proto::ProcessInfo;
use circus_sys::{Details, Metrics, Probe, Prober};

/// Two samples that are closer say nothing: processor time is counted in ticks of some ten milliseconds.
const TOO_CLOSE: Duration = Duration::from_millis(50);

/// What changes slowly is read this often: of a few processes each second, of many so that a look costs little more.
const DETAILS: AdaptiveInterval = AdaptiveInterval { few: 1.0, many: 4.0 };

/// The kernel goes through all of a process's memory for this.
const PROPORTIONAL: AdaptiveInterval = AdaptiveInterval { few: 4.0, many: 16.0 };

/// Where it took long, the next time is so many times later: half a percent of a processor at most.
const SPACING: u32 = 200;

/// So many processes are few.
const FEW: usize = 32;

/// Seconds between two looks at the same thing.
struct AdaptiveInterval {
    few: f64,
    many: f64,
}

impl AdaptiveInterval {
    /// In rounds.
    fn rounds(&self, processes: usize, interval: Duration) -> u64 {
        let seconds = if processes <= FEW { self.few } else { self.many };
        ((seconds / interval.as_secs_f64()).round() as u64).max(1)
    }
}

/// A process and what is known of it.
#[derive(Debug)]
pub(super) struct Known {
    /// As Circus reports it.
    pub(super) info: ProcessInfo,
    probe: Probe,
    metrics: Metrics,
    /// When its share of the processor was worked out.
    measured: Duration,
    details: Details,
    proportional: Option<u64>,
    /// No look at that before.
    proportional_at: Duration,
    /// The last round in which it was there.
    round: u64,
    /// Different for each process, so that not all are due in the same round.
    turn: u64,
    tree: Option<Tree>,
}

/// Processor time of a process and its descendants.
#[derive(Clone, Copy, Debug)]
struct Tree {
    /// As it was worked out last.
    sum: Duration,
    /// What was lost when a descendant left the tree: a published sum never shrinks.
    lost: Duration,
    measured: Duration,
    cpu: f64,
}

impl Known {
    /// What people call it.
    pub(super) fn title(&self) -> Option<&str> {
        self.details.title.as_deref()
    }

    /// Without its descendants.
    pub(super) fn own(&self) -> Totals {
        let usage = &self.metrics.usage;
        Totals {
            processes: 1,
            cpu: self.info.usage.map_or(0.0, |usage| usage.cpu),
            cpu_time: self.metrics.busy,
            memory: usage.memory,
            resident: usage.resident,
            proportional: self.proportional,
            threads: self.metrics.threads,
            fds: self.details.fds,
            disk: self.details.disk,
            switches: self.details.switches,
        }
    }

    fn take(&mut self, metrics: Metrics, now: Duration) {
        let elapsed = now.saturating_sub(self.measured);
        let mut cpu = self.info.usage.map_or(0.0, |usage| usage.cpu);
        if elapsed >= TOO_CLOSE {
            let used = metrics.busy.saturating_sub(self.metrics.busy);
            cpu = percent(used, elapsed);
            self.measured = now;
            self.metrics = metrics;
        } else {
            // The processor time stays, to be compared with next time.
            self.metrics = Metrics { busy: self.metrics.busy, ..metrics };
        }
        let usage = circus_core::proto::Usage { cpu, ..metrics.usage };
        self.info.usage = Some(usage);
    }

    /// `sum` and `cpu`: the processor time of the whole tree, and its share at a first look. Returns the time without
    /// steps backwards, and the share since the last look.
    fn measure_tree(&mut self, sum: Duration, cpu: f64, now: Duration) -> (Duration, f64) {
        let Some(past) = self.tree else {
            self.tree = Some(Tree { sum, lost: Duration::ZERO, measured: now, cpu });
            return (sum, cpu);
        };
        let elapsed = now.saturating_sub(past.measured);
        if elapsed < TOO_CLOSE {
            return (past.sum + past.lost, past.cpu);
        }
        let lost = past.lost + past.sum.saturating_sub(sum);
        let cpu = percent(sum.saturating_sub(past.sum), elapsed);
        self.tree = Some(Tree { sum, lost, measured: now, cpu });
        (sum + lost, cpu)
    }
}

fn percent(used: Duration, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { 100.0 * used.as_secs_f64() / elapsed.as_secs_f64() }
}

/// The processes that are sampled.
#[derive(Debug, Default)]
pub(super) struct ProcessCache {
    prober: Prober,
    known: HashMap<i32, Known>,
    interval: Duration,
    now: Duration,
    round: u64,
    next_turn: u64,
    /// Kept for its room: pids that a tree still has to offer.
    open: Vec<i32>,
}

impl ProcessCache {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, ..Self::default() }
    }

    /// A round begins. The time is since boot.
    pub(super) fn begin(&mut self, now: Duration) {
        self.round += 1;
        self.now = now;
    }

    /// Forgets processes that were not sampled in this round.
    pub(super) fn end(&mut self) {
        let round = self.round;
        self.known.retain(|_, known| known.round == round);
    }

    /// Forgets all processes.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// Begins with processes that are new and with their descendants, so that the first round already has a difference.
    pub(super) fn track(&mut self, pids: impl Iterator<Item = i32>, now: Duration) {
        self.begin(now);
        for pid in pids {
            if !self.known.contains_key(&pid) {
                let _ended = self.tree(pid);
            }
        }
    }

    /// A process, as it is in this round; `None` where it has ended.
    pub(super) fn sample(&mut self, pid: i32) -> Option<&Known> {
        if self.known.get(&pid).is_some_and(|known| known.round == self.round) {
            return self.known.get(&pid);
        }
        if !self.resample(pid) {
            // It has ended, or another has its pid by now.
            self.known.remove(&pid);
            self.first_sample(pid)?;
        }
        let known = self.known.get_mut(&pid)?;
        known.round = self.round;
        Some(known)
    }

    /// A process and its descendants, each counted once in a round; `None` where it has ended.
    pub(super) fn tree(&mut self, pid: i32) -> Option<Totals> {
        let mut sum = Totals::default();
        let mut time = Duration::ZERO;
        let mut open = std::mem::take(&mut self.open);
        open.push(pid);
        while let Some(next) = open.pop() {
            // A pid that is reused while we look could make a circle of a tree.
            let is_new = next == pid && sum.processes == 0
                || self.known.get(&next).is_none_or(|known| known.round != self.round);
            if !is_new {
                continue;
            }
            let Some(known) = self.sample(next) else { continue };
            sum.add(&known.own());
            time += known.metrics.busy + known.metrics.collected;
            if let Some(known) = self.known.get(&next) {
                self.prober.children(&known.probe, known.metrics.threads, &mut open);
            }
        }
        self.open = open;
        let known = self.known.get_mut(&pid).filter(|_| sum.processes > 0)?;
        (sum.cpu_time, sum.cpu) = known.measure_tree(time, sum.cpu, self.now);
        Some(sum)
    }

    fn resample(&mut self, pid: i32) -> bool {
        let count = self.known.len();
        let Some(known) = self.known.get_mut(&pid) else { return false };
        let Some(metrics) = self.prober.look(&known.probe, self.now) else { return false };
        known.take(metrics, self.now);
        let turn = self.round + known.turn;
        // Seen in the middle of an exec: what was read then is not of the program that runs now.
        let was_nobody = known.info.command.is_none();
        let due = |pace: AdaptiveInterval| was_nobody || turn.is_multiple_of(pace.rounds(count, self.interval));
        if due(DETAILS) {
            let details = self.prober.details(&known.probe);
            store_details(known, details);
        }
        if due(PROPORTIONAL) && self.now >= known.proportional_at {
            measure_pss(&mut self.prober, known);
        }
        true
    }

    /// A first look: the share of the processor is that since the process was created.
    fn first_sample(&mut self, pid: i32) -> Option<()> {
        let probe = self.prober.open(pid)?;
        let metrics = self.prober.look(&probe, self.now)?;
        let age = Duration::try_from_secs_f64(metrics.usage.age).unwrap_or_default();
        let cpu = if age >= TOO_CLOSE { percent(metrics.busy, age) } else { 0.0 };
        let usage = circus_core::proto::Usage { cpu, ..metrics.usage };
        let info = ProcessInfo { pid, usage: Some(usage), username: None, command: None, children: Vec::new() };
        self.next_turn += 1;
        let details = self.prober.details(&probe);
        let mut known = Known {
            info,
            probe,
            metrics,
            measured: self.now,
            details: Details::default(),
            proportional: None,
            proportional_at: Duration::ZERO,
            round: 0,
            turn: self.next_turn,
            tree: None,
        };
        store_details(&mut known, details);
        measure_pss(&mut self.prober, &mut known);
        self.known.insert(pid, known);
        Some(())
    }
}

fn store_details(known: &mut Known, details: Details) {
    known.info.username.clone_from(&details.username);
    known.info.command.clone_from(&details.command);
    known.details = details;
}

fn measure_pss(prober: &mut Prober, known: &mut Known) {
    let before = clock::since_boot();
    known.proportional = prober.proportional(&known.probe);
    let after = clock::since_boot();
    known.proportional_at = after + after.saturating_sub(before) * SPACING;
}

#[cfg(test)]
mod tests;
