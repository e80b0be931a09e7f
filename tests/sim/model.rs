//! What the simulator expects: promises that hold whatever happens, and what the last commands asked for.

use std::collections::BTreeMap;

use super::kernel::{MS, Process, Temper};

/// A place that waits out a back-off.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub from: u64,
    pub until: u64,
    pub epoch: u64,
}

/// What is known of a watcher.
#[derive(Clone, Debug)]
pub struct Expected {
    pub up: bool,
    pub numprocesses: u32,
    pub autostart: bool,
    pub respawn: bool,
    pub warmup: bool,
    pub singleton: bool,
    pub send_hup: bool,
    pub temper: Temper,
    /// `numprocesses` was 0 at some time: a start came to nothing then.
    pub was_empty: bool,
    /// Counts the commands: what was predicted before one may not come true after it.
    pub epoch: u64,
    /// Something happened whose outcome is not predicted: a launch that failed for good.
    pub unsure: bool,
    /// Early deaths in a row, by wid.
    pub early: BTreeMap<u32, u32>,
    pub waits: BTreeMap<u32, Wait>,
}

impl Expected {
    pub fn new(numprocesses: u32) -> Self {
        Self {
            up: false,
            numprocesses,
            autostart: true,
            respawn: true,
            warmup: false,
            singleton: false,
            send_hup: false,
            temper: Temper::Healthy,
            was_empty: false,
            epoch: 0,
            unsure: false,
            early: BTreeMap::new(),
            waits: BTreeMap::new(),
        }
    }

    /// A command reached it.
    pub fn touched(&mut self) {
        self.epoch += 1;
        self.waits.clear();
    }

    /// Its worker died by itself while nothing was being done with it; predicts the next launch.
    pub fn died(&mut self, process: &Process, now: u64) {
        let lived = now - process.born;
        if lived >= 1000 * MS {
            self.early.remove(&process.wid);
            return;
        }
        let k = self.early.entry(process.wid).or_default();
        *k += 1;
        let wait = (100 * MS << (*k - 1).min(20)).min(5000 * MS);
        self.waits.insert(
            process.wid,
            Wait { from: now + wait * 9 / 10, until: now + wait * 11 / 10 + MS, epoch: self.epoch },
        );
    }

    /// A launch was asked for in this place.
    pub fn launched(&mut self, wid: u32, now: u64) {
        if let Some(wait) = self.waits.remove(&wid)
            && wait.epoch == self.epoch
        {
            assert!(now >= wait.from, "wid {wid} was launched {} ms too early", (wait.from - now) / MS);
        }
    }

    /// No back-off lasts longer than it should.
    pub fn check_waits(&self, now: u64) {
        for (wid, wait) in &self.waits {
            let late = wait.epoch == self.epoch && !self.warmup && now > wait.until + 5 * MS;
            assert!(!late, "wid {wid} should have been launched {} ms ago", (now - wait.until) / MS);
        }
    }
}
