//! What happens to single workers: launched, spawned, failed, told to stop, collected.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::arbiter::action::{Action, Level, Reach};
use crate::arbiter::core::Arbiter;
use crate::arbiter::event::Exit;
use crate::arbiter::fleet::history::{Backoff, Cause, LastExit, LastFailure};
use crate::arbiter::fleet::slots::back_off;
use crate::arbiter::fleet::watcher::WatcherState;
use crate::arbiter::fleet::worker::{Worker, WorkerState};
use crate::arbiter::ids::{Pid, WatcherKey, Wid, WorkerId};
use crate::arbiter::lifecycle::activation::RunResult;
use crate::arbiter::lifecycle::purpose::{ExitInfo, HookSubject, Purpose, Send};
use crate::arbiter::operate::queue::{OperationKind, Progress};
use crate::arbiter::time::{Now, seconds};
use crate::arbiter::timers::Timer;
use crate::config::{Respawn, WatcherConfig};
use crate::proto::{EventKind, Signal, SpawnError};

/// What a back-off is at most where check_delay says nothing.
const DEFAULT_BOUND: Duration = Duration::from_secs(5);

/// SIGKILL is sent again after this time, to whoever is still there: sending it may have failed.
pub(in crate::arbiter) const KILL_INTERVAL: Duration = Duration::from_secs(5);

/// So many early deaths in a row of a new process end a graceful reload: the old processes are kept.
const MAX_EARLY_EXITS: u32 = 5;

// errno(3), Linux: what may mend itself while we wait.
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ETXTBSY: i32 = 26;

fn is_transient(error: &SpawnError) -> bool {
    [EAGAIN, ENOMEM, EMFILE, ENFILE, ETXTBSY].contains(&error.errno)
}

impl Arbiter {
    /// Asks for one more process of this watcher.
    pub(in crate::arbiter) fn launch(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        let wid = watcher.slots.take();
        // As in Circus, a process is one process however often its launch is tried.
        let again = watcher.slots.tries_again(wid);
        let worker = watcher.admit_worker(wid, now);
        let subject = HookSubject { wid: Some(wid), ..HookSubject::default() };
        if !again && self.run_hook(key, Purpose::BeforeSpawn(worker), subject, now) {
            if let Some(watcher) = self.watchers.get_mut(&key) {
                watcher.change(worker, |worker| worker.state = WorkerState::Preparing);
            }
        } else {
            self.launches.push_back(worker);
        }
    }

    /// A process exists that is changing its user, say, before it runs its program.
    pub(in crate::arbiter) fn worker_created(&mut self, id: WorkerId, pid: Pid, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&id.watcher) else { return };
        let stop_pending = watcher.change(id, |worker| {
            worker.pid = Some(pid);
            worker.state == WorkerState::Starting { stop_pending: true }
        });
        if let Some(stop_pending) = stop_pending {
            self.spawned += 1;
            self.pids.insert(pid, id);
            if stop_pending {
                self.arm_startup_kill(id, now);
            }
        }
    }

    /// Whoever comes up only to be told to stop has as long for both as for a stop alone.
    fn arm_startup_kill(&mut self, id: WorkerId, now: Now) {
        if let Some(watcher) = self.watchers.get(&id.watcher) {
            let due = now.mono.after(seconds(watcher.config.graceful_timeout));
            self.timers.set(Timer::Kill(id), due);
        }
    }

    pub(in crate::arbiter) fn worker_spawned(&mut self, id: WorkerId, pid: Pid, now: Now) {
        // Where there is no record, the watcher was removed without stopping it while the process came up.
        let Some(watcher) = self.watchers.get_mut(&id.watcher) else { return };
        let stop_pending = watcher.change(id, |worker| {
            let stop_pending = worker.state == WorkerState::Starting { stop_pending: true };
            let new = worker.pid.is_none();
            worker.pid = Some(pid);
            worker.started = now;
            worker.state = WorkerState::Running;
            (stop_pending, worker.wid, new)
        });
        let Some((stop_pending, wid, new)) = stop_pending else { return };
        self.spawned += u64::from(new);
        self.timers.cancel(Timer::Kill(id));
        let Some(watcher) = self.watchers.get_mut(&id.watcher) else { return };
        watcher.slots.launched(wid);
        let stop_policy = watcher.stop_policy().ask();
        let stops = watcher.state == WatcherState::Stopping;
        self.pids.insert(pid, id);
        let subject = HookSubject { pid: Some(pid), wid: Some(wid), ..HookSubject::default() };
        if !stop_pending && !stops && self.run_hook(id.watcher, Purpose::AfterSpawn(id), subject, now) {
            if let Some(watcher) = self.watchers.get_mut(&id.watcher) {
                watcher.change(id, |worker| worker.state = WorkerState::Accepting);
            }
            return self.progress(id.watcher, now);
        }
        self.publish_spawned(id, now);
        if stop_pending {
            self.terminate(id, stop_policy.0, stop_policy.1, now);
        }
        self.progress(id.watcher, now);
    }

    /// A process is one of the watcher's from now on.
    pub(in crate::arbiter) fn publish_spawned(&mut self, id: WorkerId, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&id.watcher) else { return };
        let Some(pid) = watcher.workers().get(&id).and_then(|worker| worker.pid) else { return };
        watcher.history.spawned += 1;
        if let WatcherState::Starting { spawned } = &mut watcher.state {
            *spawned = true;
        }
        let config = watcher.config.clone();
        self.publish(id.watcher, EventKind::Spawn { process_pid: pid.0 }, now);
        if config.max_age > 0 {
            let variance = u64::try_from(config.max_age_variance).unwrap_or(0);
            let age = u64::try_from(config.max_age).unwrap_or(0).saturating_add(self.rng.up_to(variance));
            self.timers.set(Timer::Expire(id), now.mono.after(Duration::from_secs(age)));
        }
    }

    pub(in crate::arbiter) fn worker_failed(&mut self, id: WorkerId, error: &SpawnError, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&id.watcher) else { return };
        let Some(worker) = watcher.dismiss(id) else { return };
        if let Some(pid) = worker.pid {
            // It never was a worker; the reaper's word about it is of no interest.
            self.pids.remove(&pid);
            self.released += 1;
        }
        self.timers.cancel(Timer::Kill(id));
        for job in worker.awaited_by.clone() {
            self.job_part_done(job, None, None, now);
        }
        let Some(watcher) = self.watchers.get_mut(&id.watcher) else { return };
        let wid = worker.wid;
        watcher.history.failed += 1;
        watcher.history.last_failure = Some(LastFailure { wid, error: error.clone(), time: now.unix });
        let text = format!("error in '{}': {}", watcher.name(), describe(error));
        if worker.is_ending() || worker.retiring {
            watcher.slots.release(wid);
            self.log(Level::Warning, text);
            return self.progress(id.watcher, now);
        }
        let failures = watcher.slots.count_failure(wid);
        let tries = watcher.config.max_retry;
        // A failed try does not use up the pause between two starts.
        watcher.next_spawn = now.mono;
        if is_transient(error) || tries < 0 {
            let wait = self.back_off(id.watcher, wid, Cause::Launch(error.clone()), failures, now);
            self.log(Level::Warning, format!("{text}; next try in {} ms", wait.as_millis()));
        } else if i64::from(failures) < tries {
            watcher.slots.make_due(wid);
            self.log(Level::Warning, text);
        } else {
            watcher.slots.release(wid);
            self.log(Level::Warning, text);
            self.give_up(id.watcher, describe(error), now);
        }
        self.progress(id.watcher, now);
    }

    /// A process could not be started, as often as max_retry allows: its watcher stops. A graceful reload keeps the
    /// old processes instead.
    pub(in crate::arbiter) fn give_up(&mut self, key: WatcherKey, why: String, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        let surging = watcher.running.as_ref().is_some_and(|op| op.progress == Progress::Surging);
        if !surging {
            if watcher.config.on_demand {
                self.note_run(key, RunResult::Bad, now);
            }
            self.note_essential_end(key, false);
            return self.begin_stopping(key, now);
        }
        let ids: Vec<WorkerId> = watcher.workers().keys().copied().collect();
        let mut newcomers = Vec::new();
        for id in ids {
            let kept = watcher.change(id, |worker| std::mem::replace(&mut worker.retiring, false)).unwrap_or(false);
            if !kept {
                newcomers.push(id);
            }
        }
        let (signal, timeout) = watcher.stop_policy().ask();
        for id in newcomers {
            self.terminate(id, signal, timeout, now);
        }
        self.end_operation(key, Some(format!("reload failed, the old processes are kept: {why}")), now);
    }

    /// Tells a worker to stop, and sees to it that it does after `timeout`.
    pub(in crate::arbiter) fn terminate(&mut self, id: WorkerId, signal: Signal, timeout: Duration, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&id.watcher) else { return };
        let Some(worker) = watcher.workers().get(&id) else { return };
        let (state, wid, pid) = (worker.state, worker.wid, worker.pid);
        let mut due = now.mono.after(timeout);
        let mut send = true;
        match state {
            WorkerState::Preparing | WorkerState::Queued => {
                watcher.dismiss(id);
                watcher.slots.release(wid);
                return self.cancel_spawn_hooks(id, "the process is not wanted any more", now);
            }
            WorkerState::Starting { .. } => {
                watcher.change(id, |worker| {
                    worker.state = WorkerState::Starting { stop_pending: true };
                    worker.exit_expected = true;
                });
                if pid.is_some() && self.timers.get(Timer::Kill(id)).is_none() {
                    self.arm_startup_kill(id, now);
                }
                return;
            }
            WorkerState::Accepting => self.cancel_spawn_hooks(id, "the process was told to stop", now),
            WorkerState::Running => {}
            // SIGKILL is on its way, and is repeated until it helps.
            WorkerState::Terminating { signal: Signal::KILL, .. } => return,
            WorkerState::Terminating { kill_at: at, signal: sent } => {
                due = due.min(at);
                send = sent != signal;
            }
        }
        let Some(pid) = pid else { return };
        let mut kill_at = if signal == Signal::KILL { now.mono.after(KILL_INTERVAL) } else { due };
        if send && self.ask_to_signal(id, (pid, wid), signal, Send::Stop { timeout }, now) {
            // Its time to stop begins when it is told to.
            kill_at = kill_at.after(self.hook_timeout(id.watcher));
            send = false;
        }
        let Some(watcher) = self.watchers.get_mut(&id.watcher) else { return };
        watcher.change(id, |worker| {
            worker.state = WorkerState::Terminating { signal, kill_at };
            worker.exit_expected = true;
        });
        self.timers.cancel(Timer::Expire(id));
        self.timers.set(Timer::Kill(id), kill_at);
        if send {
            self.send_stop(id.watcher, pid, signal, true);
            self.publish(id.watcher, EventKind::Kill { process_pid: pid.0 }, now);
            self.signal_sent(id.watcher, (pid, wid), signal, now);
        }
    }

    /// Sends what asks a worker to stop; what its hook keeps from it its children get all the same, as in Circus.
    pub(in crate::arbiter) fn send_stop(&mut self, key: WatcherKey, pid: Pid, signal: Signal, itself: bool) {
        let Some(watcher) = self.watchers.get(&key) else { return };
        let reach = match (signal, watcher.stop_policy().stop_children) {
            (Signal::KILL, _) => Reach::Tree,
            (_, true) if itself => Reach::ProcessAndChildren,
            (_, true) => Reach::Children,
            (_, false) if itself => Reach::Process,
            (_, false) => return,
        };
        self.act(Action::Signal { pid, signal, reach, watcher: key });
    }

    /// The hooks that were about whether a worker comes up are of no use any more.
    fn cancel_spawn_hooks(&mut self, id: WorkerId, why: &str, now: Now) {
        let about_it = |purpose: &Purpose| matches!(purpose, Purpose::BeforeSpawn(worker) | Purpose::AfterSpawn(worker) if *worker == id);
        self.cancel_hooks(id.watcher, about_it, why, now);
    }

    /// A worker that was told to stop has had its time.
    pub(in crate::arbiter) fn escalate(&mut self, id: WorkerId, now: Now) {
        let Some(worker) = self.watchers.get(&id.watcher).and_then(|watcher| watcher.workers().get(&id)) else {
            return;
        };
        let pid = worker.pid;
        match (worker.state, pid) {
            (WorkerState::Terminating { signal, .. }, Some(_)) if signal != Signal::KILL => {
                self.terminate(id, Signal::KILL, Duration::ZERO, now);
            }
            // Killed already, or on its way to its program for too long.
            (WorkerState::Terminating { .. } | WorkerState::Starting { stop_pending: true }, Some(pid)) => {
                self.timers.set(Timer::Kill(id), now.mono.after(KILL_INTERVAL));
                if let Some(watcher) = self.watchers.get_mut(&id.watcher) {
                    watcher.change(id, |worker| {
                        if let WorkerState::Terminating { kill_at, .. } = &mut worker.state {
                            *kill_at = now.mono.after(KILL_INTERVAL);
                        }
                    });
                }
                self.act(Action::Signal { pid, signal: Signal::KILL, reach: Reach::Tree, watcher: id.watcher });
            }
            _ => {}
        }
    }

    /// A worker has reached its max_age. Its successor comes when it is gone.
    pub(in crate::arbiter) fn expire(&mut self, id: WorkerId, now: Now) {
        let Some(watcher) = self.watchers.get(&id.watcher) else { return };
        let (signal, timeout) = watcher.stop_policy().ask();
        self.terminate(id, signal, timeout, now);
        self.progress(id.watcher, now);
    }

    pub(in crate::arbiter) fn workers_exited(&mut self, exits: &[Exit], now: Now) {
        // First all records go, then their places are dealt with, then what follows: nobody signals the dead.
        let gone: Vec<(WorkerId, Worker, Exit)> =
            exits.iter().filter_map(|exit| self.remove_exited(*exit, now)).collect();
        let touched: BTreeSet<WatcherKey> = gone.iter().map(|(id, ..)| id.watcher).collect();
        for (id, worker, exit) in gone {
            self.free_slot(id, &worker, exit.exit_code, now);
            for job in worker.awaited_by {
                self.job_part_done(job, None, None, now);
            }
        }
        for key in touched {
            self.progress(key, now);
        }
    }

    fn remove_exited(&mut self, exit: Exit, now: Now) -> Option<(WorkerId, Worker, Exit)> {
        let id = self.pids.remove(&exit.pid)?;
        let watcher = self.watchers.get_mut(&id.watcher)?;
        let worker = watcher.dismiss(id)?;
        self.reaped += 1;
        watcher.history.reaped += 1;
        watcher.history.last_exit = Some(LastExit {
            wid: worker.wid,
            pid: exit.pid,
            exit_code: exit.exit_code,
            lived: now.mono.since(worker.started.mono),
            time: now.unix,
        });
        self.timers.cancel(Timer::Kill(id));
        self.timers.cancel(Timer::Expire(id));
        if worker.state == WorkerState::Accepting {
            self.cancel_spawn_hooks(id, "the process has ended", now);
        }
        let death = ExitInfo { pid: exit.pid, wid: worker.wid, exit_code: exit.exit_code, time: now.unix };
        if !self.run_hook(id.watcher, Purpose::BeforeReap(death), death.subject(), now) {
            self.publish_reap(id.watcher, death, now);
        }
        Some((id, worker, exit))
    }

    /// Decides what becomes of the place of a worker that is gone.
    fn free_slot(&mut self, id: WorkerId, worker: &Worker, exit_code: i32, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&id.watcher) else { return };
        let lived = now.mono.since(worker.started.mono);
        let replaced_by_reload = watcher.running.as_ref().is_some_and(|op| op.replaces(id));
        let surging = watcher.running.as_ref().is_some_and(|op| op.progress == Progress::Surging);
        let waits_for_demand = watcher.config.on_demand && !surging;
        let replaced = !waits_for_demand && is_replaced(&watcher.config, worker.exit_expected, exit_code);
        let young = lived < seconds(watcher.config.min_uptime);
        let kept_up = match watcher.state {
            WatcherState::Stopped | WatcherState::Stopping => false,
            WatcherState::Starting { .. } | WatcherState::Active => true,
        };
        if kept_up && replaced && !worker.exit_expected && !worker.retiring && !replaced_by_reload {
            watcher.history.restarts += 1;
        }
        if kept_up && !replaced && !worker.retiring && !replaced_by_reload {
            watcher.slots.release(worker.wid);
            if watcher.missing() > 0 {
                watcher.slots.left_empty += 1;
            }
            if waits_for_demand && !(young && worker.exit_expected) {
                self.ended_on_demand(id.watcher, worker.wid, young.then_some(lived), exit_code, now);
            }
        } else if kept_up && young && !worker.exit_expected && !worker.retiring {
            self.exited_early(id.watcher, worker.wid, lived, exit_code, now);
        } else {
            if !young {
                watcher.slots.reset_backoff(worker.wid);
            }
            watcher.slots.release(worker.wid);
        }
    }

    /// A worker that a connection had started ended by itself; `young`: how long it lived, where that is too short.
    fn ended_on_demand(&mut self, key: WatcherKey, wid: Wid, young: Option<Duration>, exit_code: i32, now: Now) {
        let Some(watcher) = self.watchers.get(&key) else { return };
        let name = watcher.name().to_owned();
        let result = match young {
            None => RunResult::Good,
            Some(_) if succeeded(&watcher.config, exit_code) => RunResult::Brief,
            Some(_) => RunResult::Bad,
        };
        let rest = self.note_run(key, result, now);
        if let (RunResult::Bad, Some(lived), Some(rest)) = (result, young, rest) {
            let (wid, lived, rest) = (wid.0, lived.as_secs_f64(), rest.as_millis());
            let death = death(exit_code);
            self.log(
                Level::Warning,
                format!(
                    "{name}: process {wid} died after {lived:.1} s ({death}); no connection starts one for {rest} ms"
                ),
            );
        }
    }

    fn exited_early(&mut self, key: WatcherKey, wid: Wid, lived: Duration, exit_code: i32, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        let k = watcher.slots.count_early_death(wid);
        let surging = watcher.running.as_ref().is_some_and(|op| op.progress == Progress::Surging);
        if surging && k >= MAX_EARLY_EXITS {
            watcher.slots.release(wid);
            return self.give_up(key, format!("the new processes die at once ({})", death(exit_code)), now);
        }
        let (name, lived) = (watcher.name().to_owned(), lived.as_secs_f64());
        let wait = self.back_off(key, wid, Cause::Exit(exit_code), k, now).as_millis();
        let (wid, death) = (wid.0, death(exit_code));
        self.log(
            Level::Warning,
            format!(
                "{name}: process {wid} died after {lived:.1} s ({death}), {k} in a row; the next starts in {wait} ms"
            ),
        );
    }

    /// Makes a place wait before its next worker: 100 ms, doubled each time, within check_delay.
    fn back_off(&mut self, key: WatcherKey, wid: Wid, cause: Cause, k: u32, now: Now) -> Duration {
        let wait = back_off(k, self.back_off_bound()).mul_f64(self.rng.around_one(0.1));
        if let Some(watcher) = self.watchers.get_mut(&key) {
            watcher.slots.back_off(wid, Backoff { cause, times: k, wait });
            self.timers.set(Timer::Retry(key, wid), now.mono.after(wait));
        }
        wait
    }

    /// The most that a back-off lasts.
    pub(in crate::arbiter) fn back_off_bound(&self) -> Duration {
        let bound = seconds(self.circus.check_delay);
        if bound.is_zero() { DEFAULT_BOUND } else { bound }
    }
}

/// Whether a worker that ended so is replaced.
fn is_replaced(config: &WatcherConfig, exit_expected: bool, exit_code: i32) -> bool {
    match config.respawn {
        Respawn::Always => true,
        // An end that was asked for says nothing about the work: max_age and kill mean a new worker.
        Respawn::OnFailure => exit_expected || !succeeded(config, exit_code),
        Respawn::Never => false,
    }
}

pub(super) fn succeeded(config: &WatcherConfig, exit_code: i32) -> bool {
    u8::try_from(exit_code).is_ok_and(|code| config.success_codes.contains(&code))
}

/// An exit code in words.
fn death(exit_code: i32) -> String {
    if exit_code < 0 { format!("by {}", Signal(-exit_code)) } else { format!("exit status {exit_code}") }
}

/// A failed launch in words: what was being done, to what, and what the kernel said.
pub(in crate::arbiter) fn describe(error: &SpawnError) -> String {
    match error.stage {
        stage if error.errno == 0 => format!("failed to {}: {}", stage.doing(), error.detail),
        stage => format!("failed to {}: {} ({})", stage.doing(), error.detail, error.reason()),
    }
}

impl crate::arbiter::operate::queue::Operation {
    /// Whether this worker's place is filled again even where deaths are not made up for.
    fn replaces(&self, id: WorkerId) -> bool {
        match (&self.kind, &self.progress) {
            (OperationKind::ReloadSequential, Progress::Replacing { current, .. }) => *current == Some(id),
            _ => false,
        }
    }
}
