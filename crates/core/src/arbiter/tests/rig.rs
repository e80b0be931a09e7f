//! A core on the bench: launches are answered by hand or at once, time is jumped, and what comes out is text.

use serde_json::{Value, json};

use crate::arbiter::{
    Action, Arbiter, Event, Exit, HookCall, HookOutcome, HookTask, JobId, Launch, Mono, Now, Pid, ProbeCall, Reach,
    SampleTarget, SignalTarget, SocketAddress, SocketInfo, WatcherKey, WatcherState, WorkerState,
};
use crate::config::{CircusConfig, Config, Host, Room, SocketConfig, WatcherConfig};
use crate::proto::{
    Body, ClientAddress, Fault, Format, Object, ProcessInfo, Reply, ReplyTo, Request, RequestId, SpawnError, Stage,
};

const MS: u64 = 1_000_000;

/// The core, its clock, and what it has wanted so far and was not asked about yet.
pub(super) struct Rig {
    pub(super) arbiter: Arbiter,
    now_ms: u64,
    /// How far the clock on the wall is ahead of the other, in seconds.
    pub(super) wall: f64,
    next_pid: i32,
    /// What the next launches come to, instead of a process.
    pub(super) failures: Vec<SpawnError>,
    /// Launches are kept here instead of being answered.
    pub(super) hold_launches: bool,
    pub(super) held: Vec<Launch>,
    /// The samples that were asked for, until `look` takes them.
    pub(super) looks: Vec<(JobId, Vec<SampleTarget>)>,
    /// Watchers whose connections are to be counted.
    pub(super) counts: Vec<WatcherKey>,
    /// What was asked of the output and not answered yet.
    pub(super) tails: Vec<JobId>,
    said: Vec<String>,
    logs: Vec<String>,
    replies: Vec<Reply>,
    next_request: u64,
    pub(super) alive: Vec<i32>,
    /// The configuration file as it is now, or what is wrong with it.
    pub(super) file: Result<Config, Vec<String>>,
    /// Files are read, and their configuration taken over, by hand.
    pub(super) hold_files: bool,
    /// Why nothing of a new configuration can be taken over.
    pub(super) refusal: Option<String>,
    /// `signal` requests fail, as with processes of another user.
    pub(super) refuses_signals: bool,
    /// Hooks under way, to be answered by hand.
    pub(super) hooks: Vec<HookCall>,
    /// Probes under way, to be answered by hand.
    pub(super) probes: Vec<ProbeCall>,
    /// New workers prove themselves by hand; time does not pass because an answer is asked for.
    pub(super) hold_proofs: bool,
}

/// What the daemon would report of its sockets: at 3, 4, ...
fn infos(sockets: &[SocketConfig]) -> Vec<SocketInfo> {
    sockets.iter().zip(3..).map(|(socket, number)| info(socket, number)).collect()
}

/// What the daemon would report of a socket that it opened.
fn info(socket: &SocketConfig, number: i32) -> SocketInfo {
    let address = SocketAddress::Inet(socket.host.clone(), socket.port);
    let (name, backlog, per_worker) = (socket.name.clone(), socket.backlog, socket.so_reuseport);
    SocketInfo { name, number, backlog, address, per_worker }
}

/// What a hook is about.
fn subject(call: &HookCall) -> String {
    let subject = &call.subject;
    let numbers = [
        subject.wid.map(|wid| format!(" wid {}", wid.0)),
        subject.pid.map(|pid| format!(" {}", pid.0)),
        subject.signum.map(|signal| format!(" {signal}")),
        subject.exit_code.map(|code| format!(" exit {code}")),
    ];
    numbers.into_iter().flatten().collect()
}

/// The way back of a request.
fn address(request: u64) -> ReplyTo {
    let id = RequestId::Json(request.to_string());
    ReplyTo::Client(ClientAddress {
        identity: vec![1],
        delimiter: false,
        id,
        format: Format::Json,
        redacted: false,
        note: None,
    })
}

/// A watcher with these options changed.
pub(super) fn watcher(name: &str, change: impl FnOnce(&mut WatcherConfig)) -> WatcherConfig {
    let mut config = WatcherConfig::new(name, "worker $(circus.wid)", "/");
    config.graceful_timeout = 5.0;
    change(&mut config);
    config
}

impl Rig {
    pub(super) fn new(watchers: Vec<WatcherConfig>) -> Self {
        Self::with_circus(watchers, |_| {})
    }

    pub(super) fn with_circus(watchers: Vec<WatcherConfig>, change: impl FnOnce(&mut CircusConfig)) -> Self {
        let mut rig = Self::unstarted(watchers, change);
        rig.settle();
        rig.said.clear();
        rig
    }

    /// Before anything was started.
    pub(super) fn unstarted(watchers: Vec<WatcherConfig>, change: impl FnOnce(&mut CircusConfig)) -> Self {
        let mut circus = CircusConfig::default();
        change(&mut circus);
        Self::with_sockets(watchers, circus, Vec::new())
    }

    pub(super) fn with_sockets(watchers: Vec<WatcherConfig>, circus: CircusConfig, sockets: Vec<SocketConfig>) -> Self {
        Self::of_file(Config { circus, watchers, sockets, include_dirs: Vec::new() })
    }

    /// This file, before anything was started.
    pub(super) fn of_file(config: Config) -> Self {
        Self {
            arbiter: Arbiter::new(config.clone(), Host::default(), 7),
            now_ms: 1_000_000,
            wall: 0.0,
            next_pid: 100,
            failures: Vec::new(),
            hold_launches: false,
            held: Vec::new(),
            looks: Vec::new(),
            counts: Vec::new(),
            tails: Vec::new(),
            said: Vec::new(),
            logs: Vec::new(),
            replies: Vec::new(),
            next_request: 0,
            alive: Vec::new(),
            file: Ok(config),
            hold_files: false,
            refusal: None,
            hooks: Vec::new(),
            probes: Vec::new(),
            hold_proofs: false,
            refuses_signals: false,
        }
    }

    /// These watchers on a machine with so much room.
    pub(super) fn with_room(watchers: Vec<WatcherConfig>, room: Room) -> Self {
        let config =
            Config { circus: CircusConfig::default(), watchers, sockets: Vec::new(), include_dirs: Vec::new() };
        let mut rig = Self::of_file(config.clone());
        rig.arbiter = Arbiter::new(config, Host { room, ..Host::default() }, 7);
        rig.settle();
        rig.said();
        rig
    }

    /// One watcher `w` with this many processes.
    pub(super) fn fleet(numprocesses: u32) -> Self {
        Self::new(vec![watcher("w", |w| w.numprocesses = numprocesses)])
    }

    pub(super) fn now(&self) -> Now {
        Now { mono: Mono(self.now_ms * MS), unix: self.now_ms as f64 / 1e3 + self.wall }
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.arbiter.handle_event(event, self.now());
        self.settle();
    }

    /// Does what the core wants until it wants nothing.
    pub(super) fn settle(&mut self) {
        loop {
            while let Some(action) = self.arbiter.poll_action() {
                self.act(action);
            }
            let Some(launch) = self.arbiter.poll_launch(self.now()) else {
                if self.arbiter.has_launches() {
                    continue;
                }
                break;
            };
            self.said.push(format!("launch {}", launch.argv.join(" ")));
            if self.hold_launches {
                self.held.push(launch);
            } else {
                self.answer(launch);
            }
        }
        while let Some(action) = self.arbiter.poll_action() {
            self.act(action);
        }
    }

    /// Lets a launch come to what is due.
    pub(super) fn answer(&mut self, launch: Launch) {
        let event = if self.failures.is_empty() {
            self.next_pid += 1;
            self.alive.push(self.next_pid);
            Event::Spawned { worker: launch.worker, pid: Pid(self.next_pid) }
        } else {
            Event::SpawnFailed { worker: launch.worker, error: self.failures.remove(0) }
        };
        self.arbiter.handle_event(event, self.now());
    }

    fn act(&mut self, action: Action) {
        let text = match action {
            Action::OpenSockets(sockets) => {
                self.arbiter.handle_event(Event::SocketsOpened(infos(&sockets)), self.now());
                return;
            }
            Action::WatchSocket { name, on } => format!("{} {name}", if on { "watch" } else { "unwatch" }),
            Action::CountConnections { watcher, sockets } => {
                self.counts.push(watcher);
                format!("count connections of {}", sockets.join(" "))
            }
            Action::Measure { watcher, what } => {
                self.counts.push(watcher);
                format!("measure {what:?}")
            }
            Action::Signal { pid, signal, reach, watcher } => {
                assert!(self.alive.contains(&pid.0), "a signal to {}, which is gone", pid.0);
                if matches!(reach, Reach::ProcessAndChildren | Reach::Children) {
                    let pids = vec![Pid(pid.0 + 1000)];
                    self.arbiter.handle_event(Event::ChildrenSignalled { watcher, pids }, self.now());
                }
                let reach = match reach {
                    Reach::Process => "",
                    Reach::ProcessAndChildren => " and children",
                    Reach::Children => " children",
                    Reach::Group => " group",
                    Reach::Cgroup => " cgroup",
                    Reach::Tree => " tree",
                };
                format!("{signal} {}{reach}", pid.0)
            }
            Action::SignalRequest { job, pids, signal, target } => {
                let reaches = matches!(target, SignalTarget::Process | SignalTarget::Recursive);
                let numbers: Vec<i32> = pids.iter().map(|pid| pid.0).collect();
                let target = if target == SignalTarget::Process { String::new() } else { format!(" {target:?}") };
                self.said.push(format!("request {signal} {numbers:?}{target}"));
                let result = if self.refuses_signals { Err(Fault::command("Operation not permitted")) } else { Ok(()) };
                let signalled = if reaches && result.is_ok() { pids } else { Vec::new() };
                self.arbiter.handle_event(Event::SignalDone { job, signalled, result }, self.now());
                return;
            }
            Action::Sample { job, targets } => {
                let name = |target: &SampleTarget| match target {
                    SampleTarget::Process(pid) => pid.0.to_string(),
                    SampleTarget::Daemon => "circusd".into(),
                };
                let names: Vec<String> = targets.iter().map(name).collect();
                self.looks.push((job, targets));
                format!("look at {}", names.join(" "))
            }
            Action::Publish(notice) => {
                let body = crate::proto::encode_notice(&notice).1;
                let body: Value = serde_json::from_slice(&body).unwrap();
                let detail = |key: &str| body.get(key).map(|value| format!(" {value}")).unwrap_or_default();
                let (name, more) = (
                    notice.kind.name(),
                    ["name", "process_pid", "exit_code", "oom", "error", "lines"].map(detail).concat(),
                );
                format!("{}.{name}{more}", notice.resource)
            }
            Action::Reply(reply) => {
                self.replies.push(reply);
                return;
            }
            Action::Log(level, text) => {
                if level > crate::base::Level::Debug {
                    self.logs.push(text);
                }
                return;
            }
            Action::WatchClock => return,
            Action::ReopenOutput => "reopen output".to_owned(),
            Action::RememberRun { watcher, time } => format!("remember {watcher} {time}"),
            Action::CloseStreams(_) | Action::ForgetOutput(_) | Action::ForgetStored(_) => return,
            Action::Tail { job, watcher, stream, range } => {
                self.tails.push(job);
                format!("tail {} of {watcher} {}", range.lines, stream.name())
            }
            Action::Remember(memories) => format!("remember {}", serde_json::to_string(&memories).unwrap()),
            Action::UpdateStreams(..) => "update streams".into(),
            Action::LoadConfig | Action::TakeOver(_) if self.hold_files => return,
            Action::LoadConfig => {
                let loaded = self.file.clone().map(|config| (Box::new(config), Vec::new()));
                self.arbiter.handle_event(Event::ConfigLoaded(loaded), self.now());
                return;
            }
            Action::TakeOver(config) => {
                let result = match &self.refusal {
                    Some(problem) => Err(problem.clone()),
                    None => Ok(infos(&config.sockets)),
                };
                self.said.push(format!("take over {}", if result.is_ok() { "done" } else { "refused" }));
                self.arbiter.handle_event(Event::TakenOver(result), self.now());
                return;
            }
            Action::RunHook(call) => {
                let text = match call.task {
                    HookTask::Load => "load hooks".into(),
                    HookTask::Run(point) => format!("hook {}{}", point.name(), subject(&call)),
                };
                self.hooks.push(*call);
                text
            }
            Action::EndHook(hook) => {
                let at = self.hooks.iter().position(|call| call.id == hook).expect("an end of no hook");
                let HookTask::Run(point) = self.hooks.remove(at).task else { return };
                format!("end {}", point.name())
            }
            Action::Probe(call) => {
                let pid = call.pid.map(|pid| pid.0);
                assert!(pid.is_none_or(|pid| self.alive.contains(&pid)), "a look at {pid:?}, which is gone");
                let about = pid.map_or("the watcher".to_owned(), |pid| pid.to_string());
                let text = format!("probe {} of {about}", call.probe.text());
                self.probes.push(*call);
                text
            }
            Action::EndProbe(probe) => {
                let at = self.probes.iter().position(|call| call.id == probe).expect("an end of no probe");
                self.probes.remove(at);
                "end probe".into()
            }
            Action::StartSinkCommand(id) => format!("start command {}", id.0),
            Action::KillSinkCommand(pid) => format!("kill command {}", pid.0),
            Action::EndPythonHost(host) => format!("end python host {host}"),
            Action::Upgrade(binary) => {
                format!("upgrade{}", binary.map(|path| format!(" to {path}")).unwrap_or_default())
            }
            Action::Restart => "restart".into(),
            Action::Exit(status) => format!("exit {status}"),
        };
        self.said.push(text);
    }

    /// Takes the samples that were asked for: a process that lives is called by its pid, the daemon `circusd`.
    pub(super) fn look(&mut self) {
        assert!(self.looks.len() < 2, "one order at a time");
        let Some((job, targets)) = self.looks.pop() else { return };
        let see = |target| {
            let (pid, command) = match target {
                SampleTarget::Process(Pid(pid)) if self.alive.contains(&pid) => (pid, format!("worker-{pid}")),
                SampleTarget::Process(_) => return None,
                SampleTarget::Daemon => (1, "circusd".into()),
            };
            Some(ProcessInfo { pid, usage: None, username: None, command: Some(command), children: Vec::new() })
        };
        let samples = targets.into_iter().map(see).collect();
        self.tell(Event::Sampled { job, samples });
    }

    /// Another daemon reads the state of this one, whose work has ended with it, and goes on.
    pub(super) fn hand_over(&mut self) {
        let read = Arbiter::restore(&self.arbiter.save().unwrap()).unwrap();
        assert_eq!(read, self.arbiter, "the state was read differently than it was written");
        self.arbiter = read;
        self.held.clear();
        self.looks.clear();
        self.counts.clear();
        self.tails.clear();
        self.hooks.clear();
        self.probes.clear();
        self.arbiter.resume(self.now());
        self.settle();
    }

    /// Answers the hook that has been under way the longest.
    pub(super) fn hook(&mut self, answer: Result<bool, &str>) {
        self.hook_with(HookOutcome::answer(answer.map_err(str::to_owned)));
    }

    pub(super) fn hook_with(&mut self, outcome: HookOutcome) {
        let hook = self.hooks.remove(0).id;
        self.tell(Event::HookDone { hook, outcome });
    }

    /// What the core has logged since the last time.
    pub(super) fn logs(&mut self) -> Vec<String> {
        std::mem::take(&mut self.logs)
    }

    /// What the core wanted since the last time.
    pub(super) fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    pub(super) fn expect<const N: usize>(&mut self, expected: [&str; N]) {
        assert_eq!(self.said(), expected);
    }

    /// Sets the clock on the wall so many seconds ahead, or back.
    pub(super) fn set_clock(&mut self, ahead: f64) {
        self.wall += ahead;
        self.arbiter.handle_timeout(self.now());
        self.settle();
    }

    /// Lets this many milliseconds pass, from deadline to deadline.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some(at) = self.arbiter.next_deadline().map(|at| at.0.div_ceil(MS)).filter(|at| *at <= end) {
            self.now_ms = self.now_ms.max(at);
            self.arbiter.handle_timeout(self.now());
            self.settle();
        }
        self.now_ms = end;
    }

    /// These processes are gone, all collected at once.
    pub(super) fn exit_all(&mut self, pids: &[i32], exit_code: i32) {
        self.alive.retain(|pid| !pids.contains(pid));
        self.tell(Event::Exited(pids.iter().map(|pid| Exit::new(Pid(*pid), exit_code)).collect()));
    }

    pub(super) fn exit(&mut self, pid: i32, exit_code: i32) {
        self.exit_all(&[pid], exit_code);
    }

    /// A request by its command and properties, through the table of commands.
    pub(super) fn command(&mut self, command: &str, properties: Value) -> Option<Value> {
        let id = self.send_command(command, properties);
        self.answer_to(id)
    }

    pub(super) fn send_command(&mut self, command: &str, properties: Value) -> u64 {
        let Value::Object(properties) = properties else { panic!("properties are an object") };
        let envelope = crate::proto::Envelope {
            id: RequestId::Absent,
            command: command.into(),
            properties: Some(properties),
            cast: false,
        };
        self.send(crate::commands::decode(&envelope).unwrap())
    }

    /// The same, where files are to be read by hand from now on.
    pub(super) fn send_command_held(&mut self, command: &str, properties: Value) -> u64 {
        self.hold_files = true;
        self.send_command(command, properties)
    }

    pub(super) fn send(&mut self, request: Request) -> u64 {
        let id = self.next_request;
        self.next_request += 1;
        self.tell(Event::Request(Box::new(address(id)), request));
        id
    }

    /// Lets the workers that a request waits for prove themselves.
    fn prove(&mut self) {
        while let Some(at) = self.arbiter.proof_deadline().filter(|_| !self.hold_proofs) {
            self.pass(at.0.div_ceil(MS).saturating_sub(self.now_ms));
        }
    }

    /// The answer to a request, without `id` and time: `{"status": "ok", ...}`, or the errno and the reason.
    pub(super) fn answer_to(&mut self, id: u64) -> Option<Value> {
        self.prove();
        let wanted = address(id);
        let found = self.replies.iter().position(|reply| reply.to == wanted)?;
        let reply = self.replies.remove(found);
        assert!(!self.replies.iter().any(|other| other.to == wanted), "answered twice");
        Some(match reply.body {
            Body::Ok(properties) => Value::Object(properties),
            Body::Error(fault) if !fault.failed.is_empty() => {
                json!({"errno": fault.errno as u8, "reason": fault.reason, "failed": fault.failed})
            }
            Body::Error(fault) if fault.details.is_empty() => {
                json!({"errno": fault.errno as u8, "reason": fault.reason})
            }
            Body::Error(fault) => {
                json!({"errno": fault.errno as u8, "reason": fault.reason, "details": fault.details})
            }
        })
    }

    pub(super) fn state(&self, name: &str) -> WatcherState {
        self.arbiter.view(name).unwrap().state
    }

    /// The pids of the workers that are not on their way out, the oldest first.
    pub(super) fn running(&self, name: &str) -> Vec<i32> {
        let view = self.arbiter.view(name).unwrap();
        let running = view.workers.iter().filter(|worker| worker.state == WorkerState::Running);
        running.filter_map(|worker| worker.pid).map(|pid| pid.0).collect()
    }

    pub(super) fn fail(&mut self, times: usize, errno: i32) {
        let error = SpawnError { stage: Stage::Exec, errno, detail: "/bin/x".into() };
        self.failures.extend(std::iter::repeat_n(error, times));
    }

    /// Ends the story: everything stops, and nothing is left of it.
    pub(super) fn assert_quiescent(mut self) {
        self.hold_launches = false;
        for launch in std::mem::take(&mut self.held) {
            self.answer(launch);
        }
        self.settle();
        assert_eq!(self.arbiter.pending_answers(), 0, "a request still waits");
        let id = self.send(Request::Quit { timeout: None, waiting: true });
        let alive = self.alive.clone();
        self.exit_all(&alive, -15);
        assert_eq!(self.answer_to(id), Some(Value::Object(Object::new())));
        assert_eq!(self.said().last().map(String::as_str), Some("exit 0"));
        assert_eq!(self.arbiter.next_deadline(), None, "a timer was left");
        assert!(self.arbiter.views().iter().all(|view| view.workers.is_empty()));
    }
}
