//! A watcher's start.

use crate::arbiter::cx::{Cx, FollowUp};
use crate::arbiter::fleet::chronicle::What;
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::lifecycle::purpose::{HookSubject, Purpose};
use crate::arbiter::lifecycle::{hooks, runs};
use crate::arbiter::operate::dependence;
use crate::arbiter::timers::Timer;
use crate::base::CollectOrdered as _;
use crate::base::Level;
use crate::proto::{EventKind, HookPoint};

/// Begins a start that an operator asked for: it ends every back-off, and fills the slots that `respawn = False` left
/// empty.
pub(in crate::arbiter) fn begin(w: &mut Watcher, cx: &mut Cx<'_>) {
    for wid in w.slots.end_backoffs() {
        cx.timers.cancel(Timer::Retry(w.key, wid));
    }
    let used = w.workers().values().filter(|worker| worker.is_up()).map(|worker| worker.wid).collect_set();
    w.slots.begin_tries(used);
    if w.state == WatcherState::Stopped {
        w.state = WatcherState::Starting { spawned: false };
        w.history.began = Some(cx.mono());
        w.failures.clear();
        (w.gave_up, w.along) = (None, false);
        w.service_ready = None;
        w.next_spawn = cx.mono();
        runs::begin(w, cx);
        // The Python hooks must be loaded before one of them is asked.
        if !hooks::run(w, Purpose::Load, HookSubject::default(), cx) {
            hooks::run(w, Purpose::BeforeStart, HookSubject::default(), cx);
        }
    }
}

/// Every slot has been tried, one worker at least has run, and `after_start` returned true.
pub(in crate::arbiter) fn started(w: &mut Watcher, cx: &mut Cx<'_>) {
    w.state = WatcherState::Active;
    if w.config.hooks.get(&HookPoint::AfterStart).is_some_and(|hook| hook.waits_for_service()) {
        w.service_ready = Some(cx.mono());
    }
    // Watchers that require this one get new processes before any other operation reaches them.
    dependence::note_loss(w, cx);
    // Watchers after a run wait until it has succeeded.
    if w.is_service() {
        cx.follow_ups.push_back(FollowUp::CameUp(w.key));
    }
    cx.log(Level::Info, format!("{} started", w.name()));
    if !w.history.chronicle.is_empty() {
        w.history.chronicle.note(None, What::Started, cx.now);
    }
    cx.publish(w, EventKind::Start);
}
