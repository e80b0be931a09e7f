//! Hooks from the wish to run one to what follows from its answer.

use std::sync::Arc;

use crate::arbiter::action::{Action, Level};
use crate::arbiter::core::Arbiter;
use crate::arbiter::fleet::watcher::WatcherState;
use crate::arbiter::fleet::worker::WorkerState;
use crate::arbiter::ids::{HookId, WatcherKey, WorkerId};
use crate::arbiter::lifecycle::purpose::{ExitInfo, HookCall, HookOutcome, HookSubject, HookTask, Purpose, has_python};
use crate::arbiter::time::{Now, seconds};
use crate::arbiter::timers::Timer;
use crate::config::options;
use crate::proto::{EventKind, HookPoint, Object};

impl Arbiter {
    /// Runs a hook for this purpose. `false` if the watcher has none: what would have followed is the caller's.
    pub(in crate::arbiter) fn run_hook(
        &mut self,
        key: WatcherKey,
        purpose: Purpose,
        subject: HookSubject,
        now: Now,
    ) -> bool {
        let Some(watcher) = self.watchers.get_mut(&key) else { return false };
        let task = purpose.task();
        let wanted = match task {
            HookTask::Load => has_python(&watcher.config),
            HookTask::Run(point) => watcher.config.hooks.contains_key(&point),
        };
        if !wanted || self.force {
            return false;
        }
        let config = watcher.config.clone();
        let limit = seconds(config.hook_timeout);
        let anew = watcher.hooks.is_new(task);
        let id = watcher.hooks.begin(key, purpose);
        self.timers.set(Timer::Hook(id), now.mono.after(limit));
        self.act(Action::RunHook(Box::new(HookCall { id, task, config, anew, subject, limit })));
        true
    }

    /// Before a watcher starts: its hooks must be there, and one of them is asked.
    pub(in crate::arbiter) fn ask_to_start(&mut self, key: WatcherKey, now: Now) {
        if !self.run_hook(key, Purpose::Load, HookSubject::default(), now) {
            self.run_hook(key, Purpose::BeforeStart, HookSubject::default(), now);
        }
    }

    /// A hook has had its time.
    pub(in crate::arbiter) fn hook_overdue(&mut self, id: HookId, now: Now) {
        let Some(watcher) = self.watchers.get(&id.watcher) else { return };
        let limit = watcher.config.hook_timeout;
        self.fail_hook(id, format!("it took longer than hook_timeout ({limit} s)"), now);
    }

    /// Ends a hook; whoever waits for it goes on as if it had failed.
    pub(in crate::arbiter) fn fail_hook(&mut self, id: HookId, error: String, now: Now) {
        self.act(Action::EndHook(id));
        self.hook_done(id, HookOutcome::answer(Err(error)), now);
    }

    /// Ends hooks that nobody waits for any more.
    pub(in crate::arbiter) fn cancel_hooks(
        &mut self,
        key: WatcherKey,
        whose: impl Fn(&Purpose) -> bool,
        why: &str,
        now: Now,
    ) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        for id in watcher.hooks.of(whose) {
            let Some(purpose) = self.watchers.get_mut(&key).and_then(|watcher| watcher.hooks.end(id)) else { continue };
            self.timers.cancel(Timer::Hook(id));
            self.act(Action::EndHook(id));
            self.report_hook(key, purpose.task(), &Err(why.to_owned()), now);
        }
    }

    /// The watcher is about to be forgotten: what waits for its hooks goes on without them.
    pub(in crate::arbiter) fn drop_hooks(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        for id in watcher.hooks.of(|_| true) {
            let Some(purpose) = self.watchers.get_mut(&key).and_then(|watcher| watcher.hooks.end(id)) else { continue };
            self.timers.cancel(Timer::Hook(id));
            self.act(Action::EndHook(id));
            match purpose {
                Purpose::BeforeReap(ExitInfo { pid, exit_code, .. }) => {
                    self.publish(key, EventKind::Reap { process_pid: pid.0, exit_code }, now);
                }
                Purpose::BeforeSignal { .. } => {
                    if let Some(job) = purpose.job() {
                        self.job_part_done(job, None, None, now);
                    }
                }
                Purpose::ExtendedStats { job, .. } => self.not_extended(job, "the watcher is gone", now),
                Purpose::Load
                | Purpose::BeforeStart
                | Purpose::AfterStart
                | Purpose::BeforeSpawn(_)
                | Purpose::AfterSpawn(_)
                | Purpose::BeforeStop
                | Purpose::AfterStop
                | Purpose::AfterSignal
                | Purpose::AfterReap => {}
            }
        }
    }

    /// Every hook of everybody is cut short, and none is run from now on.
    pub(in crate::arbiter) fn force_hooks(&mut self, now: Now) {
        self.force = true;
        let ids: Vec<HookId> = self.watchers.values().flat_map(|watcher| watcher.hooks.of(|_| true)).collect();
        for id in ids {
            self.fail_hook(id, "circusd was asked to stop once more".into(), now);
        }
    }

    /// What a hook came to; or it was cut short.
    pub(in crate::arbiter) fn hook_done(&mut self, id: HookId, outcome: HookOutcome, now: Now) {
        let key = id.watcher;
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        // One that was called off, or has had its time, may still have something to say.
        let Some(purpose) = watcher.hooks.end(id) else { return };
        self.timers.cancel(Timer::Hook(id));
        self.report_hook(key, purpose.task(), &outcome.answer, now);
        self.take_settings(key, &outcome.set);
        let Some(watcher) = self.watchers.get(&key) else { return };
        let yes = match (&outcome.answer, purpose.task()) {
            (Ok(answer), _) => *answer,
            (Err(_), HookTask::Load) => false,
            (Err(_), HookTask::Run(point)) => {
                point.forgives() || watcher.config.hooks.get(&point).is_some_and(|hook| hook.ignore_failure)
            }
        };
        self.follow_hook(key, purpose, yes, outcome, now);
        self.progress(key, now);
    }

    /// What a hook has set counts from the next process on, as in Circus; nothing is replaced for its sake.
    fn take_settings(&mut self, key: WatcherKey, set: &Object) {
        let Some(watcher) = self.watchers.get_mut(&key).filter(|_| !set.is_empty()) else { return };
        if let Err(fault) = options::apply(Arc::make_mut(&mut watcher.config), set, &self.host) {
            let text = format!("{}: what a hook set is not taken over: {}", watcher.name(), fault.reason);
            self.log(Level::Error, text);
        }
    }

    fn follow_hook(&mut self, key: WatcherKey, purpose: Purpose, yes: bool, outcome: HookOutcome, now: Now) {
        match purpose {
            Purpose::Load if yes => drop(self.run_hook(key, Purpose::BeforeStart, HookSubject::default(), now)),
            Purpose::BeforeStart if yes => {}
            Purpose::Load | Purpose::BeforeStart => self.start_refused(key, now),
            Purpose::AfterStart if yes => self.started(key, now),
            Purpose::AfterStart => self.begin_stopping(key, now),
            Purpose::BeforeSpawn(worker) => self.may_launch(worker, yes, now),
            Purpose::AfterSpawn(worker) => self.may_stay(worker, yes, now),
            Purpose::BeforeStop => self.signal_all(key, now),
            Purpose::AfterStop => self.at_rest(key, now),
            Purpose::BeforeSignal { worker, pid, signal, then } => {
                self.may_signal(worker, pid, signal, &then, yes, now);
            }
            Purpose::BeforeReap(death) => self.publish_reap(key, death, now),
            Purpose::AfterSignal | Purpose::AfterReap => {}
            Purpose::ExtendedStats { job, pid } => match outcome.answer {
                Ok(_) => self.extended(job, pid, outcome.stats, now),
                Err(error) => self.not_extended(job, &error, now),
            },
        }
    }

    /// The event, as Circus has it, and a line in the log where something will not happen.
    fn report_hook(&mut self, key: WatcherKey, task: HookTask, answer: &Result<bool, String>, now: Now) {
        let Some(watcher) = self.watchers.get(&key) else { return };
        let name = watcher.name();
        let HookTask::Run(hook) = task else {
            if let Err(error) = answer {
                let text = format!("{name} is not started: {error}");
                self.log(Level::Error, text);
            }
            return;
        };
        let text = match answer {
            Ok(true) => None,
            Ok(false) => Some((Level::Warning, format!("{name}: hook {} said no", hook.name()))),
            Err(error) => Some((Level::Error, format!("{name}: hook {} failed: {error}", hook.name()))),
        };
        if let Some((level, text)) = text {
            self.log(level, text);
        }
        if hook == HookPoint::ExtendedStats {
            return;
        }
        let kind = match answer {
            Ok(_) => EventKind::HookSuccess { hook },
            Err(error) => EventKind::HookFailure { hook, error: error.clone() },
        };
        self.publish(key, kind, now);
    }

    /// A watcher that was to start does not, and is as it was. As in Circus that is no stop, and no event.
    fn start_refused(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.watchers.get(&key) else { return };
        if watcher.config.on_demand {
            self.note_run(key, crate::arbiter::lifecycle::activation::RunResult::Bad, now);
        }
        self.call_off_start(key, now);
    }

    /// Whoever was asked to start, and has no process yet, does not start.
    pub(in crate::arbiter) fn call_off_start(&mut self, key: WatcherKey, now: Now) {
        self.cancel_hooks(key, Purpose::serves_start, "the watcher was told to stop", now);
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        watcher.state = WatcherState::Stopped;
        watcher.stop_policy = None;
        for wid in watcher.slots.clear() {
            self.timers.cancel(Timer::Retry(key, wid));
        }
        self.timers.cancel(Timer::Warmup(key));
        self.at_rest(key, now);
    }

    /// before_spawn has answered.
    fn may_launch(&mut self, id: WorkerId, yes: bool, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&id.watcher) else { return };
        if yes {
            watcher.change(id, |worker| worker.state = WorkerState::Queued);
            self.launches.push_back(id);
        } else if let Some(worker) = watcher.dismiss(id) {
            watcher.slots.release(worker.wid);
            self.give_up(id.watcher, "before_spawn does not want it".into(), now);
        }
    }

    /// after_spawn has answered.
    fn may_stay(&mut self, id: WorkerId, yes: bool, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&id.watcher) else { return };
        if yes {
            watcher.change(id, |worker| worker.state = WorkerState::Running);
            return self.publish_spawned(id, now);
        }
        let (signal, timeout) = watcher.stop_policy().ask();
        self.terminate(id, signal, timeout, now);
        self.give_up(id.watcher, "after_spawn does not want it".into(), now);
    }

    /// A death is known to everybody.
    pub(in crate::arbiter) fn publish_reap(&mut self, key: WatcherKey, death: ExitInfo, now: Now) {
        let ExitInfo { pid, exit_code, .. } = death;
        self.publish(key, EventKind::Reap { process_pid: pid.0, exit_code }, now);
        self.run_hook(key, Purpose::AfterReap, death.subject(), now);
    }
}

impl ExitInfo {
    pub(in crate::arbiter) fn subject(self) -> HookSubject {
        let Self { pid, wid, exit_code, time } = self;
        HookSubject {
            pid: Some(pid),
            wid: Some(wid),
            exit_code: Some(exit_code),
            time: Some(time),
            ..HookSubject::default()
        }
    }
}
