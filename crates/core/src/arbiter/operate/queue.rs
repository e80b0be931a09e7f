//! What is being done with a watcher, and which operation may begin, wait, join or overtake another.
//!
//! A watcher carries out one operation at a time. The rules, decided by [`admit`] alone:
//!
//! - an operation on an idle watcher begins at once;
//! - one that is identical to the running one, with nothing waiting behind it, joins it: a client that times out and
//!   repeats `restart` ten times restarts once;
//! - otherwise it waits its turn; at most one of a kind waits, an identical one joins it;
//! - `stop` and `rm` overtake: the running operation and all that wait are cancelled (who waited is told), and the
//!   stop begins at once;
//! - a watcher does not start while one of its name, which was removed, is still stopping: they may want the same port.
//!
//! `kill`, `signal`, `incr`, `decr` and the storing of options are no operations: they act at once.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::arbiter::ids::{JobId, Pid, RolloutId, WorkerId};

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationKind {
    /// Have all processes run.
    Start,
    /// Have none run.
    Stop,
    /// Stop, then start.
    Restart,
    /// New processes first, then the old ones stop.
    Reload,
    /// One process after the other is replaced.
    ReloadSequential,
    /// Stop, and forget the watcher.
    Remove,
}

impl OperationKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Start, Self::Stop, Self::Restart, Self::Reload, Self::ReloadSequential, Self::Remove];

    /// As clients call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload | Self::ReloadSequential => "reload",
            Self::Remove => "rm",
        }
    }

    /// Whether a watcher that is stopped starts by it.
    pub(in crate::arbiter) fn starts(self) -> bool {
        match self {
            Self::Start | Self::Restart | Self::Reload | Self::ReloadSequential => true,
            Self::Stop | Self::Remove => false,
        }
    }

    fn overtakes(self) -> bool {
        match self {
            Self::Stop | Self::Remove => true,
            Self::Start | Self::Restart | Self::Reload | Self::ReloadSequential => false,
        }
    }
}

/// Who is told when an operation has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Waiter {
    /// A client's job.
    Job(JobId),
    /// A rollout, which then goes on with its next watcher.
    Rollout(RolloutId),
}

/// How far a running operation has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Progress {
    /// Start: until all processes run.
    Starting,
    /// Stop, and the first half of a restart: until none runs.
    Stopping,
    /// Reload: the new processes come up beside the old ones.
    Surging,
    /// Reload: the old processes leave.
    Retiring,
    /// Sequential reload: these are still to be replaced; `current` is on its way out.
    Replacing { left: VecDeque<WorkerId>, current: Option<WorkerId> },
}

/// An operation of a watcher, running or waiting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Operation {
    pub(in crate::arbiter) kind: OperationKind,
    pub(in crate::arbiter) progress: Progress,
    pub(in crate::arbiter) waiters: Vec<Waiter>,
    /// The processes there were when it began.
    pub(in crate::arbiter) before: Vec<Pid>,
    /// It is for the sake of a changed option: a watcher that is stopped by then stays so.
    pub(in crate::arbiter) skip_if_stopped: bool,
    /// It must replace the processes: a changed option reaches new ones only, whatever a HUP means to the old ones.
    pub(in crate::arbiter) replaces: bool,
}

impl Operation {
    pub(in crate::arbiter) fn new(kind: OperationKind, waiters: Vec<Waiter>, fresh: bool) -> Self {
        Self {
            kind,
            progress: Progress::Starting,
            waiters,
            before: Vec::new(),
            skip_if_stopped: fresh,
            replaces: fresh,
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
    if same_runs && waiting.is_empty() && !fresh {
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
