//! Running hooks: actions of the core come in, results go out. The core decides when a hook is tried again and when a
//! Python process ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use mio::unix::SourceFd;
use mio::{Interest, Waker};
use serde_json::{Value, json};

use super::HookCx;
use super::payload::{self, Place};
use super::process::{Process, Spec};
use super::python_host::{self, PythonHost, Said};
use crate::arbiter::{HookCall, HookId, HookOutcome, HookTask, Level, Pid};
use crate::config::{Hook, HookKind, Host};
use crate::daemon::children::Owner;
use crate::daemon::sources::Source;
use crate::proto::{HookPoint, Object, exit_words};
use crate::sys;

/// What has come of hooks.
#[derive(Debug)]
pub(in crate::daemon) enum HookEvent {
    /// A hook is done.
    Done(HookId, HookOutcome),
    /// What a hook waits for is not there yet, and why.
    NotYet(HookId, String),
    /// A line for the log.
    Say(Level, String),
    /// A hook has a command for circusd; answer with [`HookRunner::answer`].
    Call {
        /// Which Python asks.
        host: u64,
        /// Its name for the answer.
        number: u64,
        /// The command.
        command: String,
        /// Its properties.
        properties: Object,
    },
    /// A Python that ran hooks is of no use any more, and why.
    HostLost(u64, String),
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
    /// A command runs; with `waits`, its failure means that it is to be tried again.
    Process { program: Process, waits: bool },
    /// Whether a service answers is being tried.
    Service,
    /// A Python runs a function.
    Python,
}

/// Whether a service that a hook waits for has answered, or why not.
type Attempt = (HookId, Result<(), String>);

/// Every hook that is under way.
#[derive(Debug)]
pub(in crate::daemon) struct HookRunner {
    waker: Arc<Waker>,
    host: Host,
    nofile: sys::OpenFileLimit,
    jobs: BTreeMap<HookId, Job>,
    hosts: BTreeMap<u64, PythonHost>,
    /// The one that was started last.
    last_host: Option<u64>,
    /// Attempts to reach services.
    attempts: (Sender<Attempt>, Receiver<Attempt>),
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
            hosts: BTreeMap::new(),
            last_host: None,
            attempts: mpsc::channel(),
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
        self.jobs.is_empty() && self.hosts.is_empty()
    }

    /// Whether no hook is under way; a Python may wait for the next.
    pub(in crate::daemon) fn runs_none(&self) -> bool {
        self.jobs.is_empty() && self.news.is_empty()
    }

    /// Whether the next turn must not wait.
    pub(in crate::daemon) fn has_pending(&self) -> bool {
        !self.news.is_empty() || !self.unread.is_empty()
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
        let hook = call.config.hooks.get(&point).ok_or("the hook was removed")?;
        let doing = match hook.kind()? {
            HookKind::Command(argv) => {
                Doing::Process { program: self.start(cx, argv, &call, place, point)?, waits: false }
            }
            HookKind::WaitCommand(argv) => {
                Doing::Process { program: self.start(cx, argv, &call, place, point)?, waits: true }
            }
            HookKind::WaitTcp { host, port } => self.try_service(sys::Service::Tcp { host, port }, call.id)?,
            HookKind::WaitHttp { host, port, path } => {
                self.try_service(sys::Service::Http { host, port, path }, call.id)?
            }
            HookKind::WaitUnix(path) => self.try_service(sys::Service::Unix(path), call.id)?,
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

    fn try_service(&self, service: sys::Service, id: HookId) -> Result<Doing, String> {
        let (sender, waker) = (self.attempts.0.clone(), Arc::clone(&self.waker));
        let report = move |result: io::Result<()>| {
            // Nothing receives it where this life is over.
            let _ = sender.send((id, result.map_err(|error| error.to_string())));
            drop(waker.wake());
        };
        let started = sys::try_service(service, report);
        started.map(|()| Doing::Service).map_err(|error| format!("cannot start a thread for it: {error}"))
    }

    fn ask_python(
        &mut self,
        cx: &mut HookCx<'_>,
        mut message: Value,
        call: HookCall,
        python: &str,
        paths: &[String],
    ) -> Result<(), String> {
        let number = call.host.ok_or("it names no Python")?;
        if !self.hosts.contains_key(&number) && self.last_host.is_none_or(|last| last < number) {
            self.start_host(cx, number, python)?;
        }
        if let Value::Object(message) = &mut message {
            message.insert("run".into(), python_host::name(call.id));
            message.insert("paths".into(), paths.to_vec().into());
        }
        self.jobs.insert(call.id, Job { call, doing: Doing::Python });
        // One that has ended meanwhile is reported as lost, with this hook.
        if let Some(Err(error)) = self.hosts.get_mut(&number).map(|host| host.send(&message)) {
            self.host_failed(cx, number, &error);
        }
        Ok(())
    }

    fn start_host(&mut self, cx: &mut HookCx<'_>, number: u64, python: &str) -> Result<(), String> {
        let env = self.host.env.clone().into_iter().collect();
        let start = python_host::Start { python, env, cwd: &self.host.cwd, nofile: self.nofile };
        let host = PythonHost::start(start, cx.output, &mut cx.children.spawner)?;
        cx.children.insert(host.pid, Owner::PythonHost(number));
        self.listen(cx, host.fd(), Source::PythonHost(number));
        self.hosts.insert(number, host);
        self.last_host = Some(number);
        Ok(())
    }

    /// Ends a hook whose answer is of no interest any more. A function goes on until its Python is ended.
    pub(in crate::daemon) fn end(&mut self, cx: &mut HookCx<'_>, id: HookId) {
        if let Some(Job { doing: Doing::Process { program, .. }, .. }) = self.jobs.remove(&id) {
            self.release(id, &program, cx);
            self.news.push_back(HookEvent::Kill(program.pid));
        }
    }

    /// Ends a Python.
    pub(in crate::daemon) fn end_host(&mut self, cx: &mut HookCx<'_>, number: u64) {
        if let Some(pid) = self.hosts.get(&number).map(|host| host.pid) {
            self.news.push_back(HookEvent::Kill(pid));
            self.drop_host(cx, number);
        }
    }

    /// The answer to a command that a hook had for circusd.
    pub(in crate::daemon) fn answer(&mut self, cx: &mut HookCx<'_>, host: u64, number: u64, value: &Value) {
        let sent = self.hosts.get_mut(&host).map(|host| host.send(&json!({"reply": number, "value": value})));
        if let Some(Err(error)) = sent {
            self.host_failed(cx, host, &error);
        }
    }

    /// Ends everything. The processes are to be killed.
    pub(in crate::daemon) fn close(&mut self, cx: &mut HookCx<'_>) -> Vec<Pid> {
        for (id, job) in std::mem::take(&mut self.jobs) {
            if let Doing::Process { program, .. } = job.doing {
                self.release(id, &program, cx);
            }
        }
        for number in self.hosts.keys().copied().collect::<Vec<_>>() {
            self.drop_host(cx, number);
        }
        self.unread.clear();
        self.news.clear();
        // The next life gives the same names again.
        self.last_host = None;
        self.attempts = mpsc::channel();
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

    /// Reads the sources that are ready and what was left of the last turn.
    pub(in crate::daemon) fn look(&mut self, cx: &mut HookCx<'_>, ready: &[Source]) {
        let mut readable = std::mem::take(&mut self.unread);
        readable.extend(ready);
        for source in readable {
            match source {
                Source::HookAnswer(id) => self.read_answer(id),
                Source::PythonHost(number) => self.read_host(cx, number),
                _ => {}
            }
        }
        while let Ok((id, result)) = self.attempts.1.try_recv() {
            if self.jobs.remove(&id).is_some() {
                match result {
                    Ok(()) => self.done(id, HookOutcome::answer(Ok(true))),
                    Err(reason) => self.news.push_back(HookEvent::NotYet(id, reason)),
                }
            }
        }
    }

    fn read_answer(&mut self, id: HookId) {
        let Some(Job { doing: Doing::Process { program, .. }, .. }) = self.jobs.get_mut(&id) else { return };
        if program.answer.as_mut().is_some_and(super::answer::Answer::read) {
            self.unread.insert(Source::HookAnswer(id));
        }
    }

    fn read_host(&mut self, cx: &mut HookCx<'_>, number: u64) {
        let Some(host) = self.hosts.get_mut(&number) else { return };
        let read = host.flush().and_then(|()| host.read());
        match read {
            Err(error) => self.host_failed(cx, number, &error),
            Ok((said, more)) => {
                if more {
                    self.unread.insert(Source::PythonHost(number));
                }
                said.into_iter().for_each(|said| self.heard(number, said));
            }
        }
    }

    fn heard(&mut self, host: u64, said: Said) {
        match said {
            Said::Call { number, command, properties } => {
                self.news.push_back(HookEvent::Call { host, number, command, properties });
            }
            Said::Done(id, outcome) => {
                if self.jobs.remove(&id).is_some() {
                    self.done(id, outcome);
                }
            }
        }
    }

    // -- ends --------------------------------------------------------------------------------------------------------

    /// A Python that ran hooks was reaped.
    pub(in crate::daemon) fn python_exited(&mut self, cx: &mut HookCx<'_>, number: u64, exit_code: i32) {
        let how = exit_words(exit_code);
        self.host_failed(cx, number, &io::Error::other(format!("it ended ({how})")));
    }

    /// The command of a hook was reaped.
    pub(in crate::daemon) fn command_exited(&mut self, cx: &mut HookCx<'_>, id: HookId, exit_code: i32) {
        let Some(Job { call, doing: Doing::Process { mut program, waits } }) = self.jobs.remove(&id) else { return };
        self.release(id, &program, cx);
        if waits && exit_code != 0 {
            return self.news.push_back(HookEvent::NotYet(id, exit_words(exit_code)));
        }
        if exit_code != 0 {
            let (name, hook, how) = (&call.config.name, call.task.name(), exit_words(exit_code));
            self.news.push_back(HookEvent::Say(Level::Info, format!("{name}: {hook}: {how}")));
        }
        let mut outcome = HookOutcome::answer(match exit_code {
            0 => Ok(true),
            1.. => Ok(false),
            _ => Err(format!("the command was ended {}", exit_words(exit_code))),
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

    /// A Python is of no use any more, and neither are the hooks that it runs.
    fn host_failed(&mut self, cx: &mut HookCx<'_>, number: u64, error: &io::Error) {
        let Some(pid) = self.hosts.get(&number).map(|host| host.pid) else { return };
        if cx.children.contains(pid) {
            self.news.push_back(HookEvent::Kill(pid));
        }
        self.drop_host(cx, number);
        self.news.push_back(HookEvent::HostLost(number, error.to_string()));
    }

    fn drop_host(&mut self, cx: &mut HookCx<'_>, number: u64) {
        let Some(host) = self.hosts.remove(&number) else { return };
        self.unlisten(cx, host.fd(), Source::PythonHost(number));
        cx.output.close(host.sink);
        self.jobs.retain(|_, job| job.call.host != Some(number));
    }

    fn done(&mut self, id: HookId, outcome: HookOutcome) {
        self.news.push_back(HookEvent::Done(id, outcome));
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
