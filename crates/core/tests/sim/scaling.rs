//! Workers by need in the simulator: a command that asks for other numbers now and then, and sometimes fails, and workers that
//! say whether they may go. What the core makes of it is checked against what it was told.

use std::collections::{BTreeMap, BTreeSet};

use circus_core::arbiter::ProbeOutcome;
use circus_core::config::{Host, WatcherConfig, options};
use circus_core::proto::Object;
use serde_json::json;

use super::kernel::MS;
use super::rng::Rng;

pub(crate) const MIN: u32 = 1;
pub(crate) const MAX: u32 = 4;
/// Milliseconds.
const DOWN_AFTER: u64 = 12_000;

/// What commands have said.
#[derive(Default)]
pub(crate) struct Needs {
    /// How many each watcher needs now, as its command says.
    levels: BTreeMap<String, u32>,
    /// What each was told, and when.
    told: BTreeMap<String, Vec<(u64, u32)>>,
    /// Workers that said that they are idle.
    pub(crate) idle: BTreeSet<i32>,
    /// Nothing fails, and all workers are idle.
    pub(crate) healthy: bool,
    pub(crate) changes: u64,
}

/// Some watchers follow their need.
pub(crate) fn random_scale(rng: &mut Rng, config: &mut WatcherConfig) {
    let mut changes = Object::new();
    if rng.chance(50) {
        changes.insert("scale".into(), json!("exec:need"));
        changes.insert("scale_max".into(), json!(MAX));
        changes.insert("scale_interval".into(), json!(3));
        changes.insert("scale_down_after".into(), json!(DOWN_AFTER / 1000));
        config.numprocesses = config.numprocesses.clamp(MIN, MAX);
    }
    if rng.chance(50) {
        changes.insert("drain".into(), json!("exec:idle"));
        changes.insert("drain_timeout".into(), json!(*rng.pick(&[0.2, 2.0])));
    }
    options::apply(config, &changes, &Host::default()).unwrap();
}

impl Needs {
    /// What the command of a watcher comes to.
    pub(crate) fn answer(&mut self, name: &str, rng: &mut Rng) -> ProbeOutcome {
        let level = self.levels.entry(name.to_owned()).or_insert(2);
        if rng.chance(20) && !self.healthy {
            *level = rng.below(7) as u32;
        }
        match rng.below(100) {
            0..4 if !self.healthy => ProbeOutcome::Failed("exit status 1".into()),
            4..8 if !self.healthy => ProbeOutcome::Printed("many".into()),
            _ => ProbeOutcome::Printed(format!("{level}\n")),
        }
    }

    /// The core is told.
    pub(crate) fn note(&mut self, name: &str, outcome: &ProbeOutcome, now: u64) {
        let number = match outcome {
            ProbeOutcome::Printed(text) => text.trim().parse().ok(),
            _ => None,
        };
        let told = self.told.entry(name.to_owned()).or_default();
        match number {
            Some(number) => told.push((now, number)),
            None => told.clear(),
        }
    }

    /// A watcher has another number of workers now, of its own accord.
    pub(crate) fn changed(&mut self, name: &str, (from, to): (u32, u32), now: u64) {
        self.changes += 1;
        assert!((MIN..=MAX).contains(&to), "{name}: {to} workers, not {MIN} to {MAX}");
        if !(MIN..=MAX).contains(&from) {
            return;
        }
        let told = self.told.get(name).map(Vec::as_slice).unwrap_or_default();
        let asked = |number: u32| number.clamp(MIN, MAX);
        let last = told.last().map(|(_, number)| asked(*number));
        if to > from {
            return assert_eq!(
                last,
                Some(to),
                "{name}: {from} to {to} workers, and the command has asked for {told:?}"
            );
        }
        // Fewer were enough for so long, without a break, and this many were needed at most in that time.
        let mut most = 0;
        let enough = told.iter().rev().take_while(|(_, number)| asked(*number) < from).any(|(at, number)| {
            most = most.max(asked(*number));
            now - at >= DOWN_AFTER * MS && most == to
        });
        assert!(enough, "{name}: {from} to {to} workers at {now}, and the command has asked for {told:?}");
    }

    /// The number that a watcher comes to when its need stays as it is.
    pub(crate) fn settled(&self, name: &str) -> Option<u32> {
        self.levels.get(name).map(|level| (*level).clamp(MIN, MAX))
    }
}
