//! Which of the workers that are too many may go: `drain` asks each, before it is told to stop.
//!
//! ```text
//!             surplus            idle: it is told to stop
//!   nothing ─────────▶ asked ───────────────────────────▶ the next, while there is surplus
//!                       ▲  │ busy, or no answer within drain_timeout
//!                       │  ▼
//!                     the next ──all are busy──▶ rests ──scale_interval──▶ from the beginning
//! ```
//!
//! One is asked at a time, the oldest first. A worker that is not at work yet has nothing to lose, and is not asked. Only
//! what `scale`, `decr` and `set` make too many is asked: not those that a stop, a restart or a reload ends.

use crate::arbiter::action::{Action, ProbeCall};
use crate::arbiter::cx::Cx;
use crate::arbiter::event::ProbeOutcome;
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::fleet::worker::WorkerState;
use crate::arbiter::ids::{ProbeId, WorkerId};
use crate::arbiter::lifecycle::terminate;
use crate::arbiter::time::seconds;
use crate::arbiter::timers::Timer;
use crate::base::Level;

/// Goes on with asking while so many workers are too many.
pub(in crate::arbiter) fn go_on(w: &mut Watcher, surplus: usize, cx: &mut Cx<'_>) {
    if surplus == 0 || w.config.scaling.drain.is_none() {
        cancel(w, cx);
        let leavers = w.leavers(surplus);
        return retire(w, leavers, cx);
    }
    let all = w.leavers(usize::MAX);
    let is_at_work = |id: &WorkerId| w.workers().get(id).is_some_and(|worker| worker.state == WorkerState::Running);
    let (at_work, others): (Vec<WorkerId>, Vec<WorkerId>) = all.into_iter().partition(is_at_work);
    let others: Vec<WorkerId> = others.into_iter().take(surplus).collect();
    let enough = others.len() == surplus;
    retire(w, others, cx);
    if enough {
        return cancel(w, cx);
    }
    if let Some(asked) = w.scaler.drain.asked
        && !at_work.contains(&asked.worker)
    {
        // It has gone, or goes for another reason.
        end_question(w, cx);
    }
    w.scaler.drain.busy.retain(|id| at_work.contains(id));
    if w.scaler.drain.is_under_way() {
        return;
    }
    match at_work.into_iter().find(|id| !w.scaler.drain.busy.contains(id)) {
        Some(id) => ask(w, id, cx),
        None => {
            w.scaler.drain.busy.clear();
            w.scaler.drain.rests = true;
            cx.timers.set(Timer::Drain(w.key), cx.mono().after(seconds(w.config.scaling.scale_interval)));
        }
    }
}

fn retire(w: &mut Watcher, ids: Vec<WorkerId>, cx: &mut Cx<'_>) {
    for id in ids {
        // No worker takes its slot, so it does not matter how long it takes to leave.
        w.change(id, |worker| worker.retiring = true);
        terminate::by_policy(w, id, cx);
    }
}

fn ask(w: &mut Watcher, id: WorkerId, cx: &mut Cx<'_>) {
    let serial = ProbeId::OF_DRAIN | w.scaler.next;
    w.scaler.next += 1;
    w.scaler.drain.asked = Some(ProbeId { worker: id, serial });
    ask_again(w, cx);
}

/// Asks the worker whose turn it is: another daemon does so once more.
pub(in crate::arbiter) fn ask_again(w: &mut Watcher, cx: &mut Cx<'_>) {
    let (Some(probe_id), Some(probe)) = (w.scaler.drain.asked, w.config.scaling.drain.clone()) else { return };
    let Some(worker) = w.workers().get(&probe_id.worker) else { return };
    let (wid, pid) = (Some(worker.wid), worker.pid);
    cx.timers.set(Timer::Drain(w.key), cx.mono().after(seconds(w.config.scaling.drain_timeout)));
    let call = ProbeCall { id: probe_id, wid, pid, probe, config: w.config.clone(), prints: false };
    cx.act(Action::Probe(Box::new(call)));
}

/// The worker has answered.
pub(in crate::arbiter) fn answered(w: &mut Watcher, probe: ProbeId, outcome: ProbeOutcome, cx: &mut Cx<'_>) {
    if w.scaler.drain.asked != Some(probe) {
        return;
    }
    cx.timers.cancel(Timer::Drain(w.key));
    w.scaler.drain.asked = None;
    let id = probe.worker;
    let why = match outcome {
        ProbeOutcome::Passed | ProbeOutcome::Printed(_) => return retire(w, vec![id], cx),
        ProbeOutcome::Failed(why) | ProbeOutcome::Unable(why) => why,
    };
    if let Some(pid) = w.workers().get(&id).and_then(|worker| worker.pid) {
        cx.log(Level::Debug, format!("{}: worker is not to go now pid={} drain: {why}", w.name(), pid.0));
    }
    w.scaler.drain.busy.insert(id);
}

/// The worker has had its time to answer, or the next round begins.
pub(in crate::arbiter) fn due(w: &mut Watcher, cx: &mut Cx<'_>) {
    w.scaler.drain.rests = false;
    if let Some(asked) = w.scaler.drain.asked {
        cx.act(Action::EndProbe(asked));
        let limit = w.config.scaling.drain_timeout;
        answered(w, asked, ProbeOutcome::Failed(format!("no answer within {limit} s")), cx);
    }
}

/// None is asked any more.
pub(in crate::arbiter) fn cancel(w: &mut Watcher, cx: &mut Cx<'_>) {
    end_question(w, cx);
    if std::mem::take(&mut w.scaler.drain.rests) {
        cx.timers.cancel(Timer::Drain(w.key));
    }
    w.scaler.drain.busy.clear();
}

fn end_question(w: &mut Watcher, cx: &mut Cx<'_>) {
    if let Some(asked) = w.scaler.drain.asked.take() {
        cx.act(Action::EndProbe(asked));
        cx.timers.cancel(Timer::Drain(w.key));
    }
}
