//! The health of a watcher: whether it works, beside the state, which says what circusd does with it.

use crate::arbiter::fleet::slots::TRUSTED;
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::fleet::worker::{Worker, WorkerState};
use crate::arbiter::lifecycle::exit::FREE_EXITS;
use crate::arbiter::lifecycle::runs;
use crate::arbiter::time::{Mono, seconds};
use crate::commands::Health;

/// The health of a watcher. `waits`: whether a connection starts it.
pub(in crate::arbiter) fn health(w: &Watcher, waits: bool, now: Mono) -> Health {
    match w.state {
        WatcherState::Stopping => Health::Stopping,
        WatcherState::Stopped if waits => Health::OnDemand,
        WatcherState::Stopped => match &w.gave_up {
            Some(failure) if failure.cause.held_back_by().is_some() => Health::HeldBack,
            Some(_) => Health::Failed,
            None if w.enabled == Some(false) => Health::Disabled,
            None if w.runs.armed => Health::Scheduled,
            None if runs::has_succeeded(w) => Health::Succeeded,
            None if w.history.began.is_none() && !w.config.autostart => Health::Disabled,
            None => Health::Stopped,
        },
        WatcherState::Starting { .. } | WatcherState::Active => of_workers(w, now),
    }
}

fn of_workers(w: &Watcher, now: Mono) -> Health {
    if !w.is_service() {
        return if w.slots.waiting() > 0 { Health::BackingOff } else { Health::Running };
    }
    let counts = w.counts();
    let failing = w.workers().values().filter(|worker| is_failing(w, worker, now)).count();
    let wanted = w.config.numprocesses as usize;
    if failing + w.slots.waiting() > 0 {
        return if counts.running > failing { Health::Degraded } else { Health::BackingOff };
    }
    match w.state {
        WatcherState::Starting { .. } => Health::Starting,
        _ if counts.running >= wanted => Health::Ready,
        _ if counts.undecided() > 0 || w.running.is_some() => Health::Starting,
        _ => Health::Degraded,
    }
}

/// Whether a worker runs in place of one that exited early, and has not lived long enough to be trusted.
fn is_failing(w: &Watcher, worker: &Worker, now: Mono) -> bool {
    if worker.retiring || worker.state != WorkerState::Running {
        return false;
    }
    let (age, min_uptime) = (now.since(worker.started.mono), seconds(w.config.min_uptime));
    let early = w.slots.early_deaths(worker.wid) > 0 && age < min_uptime;
    // It has to live longer than those that exited, or it may be the next of them.
    let (exits, longest) = w.slots.exits(worker.wid);
    early || exits >= FREE_EXITS && age < longest.saturating_mul(TRUSTED)
}
