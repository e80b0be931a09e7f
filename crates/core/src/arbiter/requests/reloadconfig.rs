//! `reloadconfig`: the file is read again, and what lies between it and the configuration in force is carried out.
//!
//! ```text
//!   request ──▶ LoadConfig ──ConfigLoaded──▶ plan ──▶ TakeOver ──TakenOver──▶ operations of watchers ──▶ answer
//!                                │             │                    │
//!                                ▼             ▼                    ▼
//!                            file broken    dry run        a socket cannot be opened: nothing is changed
//! ```
//!
//! Until the operations are under way nothing has changed, and one request is dealt with at a time. From there on the
//! rules of operations hold: the configuration in force is the new one already, so that a request that comes now finds
//! only what differs from it, and a stop that comes now stops.
//!
//! The comparison uses the previous version of the file, without the changes of `set`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::arbiter::action::Action;
use crate::arbiter::event::SocketInfo;
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::ids::{JobId, WatcherKey};
use crate::arbiter::lifecycle::terminate;
use crate::arbiter::operate::job::{Form, Job, Then};
use crate::arbiter::operate::operation::{Operation, OperationKind, Reason, Waiter};
use crate::arbiter::operate::walk::Stops;
use crate::arbiter::requests::change::Dispatch;
use crate::arbiter::requests::pending::{Loaded, Reconfiguration};
use crate::arbiter::state::Arbiter;
use crate::arbiter::time::Now;
use crate::base::CollectOrdered as _;
use crate::base::Level;
use crate::config::options;
use crate::config::{Config, ReloadPlan, WatcherChange, WatcherConfig, WatcherStep, follow_what_runs, in_force, plan};
use crate::proto::{Body, EventKind, Fault, HookPoint, Object, Reply, ReplyTo};

/// Which operations carry out a plan.
#[derive(Debug, Default)]
struct Work {
    /// These stop.
    stop: BTreeSet<WatcherKey>,
    /// These stop and are forgotten.
    remove: BTreeSet<WatcherKey>,
    /// These start when all of those have stopped.
    start: BTreeSet<WatcherKey>,
    /// These get new processes before the old ones go.
    reload: BTreeSet<WatcherKey>,
    /// These have had this configuration, and so many options of it have changed that count at once.
    adjusted: BTreeMap<WatcherKey, (Arc<WatcherConfig>, usize)>,
    /// These get more processes, or fewer, than this many.
    scale: BTreeMap<WatcherKey, u32>,
}

impl Arbiter {
    /// The answer comes when it is known what is to be done or, where it is waited for, when it is done.
    pub(in crate::arbiter) fn reload_config(
        &mut self,
        to: &ReplyTo,
        dry_run: bool,
        prune: bool,
        waiting: bool,
    ) -> Dispatch {
        self.phase.at_work()?;
        self.reconfigurations.queue.push_back(Reconfiguration {
            to: to.clone(),
            waiting,
            dry_run,
            prune,
            loaded: None,
        });
        if self.reconfigurations.queue.len() == 1 {
            self.outbox.act(Action::LoadConfig);
        }
        Ok(None)
    }

    /// A file has changed. Requests that wait read it anyway; nothing is read once everything is being stopped.
    pub(in crate::arbiter) fn reload_config_unasked(&mut self) {
        if self.reconfigurations.queue.iter().skip(1).all(|waiting| waiting.dry_run) {
            let _ending = self.reload_config(&ReplyTo::Discard, false, false, false);
        }
    }

    /// The file was read.
    pub(in crate::arbiter) fn config_loaded(&mut self, loaded: Result<Loaded, Vec<String>>, now: Now) {
        let Some(current) = self.reconfigurations.queue.front() else { return };
        let (dry_run, prune) = (current.dry_run, current.prune);
        let old = self.configuration();
        let mut loaded = loaded;
        if let Ok((config, _)) = &mut loaded {
            follow_what_runs(config, &old.circus, &self.host);
        }
        let planned = loaded.and_then(|loaded| Ok((plan(&old, &self.with_added(&loaded.0, prune))?, loaded)));
        match planned {
            Err(problems) => self.conclude(Err(problems), now),
            Ok((plan, (_, warnings))) if dry_run => self.conclude(Ok(properties(&plan, &warnings)), now),
            // Keys are read and users are looked up anew, whatever the file says.
            Ok((plan, loaded))
                if plan.is_empty() && old.circus.curve_server_key.is_none() && old.circus.ipc_roles.is_none() =>
            {
                self.carry_out(loaded, now);
            }
            Ok((_, loaded)) => {
                let action = self.take_over(&loaded.0);
                if let Some(current) = self.reconfigurations.queue.front_mut() {
                    current.loaded = Some(loaded);
                }
                // A socket that may be closed must not be watched.
                self.update_activations(now);
                self.outbox.act(action);
            }
        }
    }

    fn take_over(&self, loaded: &Config) -> Action {
        let circus = in_force(&self.circus, &loaded.circus);
        Action::TakeOver(Box::new(Config { circus, ..loaded.clone() }))
    }

    /// What the daemon is to do for the first request, for another daemon.
    pub(in crate::arbiter) fn reconfiguration_again(&self) -> Option<Action> {
        let current = self.reconfigurations.queue.front()?;
        Some(current.loaded.as_ref().map_or(Action::LoadConfig, |(config, _)| self.take_over(config)))
    }

    /// The daemon has done its part, or nothing at all.
    pub(in crate::arbiter) fn taken_over(&mut self, result: Result<Vec<SocketInfo>, String>, now: Now) {
        let loaded = self.reconfigurations.queue.front_mut().and_then(|current| current.loaded.take());
        if let Ok(sockets) = &result {
            self.sockets.opened(sockets.clone());
        }
        match result {
            Err(problem) => self.conclude(Err(vec![problem]), now),
            Ok(_) => {
                // With the end at hand there is nothing to carry out.
                if let Some(loaded) = loaded {
                    self.carry_out(loaded, now);
                }
            }
        }
        // Watched again is what those need that wait as the new configuration says.
        self.update_activations(now);
    }

    /// The end has come first.
    pub(in crate::arbiter) fn cancel_reconfigurations(&mut self, by: &str, now: Now) {
        for current in std::mem::take(&mut self.reconfigurations.queue) {
            let fault = Fault::command(format!("reloadconfig was cancelled by {by}"));
            self.outbox.reply(Reply { to: current.to, body: Body::Error(fault), time: now.unix });
        }
    }

    /// Answers the request at hand, and turns to the next.
    fn conclude(&mut self, result: Result<Object, Vec<String>>, now: Now) {
        if let Err(problems) = &result {
            let text = format!("reloadconfig changes nothing: {}", problems.join("; "));
            self.outbox.log(Level::Error, text);
        }
        if let Some(current) = self.next_reconfiguration() {
            let body = result.map_or_else(|problems| Body::Error(Fault::server(problems)), Body::Ok);
            self.outbox.reply(Reply { to: current.to, body, time: now.unix });
        }
    }

    fn next_reconfiguration(&mut self) -> Option<Reconfiguration> {
        let done = self.reconfigurations.queue.pop_front();
        if !self.reconfigurations.queue.is_empty() {
            self.outbox.act(Action::LoadConfig);
        }
        done
    }

    /// What is in force, as files say it: of a watcher that came by `add`, what it is now.
    fn configuration(&self) -> Config {
        let shown = self.fleet.watchers.values().filter(|watcher| !watcher.removed);
        Config {
            circus: self.circus.clone(),
            watchers: shown.map(|watcher| (**watcher.baseline()).clone()).collect(),
            sockets: self.sockets.configs.clone(),
            include_dirs: Vec::new(),
        }
    }

    /// A file's configuration, with the watchers that came by `add` and are not in it: they are not the file's to remove.
    fn with_added(&self, file: &Config, prune: bool) -> Config {
        let mut config = file.clone();
        let named = |watcher: &Watcher| file.watchers.iter().any(|other| other.name == watcher.name());
        let added = self.fleet.shown().filter(|watcher| !prune && watcher.came_by_add() && !named(watcher));
        config.watchers.extend(added.map(|watcher| (**watcher.baseline()).clone()));
        config
    }

    fn carry_out(&mut self, (config, warnings): Loaded, now: Now) {
        // Once more: watchers may have come and gone meanwhile.
        let prune = self.reconfigurations.queue.front().is_some_and(|current| current.prune);
        let in_file = config.watchers.len();
        let config = self.with_added(&config, prune);
        let plan = match plan(&self.configuration(), &config) {
            Ok(plan) => plan,
            Err(problems) => return self.conclude(Err(problems), now),
        };
        let Some(current) = self.next_reconfiguration() else { return };
        self.outbox.log(Level::Info, format!("reloadconfig: {}", plan.summary()));
        for option in &plan.needs_restart {
            self.outbox.log(
                Level::Warning,
                format!("[circus] {option} has changed and takes effect when circusd is restarted"),
            );
        }
        self.circus = in_force(&self.circus, &config.circus);
        self.sockets.configs = config.sockets;
        let work = self.adopt(&plan.watchers, config.watchers, in_file);
        let answer = properties(&plan, &warnings);
        if !current.waiting {
            self.outbox.reply(Reply { to: current.to.clone(), body: Body::Ok(answer.clone()), time: now.unix });
        }
        let to = current.waiting.then_some(current.to);
        let job = self.open_job(Job { to, form: Form::Given(answer), ..Job::without_client() });
        self.follow_the_one_before(job);
        self.set_to_work(work, job, now);
    }

    /// A client that repeats a request because its answer takes long is answered when everything is done.
    fn follow_the_one_before(&mut self, job: JobId) {
        let before = self.reconfigurations.last.replace(job);
        if let Some(before) = before.and_then(|before| self.jobs.open.get_mut(&before)) {
            before.followed_by = Some(job);
            self.jobs.expect_parts(job, 1);
        }
    }

    /// Makes every watcher mean what the file says, before any of them is set to work. The first `in_file` of the
    /// configurations are the file's.
    fn adopt(&mut self, steps: &[WatcherStep], configs: Vec<WatcherConfig>, in_file: usize) -> Work {
        let keys: Vec<WatcherKey> = self.fleet.visible(self.fleet.watchers.keys().copied().collect());
        let mut configs: Vec<Option<Arc<WatcherConfig>>> = configs.into_iter().map(|c| Some(Arc::new(c))).collect();
        let mut work = Work::default();
        for step in steps {
            let key = step.old.and_then(|place| keys.get(place)).copied();
            let config = step.new.and_then(|place| configs.get_mut(place)).and_then(Option::take);
            match (key, config) {
                (Some(key), Some(config)) => {
                    let in_file = step.new.is_some_and(|place| place < in_file);
                    self.adopt_one(key, config, &step.change, in_file, &mut work);
                }
                (Some(key), None) => {
                    if let Some(name) = self.fleet.get(key).map(|watcher| watcher.name().to_owned()) {
                        self.forget_memory(&name);
                    }
                    self.fleet.mark_removed(key);
                    work.remove.insert(key);
                }
                (None, Some(config)) => {
                    let starts = config.autostart;
                    let key = self.fleet.register(config);
                    self.remind(key);
                    let starts = self.fleet.get(key).map_or(starts, |watcher| watcher.config.autostart);
                    if starts && !self.is_to_stay_stopped(key) {
                        work.start.insert(key);
                    }
                }
                (None, None) => {}
            }
        }
        work
    }

    fn adopt_one(
        &mut self,
        key: WatcherKey,
        config: Arc<WatcherConfig>,
        change: &WatcherChange,
        in_file: bool,
        work: &mut Work,
    ) {
        let stays_stopped = config.remember && self.is_remembered_as_stopped(key);
        let Some(watcher) = self.fleet.watchers.get_mut(&key) else { return };
        // Lines of the file may have moved.
        if watcher.config.declared != config.declared {
            Arc::make_mut(&mut watcher.config).declared.clone_from(&config.declared);
        }
        match change {
            WatcherChange::Kept => {
                // It came by `add` and is in the file now, or nothing happens.
                if watcher.config.dynamic != config.dynamic {
                    watcher.config = Arc::clone(&config);
                }
            }
            WatcherChange::Scaled { .. } => {
                work.scale.insert(key, watcher.config.numprocesses);
                watcher.scale(&config);
            }
            WatcherChange::Adjusted { why, scaled } => {
                let before = Arc::clone(&watcher.config);
                let mut adjusted = (*before).clone();
                if let Err(text) = options::adjust(&mut adjusted, why, &config) {
                    let text = format!("{}: {text}", watcher.name());
                    return self.outbox.log(Level::Error, text);
                }
                if scaled.is_some() {
                    adjusted.numprocesses = config.numprocesses;
                }
                watcher.hooks.renew(why.iter().filter_map(|key| HookPoint::parse(key.strip_prefix("hooks.")?)));
                watcher.config = Arc::new(adjusted);
                work.adjusted.insert(key, (before, why.len()));
            }
            WatcherChange::Replaced { gracefully: true, .. } => {
                // As long as the file wants as many as before, the number that a client has set stays.
                if watcher.baseline().numprocesses != config.numprocesses {
                    watcher.scale(&config);
                }
                work.reload.insert(key);
            }
            WatcherChange::Replaced { gracefully: false, starts, .. } => {
                // The old processes are asked to stop as was right for them.
                watcher.set_stop_policy((watcher.state != WatcherState::Stopped).then(|| watcher.stop_policy()));
                watcher.config = Arc::clone(&config);
                let starts = watcher.enabled.unwrap_or(*starts);
                work.stop.insert(key);
                if starts && !stays_stopped {
                    work.start.insert(key);
                }
            }
            WatcherChange::Added { .. } | WatcherChange::Removed { .. } => {}
        }
        if in_file {
            watcher.set_baseline(config);
        }
        self.remind(key);
    }

    fn set_to_work(&mut self, work: Work, job: JobId, now: Now) {
        // First all stop, then those that start do, in order: what one had, such as a port, another may get.
        let stopping = Job { left: 1, part_of: Some(job), ..Job::without_client() };
        let stops = self.open_job(stopping);
        self.jobs.expect_parts(job, 1);
        let stopped: BTreeSet<WatcherKey> = work.remove.union(&work.stop).copied().collect_set();
        let along = self.dependents(&stopped);
        let keys = stopped.into_iter().collect();
        self.stop_in_order(Stops { keys, removed: work.remove, along, ..Stops::default() }, Some(stops));
        // Only now: a stop takes its watcher off every list of those still to be started.
        if let Some(stops) = self.jobs.open.get_mut(&stops) {
            stops.then = Then::Start(work.start.into_iter().collect());
        }
        self.renew_processes(work.reload, job, now);
        for (key, (before, options)) in work.adjusted {
            self.with(key, now, |w, cx| terminate::timeout_changed(w, before.graceful_timeout, cx));
            for _ in 0..options {
                self.publish(key, EventKind::Updated, now);
            }
            self.jobs.expect_parts(job, 1);
            self.resized(key, before.numprocesses, job, now);
        }
        for (key, before) in work.scale {
            self.jobs.expect_parts(job, 1);
            self.resized(key, before, job, now);
        }
    }
}

impl Arbiter {
    /// New processes for these watchers, as far as they are up: side by side, unless one comes after another.
    fn renew_processes(&mut self, keys: BTreeSet<WatcherKey>, job: JobId, now: Now) {
        let is_up = |key: &WatcherKey| self.fleet.get(*key).is_some_and(Watcher::is_up);
        let keys: Vec<WatcherKey> = keys.into_iter().filter(is_up).collect();
        if keys.iter().any(|key| !self.comes_after(*key, &keys).is_empty()) {
            self.jobs.expect_parts(job, 1);
            return self.reload_in_order(OperationKind::Reload, Reason::OptionChanged, keys, Some(job));
        }
        for key in keys {
            self.jobs.expect_parts(job, 1);
            let reload = Operation::new(OperationKind::Reload, vec![Waiter::Job(job)], Reason::OptionChanged);
            self.submit_operation(key, reload, now);
        }
    }
}

fn properties(plan: &ReloadPlan, warnings: &[String]) -> Object {
    let mut properties = plan.properties();
    properties.insert("warnings".into(), warnings.into());
    properties
}
