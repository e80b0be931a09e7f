//! Requests that change something. Requests that only read are in `query` and `stats`.

use std::sync::Arc;

use serde_json::Value;

use crate::arbiter::action::Action;
use crate::arbiter::cx::Cx;
use crate::arbiter::fleet::vitals::Phase;
use crate::arbiter::fleet::watcher::{Resizing, Watcher, WatcherState};
use crate::arbiter::ids::{JobId, WatcherKey, WorkerId};
use crate::arbiter::lifecycle::purpose::SignalTarget;
use crate::arbiter::lifecycle::{signals, stop, terminate};
use crate::arbiter::operate::job::{Form, Job, Then};
use crate::arbiter::operate::operation::{Operation, OperationKind, Reason, Waiter};
use crate::arbiter::operate::walk::{Stops, Which};
use crate::arbiter::state::Arbiter;
use crate::arbiter::time::{Now, seconds};
use crate::arbiter::timers::Timer;
use crate::base::Pid;
use crate::config::options::{self, Effect};
use crate::config::{Needs, WatcherConfig, WatcherKind, order_fault};
use crate::proto::{Body, ErrNo, EventKind, Fault, HookPoint, Object, Reply, ReplyTo, Request, Selection, Signal};

/// What a request comes to: an answer now, or one that its job gives later.
pub(in crate::arbiter) type Dispatch = Result<Option<Object>, Fault>;

/// More than the kernel has pids for: PID_MAX_LIMIT of proc(5).
const MOST_PROCESSES: u32 = 4_194_304;

/// The hooks that a `set` names.
fn changed_hooks(changes: &Object) -> Vec<HookPoint> {
    let all = changes.get("hooks").and_then(Value::as_object).into_iter().flat_map(Object::keys);
    let single = changes.keys().filter_map(|key| key.strip_prefix("hooks."));
    all.map(String::as_str).chain(single).filter_map(HookPoint::parse).collect()
}

fn too_many() -> Fault {
    Fault::message(format!("'numprocesses' cannot be more than {MOST_PROCESSES}"))
}

/// Refuses a number of workers that `scale` would not give.
fn within_bounds(config: &WatcherConfig, number: u32) -> Result<(), Fault> {
    match config.scaling.bounds() {
        Some(bounds) if !bounds.contains(&number) => Err(Fault::command(format!(
            "{}: numprocesses has to be from {} to {} (scale_min, scale_max)",
            config.name,
            bounds.start(),
            bounds.end()
        ))),
        _ => Ok(()),
    }
}

fn ok() -> Dispatch {
    Ok(Some(Object::new()))
}

impl Arbiter {
    pub(in crate::arbiter) fn handle_request(&mut self, to: ReplyTo, request: Request, now: Now) {
        let answer = match request {
            Request::Add { name, cmd, args, options, start, waiting } => {
                self.add(&to, name, cmd, args, &options, start, waiting, now)
            }
            Request::Decr { name, nb, waiting } => self.resize(&to, &name, nb.saturating_neg(), waiting, now),
            Request::DStats => self.daemon_stats(&to, now),
            Request::Get { name, keys, env } => self.get(&name, &keys, env),
            Request::Enable { selection, enabled, now: now_too, waiting } => {
                self.enable(&to, &selection, (enabled, now_too, waiting), now)
            }
            Request::GlobalOptions { option } => self.global_options(option.as_deref()),
            Request::Incr { name, nb, waiting } => self.resize(&to, &name, nb, waiting, now),
            Request::Kill { name, pid, signum, graceful_timeout, waiting } => {
                self.kill(&to, &name, pid, signum, graceful_timeout, waiting, now)
            }
            Request::List { name } => self.list(name.as_deref()),
            Request::ListSockets => self.list_sockets(),
            Request::NumProcesses { name } => self.num_processes(name),
            Request::NumWatchers => self.num_watchers(),
            Request::Options { name, all, env } => self.options(&name, all, env),
            Request::Quit { timeout, waiting } => {
                let waiter = waiting.then(|| to.clone());
                self.quit(waiter, now);
                self.limit_end(timeout, now);
                if waiting { Ok(None) } else { ok() }
            }
            Request::Reload { name, graceful, sequential, waiting } => {
                self.reload(&to, name.as_deref(), graceful, sequential, waiting, now)
            }
            Request::ReloadConfig { dry_run, prune, waiting } => self.reload_config(&to, dry_run, prune, waiting),
            Request::ReopenLogs => {
                self.outbox.act(Action::ReopenOutput);
                ok()
            }
            Request::Restart { selection: None, waiting } => self.phase.at_work().and_then(|()| {
                self.restart_daemon(waiting.then(|| to.clone()), now);
                if waiting { Ok(None) } else { ok() }
            }),
            Request::Restart { selection: Some(selection), waiting } => self.restart(&to, &selection, waiting, now),
            Request::Rm { name, nostop, waiting } => self.remove(&to, &name, nostop, waiting, now),
            Request::Run { name, waiting } => self.run(&to, &name, waiting, now),
            Request::Set { name, options, waiting } => self.set(&to, &name, &options, waiting, now),
            Request::Signal { name, signum, pid, childpid, children, recursive } => {
                let target = match (childpid, children, recursive) {
                    (Some(child), _, _) => SignalTarget::Child(child),
                    (None, true, _) => SignalTarget::Children,
                    (None, false, true) => SignalTarget::Recursive,
                    (None, false, false) => SignalTarget::Process,
                };
                self.signal_request(&to, &name, signum, pid, target, now)
            }
            Request::Start { selection, waiting } => self.start(&to, selection.as_ref(), waiting, now),
            Request::Stats { name, process, extended } => self.stats(&to, name, process, extended, now),
            Request::Status { name, verbose: false } => self.status(name.as_deref()),
            Request::Status { name, verbose: true } => self.verbose_status(name.as_deref(), now),
            Request::Stop { selection, waiting } => self.stop(&to, selection.as_ref(), waiting, now),
            Request::Tail { name, stream, range } => self.tail(&to, name, stream, range),
            Request::Why { name } => self.why(&to, &name, now),
            Request::Upgrade { binary } => self.upgrade(&to, binary),
        };
        match answer {
            Ok(None) => {}
            Ok(Some(properties)) => self.outbox.reply(Reply { to, body: Body::Ok(properties), time: now.unix }),
            Err(fault) => self.outbox.reply(Reply { to, body: Body::Error(fault), time: now.unix }),
        }
    }

    /// A job of `left` parts, with the answer to give now if the client does not wait.
    pub(in crate::arbiter) fn job(
        &mut self,
        to: &ReplyTo,
        left: usize,
        form: Form,
        then: Then,
        waiting: bool,
    ) -> (JobId, Dispatch) {
        let to = waiting.then(|| to.clone());
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        let id = self.open_job(Job { to, left, form, then, ..Job::without_client() });
        (id, if waiting { Ok(None) } else { ok() })
    }

    /// One operation of one watcher on behalf of a client.
    fn operate(
        &mut self,
        to: &ReplyTo,
        key: WatcherKey,
        kind: OperationKind,
        form: Form,
        waiting: bool,
        now: Now,
    ) -> Dispatch {
        if kind.starts()
            && let Some(fault) = self.refuse_hopeless(key, now)
        {
            return Err(fault);
        }
        let (job, answer) = self.job(to, 1, form, Then::Answer, waiting);
        if matches!(kind, OperationKind::Stop | OperationKind::Restart | OperationKind::Remove) {
            self.with_dependents(key, kind, job, now);
        } else {
            self.submit(key, kind, vec![Waiter::Job(job)], now);
        }
        answer
    }

    pub(in crate::arbiter) fn start(
        &mut self,
        to: &ReplyTo,
        selection: Option<&Selection>,
        waiting: bool,
        now: Now,
    ) -> Dispatch {
        self.phase.at_work()?;
        let keys = match selection {
            None => self.fleet.by_priority(),
            Some(selection) => self.select(selection)?,
        };
        if let (Some(_), [key]) = (selection, keys.as_slice()) {
            self.remember_stopped(&keys, false);
            return self.operate(to, *key, OperationKind::Start, Form::Info, waiting, now);
        }
        let (job, answer) = self.job(to, 1, Form::Plain, Then::Answer, waiting);
        let keys = self.fleet.autostarting(keys);
        self.remember_stopped(&keys, false);
        let which = if selection.is_some() { Which::All } else { Which::AsAtBoot };
        self.start_in_order(keys, Some(job), which);
        answer
    }

    /// Has a watcher that is no service run now. While a run is under way, that is the one.
    fn run(&mut self, to: &ReplyTo, name: &str, waiting: bool, now: Now) -> Dispatch {
        self.phase.at_work()?;
        let watcher = self.fleet.named(name)?;
        if watcher.is_service() {
            let text = format!("{} is a service (kind), which does not run once: use start", watcher.name());
            return Err(Fault::command(text));
        }
        let (key, kind) = (watcher.key, watcher.config.kind);
        if kind == WatcherKind::Cron {
            // Only its schedule waits for others.
            let (job, answer) = self.job(to, 1, Form::Info, Then::Answer, waiting);
            self.submit(key, OperationKind::Run, vec![Waiter::Job(job)], now);
            return answer;
        }
        self.operate(to, key, OperationKind::Run, Form::Info, waiting, now)
    }

    pub(in crate::arbiter) fn stop(
        &mut self,
        to: &ReplyTo,
        selection: Option<&Selection>,
        waiting: bool,
        now: Now,
    ) -> Dispatch {
        self.phase.may_stop()?;
        let keys = match selection {
            None => self.fleet.keys(),
            Some(selection) => self.select(selection)?,
        };
        self.remember_stopped(&keys, true);
        if let (Some(_), [key]) = (selection, keys.as_slice()) {
            return self.operate(to, *key, OperationKind::Stop, Form::Info, waiting, now);
        }
        self.stop_all(to, keys, Then::Answer, waiting)
    }

    fn restart(&mut self, to: &ReplyTo, selection: &Selection, waiting: bool, now: Now) -> Dispatch {
        self.phase.at_work()?;
        let keys = self.select(selection)?;
        self.remember_stopped(&keys, false);
        if let [key] = keys.as_slice() {
            return self.operate(to, *key, OperationKind::Restart, Form::Info, waiting, now);
        }
        // Several are all stopped before the first starts again, in order of priority.
        let again = self.fleet.autostarting(keys.clone());
        self.stop_all(to, keys, Then::Start(again), waiting)
    }

    /// Stops these watchers in order.
    fn stop_all(&mut self, to: &ReplyTo, keys: Vec<WatcherKey>, then: Then, waiting: bool) -> Dispatch {
        let (job, answer) = self.job(to, 1, Form::Plain, Then::Answer, waiting);
        let along = self.dependents(&keys.iter().copied().collect());
        self.stop_in_order(Stops { keys, along, ..Stops::default() }, Some(job));
        // Only now: a stop takes its watchers off every list of those still to be started.
        if let Some(job) = self.jobs.open.get_mut(&job) {
            job.then = then;
        }
        answer
    }

    fn reload(
        &mut self,
        to: &ReplyTo,
        name: Option<&str>,
        graceful: bool,
        sequential: bool,
        waiting: bool,
        now: Now,
    ) -> Dispatch {
        self.phase.at_work()?;
        let kind = match (graceful, sequential) {
            (false, _) => OperationKind::Restart,
            (true, true) => OperationKind::ReloadSequential,
            (true, false) => OperationKind::Reload,
        };
        if let Some(name) = name {
            let key = self.fleet.find(name)?;
            self.remember_stopped(&[key], false);
            return self.operate(to, key, kind, Form::Info, waiting, now);
        }
        let (job, answer) = self.job(to, 1, Form::Plain, Then::Answer, waiting);
        let keys = self.fleet.wanted(self.fleet.by_priority());
        self.reload_in_order(kind, Reason::Requested, keys, Some(job));
        answer
    }

    /// SIGHUP: one watcher after the other reloads.
    pub(in crate::arbiter) fn reload_all(&mut self) {
        if self.phase.is_running() {
            let keys = self.fleet.wanted(self.fleet.by_priority());
            self.reload_in_order(OperationKind::Reload, Reason::Requested, keys, None);
        }
    }

    /// Refuses a configuration with which its watcher could never start: see `after` and `requires`.
    fn order_allows(&self, config: &WatcherConfig) -> Result<(), Fault> {
        if Needs::of(config).is_empty() {
            return Ok(());
        }
        let others = self.fleet.shown().filter(|other| !other.name().eq_ignore_ascii_case(&config.name));
        let all: Vec<Needs<'_>> = others.map(|other| Needs::of(&other.config)).chain([Needs::of(config)]).collect();
        match order_fault(Needs::of(config), &all) {
            Some((option, fault)) => Err(Fault::message(format!("{option}: {fault}"))),
            None => Ok(()),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the properties of the command")]
    fn add(
        &mut self,
        to: &ReplyTo,
        name: String,
        cmd: String,
        args: Option<Value>,
        options: &Object,
        start: bool,
        waiting: bool,
        now: Now,
    ) -> Dispatch {
        self.phase.at_work()?;
        if name.trim().is_empty() {
            return Err(Fault::message("message invalid 'name' is empty"));
        }
        let config = options::from_add(&name, &cmd, args.as_ref(), options, &self.host)?;
        if self.fleet.find(&name).is_ok() {
            return Err(Fault::command(format!("{name:?} already exist").replace('"', "'")));
        }
        self.order_allows(&config)?;
        self.has_room_for_a_watcher()?;
        if start {
            self.has_room(None, &config, config.numprocesses)?;
        }
        let key = self.fleet.register_dynamic(config);
        self.publish(key, EventKind::Add, now);
        if !start {
            self.update_activation(key, now);
            return ok();
        }
        self.operate(to, key, OperationKind::Start, Form::TopLevel, waiting, now)
    }

    fn remove(&mut self, to: &ReplyTo, name: &str, nostop: bool, waiting: bool, now: Now) -> Dispatch {
        self.phase.at_work()?;
        let key = self.fleet.find(name)?;
        self.publish(key, EventKind::Remove, now);
        self.forget_memory(name);
        self.fleet.mark_removed(key);
        // It may have to wait until others have stopped, and no connection starts it meanwhile.
        self.update_activation(key, now);
        if !nostop {
            return self.operate(to, key, OperationKind::Remove, Form::Plain, waiting, now);
        }
        self.with(key, now, release_workers);
        self.forget(key, now);
        self.outbox.act(Action::CloseStreams(key));
        ok()
    }

    fn resize(&mut self, to: &ReplyTo, name: &str, by: i64, waiting: bool, now: Now) -> Dispatch {
        self.phase.at_work()?;
        let watcher = self.fleet.named_mut(name)?;
        let key = watcher.key;
        if !watcher.is_service() {
            let (name, kind) = (watcher.name(), watcher.config.kind.name());
            return Err(Fault::command(format!("{name} runs one process (kind = {kind})")));
        }
        if watcher.config.singleton {
            let mut answer = Object::new();
            answer.insert("numprocesses".into(), watcher.config.numprocesses.into());
            answer.insert("singleton".into(), true.into());
            return Ok(Some(answer));
        }
        let count = i64::from(watcher.config.numprocesses).saturating_add(by).clamp(0, i64::from(u32::MAX));
        let count = u32::try_from(count).unwrap_or(0);
        if count > MOST_PROCESSES {
            return Err(too_many());
        }
        if let Some(text) = watcher.config.lacks_slots(count).filter(|_| by > 0) {
            return Err(Fault::command(format!("{}: {text}", watcher.name())));
        }
        within_bounds(&watcher.config, count)?;
        if by > 0 {
            let config = watcher.config.clone();
            self.has_room(Some(key), &config, count)?;
        }
        let watcher = self.fleet.named_mut(name)?;
        watcher.scaler.low = None;
        let before = std::mem::replace(&mut Arc::make_mut(&mut watcher.config).numprocesses, count);
        self.remember_number(key);
        self.wait_for_size(to, key, before, Form::Count(count), waiting, now)
    }

    /// Answers when the number of processes is what it should be; it was `before`.
    fn wait_for_size(
        &mut self,
        to: &ReplyTo,
        key: WatcherKey,
        before: u32,
        form: Form,
        waiting: bool,
        now: Now,
    ) -> Dispatch {
        let (job, answer) = self.job(to, 1, form, Then::Answer, waiting);
        self.resized(key, before, job, now);
        answer
    }

    /// The number of processes has changed. A watcher that has stopped because it wanted none starts.
    pub(in crate::arbiter) fn resized(&mut self, key: WatcherKey, before: u32, job: JobId, now: Now) {
        if let Some(w) = self.fleet.watchers.get_mut(&key)
            && w.config.numprocesses != before
        {
            // That fewer would have done was said of another number.
            w.scaler.low = None;
        }
        let starts = self.fleet.get(key).is_some_and(|w| {
            let idle = w.state == WatcherState::Stopped && w.running.is_none() && w.waiting.is_empty();
            idle && w.wanted && before == 0 && w.config.numprocesses > 0 && !w.config.on_demand
        });
        if starts {
            return self.submit(key, OperationKind::Start, vec![Waiter::Job(job)], now);
        }
        self.with_and_advance(key, now, |w, _| {
            let mark = (w.config.numprocesses > before).then(|| w.failures.mark());
            w.resizing.push(Resizing { job, mark });
        });
    }

    #[expect(clippy::too_many_arguments, reason = "the properties of the command")]
    fn kill(
        &mut self,
        to: &ReplyTo,
        name: &str,
        pid: Option<i64>,
        signum: Option<Signal>,
        graceful_timeout: Option<f64>,
        waiting: bool,
        now: Now,
    ) -> Dispatch {
        let watcher = self.fleet.named(name)?;
        let key = watcher.key;
        let usual = watcher.stop_policy();
        let as_usual = signum.is_none() && graceful_timeout.is_none();
        let signal = signum.unwrap_or(usual.signal);
        if !signal.exists() {
            return Err(Fault::new(ErrNo::Os, "[Errno 22] Invalid argument"));
        }
        let timeout = seconds(graceful_timeout.unwrap_or(usual.timeout));
        let meant = |known: Option<Pid>| known.is_some_and(|known| pid.is_none_or(|pid| i64::from(known.0) == pid));
        let ids: Vec<WorkerId> = watcher.workers().iter().filter(|(_, w)| meant(w.pid)).map(|(id, _)| *id).collect();
        let (job, answer) = self.job(to, ids.len(), Form::Plain, Then::Answer, waiting);
        self.with_and_advance(key, now, |w, cx| {
            for id in ids {
                w.change(id, |worker| worker.awaited_by.push(job));
                if as_usual {
                    terminate::by_policy(w, id, cx);
                } else {
                    terminate::with_signal(w, id, signal, timeout, cx);
                }
            }
        });
        answer
    }

    fn set(&mut self, to: &ReplyTo, name: &str, changes: &Object, waiting: bool, now: Now) -> Dispatch {
        self.phase.may_stop()?;
        let at_work = self.phase.at_work();
        let unknown = options::validate(changes)?;
        let watcher = self.fleet.named_mut(name)?;
        let key = watcher.key;
        if let Some(unknown) = unknown.iter().find(|unknown| !watcher.config.freeform.contains_key(*unknown)) {
            return Err(Fault::message(format!("unknown key '{unknown}'")));
        }
        // All or nothing: a refused option leaves the watcher as it was.
        let mut config = (*watcher.config).clone();
        let effects = options::apply(&mut config, changes, &self.host)?;
        if config.kind != watcher.config.kind {
            let text = "'kind' cannot be set: change it in the file and run reloadconfig, or rm and add the watcher";
            return Err(Fault::command(text));
        }
        if (&config.after, &config.requires) != (&watcher.config.after, &watcher.config.requires) {
            self.order_allows(&config)?;
        }
        if config.numprocesses > self.fleet.named(name)?.config.numprocesses {
            self.has_room(Some(key), &config, config.numprocesses)?;
        }
        let watcher = self.fleet.named_mut(name)?;
        // While everything is being stopped only what concerns no process to come can be set, graceful_timeout above all.
        if effects.iter().any(|effect| *effect != Effect::Nothing) {
            at_work?;
        }
        if changes.contains_key("stop_signal") && !config.stop_signal.exists() {
            return Err(Fault::message("'stop_signal' isn't a signal"));
        }
        if config.numprocesses > MOST_PROCESSES {
            return Err(too_many());
        }
        if changes.contains_key("numprocesses") {
            within_bounds(&config, config.numprocesses)?;
            watcher.scaler.low = None;
        }
        watcher.hooks.renew(changed_hooks(changes));
        let before = std::mem::replace(&mut watcher.config, Arc::new(config));
        let config = watcher.config.clone();
        if before.numprocesses != config.numprocesses {
            self.remember_number(key);
        }
        let watcher = self.fleet.named(name)?;
        // A watcher that starts later starts with what is set now.
        let up = watcher.is_up();
        self.with(key, now, |w, cx| terminate::timeout_changed(w, before.graceful_timeout, cx));
        for _ in &effects {
            self.publish(key, EventKind::Updated, now);
        }
        if effects.contains(&Effect::Stream) {
            self.outbox.act(Action::UpdateStreams(key, config));
        }
        if effects.contains(&Effect::Reload) && up {
            let (job, answer) = self.job(to, 1, Form::Plain, Then::Answer, waiting);
            let reload = Operation::new(OperationKind::Reload, vec![Waiter::Job(job)], Reason::OptionChanged);
            self.submit_operation(key, reload, now);
            return answer;
        }
        self.wait_for_size(to, key, before.numprocesses, Form::Plain, waiting, now)
    }

    fn signal_request(
        &mut self,
        to: &ReplyTo,
        name: &str,
        signal: Signal,
        pid: Option<i64>,
        target: SignalTarget,
        now: Now,
    ) -> Dispatch {
        if matches!(target, SignalTarget::Child(_)) && pid.is_none() {
            return Err(Fault::command("cannot specify childpid without pid"));
        }
        let watcher = self.fleet.named(name)?;
        let meant = |known: Pid| pid.is_none_or(|pid| i64::from(known.0) == pid);
        let ids: Vec<(WorkerId, Pid)> = watcher
            .workers()
            .iter()
            .filter(|(_, worker)| worker.is_up())
            .filter_map(|(id, worker)| Some((*id, worker.pid?)))
            .filter(|(_, pid)| meant(*pid))
            .collect();
        match (pid, target) {
            (Some(pid), SignalTarget::Children | SignalTarget::Child(_)) if ids.is_empty() => {
                return Err(Fault::command(format!("process no longer exists (pid={pid})")));
            }
            _ if ids.is_empty() => return ok(),
            _ => {}
        }
        let asks = watcher.config.hooks.contains_key(&HookPoint::BeforeSignal)
            || watcher.config.hooks.contains_key(&HookPoint::AfterSignal);
        if asks && matches!(target, SignalTarget::Process | SignalTarget::Recursive) {
            return self.signal_with_hooks(to, name, ids, signal, target, now);
        }
        let (job, answer) = self.job(to, 1, Form::Plain, Then::Answer, true);
        let pids = ids.into_iter().map(|(_, pid)| pid).collect();
        self.outbox.signal_requests.insert(job);
        self.outbox.act(Action::SignalRequest { job, pids, signal, target });
        answer
    }

    /// A `signal` request where each process has a hook to be asked: each is a job of its own.
    fn signal_with_hooks(
        &mut self,
        to: &ReplyTo,
        name: &str,
        ids: Vec<(WorkerId, Pid)>,
        signal: Signal,
        target: SignalTarget,
        now: Now,
    ) -> Dispatch {
        let key = self.fleet.find(name)?;
        let (whole, answer) = self.job(to, ids.len(), Form::Plain, Then::Answer, true);
        for (id, pid) in ids {
            let job = self.open_job(Job { left: 1, part_of: Some(whole), ..Job::without_client() });
            self.with(key, now, |w, cx| signals::ask_for_request(w, id, pid, signal, (job, target), cx));
        }
        answer
    }

    /// The watchers that a selection means, the greatest priority first.
    pub(in crate::arbiter) fn select(&self, selection: &Selection) -> Result<Vec<WatcherKey>, Fault> {
        if selection.method != crate::proto::MatchMethod::Regex
            && let Ok(key) = self.fleet.find(&selection.name)
        {
            return Ok(vec![key]);
        }
        let matches = crate::commands::matcher(selection)?;
        let mut keys = self.fleet.by_priority();
        // Of two watchers with the same name only the later one is addressable.
        keys.retain(|key| {
            self.fleet.get(*key).is_some_and(|watcher| {
                let name = watcher.name().to_lowercase();
                self.fleet.find(&name).is_ok_and(|addressable| addressable == *key) && matches(&name)
            })
        });
        if keys.is_empty() {
            return Err(Fault::message(format!("program {} not found", selection.name)));
        }
        Ok(keys)
    }
}

/// The processes go on without circusd: their exits are of no interest any more.
fn release_workers(w: &mut Watcher, cx: &mut Cx<'_>) {
    for (id, worker) in w.workers() {
        if let Some(pid) = worker.pid {
            cx.pids.release(pid);
        }
        cx.timers.cancel(Timer::Kill(*id));
        cx.timers.cancel(Timer::Expire(*id));
        cx.timers.cancel(Timer::Ready(*id));
        cx.timers.cancel(Timer::Probe(*id));
        if let Some(Phase::Trying(probe)) = worker.vitals.as_ref().map(|vitals| vitals.phase) {
            cx.act(Action::EndProbe(probe));
        }
        for job in &worker.awaited_by {
            cx.job_part_done(*job, None, None);
        }
    }
    stop::clear_slots(w, cx);
}
