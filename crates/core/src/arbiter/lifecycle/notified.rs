//! What workers report of themselves.

use std::time::Duration;

use crate::arbiter::cx::Cx;
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::fleet::worker::WorkerState;
use crate::arbiter::ids::WorkerId;
use crate::arbiter::lifecycle::{liveness, probes, readiness};
use crate::base::Level;
use crate::config::{Probe, ProbeKind};
use crate::proto::Notification;

/// A watchdog has no shorter time: it would be missed by a busy machine.
const LEAST_WATCHDOG: Duration = Duration::from_millis(10);

/// A worker, or a process that it has started, has reported something.
pub(in crate::arbiter) fn heard(w: &mut Watcher, id: WorkerId, all: Vec<Notification>, cx: &mut Cx<'_>) {
    for said in all {
        take(w, id, said, cx);
    }
}

fn take(w: &mut Watcher, id: WorkerId, said: Notification, cx: &mut Cx<'_>) {
    let Some(worker) = w.workers().get(&id) else { return };
    if !worker.is_up() {
        // That it runs its program may be known a moment later.
        if said == Notification::Ready {
            probes::change(w, id, |vitals| vitals.says_ready = true);
        }
        return;
    }
    let (state, wid) = (worker.state, worker.wid.0);
    let of = |w: &Watcher, kind: &ProbeKind| {
        let checks = &w.config.checks;
        [&checks.ready, &checks.health].into_iter().flatten().any(|probe| probe.kind == *kind)
    };
    match said {
        Notification::Ready => {
            probes::change(w, id, |vitals| vitals.says_ready = true);
            if state == WorkerState::Unready && w.config.checks.ready.as_ref().is_some_and(Probe::is_passive) {
                readiness::reached(w, id, cx);
            }
        }
        Notification::Status(text) => {
            probes::change(w, id, |vitals| vitals.status = Some(text).filter(|text| !text.is_empty()));
        }
        Notification::Stopping => {
            cx.log(Level::Info, format!("{}: worker reports that it is stopping wid={wid}", w.name()))
        }
        Notification::Reloading => {
            cx.log(Level::Info, format!("{}: worker reports that it is reloading wid={wid}", w.name()))
        }
        Notification::Ping => liveness::pinged(w, id, cx),
        Notification::Trigger if state == WorkerState::Running && of(w, &ProbeKind::Watchdog) => {
            liveness::condemn(w, id, "it says so".into(), 1, cx);
        }
        Notification::Trigger => {}
        Notification::WatchdogInterval(interval) => {
            liveness::set_interval(w, id, interval.max(LEAST_WATCHDOG), cx);
        }
    }
}
