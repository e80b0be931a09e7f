//! What must be true between any two calls. Checked after each in debug builds.

use crate::arbiter::state::Arbiter;

#[cfg(not(debug_assertions))]
impl Arbiter {
    #[expect(clippy::unused_self, reason = "the checks exist in debug builds only")]
    pub(in crate::arbiter) fn check_invariants(&self) {}
}

#[cfg(debug_assertions)]
mod checks {
    use std::collections::{BTreeSet, HashSet};

    use super::Arbiter;
    use crate::arbiter::fleet::activation::Stage;
    use crate::arbiter::fleet::scaler::Stage as Measuring;
    use crate::arbiter::fleet::vitals::Phase;
    use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
    use crate::arbiter::fleet::worker::WorkerState;
    use crate::arbiter::ids::{JobId, WatcherKey, Wid, WorkerId};
    use crate::arbiter::lifecycle::purpose::Purpose;
    use crate::arbiter::operate::operation::Waiter;
    use crate::arbiter::operate::phase::Phase as Life;
    use crate::arbiter::outcome::Cause;
    use crate::arbiter::timers::Timer;

    impl Arbiter {
        pub(in crate::arbiter) fn check_invariants(&self) {
            let mut live = 0;
            for watcher in self.fleet.watchers.values() {
                self.check_watcher(watcher);
                for (id, worker) in watcher.workers() {
                    self.check_worker(*id);
                    live += u64::from(worker.pid.is_some());
                }
            }
            assert_eq!(
                live,
                self.pids.spawned - self.pids.reaped - self.pids.released,
                "spawned less reaped is not what lives"
            );
            assert_eq!(live, self.pids.len() as u64, "a pid leads nowhere");
            self.check_timers();
            self.check_demand();
            self.check_jobs();
            self.sink_commands.check(&self.timers);
            self.hosts.check(|hook| {
                self.fleet.get(hook.watcher).is_some_and(|w| w.hooks.iter().any(|(known, _)| known == hook))
            });
        }

        fn check_watcher(&self, watcher: &Watcher) {
            let name = watcher.name();
            assert_eq!(watcher.counts(), watcher.recount(), "{name}: the counts are off");
            let of = |hands_over| watcher.workers().values().filter(move |worker| worker.hands_over == hands_over);
            let wids: BTreeSet<Wid> = of(false).map(|worker| worker.wid).collect();
            assert_eq!(wids.len(), of(false).count(), "{name}: two workers share a number");
            let leaving: BTreeSet<Wid> = of(true).map(|worker| worker.wid).collect();
            assert_eq!(leaving.len(), of(true).count(), "{name}: three workers share a number");
            assert!(!wids.iter().any(|wid| watcher.slots.is_backing_off(*wid)), "{name}: a waiting place is in use");
            if watcher.state == WatcherState::Stopped {
                assert!(watcher.workers().is_empty(), "{name}: stopped, with workers");
                assert_eq!(watcher.slots.waiting() + watcher.slots.due(), 0, "{name}: stopped, with places that wait");
                assert!(watcher.running.is_none(), "{name}: stopped, with an operation");
                let may_wait = !watcher.predecessors.is_empty();
                assert!(watcher.waiting.is_empty() || may_wait, "{name}: stopped, and an operation waits");
                assert!(!watcher.hooks.hold_stop(), "{name}: stopped, and a hook runs");
                let waits = !watcher.resizing.is_empty() || !watcher.proofs.is_empty();
                assert!(!waits, "{name}: stopped, and a request waits for its workers");
            }
            let waits = watcher.gave_up.as_ref().is_some_and(|failure| matches!(failure.cause, Cause::Waits { .. }));
            assert!(
                watcher.held.is_empty() || waits && watcher.state == WatcherState::Stopped,
                "{name}: held for nothing"
            );
            let scaler = &watcher.scaler;
            let measured = self.timers.get(Timer::Scale(watcher.key)).is_some();
            assert_eq!(scaler.stage != Measuring::Off, measured, "{name}: what it needs is looked up without an end");
            let drained = self.timers.get(Timer::Drain(watcher.key)).is_some();
            assert_eq!(scaler.drain.is_under_way(), drained, "{name}: a worker is asked without an end");
            if let Some(bounds) = watcher.config.scaling.bounds() {
                let number = watcher.config.numprocesses;
                assert!(bounds.contains(&number) || watcher.removed, "{name}: {number} workers, not {bounds:?}");
            }
            let timed = self.timers.get(Timer::Run(watcher.key)).is_some();
            assert_eq!(watcher.runs.next.is_some(), timed, "{name}: its next run has no time");
            assert!(!watcher.runs.armed || !watcher.is_service(), "{name}: a service waits for its schedule");
            let runs = watcher.runs.current.is_some();
            assert_eq!(runs, !watcher.is_service() && watcher.state != WatcherState::Stopped, "{name}: its run");
            let up = matches!(watcher.state, WatcherState::Starting { .. } | WatcherState::Active);
            for (hook, _) in watcher.hooks.iter() {
                assert!(self.timers.get(Timer::Hook(hook)).is_some(), "{name}: a hook without an end");
            }
            if watcher.running.is_none() && up && !watcher.hooks.hold_start() {
                assert!(watcher.waiting.is_empty(), "{name}: idle, and an operation waits");
            }
        }

        fn check_worker(&self, id: WorkerId) {
            let Some(worker) = self.fleet.watchers.get(&id.watcher).and_then(|watcher| watcher.workers().get(&id))
            else {
                return;
            };
            if let Some(pid) = worker.pid {
                assert_eq!(self.pids.get(pid), Some(id), "pid {} is known as another's", pid.0);
            }
            let asks = |about: fn(&Purpose) -> Option<WorkerId>| {
                self.fleet
                    .watchers
                    .get(&id.watcher)
                    .is_some_and(|watcher| watcher.hooks.any(|purpose| about(purpose) == Some(id)))
            };
            if let Some(vitals) = &worker.vitals {
                let looks = matches!(worker.state, WorkerState::Unready | WorkerState::Running);
                assert!(looks || vitals.phase == Phase::Idle, "a worker that goes is looked at");
                let timed = !matches!(vitals.phase, Phase::Pausing | Phase::Trying(_));
                assert!(timed || self.timers.get(Timer::Probe(id)).is_some(), "a look at a worker without an end");
            }
            match worker.state {
                WorkerState::Preparing => assert!(
                    asks(|purpose| if let Purpose::BeforeSpawn(worker) = purpose { Some(*worker) } else { None }),
                    "a worker waits for a hook that does not run"
                ),
                WorkerState::Accepting => assert!(
                    worker.pid.is_some()
                        && asks(|purpose| if let Purpose::AfterSpawn(worker) = purpose { Some(*worker) } else { None }),
                    "a worker is judged by a hook that does not run"
                ),
                WorkerState::Queued => assert!(self.outbox.launches.contains(id), "a launch that is not in the queue"),
                WorkerState::Starting { .. } => {}
                WorkerState::Unready => {
                    assert!(worker.pid.is_some() && worker.is_short_of_ready(), "it is waited for, for nothing");
                    assert!(self.timers.get(Timer::Ready(id)).is_some(), "its readiness is waited for without an end");
                }
                WorkerState::Running => assert!(worker.pid.is_some(), "at work, without a process"),
                WorkerState::Terminating { kill_at, .. } => {
                    assert_eq!(self.timers.get(Timer::Kill(id)), Some(kill_at), "told to stop, without a deadline");
                }
            }
        }

        /// A watcher that waits for a connection has its sockets watched, or rests; no other has.
        fn check_demand(&self) {
            for (key, watcher) in &self.fleet.watchers {
                let rests = self.timers.get(Timer::Rearm(*key)).is_some();
                let expected = if rests { BTreeSet::new() } else { self.wanted_sockets(watcher) };
                let timed = self.timers.get(Timer::Idle(*key)).is_some();
                let stage = watcher.idle_stage();
                let waits = matches!(stage, Some(Stage::Busy | Stage::Listening));
                assert_eq!(timed, waits, "{}: it is looked at without an end", watcher.name());
                // A watcher that starts in order is not looked at before its turn.
                let queued = self.has_its_turn_to_come(*key);
                let watched = &watcher.activation.sockets;
                assert!(queued || *watched == expected, "{}: {watched:?} are watched for it", watcher.name());
                for name in &watcher.activation.sockets {
                    assert!(
                        self.sockets.watched.get(name).is_some_and(|keys| keys.contains(key)),
                        "{name} is not watched"
                    );
                }
            }
            let known = |key: &WatcherKey| self.fleet.get(*key).map(|watcher| &watcher.activation.sockets);
            for (name, keys) in &self.sockets.watched {
                assert!(!keys.is_empty(), "{name} is watched for no watcher");
                assert!(keys.iter().all(|key| known(key).is_some_and(|names| names.contains(name))), "{name}");
            }
        }

        /// Each timer belongs to something that is there to be woken.
        fn check_timers(&self) {
            for timer in self.timers.iter() {
                let watcher = |key: &WatcherKey| self.fleet.get(*key);
                let valid = match &timer {
                    Timer::Kill(id) | Timer::Expire(id) => {
                        watcher(&id.watcher).is_some_and(|w| w.workers().contains_key(id))
                    }
                    Timer::Ready(id) => watcher(&id.watcher)
                        .and_then(|w| w.workers().get(id))
                        .is_some_and(|worker| worker.state == WorkerState::Unready),
                    Timer::Probe(id) => watcher(&id.watcher)
                        .and_then(|w| w.workers().get(id))
                        .is_some_and(|worker| worker.vitals.as_ref().is_some_and(|v| v.phase != Phase::Idle)),
                    Timer::Retry(key, wid) => watcher(key).is_some_and(|w| w.slots.is_backing_off(*wid)),
                    Timer::Warmup(key) => watcher(key)
                        .is_some_and(|w| matches!(w.state, WatcherState::Starting { .. } | WatcherState::Active)),
                    Timer::Stuck(key) => watcher(key).is_some_and(|w| w.counts().starting > 0),
                    Timer::Proof(key) => watcher(key).is_some_and(|w| !w.proofs.is_empty()),
                    Timer::Run(key) => watcher(key).is_some_and(|w| w.runs.next.is_some()),
                    Timer::Rearm(key) => {
                        watcher(key).is_some_and(|w| self.is_waiting(w) && w.activation.sockets.is_empty())
                    }
                    Timer::Idle(key) => watcher(key).is_some_and(|w| w.activation.idle.is_some()),
                    Timer::Scale(key) => watcher(key).is_some_and(|w| w.scaler.stage != Measuring::Off),
                    Timer::Drain(key) => watcher(key).is_some_and(|w| w.scaler.drain.is_under_way()),
                    Timer::Hook(id) | Timer::RetryHook(id) => {
                        watcher(&id.watcher).is_some_and(|w| w.hooks.iter().any(|(hook, _)| hook == *id))
                    }
                    Timer::LogLimit => true,
                    Timer::End => matches!(self.phase, Life::Ending { .. }),
                    Timer::SinkCommand(id) => self.sink_commands.waits(*id),
                    Timer::Walk(id) => self.schedule.walks.contains_key(id),
                };
                assert!(valid, "a timer was left: {timer:?}");
            }
        }

        /// Every job waits for something that will come.
        fn check_jobs(&self) {
            let mut awaited: HashSet<JobId> = self.schedule.walks.values().filter_map(|walk| walk.job()).collect();
            for watcher in self.fleet.watchers.values() {
                let operations = watcher.running.iter().chain(&watcher.waiting);
                for waiter in operations.flat_map(|operation| &operation.waiters) {
                    if let Waiter::Job(job) = waiter {
                        awaited.insert(*job);
                    }
                }
                awaited.extend(watcher.hooks.iter().filter_map(|(_, purpose)| purpose.job()));
                awaited.extend(&watcher.held);
                awaited.extend(watcher.resizing.iter().map(|resizing| resizing.job));
                awaited.extend(watcher.proofs.iter().map(|proof| proof.job));
                awaited.extend(watcher.workers().values().flat_map(|worker| &worker.awaited_by));
            }
            awaited.extend(self.failed_reloads.iter().flat_map(|failed| failed.jobs()));
            awaited.extend(self.jobs.open.values().flat_map(|job| [job.part_of, job.followed_by]).flatten());
            for (id, job) in &self.jobs.open {
                let expected = awaited.contains(id) || self.outbox.signal_requests.contains(id);
                assert!(expected, "a job waits for nothing: {job:?}");
                let mut others = [job.part_of, job.followed_by].into_iter().flatten();
                assert!(
                    others.all(|other| self.jobs.open.contains_key(&other)),
                    "the job that it is a part of is not open: {job:?}"
                );
            }
            assert!(!self.pending_stats.is_stuck(), "a question waits, and none is asked");
        }
    }
}
