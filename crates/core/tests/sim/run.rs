//! One seed: commands, deaths and time, in random order, and the promises checked after each step.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use circus_core::arbiter::{
    Action, Arbiter, Event, Exit, HookTask, Intent, JobId, Launch, Memories, Mono, Now, OperationKind, Pid,
    ProbeOutcome, Reach, SampleTarget, SignalTarget, SinkEvent, SocketAddress, SocketInfo, WatcherKey, WatcherState,
    WatcherView, WorkerId, WorkerState, WorkerView,
};
use circus_core::config::{
    CircusConfig, Host, KillMode, Orphans, Propagate, ReloadMode, Respawn, SocketConfig, StopStep, StreamConfig,
    WatcherConfig, options,
};
use circus_core::proto::{
    Body, ClientAddress, EventKind, Fault, HookPoint, Object, ProcessInfo, Reply, ReplyTo, Request, RequestId,
    Selection, Signal, SpawnError, Stage, StreamName, Tail, TailRange,
};
use serde_json::json;

use super::client;
use super::demand::{SOCKETS, Sockets, any_socket, known};
use super::file::File;
use super::hooks::{Hooks, pid_of, point, random_hooks};
use super::kernel::{Kernel, LastStop, Left, MS, Process, Temper, stop_of};
use super::model::{Expected, is_hooked};
use super::probes::{About, Probes, random_checks};
use super::rng::Rng;
use super::scaling::{MAX, MIN, Needs, random_scale};
use super::sink_commands::SinkCommands;

/// The least time between two hand-overs: a hook that runs again each time would never come to its end.
const HAND_OVER_PAUSE: u64 = 4000 * MS;
/// The idle_timeout of the watchers that have one, in milliseconds.
const IDLE_TIMEOUT: u64 = 4000;

/// What happened, to see that the simulation reaches what it should.
#[derive(Debug, Default, Clone)]
pub(crate) struct Totals {
    seeds: u64,
    pub(crate) steps: u64,
    requests: u64,
    cancelled: u64,
    spawned: u64,
    reaped: u64,
    escalated: u64,
    leaders: u64,
    failed_launches: u64,
    quits: u64,
    awoken: u64,
    taken_over: u64,
    hooks: u64,
    hand_overs: u64,
    resumed: u64,
    commands: u64,
    probes: u64,
    counted: u64,
    idled: u64,
    pub(crate) scaled: u64,
    pub(crate) drained: u64,
    successors: u64,
    retired: u64,
    failed_reloads: u64,
    failed_calls: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.steps += other.steps;
        self.requests += other.requests;
        self.cancelled += other.cancelled;
        self.spawned += other.spawned;
        self.reaped += other.reaped;
        self.escalated += other.escalated;
        self.leaders += other.leaders;
        self.failed_launches += other.failed_launches;
        self.quits += other.quits;
        self.awoken += other.awoken;
        self.taken_over += other.taken_over;
        self.hooks += other.hooks;
        self.hand_overs += other.hand_overs;
        self.resumed += other.resumed;
        self.commands += other.commands;
        self.probes += other.probes;
        self.counted += other.counted;
        self.idled += other.idled;
        self.scaled += other.scaled;
        self.drained += other.drained;
        self.successors += other.successors;
        self.retired += other.retired;
        self.failed_reloads += other.failed_reloads;
        self.failed_calls += other.failed_calls;
    }
}

struct Sim {
    arbiter: Arbiter,
    rng: Rng,
    kernel: Kernel,
    file: File,
    /// What the daemon still has to do about the file, and when it does.
    reading: Option<(u64, Action)>,
    now: u64,
    /// The wall clock runs where it likes.
    unix: f64,
    watchers: BTreeMap<String, Expected>,
    next_request: u64,
    outstanding: HashMap<u64, String>,
    /// Launches whose outcome is not known yet.
    coming: Vec<(u64, WorkerId, Result<Process, SpawnError>)>,
    /// Processes that are to be looked at.
    sampling: Option<(JobId, Vec<SampleTarget>)>,
    /// Lines of output that are to be looked up.
    tailing: Vec<JobId>,
    /// How often in a hundred turns another daemon takes over, and not before when.
    hand_overs: u64,
    next_hand_over: u64,
    /// Deaths that the core knows of whose `reap` has not been published yet.
    unreaped: BTreeMap<i32, i32>,
    unannounced: BTreeSet<i32>,
    /// Processes whose watcher was removed with `nostop`.
    released: BTreeSet<i32>,
    /// Watchers with `drain` that had an operation under way before the event at hand.
    busy: BTreeSet<String>,
    /// A command ends workers.
    killing: bool,
    /// The end was asked for.
    quitting: bool,
    /// It was asked for once, and these watchers were up and idle then: they stop in order of priority.
    in_tiers: BTreeSet<String>,
    /// Likewise: the first stops before the second, which it requires.
    in_order: Vec<(String, String)>,
    ended: bool,
    trace: bool,
    sockets: Sockets,
    hooks: Hooks,
    sink_commands: SinkCommands,
    probes: Probes,
    needs: Needs,
    /// What the core has had written down last.
    remembered: Memories,
    /// Deaths whose `before_reap` is under way.
    awaiting_before_reap: Vec<(i32, i32)>,
    totals: Totals,
}

pub(crate) fn run(seed: u64, steps: u64, trace: bool) -> Totals {
    let mut sim = Sim::new(seed, trace);
    sim.drain();
    for _ in 0..steps {
        sim.step();
        sim.totals.steps += 1;
        if sim.ended {
            break;
        }
    }
    sim.settle_and_check();
    sim.quit_and_check();
    sim.totals.seeds = 1;
    sim.totals.hooks = sim.hooks.begun;
    sim.totals.commands = sim.sink_commands.started;
    sim.totals.probes = sim.probes.begun;
    sim.totals.scaled = sim.needs.changes;
    sim.totals
}

fn circus_config(rng: &mut Rng) -> CircusConfig {
    let state_file = Some("/state".into());
    CircusConfig { warmup_delay: *rng.pick(&[0.0, 0.0, 0.5]), state_file, ..CircusConfig::default() }
}

impl Sim {
    fn new(seed: u64, trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        let mut watchers = BTreeMap::new();
        let mut configs = Vec::new();
        for index in 0..1 + rng.below(4) {
            let name = format!("w{index}");
            let (config, mut expected) = random_watcher(&mut rng, &name);
            expected.up = expected.autostart;
            configs.push(config);
            watchers.insert(name, expected);
        }
        let file = File::new(circus_config(&mut rng), configs);
        let hand_overs = *rng.pick(&[0, 2, 10, 60]);
        let mut sim = Self {
            arbiter: Arbiter::new(file.config.clone(), Host::default(), seed),
            file,
            reading: None,
            rng,
            kernel: Kernel::new(),
            now: 1_000_000 * MS,
            unix: 1.7e9,
            watchers,
            next_request: 0,
            outstanding: HashMap::new(),
            coming: Vec::new(),
            sampling: None,
            tailing: Vec::new(),
            hand_overs,
            next_hand_over: 0,
            unreaped: BTreeMap::new(),
            unannounced: BTreeSet::new(),
            released: BTreeSet::new(),
            busy: BTreeSet::new(),
            killing: false,
            quitting: false,
            in_tiers: BTreeSet::new(),
            in_order: Vec::new(),
            ended: false,
            trace,
            sockets: Sockets::default(),
            hooks: Hooks::default(),
            sink_commands: SinkCommands::default(),
            probes: Probes::default(),
            needs: Needs::default(),
            remembered: Memories::new(),
            awaiting_before_reap: Vec::new(),
            totals: Totals::default(),
        };
        sim.drain();
        sim
    }

    fn clock(&self) -> Now {
        Now { mono: Mono(self.now), unix: self.unix }
    }

    fn say(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>12.3} {}", (self.now - 1_000_000 * MS) as f64 / 1e6, text());
        }
    }

    /// Remembers which watchers that drain have an operation under way: it may end in what comes now.
    fn note_busy(&mut self) {
        let drains = |name: &&String| self.arbiter.config_of(name).is_some_and(|config| config.scaling.drain.is_some());
        let is_busy = |name: &&String| self.arbiter.view(name).is_some_and(|view| view.busy);
        self.busy = self.watchers.keys().filter(drains).filter(is_busy).cloned().collect();
    }

    fn tell(&mut self, event: Event) {
        self.say(|| format!("-> {event:?}"));
        self.note_busy();
        self.arbiter.handle_event(event, self.clock());
    }

    // -- one step -------------------------------------------------------------------------------------------------

    fn step(&mut self) {
        match self.rng.below(100) {
            0..30 => self.random_request(),
            30..40 => self.kill_from_outside(),
            40..46 => self.change_temper(),
            46..47 => self.jump_wall_clock(),
            48 if self.rng.chance(50) => {
                if let Some(host) = self.hooks.lose_host() {
                    self.tell(Event::PythonHostLost { host, error: "it ended".into() });
                }
            }
            47..49 if self.rng.chance(20) => self.intent(Intent::Reload),
            49..50 if self.rng.chance(10) => self.intent(Intent::Quit),
            50..52 => self.tell(Event::Exited(vec![Exit::new(Pid(999_999), 0)])),
            52..56 => {
                let socket = any_socket(&mut self.rng);
                self.say(|| format!("a client connects to {socket}"));
                self.sockets.connect(socket, self.now);
            }
            56..75 => self.pass_at_most(50),
            75..92 => self.pass_at_most(1500),
            92..99 => self.pass_at_most(10_000),
            // Long enough for a slow crash loop to show.
            _ => self.pass_at_most(200_000),
        }
        self.drain();
        self.turn();
    }

    /// Another daemon reads what this one has written. Everything that this one had under way has ended with it: looks
    /// at processes and at output, reading files, hooks, and processes that had not got to their program.
    fn hand_over(&mut self) {
        if self.ended || self.now < self.next_hand_over || !self.rng.chance(self.hand_overs) {
            return;
        }
        self.next_hand_over = self.now + HAND_OVER_PAUSE;
        self.say(|| "another daemon takes over".into());
        let read = Arbiter::restore(&self.arbiter.save().unwrap()).unwrap();
        assert_eq!(read, self.arbiter, "the state was read differently than it was written");
        self.arbiter = read;
        let files = usize::from(self.reading.take().is_some()) + usize::from(self.sampling.take().is_some());
        self.probes.stop();
        let lost = files + self.coming.len() + self.tailing.len() + self.hooks.stop();
        self.coming.clear();
        self.tailing.clear();
        self.totals.hand_overs += 1;
        self.totals.resumed += lost as u64;
        let watched = self.sockets.stop_watching();
        let counted = self.totals.counted;
        self.arbiter.resume(self.clock());
        self.drain();
        let left = watched.into_iter().filter(|name| !self.sockets.is_watched(name)).count();
        // What was under way may have been all that kept a watcher from its rest, or its rest may be over. One that was
        // idle has been looked at, and may be busy.
        let idles = self.totals.counted > counted;
        assert!(left == 0 || lost > 0 || idles, "{left} sockets were watched, and are not any more");
    }

    fn pass_at_most(&mut self, ms: u64) {
        let duration = 1 + self.rng.below(ms * MS);
        self.pass(duration);
    }

    /// Lets time pass, stopping wherever something is due.
    fn pass(&mut self, duration: u64) {
        let end = self.now + duration;
        loop {
            let due = self.arbiter.next_deadline().map(|at| at.0);
            let coming = self.coming.iter().map(|(at, ..)| *at).min();
            let news = self.sockets.has_news().then_some(self.now);
            let reading = self.reading.as_ref().map(|(at, _)| *at);
            let hooks = self.hooks.next().map(|at| at.max(self.now));
            let commands = self.sink_commands.next_exit();
            let probes = self.probes.next().map(|at| at.max(self.now));
            let next = [probes, due, coming, reading, hooks, self.kernel.next_exit(), commands, news]
                .into_iter()
                .flatten()
                .min()
                .unwrap_or(u64::MAX);
            if next > end {
                break;
            }
            let passed = next.max(self.now) - self.now;
            self.now += passed;
            self.unix += passed as f64 / 1e9;
            self.turn();
        }
        let passed = end - self.now;
        self.now = end;
        self.unix += passed as f64 / 1e9;
    }

    /// Samples the processes and reads the output that the core asked for; sometimes only later.
    fn look(&mut self) {
        if self.rng.chance(30) {
            return;
        }
        for job in std::mem::take(&mut self.tailing) {
            self.tell(Event::Tailed { job, tail: Tail::default() });
            self.drain();
        }
        while let Some((job, targets)) = self.sampling.take() {
            let look = |target| match target {
                SampleTarget::Process(Pid(pid)) => self.kernel.processes.contains_key(&pid).then_some(pid),
                SampleTarget::Daemon => Some(0),
            };
            let seen = |pid| ProcessInfo { pid, usage: None, username: None, command: None, children: Vec::new() };
            let samples = targets.into_iter().map(|target| look(target).map(seen)).collect();
            self.tell(Event::Sampled { job, samples });
            self.drain();
        }
    }

    /// One turn of the daemon's loop: reap, launches that came through, timers.
    fn turn(&mut self) {
        self.look();
        self.sockets.serve(self.kernel.processes.values(), &self.watchers, self.now);
        while let Some(socket) = self.sockets.next_news() {
            self.awake(socket);
        }
        let now = self.now;
        while let Some((hook, outcome)) = self.hooks.take(now) {
            self.tell(match outcome {
                Some(outcome) => Event::HookDone { hook, outcome },
                None => Event::HookNotYet { hook, reason: "refused".into() },
            });
            self.drain();
        }
        while let Some((event, about)) = self.probes.take(now) {
            if let Event::Probed { outcome, .. } = &event {
                match about {
                    About::Check => {}
                    About::Idle(pid) if *outcome == ProbeOutcome::Passed => drop(self.needs.idle.insert(pid)),
                    About::Idle(_) => {}
                    About::Need(name) => self.needs.note(&name, outcome, now),
                }
            }
            self.tell(event);
            self.drain();
        }
        self.report();
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.coming).into_iter().partition(|(at, ..)| *at <= now);
        self.coming = later;
        for (_, worker, outcome) in due {
            self.launched(worker, outcome);
            self.drain();
        }
        if let Some((_, action)) = self.reading.take_if(|(at, _)| *at <= now) {
            self.attend_to_the_file(action);
            self.drain();
        }
        while let Some((id, event)) = self.sink_commands.collect(now) {
            self.tell(Event::SinkCommand(id, event));
            self.drain();
        }
        let collected = self.kernel.collect(now);
        let (exits, leaders) = self.sort_exits(collected);
        if !exits.is_empty() {
            self.exited(&exits);
        }
        for pid in leaders {
            self.totals.leaders += 1;
            self.tell(Event::LeaderExited(Pid(pid)));
            self.drain();
        }
        self.hand_over();
        // An action's result may be due at once (graceful_timeout = 0): the loop then turns again without waiting.
        loop {
            self.note_busy();
            self.arbiter.handle_timeout(self.clock());
            self.drain();
            if self.arbiter.next_deadline().is_none_or(|at| at.0 > now) {
                break;
            }
        }
        self.check();
    }

    /// Some worker reports something of itself.
    fn report(&mut self) {
        let reports = self.kernel.processes.iter().filter(|(_, process)| process.reports);
        let pids: Vec<i32> = reports.map(|(pid, _)| *pid).collect();
        if pids.is_empty() || !self.rng.chance(if self.probes.healthy { 100 } else { 30 }) {
            return;
        }
        // With all at work, each reports in its turn.
        let chosen = if self.probes.healthy { pids } else { vec![*self.rng.pick(&pids)] };
        for pid in chosen {
            let said = vec![self.probes.any_report(&mut self.rng)];
            self.tell(Event::Notified { pid: Pid(pid), said });
            self.drain();
        }
    }

    /// Tells the core of a connection.
    fn awake(&mut self, socket: &'static str) {
        let waiters = self.watchers.iter_mut().filter(|(_, expected)| expected.socket == Some(socket));
        let names: Vec<String> = waiters.map(|(name, expected)| (expected.waiting.call(), name.clone()).1).collect();
        let before: Vec<_> = names.iter().map(|name| self.arbiter.view(name)).collect();
        self.tell(Event::Acceptable(socket.into()));
        for (name, before) in names.iter().zip(before) {
            let after = self.arbiter.view(name);
            if let (Some(before), Some(after), Some(expected)) = (before, after, self.watchers.get_mut(name)) {
                expected.awoken(name, &before, &after, self.now);
                self.totals.awoken += u64::from(before.state != after.state);
            }
        }
        self.drain();
        self.sockets.serve(self.kernel.processes.values(), &self.watchers, self.now);
    }

    /// Some processes that have ended leave others behind; returns the exits that are final, and these leaders.
    fn sort_exits(&mut self, collected: Vec<(i32, i32, Process)>) -> (Vec<(i32, i32, Process)>, Vec<i32>) {
        let mut exits = Vec::new();
        let mut leaders = Vec::new();
        for (pid, exit_code, process) in collected {
            if process.left.is_some() {
                exits.push(self.ended_at_last(pid, process));
            } else if self.rng.chance(15) && self.arbiter.orphans_of(Pid(pid)) == Some(Orphans::End) {
                let asked = process.stop_sent || process.signalled;
                let epoch = self.watchers.get(&process.watcher).map_or(0, |expected| expected.epoch);
                let left = Left { exit_code, at: self.now, asked, quiet: self.is_quiet(&process), epoch };
                self.kernel.leave(pid, process, left);
                leaders.push(pid);
            } else {
                exits.push((pid, exit_code, process));
            }
        }
        (exits, leaders)
    }

    /// What a process had left behind is gone: it counts as if it had ended now, having lived as long as it did.
    fn ended_at_last(&mut self, pid: i32, mut process: Process) -> (i32, i32, Process) {
        let left = process.left.expect("it has left something behind");
        let epoch = self.watchers.get(&process.watcher).map_or(0, |expected| expected.epoch);
        process.born += self.now - left.at;
        process.stop_sent = left.asked;
        process.signalled = false;
        process.left = Some(Left { quiet: left.quiet && left.epoch == epoch, ..left });
        (pid, left.exit_code, process)
    }

    fn is_quiet(&self, process: &Process) -> bool {
        let view = self.arbiter.view(&process.watcher);
        view.is_some_and(|view| !view.busy && !view.aging && view.state == WatcherState::Active)
            && process.left.is_none_or(|left| left.quiet)
    }

    fn exited(&mut self, exits: &[(i32, i32, Process)]) {
        let mut quiet = Vec::new();
        for (pid, code, process) in exits {
            let released = self.released.remove(pid);
            if !released {
                self.unreaped.insert(*pid, *code);
            }
            quiet.push((released, self.is_quiet(process)));
        }
        let looks = self.probes.about(exits.iter().map(|(pid, ..)| *pid));
        let told = exits.iter().map(|(pid, exit_code, _)| Exit::new(Pid(*pid), *exit_code));
        self.tell(Event::Exited(told.collect()));
        for ((pid, code, process), (released, quiet)) in exits.iter().zip(quiet) {
            self.kernel.recycle(*pid);
            self.needs.idle.remove(pid);
            self.hooks.forget(*pid);
            self.totals.reaped += 1;
            let Some(expected) = self.watchers.get_mut(&process.watcher).filter(|_| !released) else { continue };
            expected.gone(process, self.now, quiet);
            let asked = process.stop_sent || process.signalled;
            if quiet && !asked {
                expected.ended(process, *code, self.now);
            }
        }
        self.drain();
        self.probes.check_ended(&looks);
        assert!(self.unreaped.is_empty(), "deaths that gave no reap: {:?}", self.unreaped);
    }

    // -- what the core wants ----------------------------------------------------------------------------------------

    fn drain(&mut self) {
        loop {
            while let Some(action) = self.arbiter.poll_action() {
                self.say(|| format!("<- {action:?}"));
                self.act(action);
            }
            match self.arbiter.poll_launch(self.clock()) {
                Some(launch) => self.launch(launch),
                None if !self.arbiter.has_launches() => break,
                None => {}
            }
        }
        while let Some(action) = self.arbiter.poll_action() {
            self.say(|| format!("<- {action:?}"));
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::OpenSockets(sockets) => self.tell(Event::SocketsOpened(opened(&sockets))),
            Action::WatchClock | Action::ReopenOutput | Action::RememberRun { .. } => {}
            Action::LoadConfig | Action::TakeOver(_) => {
                assert!(self.reading.is_none(), "two files are read at once");
                if self.rng.chance(30) {
                    self.reading = Some((self.now + self.rng.below(500 * MS), action));
                } else {
                    self.attend_to_the_file(action);
                }
            }
            Action::Signal { pid, signal, reach, .. } => self.signal(pid, signal, reach),
            // As kill(2) does with a process of another user.
            Action::SignalRequest { job, .. } if self.rng.chance(5) => {
                self.totals.failed_calls += 1;
                let result = Err(Fault::command("Operation not permitted"));
                self.tell(Event::SignalDone { job, signalled: Vec::new(), result });
            }
            Action::SignalRequest { job, pids, signal, target } => {
                for pid in &pids {
                    assert!(!self.hooks.has_refused(pid.0, signal), "{signal} to {} was kept back", pid.0);
                    let process = self.kernel.processes.get_mut(&pid.0).expect("a signal to no process");
                    process.signalled |= matches!(target, SignalTarget::Process | SignalTarget::Recursive);
                    if signal == Signal::KILL {
                        self.kernel.end(pid.0, self.now + MS, -9);
                    }
                }
                // Its children are no workers.
                let reaches = matches!(target, SignalTarget::Process | SignalTarget::Recursive);
                let signalled = if reaches { pids } else { Vec::new() };
                self.tell(Event::SignalDone { job, signalled, result: Ok(()) });
            }
            Action::Sample { job, targets } => {
                assert!(!targets.is_empty() && self.sampling.is_none(), "one order to sample processes at a time");
                self.sampling = Some((job, targets));
            }
            Action::RunHook(call) => {
                match (point(&call), pid_of(&call)) {
                    (Some(HookPoint::AfterSpawn), Some(pid)) => drop(self.unannounced.remove(&pid)),
                    (Some(HookPoint::BeforeReap), Some(pid)) => {
                        self.awaiting_before_reap.extend(self.unreaped.remove(&pid).map(|code| (pid, code)));
                    }
                    (Some(HookPoint::BeforeSignal), Some(pid)) => {
                        // A stop that is kept back is one all the same; a signal of a request comes as an order of its own.
                        // SIGKILL may be either.
                        let process = self.kernel.processes.get_mut(&pid).expect("a hook about no process");
                        match call.subject.signum {
                            Some(Signal(10)) => {}
                            Some(Signal::KILL) => process.signalled = true,
                            _ => process.stop_sent = true,
                        }
                    }
                    (..) => {}
                }
                self.hooks.run(*call, &mut self.rng, self.now);
            }
            Action::EndHook(hook) => self.hooks.end(hook),
            Action::EndPythonHost(host) => self.hooks.end_host(host),
            Action::Publish(notice) => {
                if let EventKind::Scale { before, numprocesses, .. } = &notice.kind {
                    self.needs.changed(&notice.resource, (*before, *numprocesses), self.now);
                    if let Some(expected) = self.watchers.get_mut(&notice.resource) {
                        expected.touched();
                        expected.numprocesses = *numprocesses;
                    }
                }
                self.published(&notice.kind);
            }
            Action::Reply(reply) => self.replied(reply),
            Action::Restart | Action::Exit(_) => {
                let mine: Vec<_> = self.kernel.processes.keys().filter(|pid| !self.released.contains(pid)).collect();
                assert!(mine.is_empty(), "the end came while {mine:?} were alive");
                self.ended = true;
            }
            Action::WatchSocket { name, on } => self.sockets.watch(&name, on),
            Action::Measure { .. } => unreachable!("the watchers that follow their need ask a command"),
            Action::CountConnections { watcher, sockets } => self.count_connections(watcher, &sockets),
            Action::CloseStreams(watcher) => {
                if let Some(id) = self.sink_commands.close(watcher, &mut self.rng, self.now) {
                    self.tell(Event::SinkCommand(id, SinkEvent::Closed));
                }
            }
            Action::Probe(call) => {
                let pid = call.pid.map(|pid| pid.0);
                assert!(
                    pid.is_none_or(|pid| self.kernel.processes.contains_key(&pid)),
                    "a look at {pid:?}, which is gone"
                );
                self.probes.begin(&call, &mut self.needs, &mut self.rng, self.now);
            }
            Action::EndProbe(probe) => self.probes.end(probe),
            Action::StartSinkCommand(id) => {
                if let Some(event) = self.sink_commands.start_again(id, &mut self.rng, self.now) {
                    self.tell(Event::SinkCommand(id, event));
                }
            }
            Action::KillSinkCommand(pid) => self.sink_commands.kill(pid, self.now),
            Action::Upgrade(_) => self.tell(Event::UpgradeFailed { stage: "check", reason: "no".into() }),
            Action::Log(..) | Action::UpdateStreams(..) | Action::ForgetOutput(_) | Action::ForgetStored(_) => {}
            Action::Remember(memories) => self.remembered = memories,
            Action::Tail { job, .. } => self.tailing.push(job),
        }
    }

    /// A watcher whose connections are counted stops only if there has been none for its idle_timeout.
    fn count_connections(&mut self, watcher: WatcherKey, sockets: &[String]) {
        self.totals.counted += 1;
        // A client may connect between the last news and the look.
        if self.rng.chance(20) && !sockets.is_empty() {
            let name = known(self.rng.pick::<String>(sockets));
            self.say(|| format!("a client connects to {name} just before"));
            self.sockets.connect(name, self.now);
        }
        if self.rng.chance(5) {
            self.totals.failed_calls += 1;
            return self.tell(Event::Connections { watcher, open: Err("Too many open files".into()) });
        }
        let counts: Vec<(usize, u64)> = sockets.iter().map(|name| self.sockets.count(name, self.now)).collect();
        let open = counts.iter().map(|(open, _)| open).sum();
        let stopping = |sim: &Self| sim.arbiter.views().iter().filter(|v| v.state == WatcherState::Stopping).count();
        let before = stopping(self);
        self.tell(Event::Connections { watcher, open: Ok(open) });
        if stopping(self) > before {
            self.totals.idled += 1;
            assert_eq!(open, 0, "a watcher stops under a connection");
            let idle = counts.iter().map(|(_, idle)| *idle).min().unwrap_or(u64::MAX);
            assert!(idle >= IDLE_TIMEOUT * MS, "a watcher stops {} ms after a connection", idle / MS);
        }
    }

    /// The file is read, or what it says is taken over; either may fail.
    fn attend_to_the_file(&mut self, action: Action) {
        let fails = self.rng.chance(10);
        match action {
            Action::TakeOver(_) if fails => self.tell(Event::TakenOver(Err("no such address".into()))),
            Action::TakeOver(config) => {
                if !self.quitting {
                    for (name, stop, mode) in self.file.taken_over(&config, &mut self.watchers) {
                        let coming = self.coming.iter_mut().filter_map(|(_, _, outcome)| outcome.as_mut().ok());
                        let processes = self.kernel.processes.values_mut().chain(coming);
                        processes.filter(|p| p.watcher == name).for_each(|p| {
                            p.stops.push(stop.clone());
                            p.kill_modes.push(mode);
                        });
                    }
                }
                self.totals.taken_over += 1;
                self.tell(Event::TakenOver(Ok(opened(&config.sockets))));
            }
            _ if fails => self.tell(Event::ConfigLoaded(Err(vec!["circus.ini:1: broken".into()]))),
            _ => self.tell(Event::ConfigLoaded(Ok((Box::new(self.file.config.clone()), Vec::new())))),
        }
    }

    fn signal(&mut self, pid: Pid, signal: Signal, reach: Reach) {
        if reach == Reach::Children {
            return;
        }
        let target = self.kernel.processes.get(&pid.0).expect("a signal to a process that is gone");
        // A hook speaks of the process, not of what it leaves behind.
        let kept_back = target.left.is_none() && self.hooks.has_refused(pid.0, signal);
        assert!(!kept_back, "{signal} to {} was kept back", pid.0);
        let temper = target.temper;
        let process = self.kernel.processes.get_mut(&pid.0).unwrap();
        if signal == Signal::HUP {
            process.signalled = true;
            return;
        }
        let before = std::mem::replace(&mut process.stop_sent, true);
        if !before && process.left.is_none() && signal != Signal::KILL {
            self.check_retirement(pid.0);
            self.check_drained(pid.0);
        }
        let process = self.kernel.processes.get_mut(&pid.0).unwrap();
        process.stopped_by(signal, reach, self.now);
        if signal == Signal::KILL {
            self.totals.escalated += 1;
            return self.kernel.end(pid.0, self.now + MS, -9);
        }
        match temper {
            Temper::Stubborn => {}
            Temper::StopsAfter(ms) => self.kernel.end(pid.0, self.now + ms * MS, 0),
            Temper::Healthy | Temper::DiesAfter(_) | Temper::SucceedsAfter(_) | Temper::Unlaunchable(_) => {
                self.kernel.end(pid.0, self.now + MS, -signal.0);
            }
        }
    }

    /// A worker is told to stop. Where that is for a reload with new workers first, its successor must have lived for
    /// min_uptime.
    fn check_retirement(&mut self, pid: i32) {
        let process = &self.kernel.processes[&pid];
        let (Some(view), Some(config)) =
            (self.arbiter.view(&process.watcher), self.arbiter.config_of(&process.watcher))
        else {
            return;
        };
        let reloads = matches!(view.operation, Some(OperationKind::Reload | OperationKind::ReloadSequential));
        // What a command, a hook or a check asks for may come in between.
        let checked = !config.hooks.is_empty() || config.checks != circus_core::config::Checks::default();
        let checked = checked || config.respawn != Respawn::Always;
        let known = process.watcher.starts_with('w') && self.released.is_empty();
        if self.killing
            || checked
            || !reloads
            || !known
            || view.state == WatcherState::Stopping
            || !overlaps(config, &view)
        {
            return;
        }
        // Where a reload fails, the new ones go, and those before them stay.
        let stays = |other: &Process| {
            (&other.watcher, other.wid) == (&process.watcher, process.wid)
                && other.born < process.born
                && !other.stop_sent
        };
        if self.kernel.processes.values().any(stays) {
            return;
        }
        let younger = |other: &&Process| {
            (&other.watcher, other.wid) == (&process.watcher, process.wid)
                && other.born > process.born
                && !other.stop_sent
        };
        if let Some(successor) = self.kernel.processes.values().find(younger) {
            let lived = self.now - successor.born;
            assert!(lived >= successor.min_uptime, "{pid} is told to stop, and its successor has lived for {lived} ns");
            self.totals.retired += 1;
            return;
        }
        let here = |other: &&Process| other.watcher == process.watcher && !other.stop_sent;
        let coming = self.coming.iter().filter_map(|(_, _, outcome)| outcome.as_ref().ok());
        let left: Vec<&Process> = self.kernel.processes.values().chain(coming).filter(here).collect();
        // Where a reload fails, the new ones go, and there may have been too few old ones before it.
        if left.iter().all(|other| other.born < process.born) {
            return;
        }
        let left = left.len();
        assert!(left >= view.numprocesses as usize, "{pid} is told to stop, and only {left} of its watcher are left");
    }

    /// A worker that is told to stop because there are too many has said that it is idle.
    fn check_drained(&mut self, pid: i32) {
        let process = &self.kernel.processes[&pid];
        let (Some(view), Some(config)) =
            (self.arbiter.view(&process.watcher), self.arbiter.config_of(&process.watcher))
        else {
            return;
        };
        let is_surplus = view.state == WatcherState::Active && !view.busy && !self.killing && config.max_age == 0;
        // A reload that has failed just now ends its new workers.
        let is_surplus = is_surplus && !self.busy.contains(&process.watcher);
        // One that was on its way has nothing to lose.
        let is_young = self.now - process.born < 40 * MS;
        if config.scaling.drain.is_some() && is_surplus && !is_young && !self.released.contains(&pid) {
            assert!(self.needs.idle.contains(&pid), "{pid} is told to stop, and was not asked");
            self.totals.drained += 1;
        }
    }

    fn launch(&mut self, launch: Launch) {
        let name = launch.config.name.clone();
        let wid: u32 = launch.argv[1].parse().unwrap();
        self.say(|| format!("launch {name} wid {wid}"));
        self.hooks.check_launch(&name, launch.worker.watcher);
        if launch.config.stdout_stream.as_ref().is_some_and(|stream| stream.class == "exec")
            && let Some((id, event)) = self.sink_commands.open(launch.worker.watcher, &mut self.rng, self.now)
        {
            self.tell(Event::SinkCommand(id, event));
        }
        let here = |process: &&Process| process.watcher == name;
        let same = |worker: &WorkerId| worker.watcher == launch.worker.watcher;
        let coming = self.coming.iter().filter(|(_, worker, _)| same(worker));
        let coming = coming.filter_map(|(_, _, outcome)| outcome.as_ref().ok());
        let present: Vec<&Process> = self.kernel.processes.values().chain(coming).filter(here).collect();
        let fresh = present.iter().filter(|process| !process.stop_sent).count();
        let released = self.kernel.processes.iter().filter(|(pid, p)| here(p) && self.released.contains(pid)).count();
        let views = self.arbiter.views();
        let known = views.iter().flat_map(|view| &view.workers).any(|worker| worker.id == launch.worker);
        assert!(known, "a launch for a watcher that is not there");
        // One that the file lacks has no name any more, and runs on until its turn to stop has come.
        if let (0, Some(view)) = (released, self.arbiter.view(&name)) {
            let doubles: Vec<&&Process> = present.iter().filter(|process| process.wid == wid).collect();
            assert!(doubles.len() < 2, "{name}: wid {wid} is used three times");
            if let Some(predecessor) = doubles.first() {
                self.totals.successors += 1;
                check_successor(&launch.config, &view, predecessor, &present);
            }
            // Those that come up only to be told to stop are not told yet.
            let stop_pending = |w: &&WorkerView| w.state == WorkerState::Starting { stop_pending: true };
            let fresh = fresh.saturating_sub(view.workers.iter().filter(stop_pending).count());
            let most = view.numprocesses as usize * if view.busy { 2 } else { 1 };
            let busy = view.busy || view.aging;
            assert!(fresh < most.max(1) || busy, "{name}: {fresh} processes, and one more is launched");
        }
        let expected = self.watchers.get_mut(&name);
        let temper = expected.as_ref().map_or(Temper::Healthy, |expected| expected.temper);
        if let Some(expected) = expected {
            expected.launched(wid, self.now);
            if expected.socket.is_some() {
                expected.waiting.launched(&name);
            }
            let busy = self.arbiter.view(&name).is_none_or(|view| view.busy || view.aging);
            let most = (expected.numprocesses as usize).saturating_sub(expected.finished);
            assert!(busy || expected.finished == 0 || fresh < most, "{name}: a worker that has succeeded is replaced");
        }
        let process = Process {
            watcher: name.clone(),
            wid,
            stops: vec![stop_of(&launch.config)],
            kill_modes: vec![launch.config.kill_mode],
            last_stop: LastStop::None,
            temper,
            born: self.now,
            min_uptime: (launch.config.min_uptime * 1e9) as u64,
            exit: None,
            stop_sent: false,
            killed_from_outside: false,
            signalled: false,
            reports: launch.config.checks.are_notified(),
            left: None,
        };
        let outcome = match temper {
            Temper::Unlaunchable(errno) => Err(SpawnError { stage: Stage::Exec, errno, detail: name }),
            Temper::Healthy
            | Temper::DiesAfter(_)
            | Temper::SucceedsAfter(_)
            | Temper::StopsAfter(_)
            | Temper::Stubborn => Ok(process),
        };
        // Some launches take a while, as those that change their user do.
        if self.rng.chance(15) {
            let later = self.now + self.rng.below(30 * MS);
            self.coming.push((later, launch.worker, outcome));
        } else {
            self.launched(launch.worker, outcome);
        }
    }

    fn launched(&mut self, worker: WorkerId, outcome: Result<Process, SpawnError>) {
        match outcome {
            Ok(mut process) => {
                process.born = self.now;
                match process.temper {
                    Temper::DiesAfter(ms) => process.exit = Some((self.now + ms * MS, 3)),
                    Temper::SucceedsAfter(ms) => process.exit = Some((self.now + ms * MS, 0)),
                    Temper::Healthy | Temper::StopsAfter(_) | Temper::Stubborn | Temper::Unlaunchable(_) => {}
                }
                let watcher = process.watcher.clone();
                let pid = self.kernel.fork(&mut self.rng, process);
                self.totals.spawned += 1;
                self.unannounced.insert(pid);
                self.tell(Event::Spawned { worker, pid: Pid(pid) });
                if self.arbiter.view(&watcher).is_none_or(|view| !view.workers.iter().any(|w| w.pid == Some(Pid(pid))))
                {
                    // Its watcher was removed with nostop while it came up.
                    self.unannounced.remove(&pid);
                    if !self.arbiter.views().iter().flat_map(|view| &view.workers).any(|w| w.pid == Some(Pid(pid))) {
                        self.released.insert(pid);
                    }
                }
            }
            Err(error) => {
                self.totals.failed_launches += 1;
                if let Some(expected) = self.watchers.get_mut(&error.detail) {
                    expected.unsure = true;
                }
                self.tell(Event::SpawnFailed { worker, error });
            }
        }
    }

    fn published(&mut self, kind: &EventKind) {
        match kind {
            EventKind::Spawn { process_pid } => {
                assert!(!self.hooks.judges(*process_pid), "{process_pid} is announced before it is accepted");
                let known = self.kernel.processes.contains_key(process_pid) || self.unreaped.contains_key(process_pid);
                assert!(known, "spawn of no process");
                self.unannounced.remove(process_pid);
            }
            EventKind::Kill { process_pid } => {
                let told = self.kernel.processes.get(process_pid).is_some_and(|process| process.stop_sent);
                assert!(told, "kill of {process_pid}, which was sent nothing");
            }
            EventKind::Reap { process_pid, exit_code, .. } => {
                let after_hook = self.awaiting_before_reap.iter().position(|exit| *exit == (*process_pid, *exit_code));
                // Exits without a hook are published at once, also where an earlier process of the same pid waits for its
                // before_reap.
                let code = match (self.unreaped.remove(process_pid), after_hook) {
                    (Some(code), _) => Some(code),
                    (None, at) => at.map(|at| self.awaiting_before_reap.remove(at).1),
                };
                assert_eq!(code, Some(*exit_code), "a reap of {process_pid} that is not its death");
            }
            EventKind::Ready { process_pid, .. } | EventKind::Unhealthy { process_pid, .. } => {
                assert!(self.kernel.processes.contains_key(process_pid), "{process_pid} is judged after its end");
            }
            EventKind::ReloadFailed { .. } => self.totals.failed_reloads += 1,
            EventKind::Start
            | EventKind::Stop { .. }
            | EventKind::RunBegin { .. }
            | EventKind::RunEnd(_)
            | EventKind::Reload
            | EventKind::Updated
            | EventKind::Scale { .. }
            | EventKind::Add
            | EventKind::Remove
            | EventKind::HookSuccess { .. }
            | EventKind::HookFailure { .. }
            | EventKind::Upgrade { .. } => {}
        }
    }

    fn replied(&mut self, reply: Reply) {
        let ReplyTo::Client(ClientAddress { id: RequestId::Json(id), .. }) = &reply.to else {
            panic!("an answer to no request: {reply:?}")
        };
        let asked = self.outstanding.remove(&id.parse().unwrap());
        assert!(asked.is_some(), "request {id} was answered twice, or was a cast");
        if let Body::Error(fault) = &reply.body
            && fault.reason.contains("cancelled")
        {
            self.totals.cancelled += 1;
        }
    }

    // -- commands ----------------------------------------------------------------------------------------------------

    fn random_request(&mut self) {
        let names: Vec<String> = self.watchers.keys().cloned().collect();
        let name =
            if names.is_empty() || self.rng.chance(3) { "absent".to_owned() } else { self.rng.pick(&names).clone() };
        let waiting = self.rng.chance(60);
        let selection = Some(Selection { name: name.clone(), method: circus_core::proto::MatchMethod::Simple });
        let everyone = Some(Selection { name: "*".into(), method: circus_core::proto::MatchMethod::Glob });
        let request = match self.rng.below(25) {
            0..2 => Request::Start { selection, waiting },
            2..4 => Request::Stop { selection, waiting },
            4..6 => Request::Restart { selection, waiting },
            6..8 => Request::Incr { name: name.clone(), nb: self.rng.below(3) as i64, waiting },
            8..10 => Request::Decr { name: name.clone(), nb: self.rng.below(3) as i64, waiting },
            10 => Request::Reload { name: Some(name.clone()), graceful: true, sequential: false, waiting },
            11 => Request::Reload { name: Some(name.clone()), graceful: true, sequential: true, waiting },
            12 => Request::Reload { name: Some(name.clone()), graceful: false, sequential: false, waiting },
            13 => Request::Kill {
                name: name.clone(),
                pid: None,
                signum: *self.rng.pick(&[None, Some(Signal(2)), Some(Signal::KILL)]),
                graceful_timeout: *self.rng.pick(&[None, Some(0.0), Some(1.5)]),
                waiting,
            },
            14 => Request::Signal {
                name: name.clone(),
                signum: *self.rng.pick(&[Signal(10), Signal::KILL]),
                pid: None,
                childpid: None,
                children: false,
                recursive: false,
            },
            15 => {
                let mut options = Object::new();
                options.insert("numprocesses".into(), json!(self.rng.below(5)));
                Request::Set { name: name.clone(), options, waiting }
            }
            16 => {
                let mut options = Object::new();
                options.insert("cmd".into(), json!("other"));
                Request::Set { name: name.clone(), options, waiting }
            }
            17 if self.rng.chance(40) => return self.add(waiting),
            18 if self.rng.chance(30) => return self.rm(&name, waiting),
            // What the file says of those that it has is expected of them.
            18 if name.starts_with('a') && self.rng.chance(50) => {
                let selection = Selection { name: name.clone(), method: circus_core::proto::MatchMethod::Simple };
                Request::Enable { selection, enabled: self.rng.chance(50), now: false, waiting }
            }
            19 if self.rng.chance(30) => match self.rng.below(3) {
                0 => Request::Start { selection: None, waiting },
                1 => Request::Stop { selection: None, waiting },
                _ => Request::Restart { selection: everyone, waiting },
            },
            18 => Request::Stats {
                name: self.rng.chance(50).then(|| name.clone()),
                process: None,
                extended: self.rng.chance(50),
            },
            19 => Request::DStats,
            20..23 => {
                for _ in 0..self.rng.below(3) {
                    self.file.edit(&mut self.rng);
                }
                let dry_run = self.rng.chance(10);
                if self.rng.chance(20) {
                    // As where `watch = yes` has seen a change.
                    return self.tell(Event::Intent(Intent::ReloadConfig));
                }
                return self.send(Request::ReloadConfig { dry_run, prune: false, waiting });
            }
            23 => Request::List { name: Some(name.clone()) },
            24 if self.rng.chance(50) => Request::Tail {
                name: name.clone(),
                stream: StreamName::Stdout,
                range: TailRange { lines: 5, wid: None, after: None },
            },
            _ if self.rng.chance(50) => Request::Status { name: None, verbose: true },
            _ => Request::Why { name: name.clone() },
        };
        self.expect(&name, &request);
        self.killing = matches!(request, Request::Kill { .. });
        if self.killing {
            let those = self.kernel.processes.values_mut().filter(|process| process.watcher == name);
            those.for_each(|process| process.last_stop = LastStop::Unknown);
        }
        self.send(request);
        self.drain();
        self.killing = false;
    }

    /// What the model makes of a request.
    fn expect(&mut self, name: &str, request: &Request) {
        let all = matches!(request, Request::Start { selection: None, .. } | Request::Stop { selection: None, .. })
            || matches!(request, Request::Restart { selection: Some(s), .. } if s.name == "*");
        let alone = self.watchers.len() == 1;
        for (other, expected) in &mut self.watchers {
            if !(all || other == name) {
                continue;
            }
            let scaled = expected.scaled;
            let allowed = |number: u32| !scaled || (MIN..=MAX).contains(&number);
            if !matches!(
                request,
                Request::List { .. }
                    | Request::Status { .. }
                    | Request::Stats { .. }
                    | Request::DStats
                    | Request::Tail { .. }
                    | Request::Why { .. }
            ) {
                expected.touched();
            }
            expected.called_by(request, all, alone);
            match request {
                Request::Start { .. } if !all || expected.autostart => {
                    expected.up = true;
                    expected.unsure = false;
                }
                Request::Restart { .. } if !all || expected.autostart || alone => {
                    expected.up = true;
                    expected.unsure = false;
                }
                Request::Restart { .. } | Request::Stop { .. } => {
                    expected.up = false;
                    expected.unsure = false;
                }
                Request::Reload { .. } => expected.up = true,
                Request::Enable { enabled, .. } => expected.autostart = *enabled,
                Request::Incr { nb, .. } if !expected.singleton => {
                    let number = expected.numprocesses + *nb as u32;
                    expected.numprocesses = if allowed(number) { number } else { expected.numprocesses };
                }
                Request::Decr { nb, .. } if !expected.singleton => {
                    let number = expected.numprocesses.saturating_sub(*nb as u32);
                    expected.numprocesses = if allowed(number) { number } else { expected.numprocesses };
                }
                Request::Set { options, .. } => {
                    let wanted = options.get("numprocesses").and_then(serde_json::Value::as_u64);
                    if let Some(wanted) = wanted.filter(|n| (!expected.singleton || *n <= 1) && allowed(*n as u32)) {
                        expected.numprocesses = wanted as u32;
                    }
                }
                _ => {}
            }
            expected.was_empty |= expected.numprocesses == 0;
        }
    }

    fn send(&mut self, request: Request) {
        let id = self.next_request;
        self.next_request += 1;
        let cast = self.rng.chance(5);
        if !cast {
            self.outstanding.insert(id, format!("{request:?}"));
        }
        self.totals.requests += 1;
        let to = if cast { ReplyTo::Discard } else { client(id) };
        self.tell(Event::Request(Box::new(to), request));
    }

    fn add(&mut self, waiting: bool) {
        let name = format!("a{}", self.next_request);
        let (config, mut expected) = random_watcher(&mut self.rng, &name);
        let start = self.rng.chance(70);
        expected.up = start;
        expected.autostart = true;
        expected.respawn = Respawn::Always;
        expected.warmup = false;
        expected.singleton = false;
        expected.send_hup = false;
        expected.numprocesses = config.numprocesses;
        let mut options = Object::new();
        options.insert("numprocesses".into(), json!(config.numprocesses));
        options.insert("graceful_timeout".into(), json!(config.graceful_timeout));
        for key in ["stop_signal", "kill_mode"] {
            options.extend(options::get(&config, key).map(|value| (key.to_owned(), value)));
        }
        if let Some(socket) = expected.socket {
            options.insert("on_demand".into(), json!(true));
            options.insert("stdin_socket".into(), json!(socket));
        }
        if expected.hooked {
            let pair = |hook: &circus_core::config::Hook| json!([hook.run, hook.ignore_failure]);
            let hooks = config.hooks.iter().map(|(point, hook)| (point.name().to_owned(), pair(hook)));
            options.insert("hooks".into(), hooks.collect::<Object>().into());
            options.insert("hook_timeout".into(), json!(config.hook_timeout));
            for key in ["ready", "ready_timeout", "health", "health_interval", "health_timeout", "health_retries"] {
                options.extend(options::get(&config, key).map(|value| (key.to_owned(), value)));
            }
        }
        // What the file says of those that it has is expected of them, whatever is remembered.
        options.insert("remember".into(), json!(self.rng.chance(50)));
        if start {
            expected.waiting.call();
        }
        self.watchers.insert(name.clone(), expected);
        self.send(Request::Add { name, cmd: "x".into(), args: Some(json!("$(circus.wid)")), options, start, waiting });
    }

    fn rm(&mut self, name: &str, waiting: bool) {
        let nostop = self.rng.chance(30);
        if nostop {
            let mine = self.kernel.processes.iter().filter(|(_, p)| p.watcher == name).map(|(pid, _)| *pid);
            let known: BTreeSet<i32> = self
                .arbiter
                .view(name)
                .map(|view| view.workers.iter().filter_map(|w| w.pid).map(|pid| pid.0).collect())
                .unwrap_or_default();
            self.released.extend(mine.filter(|pid| known.contains(pid)));
        }
        self.watchers.remove(name);
        self.file.forgotten(name);
        self.send(Request::Rm { name: name.to_owned(), nostop, waiting });
    }

    // -- the world's own doings ----------------------------------------------------------------------------------------

    fn kill_from_outside(&mut self) {
        let pids: Vec<i32> = self.kernel.processes.keys().copied().collect();
        if !pids.is_empty() {
            let pid = *self.rng.pick(&pids);
            self.kernel.processes.get_mut(&pid).unwrap().killed_from_outside = true;
            self.kernel.end(pid, self.now, -9);
            self.say(|| format!("{pid} is killed from outside"));
            self.turn();
        }
    }

    fn change_temper(&mut self) {
        let names: Vec<String> = self.watchers.keys().cloned().collect();
        if names.is_empty() {
            return;
        }
        let name = self.rng.pick(&names).clone();
        let temper = match self.rng.below(13) {
            12 => Temper::DiesAfter(11_000 + self.rng.below(30_000)),
            10 => Temper::SucceedsAfter(self.rng.below(900)),
            11 => Temper::SucceedsAfter(1100 + self.rng.below(5000)),
            0..4 => Temper::Healthy,
            4 => Temper::DiesAfter(self.rng.below(900)),
            5 => Temper::DiesAfter(1100 + self.rng.below(5000)),
            6 => Temper::StopsAfter(self.rng.below(8000)),
            7 => Temper::Stubborn,
            8 => Temper::Unlaunchable(2),
            _ => Temper::Unlaunchable(11),
        };
        self.say(|| format!("{name} becomes {temper:?}"));
        self.watchers.get_mut(&name).unwrap().temper = temper;
    }

    fn jump_wall_clock(&mut self) {
        self.unix += *self.rng.pick(&[-86400.0, 86400.0, -0.5]);
    }

    fn intent(&mut self, intent: Intent) {
        for expected in self.watchers.values_mut() {
            expected.touched();
            if intent == Intent::Reload && !expected.autostart {
                expected.waiting.call();
            }
        }
        self.quitting |= intent == Intent::Quit;
        if intent == Intent::Quit {
            // One with hooks, or whose workers end or cannot be started, may stop of its own accord.
            let steady = |(name, expected): &(&String, &Expected)| {
                let settled = self
                    .arbiter
                    .view(name)
                    .is_some_and(|view| view.state == WatcherState::Active && !view.busy && view.numprocesses > 0);
                let lasts = matches!(expected.temper, Temper::Healthy | Temper::StopsAfter(_) | Temper::Stubborn);
                // It has at least the priority of those that come after it.
                let needs = |other: &String| {
                    let config = self.arbiter.config_of(other);
                    config.is_some_and(|config| config.after.contains(name) || config.requires.contains(name))
                };
                let needed = self.watchers.keys().any(needs);
                settled
                    && lasts
                    && !expected.hooked
                    && !needed
                    && expected.respawn == Respawn::Always
                    && expected.socket.is_none()
            };
            let is_idle = |name: &String| {
                let view = self.arbiter.view(name);
                view.is_some_and(|view| view.state == WatcherState::Active && !view.busy)
            };
            let lasts = |expected: &Expected| {
                let lasts = matches!(expected.temper, Temper::Healthy | Temper::StopsAfter(_) | Temper::Stubborn);
                lasts && !expected.hooked && expected.respawn == Respawn::Always && expected.socket.is_none()
            };
            let pairs = self.watchers.iter().filter_map(|(name, expected)| Some((name, expected.requires.as_ref()?)));
            let pairs = pairs.filter(|(name, other)| is_idle(name) && is_idle(other));
            let pairs = pairs.filter(|(_, other)| self.watchers.get(*other).is_some_and(lasts));
            self.in_order = pairs.map(|(name, other)| (name.clone(), other.clone())).collect();
            self.in_tiers = self.watchers.iter().filter(steady).map(|(name, _)| name.clone()).collect();
        }
        self.totals.quits += u64::from(intent == Intent::Quit);
        self.tell(Event::Intent(intent));
        if intent == Intent::Quit {
            self.drain();
            if self.rng.chance(50) {
                self.pass(100 * MS);
                self.in_tiers.clear();
                self.in_order.clear();
                self.tell(Event::Intent(Intent::Quit));
            }
            self.drain();
            self.pass(60_000 * MS);
            self.drain();
            assert!(self.ended, "quit did not end");
        }
    }

    // -- promises -------------------------------------------------------------------------------------------------------

    fn check(&mut self) {
        assert!(self.arbiter.next_deadline().is_none_or(|at| at.0 > self.now || self.ended), "a deadline was missed");
        self.hooks.check(self.now);
        if !self.ended {
            self.sink_commands.check(self.now);
        }
        self.check_tiers();
        self.check_requirements();
        assert_eq!(self.remembered, *self.arbiter.memories(), "what is remembered was not written down");
        assert!(self.unannounced.is_empty(), "spawned and not published: {:?}", self.unannounced);
        // Meanwhile none is watched: it may be one that goes.
        let sockets_change = matches!(self.reading, Some((_, Action::TakeOver(_))));
        for (name, expected) in &mut self.watchers {
            let Some(view) = self.arbiter.view(name) else { continue };
            let weighty = |task: &HookTask| *task != HookTask::Run(HookPoint::ExtendedStats);
            let at_rest = view.state != WatcherState::Stopped || !view.hooks.iter().any(weighty);
            assert!(at_rest, "{name} is stopped, and a hook is under way");
            let leaves =
                self.kernel.processes.values().any(|process| process.watcher == *name && process.left.is_some());
            let scales = self
                .arbiter
                .config_of(name)
                .is_some_and(|config| config.scaling.drain.is_some() || config.scaling.scale.is_some());
            if leaves || scales {
                // After a decr, what a worker has left behind may hold the place that another slot waits for. Where workers
                // that are too many are asked first, one that ends meanwhile may have been one of them.
                expected.waits.clear();
            }
            if view.state == WatcherState::Active && !view.busy {
                expected.check_waits(self.now);
            }
            if !self.quitting && !sockets_change {
                expected.check_waiting(name, &view, &self.sockets, self.now);
            }
        }
    }

    /// At the end, a watcher stops when those of lower priority have, and those that require it.
    fn check_tiers(&self) {
        for (name, other) in &self.in_order {
            let [first, second] = [name, other].map(|name| self.arbiter.view(name).map(|view| view.state));
            let early = second == Some(WatcherState::Stopping) && first.is_some_and(|it| it != WatcherState::Stopped);
            assert!(!early, "{other} stops while {name}, which requires it, is {first:?}");
        }
        let views: Vec<(&String, WatcherView)> =
            self.in_tiers.iter().filter_map(|name| Some((name, self.arbiter.view(name)?))).collect();
        for (name, view) in &views {
            for (other, lower) in views.iter().filter(|(_, lower)| lower.priority < view.priority) {
                let early = view.state == WatcherState::Stopping && lower.state != WatcherState::Stopped;
                assert!(!early, "{name} stops while {other}, of lower priority, is {:?}", lower.state);
            }
        }
    }

    /// With every worker healthy, everything becomes what the last commands asked for.
    fn settle_and_check(&mut self) {
        if self.ended {
            return;
        }
        self.hooks.healthy = true;
        self.probes.healthy = true;
        self.needs.healthy = true;
        for expected in self.watchers.values_mut() {
            expected.temper = Temper::Healthy;
        }
        for process in self.kernel.processes.values_mut() {
            let ending = process.stop_sent || process.signalled || process.killed_from_outside;
            if let (Temper::DiesAfter(_) | Temper::SucceedsAfter(_), false) = (process.temper, ending) {
                process.temper = Temper::Healthy;
                process.exit = None;
            }
        }
        self.pass(300_000 * MS);
        let hand_overs = std::mem::take(&mut self.hand_overs);
        SOCKETS.into_iter().for_each(|socket| self.sockets.connect(socket, self.now));
        self.pass(20_000 * MS);
        // A worker that has reached max_age just now is replaced first.
        for _ in 0..100 {
            if self.arbiter.views().iter().all(|view| !view.busy) {
                break;
            }
            self.pass(100 * MS);
        }
        self.drain();
        self.turn();
        while self.sampling.is_some() || !self.tailing.is_empty() {
            self.turn();
        }
        self.hand_overs = hand_overs;
        self.check();
        assert!(self.outstanding.is_empty(), "never answered: {:?}", self.outstanding);
        assert_eq!(self.arbiter.pending_answers(), 0);
        assert_eq!(self.arbiter.views().len(), self.watchers.len(), "there is a watcher that is not wanted");
        for (name, expected) in &self.watchers {
            let view = self.arbiter.view(name).expect("a watcher got lost");
            // A worker of age is about to be replaced, at the very end.
            assert!(!view.busy || view.aging, "{name} is still busy: {view:?}");
            assert_eq!(view.numprocesses, expected.numprocesses, "{name}: numprocesses");
            if let Some(number) = self.needs.settled(name)
                && expected.scaled
                && !expected.unsure
                && view.state == WatcherState::Active
            {
                assert_eq!(view.numprocesses, number, "{name}: its need has been the same for minutes");
            }
            if view.aging {
                continue;
            }
            if let Some(socket) = expected.socket {
                let lost = expected.answers_connections() && self.sockets.has_waiting(socket);
                assert!(!lost, "{name}: a connection at {socket} was not accepted");
                continue;
            }
            if let Some(other) = expected.requires.as_ref().and_then(|other| self.watchers.get_key_value(other)) {
                self.check_requirement(name, &view, other);
            }
            if expected.hooked {
                let here = |(pid, p): &(&i32, &Process)| p.watcher == *name && !self.released.contains(*pid);
                let alive = self.kernel.processes.iter().filter(here).count();
                assert_eq!(alive, view.workers.len(), "{name}: processes and workers");
                continue;
            }
            if view.held_back {
                let hooked = |other: &Expected| other.hooked;
                assert!(self.watchers.values().any(hooked), "{name} is held back, and no watcher has hooks");
                continue;
            }
            if expected.unsure || expected.respawn == Respawn::Never || expected.has_finished {
                continue;
            }
            // A watcher that wants no process does not come up, or stays up.
            let state = if expected.up { WatcherState::Active } else { WatcherState::Stopped };
            if expected.numprocesses > 0 && view.state != state {
                let hint = "its last start may have had no process to start";
                assert!(
                    expected.up && view.state == WatcherState::Stopped,
                    "{name} is {:?}, not {state:?}",
                    view.state
                );
                assert!(self.may_have_been_empty(name), "{name} is stopped, not active ({hint})");
                continue;
            }
            if view.state == WatcherState::Active && !view.aging {
                assert_eq!(view.workers.len(), expected.numprocesses as usize, "{name}: workers");
            }
            let alive =
                self.kernel.processes.iter().filter(|(pid, p)| p.watcher == *name && !self.released.contains(pid));
            // One of age may just be being replaced.
            let coming = view.workers.iter().filter(|w| matches!(w.state, WorkerState::Starting { .. })).count();
            assert_eq!(alive.count() + coming, view.workers.len(), "{name}: processes and workers");
        }
    }

    /// With nothing under way, no watcher runs without the one that it requires.
    fn check_requirements(&self) {
        let under_way = |view: &WatcherView| {
            view.busy || matches!(view.state, WatcherState::Starting { .. } | WatcherState::Stopping)
        };
        if self.ended || self.quitting || self.reading.is_some() || self.arbiter.views().iter().any(under_way) {
            return;
        }
        for (name, expected) in &self.watchers {
            let Some(view) = self.arbiter.view(name) else { continue };
            if let Some(other) = expected.requires.as_ref().and_then(|other| self.watchers.get_key_value(other)) {
                self.check_requirement(name, &view, other);
            }
        }
    }

    /// A watcher does not run while one that it requires is stopped.
    fn check_requirement(&self, name: &str, view: &WatcherView, (other, required): (&String, &Expected)) {
        let there = self.arbiter.view(other).is_some_and(|other| other.state != WatcherState::Stopped);
        let comes_and_goes = required.socket.is_some() || required.respawn != Respawn::Always;
        let runs = view.state == WatcherState::Active && !comes_and_goes;
        assert!(there || !runs, "{name} runs, and {other}, which it requires, does not");
    }

    /// numprocesses was 0 at some time, when a start comes to nothing.
    fn may_have_been_empty(&self, name: &str) -> bool {
        self.watchers.get(name).is_some_and(|expected| expected.was_empty)
    }

    fn quit_and_check(&mut self) {
        if !self.ended {
            self.intent(Intent::Quit);
        }
        assert!(self.outstanding.is_empty(), "never answered: {:?}", self.outstanding);
        assert_eq!(self.arbiter.next_deadline(), None, "a timer was left after the end");
        assert_eq!(self.remembered, *self.arbiter.memories(), "what is remembered was not written down");
        assert!(self.hooks.is_quiet(), "a hook was left after the end");
        assert!(self.probes.is_quiet(), "a probe was left after the end");
        assert!(self.awaiting_before_reap.is_empty(), "deaths that gave no reap: {:?}", self.awaiting_before_reap);
        assert!(!self.sockets.are_watched(), "a socket is watched after the end");
        let mine: Vec<_> = self.kernel.processes.keys().filter(|pid| !self.released.contains(pid)).collect();
        assert!(mine.is_empty(), "left alive: {mine:?}");
    }
}

/// Whether new workers come first in what is being done.
fn overlaps(config: &WatcherConfig, view: &WatcherView) -> bool {
    let shares = config.use_sockets || !config.sockets.is_empty() || config.stdin_socket.is_some();
    let first = match config.reload {
        Some(ReloadMode::Overlap) => true,
        Some(ReloadMode::Exclusive) => false,
        Some(ReloadMode::Hup) => view.operation != Some(OperationKind::ReloadSequential),
        None => shares || view.operation == Some(OperationKind::Reload),
    };
    first && !config.singleton
}

/// A worker is launched while its predecessor is there.
fn check_successor(config: &WatcherConfig, view: &WatcherView, predecessor: &Process, present: &[&Process]) {
    let name = &config.name;
    if !name.starts_with('w') {
        return;
    }
    assert!(config.reload != Some(ReloadMode::Exclusive) && !config.singleton, "{name}: two workers of one slot");
    if predecessor.stop_sent {
        return;
    }
    assert!(view.busy || view.aging, "{name}: two workers of one slot, and no reload");
    let most = match config.reload_surge {
        0 => usize::MAX,
        surge => (view.numprocesses + surge) as usize,
    };
    assert!(present.len() < most, "{name}: {} processes, and a successor is launched", present.len());
    let twice = |process: &&&Process| {
        let same = |other: &&&Process| other.wid == process.wid && !other.stop_sent;
        !process.stop_sent && present.iter().filter(same).count() == 2
    };
    let batch = match (view.operation, config.reload_batch) {
        (Some(OperationKind::Reload), 0) => usize::MAX,
        (Some(OperationKind::Reload), batch) => batch as usize,
        _ => 1,
    };
    let under_way = present.iter().filter(twice).count() / 2;
    assert!(under_way < batch, "{name}: {under_way} workers are being replaced, and one more");
}

/// Open sockets, the number of each as the configuration's port, so that an old one is distinguished from a new one.
fn opened(sockets: &[SocketConfig]) -> Vec<SocketInfo> {
    let info = |socket: &SocketConfig| SocketInfo {
        name: socket.name.clone(),
        number: socket.port.into(),
        backlog: socket.backlog,
        per_worker: socket.so_reuseport,
        address: SocketAddress::Inet("127.0.0.1".into(), socket.port),
    };
    sockets.iter().map(info).collect()
}

/// Some watchers need one with a lower number.
fn random_needs(rng: &mut Rng, name: &str, config: &mut WatcherConfig, expected: &mut Expected) {
    let number = name.strip_prefix('w').and_then(|number| number.parse().ok()).unwrap_or(0);
    if number == 0 || !rng.chance(40) {
        return;
    }
    let other = format!("w{}", rng.below(number));
    // That it runs again with the other one would look as if work that is done were done again.
    (config.respawn, expected.respawn) = (Respawn::Always, Respawn::Always);
    config.propagate = *rng.pick(&[Propagate::Restart, Propagate::Restart, Propagate::Stop, Propagate::None]);
    if rng.chance(30) {
        config.after = vec![other];
    } else {
        expected.requires = (config.propagate != Propagate::None).then(|| other.clone());
        config.requires = vec![other];
    }
}

/// How far a stop reaches.
pub(crate) fn random_mode(rng: &mut Rng, config: &WatcherConfig) -> KillMode {
    let modes = [KillMode::Mixed, KillMode::Mixed, KillMode::Process, KillMode::Group, KillMode::Tree];
    if config.stop_children { KillMode::Mixed } else { *rng.pick(&modes) }
}

/// What follows TERM or QUIT in a stop: mostly nothing.
pub(crate) fn random_steps(rng: &mut Rng) -> Vec<StopStep> {
    let step = |after, number| StopStep { after, signal: Signal(number) };
    match rng.below(10) {
        0 => vec![step(0.4, 12)],
        1 => vec![step(0.0, 12), step(0.7, 9)],
        2 => vec![step(1.0, 12), step(0.1, 14)],
        _ => Vec::new(),
    }
}

pub(crate) fn random_watcher(rng: &mut Rng, name: &str) -> (WatcherConfig, Expected) {
    let mut config =
        options::from_add(name, "x", Some(&json!("$(circus.wid)")), &Object::new(), &Host::default()).unwrap();
    let mut expected = Expected::new(1 + rng.below(4) as u32);
    if rng.chance(10) {
        expected.singleton = true;
        expected.numprocesses = 1;
    }
    expected.autostart = rng.chance(85);
    expected.respawn =
        *rng.pick(&[Respawn::Always, Respawn::Always, Respawn::Always, Respawn::OnFailure, Respawn::Never]);
    expected.socket = rng.chance(25).then(|| any_socket(rng));
    expected.warmup = rng.chance(15);
    expected.send_hup = rng.chance(10);
    config.numprocesses = expected.numprocesses;
    config.singleton = expected.singleton;
    config.autostart = expected.autostart;
    config.respawn = expected.respawn;
    config.on_demand = expected.socket.is_some();
    config.stdin_socket = expected.socket.map(str::to_owned);
    config.send_hup = expected.send_hup;
    config.reload =
        *rng.pick(&[None, None, None, Some(ReloadMode::Overlap), Some(ReloadMode::Exclusive), Some(ReloadMode::Hup)]);
    config.reload_batch = *rng.pick(&[0, 0, 1, 2]);
    config.reload_surge = *rng.pick(&[0, 0, 1, 2]);
    config.warmup_delay = if expected.warmup { 0.3 } else { 0.0 };
    config.graceful_timeout = *rng.pick(&[0.0, 0.5, 3.0]);
    config.stop_steps = random_steps(rng);
    config.max_retry = *rng.pick(&[1, 5, 5, -1]);
    config.priority = rng.below(3) as i64;
    let class = *rng.pick(&[None, Some("MemoryStream"), Some("exec")]);
    let command = BTreeMap::from([("command".to_owned(), json!("x"))]);
    let options = |class| if class == "exec" { command } else { BTreeMap::new() };
    config.stdout_stream = class.map(|class: &str| StreamConfig { class: class.into(), options: options(class) });
    config.stop_children = rng.chance(20);
    config.kill_mode = random_mode(rng, &config);
    if config.on_demand {
        config.idle_timeout = *rng.pick(&[0.0, IDLE_TIMEOUT as f64 / 1e3]);
    }
    config.sockets = if !config.on_demand && rng.chance(20) { vec![any_socket(rng).into()] } else { Vec::new() };
    if expected.socket.is_none() {
        random_hooks(rng, &mut config);
        random_checks(rng, &mut config);
        random_needs(rng, name, &mut config, &mut expected);
        expected.hooked = is_hooked(&config);
    }
    if rng.chance(10) {
        config.max_age = 20;
        config.max_age_variance = 10;
    }
    let is_plain = !expected.singleton && !expected.hooked && expected.socket.is_none();
    if is_plain && !name.starts_with('a') && rng.chance(40) {
        random_scale(rng, &mut config);
        expected.numprocesses = config.numprocesses;
        expected.scaled = config.scaling.scale.is_some();
    }
    (config, expected)
}
