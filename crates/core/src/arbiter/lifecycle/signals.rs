//! Signals that hooks are asked about: `before_signal` and `after_signal`.

use std::time::Duration;

use crate::arbiter::action::{Action, Level, SignalTarget};
use crate::arbiter::core::Arbiter;
use crate::arbiter::fleet::worker::WorkerState;
use crate::arbiter::ids::{JobId, Pid, WatcherKey, Wid, WorkerId};
use crate::arbiter::lifecycle::purpose::{HookSubject, Purpose, Send};
use crate::arbiter::operate::job::{Form, Job, Then};
use crate::arbiter::requests::change::Dispatch;
use crate::arbiter::time::{Now, seconds};
use crate::arbiter::timers::Timer;
use crate::proto::{EventKind, ReplyTo, Signal};

/// A process as a hook is told of it.
type Named = (Pid, Wid);

fn about((pid, wid): Named, signal: Signal) -> HookSubject {
    HookSubject { pid: Some(pid), wid: Some(wid), signum: Some(signal), ..HookSubject::default() }
}

impl Arbiter {
    /// Asks whether a worker may be sent a signal. `false` if there is nobody to be asked.
    pub(in crate::arbiter) fn ask_to_signal(
        &mut self,
        id: WorkerId,
        worker: Named,
        signal: Signal,
        then: Send,
        now: Now,
    ) -> bool {
        let purpose = Purpose::BeforeSignal { worker: id, pid: worker.0, signal, then };
        self.run_hook(id.watcher, purpose, about(worker, signal), now)
    }

    /// A worker was sent a signal, or was not after all.
    pub(in crate::arbiter) fn signal_sent(&mut self, key: WatcherKey, worker: Named, signal: Signal, now: Now) {
        self.run_hook(key, Purpose::AfterSignal, about(worker, signal), now);
    }

    pub(in crate::arbiter) fn hook_timeout(&self, key: WatcherKey) -> Duration {
        self.watchers.get(&key).map_or(Duration::ZERO, |watcher| seconds(watcher.config.hook_timeout))
    }

    /// `before_signal` has answered. SIGKILL it cannot keep back.
    pub(in crate::arbiter) fn may_signal(
        &mut self,
        id: WorkerId,
        pid: Pid,
        signal: Signal,
        then: &Send,
        yes: bool,
        now: Now,
    ) {
        let allowed = yes || signal == Signal::KILL;
        let known = self.watchers.get(&id.watcher).and_then(|watcher| watcher.workers().get(&id));
        let wid = known.map(|worker| worker.wid);
        if let (false, Some(_)) = (allowed, wid) {
            self.log(Level::Debug, format!("{signal} is not sent to {}", pid.0));
        }
        match then {
            Send::Stop { timeout } => {
                if wid.is_some() {
                    self.stop_signal_decided(id, pid, signal, *timeout, allowed, now);
                }
            }
            Send::Request { job, target } => {
                let job = *job;
                match (allowed, target, wid) {
                    (true, target, Some(_)) => self.request_signal(job, pid, signal, *target),
                    (false, SignalTarget::Recursive, Some(_)) => {
                        self.request_signal(job, pid, signal, SignalTarget::Descendants);
                    }
                    _ => self.job_part_done(job, None, None, now),
                }
            }
        }
        if let Some(wid) = wid {
            self.signal_sent(id.watcher, (pid, wid), signal, now);
        }
    }

    /// As in Circus, a signal that its hook keeps back is published like one that was sent.
    fn stop_signal_decided(
        &mut self,
        id: WorkerId,
        pid: Pid,
        signal: Signal,
        timeout: Duration,
        allowed: bool,
        now: Now,
    ) {
        let due = if signal == Signal::KILL {
            now.mono.after(crate::arbiter::lifecycle::workers::KILL_INTERVAL)
        } else {
            now.mono.after(timeout)
        };
        let Some(watcher) = self.watchers.get_mut(&id.watcher) else { return };
        let kill_at = watcher.change(id, |worker| {
            let WorkerState::Terminating { signal: told, kill_at } = &mut worker.state else { return None };
            if *told == signal {
                *kill_at = due.min(*kill_at);
            }
            Some(*kill_at)
        });
        if let Some(kill_at) = kill_at.flatten() {
            self.timers.set(Timer::Kill(id), kill_at);
        }
        self.send_stop(id.watcher, pid, signal, allowed);
        self.publish(id.watcher, EventKind::Kill { process_pid: pid.0 }, now);
    }

    fn request_signal(&mut self, job: JobId, pid: Pid, signal: Signal, target: SignalTarget) {
        self.signalling.insert(job);
        self.act(Action::SignalRequest { job, pids: vec![pid], signal, target });
    }

    /// A `signal` request where each process has a hook to be asked: each is a job of its own.
    pub(in crate::arbiter) fn signal_with_hooks(
        &mut self,
        to: &ReplyTo,
        ids: Vec<(WorkerId, Pid)>,
        signal: Signal,
        target: SignalTarget,
        now: Now,
    ) -> Dispatch {
        let (whole, answer) = self.job(to, ids.len(), Form::Plain, Then::Dispatch, true);
        for (id, pid) in ids {
            let worker = self.watchers.get(&id.watcher).and_then(|watcher| watcher.workers().get(&id));
            let Some(wid) = worker.map(|worker| worker.wid) else {
                self.job_part_done(whole, None, None, now);
                continue;
            };
            let job = self.open_job(Job { left: 1, part_of: Some(whole), ..Job::for_nobody() });
            if !self.ask_to_signal(id, (pid, wid), signal, Send::Request { job, target }, now) {
                self.request_signal(job, pid, signal, target);
                self.signal_sent(id.watcher, (pid, wid), signal, now);
            }
        }
        answer
    }
}
