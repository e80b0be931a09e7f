//! Workers that exist and do not execute their program, for example because their working directory is on a file system
//! that hangs.
//!
//! Their start goes on, since it may still succeed. What waits for it goes on without them after [`START_TIMEOUT`]: a walk
//! turns to the next watcher, and a request with `waiting` is answered with an error that names them, as soon as the
//! other workers have proved themselves.

use std::time::Duration;

use crate::arbiter::cx::Cx;
use crate::arbiter::fleet::watcher::{Resizing, Watcher};
use crate::arbiter::fleet::worker::{Worker, WorkerState};
use crate::arbiter::ids::Wid;
use crate::arbiter::operate::job::Proof;
use crate::arbiter::operate::operation::Waiter;
use crate::arbiter::outcome::Cause;
use crate::arbiter::time::Mono;
use crate::arbiter::timers::Timer;
use crate::base::{Level, Pid};

/// How long a worker may take to get to its program.
pub(in crate::arbiter) const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Sees to it that [`report`] is called while something waits for workers that are on their way.
pub(in crate::arbiter) fn watch(w: &Watcher, cx: &mut Cx<'_>) {
    let timer = Timer::Stuck(w.key);
    let starts = w.running.as_ref().is_some_and(|operation| operation.kind.starts());
    let awaited = starts || !w.resizing.is_empty() || !w.proofs.is_empty();
    if !awaited || w.counts().starting == 0 {
        cx.timers.cancel(timer);
    } else if cx.timers.get(timer).is_none() {
        cx.timers.set(timer, cx.mono().after(START_TIMEOUT));
    }
}

/// Notes the workers that are stuck as failures of the requests that wait for them.
pub(in crate::arbiter) fn report(w: &mut Watcher, cx: &mut Cx<'_>) {
    let stuck: Vec<(Wid, Option<Pid>)> = workers(w, cx.mono()).map(|worker| (worker.wid, worker.pid)).collect();
    if stuck.is_empty() {
        return;
    }
    let cause = Cause::Stuck { after: START_TIMEOUT };
    for (wid, pid) in stuck {
        if w.failures.cause(wid) != Some(&cause) {
            let (name, pid) = (w.name(), pid.map_or_else(String::new, |pid| format!(" pid={}", pid.0)));
            let after = START_TIMEOUT.as_secs();
            let text = format!("{name}: worker has not executed its program wid={}{pid} after={after}s", wid.0);
            cx.log(Level::Warning, text);
        }
        w.note_failure(Some(wid), cause.clone(), cx.now);
    }
    let since = cx.mono();
    let proof = |job, mark| Proof { job, mark, since, changes: None };
    if let Some(operation) = w.running.as_mut().filter(|operation| operation.kind.starts()) {
        let jobs = operation.waiters.extract_if(.., |waiter| matches!(waiter, Waiter::Job(_)));
        w.proofs.extend(jobs.filter_map(|waiter| match waiter {
            Waiter::Job(job) => Some(proof(job, operation.mark)),
            Waiter::Walk(..) => None,
        }));
    }
    for resizing in std::mem::take(&mut w.resizing) {
        match resizing {
            Resizing { job, mark: Some(mark) } => w.proofs.push(proof(job, mark)),
            fewer => w.resizing.push(fewer),
        }
    }
}

/// The workers that are stuck.
pub(in crate::arbiter) fn workers(w: &Watcher, now: Mono) -> impl Iterator<Item = &Worker> {
    let is_stuck = move |worker: &&Worker| {
        let starting = worker.state == WorkerState::Starting { stop_pending: false };
        starting && now.since(worker.started.mono) >= START_TIMEOUT
    };
    w.workers().values().filter(is_stuck)
}
