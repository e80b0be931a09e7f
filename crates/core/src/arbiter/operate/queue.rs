//! The operations of a watcher: which one may begin, wait, join or overtake another.
//!
//! A watcher carries out one operation at a time. The rules, decided by [`admit`] alone:
//!
//! - an operation on an idle watcher begins at once;
//! - one that is identical to the running one, with nothing waiting behind it, joins it: a client that times out and
//!   repeats `restart` ten times restarts once. A reload joins none that runs, as it must see what has changed since;
//! - otherwise it waits its turn; at most one of a kind waits, an identical one joins it;
//! - `stop` and `rm` overtake: the running operation and all that wait are cancelled (their clients get an error), and the
//!   stop begins at once;
//! - a watcher does not start while one of its name, which was removed, is still stopping: they may want the same port.
//!
//! `kill`, `signal`, `incr`, `decr` and the storing of options are no operations: they act at once.

use crate::arbiter::cx::Cx;
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::lifecycle::cron;
use crate::arbiter::operate::job::{Changes, Proof};
use crate::arbiter::operate::operation::{Operation, OperationKind, Progress, Reason, Waiter};
use crate::base::Pid;
use crate::config::{Propagate, WatcherKind};
use crate::proto::Fault;

impl Operation {
    /// Whether it starts a watcher that is stopped only when those are up that the watcher needs.
    pub(in crate::arbiter) fn waits_for_others(&self, w: &Watcher) -> bool {
        let wakes = self.kind == OperationKind::Start || !w.starts_on_demand();
        // A reload leaves runs alone, and the time of a run waits for none.
        let begins = match self.kind {
            OperationKind::Reload | OperationKind::ReloadSequential => w.is_service(),
            OperationKind::Run => w.config.kind != WatcherKind::Cron,
            OperationKind::Start | OperationKind::Restart | OperationKind::Stop | OperationKind::Remove => true,
        };
        self.kind.starts() && begins && wakes && !self.skips_stopped() && self.reason != Reason::Connected
    }
}

/// Hands an operation to a watcher: it begins, waits or joins as [`admit`] says.
pub(in crate::arbiter) fn submit(w: &mut Watcher, new: Operation, cx: &mut Cx<'_>) {
    let waiting: Vec<OperationKind> = w.waiting.iter().map(|operation| operation.kind).collect();
    let running = w.running.as_ref().map(|operation| operation.kind);
    let kind = new.kind;
    match new.reason {
        Reason::Requested | Reason::Connected => {
            if kind != OperationKind::Run {
                w.wanted = kind.starts();
            }
            if !kind.starts() {
                cron::disarm(w);
            }
            // From here on it is as a request wants it.
            (w.gave_up, w.along) = (None, false);
        }
        Reason::Along => {
            cron::disarm(w);
            w.along = w.config.propagate == Propagate::Restart;
            w.wanted &= w.along;
        }
        Reason::OptionChanged | Reason::Both | Reason::Idle => {}
    }
    match (admit(running, &waiting, kind, new.skips_stopped()), &mut w.running) {
        (Admission::JoinRunning, Some(running)) => running.waiters.extend(new.waiters),
        (Admission::JoinWaiting(place), _) => match w.waiting.get_mut(place) {
            Some(waiting) => {
                waiting.waiters.extend(new.waiters);
                waiting.reason = waiting.reason.and(new.reason);
            }
            None => w.waiting.push_back(new),
        },
        (Admission::ClearAndJoin, Some(running)) => {
            running.waiters.extend(new.waiters);
            cancel_waiting(w, kind, cx);
        }
        (Admission::Overtake, _) => overtake(w, new, cx),
        // A watcher that stops of its own accord finishes that first.
        (Admission::Begin | Admission::Wait | Admission::JoinRunning | Admission::ClearAndJoin, _) => {
            w.waiting.push_back(new);
        }
    }
}

fn overtake(w: &mut Watcher, mut new: Operation, cx: &mut Cx<'_>) {
    cancel_waiting(w, new.kind, cx);
    match w.running.take() {
        // Clients that requested a stop get their answer, whichever operation overtakes it.
        Some(stop) if stop.kind == OperationKind::Stop => new.waiters.extend(stop.waiters),
        Some(running) => report_cancelled(running, new.kind, cx),
        None => {}
    }
    if w.state == WatcherState::Stopping {
        // Every worker has its stop signal already: from now on that serves this operation.
        new.progress = Progress::Stopping;
        w.running = Some(new);
    } else {
        w.waiting.push_front(new);
    }
}

pub(in crate::arbiter) fn cancel_waiting(w: &mut Watcher, by: OperationKind, cx: &mut Cx<'_>) {
    for operation in std::mem::take(&mut w.waiting) {
        report_cancelled(operation, by, cx);
    }
}

pub(in crate::arbiter) fn report_cancelled(operation: Operation, by: OperationKind, cx: &mut Cx<'_>) {
    let reason = format!("{} was cancelled by {}", operation.kind.name(), by.name());
    cx.notify(operation.waiters, None, Some(&Fault::command(reason)));
}

/// The running operation of a watcher is over. Waiters are notified; where it was to bring up workers, requests
/// are answered when these have proved themselves.
pub(in crate::arbiter) fn end(w: &mut Watcher, cx: &mut Cx<'_>) {
    let Some(operation) = w.running.take() else { return };
    let changes = changes(operation.kind, &operation.before, &w.lasting_pids());
    let brings_up = match operation.kind {
        OperationKind::Run => true,
        OperationKind::Start | OperationKind::Restart => w.config.kind != WatcherKind::Cron,
        // A run goes on over a reload.
        OperationKind::Reload | OperationKind::ReloadSequential => w.is_service(),
        OperationKind::Stop | OperationKind::Remove => false,
    };
    let proves = |waiter: &Waiter| brings_up && matches!(waiter, Waiter::Job(_));
    let (to_prove, done): (Vec<_>, Vec<_>) = operation.waiters.into_iter().partition(proves);
    for waiter in to_prove {
        if let Waiter::Job(job) = waiter {
            w.proofs.push(Proof { job, mark: operation.mark, since: cx.mono(), changes: changes.clone() });
        }
    }
    cx.notify(done, changes.as_ref(), None);
}

/// What an operation did, from the processes before and after it.
fn changes(kind: OperationKind, before: &[Pid], after: &[Pid]) -> Option<Changes> {
    // Both lists are sorted.
    let among = |pid: &Pid, pids: &[Pid]| pids.binary_search(pid).is_ok();
    let only = |these: &[Pid], those: &[Pid]| these.iter().filter(|pid| !among(pid, those)).copied().collect();
    let kept: Vec<Pid> = before.iter().filter(|pid| among(pid, after)).copied().collect();
    match kind {
        OperationKind::Stop | OperationKind::Remove => None,
        OperationKind::Start | OperationKind::Run => {
            Some(Changes { started: Some(only(after, before)), kept: Some(kept), ..Changes::default() })
        }
        OperationKind::Restart | OperationKind::Reload | OperationKind::ReloadSequential => {
            let (stopped, started) = (Some(only(before, after)), Some(only(after, before)));
            Some(Changes { stopped, started, kept: Some(kept), ..Changes::default() })
        }
    }
}

/// What becomes of a new operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::arbiter) enum Admission {
    /// It begins: the watcher is idle.
    Begin,
    /// It is the running one.
    JoinRunning,
    /// It is the one that waits in this place.
    JoinWaiting(usize),
    /// It waits its turn.
    Wait,
    /// Those that wait are cancelled and it joins the running one, which is the same.
    ClearAndJoin,
    /// Those that wait and the running one are cancelled, and it begins.
    Overtake,
}

/// Decides about a new operation. `fresh`: it must see what was changed just now, so it cannot join one that runs.
pub(in crate::arbiter) fn admit(
    running: Option<OperationKind>,
    waiting: &[OperationKind],
    new: OperationKind,
    fresh: bool,
) -> Admission {
    let same_runs = running == Some(new);
    if new.overtakes() {
        // A removal stops the watcher too.
        let joins = same_runs || (running, new) == (Some(OperationKind::Remove), OperationKind::Stop);
        return if joins { Admission::ClearAndJoin } else { Admission::Overtake };
    }
    if running.is_none() && waiting.is_empty() {
        return Admission::Begin;
    }
    let reloads = matches!(new, OperationKind::Reload | OperationKind::ReloadSequential);
    if same_runs && waiting.is_empty() && !fresh && !reloads {
        return Admission::JoinRunning;
    }
    match waiting.iter().position(|kind| *kind == new) {
        Some(place) => Admission::JoinWaiting(place),
        None => Admission::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use OperationKind::{Reload, Remove, Restart, Start, Stop};

    #[test]
    fn an_idle_watcher_begins_or_overtakes_at_once() {
        for kind in OperationKind::ALL {
            let expected = if kind.overtakes() { Admission::Overtake } else { Admission::Begin };
            assert_eq!(admit(None, &[], kind, false), expected, "{kind:?}");
        }
    }

    #[test]
    fn ten_restarts_are_one() {
        assert_eq!(admit(Some(Restart), &[], Restart, false), Admission::JoinRunning);
    }

    #[test]
    fn a_reload_for_a_changed_option_does_not_join_one_that_runs() {
        assert_eq!(admit(Some(Reload), &[], Reload, true), Admission::Wait);
        assert_eq!(admit(Some(Reload), &[], Reload, false), Admission::Wait, "the program may have changed");
        assert_eq!(admit(Some(Reload), &[Reload], Reload, true), Admission::JoinWaiting(0));
    }

    #[test]
    fn the_last_word_counts() {
        // stop, start, stop: the watcher must end stopped.
        assert_eq!(admit(Some(Stop), &[], Start, false), Admission::Wait);
        assert_eq!(admit(Some(Stop), &[Start], Stop, false), Admission::ClearAndJoin);
        // restart, reload, restart: the second restart comes after the reload.
        assert_eq!(admit(Some(Restart), &[Reload], Restart, false), Admission::Wait);
        assert_eq!(admit(Some(Start), &[Reload, Restart], Stop, false), Admission::Overtake);
        assert_eq!(admit(Some(Stop), &[], Remove, false), Admission::Overtake);
    }
}
