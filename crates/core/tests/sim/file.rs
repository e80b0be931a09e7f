//! The configuration file, which is edited while everything runs, and what the model makes of it.

use std::collections::BTreeMap;

use circus_core::config::{Checks, CircusConfig, Config, KillMode, SocketConfig, StopStep, WatcherConfig};
use circus_core::proto::Signal;

use super::demand::SOCKETS;
use super::kernel::stop_of;
use super::model::Expected;
use super::rng::Rng;
use super::run::{random_mode, random_steps, random_watcher};

/// A file, and what was in it when it was last taken over.
pub(crate) struct File {
    pub(crate) config: Config,
    taken_over: BTreeMap<String, WatcherConfig>,
    port: u16,
    watchers: u32,
}

impl File {
    pub(crate) fn new(circus: CircusConfig, watchers: Vec<WatcherConfig>) -> Self {
        let taken_over = watchers.iter().map(|watcher| (watcher.name.clone(), watcher.clone())).collect();
        let sockets = SOCKETS.map(|name| SocketConfig { port: 1, ..SocketConfig::new(name) }).to_vec();
        Self { config: Config { circus, watchers, sockets, ..Config::default() }, taken_over, port: 1, watchers: 0 }
    }

    /// Changes something.
    pub(crate) fn edit(&mut self, rng: &mut Rng) {
        let count = self.config.watchers.len() as u64;
        let place = rng.below(count) as usize;
        let choice = rng.below(9);
        let (sockets, circus) = (&mut self.config.sockets, &mut self.config.circus);
        match (choice, self.config.watchers.get_mut(place)) {
            (0, _) => circus.warmup_delay = *rng.pick(&[0.0, 0.5]),
            (1, _) => circus.endpoint = rng.pick(&["ipc:///a", "ipc:///b"]).to_string(),
            (2, _) => sockets.iter_mut().for_each(|socket| socket.port = 1 + rng.below(3) as u16),
            (3, Some(_)) if count > 1 => drop(self.config.watchers.remove(place)),
            (4, _) if count < 6 => {
                self.watchers += 1;
                let (watcher, _) = random_watcher(rng, &format!("f{}", self.watchers % 3));
                let at = self.config.watchers.iter().position(|other| other.name == watcher.name);
                match at.and_then(|at| self.config.watchers.get_mut(at)) {
                    Some(other) => *other = watcher,
                    None => self.config.watchers.push(watcher),
                }
            }
            (5, Some(watcher)) => watcher.cmd = rng.pick(&["x", "y"]).to_string(),
            (6, Some(watcher)) => {
                watcher.stop_signal = *rng.pick(&[Signal::TERM, Signal(3)]);
                watcher.stop_steps = random_steps(rng);
                watcher.kill_mode = random_mode(rng, watcher);
                watcher.graceful_timeout = *rng.pick(&[0.5, 3.0]);
                // Whether one that holds a socket is replaced is not predicted from these two alone.
                if watcher.on_demand || !watcher.sockets.is_empty() {
                    watcher.working_dir = format!("/{}", rng.below(1 << 30));
                }
                if rng.chance(50) {
                    watcher.cmd = rng.pick(&["x", "y"]).to_string();
                }
            }
            (_, Some(watcher)) if !watcher.singleton => {
                let bounds = watcher.scaling.bounds().unwrap_or(0..=4);
                watcher.numprocesses = (rng.below(5) as u32).clamp(*bounds.start(), *bounds.end());
            }
            (..) => {}
        }
    }

    /// A watcher was removed by command: the file brings it back.
    pub(crate) fn forgotten(&mut self, name: &str) {
        self.taken_over.remove(name);
    }

    /// This was taken over: what is expected of each watcher from now on.
    ///
    /// Returns the watchers whose running processes are asked to stop in another way from now on.
    pub(crate) fn taken_over(
        &mut self,
        config: &Config,
        watchers: &mut BTreeMap<String, Expected>,
    ) -> Vec<(String, Vec<StopStep>, KillMode)> {
        let mut adjusted = Vec::new();
        // Those that came by add (a0, a1, ...) stay.
        let added = |name: &str| name.starts_with('a');
        watchers.retain(|name, _| added(name) || config.watchers.iter().any(|watcher| watcher.name == *name));
        let port = config.sockets.first().map_or(0, |socket| socket.port);
        let moved = std::mem::replace(&mut self.port, port) != port;
        for (_, expected) in watchers.iter_mut().filter(|(name, _)| moved && added(name)) {
            expected.touched();
        }
        for new in &config.watchers {
            let expected = watchers.entry(new.name.clone()).or_insert_with(|| Expected::of(new));
            match self.taken_over.get(&new.name) {
                Some(old) if old == new => {
                    if moved && (new.on_demand || !new.sockets.is_empty()) {
                        expected.touched();
                    }
                }
                Some(old) if WatcherConfig { numprocesses: new.numprocesses, ..old.clone() } == *new => {
                    expected.touched();
                    expected.numprocesses = new.numprocesses;
                    expected.was_empty |= new.numprocesses == 0;
                }
                Some(old) if adjusts(old, new) && !(moved && (new.on_demand || !new.sockets.is_empty())) => {
                    expected.touched();
                    if old.numprocesses != new.numprocesses {
                        expected.numprocesses = new.numprocesses;
                        expected.was_empty |= new.numprocesses == 0;
                    }
                    expected.adjusted(new);
                    adjusted.push((new.name.clone(), stop_of(new), new.kill_mode));
                }
                old => {
                    // What else counts at once may change what is expected, and the processes stay.
                    if old.is_some_and(|old| adjusts(&needing_as(new, old), new)) {
                        adjusted.push((new.name.clone(), stop_of(new), new.kill_mode));
                    }
                    expected.replaced(new);
                }
            }
        }
        self.taken_over = config.watchers.iter().map(|watcher| (watcher.name.clone(), watcher.clone())).collect();
        adjusted
    }
}

/// A watcher with the needs, and the manner of reloads, of another.
fn needing_as(new: &WatcherConfig, old: &WatcherConfig) -> WatcherConfig {
    WatcherConfig {
        after: new.after.clone(),
        requires: new.requires.clone(),
        propagate: new.propagate,
        reload_batch: new.reload_batch,
        reload_surge: new.reload_surge,
        ..old.clone()
    }
}

/// Whether only options differ that count at once, for the processes that run.
fn adjusts(old: &WatcherConfig, new: &WatcherConfig) -> bool {
    let checks = Checks { health: old.checks.health.clone(), ..new.checks.clone() };
    let live = WatcherConfig {
        checks,
        hook_timeout: new.hook_timeout,
        hooks: new.hooks.clone(),
        max_retry: new.max_retry,
        reload: new.reload,
        respawn: new.respawn,
        send_hup: new.send_hup,
        singleton: new.singleton,
        warmup_delay: new.warmup_delay,
        numprocesses: new.numprocesses,
        stop_signal: new.stop_signal,
        stop_steps: new.stop_steps.clone(),
        kill_mode: new.kill_mode,
        graceful_timeout: new.graceful_timeout,
        priority: new.priority,
        stop_children: new.stop_children,
        idle_timeout: new.idle_timeout,
        scaling: new.scaling.clone(),
        ..old.clone()
    };
    live == *new
}
