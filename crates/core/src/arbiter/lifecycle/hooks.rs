//! Running hooks: from the wish to run one to its end, whatever follows from it.

use crate::arbiter::action::Action;
use crate::arbiter::cx::{Cx, FollowUp};
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::ids::HookId;
use crate::arbiter::lifecycle::purpose::{ExitInfo, HookCall, HookSubject, HookTask, Purpose, has_python};
use crate::arbiter::time::seconds;
use crate::arbiter::timers::Timer;
use crate::base::Level;
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
    let limit = seconds(w.config.hook_timeout);
    let anew = w.hooks.is_new(task);
    let id = w.hooks.begin(w.key, purpose);
    cx.timers.set(Timer::Hook(id), cx.mono().after(limit));
    cx.act(Action::RunHook(Box::new(HookCall { id, task, config: w.config.clone(), anew, subject, limit })));
    true
}

/// Ends a hook that is under way; its answer is of no interest any more.
pub(in crate::arbiter) fn end(w: &mut Watcher, id: HookId, cx: &mut Cx<'_>) -> Option<Purpose> {
    let purpose = w.hooks.end(id)?;
    cx.timers.cancel(Timer::Hook(id));
    cx.act(Action::EndHook(id));
    Some(purpose)
}

/// Ends the hooks with such a purpose.
pub(in crate::arbiter) fn cancel(w: &mut Watcher, whose: impl Fn(&Purpose) -> bool, why: &str, cx: &mut Cx<'_>) {
    for id in w.hooks.of(whose) {
        if let Some(purpose) = end(w, id, cx) {
            report(w, purpose.task(), &Err(why.to_owned()), cx);
        }
    }
}

/// Ends every hook of a watcher that is about to be forgotten: what waits for their answers goes on without them.
pub(in crate::arbiter) fn drop_all(w: &mut Watcher, cx: &mut Cx<'_>) {
    for id in w.hooks.of(|_| true) {
        match end(w, id, cx) {
            Some(Purpose::BeforeReap(ExitInfo { pid, exit_code, .. })) => {
                cx.publish(w, EventKind::Reap { process_pid: pid.0, exit_code });
            }
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
        Ok(false) => cx.log(Level::Warning, format!("{name}: hook {} said no", hook.name())),
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
    let ExitInfo { pid, exit_code, .. } = exit;
    cx.publish(w, EventKind::Reap { process_pid: pid.0, exit_code });
    run(w, Purpose::AfterReap, exit.subject(), cx);
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
