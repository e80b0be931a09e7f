//! Running hooks: from the decision to run one to its end.

use crate::arbiter::action::Action;
use crate::arbiter::cx::{Cx, FollowUp};
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::ids::HookId;
use crate::arbiter::lifecycle::purpose::{Attempt, ExitInfo, HookCall, HookSubject, HookTask, Purpose, has_python};
use crate::arbiter::time::seconds;
use crate::arbiter::timers::Timer;
use crate::base::Level;
use crate::config::{Hook, HookKind, WatcherConfig};
use crate::proto::{EventKind, HookPoint};

/// Runs a hook for this purpose. `false` if the watcher has none: the caller then goes on at once.
pub(in crate::arbiter) fn run(w: &mut Watcher, purpose: Purpose, subject: HookSubject, cx: &mut Cx<'_>) -> bool {
    let task = purpose.task();
    let wanted = match task {
        HookTask::Load => has_python(&w.config),
        HookTask::Run(point) => w.config.hooks.contains_key(&point),
    };
    if !wanted || !cx.runs_hooks {
        return false;
    }
    let id = w.hooks.begin(w.key, purpose, subject);
    cx.timers.set(Timer::Hook(id), cx.mono().after(seconds(w.config.hook_timeout)));
    attempt(w, id, cx);
    true
}

/// Has the daemon run a hook, for the first time or once more.
pub(in crate::arbiter) fn attempt(w: &mut Watcher, id: HookId, cx: &mut Cx<'_>) {
    let Some(hook) = w.hooks.get_mut(id) else { return };
    hook.attempt = Attempt::Running;
    let (task, subject) = (hook.purpose.task(), hook.subject.clone());
    let host = is_python(&w.config, task).then(|| cx.hosts.assign(id));
    let (config, limit, anew) = (w.config.clone(), seconds(w.config.hook_timeout), w.hooks.is_new(task));
    cx.act(Action::RunHook(Box::new(HookCall { id, task, config, anew, subject, limit, host })));
}

fn is_python(config: &WatcherConfig, task: HookTask) -> bool {
    match task {
        HookTask::Load => true,
        HookTask::Run(point) => matches!(config.hooks.get(&point).map(Hook::kind), Some(Ok(HookKind::Python(_)))),
    }
}

/// Ends a hook that is under way; its answer is of no interest any more.
pub(in crate::arbiter) fn end(w: &mut Watcher, id: HookId, cx: &mut Cx<'_>) -> Option<Purpose> {
    let hook = w.hooks.end(id)?;
    cancel_timers(id, cx);
    if hook.attempt == Attempt::Running {
        cx.act(Action::EndHook(id));
        cx.hosts.ended(id, cx.outbox);
    }
    if let Some(complaint) = hook.complaint {
        let (name, what) = (w.name(), hook.purpose.task().name());
        cx.log(Level::Info, format!("{name}: {what}: the last try: {complaint}"));
    }
    Some(hook.purpose)
}

/// A hook is over: neither its deadline nor its next attempt is waited for.
pub(in crate::arbiter) fn cancel_timers(id: HookId, cx: &mut Cx<'_>) {
    cx.timers.cancel(Timer::Hook(id));
    cx.timers.cancel(Timer::RetryHook(id));
}

/// Ends the hooks with such a purpose.
pub(in crate::arbiter) fn cancel(w: &mut Watcher, matches: impl Fn(&Purpose) -> bool, why: &str, cx: &mut Cx<'_>) {
    for id in w.hooks.of(matches) {
        if let Some(purpose) = end(w, id, cx) {
            report(w, purpose.task(), &Err(why.to_owned()), cx);
        }
    }
}

/// Ends every hook of a watcher that is about to be forgotten: what waits for their answers goes on without them.
pub(in crate::arbiter) fn drop_all(w: &mut Watcher, cx: &mut Cx<'_>) {
    for id in w.hooks.of(|_| true) {
        match end(w, id, cx) {
            Some(Purpose::BeforeReap(exit)) => cx.publish(w, exit.event()),
            Some(purpose @ Purpose::BeforeSignal { .. }) => {
                if let Some(job) = purpose.job() {
                    cx.job_part_done(job, None, None);
                }
            }
            Some(Purpose::ExtendedStats { job, pid }) => {
                let stats = Err("the watcher is gone".to_owned());
                cx.follow_ups.push_back(FollowUp::ExtendedStats { job, pid, stats });
            }
            Some(
                Purpose::Load
                | Purpose::BeforeStart
                | Purpose::AfterStart
                | Purpose::BeforeSpawn(_)
                | Purpose::AfterSpawn(_)
                | Purpose::BeforeStop
                | Purpose::AfterStop
                | Purpose::AfterSignal
                | Purpose::AfterReap,
            )
            | None => {}
        }
    }
}

/// Publishes the event that Circus has for it, and logs what will not happen because of it.
pub(in crate::arbiter) fn report(w: &Watcher, task: HookTask, answer: &Result<bool, String>, cx: &mut Cx<'_>) {
    let name = w.name();
    let HookTask::Run(hook) = task else {
        if let Err(error) = answer {
            cx.log(Level::Error, format!("{name} is not started: {error}"));
        }
        return;
    };
    match answer {
        Ok(true) => {}
        Ok(false) => cx.log(Level::Warning, format!("{name}: hook {} returned false", hook.name())),
        Err(error) => cx.log(Level::Error, format!("{name}: hook {} failed: {error}", hook.name())),
    }
    if hook == HookPoint::ExtendedStats {
        return;
    }
    let kind = match answer {
        Ok(_) => EventKind::HookSuccess { hook },
        Err(error) => EventKind::HookFailure { hook, error: error.clone() },
    };
    cx.publish(w, kind);
}

/// Publishes an exit, after `before_reap` where there is one.
pub(in crate::arbiter) fn publish_reap(w: &mut Watcher, exit: ExitInfo, cx: &mut Cx<'_>) {
    cx.publish(w, exit.event());
    run(w, Purpose::AfterReap, exit.subject(), cx);
}

impl ExitInfo {
    fn event(&self) -> EventKind {
        let Self { pid, exit_code, oom, .. } = *self;
        EventKind::Reap { process_pid: pid.0, exit_code, oom }
    }

    pub(in crate::arbiter) fn subject(self) -> HookSubject {
        let Self { pid, wid, exit_code, time, oom: _ } = self;
        HookSubject {
            pid: Some(pid),
            wid: Some(wid),
            exit_code: Some(exit_code),
            time: Some(time),
            ..HookSubject::default()
        }
    }
}
