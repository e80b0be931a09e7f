//! Watchers that run once, or by a schedule: commands, ends, clocks that are set and other daemons, in random order. A model
//! says of each run whether it may begin, must begin, and what it comes to.

use std::collections::BTreeMap;

use circus_core::arbiter::{Action, Arbiter, Event, Exit, Launch, Mono, Now, Pid, WatcherState, WatcherView};
use circus_core::config::{CircusConfig, Config, Host, WatcherConfig, options};
use circus_core::proto::{
    ClientAddress, EventKind, MatchMethod, Notice, Object, ReplyTo, Request, RequestId, RunReport, RunResult,
    RunTrigger, Selection, Signal,
};
use serde_json::json;

use super::client;
use super::kernel::MS;
use super::rng::Rng;

/// What rounding may cost.
const SLACK: u64 = MS;
const NAMES: [&str; 2] = ["once", "cron"];

/// A process of a run.
#[derive(Debug)]
struct Process {
    watcher: &'static str,
    ends: (u64, i32),
    /// Its watcher was told to stop, or another run is due that takes its place.
    stopped: bool,
    /// A command has killed it.
    killed: bool,
}

/// A run, as the model sees it.
#[derive(Debug, Default)]
struct Run {
    began: u64,
    /// Processes in a row that have failed.
    failures: i64,
    /// A start has begun the count anew.
    uncounted: bool,
    /// The last process that has ended: its exit status, and whether it was stopped or killed.
    last: Option<(i32, bool, bool)>,
    /// It was told to stop.
    stopped: bool,
    /// Another was due meanwhile that takes its place.
    replaced: bool,
}

/// A watcher.
#[derive(Debug)]
struct Job {
    max_retry: i64,
    retries: bool,
    overlap: &'static str,
    /// How long its processes live, and what they exit with.
    temper: (u64, i32),
    run: Option<Run>,
    /// When it is to run next; none where that is not known, or it does not.
    due: Option<u64>,
    /// Something was asked for whose time is not predicted.
    unsure: bool,
    /// A run is to begin as soon as the one under way is over.
    follows: bool,
    /// The last command was a stop: nothing is due once it is idle.
    disarmed: bool,
    /// A stop or restart may wait behind other commands: it is for processes that those start, too.
    stop_waits: bool,
    /// The time that was due when the last run by the schedule began; none where that run had followed another.
    ran_for: Option<u64>,
    ended: u64,
}

struct Jobs {
    arbiter: Arbiter,
    rng: Rng,
    now: u64,
    unix: f64,
    jobs: BTreeMap<&'static str, Job>,
    processes: BTreeMap<i32, Process>,
    next_pid: i32,
    next_request: u64,
    outstanding: Vec<u64>,
    /// The command that is being carried out.
    command: Option<(&'static str, &'static str)>,
    quitting: bool,
    ended: bool,
    trace: bool,
    runs: u64,
}

/// Runs one seed; how many runs there were.
pub(crate) fn run(seed: u64, steps: u64, trace: bool) -> u64 {
    let mut sim = Jobs::new(seed, trace);
    for _ in 0..steps {
        sim.step();
    }
    sim.finish();
    sim.runs
}

fn config(rng: &mut Rng, name: &str) -> (WatcherConfig, Job) {
    let max_retry = *rng.pick(&[1, 2, 5, -1]);
    let respawn = *rng.pick(&["no", "yes", "on-failure"]);
    let overlap = *rng.pick(&["skip", "queue", "kill"]);
    let mut given = json!({"kind": "oneshot", "max_retry": max_retry, "graceful_timeout": 30});
    let more = given.as_object_mut().unwrap();
    more.insert("respawn".into(), if respawn == "on-failure" { json!(respawn) } else { json!(respawn == "yes") });
    if name == "cron" {
        more.insert("kind".into(), json!("cron"));
        more.insert("schedule".into(), json!(format!("@every {}s", 2 + rng.below(9))));
        more.insert("overlap".into(), json!(overlap));
    }
    let mut config = options::from_add(name, "x", None, more, &Host::default()).unwrap();
    config.autostart = rng.chance(80);
    let retries = if name == "cron" { respawn == "on-failure" } else { respawn != "no" };
    let job = Job {
        max_retry,
        retries,
        overlap,
        temper: (500, 0),
        run: None,
        due: None,
        unsure: true,
        follows: false,
        disarmed: false,
        stop_waits: false,
        ran_for: None,
        ended: 0,
    };
    (config, job)
}

impl Jobs {
    fn new(seed: u64, trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        let (configs, jobs): (Vec<_>, Vec<_>) = NAMES.map(|name| config(&mut rng, name)).into_iter().unzip();
        let config = Config { circus: CircusConfig::default(), watchers: configs, ..Config::default() };
        let mut sim = Self {
            arbiter: Arbiter::new(config, Host::default(), seed),
            rng,
            now: 1_000_000 * MS,
            unix: 1.7e9,
            jobs: NAMES.into_iter().zip(jobs).collect(),
            processes: BTreeMap::new(),
            next_pid: 100,
            next_request: 0,
            outstanding: Vec::new(),
            command: None,
            quitting: false,
            ended: false,
            trace,
            runs: 0,
        };
        sim.drain();
        sim.look();
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

    fn tell(&mut self, event: Event) {
        self.say(|| format!("-> {event:?}"));
        self.arbiter.handle_event(event, self.clock());
        self.drain();
    }

    fn view(&self, name: &str) -> WatcherView {
        self.arbiter.view(name).expect("a watcher got lost")
    }

    fn step(&mut self) {
        let name = *self.rng.pick(&NAMES);
        match self.rng.below(100) {
            0..6 => self.ask(name, "start"),
            6..10 => self.ask(name, "stop"),
            10..16 => self.ask(name, "run"),
            16..18 => self.ask(name, "restart"),
            18..22 => self.ask(name, "kill"),
            22..24 => self.ask(name, "reload"),
            24..28 if name == "cron" => self.ask(name, "schedule"),
            28..32 => self.set_clock(),
            32..40 => self.hand_over(),
            40..55 => {
                let code = *self.rng.pick(&[0, 0, 1, 3, -11]);
                let temper = (*self.rng.pick(&[0, 300, 2500, 8000, 30_000]), code);
                self.say(|| format!("{name} becomes {temper:?}"));
                self.jobs.get_mut(name).unwrap().temper = temper;
            }
            55..70 => self.pass(100 * MS),
            _ => {
                let duration = 1 + self.rng.below(6000 * MS);
                self.pass(duration);
            }
        }
        self.look();
    }

    /// The clock on the wall is set: intervals go on as they were.
    fn set_clock(&mut self) {
        self.unix += *self.rng.pick(&[-86_400.0, 86_400.0, 3600.0, -0.4]);
        self.say(|| "the clock is set".into());
        self.arbiter.handle_timeout(self.clock());
        self.drain();
    }

    fn hand_over(&mut self) {
        self.say(|| "another daemon takes over".into());
        let read = Arbiter::restore(&self.arbiter.save().unwrap()).unwrap();
        assert_eq!(read, self.arbiter, "the state was read differently than it was written");
        self.arbiter = read;
        self.arbiter.resume(self.clock());
        self.drain();
    }

    fn ask(&mut self, name: &'static str, command: &'static str) {
        let waiting = self.rng.chance(50);
        let selection = Some(Selection { name: name.into(), method: MatchMethod::Simple });
        let request = match command {
            "start" => Request::Start { selection, waiting },
            "stop" => Request::Stop { selection, waiting },
            "restart" => Request::Restart { selection, waiting },
            "run" => Request::Run { name: name.into(), waiting },
            "kill" => Request::Kill { name: name.into(), pid: None, signum: None, graceful_timeout: None, waiting },
            "reload" => Request::Reload { name: Some(name.into()), graceful: true, sequential: false, waiting },
            _ => {
                let schedule = format!("@every {}s", 2 + self.rng.below(9));
                let options = Object::from_iter([("schedule".to_owned(), json!(schedule))]);
                Request::Set { name: name.into(), options, waiting }
            }
        };
        let (idle, job) = (self.is_idle(name), self.jobs.get_mut(name).unwrap());
        // A run that a reload finds goes on; all others may change what is to come.
        if command != "reload" {
            job.unsure = true;
        }
        if let Some(run) = &mut job.run {
            run.stopped |= matches!(command, "stop" | "restart");
            run.uncounted |= matches!(command, "start" | "run");
        }
        job.follows &= command != "stop";
        job.disarmed = command == "stop" || job.disarmed && !matches!(command, "start" | "restart");
        let stops = matches!(command, "stop" | "restart");
        job.stop_waits |= stops;
        for process in self.processes.values_mut().filter(|process| process.watcher == name) {
            process.stopped |= stops;
            process.killed |= command == "kill";
        }
        let before = self.runs;
        self.next_request += 1;
        self.outstanding.push(self.next_request);
        self.command = Some((name, command));
        self.tell(Event::Request(Box::new(client(self.next_request)), request));
        self.command = None;
        let begins = command == "run" || name == "once" && matches!(command, "start" | "restart");
        if idle {
            assert_eq!(self.runs - before, u64::from(begins), "{command} {name}, while it is idle: runs that begin");
        }
    }

    fn is_idle(&self, name: &str) -> bool {
        let view = self.view(name);
        view.state == WatcherState::Stopped && !view.busy && self.jobs[name].run.is_none()
    }

    /// Lets time pass, stopping wherever something is due.
    fn pass(&mut self, duration: u64) {
        let end = self.now + duration;
        loop {
            let due = self.arbiter.next_deadline().map(|at| at.0);
            let exit = self.processes.values().map(|process| process.ends.0).min();
            let next = due.into_iter().chain(exit).min().unwrap_or(u64::MAX).max(self.now);
            if next > end || self.ended {
                break;
            }
            self.advance(next);
            self.reap();
            self.arbiter.handle_timeout(self.clock());
            self.drain();
            self.look();
        }
        self.advance(end);
    }

    fn advance(&mut self, to: u64) {
        self.unix += (to - self.now) as f64 / 1e9;
        self.now = to;
    }

    fn reap(&mut self) {
        let now = self.now;
        let gone: Vec<(i32, Process)> = self.processes.extract_if(.., |_, process| process.ends.0 <= now).collect();
        for (pid, process) in gone {
            let code = process.ends.1;
            let run = self.jobs.get_mut(process.watcher).unwrap().run.as_mut().expect("a process without a run");
            run.last = Some((code, process.stopped, process.killed));
            run.failures = if code == 0 { 0 } else { run.failures + 1 };
            self.tell(Event::Exited(vec![Exit::new(Pid(pid), code)]));
        }
    }

    fn drain(&mut self) {
        loop {
            while let Some(action) = self.arbiter.poll_action() {
                self.act(action);
            }
            match self.arbiter.poll_launch(self.clock()) {
                Some(launch) => self.launch(&launch),
                None if !self.arbiter.has_launches() => break,
                None => {}
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::OpenSockets(_) => self.arbiter.handle_event(Event::SocketsOpened(Vec::new()), self.clock()),
            Action::Signal { pid, signal, .. } => {
                let later = self.now + self.rng.below(1500 * MS);
                let process = self.processes.get_mut(&pid.0).expect("a signal to a process that is gone");
                let job = &self.jobs[process.watcher];
                let is_asked = process.stopped || process.killed || job.stop_waits || self.quitting;
                let replaces = job.overlap == "kill" && process.watcher == "cron";
                assert!(is_asked || replaces, "{} is sent {signal}, and goes on", process.watcher);
                process.stopped |= !process.killed;
                if signal == Signal::KILL {
                    process.ends = (self.now, -9);
                } else if later < process.ends.0 {
                    process.ends = (later, -signal.0);
                }
            }
            Action::Publish(Notice { resource, kind, .. }) => {
                let name = NAMES.into_iter().find(|name| *name == resource).unwrap();
                match kind {
                    EventKind::RunBegin { trigger } => self.begins(name, trigger),
                    EventKind::RunEnd(report) => self.ends(name, &report),
                    _ => {}
                }
            }
            Action::Reply(reply) => {
                let ReplyTo::Client(ClientAddress { id: RequestId::Json(id), .. }) = &reply.to else { return };
                let id: u64 = id.parse().unwrap();
                assert!(self.outstanding.contains(&id), "request {id} was answered twice");
                self.outstanding.retain(|other| *other != id);
            }
            Action::Exit(_) => self.ended = true,
            _ => {}
        }
    }

    fn begins(&mut self, name: &'static str, trigger: RunTrigger) {
        self.say(|| format!("{name} begins by {}", trigger.name()));
        self.runs += 1;
        let (now, job) = (self.now, self.jobs.get_mut(name).unwrap());
        assert!(job.run.is_none(), "{name}: a run begins beside another");
        match trigger {
            RunTrigger::Start => assert_eq!(name, "once", "a start is no run of a schedule"),
            RunTrigger::Request => {}
            RunTrigger::Schedule => {
                assert_eq!(name, "cron");
                let follows = std::mem::take(&mut job.follows) && now == job.ended;
                let is_due = job.due.is_some_and(|due| now.abs_diff(due) <= SLACK);
                assert!(follows || is_due || job.unsure, "{name} begins, and is due at {:?}", job.due);
                // One that has waited for its turn is not the one that is due now, should both come at the same moment.
                job.ran_for = job.due.filter(|_| is_due && !follows);
            }
            RunTrigger::Missed => panic!("{name}: an interval is never missed"),
        }
        job.run = Some(Run { began: now, ..Run::default() });
    }

    fn ends(&mut self, name: &'static str, report: &RunReport) {
        self.say(|| format!("{name} ends: {report:?}"));
        let job = self.jobs.get_mut(name).unwrap();
        let run = job.run.take().expect("the end of no run");
        job.ended = self.now;
        let here = self.processes.values().any(|process| process.watcher == name);
        assert!(!here, "{name}: the run is over, and its process lives");
        let (failures, max_retry) = (run.failures, job.max_retry);
        let used_up = !job.retries || max_retry >= 0 && failures >= max_retry || run.uncounted;
        let replaces = job.overlap == "kill" && name == "cron";
        // Another run takes the place of one that pauses before another try.
        let is_replaced = replaces && job.due.is_some_and(|due| self.now.abs_diff(due) <= SLACK);
        let expected = match run.last {
            Some((_, true, _)) => RunResult::Stopped,
            // Another run was due while it was dying.
            Some((_, false, true)) if run.replaced => RunResult::Stopped,
            Some((0, false, _)) => RunResult::Success,
            Some((_, false, true)) => RunResult::Failure,
            // It was told to stop in the pause before another try.
            _ if run.stopped || self.quitting => RunResult::Stopped,
            // How many tries a start has left it is not known.
            Some(_) if run.uncounted && is_replaced && report.result == RunResult::Stopped => RunResult::Stopped,
            Some(_) if used_up => RunResult::Failure,
            Some(_) if is_replaced => RunResult::Stopped,
            other => panic!("{name}: the run is over after {failures} failures, the last of them {other:?}"),
        };
        assert_eq!(report.result, expected, "{name}: {run:?}");
        assert_eq!(report.exit_code, run.last.map(|(code, ..)| code));
    }

    fn launch(&mut self, launch: &Launch) {
        let name = NAMES.into_iter().find(|name| *name == launch.config.name).unwrap();
        let job = &self.jobs[name];
        let run = job.run.as_ref().expect("a process without a run");
        let here = self.processes.values().any(|process| process.watcher == name);
        assert!(!here, "{name}: two processes of one run");
        let tries = run.failures == 0 || job.retries && (job.max_retry < 0 || run.failures < job.max_retry);
        assert!(tries || run.uncounted, "{name}: another try after {} failures", run.failures);
        let succeeded = matches!(run.last, Some((0, false, false)));
        assert!(!succeeded, "{name}: a run that has succeeded goes on");
        self.next_pid += 1;
        let pid = self.next_pid;
        let ends = (self.now + job.temper.0 * MS, job.temper.1);
        self.processes.insert(pid, Process { watcher: name, ends, stopped: false, killed: false });
        self.arbiter.handle_event(Event::Spawned { worker: launch.worker, pid: Pid(pid) }, self.clock());
    }

    /// What was due has happened, and what rests rests.
    fn look(&mut self) {
        if self.ended || self.quitting {
            return;
        }
        for name in NAMES {
            let (view, now) = (self.view(name), self.now);
            let idle = self.is_idle(name);
            let next = view.next_run.map(|at| at.0);
            let here = self.processes.values().any(|process| process.watcher == name && !process.stopped);
            let job = self.jobs.get_mut(name).unwrap();
            job.stop_waits &= view.busy;
            assert!(
                !(job.disarmed && idle && next.is_some()),
                "{name} was told to stop, and is to run next at {next:?}"
            );
            let was_due = job.due.filter(|due| now >= *due && job.ran_for != Some(*due));
            if let (Some(run), Some(due)) = (&mut job.run, was_due) {
                run.replaced |= job.overlap == "kill" && run.began <= due;
            }
            if job.unsure {
                // From a rest on, everything is predicted.
                (job.unsure, job.follows, job.due) = (!idle, job.follows && !idle, next);
                continue;
            }
            if let Some(due) = job.due.filter(|due| now >= *due) {
                match &job.run {
                    _ if job.ran_for == Some(due) => {}
                    Some(run) if run.began <= due => match job.overlap {
                        "skip" => {}
                        "queue" => job.follows = true,
                        _ => {
                            assert!(!here, "{name}: a run is due, and the one before goes on");
                            job.follows = true;
                        }
                    },
                    _ if job.overlap != "skip" && job.ended.abs_diff(due) <= SLACK => {}
                    other => panic!("{name} was due {} ms ago, and did not begin: {other:?}", (now - due) / MS),
                }
                assert!(next.is_some_and(|next| next > due), "{name} is due no more");
                job.due = next;
            }
            let waits = job.follows && idle;
            assert!(!waits, "{name}: a run that was to follow does not begin");
            match (job.due, next) {
                (Some(due), Some(next)) => assert!(due.abs_diff(next) <= SLACK, "{name}: the next run is moved"),
                (due, next) => assert_eq!(due, next, "{name}"),
            }
        }
    }

    fn finish(&mut self) {
        for job in self.jobs.values_mut() {
            job.temper = (100, 0);
        }
        self.pass(90_000 * MS);
        assert!(self.outstanding.is_empty(), "never answered: {:?}", self.outstanding);
        let before = self.runs;
        let armed = self.view("cron").next_run.is_some();
        self.pass(11_000 * MS);
        assert_eq!(self.runs > before, armed, "runs within eleven seconds");
        self.quitting = true;
        self.tell(Event::Request(Box::new(ReplyTo::Discard), Request::Quit { timeout: None, waiting: false }));
        self.pass(40_000 * MS);
        assert!(self.ended, "quit did not end");
        assert!(self.processes.is_empty(), "left alive: {:?}", self.processes);
        assert_eq!(self.arbiter.next_deadline(), None, "a timer was left after the end");
    }
}
