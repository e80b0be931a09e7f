//! Actual against desired: the one function that launches and ends workers to make their number right.

use crate::arbiter::core::Arbiter;
use crate::arbiter::fleet::watcher::WatcherState;
use crate::arbiter::ids::WatcherKey;
use crate::arbiter::lifecycle::purpose::spawns_singly;
use crate::arbiter::operate::queue::Progress;
use crate::arbiter::time::{Now, seconds};
use crate::arbiter::timers::Timer;

/// How many launches of one watcher are asked for ahead.
const MOST_ON_THEIR_WAY: usize = 256;

impl Arbiter {
    /// Brings a watcher's workers closer to what is wanted, as far as is possible now. Calling it again at once
    /// changes nothing.
    pub(in crate::arbiter) fn reconcile(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.watchers.get(&key) else { return };
        match watcher.state {
            // Everybody has been told, and nobody is launched.
            WatcherState::Stopped | WatcherState::Stopping => {}
            WatcherState::Starting { .. } | WatcherState::Active => {
                self.end_surplus(key, now);
                self.launch_missing(key, now);
            }
        }
    }

    /// Who is too many goes: first those that only wait, then those not launched yet, then the oldest.
    fn end_surplus(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        while watcher.surplus() > 0
            && let Some(wid) = watcher.slots.cancel_one()
        {
            self.timers.cancel(Timer::Retry(key, wid));
        }
        // Chosen together: a thousand that are too many are found in one walk.
        let leavers = watcher.leavers(watcher.surplus());
        let (signal, timeout) = watcher.stop_policy().ask();
        for id in leavers {
            let Some(watcher) = self.watchers.get_mut(&key) else { return };
            // Nobody takes its place, so however long it takes to leave, it stands in nobody's way.
            watcher.change(id, |worker| worker.retiring = true);
            self.terminate(id, signal, timeout, now);
        }
    }

    fn launch_missing(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.watchers.get(&key) else { return };
        if watcher.hooks.bar_launches() {
            return;
        }
        let missing = watcher.missing();
        // A crowd is asked for in portions: each that comes up makes room for the next.
        let room = match spawns_singly(&watcher.config) {
            true => usize::from(!watcher.is_bringing_up()),
            false => MOST_ON_THEIR_WAY.saturating_sub(watcher.counts().starting),
        };
        if missing == 0 {
            return self.timers.cancel(Timer::Warmup(key));
        }
        // A graceful reload brings up the new processes back to back.
        let surging = watcher.running.as_ref().is_some_and(|op| op.progress == Progress::Surging);
        let pause = if surging { std::time::Duration::ZERO } else { seconds(watcher.config.warmup_delay) };
        for _ in 0..missing.min(room) {
            let Some(watcher) = self.watchers.get_mut(&key) else { return };
            if !pause.is_zero() {
                if watcher.next_spawn > now.mono {
                    return self.timers.set(Timer::Warmup(key), watcher.next_spawn);
                }
                watcher.next_spawn = now.mono.after(pause);
            }
            self.launch(key, now);
        }
        self.timers.cancel(Timer::Warmup(key));
    }
}
