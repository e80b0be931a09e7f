//! Requests that wait until new workers have proved that they run.
//!
//! An operation ends when each worker has executed its program: the next watcher may start, the next operation may begin.
//! A request with `waiting` is answered later, when each new worker has proved itself (is up) or has failed. A worker has
//! proved itself when it has run for min_uptime, or as soon as a hook that waits for its service (`wait_tcp:` and the like,
//! at `after_start` or `after_spawn`) has returned true, or, with `ready`, as soon as it is ready. A run of a watcher that
//! is no service has to end. A worker has failed when its launch was given up, when it exited early, or when a hook
//! returned false for it, even if its slot is tried again later.

use crate::arbiter::cx::Cx;
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::fleet::worker::{Worker, WorkerState};
use crate::arbiter::lifecycle::runs;
use crate::arbiter::operate::job::{Changes, Proof};
use crate::arbiter::outcome::{self, Cause, Failure};
use crate::arbiter::time::{Mono, seconds};
use crate::arbiter::timers::Timer;
use crate::proto::HookPoint;

/// What is known of a request's workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Each has proved itself or has failed.
    Decided,
    /// Some have neither; the last of them will have lived long enough then, if that is known.
    Open(Option<Mono>),
}

/// Answers the requests whose workers have proved themselves, or have failed.
pub(in crate::arbiter) fn answer(w: &mut Watcher, cx: &mut Cx<'_>) {
    if w.proofs.is_empty() {
        return;
    }
    let mut due: Option<Mono> = None;
    for proof in std::mem::take(&mut w.proofs) {
        match verdict(w, &proof, cx.mono()) {
            Verdict::Open(at) => {
                // The request that can be answered first.
                due = due.into_iter().chain(at).min();
                w.proofs.push(proof);
            }
            Verdict::Decided if !w.is_service() && w.runs.current.is_none() => {
                let failures: Vec<&Failure> = w.failures.since(proof.mark).collect();
                let fault = runs::fault(w).map(|fault| outcome::fault(w.name(), &failures).unwrap_or(fault));
                let changes = proof.changes.map(|changes| Changes { run: w.runs.last.clone(), ..changes });
                cx.job_part_done(proof.job, changes, fault);
            }
            Verdict::Decided => {
                let failures: Vec<&Failure> =
                    w.failures.since(proof.mark).filter(|failure| !has_come_up(w, failure, cx.mono())).collect();
                let fault = outcome::fault(w.name(), &failures);
                cx.job_part_done(proof.job, proof.changes, fault);
            }
        }
    }
    match due {
        Some(at) => cx.timers.set(Timer::Proof(w.key), at),
        None => cx.timers.cancel(Timer::Proof(w.key)),
    }
}

fn verdict(w: &Watcher, proof: &Proof, now: Mono) -> Verdict {
    if !w.is_service() {
        let stuck = w.failures.since(proof.mark).any(|failure| matches!(failure.cause, Cause::Stuck { .. }));
        return if w.state == WatcherState::Stopped || stuck { Verdict::Decided } else { Verdict::Open(None) };
    }
    match w.state {
        WatcherState::Stopped | WatcherState::Stopping => return Verdict::Decided,
        WatcherState::Starting { .. } | WatcherState::Active => {}
    }
    let mut verdict = if w.hooks.hold_start() { Verdict::Open(None) } else { Verdict::Decided };
    let asked_for = |worker: &&Worker| {
        !worker.retiring && worker.started.mono <= proof.since && !w.failures.has(worker.wid, proof.mark)
    };
    for worker in w.workers().values().filter(asked_for) {
        let open = match worker.state {
            state if state.is_coming() => Verdict::Open(None),
            WorkerState::Running => match left_to_prove(w, worker, now) {
                Some(at) => Verdict::Open(Some(at)),
                None => continue,
            },
            _ => continue,
        };
        verdict = match (verdict, open) {
            (Verdict::Open(one), Verdict::Open(other)) => Verdict::Open(one.max(other)),
            (_, open) => open,
        };
    }
    verdict
}

/// Whether the slot that failed has a worker by now that has proved itself.
fn has_come_up(w: &Watcher, failure: &Failure, now: Mono) -> bool {
    let is_up = |worker: &&Worker| !worker.retiring && worker.state == WorkerState::Running;
    let same = |worker: &&Worker| Some(worker.wid) == failure.wid && is_up(worker);
    w.workers().values().find(same).is_some_and(|worker| left_to_prove(w, worker, now).is_none())
}

/// When a worker that runs will have proved itself; `None` if it has.
fn left_to_prove(w: &Watcher, worker: &Worker, now: Mono) -> Option<Mono> {
    let by_service = w.service_ready.is_some_and(|at| worker.started.mono <= at)
        || w.config.hooks.get(&HookPoint::AfterSpawn).is_some_and(|hook| hook.waits_for_service())
        || worker.vitals.as_ref().is_some_and(|vitals| vitals.has_been_ready);
    let at = worker.started.mono.after(seconds(w.config.min_uptime));
    (!by_service && at > now).then_some(at)
}
