//! A watcher's start.

use crate::arbiter::cx::Cx;
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::lifecycle::hooks;
use crate::arbiter::lifecycle::purpose::{HookSubject, Purpose};
use crate::arbiter::timers::Timer;
use crate::base::Level;
use crate::proto::EventKind;

/// Begins a start that an operator asked for: it ends every back-off, and fills the slots that `respawn = False` left
/// empty.
pub(in crate::arbiter) fn begin(w: &mut Watcher, cx: &mut Cx<'_>) {
    for wid in w.slots.end_backoffs() {
        cx.timers.cancel(Timer::Retry(w.key, wid));
    }
    let used = w.workers().values().filter(|worker| worker.is_up()).map(|worker| worker.wid).collect();
    w.slots.begin_tries(used);
    if w.state == WatcherState::Stopped {
        w.state = WatcherState::Starting { spawned: false };
        w.history.began = Some(cx.mono());
        w.next_spawn = cx.mono();
        // The Python hooks must be loaded before one of them is asked.
        if !hooks::run(w, Purpose::Load, HookSubject::default(), cx) {
            hooks::run(w, Purpose::BeforeStart, HookSubject::default(), cx);
        }
    }
}

/// Every slot has been tried, one worker at least has run, and `after_start` said yes.
pub(in crate::arbiter) fn started(w: &mut Watcher, cx: &mut Cx<'_>) {
    w.state = WatcherState::Active;
    cx.log(Level::Info, format!("{} started", w.name()));
    cx.publish(w, EventKind::Start);
}
