//! The arbiter itself: what it knows, and the five calls it is driven by.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::arbiter::action::{Action, Launch, Level};
use crate::arbiter::event::{Event, Intent, SocketInfo};
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::fleet::worker::WorkerState;
use crate::arbiter::ids::{JobId, Pid, RolloutId, WatcherKey, Wid, WorkerId};
use crate::arbiter::lifecycle::essential::EssentialEnd;
use crate::arbiter::operate::job::Job;
use crate::arbiter::operate::start_sequence::{Rollout, Start};
use crate::arbiter::requests::reloadconfig::Reconfiguration;
use crate::arbiter::requests::stats::PendingStats;
use crate::arbiter::requests::tail::PendingTail;
use crate::arbiter::rng::Rng;
use crate::arbiter::time::{Mono, Now};
use crate::arbiter::timers::{Timer, Timers};
use crate::config::{CircusConfig, Config, Host, SocketConfig, WatcherConfig};
use crate::proto::{EventKind, Notice, ReplyTo, SpawnError, Stage};

/// How the daemon as a whole is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Phase {
    /// The managed sockets are not open yet.
    Opening,
    /// At work.
    Running,
    /// Everything is being stopped, to exit or to start anew.
    Ending,
    /// The last action is out.
    Ended,
}

/// The core: a pure state machine. See the module's documentation for the model.
///
/// Between two turns, when its actions are drained, all of it is plain data: another generation of the daemon can read
/// what this one wrote.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Arbiter {
    pub(in crate::arbiter) circus: CircusConfig,
    pub(in crate::arbiter) host: Host,
    pub(in crate::arbiter) phase: Phase,
    pub(in crate::arbiter) watchers: BTreeMap<WatcherKey, Watcher>,
    /// Lower-case names; of two watchers with the same, the later one.
    pub(in crate::arbiter) names: HashMap<String, WatcherKey>,
    pub(in crate::arbiter) pids: HashMap<Pid, WorkerId>,
    pub(in crate::arbiter) sockets: Vec<SocketInfo>,
    pub(in crate::arbiter) socket_numbers: BTreeMap<String, i32>,
    /// What the file says of them.
    pub(in crate::arbiter) socket_configs: Vec<SocketConfig>,
    /// Requests to read the file again; the first is being dealt with.
    pub(in crate::arbiter) reconfigurations: VecDeque<Reconfiguration>,
    /// The job of the last one that was carried out; it may have ended.
    pub(in crate::arbiter) reconfiguring: Option<JobId>,
    /// Who waits for a connection to which socket: those that are watched.
    pub(in crate::arbiter) activated_by: BTreeMap<String, BTreeSet<WatcherKey>>,
    pub(in crate::arbiter) jobs: BTreeMap<JobId, Job>,
    pub(in crate::arbiter) rollouts: BTreeMap<RolloutId, Rollout>,
    /// Rollouts that can go on; taken up when the event at hand is dealt with.
    pub(in crate::arbiter) due_rollouts: VecDeque<RolloutId>,
    pub(in crate::arbiter) timers: Timers,
    pub(in crate::arbiter) rng: Rng,
    next_watcher: u32,
    next_job: u64,
    next_rollout: u64,
    #[serde(skip)]
    outbox: VecDeque<Action>,
    pub(in crate::arbiter) launches: VecDeque<WorkerId>,
    /// `signal` requests on their way.
    pub(in crate::arbiter) signalling: BTreeSet<JobId>,
    /// Questions about what processes use.
    pub(in crate::arbiter) pending_stats: PendingStats,
    /// Questions about what workers have printed.
    pub(in crate::arbiter) tails: BTreeMap<JobId, PendingTail>,
    /// Who waits for the end.
    pub(in crate::arbiter) end_waiters: Vec<ReplyTo>,
    /// Whether a signal has asked for the end.
    pub(in crate::arbiter) quit_by_signal: bool,
    /// Whether the end is a new beginning.
    pub(in crate::arbiter) ending_restarts: bool,
    /// Whether nobody waits for hooks any more.
    pub(in crate::arbiter) force: bool,
    /// The essential watcher whose end ends circusd.
    pub(in crate::arbiter) essential_end: Option<EssentialEnd>,
    pub(in crate::arbiter) spawned: u64,
    pub(in crate::arbiter) reaped: u64,
    pub(in crate::arbiter) released: u64,
}

impl Arbiter {
    /// An arbiter for this configuration. It asks for its sockets first; the fleet starts when they are open.
    pub fn new(config: Config, host: Host, seed: u64) -> Self {
        let mut arbiter = Self {
            circus: config.circus,
            host,
            phase: Phase::Opening,
            watchers: BTreeMap::new(),
            names: HashMap::new(),
            pids: HashMap::new(),
            sockets: Vec::new(),
            socket_numbers: BTreeMap::new(),
            socket_configs: config.sockets.clone(),
            reconfigurations: VecDeque::new(),
            reconfiguring: None,
            activated_by: BTreeMap::new(),
            jobs: BTreeMap::new(),
            rollouts: BTreeMap::new(),
            due_rollouts: VecDeque::new(),
            timers: Timers::default(),
            rng: Rng::new(seed),
            next_watcher: 0,
            next_job: 0,
            next_rollout: 0,
            outbox: VecDeque::new(),
            launches: VecDeque::new(),
            signalling: BTreeSet::new(),
            pending_stats: PendingStats::default(),
            tails: BTreeMap::new(),
            end_waiters: Vec::new(),
            quit_by_signal: false,
            ending_restarts: false,
            force: false,
            essential_end: None,
            spawned: 0,
            reaped: 0,
            released: 0,
        };
        for watcher in config.watchers {
            arbiter.register(Arc::new(watcher));
        }
        arbiter.act(Action::OpenSockets(config.sockets));
        arbiter
    }

    /// Takes note of something that happened.
    pub fn handle_event(&mut self, event: Event, now: Now) {
        match event {
            Event::SocketsOpened(sockets) => self.sockets_opened(sockets),
            Event::Request(to, request) => self.handle_request(*to, request, now),
            Event::Created { worker, pid } => self.worker_created(worker, pid, now),
            Event::Spawned { worker, pid } => self.worker_spawned(worker, pid, now),
            Event::SpawnFailed { worker, error } => self.worker_failed(worker, &error, now),
            Event::Exited(exits) => self.workers_exited(&exits, now),
            Event::ChildrenSignalled { watcher, pids } => {
                for pid in pids {
                    self.publish(watcher, EventKind::Kill { process_pid: pid.0 }, now);
                }
            }
            Event::SignalDone { job, result } => {
                self.signalling.remove(&job);
                self.job_part_done(job, None, result.err(), now);
            }
            Event::Acceptable(socket) => self.acceptable(&socket, now),
            Event::Sampled { job, samples } => self.sampled(job, samples, now),
            Event::Tailed { job, tail } => self.tailed(job, tail, now),
            Event::HookDone { hook, outcome } => self.hook_done(hook, outcome, now),
            Event::ConfigLoaded(loaded) => self.config_loaded(loaded, now),
            Event::TakenOver(result) => self.taken_over(result, now),
            Event::Intent(Intent::Quit) => self.quit_by_signal(now),
            Event::Intent(Intent::Reload) => self.reload_all(),
        }
        self.drive(now);
    }

    /// Does everything whose time has come.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop_due(now.mono) {
            match timer {
                Timer::Kill(worker) => self.escalate(worker, now),
                Timer::Expire(worker) => self.expire(worker, now),
                Timer::Retry(key, wid) => {
                    if let Some(watcher) = self.watchers.get_mut(&key) {
                        watcher.slots.make_due(wid);
                    }
                    self.progress(key, now);
                }
                Timer::Warmup(key) => self.progress(key, now),
                Timer::Rearm(key) => self.update_activation(key, now),
                Timer::Hook(id) => self.hook_overdue(id, now),
                Timer::Rollout(id) => self.due_rollouts.push_back(id),
            }
            self.drive(now);
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
            let action = self.outbox.pop_front()?;
            // Between the wish and now the process may have been collected: its number may be another's.
            let gone = matches!(&action, Action::Signal { pid, .. } if !self.pids.contains_key(pid));
            if !gone {
                return Some(action);
            }
        }
    }

    /// The next process to start. Launches are apart from the other actions so that the daemon may take a few of a
    /// thousand in each turn, while whoever asks for a status meanwhile is answered.
    pub fn poll_launch(&mut self, now: Now) -> Option<Launch> {
        while let Some(worker) = self.launches.pop_front() {
            let Some(watcher) = self.watchers.get_mut(&worker.watcher) else { continue };
            let Some(wid) = watcher.workers().get(&worker).filter(|w| w.state == WorkerState::Queued).map(|w| w.wid)
            else {
                continue;
            };
            watcher.change(worker, |w| w.state = WorkerState::Starting { stop_pending: false });
            let config = watcher.config.clone();
            match self.argv(&config, wid) {
                Ok(argv) => return Some(Launch { worker, wid, argv, config }),
                Err(detail) => {
                    let error = SpawnError { stage: Stage::Command, errno: 0, detail };
                    self.handle_event(Event::SpawnFailed { worker, error }, now);
                }
            }
        }
        None
    }

    /// The words of a worker's command line. `$(circus.sockets.NAME)` is the number that is valid in that child: the
    /// daemon's own, or 3, 4, ... where the watcher names its sockets.
    fn argv(&self, config: &WatcherConfig, wid: Wid) -> Result<Vec<String>, String> {
        if config.sockets.is_empty() {
            return crate::config::argv(config, wid.0, &self.socket_numbers);
        }
        let named: BTreeMap<String, i32> = config.sockets.iter().map(|name| name.to_lowercase()).zip(3..).collect();
        crate::config::argv(config, wid.0, &named)
    }

    /// Whether [`Self::poll_launch`] may have something.
    pub fn has_launches(&self) -> bool {
        !self.launches.is_empty()
    }

    /// Whether the fleet has been started: every watcher that starts by itself has been tried.
    pub fn has_started(&self) -> bool {
        self.phase == Phase::Running && self.rollouts.is_empty()
    }

    // -- parts that the other files of this module build on -----------------------------------------------------

    pub(in crate::arbiter) fn act(&mut self, action: Action) {
        self.outbox.push_back(action);
    }

    pub(in crate::arbiter) fn log(&mut self, level: Level, text: impl Into<String>) {
        self.act(Action::Log(level, text.into()));
    }

    pub(in crate::arbiter) fn publish(&mut self, key: WatcherKey, kind: EventKind, now: Now) {
        if let Some(watcher) = self.watchers.get(&key) {
            let notice = Notice { resource: watcher.resource.clone(), kind, time: now.unix };
            self.act(Action::Publish(notice));
        }
    }

    /// A watcher of the file.
    pub(in crate::arbiter) fn register(&mut self, config: Arc<WatcherConfig>) -> WatcherKey {
        let mut watcher = Watcher::new(WatcherKey(self.next_watcher), Arc::clone(&config));
        watcher.set_baseline(config);
        self.take_in(watcher)
    }

    /// A watcher that came by `add`.
    pub(in crate::arbiter) fn register_dynamic(&mut self, config: WatcherConfig) -> WatcherKey {
        self.take_in(Watcher::new(WatcherKey(self.next_watcher), Arc::new(config)))
    }

    fn take_in(&mut self, watcher: Watcher) -> WatcherKey {
        let key = watcher.key;
        self.next_watcher += 1;
        self.names.insert(watcher.name().to_lowercase(), key);
        self.watchers.insert(key, watcher);
        key
    }

    /// Finds out anew which names lead where.
    pub(in crate::arbiter) fn index_names(&mut self) {
        let shown = self.watchers.iter().filter(|(_, watcher)| !watcher.removed);
        self.names = shown.map(|(key, watcher)| (watcher.name().to_lowercase(), *key)).collect();
    }

    pub(in crate::arbiter) fn note_sockets(&mut self, sockets: Vec<SocketInfo>) {
        self.socket_numbers = sockets.iter().map(|socket| (socket.name.clone(), socket.number)).collect();
        self.sockets = sockets;
    }

    pub(in crate::arbiter) fn open_job(&mut self, job: Job) -> JobId {
        let id = self.name_job();
        self.jobs.insert(id, job);
        id
    }

    /// A name that no job has had.
    pub(in crate::arbiter) fn name_job(&mut self) -> JobId {
        let id = JobId(self.next_job);
        self.next_job += 1;
        id
    }

    pub(in crate::arbiter) fn open_rollout(&mut self, rollout: Rollout) -> RolloutId {
        let id = RolloutId(self.next_rollout);
        self.next_rollout += 1;
        self.rollouts.insert(id, rollout);
        self.due_rollouts.push_back(id);
        id
    }

    fn sockets_opened(&mut self, sockets: Vec<SocketInfo>) {
        self.note_sockets(sockets);
        if self.phase == Phase::Opening {
            self.phase = Phase::Running;
            self.log(Level::Info, "sockets started");
            let keys = self.autostarting(self.by_priority());
            self.start_in_order(keys, None, Start::AsAtBoot);
            self.log(Level::Info, "Arbiter now waiting for commands");
        }
    }

    /// Takes up what the event made possible, and checks that everything still fits together.
    fn drive(&mut self, now: Now) {
        while let Some(id) = self.due_rollouts.pop_front() {
            self.advance_rollout(id, now);
        }
        self.end_with_essential(now);
        self.check_invariants();
    }

    /// Every watcher there is, the greatest priority first, and among equals in order of arrival.
    pub(in crate::arbiter) fn by_priority(&self) -> Vec<WatcherKey> {
        let mut keys: Vec<WatcherKey> = self.watchers.keys().copied().collect();
        keys.sort_by_key(|key| std::cmp::Reverse(self.watchers.get(key).map_or(0, |w| w.config.priority)));
        keys
    }

    /// The same with the smallest priority first, and among equals in order of arrival: the order of a stop.
    pub(in crate::arbiter) fn by_ascending_priority(&self) -> Vec<WatcherKey> {
        let mut keys: Vec<WatcherKey> = self.watchers.keys().copied().collect();
        keys.sort_by_key(|key| self.watchers.get(key).map_or(0, |w| w.config.priority));
        keys
    }

    /// Those of them that start by themselves.
    pub(in crate::arbiter) fn autostarting(&self, mut keys: Vec<WatcherKey>) -> Vec<WatcherKey> {
        keys.retain(|key| self.watchers.get(key).is_some_and(|w| w.config.autostart && !w.removed));
        keys
    }
}
