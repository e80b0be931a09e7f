//! A watcher: its options, its state, its workers, and what is being done with it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::arbiter::fleet::activation::Activation;
use crate::arbiter::fleet::chronicle::What;
use crate::arbiter::fleet::escalation::Escalation;
use crate::arbiter::fleet::history::History;
use crate::arbiter::fleet::runs::Runs;
use crate::arbiter::fleet::scaler::Scaler;
use crate::arbiter::fleet::slots::Slots;
use crate::arbiter::fleet::worker::{Worker, WorkerClass, WorkerState};
use crate::arbiter::ids::{JobId, WatcherKey, Wid, WorkerId};
use crate::arbiter::lifecycle::purpose::Hooks;
use crate::arbiter::operate::job::Proof;
use crate::arbiter::operate::operation::{Operation, Progress};
use crate::arbiter::outcome::{Cause, Failure, Failures};
use crate::arbiter::time::{Mono, Now};
use crate::base::Pid;
use crate::config::{KillMode, ReloadMode, StopStep, WatcherConfig, WatcherKind};
use crate::proto::Signal;

/// Where a watcher is in its life. On the wire: stopped, starting, active, stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WatcherState {
    /// No workers, no timers.
    Stopped,
    /// Workers are being started; none was up yet when this began.
    Starting {
        /// Whether any of them has run.
        spawned: bool,
    },
    /// Workers are kept at `numprocesses`.
    Active,
    /// Every worker is being stopped.
    Stopping,
}

impl WatcherState {
    /// As it is called on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting { .. } => "starting",
            Self::Active => "active",
            Self::Stopping => "stopping",
        }
    }
}

/// How many workers stand how. Kept up to date with each change, so that no event has to count thousands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Counts {
    pub(in crate::arbiter) starting: usize,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(in crate::arbiter) unready: usize,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(in crate::arbiter) failing: usize,
    pub(in crate::arbiter) running: usize,
    pub(in crate::arbiter) dying: usize,
    pub(in crate::arbiter) retiring: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Counts {
    /// How many are not at work yet: on their way to their program, to readiness, or out after they have failed it.
    pub(in crate::arbiter) fn undecided(&self) -> usize {
        self.starting + self.unready + self.failing
    }

    fn of(&mut self, class: WorkerClass) -> &mut usize {
        match class {
            WorkerClass::Starting => &mut self.starting,
            WorkerClass::Unready => &mut self.unready,
            WorkerClass::Failing => &mut self.failing,
            WorkerClass::Running => &mut self.running,
            WorkerClass::Dying => &mut self.dying,
            WorkerClass::Outgoing => &mut self.retiring,
        }
    }
}

/// How processes are asked to stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct StopPolicy {
    pub(in crate::arbiter) signal: Signal,
    /// The signals after the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::arbiter) steps: Vec<StopStep>,
    /// Seconds until SIGKILL.
    pub(in crate::arbiter) timeout: f64,
    pub(in crate::arbiter) stop_children: bool,
    #[serde(default, skip_serializing_if = "KillMode::is_mixed")]
    pub(in crate::arbiter) kill_mode: KillMode,
}

impl StopPolicy {
    /// All signals, as an option has them.
    pub(in crate::arbiter) fn signals(&self) -> String {
        StopStep::show(self.signal, &self.steps)
    }

    /// What follows the first signal, where that are several.
    pub(in crate::arbiter) fn escalation(&self) -> Option<Escalation> {
        (!self.steps.is_empty()).then(|| Escalation::new(&self.steps, self.timeout))
    }
}

/// A request that has changed the number of processes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Resizing {
    pub(in crate::arbiter) job: JobId,
    /// Where more were asked for: failures from here on are this request's.
    pub(in crate::arbiter) mark: Option<u64>,
}

/// A group of identical processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Watcher {
    pub(in crate::arbiter) key: WatcherKey,
    pub(in crate::arbiter) config: Arc<WatcherConfig>,
    /// What its section of the file said when it was last read; none if it came by `add`.
    in_file: Option<Arc<WatcherConfig>>,
    /// How its processes are asked to stop, where they were started with another configuration than its own.
    own_stop_policy: Option<StopPolicy>,
    /// The name in topics.
    pub(in crate::arbiter) resource: String,
    pub(in crate::arbiter) state: WatcherState,
    workers: BTreeMap<WorkerId, Worker>,
    counts: Counts,
    next_serial: u64,
    pub(in crate::arbiter) slots: Slots,
    pub(in crate::arbiter) running: Option<Operation>,
    pub(in crate::arbiter) waiting: VecDeque<Operation>,
    /// Requests that wait until the number of processes is right.
    pub(in crate::arbiter) resizing: Vec<Resizing>,
    /// Requests that wait until new workers have proved that they run.
    pub(in crate::arbiter) proofs: Vec<Proof>,
    pub(in crate::arbiter) failures: Failures,
    /// Why it has stopped without a command.
    pub(in crate::arbiter) gave_up: Option<Failure>,
    /// When a hook that waits for its service has returned true in this start.
    pub(in crate::arbiter) service_ready: Option<Mono>,
    /// No spawn before this: warmup_delay.
    pub(in crate::arbiter) next_spawn: Mono,
    /// It is being removed: no name leads here any more.
    pub(in crate::arbiter) removed: bool,
    /// It was started, or starts by itself, and no command has stopped it since.
    pub(in crate::arbiter) wanted: bool,
    /// `enable` or `disable`, in place of what the file's `autostart` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::arbiter) enabled: Option<bool>,
    /// Requests that wait until the watchers that it needs are up, so that it may start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::arbiter) held: Vec<JobId>,
    /// It was stopped along with a watcher that it requires, and starts again with that one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(in crate::arbiter) along: bool,
    /// Since when it has been without a process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::arbiter) lost_at: Option<Mono>,
    /// Removed watchers of its name that are still stopping: it does not start beside them, as they may want the same port.
    pub(in crate::arbiter) predecessors: BTreeSet<WatcherKey>,
    pub(in crate::arbiter) activation: Activation,
    pub(in crate::arbiter) hooks: Hooks,
    pub(in crate::arbiter) history: History,
    #[serde(default, skip_serializing_if = "Runs::is_default")]
    pub(in crate::arbiter) runs: Runs,
    #[serde(default, skip_serializing_if = "Scaler::is_default")]
    pub(in crate::arbiter) scaler: Scaler,
}

impl Watcher {
    pub(in crate::arbiter) fn new(key: WatcherKey, config: Arc<WatcherConfig>) -> Self {
        let resource = crate::proto::resource_name(&config.name);
        Self {
            key,
            config,
            in_file: None,
            own_stop_policy: None,
            resource,
            state: WatcherState::Stopped,
            workers: BTreeMap::new(),
            counts: Counts::default(),
            next_serial: 0,
            slots: Slots::default(),
            running: None,
            waiting: VecDeque::new(),
            resizing: Vec::new(),
            proofs: Vec::new(),
            failures: Failures::default(),
            gave_up: None,
            service_ready: None,
            next_spawn: Mono(0),
            removed: false,
            wanted: false,
            enabled: None,
            held: Vec::new(),
            along: false,
            lost_at: None,
            predecessors: BTreeSet::new(),
            activation: Activation::default(),
            hooks: Hooks::default(),
            history: History::default(),
            runs: Runs::default(),
            scaler: Scaler::default(),
        }
    }

    pub(in crate::arbiter) fn name(&self) -> &str {
        &self.config.name
    }

    /// What the file says of it, to be compared with what it says next; where it says nothing, what the watcher is.
    pub(in crate::arbiter) fn baseline(&self) -> &Arc<WatcherConfig> {
        self.in_file.as_ref().unwrap_or(&self.config)
    }

    /// Whether a client has added it, and the file does not name it.
    pub(in crate::arbiter) fn came_by_add(&self) -> bool {
        self.in_file.is_none()
    }

    pub(in crate::arbiter) fn set_baseline(&mut self, config: Arc<WatcherConfig>) {
        self.in_file = Some(config);
    }

    /// Wants as many processes as this configuration does. A singleton by `set` is none any more where it wants several.
    pub(in crate::arbiter) fn scale(&mut self, to: &WatcherConfig) {
        let config = Arc::make_mut(&mut self.config);
        config.numprocesses = to.numprocesses;
        config.singleton = to.singleton;
    }

    /// To which processes the signals of a stop go.
    pub(in crate::arbiter) fn kill_mode(&self) -> KillMode {
        self.own_stop_policy.as_ref().map_or(self.config.kill_mode, |policy| policy.kill_mode)
    }

    /// How its processes are asked to stop.
    pub(in crate::arbiter) fn stop_policy(&self) -> StopPolicy {
        self.own_stop_policy.clone().unwrap_or_else(|| StopPolicy {
            signal: self.config.stop_signal,
            steps: self.config.stop_steps.clone(),
            timeout: self.config.graceful_timeout,
            stop_children: self.config.stop_children,
            kill_mode: self.config.kill_mode,
        })
    }

    pub(in crate::arbiter) fn set_stop_policy(&mut self, policy: Option<StopPolicy>) {
        self.own_stop_policy = policy;
    }

    /// Whether its configuration was replaced, and its processes are of the one before.
    pub(in crate::arbiter) fn awaits_replacement(&self) -> bool {
        self.own_stop_policy.is_some()
    }

    /// How its processes are replaced. `needs_new`: a HUP would not do.
    pub(in crate::arbiter) fn reload_mode(&self, needs_new: bool) -> ReloadMode {
        let by_send_hup = if self.config.send_hup { ReloadMode::Hup } else { ReloadMode::Overlap };
        match self.config.reload.unwrap_or(by_send_hup) {
            ReloadMode::Hup if !needs_new => ReloadMode::Hup,
            ReloadMode::Exclusive => ReloadMode::Exclusive,
            // Two of a singleton are never there, and neither are two workers with one value of a pool.
            ReloadMode::Overlap | ReloadMode::Hup if self.is_exclusive() => ReloadMode::Exclusive,
            ReloadMode::Overlap | ReloadMode::Hup => ReloadMode::Overlap,
        }
    }

    /// Whether the successor of a worker that goes by itself, or one of several that go in turns, starts first: the workers
    /// share managed sockets, or `reload = overlap` says that two may be there. Other programs may want the same port.
    pub(in crate::arbiter) fn may_run_twice(&self) -> bool {
        let config = &self.config;
        let shares = config.use_sockets || !config.sockets.is_empty() || config.stdin_socket.is_some();
        let overlaps = config.reload == Some(ReloadMode::Overlap) || shares && config.reload.is_none();
        overlaps && !self.is_exclusive()
    }

    /// Whether a worker and its successor are never there together.
    fn is_exclusive(&self) -> bool {
        self.config.singleton || !self.config.slots.is_empty()
    }

    /// Workers that have reached max_age and run until their successors do.
    pub(in crate::arbiter) fn aged(&self) -> impl Iterator<Item = WorkerId> + '_ {
        let aged = |worker: &Worker| worker.retiring && worker.state == WorkerState::Running;
        let there = self.counts.retiring > 0 && !self.is_surging();
        self.workers.iter().filter(move |(_, worker)| there && aged(worker)).map(|(id, _)| *id)
    }

    /// Whether a reload brings up new processes beside the old ones.
    pub(in crate::arbiter) fn is_surging(&self) -> bool {
        self.running.as_ref().is_some_and(|operation| operation.progress == Progress::Surging)
    }

    /// Whether its workers run until they are told to stop.
    pub(in crate::arbiter) fn is_service(&self) -> bool {
        self.config.kind == WatcherKind::Service
    }

    /// Whether the new processes of a reload are all up, and the old ones have been told to stop.
    pub(in crate::arbiter) fn is_retiring(&self) -> bool {
        self.running.as_ref().is_some_and(|operation| operation.progress == Progress::Retiring)
    }

    /// Whether a connection starts it where others start with circusd, or again after a stop.
    pub(in crate::arbiter) fn starts_on_demand(&self) -> bool {
        self.config.on_demand && self.config.autostart
    }

    /// It, or a worker of it, did not come up or stay up: for answers, and for `why`.
    pub(in crate::arbiter) fn note_failure(&mut self, wid: Option<Wid>, cause: Cause, now: Now) {
        self.history.chronicle.note(wid, What::Failed(cause.clone()), now);
        self.failures.note(wid, cause, now);
    }

    /// It is about to stop of its own accord: its latest failure is why, if it has one.
    pub(in crate::arbiter) fn give_up_for_latest_failure(&mut self) {
        self.gave_up = self.failures.latest().cloned();
    }

    /// Whether a worker that ended so has done its work.
    pub(in crate::arbiter) fn is_success(&self, exit_code: i32) -> bool {
        u8::try_from(exit_code).is_ok_and(|code| self.config.success_codes.contains(&code))
    }

    pub(in crate::arbiter) fn is_up(&self) -> bool {
        matches!(self.state, WatcherState::Starting { .. } | WatcherState::Active)
    }

    pub(in crate::arbiter) fn workers(&self) -> &BTreeMap<WorkerId, Worker> {
        &self.workers
    }

    pub(in crate::arbiter) fn counts(&self) -> Counts {
        self.counts
    }

    /// Those that got to their program: what `list` and `numprocesses` speak of.
    pub(in crate::arbiter) fn pids(&self) -> Vec<Pid> {
        self.workers.values().filter(|worker| worker.is_up()).filter_map(|worker| worker.pid).collect()
    }

    /// The processes an operation's answer speaks of, ascending.
    pub(in crate::arbiter) fn lasting_pids(&self) -> Vec<Pid> {
        let mut pids: Vec<Pid> =
            self.workers.values().filter(|w| w.is_up() && !w.is_ending()).filter_map(|w| w.pid).collect();
        pids.sort_unstable();
        pids
    }

    /// A record for a worker that is about to be launched.
    pub(in crate::arbiter) fn admit_worker(&mut self, wid: Wid, now: Now) -> WorkerId {
        let id = WorkerId { watcher: self.key, serial: self.next_serial };
        self.next_serial += 1;
        let worker = Worker::new(wid, now);
        *self.counts.of(worker.class()) += 1;
        self.workers.insert(id, worker);
        id
    }

    /// Changes a record; the counts follow. `None` if there is no such worker.
    pub(in crate::arbiter) fn change<R>(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker) -> R) -> Option<R> {
        let worker = self.workers.get_mut(&id)?;
        let before = worker.class();
        let result = change(worker);
        let after = worker.class();
        *self.counts.of(before) -= 1;
        *self.counts.of(after) += 1;
        Some(result)
    }

    /// A worker that is off the record leaves its slot, unless its successor has that.
    pub(in crate::arbiter) fn leave_slot(&mut self, worker: &Worker) {
        if !worker.hands_over {
            self.slots.release(worker.wid);
        }
    }

    /// A worker is to go when its successor runs, which takes its slot. `false` where another process of that slot is
    /// still there: there are two of one slot at most.
    pub(in crate::arbiter) fn retire(&mut self, id: WorkerId) -> bool {
        let Some(wid) = self.workers.get(&id).map(|worker| worker.wid) else { return false };
        if self.workers.iter().any(|(other, worker)| *other != id && worker.wid == wid) {
            return false;
        }
        self.change(id, |worker| (worker.retiring, worker.hands_over) = (true, true));
        self.slots.hand_over(wid);
        true
    }

    /// The name of the next worker.
    pub(in crate::arbiter) fn next_serial(&self) -> u64 {
        self.next_serial
    }

    pub(in crate::arbiter) fn dismiss(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.workers.remove(&id)?;
        *self.counts.of(worker.class()) -= 1;
        Some(worker)
    }

    /// Whether some worker is on its way, also one that is not wanted any more.
    pub(in crate::arbiter) fn is_bringing_up(&self) -> bool {
        self.workers.values().any(|worker| worker.state.is_coming() && worker.state != WorkerState::Unready)
    }

    /// How many workers are to be launched now, pacing aside: wanted, less all that run, come, leave or wait.
    pub(in crate::arbiter) fn missing(&self) -> usize {
        let here = self.counts.undecided() + self.counts.running + self.counts.dying;
        (self.config.numprocesses as usize)
            .saturating_sub(here)
            .saturating_sub(self.slots.waiting())
            .saturating_sub(self.slots.left_empty as usize)
    }

    /// How many workers are too many: those that run or come, or wait for their back-off.
    pub(in crate::arbiter) fn surplus(&self) -> usize {
        let up = self.counts.starting + self.counts.unready + self.counts.running;
        let here = up + self.slots.waiting() + self.slots.due();
        here.saturating_sub(self.config.numprocesses as usize)
    }

    /// Whether every place has been tried: nothing is to be launched and nothing is on its way.
    pub(in crate::arbiter) fn is_settled(&self) -> bool {
        self.missing() == 0 && self.counts.undecided() == 0
    }

    /// Whether a start has tried every place: it does not wait for workers that exit again and again.
    pub(in crate::arbiter) fn has_been_tried(&self) -> bool {
        self.is_settled() || self.slots.all_tried(self.config.numprocesses)
    }

    /// Whether every worker that it can launch now runs its program, and one is not ready yet.
    pub(in crate::arbiter) fn waits_for_readiness(&self) -> bool {
        self.counts.unready > 0 && self.counts.starting == 0 && self.missing() == 0
    }

    /// Whether the number of processes is what was asked for, and those too many are gone.
    pub(in crate::arbiter) fn is_resized(&self) -> bool {
        self.is_settled() && self.counts.dying == 0 && self.counts.retiring == 0 && !self.scaler.drain.is_under_way()
    }

    /// Those that neither leave nor are being replaced, the oldest first.
    pub(in crate::arbiter) fn fresh(&self) -> impl Iterator<Item = WorkerId> + '_ {
        self.fresh_workers().map(|(id, _)| id)
    }

    fn fresh_workers(&self) -> impl DoubleEndedIterator<Item = (WorkerId, &Worker)> {
        self.workers
            .iter()
            .filter(|(_, worker)| !worker.retiring && !worker.is_ending())
            .map(|(id, worker)| (*id, worker))
    }

    /// The workers that leave where so many are surplus: those not launched yet, the youngest first, then the oldest.
    pub(in crate::arbiter) fn leavers(&self, count: usize) -> Vec<WorkerId> {
        let of = |unlaunched| self.fresh_workers().filter(move |(_, w)| w.state.is_unlaunched() == unlaunched);
        // Where none is on its way, the walk is spared.
        let coming = (self.counts.starting > 0).then(|| of(true).rev());
        coming.into_iter().flatten().chain(of(false)).map(|(id, _)| id).take(count).collect()
    }

    #[cfg(debug_assertions)]
    pub(in crate::arbiter) fn recount(&self) -> Counts {
        let mut counts = Counts::default();
        for worker in self.workers.values() {
            *counts.of(worker.class()) += 1;
        }
        counts
    }
}

/// A worker is at work: a watcher that starts has one.
pub(in crate::arbiter) fn note_run(w: &mut Watcher) {
    if let WatcherState::Starting { spawned } = &mut w.state {
        *spawned = true;
    }
}

/// Whether a watcher is stopped, and is to stay so for now.
pub(in crate::arbiter) fn is_idle(w: &Watcher) -> bool {
    w.state == WatcherState::Stopped && w.running.is_none() && w.waiting.is_empty()
}
