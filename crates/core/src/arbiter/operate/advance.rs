//! Operations from their admission to their end.

use std::collections::VecDeque;

use crate::arbiter::action::{Action, Level, Reach};
use crate::arbiter::core::Arbiter;
use crate::arbiter::fleet::watcher::WatcherState;
use crate::arbiter::fleet::worker::{Worker, WorkerState};
use crate::arbiter::ids::{JobId, Pid, WatcherKey, WorkerId};
use crate::arbiter::lifecycle::purpose::{HookSubject, Purpose};
use crate::arbiter::operate::job::{Changes, Form, Then};
use crate::arbiter::operate::queue::{Admission, Operation, OperationKind, Progress, Waiter, admit};
use crate::arbiter::operate::start_sequence::Start;
use crate::arbiter::time::Now;
use crate::arbiter::timers::Timer;
use crate::proto::{Body, EventKind, Fault, Object, Reply, Signal};

impl Arbiter {
    /// Hands an operation to a watcher: it begins, waits or joins as [`admit`] says.
    pub(in crate::arbiter) fn submit(&mut self, key: WatcherKey, kind: OperationKind, waiters: Vec<Waiter>, now: Now) {
        self.submit_operation(key, kind, waiters, false, now);
    }

    /// The same for an operation that must see what was changed just now, and is only for a watcher that is up.
    pub(in crate::arbiter) fn submit_fresh(
        &mut self,
        key: WatcherKey,
        kind: OperationKind,
        waiters: Vec<Waiter>,
        now: Now,
    ) {
        self.submit_operation(key, kind, waiters, true, now);
    }

    fn submit_operation(&mut self, key: WatcherKey, kind: OperationKind, waiters: Vec<Waiter>, fresh: bool, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&key) else {
            return self.notify_waiters(waiters, None, Some(Fault::message("the watcher is gone")), now);
        };
        let waiting: Vec<OperationKind> = watcher.waiting.iter().map(|op| op.kind).collect();
        let running = watcher.running.as_ref().map(|op| op.kind);
        match admit(running, &waiting, kind, fresh) {
            Admission::JoinRunning => {
                if let Some(running) = &mut watcher.running {
                    running.waiters.extend(waiters);
                }
            }
            Admission::JoinWaiting(place) => {
                if let Some(waiting) = watcher.waiting.get_mut(place) {
                    waiting.waiters.extend(waiters);
                    waiting.skip_if_stopped &= fresh;
                    waiting.replaces |= fresh;
                }
            }
            // A watcher that stops of its own accord finishes that first.
            Admission::Begin | Admission::Wait => {
                watcher.waiting.push_back(Operation::new(kind, waiters, fresh));
            }
            Admission::ClearAndJoin => {
                if let Some(running) = &mut watcher.running {
                    running.waiters.extend(waiters);
                }
                self.withdraw_from_rollouts(key);
                self.cancel_waiting(key, kind, now);
            }
            Admission::Overtake => {
                self.withdraw_from_rollouts(key);
                self.cancel_waiting(key, kind, now);
                let stoppers = self.cancel_running(key, kind, now);
                let Some(watcher) = self.watchers.get_mut(&key) else { return };
                let mut operation = Operation::new(kind, waiters, false);
                operation.waiters.extend(stoppers);
                if watcher.state == WatcherState::Stopping {
                    // Everybody has been told already: from now on it is for this operation's sake.
                    operation.progress = Progress::Stopping;
                    watcher.running = Some(operation);
                } else {
                    watcher.waiting.push_front(operation);
                }
            }
        }
        self.progress(key, now);
    }

    fn cancel_waiting(&mut self, key: WatcherKey, by: OperationKind, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        for operation in std::mem::take(&mut watcher.waiting) {
            self.report_cancelled(operation, by, now);
        }
    }

    /// Returns those who asked for a stop: whatever overtakes it, they get it.
    fn cancel_running(&mut self, key: WatcherKey, by: OperationKind, now: Now) -> Vec<Waiter> {
        let Some(watcher) = self.watchers.get_mut(&key) else { return Vec::new() };
        match watcher.running.take() {
            None => Vec::new(),
            Some(operation) if operation.kind == OperationKind::Stop => operation.waiters,
            Some(operation) => {
                self.report_cancelled(operation, by, now);
                Vec::new()
            }
        }
    }

    fn report_cancelled(&mut self, operation: Operation, by: OperationKind, now: Now) {
        let reason = format!("{} was cancelled by {}", operation.kind.name(), by.name());
        self.notify_waiters(operation.waiters, None, Some(Fault::command(reason)), now);
    }

    /// Goes on with a watcher as far as is possible now.
    pub(in crate::arbiter) fn progress(&mut self, key: WatcherKey, now: Now) {
        loop {
            self.reconcile(key, now);
            // Each step ends an operation, begins one, or changes the state towards its end: the loop is finite.
            if !self.step(key, now) {
                break;
            }
        }
        self.answer_resized(key, now);
        self.update_activation(key, now);
    }

    fn step(&mut self, key: WatcherKey, now: Now) -> bool {
        let Some(watcher) = self.watchers.get(&key) else { return false };
        if watcher.hooks.hold_start() {
            // Nobody but who overtakes everything goes on before the hook has answered.
            let overtaken = |operation: &Operation| !operation.kind.starts();
            let goes_on = watcher.running.is_none() && watcher.waiting.front().is_some_and(overtaken);
            return goes_on && self.begin_next(key, now);
        }
        match watcher.state {
            WatcherState::Stopping if watcher.workers().is_empty() && !watcher.hooks.hold_stop() => {
                self.stopped(key, now);
                return true;
            }
            WatcherState::Stopping => return false,
            WatcherState::Starting { spawned } if watcher.is_settled() => {
                if spawned {
                    if self.run_hook(key, Purpose::AfterStart, HookSubject::default(), now) {
                        return true;
                    }
                    self.started(key, now);
                    return true;
                }
                if watcher.slots.waiting() == 0 {
                    // Nothing runs and nothing will: Circus calls that a failed start.
                    let exited = watcher.slots.left_empty > 0;
                    self.note_essential_end(key, exited);
                    self.begin_stopping(key, now);
                    return true;
                }
            }
            WatcherState::Active
                if watcher.slots.left_empty > 0 && watcher.workers().is_empty() && watcher.running.is_none() =>
            {
                // Who dies is not replaced, and the last worker is gone.
                if !watcher.config.on_demand {
                    self.note_essential_end(key, true);
                    self.begin_stopping(key, now);
                    return true;
                }
                if watcher.is_settled() && watcher.slots.waiting() == 0 && !watcher.hooks.hold_stop() {
                    self.deactivate(key);
                    return true;
                }
            }
            WatcherState::Starting { .. } | WatcherState::Active | WatcherState::Stopped => {}
        }
        self.step_operation(key, now)
    }

    fn step_operation(&mut self, key: WatcherKey, now: Now) -> bool {
        let Some(watcher) = self.watchers.get_mut(&key) else { return false };
        let settled = watcher.is_settled();
        let backing_off = watcher.slots.waiting() > 0;
        let retiring = watcher.counts().retiring;
        let Some(operation) = &mut watcher.running else { return self.begin_next(key, now) };
        match &mut operation.progress {
            Progress::Starting if settled => {
                match operation.kind {
                    // A reload of a watcher that was stopped has started it.
                    OperationKind::Reload | OperationKind::ReloadSequential => self.reloaded(key, now),
                    OperationKind::Start | OperationKind::Stop | OperationKind::Restart | OperationKind::Remove => {
                        self.end_operation(key, None, now);
                    }
                }
                true
            }
            // `stopped` takes it from here.
            Progress::Starting | Progress::Stopping => false,
            // With a place still waiting out a back-off the new processes are not all up.
            Progress::Surging if settled && !backing_off => {
                operation.progress = Progress::Retiring;
                self.retire_outgoing(key, now);
                true
            }
            Progress::Surging => false,
            Progress::Retiring if retiring == 0 => {
                self.reloaded(key, now);
                true
            }
            Progress::Retiring => false,
            Progress::Replacing { .. } => self.replace_next(key, now),
        }
    }

    fn begin_next(&mut self, key: WatcherKey, now: Now) -> bool {
        let Some(watcher) = self.watchers.get(&key) else { return false };
        let starts = |operation: &Operation| operation.kind.starts() && !operation.skip_if_stopped;
        if watcher.state == WatcherState::Stopped
            && watcher.waiting.front().is_some_and(starts)
            && self.has_predecessor(key)
        {
            return false;
        }
        let on_demand = self.starts_on_demand(key);
        let Some(watcher) = self.watchers.get_mut(&key) else { return false };
        let Some(mut operation) = watcher.waiting.pop_front() else { return false };
        operation.before = watcher.lasting_pids();
        let kind = operation.kind;
        let idle = watcher.state == WatcherState::Stopped;
        let reloads = matches!(kind, OperationKind::Reload | OperationKind::ReloadSequential);
        // With nobody there, there is nobody to be replaced either; who waits for a connection goes on waiting.
        if idle && (operation.skip_if_stopped || reloads && on_demand) {
            watcher.running = Some(operation);
            self.end_operation(key, None, now);
            return true;
        }
        operation.progress = match kind {
            OperationKind::Start => Progress::Starting,
            OperationKind::Stop | OperationKind::Remove | OperationKind::Restart => Progress::Stopping,
            OperationKind::Reload | OperationKind::ReloadSequential if idle => Progress::Starting,
            OperationKind::Reload => Progress::Surging,
            OperationKind::ReloadSequential => {
                Progress::Replacing { left: watcher.fresh().collect::<VecDeque<_>>(), current: None }
            }
        };
        watcher.running = Some(operation);
        match kind {
            OperationKind::Start => self.begin_starting(key, now),
            OperationKind::Stop | OperationKind::Remove | OperationKind::Restart => {
                if idle {
                    self.stopped(key, now);
                } else {
                    self.begin_stopping(key, now);
                }
            }
            OperationKind::Reload | OperationKind::ReloadSequential if idle => self.begin_starting(key, now),
            OperationKind::Reload => self.begin_surge(key, now),
            OperationKind::ReloadSequential => {}
        }
        true
    }

    /// Whether a watcher of the same name was removed and is still stopping.
    pub(in crate::arbiter) fn has_predecessor(&self, key: WatcherKey) -> bool {
        let resource = self.watchers.get(&key).map(|watcher| &watcher.resource);
        let before = self.watchers.range(..key).map(|(_, watcher)| watcher);
        before.filter(|watcher| watcher.removed).any(|watcher| Some(&watcher.resource) == resource)
    }

    fn begin_starting(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        // An operator's start ends every back-off, and fills the places that `respawn = False` left empty.
        for wid in watcher.slots.end_backoffs() {
            self.timers.cancel(Timer::Retry(key, wid));
        }
        if watcher.state == WatcherState::Stopped {
            watcher.state = WatcherState::Starting { spawned: false };
            watcher.history.began = Some(now.mono);
            watcher.next_spawn = now.mono;
            self.ask_to_start(key, now);
        }
    }

    pub(in crate::arbiter) fn begin_stopping(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        if watcher.hooks.bar_launches() {
            return self.call_off_start(key, now);
        }
        watcher.state = WatcherState::Stopping;
        for wid in watcher.slots.clear() {
            self.timers.cancel(Timer::Retry(key, wid));
        }
        self.timers.cancel(Timer::Warmup(key));
        self.cancel_hooks(key, Purpose::serves_start, "the watcher was told to stop", now);
        self.drop_unlaunched(key, now);
        if !self.run_hook(key, Purpose::BeforeStop, HookSubject::default(), now) {
            self.signal_all(key, now);
        }
    }

    /// Who is not launched yet will not be, and nobody is asked any more whether it may stay.
    fn drop_unlaunched(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        let judged = |worker: &Worker| worker.state == WorkerState::Accepting;
        let ids: Vec<WorkerId> = watcher.workers().iter().filter(|(_, w)| judged(w)).map(|(id, _)| *id).collect();
        for id in ids {
            watcher.change(id, |worker| worker.state = WorkerState::Running);
        }
        let (signal, timeout) = watcher.stop_policy().ask();
        let ids: Vec<WorkerId> =
            watcher.workers().iter().filter(|(_, worker)| worker.state.is_unlaunched()).map(|(id, _)| *id).collect();
        for id in ids {
            self.terminate(id, signal, timeout, now);
        }
    }

    /// The stop signal to every worker.
    pub(in crate::arbiter) fn signal_all(&mut self, key: WatcherKey, now: Now) {
        // Everybody hears of it, also who is on the way out already: a kill with a long timeout does not hold up a stop.
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        let (signal, timeout) = watcher.stop_policy().ask();
        let ids: Vec<WorkerId> = watcher.workers().keys().copied().collect();
        for id in ids {
            if let Some(watcher) = self.watchers.get_mut(&key) {
                watcher.change(id, |worker| worker.retiring = false);
            }
            self.terminate(id, signal, timeout, now);
        }
    }

    pub(in crate::arbiter) fn started(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        watcher.state = WatcherState::Active;
        let text = format!("{} started", watcher.name());
        self.log(Level::Info, text);
        self.publish(key, EventKind::Start, now);
    }

    /// No worker is left of a watcher that was stopping, or none was there to begin with.
    fn stopped(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        if watcher.state != WatcherState::Stopped {
            for wid in watcher.slots.clear() {
                self.timers.cancel(Timer::Retry(key, wid));
            }
            self.publish(key, EventKind::Stop, now);
            self.act(Action::CloseStreams(key));
            if self.run_hook(key, Purpose::AfterStop, HookSubject::default(), now) {
                return;
            }
        }
        self.at_rest(key, now);
    }

    /// A watcher has stopped, and its last hook is done.
    pub(in crate::arbiter) fn at_rest(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        if watcher.state != WatcherState::Stopped {
            watcher.state = WatcherState::Stopped;
            watcher.stop_policy = None;
            let text = format!("{} stopped", watcher.name());
            self.log(Level::Info, text);
        }
        let on_demand = self.starts_on_demand(key);
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        let Some(operation) = &mut watcher.running else { return };
        match operation.kind {
            OperationKind::Restart if operation.progress == Progress::Stopping && !on_demand => {
                operation.progress = Progress::Starting;
                self.begin_starting(key, now);
            }
            OperationKind::Remove => {
                self.end_operation(key, None, now);
                self.forget(key, now);
            }
            OperationKind::Start
            | OperationKind::Stop
            | OperationKind::Restart
            | OperationKind::Reload
            | OperationKind::ReloadSequential => self.end_operation(key, None, now),
        }
    }

    fn begin_surge(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        let replaces = watcher.running.as_ref().is_some_and(|op| op.replaces);
        if watcher.config.send_hup && !replaces {
            return self.send_hup_to_all(key, now);
        }
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        let old: Vec<_> = watcher.fresh().collect();
        for id in old {
            watcher.change(id, |worker| worker.retiring = true);
        }
        watcher.slots.left_empty = 0;
    }

    /// `send_hup`: the processes reload themselves.
    fn send_hup_to_all(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        let workers: Vec<_> = watcher.fresh().collect();
        let mut pids = Vec::new();
        for id in workers {
            pids.extend(watcher.change(id, |worker| {
                // One that dies of it is replaced at once.
                worker.exit_expected |= worker.pid.is_some();
                worker.pid
            }));
        }
        for pid in pids.into_iter().flatten() {
            self.act(Action::Signal { pid, signal: Signal::HUP, reach: Reach::Process, watcher: key });
        }
        self.reloaded(key, now);
    }

    fn retire_outgoing(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.watchers.get(&key) else { return };
        let (signal, timeout) = watcher.stop_policy().ask();
        let old: Vec<_> = watcher.workers().iter().filter(|(_, w)| w.retiring).map(|(id, _)| *id).collect();
        for id in old {
            self.terminate(id, signal, timeout, now);
        }
    }

    fn reloaded(&mut self, key: WatcherKey, now: Now) {
        if let Some(watcher) = self.watchers.get(&key) {
            let text = format!("{} reloaded", watcher.name());
            self.log(Level::Info, text);
        }
        self.publish(key, EventKind::Reload, now);
        self.end_operation(key, None, now);
    }

    /// A sequential reload ends the next of the old processes when the one before it is replaced.
    fn replace_next(&mut self, key: WatcherKey, now: Now) -> bool {
        let Some(watcher) = self.watchers.get_mut(&key) else { return false };
        if watcher.config.send_hup {
            self.send_hup_to_all(key, now);
            return true;
        }
        let Some(Operation { progress: Progress::Replacing { left, current }, .. }) = &watcher.running else {
            return false;
        };
        let leaving = current.is_some_and(|id| watcher.workers().contains_key(&id));
        if leaving || !watcher.is_settled() {
            return false;
        }
        let replaced_one = current.is_some();
        let mut left = left.clone();
        let present = |id: &WorkerId| watcher.workers().get(id).is_some_and(|worker| !worker.is_ending());
        let Some(id) = std::iter::from_fn(|| left.pop_front()).find(present) else {
            self.reloaded(key, now);
            return true;
        };
        // The pause between two of a sequential reload is the one between two spawns.
        if replaced_one && watcher.config.warmup_delay > 0.0 && watcher.next_spawn > now.mono {
            self.timers.set(Timer::Warmup(key), watcher.next_spawn);
            return false;
        }
        let (signal, timeout) = watcher.stop_policy().ask();
        if let Some(operation) = &mut watcher.running {
            operation.progress = Progress::Replacing { left, current: Some(id) };
        }
        self.terminate(id, signal, timeout, now);
        true
    }

    /// The running operation of a watcher is over: whoever waits for it is told.
    pub(in crate::arbiter) fn end_operation(&mut self, key: WatcherKey, failure: Option<String>, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        let Some(operation) = watcher.running.take() else { return };
        let after = watcher.lasting_pids();
        let fault = failure.map(|reason| Fault::command(format!("{}: {reason}", watcher.name())));
        if let Some(fault) = &fault {
            let text = fault.reason.clone();
            self.log(Level::Error, text);
        }
        let changes = changes(operation.kind, &operation.before, &after);
        self.notify_waiters(operation.waiters, changes, fault, now);
    }

    fn notify_waiters(&mut self, waiters: Vec<Waiter>, changes: Option<Changes>, fault: Option<Fault>, now: Now) {
        for waiter in waiters {
            match waiter {
                Waiter::Job(job) => self.job_part_done(job, changes.clone(), fault.clone(), now),
                Waiter::Rollout(id) => self.rollout_part_done(id, now),
            }
        }
    }

    /// The watcher is gone for good.
    pub(in crate::arbiter) fn forget(&mut self, key: WatcherKey, now: Now) {
        self.disarm_activation(key);
        self.drop_hooks(key, now);
        let Some(watcher) = self.watchers.remove(&key) else { return };
        let name = watcher.name().to_lowercase();
        if !self.watchers.values().any(|other| other.name().to_lowercase() == name) {
            self.act(Action::ForgetOutput(name));
        }
        self.withdraw_from_rollouts(key);
        for operation in watcher.running.into_iter().chain(watcher.waiting) {
            self.report_cancelled(operation, OperationKind::Remove, now);
        }
        for job in watcher.resizing {
            self.job_part_done(job, None, None, now);
        }
        let successors = self.watchers.range(key..).filter(|(_, other)| other.resource == watcher.resource);
        for successor in successors.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.progress(successor, now);
        }
    }

    /// A part of a job is done; with the last one the job is.
    pub(in crate::arbiter) fn job_part_done(
        &mut self,
        id: JobId,
        changes: Option<Changes>,
        fault: Option<Fault>,
        now: Now,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.left = job.left.saturating_sub(1);
        if changes.is_some() {
            job.done = changes;
        }
        if fault.is_some() && job.fault.is_none() {
            job.fault = fault;
        }
        if job.left > 0 {
            return;
        }
        match std::mem::replace(&mut job.then, Then::Dispatch) {
            Then::Start(keys) => {
                job.left = 1;
                self.start_in_order(keys, Some(id), Start::AsAtBoot);
            }
            then @ (Then::Dispatch | Then::Exit | Then::Restart) => {
                let Some(job) = self.jobs.remove(&id) else { return };
                let fault = job.fault.clone();
                if let Some(to) = job.to {
                    let body = match job.fault {
                        Some(fault) => Body::Error(fault),
                        None => Body::Ok(job.form.properties(job.done)),
                    };
                    self.reply(Reply { to, body, time: now.unix });
                }
                if let Some(whole) = job.part_of {
                    self.job_part_done(whole, None, fault, now);
                }
                if let Some(next) = job.followed_by {
                    self.job_part_done(next, None, None, now);
                }
                match then {
                    Then::Exit | Then::Restart => self.finish(now),
                    Then::Dispatch | Then::Start(_) => {}
                }
            }
        }
    }

    /// So many parts of a job are to come.
    pub(in crate::arbiter) fn expect_parts(&mut self, id: JobId, parts: u32) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.left = job.left.saturating_add(parts);
        }
    }

    pub(in crate::arbiter) fn reply(&mut self, reply: Reply) {
        if !reply.to.cast {
            self.act(Action::Reply(reply));
        }
    }

    /// Whoever waits for a number of processes is answered when it is reached, or cannot be any more.
    fn answer_resized(&mut self, key: WatcherKey, now: Now) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        let over = match watcher.state {
            WatcherState::Stopped | WatcherState::Stopping => true,
            WatcherState::Starting { .. } | WatcherState::Active => watcher.is_resized(),
        };
        if over && !watcher.resizing.is_empty() {
            for job in std::mem::take(&mut watcher.resizing) {
                self.job_part_done(job, None, None, now);
            }
        }
    }
}

impl Form {
    fn properties(&self, changes: Option<Changes>) -> Object {
        let mut object = Object::new();
        match self {
            Self::Plain => {}
            Self::Info => {
                let info = changes.map(|changes| changes.properties()).filter(|info| !info.is_empty());
                object.insert("info".into(), info.into());
            }
            Self::TopLevel => return changes.unwrap_or_default().properties(),
            Self::Count(count) => drop(object.insert("numprocesses".into(), (*count).into())),
            Self::Given(properties) => return properties.clone(),
        }
        object
    }
}

/// What an operation did, from the processes before and after it.
fn changes(kind: OperationKind, before: &[Pid], after: &[Pid]) -> Option<Changes> {
    // Both lists are sorted.
    let among = |pid: &Pid, pids: &[Pid]| pids.binary_search(pid).is_ok();
    let only = |these: &[Pid], those: &[Pid]| these.iter().filter(|pid| !among(pid, those)).copied().collect();
    let kept: Vec<Pid> = before.iter().filter(|pid| among(pid, after)).copied().collect();
    match kind {
        OperationKind::Stop | OperationKind::Remove => None,
        OperationKind::Start => Some(Changes { stopped: None, started: Some(only(after, before)), kept: Some(kept) }),
        OperationKind::Restart | OperationKind::Reload | OperationKind::ReloadSequential => {
            Some(Changes { stopped: Some(only(before, after)), started: Some(only(after, before)), kept: Some(kept) })
        }
    }
}
