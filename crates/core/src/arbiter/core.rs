//! The arbiter: its state, and the five calls that drive it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::arbiter::action::{Action, Launch};
use crate::arbiter::cx::{Cx, FollowUp};
use crate::arbiter::event::{Event, Exit, Intent, SocketInfo};
use crate::arbiter::fleet::memory::Memories;
use crate::arbiter::fleet::pools::Pools;
use crate::arbiter::fleet::registry::Fleet;
use crate::arbiter::fleet::watcher::{Watcher, WatcherState};
use crate::arbiter::fleet::worker::{Worker, WorkerState};
use crate::arbiter::ids::{WatcherKey, Wid, WorkerId};
use crate::arbiter::lifecycle::purpose::Purpose;
use crate::arbiter::lifecycle::python_hosts::PythonHosts;
use crate::arbiter::lifecycle::sink_commands::{SinkCommands, SinkCx};
use crate::arbiter::lifecycle::{answers, checks, drain, exit, hooks, launch, notified, probes, readiness, terminate};
use crate::arbiter::operate::advance::advance;
use crate::arbiter::operate::job::{Form, Jobs, Then};
use crate::arbiter::operate::operation::{Operation, OperationKind, Reason, Waiter};
use crate::arbiter::operate::phase::Phase;
use crate::arbiter::operate::walk::{Schedule, Which};
use crate::arbiter::operate::{queue, reload, stuck};
use crate::arbiter::outbox::{Outbox, Pids};
use crate::arbiter::requests::pending::{PendingStats, Reconfigurations};
use crate::arbiter::rng::Rng;
use crate::arbiter::state::{Arbiter, Sockets};
use crate::arbiter::time::{Mono, Now};
use crate::arbiter::time_zones::TimeZones;
use crate::arbiter::timers::{Timer, Timers};
use crate::base::CollectOrdered as _;
use crate::base::{Level, Pid, errno};
use crate::config::{Config, Host, KillMode, Orphans, SlotPool, WatcherConfig};
use crate::proto::{EventKind, Fault, SpawnError, Stage};

impl Arbiter {
    /// An arbiter for this configuration. It asks for its sockets first; the fleet starts when they are open.
    pub fn new(config: Config, host: Host, seed: u64) -> Self {
        let mut arbiter = Self {
            circus: config.circus,
            host,
            phase: Phase::Opening,
            fleet: Fleet::default(),
            pids: Pids::default(),
            hosts: PythonHosts::default(),
            sink_commands: SinkCommands::default(),
            sockets: Sockets { configs: config.sockets.clone(), ..Sockets::default() },
            timers: Timers::default(),
            rng: Rng::new(seed),
            jobs: Jobs::default(),
            schedule: Schedule::default(),
            outbox: Outbox::default(),
            upgrade: None,
            essential_end: None,
            follow_ups: VecDeque::new(),
            clock_distance: None,
            watches_clock: false,
            time_zones: TimeZones::default(),
            reconfigurations: Reconfigurations::default(),
            pending_stats: PendingStats::default(),
            tails: BTreeMap::new(),
            restarters: Vec::new(),
            memories: Memories::new(),
            failed_reloads: Vec::new(),
            pools: Pools::default(),
            whys: Vec::new(),
        };
        for watcher in config.watchers {
            arbiter.fleet.register(Arc::new(watcher));
        }
        arbiter.outbox.act(Action::OpenSockets(config.sockets));
        arbiter
    }

    /// Takes note of something that happened.
    pub fn handle_event(&mut self, event: Event, now: Now) {
        self.note_clock(now);
        match event {
            Event::SocketsOpened(sockets) => self.sockets_opened(sockets),
            Event::Request(to, request) => self.handle_request(*to, request, now),
            Event::Created { worker, pid } => {
                self.with(worker.watcher, now, |w, cx| launch::created(w, worker, pid, cx));
            }
            Event::Spawned { worker, pid } => {
                self.with_and_advance(worker.watcher, now, |w, cx| launch::spawned(w, worker, pid, cx));
            }
            Event::Adopted { worker, pid } => {
                self.with_and_advance(worker.watcher, now, |w, cx| {
                    probes::change(w, worker, |vitals| vitals.is_adopted = true);
                    launch::spawned(w, worker, pid, cx);
                });
            }
            Event::SpawnFailed { worker, error } => {
                self.with_and_advance(worker.watcher, now, |w, cx| exit::launch_failed(w, worker, &error, cx));
            }
            Event::Exited(exits) => self.workers_exited(&exits, now),
            Event::LeaderExited(pid) => {
                if let Some(id) = self.pids.get(pid) {
                    self.with_and_advance(id.watcher, now, |w, cx| terminate::leader_exited(w, id, cx));
                }
            }
            Event::ChildrenSignalled { watcher, pids } => {
                for pid in pids {
                    self.publish(watcher, EventKind::Kill { process_pid: pid.0 }, now);
                }
            }
            Event::SignalDone { job, signalled, result } => {
                self.outbox.signal_requests.remove(&job);
                for pid in signalled {
                    let Some(id) = self.pids.get(pid) else { continue };
                    self.with(id.watcher, now, |w, _| w.change(id, |worker| worker.exit_expected = true));
                }
                self.job_part_done(job, None, result.err());
            }
            Event::Connections { watcher, open } => self.connections_counted(watcher, open, now),
            Event::Acceptable(socket) => self.acceptable(&socket, now),
            Event::Sampled { job, samples } => self.sampled(job, samples, now),
            Event::Tailed { job, tail } => self.tailed(job, tail, now),
            Event::HookDone { hook, outcome } => {
                self.with_and_advance(hook.watcher, now, |w, cx| answers::done(w, hook, outcome, cx));
            }
            Event::HookNotYet { hook, reason } => {
                self.with(hook.watcher, now, |w, cx| answers::not_yet(w, hook, reason, cx));
            }
            Event::Notified { pid, said } => {
                if let Some(id) = self.pids.get(pid) {
                    self.with_and_advance(id.watcher, now, |w, cx| notified::heard(w, id, said, cx));
                }
            }
            Event::Probed { probe, outcome } if probe.is_of_watcher() => self.asked(probe, outcome, now),
            Event::Probed { probe, outcome } => {
                let done = if probe.is_of_drain() { drain::answered } else { checks::done };
                self.with_and_advance(probe.worker.watcher, now, |w, cx| done(w, probe, outcome, cx));
            }
            Event::Measured { watcher, result } => self.looked(watcher, result, now),
            Event::PythonHostLost { host, error } => {
                for hook in self.hosts.lost(host) {
                    self.with_and_advance(hook.watcher, now, |w, cx| answers::lost(w, hook, &error, cx));
                }
            }
            // After the end nothing is waited for.
            Event::SinkCommand(..) if self.phase.has_ended() => {}
            Event::SinkCommand(id, event) => self.with_sink_commands(now, |all, cx| all.handle(id, event, cx)),
            Event::ConfigLoaded(loaded) => self.config_loaded(loaded, now),
            Event::TakenOver(result) => self.taken_over(result, now),
            Event::Intent(Intent::Quit) => self.quit_by_signal(now),
            Event::Intent(Intent::Reload) => self.reload_all(),
            Event::Intent(Intent::ReloadConfig) => self.reload_config_unasked(),
            Event::Intent(Intent::ReopenLogs) => self.outbox.act(Action::ReopenOutput),
            Event::Intent(Intent::Upgrade) => self.upgrade_by_signal(),
            Event::UpgradeFailed { stage, reason } => self.upgrade_failed(stage, &reason, now),
            Event::Upgraded { version, pid } => self.upgraded(version, pid, now),
        }
        self.follow_up(now);
    }

    /// Does everything whose time has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.note_clock(now);
        while let Some(timer) = self.timers.pop_due(now.mono) {
            match timer {
                Timer::Kill(worker) => {
                    self.with(worker.watcher, now, |w, cx| terminate::overdue(w, worker, cx));
                }
                Timer::Expire(worker) => {
                    self.with_and_advance(worker.watcher, now, |w, cx| reload::expire(w, worker, cx));
                }
                Timer::Ready(worker) => {
                    self.with_and_advance(worker.watcher, now, |w, cx| readiness::overdue(w, worker, cx));
                }
                Timer::Probe(worker) => {
                    self.with_and_advance(worker.watcher, now, |w, cx| checks::due(w, worker, cx));
                }
                Timer::Retry(key, wid) => self.with_and_advance(key, now, |w, _| w.slots.make_due(wid)),
                Timer::Stuck(key) => self.with_and_advance(key, now, stuck::report),
                Timer::Warmup(key) | Timer::Proof(key) => self.advance(key, now),
                Timer::Run(key) => self.run_due(key, now),
                Timer::Rearm(key) => self.update_activation(key, now),
                Timer::Hook(id) => self.with_and_advance(id.watcher, now, |w, cx| answers::overdue(w, id, cx)),
                Timer::RetryHook(id) => self.with_and_advance(id.watcher, now, |w, cx| answers::retry(w, id, cx)),
                Timer::SinkCommand(id) => self.with_sink_commands(now, |all, cx| all.due(id, cx)),
                Timer::Walk(id) => self.walk_timed_out(id, now),
                Timer::Idle(key) => self.idle_due(key, now),
                Timer::Scale(key) => self.scale_due(key, now),
                Timer::Drain(key) => self.with_and_advance(key, now, drain::due),
                Timer::LogLimit => self.log_left_out(),
                Timer::End => self.end_overdue(now),
            }
            self.follow_up(now);
        }
        debug_assert!(self.next_deadline().is_none_or(|at| at > now.mono), "a deadline in the past was left");
    }

    /// When [`Self::handle_timeout`] is wanted next; never, if nothing is due at any time.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.timers.next()
    }

    /// The next thing to do, in order. Drain until `None`.
    pub fn poll_action(&mut self) -> Option<Action> {
        loop {
            let action = self.outbox.actions.pop_front()?;
            // Since the request the process may have been reaped: its pid may be another's.
            let gone = matches!(&action, Action::Signal { pid, .. } if self.pids.get(*pid).is_none());
            if !gone {
                return Some(action);
            }
        }
    }

    /// The next process to start. Launches are apart from the other actions so that the daemon may take a few of a
    /// thousand in each turn, and answers requests meanwhile.
    pub fn poll_launch(&mut self, now: Now) -> Option<Launch> {
        while let Some(worker) = self.outbox.launches.pop_front() {
            let Some(watcher) = self.fleet.watchers.get_mut(&worker.watcher) else { continue };
            let Some(wid) = watcher.workers().get(&worker).filter(|w| w.state == WorkerState::Queued).map(|w| w.wid)
            else {
                continue;
            };
            watcher.change(worker, |w| w.state = WorkerState::Starting { stop_pending: false });
            let config = watcher.config.clone();
            let launch = self.take_slots(&config, (worker, wid)).and_then(|taken| {
                let argv = self.argv(&config, wid, &taken);
                let argv = argv.map_err(|detail| SpawnError { stage: Stage::Command, errno: 0, detail })?;
                let value = |(variable, slots): (&String, &SlotPool)| {
                    Some((variable.clone(), taken.get(&slots.pool.to_lowercase())?.clone()))
                };
                let slots = config.slots.iter().filter_map(value).collect();
                Ok(Launch { worker, wid, argv, slots, config: Arc::clone(&config) })
            });
            match launch {
                Ok(launch) => return Some(launch),
                Err(error) => self.handle_event(Event::SpawnFailed { worker, error }, now),
            }
        }
        None
    }

    /// The words of a worker's command line. `$(circus.sockets.NAME)` is the number that is valid in that child: the
    /// daemon's own, or 3, 4, ... where the watcher names its sockets.
    fn argv(&self, config: &WatcherConfig, wid: Wid, slots: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
        if config.sockets.is_empty() {
            return crate::config::argv_with(config, wid.0, &self.sockets.numbers, slots);
        }
        let named: BTreeMap<String, i32> = config.sockets.iter().map(|name| name.to_lowercase()).zip(3..).collect_map();
        crate::config::argv_with(config, wid.0, &named, slots)
    }

    /// The values that a worker gets of the pools that its watcher names, by the names of pools in lower case. Where one
    /// has no free value, the worker is tried again later.
    fn take_slots(
        &mut self,
        config: &WatcherConfig,
        id: (WorkerId, Wid),
    ) -> Result<BTreeMap<String, String>, SpawnError> {
        let mut taken = BTreeMap::new();
        for slots in config.slots.values() {
            let watchers = &self.fleet.watchers;
            let lives =
                |id: WorkerId| watchers.get(&id.watcher).is_some_and(|watcher| watcher.workers().contains_key(&id));
            let Some(value) = self.pools.take(slots, id, lives) else {
                let detail = format!("other workers have all values of [slots:{}]", slots.pool);
                return Err(SpawnError { stage: Stage::Environment, errno: errno::EAGAIN, detail });
            };
            taken.insert(slots.pool.to_lowercase(), value);
        }
        Ok(taken)
    }

    /// Whether [`Self::poll_launch`] may have something.
    pub fn has_launches(&self) -> bool {
        !self.outbox.launches.is_empty()
    }

    /// Whether the fleet has been started: every watcher that starts by itself has been tried, and no hook that may
    /// still undo a start is under way.
    pub fn has_started(&self) -> bool {
        let is_decided = |watcher: &Watcher| watcher.hooks.of(Purpose::serves_start).is_empty();
        self.phase.is_running() && !self.schedule.is_starting() && self.fleet.watchers.values().all(is_decided)
    }

    /// What becomes of the processes that this worker leaves behind, if it is one that got to its program. Where they
    /// are ended, it counts as gone when they are.
    pub fn orphans_of(&self, pid: Pid) -> Option<Orphans> {
        let id = self.pids.get(pid)?;
        let watcher = self.fleet.watchers.get(&id.watcher)?;
        let is_up = watcher.workers().get(&id).is_some_and(Worker::is_up);
        let spared = watcher.kill_mode() == KillMode::Process;
        is_up.then_some(if spared { Orphans::Keep } else { watcher.config.orphans })
    }

    /// To which processes the signals of a stop go that this worker gets.
    pub fn kill_mode_of(&self, pid: Pid) -> Option<KillMode> {
        let watcher = self.fleet.watchers.get(&self.pids.get(pid)?.watcher)?;
        Some(watcher.kill_mode())
    }

    /// The configuration of a watcher, by its name in any case.
    pub fn config_of(&self, name: &str) -> Option<&WatcherConfig> {
        self.fleet.named(name).ok().map(|watcher| watcher.config.as_ref())
    }

    // -- parts that the other files of this module build on -----------------------------------------------------

    /// Has something done to one watcher. `None` if it is gone: an event may come late.
    pub(in crate::arbiter) fn with<R>(
        &mut self,
        key: WatcherKey,
        now: Now,
        act: impl FnOnce(&mut Watcher, &mut Cx<'_>) -> R,
    ) -> Option<R> {
        let watcher = self.fleet.watchers.get(&key)?;
        let may_start = matches!(watcher.state, WatcherState::Stopped | WatcherState::Stopping);
        let unmet = if may_start { self.unmet(key, now) } else { None };
        let watcher = self.fleet.watchers.get_mut(&key)?;
        let mut cx = Cx {
            unmet,
            now,
            circus: &self.circus,
            host: &self.host,
            runs_hooks: !self.phase.is_forced(),
            outbox: &mut self.outbox,
            timers: &mut self.timers,
            rng: &mut self.rng,
            pids: &mut self.pids,
            hosts: &mut self.hosts,
            follow_ups: &mut self.follow_ups,
        };
        Some(act(watcher, &mut cx))
    }

    fn with_sink_commands(&mut self, now: Now, act: impl FnOnce(&mut SinkCommands, &mut SinkCx<'_>)) {
        let (check_delay, outbox) = (self.circus.check_delay, &mut self.outbox);
        let mut cx = SinkCx { now: now.mono, outbox, timers: &mut self.timers, check_delay, rng: &mut self.rng };
        act(&mut self.sink_commands, &mut cx);
    }

    /// Goes on with a watcher as far as is possible now.
    pub(in crate::arbiter) fn advance(&mut self, key: WatcherKey, now: Now) {
        self.with(key, now, advance);
        self.update_activation(key, now);
    }

    pub(in crate::arbiter) fn with_and_advance(
        &mut self,
        key: WatcherKey,
        now: Now,
        act: impl FnOnce(&mut Watcher, &mut Cx<'_>),
    ) {
        self.with(key, now, act);
        self.advance(key, now);
    }

    pub(in crate::arbiter) fn publish(&mut self, key: WatcherKey, kind: EventKind, now: Now) {
        self.with(key, now, |w, cx| cx.publish(w, kind));
    }

    /// Hands an operation to a watcher: it begins, waits or joins as [`queue::admit`] says.
    pub(in crate::arbiter) fn submit(&mut self, key: WatcherKey, kind: OperationKind, waiters: Vec<Waiter>, now: Now) {
        self.submit_operation(key, Operation::new(kind, waiters, Reason::Requested), now);
    }

    pub(in crate::arbiter) fn submit_operation(&mut self, key: WatcherKey, operation: Operation, now: Now) {
        if operation.kind.starts() {
            self.hurry_stops(key, now);
        } else if !operation.is_of_walk() {
            self.withdraw_from_starts(key);
        }
        let waiters = operation.waiters.clone();
        let known = self.with(key, now, |w, cx| {
            queue::submit(w, operation, cx);
            advance(w, cx);
        });
        if known.is_none() {
            for waiter in waiters {
                match waiter {
                    Waiter::Job(job) => self.job_part_done(job, None, Some(Fault::message("the watcher is gone"))),
                    Waiter::Walk(id, key) => self.follow_ups.push_back(FollowUp::WalkPart(id, key)),
                }
            }
        }
        self.update_activation(key, now);
    }

    fn workers_exited(&mut self, exits: &[Exit], now: Now) {
        // First all records go, then their slots are dealt with, then what follows: no signal goes to a collected pid.
        let gone: Vec<(WorkerId, Worker, i32)> = exits
            .iter()
            .filter_map(|exit| {
                let id = self.pids.collected(exit.pid)?;
                let worker = self.with(id.watcher, now, |w, cx| exit::remove_exited(w, id, *exit, cx))??;
                Some((id, worker, exit.exit_code))
            })
            .collect();
        let touched: BTreeSet<WatcherKey> = gone.iter().map(|(id, ..)| id.watcher).collect_set();
        for (id, worker, exit_code) in gone {
            self.with(id.watcher, now, |w, cx| exit::free_slot(w, id, &worker, exit_code, cx));
        }
        for key in touched {
            self.advance(key, now);
        }
    }

    fn sockets_opened(&mut self, sockets: Vec<SocketInfo>) {
        self.sockets.opened(sockets);
        if self.phase == Phase::Opening {
            self.phase = Phase::Running;
            self.outbox.log(Level::Info, "sockets started");
            let mut keys = self.fleet.autostarting(self.fleet.by_priority());
            keys.retain(|key| !self.is_to_stay_stopped(*key));
            let waiters = std::mem::take(&mut self.restarters);
            for to in &waiters {
                let (job, _waits) = self.job(to, 1, Form::Plain, Then::Answer, true);
                self.start_in_order(keys.clone(), Some(job), Which::AsAtBoot);
            }
            if waiters.is_empty() {
                self.start_in_order(keys, None, Which::AsAtBoot);
            }
            self.outbox.log(Level::Info, "Arbiter now waiting for commands");
        }
    }

    /// The watcher is gone for good.
    pub(in crate::arbiter) fn forget(&mut self, key: WatcherKey, now: Now) {
        self.disarm_activation(key);
        self.end_scale(key);
        self.withdraw_from_starts(key);
        self.with(key, now, |w, cx| {
            hooks::drop_all(w, cx);
            drain::cancel(w, cx);
            for operation in w.running.take().into_iter().chain(std::mem::take(&mut w.waiting)) {
                queue::report_cancelled(operation, OperationKind::Remove, cx);
            }
            cx.timers.cancel(Timer::Proof(w.key));
            cx.timers.cancel(Timer::Stuck(w.key));
            for proof in std::mem::take(&mut w.proofs) {
                cx.job_part_done(proof.job, proof.changes, None);
            }
            for resizing in std::mem::take(&mut w.resizing) {
                cx.job_part_done(resizing.job, None, None);
            }
            let held = std::mem::take(&mut w.held).into_iter().map(Waiter::Job).collect();
            cx.notify(held, None, Some(&Fault::message("the watcher is gone")));
        });
        let Some((watcher, freed)) = self.fleet.remove(key) else { return };
        if watcher.config.checks.are_notified() {
            self.outbox.act(Action::ForgetStored(key));
        }
        let name = watcher.name().to_lowercase();
        if !self.fleet.watchers.values().any(|other| other.name().to_lowercase() == name) {
            self.outbox.act(Action::ForgetOutput(name));
        }
        self.answer_hopeless(now);
        for successor in freed {
            self.advance(successor, now);
        }
    }

    /// Does what follows from the event outside the watchers, and checks that everything still fits together.
    pub(in crate::arbiter) fn follow_up(&mut self, now: Now) {
        loop {
            if let Some(id) = self.schedule.due.pop_front() {
                self.advance_walk(id, now);
            } else if let Some(follow_up) = self.follow_ups.pop_front() {
                match follow_up {
                    FollowUp::JobPart { job, changes, fault } => self.finish_job_part(job, changes, fault, now),
                    FollowUp::JobOpened(job) => self.finish_job(job, now),
                    FollowUp::WalkPart(id, key) => self.walk_part_done(id, key, now),
                    FollowUp::ReloadFailed(failed) => self.reload_failed(*failed, now),
                    FollowUp::WalkGoesOn(id) => self.walk_goes_on(id, now),
                    FollowUp::WalkPasses(id) => self.walk_passes(id, now),
                    FollowUp::ExtendedStats { job, pid, stats } => self.extended(job, pid, stats, now),
                    FollowUp::Essential(end) => {
                        self.essential_end.get_or_insert(end);
                    }
                    FollowUp::GaveUp => self.log_if_none_runs(),
                    FollowUp::RunNext(key) => self.run_next(key, now),
                    FollowUp::CameUp(key) => self.start_held_back(key),
                    FollowUp::WentDown(key) => self.went_down(key, now),
                    FollowUp::Replaced(key, at) => self.was_replaced(key, at),
                    FollowUp::Forget(key) => self.forget(key, now),
                }
            } else if !self.end_with_essential(now) {
                break;
            }
        }
        self.check_invariants();
    }

    /// Says how many lines about workers were left out.
    pub(in crate::arbiter) fn log_left_out(&mut self) {
        self.timers.cancel(Timer::LogLimit);
        let count = self.outbox.log_limit.take_left_out();
        if count > 0 {
            self.outbox.log(Level::Info, format!("workers start and exit too fast to log each lines_left_out={count}"));
        }
    }
}
