//! What the simulator expects: promises that hold whatever happens, and what the last commands asked for.

use std::collections::{BTreeMap, BTreeSet};

use circus_core::config::{Checks, Propagate, Respawn, WatcherConfig};

use super::demand::{Waiting, known};
use super::kernel::{MS, Process, Temper};

/// The workers' min_uptime.
const MIN_UPTIME: u64 = 1000 * MS;
/// Exits that should not have been count together within so much time that the workers of a slot ran.
const WINDOW: u64 = 300_000 * MS;
/// So many of them are replaced at once.
const FREE_EXITS: u32 = 3;

/// A place that waits out a back-off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) from: u64,
    pub(crate) until: u64,
    pub(crate) epoch: u64,
}

/// What is known of a watcher.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) up: bool,
    pub(crate) numprocesses: u32,
    pub(crate) autostart: bool,
    pub(crate) respawn: Respawn,
    pub(crate) warmup: bool,
    pub(crate) singleton: bool,
    pub(crate) send_hup: bool,
    pub(crate) temper: Temper,
    /// `numprocesses` was 0 at some time: a start came to nothing then.
    pub(crate) was_empty: bool,
    /// Counts the commands: what was predicted before one may not come true after it.
    pub(crate) epoch: u64,
    /// Something happened whose outcome is not predicted: a launch that failed for good.
    pub(crate) unsure: bool,
    /// Early deaths in a row, and when the last one was, by wid.
    pub(crate) early: BTreeMap<u32, (u32, u64)>,
    /// How long workers lived that exited and should not have, by wid, within the window in which they count.
    pub(crate) lives: BTreeMap<u32, Vec<u64>>,
    pub(crate) waits: BTreeMap<u32, Wait>,
    /// Wids whose count something else may have changed, and when.
    pub(crate) uncounted: BTreeMap<u32, u64>,
    /// When a process was last launched with a wid. One that was launched before it changes nothing of its wid's lives.
    launched: BTreeMap<u32, u64>,
    /// Wids whose lives are not known: a command may have changed what the core remembers.
    pub(crate) unknown: BTreeSet<u32>,
    /// Processes that have succeeded since the last command and are not replaced (`respawn = on-failure`).
    pub(crate) finished: usize,
    /// Some process has succeeded: how many there are in the end is not predicted.
    pub(crate) has_finished: bool,
    /// It has hooks, or had: they say which workers come up.
    pub(crate) hooked: bool,
    /// The socket that it waits at (`on_demand`).
    pub(crate) socket: Option<&'static str>,
    pub(crate) waiting: Waiting,
    /// Its number of workers follows its need.
    pub(crate) scaled: bool,
    /// The watcher without which it does not run (`requires`).
    pub(crate) requires: Option<String>,
}

/// Whether something else than requests and deaths decides about its workers.
pub(crate) fn is_hooked(config: &WatcherConfig) -> bool {
    let needs = !config.after.is_empty() || !config.requires.is_empty();
    !config.hooks.is_empty() || config.checks != Checks::default() || needs
}

impl Expected {
    pub(crate) fn new(numprocesses: u32) -> Self {
        Self {
            up: false,
            numprocesses,
            autostart: true,
            respawn: Respawn::Always,
            warmup: false,
            singleton: false,
            send_hup: false,
            temper: Temper::Healthy,
            was_empty: false,
            epoch: 0,
            unsure: false,
            early: BTreeMap::new(),
            lives: BTreeMap::new(),
            launched: BTreeMap::new(),
            waits: BTreeMap::new(),
            uncounted: BTreeMap::new(),
            unknown: BTreeSet::new(),
            finished: 0,
            has_finished: false,
            hooked: false,
            socket: None,
            waiting: Waiting::default(),
            scaled: false,
            requires: None,
        }
    }

    /// What is expected of a watcher that the file has just brought.
    pub(crate) fn of(config: &WatcherConfig) -> Self {
        Self {
            up: config.autostart,
            autostart: config.autostart,
            respawn: config.respawn,
            warmup: config.warmup_delay > 0.0,
            singleton: config.singleton,
            send_hup: config.send_hup,
            was_empty: config.numprocesses == 0,
            hooked: is_hooked(config),
            scaled: config.scaling.scale.is_some(),
            requires: config.requires.first().filter(|_| config.propagate != Propagate::None).cloned(),
            socket: config.stdin_socket.as_deref().filter(|_| config.on_demand).map(known),
            ..Self::new(config.numprocesses)
        }
    }

    /// The file has another in its place: it stops, and starts if it does so by itself.
    pub(crate) fn replaced(&mut self, config: &WatcherConfig) {
        self.touched();
        let before = std::mem::replace(self, Self::of(config));
        self.epoch = before.epoch;
        self.temper = before.temper;
        self.was_empty |= before.was_empty;
        self.hooked |= before.hooked;
        (self.early, self.uncounted) = (before.early, before.uncounted);
        (self.lives, self.unknown, self.launched) = (before.lives, before.unknown, before.launched);
        // Processes of the one before go on until its turn to stop has come.
        self.waiting.call();
    }

    /// Options of it have changed that count at once.
    pub(crate) fn adjusted(&mut self, config: &WatcherConfig) {
        // What has ended may have been replaced or not.
        self.has_finished |= self.respawn != config.respawn;
        self.respawn = config.respawn;
        self.warmup |= config.warmup_delay > 0.0;
        self.singleton = config.singleton;
        self.send_hup = config.send_hup;
        self.hooked |= is_hooked(config);
        self.scaled = config.scaling.scale.is_some();
    }

    /// A command reached it.
    pub(crate) fn touched(&mut self) {
        self.epoch += 1;
        self.waits.clear();
        self.finished = 0;
        self.uncounted.extend(self.early.iter().map(|(wid, (_, at))| (*wid, *at)));
        self.unknown.extend(self.lives.keys());
    }

    /// Its worker died by itself while nothing was being done with it; predicts the next launch.
    fn died(&mut self, process: &Process, exit_code: i32, now: u64) {
        let (wid, lived) = (process.wid, now - process.born);
        if self.hooked {
            return;
        }
        let killed = exit_code == -9;
        let done = lived >= 10 * MIN_UPTIME && exit_code == 0;
        if lived >= MIN_UPTIME && (killed || done || lived > WINDOW) {
            self.lives.remove(&wid);
            self.unknown.remove(&wid);
            return;
        }
        let k = if lived < MIN_UPTIME {
            if self.uncounted.contains_key(&wid) {
                return;
            }
            let (count, at) = self.early.entry(wid).or_default();
            (*count, *at) = (*count + 1, now);
            *count
        } else {
            if self.unknown.contains(&wid) {
                return;
            }
            let lives = self.lives.entry(wid).or_default();
            let longest = lives.iter().max().copied().unwrap_or_default();
            if lived >= (2 * longest).max(10 * MIN_UPTIME) {
                lives.clear();
            }
            lives.push(lived);
            while lives.iter().sum::<u64>() > WINDOW || lives.len() > 64 {
                lives.remove(0);
            }
            (lives.len() as u32).saturating_sub(FREE_EXITS)
        };
        if k == 0 {
            return;
        }
        let wait = ((100 * MS) << (k - 1).min(20)).min(5000 * MS);
        // Where a decr came while another, too, had left something behind, one of the two is not replaced.
        let until = if process.left.is_some() { u64::MAX } else { now + wait * 11 / 10 + MS };
        self.waits.insert(wid, Wait { from: now + wait * 9 / 10, until, epoch: self.epoch });
    }

    /// Its worker ended by itself with this exit code while nothing was being done with it.
    pub(crate) fn ended(&mut self, process: &Process, exit_code: i32, now: u64) {
        if self.socket.is_some() {
            if now - process.born < 1000 * MS {
                self.waiting.failed(now);
            }
            return;
        }
        match self.respawn {
            Respawn::OnFailure if exit_code == 0 => {
                self.finished += 1;
                self.has_finished = true;
            }
            Respawn::Always | Respawn::OnFailure => self.died(process, exit_code, now),
            Respawn::Never => {}
        }
    }

    /// Its worker is gone, whatever the reason.
    pub(crate) fn gone(&mut self, process: &Process, now: u64, quiet: bool) {
        let long = now - process.born >= MIN_UPTIME;
        // One that had a younger one beside it has ended what was counted before, not what the younger one came to.
        if long {
            let lived_from = process.born + MIN_UPTIME;
            self.early.retain(|wid, (_, at)| *wid != process.wid || *at > lived_from);
            self.uncounted.retain(|wid, at| *wid != process.wid || *at > lived_from);
        } else if !quiet {
            // While something is done with the watcher, it may count as early or not.
            self.uncounted.insert(process.wid, now);
        }
        let newest = self.launched.get(&process.wid).is_none_or(|at| *at <= process.born);
        if long && process.stop_sent && process.left.is_none() && newest {
            self.lives.remove(&process.wid);
            self.unknown.remove(&process.wid);
        } else if !quiet || process.stop_sent || process.signalled {
            self.unknown.insert(process.wid);
        }
    }

    /// A launch was asked for in this place.
    pub(crate) fn launched(&mut self, wid: u32, now: u64) {
        self.launched.insert(wid, now);
        if let Some(wait) = self.waits.remove(&wid)
            && wait.epoch == self.epoch
        {
            assert!(now >= wait.from, "wid {wid} was launched {} ms too early", (wait.from - now) / MS);
        }
    }

    /// No back-off lasts longer than it should.
    pub(crate) fn check_waits(&self, now: u64) {
        for (wid, wait) in &self.waits {
            let late = wait.epoch == self.epoch && !self.warmup && now.saturating_sub(5 * MS) > wait.until;
            assert!(!late, "wid {wid} should have been launched {} ms ago", (now - wait.until) / MS);
        }
    }
}
