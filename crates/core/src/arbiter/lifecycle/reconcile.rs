//! Actual against desired: the one function that launches and ends workers to make their number right.

use crate::arbiter::cx::Cx;
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::lifecycle::launch::launch;
use crate::arbiter::lifecycle::purpose::spawns_singly;
use crate::arbiter::lifecycle::{drain, terminate};
use crate::arbiter::time::seconds;
use crate::arbiter::timers::Timer;

/// How many launches of one watcher are asked for ahead.
const MAX_LAUNCHES_AHEAD: usize = 256;

/// Brings a watcher's workers closer to what is wanted, as far as is possible now. Calling it again at once
/// changes nothing.
pub(in crate::arbiter) fn reconcile(w: &mut Watcher, cx: &mut Cx<'_>) {
    match w.state {
        // Every worker is stopping, and none is launched.
        WatcherState::Stopped | WatcherState::Stopping => {
            if w.scaler.drain.is_under_way() {
                drain::cancel(w, cx);
            }
        }
        WatcherState::Starting { .. } | WatcherState::Active => {
            end_surplus(w, cx);
            launch_missing(w, cx);
        }
    }
}

/// Removes surplus workers: backed-off slots first, then unlaunched ones, then the oldest.
fn end_surplus(w: &mut Watcher, cx: &mut Cx<'_>) {
    while w.surplus() > 0
        && let Some(wid) = w.slots.cancel_one()
    {
        cx.timers.cancel(Timer::Retry(w.key, wid));
    }
    if w.config.scaling.drain.is_some() || w.scaler.drain.is_under_way() {
        let surplus = w.surplus();
        return drain::go_on(w, surplus, cx);
    }
    // Chosen together: a thousand that are too many are found in one walk.
    for id in w.leavers(w.surplus()) {
        // No worker takes its slot, so it does not matter how long it takes to leave.
        w.change(id, |worker| worker.retiring = true);
        terminate::by_policy(w, id, cx);
    }
}

fn launch_missing(w: &mut Watcher, cx: &mut Cx<'_>) {
    // The processes of a replaced watcher wait for their turn to stop: new ones would be of its new configuration, and be
    // asked to stop as the old one says.
    if w.hooks.bar_launches() || w.awaits_replacement() {
        return;
    }
    let missing = w.missing();
    // Many workers are launched in portions: each worker that comes up lets the next one start.
    let room = match spawns_singly(&w.config) {
        true => usize::from(!w.is_bringing_up()),
        false => MAX_LAUNCHES_AHEAD.saturating_sub(w.counts().starting),
    };
    if missing == 0 {
        return cx.timers.cancel(Timer::Warmup(w.key));
    }
    // A graceful reload brings up the new processes back to back.
    let pause = if w.is_surging() { std::time::Duration::ZERO } else { seconds(w.config.warmup_delay) };
    for _ in 0..missing.min(room) {
        if !pause.is_zero() {
            if w.next_spawn > cx.mono() {
                return cx.timers.set(Timer::Warmup(w.key), w.next_spawn);
            }
            w.next_spawn = cx.mono().after(pause);
        }
        launch(w, cx);
    }
    cx.timers.cancel(Timer::Warmup(w.key));
}
