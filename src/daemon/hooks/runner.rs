//! Where hooks are under way: the core's orders come in, what they came to goes out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Waker};
use serde_json::{Value, json};

use super::HookCx;
use super::payload::{self, Place};
use super::process::{Process, Spec};
use super::python_host::{self, PythonHost, Said};
use crate::arbiter::{HookCall, HookId, HookOutcome, HookTask, Level, Mono, Now, Pid};
use crate::config::{Hook, HookKind, Host};
use crate::daemon::children::Owner;
use crate::daemon::sources::Source;
use crate::proto::{HookPoint, Object, Signal};
use crate::sys;

/// The pause before a command that is waited for is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// What has come of hooks.
#[derive(Debug)]
pub(in crate::daemon) enum HookEvent {
    /// A hook is done.
    Done(HookId, HookOutcome),
    /// A line for the log.
    Say(Level, String),
    /// A hook has a command for circusd; answer with [`HookRunner::answer`].
    Call {
        /// Which Python asks.
        bridge: u64,
        /// Its name for the answer.
        number: u64,
        /// The command.
        command: String,
        /// Its properties.
        properties: Object,
    },
    /// The Python that ran this hook has ended: it is to be run once more, in another.
    Lost(Box<HookCall>),
    /// These processes are to be killed with all that they started.
    Kill(Pid),
}

/// A hook that is under way.
#[derive(Debug)]
struct Job {
    call: HookCall,
    doing: Doing,
}

#[derive(Debug)]
enum Doing {
    /// A command runs; with `until`, it is started again until it succeeds.
    Process { program: Process, until: bool },
    /// A command has failed and is started again then.
    Pause { at: Mono },
    /// A service is waited for.
    ServiceProbe(sys::ServiceProbe),
    /// This Python runs a function.
    Python(u64),
}

/// Every hook that is under way.
#[derive(Debug)]
pub(in crate::daemon) struct HookRunner {
    waker: Arc<Waker>,
    host: Host,
    nofile: sys::OpenFileLimit,
    jobs: BTreeMap<HookId, Job>,
    bridges: BTreeMap<u64, PythonHost>,
    next_bridge: u64,
    /// Hooks that were run once more: the next Python that ends under them is their end.
    repeated: BTreeSet<HookId>,
    answered: (Sender<HookId>, Receiver<HookId>),
    /// Sources that have more to say than one turn takes.
    unread: BTreeSet<Source>,
    news: VecDeque<HookEvent>,
}

impl HookRunner {
    pub(in crate::daemon) fn new(waker: Arc<Waker>, host: Host, nofile: sys::OpenFileLimit) -> Self {
        Self {
            waker,
            host,
            nofile,
            jobs: BTreeMap::new(),
            bridges: BTreeMap::new(),
            next_bridge: 0,
            repeated: BTreeSet::new(),
            answered: mpsc::channel(),
            unread: BTreeSet::new(),
            news: VecDeque::new(),
        }
    }

    /// Something that has come of hooks.
    pub(in crate::daemon) fn take(&mut self) -> Option<HookEvent> {
        self.news.pop_front()
    }

    /// Whether there is nothing to read and nothing to wait for.
    pub(in crate::daemon) fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.bridges.is_empty()
    }

    /// Whether the next turn must not wait.
    pub(in crate::daemon) fn has_pending(&self) -> bool {
        !self.news.is_empty() || !self.unread.is_empty()
    }

    /// When [`Self::look`] is wanted at the latest.
    pub(in crate::daemon) fn next_due(&self) -> Option<Mono> {
        let due = |job: &Job| if let Doing::Pause { at } = job.doing { Some(at) } else { None };
        self.jobs.values().filter_map(due).min()
    }

    // -- orders ------------------------------------------------------------------------------------------------------

    /// Begins a hook. `paths` are those that the watcher's processes import from.
    pub(in crate::daemon) fn run(
        &mut self,
        cx: &mut HookCx<'_>,
        call: HookCall,
        place: &Place,
        python: &str,
        paths: &[String],
    ) {
        let id = call.id;
        if let Err(reason) = self.begin(cx, call, place, python, paths) {
            self.done(id, HookOutcome::answer(Err(reason)));
        }
    }

    fn begin(
        &mut self,
        cx: &mut HookCx<'_>,
        call: HookCall,
        place: &Place,
        python: &str,
        paths: &[String],
    ) -> Result<(), String> {
        let HookTask::Run(point) = call.task else {
            return self.ask_python(cx, load(&call), call, python, paths);
        };
        let hook = call.config.hooks.get(&point).ok_or("it is not there any more")?;
        let doing = match hook.kind()? {
            HookKind::Command(argv) => {
                Doing::Process { program: self.start(cx, argv, &call, place, point)?, until: false }
            }
            HookKind::WaitCommand(argv) => {
                Doing::Process { program: self.start(cx, argv, &call, place, point)?, until: true }
            }
            HookKind::WaitTcp { host, port } => self.wait_for(sys::Service::Tcp { host, port }, call.id)?,
            HookKind::WaitHttp { host, port, path } => {
                self.wait_for(sys::Service::Http { host, port, path }, call.id)?
            }
            HookKind::WaitUnix(path) => self.wait_for(sys::Service::Unix(path), call.id)?,
            HookKind::Python(name) => {
                let message = json!({
                    "hook": point.name(), "name": name, "anew": if call.anew { vec![name.as_str()] } else { vec![] },
                    "watcher": call.config.name, "snapshot": payload::snapshot(&call.config),
                    "kwargs": payload::keywords(&call.subject, point), "arbiter": arbiter(place),
                });
                return self.ask_python(cx, message, call, python, paths);
            }
        };
        self.jobs.insert(call.id, Job { call, doing });
        Ok(())
    }

    fn start(
        &mut self,
        cx: &mut HookCx<'_>,
        argv: Vec<String>,
        call: &HookCall,
        place: &Place,
        point: HookPoint,
    ) -> Result<Process, String> {
        let program = Process::start(
            Spec {
                argv,
                env: payload::environment(&self.host.env, place, call, point),
                cwd: self.host.cwd.clone(),
                stdin: payload::json(place, call, point),
                answers: point == HookPoint::ExtendedStats,
                nofile: self.nofile,
                speaker: format!("{}: {}", call.config.name, point.name()),
                // A command that is repeated until it succeeds would repeat its complaints.
                level: if matches!(call.config.hooks.get(&point).map(Hook::kind), Some(Ok(HookKind::WaitCommand(_)))) {
                    Level::Debug
                } else {
                    Level::Info
                },
            },
            cx.output,
            &mut cx.children.spawner,
        )?;
        cx.children.insert(program.pid, Owner::Hook(call.id));
        if let Some(answer) = &program.answer {
            self.listen(cx, answer.fd(), Source::HookAnswer(call.id));
        }
        Ok(program)
    }

    fn wait_for(&self, service: sys::Service, id: HookId) -> Result<Doing, String> {
        let (sender, waker) = (self.answered.0.clone(), Arc::clone(&self.waker));
        let ready = move || {
            let _nobody = sender.send(id);
            drop(waker.wake());
        };
        sys::ServiceProbe::begin(service, ready)
            .map(Doing::ServiceProbe)
            .map_err(|error| format!("no thread to wait in: {error}"))
    }

    fn ask_python(
        &mut self,
        cx: &mut HookCx<'_>,
        mut message: Value,
        call: HookCall,
        python: &str,
        paths: &[String],
    ) -> Result<(), String> {
        let number = self.bridge(cx, python)?;
        let Some(bridge) = self.bridges.get_mut(&number) else { return Err("it has ended".into()) };
        if let Value::Object(message) = &mut message {
            message.insert("run".into(), python_host::name(call.id));
            message.insert("paths".into(), paths.to_vec().into());
        }
        bridge.under_way.insert(call.id);
        let sent = bridge.send(&message);
        self.jobs.insert(call.id, Job { call, doing: Doing::Python(number) });
        if let Err(error) = sent {
            self.bridge_failed(cx, number, &error);
        }
        Ok(())
    }

    /// The Python that takes hooks, started if there is none.
    fn bridge(&mut self, cx: &mut HookCx<'_>, python: &str) -> Result<u64, String> {
        if let Some((number, _)) = self.bridges.iter().find(|(_, bridge)| !bridge.retiring) {
            return Ok(*number);
        }
        let env = self.host.env.clone().into_iter().collect();
        let start = python_host::Start { python, env, cwd: &self.host.cwd, nofile: self.nofile };
        let bridge = PythonHost::start(start, cx.output, &mut cx.children.spawner)?;
        let number = self.next_bridge;
        self.next_bridge += 1;
        cx.children.insert(bridge.pid, Owner::PythonHost(number));
        self.listen(cx, bridge.fd(), Source::PythonHost(number));
        self.bridges.insert(number, bridge);
        Ok(number)
    }

    /// Ends a hook of which nobody wants to hear any more.
    pub(in crate::daemon) fn end(&mut self, cx: &mut HookCx<'_>, id: HookId) {
        self.repeated.remove(&id);
        self.news.retain(|event| !matches!(event, HookEvent::Lost(call) if call.id == id));
        let Some(Job { call, doing }) = self.jobs.remove(&id) else { return };
        match doing {
            Doing::Process { program, .. } => {
                self.release(id, &program, cx);
                self.news.push_back(HookEvent::Kill(program.pid));
            }
            Doing::Pause { .. } => {}
            Doing::ServiceProbe(vigil) => {
                let (name, complaint) = (&call.config.name, vigil.complaint());
                let hook = what(&call);
                self.news.push_back(HookEvent::Say(Level::Info, format!("{name}: {hook}: the last try: {complaint}")));
            }
            Doing::Python(number) => self.retire(cx, number, id),
        }
    }

    /// A function cannot be ended, only the Python that runs it; the others that it runs may finish first.
    fn retire(&mut self, cx: &mut HookCx<'_>, number: u64, without: HookId) {
        let Some(bridge) = self.bridges.get_mut(&number) else { return };
        bridge.under_way.remove(&without);
        bridge.retiring = true;
        if bridge.under_way.is_empty() {
            self.news.push_back(HookEvent::Kill(bridge.pid));
            self.drop_bridge(cx, number);
        }
    }

    /// The answer to a command that a hook had for circusd.
    pub(in crate::daemon) fn answer(&mut self, cx: &mut HookCx<'_>, bridge: u64, number: u64, value: &Value) {
        let sent = self.bridges.get_mut(&bridge).map(|bridge| bridge.send(&json!({"reply": number, "value": value})));
        if let Some(Err(error)) = sent {
            self.bridge_failed(cx, bridge, &error);
        }
    }

    /// Ends everything. The processes are to be killed.
    pub(in crate::daemon) fn close(&mut self, cx: &mut HookCx<'_>) -> Vec<Pid> {
        for (id, job) in std::mem::take(&mut self.jobs) {
            if let Doing::Process { program, .. } = job.doing {
                self.release(id, &program, cx);
            }
        }
        for number in self.bridges.keys().copied().collect::<Vec<_>>() {
            self.drop_bridge(cx, number);
        }
        self.unread.clear();
        self.news.clear();
        self.repeated.clear();
        // The next life gives the same names again.
        self.answered = mpsc::channel();
        cx.children.take_hooks()
    }

    // -- what they say -----------------------------------------------------------------------------------------------

    fn listen(&mut self, cx: &mut HookCx<'_>, fd: RawFd, source: Source) {
        let interest = match source {
            Source::PythonHost(_) => Interest::READABLE | Interest::WRITABLE,
            _ => Interest::READABLE,
        };
        if let Err(error) = cx.sources.add(source, &mut SourceFd(&fd), interest) {
            self.news.push_back(HookEvent::Say(Level::Error, format!("a hook's output cannot be watched: {error}")));
        }
    }

    fn unlisten(&mut self, cx: &mut HookCx<'_>, fd: RawFd, source: Source) {
        drop(cx.sources.remove_fd(source, fd));
        self.unread.remove(&source);
    }

    fn release(&mut self, id: HookId, process: &Process, cx: &mut HookCx<'_>) {
        if let Some(answer) = &process.answer {
            self.unlisten(cx, answer.fd(), Source::HookAnswer(id));
        }
        cx.output.close(process.sink);
    }

    /// Reads the sources that are ready and what was left of the last turn, and does what is due.
    pub(in crate::daemon) fn look(&mut self, cx: &mut HookCx<'_>, ready: &[Source], place: &Place, now: Now) {
        let mut readable = std::mem::take(&mut self.unread);
        readable.extend(ready);
        for source in readable {
            match source {
                Source::HookAnswer(id) => self.read_answer(id),
                Source::PythonHost(number) => self.read_bridge(cx, number),
                _ => {}
            }
        }
        while let Ok(id) = self.answered.1.try_recv() {
            if self.jobs.remove(&id).is_some() {
                self.done(id, HookOutcome::answer(Ok(true)));
            }
        }
        self.try_again(cx, place, now);
    }

    fn read_answer(&mut self, id: HookId) {
        let Some(Job { doing: Doing::Process { program, .. }, .. }) = self.jobs.get_mut(&id) else { return };
        if program.answer.as_mut().is_some_and(super::answer::Answer::read) {
            self.unread.insert(Source::HookAnswer(id));
        }
    }

    fn read_bridge(&mut self, cx: &mut HookCx<'_>, number: u64) {
        let Some(bridge) = self.bridges.get_mut(&number) else { return };
        let read = bridge.flush().and_then(|()| bridge.read());
        match read {
            Err(error) => self.bridge_failed(cx, number, &error),
            Ok((said, more)) => {
                if more {
                    self.unread.insert(Source::PythonHost(number));
                }
                said.into_iter().for_each(|said| self.heard(cx, number, said));
            }
        }
    }

    fn heard(&mut self, cx: &mut HookCx<'_>, number: u64, said: Said) {
        match said {
            Said::Call { number: call, command, properties } => {
                self.news.push_back(HookEvent::Call { bridge: number, number: call, command, properties });
            }
            Said::Done(id, outcome) => {
                if self.jobs.remove(&id).is_some() {
                    self.done(id, outcome);
                }
                if let Some(bridge) = self.bridges.get_mut(&number) {
                    bridge.under_way.remove(&id);
                    if bridge.retiring {
                        self.retire(cx, number, id);
                    }
                }
            }
        }
    }

    // -- ends --------------------------------------------------------------------------------------------------------

    /// A Python that ran hooks was reaped.
    pub(in crate::daemon) fn python_exited(&mut self, cx: &mut HookCx<'_>, number: u64, exit_code: i32) {
        let how = in_words(exit_code);
        self.bridge_failed(cx, number, &io::Error::other(format!("it ended ({how})")));
    }

    /// The command of a hook was reaped.
    pub(in crate::daemon) fn command_exited(&mut self, cx: &mut HookCx<'_>, id: HookId, exit_code: i32, now: Now) {
        let Some(Job { call, doing: Doing::Process { mut program, until } }) = self.jobs.remove(&id) else { return };
        self.release(id, &program, cx);
        if until && exit_code != 0 {
            let doing = Doing::Pause { at: now.mono.after(RETRY_INTERVAL) };
            self.jobs.insert(id, Job { call, doing });
            return;
        }
        if exit_code != 0 {
            let (name, hook, how) = (&call.config.name, what(&call), in_words(exit_code));
            self.news.push_back(HookEvent::Say(Level::Info, format!("{name}: {hook}: {how}")));
        }
        let mut outcome = HookOutcome::answer(match exit_code {
            0 => Ok(true),
            1.. => Ok(false),
            _ => Err(format!("it was ended {}", in_words(exit_code))),
        });
        if let Some(answer) = &mut program.answer {
            while answer.read() {}
            match serde_json::from_slice(answer.text()) {
                Ok(Value::Object(stats)) => outcome.stats = stats,
                Ok(_) | Err(_) if outcome.answer == Ok(true) && !answer.text().is_empty() => {
                    outcome.answer = Err("it printed no JSON object".into());
                }
                Ok(_) | Err(_) => {}
            }
        }
        self.done(id, outcome);
    }

    fn try_again(&mut self, cx: &mut HookCx<'_>, place: &Place, now: Now) {
        let due = |job: &Job| matches!(job.doing, Doing::Pause { at } if at <= now.mono);
        let ids: Vec<HookId> = self.jobs.iter().filter(|(_, job)| due(job)).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(job) = self.jobs.remove(&id) {
                // A command starts the same Python or none.
                self.run(cx, job.call, place, "", &[]);
            }
        }
    }

    /// A Python is of no use any more, and neither are the hooks that it runs.
    fn bridge_failed(&mut self, cx: &mut HookCx<'_>, number: u64, error: &io::Error) {
        let Some(bridge) = self.bridges.get(&number) else { return };
        let (pid, lost) = (bridge.pid, bridge.under_way.clone());
        if cx.children.contains(pid) {
            self.news.push_back(HookEvent::Kill(pid));
        }
        self.drop_bridge(cx, number);
        for id in lost {
            let Some(job) = self.jobs.remove(&id) else { continue };
            // Another hook, or a kill that the hook has nothing to do with, may have ended it.
            if self.repeated.insert(id) {
                self.news.push_back(HookEvent::Lost(Box::new(job.call)));
            } else {
                self.done(id, HookOutcome::answer(Err(format!("the Python that ran it is gone: {error}"))));
            }
        }
    }

    fn drop_bridge(&mut self, cx: &mut HookCx<'_>, number: u64) {
        let Some(bridge) = self.bridges.remove(&number) else { return };
        self.unlisten(cx, bridge.fd(), Source::PythonHost(number));
        cx.output.close(bridge.sink);
    }

    fn done(&mut self, id: HookId, outcome: HookOutcome) {
        self.repeated.remove(&id);
        self.news.push_back(HookEvent::Done(id, outcome));
    }
}

/// What the log calls a hook.
fn what(call: &HookCall) -> &'static str {
    match call.task {
        HookTask::Load => "hooks",
        HookTask::Run(point) => point.name(),
    }
}

/// The names of a watcher's Python functions, by their points.
fn load(call: &HookCall) -> Value {
    let names = call.config.hooks.iter().filter_map(|(point, hook)| match hook.kind() {
        Ok(HookKind::Python(name)) => Some((point.name().to_owned(), name.into())),
        Ok(_) | Err(_) => None,
    });
    json!({"names": names.collect::<Object>()})
}

/// What a function finds on its `arbiter`.
fn arbiter(place: &Place) -> Value {
    let mut facts = place.facts();
    facts.insert("pid".into(), std::process::id().into());
    facts.into()
}

fn in_words(exit_code: i32) -> String {
    if exit_code < 0 { format!("by {}", Signal(-exit_code)) } else { format!("exit status {exit_code}") }
}
