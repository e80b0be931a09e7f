//! Readiness and health checks, as actions of the core: connections that do not block, and commands that are children
//! like any others. The core decides when a check runs, how long it may take and what its result means. Only looking up
//! the name of a host takes a thread.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use mio::unix::SourceFd;
use mio::{Interest, Waker};

use super::children::{Children, Owner};
use super::core::Core;
use super::environment::Environments;
use super::hooks::pipe;
use super::signaller::Signaller;
use super::sources::{Source, Sources};
use crate::arbiter::{Event, Pid, ProbeCall, ProbeId, ProbeOutcome};
use crate::config::ProbeKind;
use crate::proto::exit_words;
use crate::sys::{self, AttemptProgress, Service, ServiceAttempt};

/// What is done for an attempt.
#[derive(Debug)]
enum Doing {
    Connection(ServiceAttempt),
    /// A thread looks up a name, and connects.
    Thread,
    /// A command runs; the pipe says whether it got to its program.
    Command {
        pid: Pid,
        status: Option<OwnedFd>,
        /// Where what it prints is the answer.
        answer: Option<OwnedFd>,
    },
}

/// So many bytes are read of what a command has printed.
const LONGEST_ANSWER: u64 = 4096;

/// What a thread has found.
type Found = (ProbeId, Result<(), String>);

/// Every attempt that is under way.
#[derive(Debug)]
pub(super) struct Probes {
    waker: Arc<Waker>,
    nofile: sys::OpenFileLimit,
    under_way: BTreeMap<ProbeId, Doing>,
    threads: (Sender<Found>, Receiver<Found>),
}

/// What probes use of the other parts of the daemon.
pub(super) struct ProbeCx<'a> {
    pub(super) core: &'a mut Core,
    pub(super) sources: &'a mut Sources,
    pub(super) children: &'a mut Children,
    pub(super) environments: &'a mut Environments,
}

impl Probes {
    pub(super) fn new(waker: Arc<Waker>, nofile: sys::OpenFileLimit) -> Self {
        Self { waker, nofile, under_way: BTreeMap::new(), threads: mpsc::channel() }
    }

    /// Begins an attempt. It may be over at once.
    pub(super) fn begin(&mut self, call: &ProbeCall, cx: &mut ProbeCx<'_>) {
        let id = call.id;
        let begun = match &call.probe.kind {
            ProbeKind::Tcp { host, port } => self.connect(id, Service::Tcp { host: host.clone(), port: *port }, cx),
            ProbeKind::Http { host, port, path } => {
                self.connect(id, Service::Http { host: host.clone(), port: *port, path: path.clone() }, cx)
            }
            ProbeKind::Unix(path) => self.connect(id, Service::Unix(path.clone()), cx),
            ProbeKind::Exec(argv) => self.start(argv, call, cx),
            // These report by themselves.
            ProbeKind::Notify | ProbeKind::Watchdog | ProbeKind::Log(_) => Ok(()),
        };
        if let Err(error) = begun {
            report(id, ProbeOutcome::Unable(error), cx.core);
        }
    }

    fn connect(&mut self, id: ProbeId, service: Service, cx: &mut ProbeCx<'_>) -> Result<(), String> {
        let begun = ServiceAttempt::begin(&service).map_err(|error| error.to_string())?;
        let Some((attempt, progress)) = begun else { return self.look_up(id, service) };
        match progress {
            AttemptProgress::Waiting => {
                let fd = attempt.fd();
                cx.sources.add(Source::Probe(id), &mut SourceFd(&fd), INTEREST).map_err(|error| error.to_string())?;
                self.under_way.insert(id, Doing::Connection(attempt));
            }
            AttemptProgress::Passed => report(id, ProbeOutcome::Passed, cx.core),
            AttemptProgress::Failed(error) => report(id, ProbeOutcome::Failed(error), cx.core),
        }
        Ok(())
    }

    fn look_up(&mut self, id: ProbeId, service: Service) -> Result<(), String> {
        let (sender, waker) = (self.threads.0.clone(), Arc::clone(&self.waker));
        let found = move |result: std::io::Result<()>| {
            // Nothing receives it where this life is over.
            let _ = sender.send((id, result.map_err(|error| error.to_string())));
            drop(waker.wake());
        };
        sys::try_service(service, found)
            .map_err(|error| format!("cannot start a thread to look up a name: {error}"))?;
        self.under_way.insert(id, Doing::Thread);
        Ok(())
    }

    /// Starts a command as the worker's user, in its environment and directory. What it prints is of no interest.
    fn start(&mut self, argv: &[String], call: &ProbeCall, cx: &mut ProbeCx<'_>) -> Result<(), String> {
        let config = &*call.config;
        let credentials = match (&config.uid, &config.gid) {
            (None, None) => Ok(None),
            (uid, gid) => sys::resolve(uid.as_ref(), gid.as_ref()),
        };
        let env = cx.environments.of(config).map_err(|error| error.describe())?;
        let own = ["CIRCUS_WATCHER", "CIRCUS_PID", "CIRCUS_WID", "CIRCUS_NUMPROCESSES"];
        let told = [
            Some(config.name.clone()),
            call.pid.map(|pid| pid.0.to_string()),
            call.wid.map(|wid| wid.0.to_string()),
            call.prints.then(|| config.numprocesses.to_string()),
        ];
        let (answer, answer_end) = if call.prints { pipe().map(|(r, w)| (Some(r), Some(w)))? } else { (None, None) };
        let stdout = answer_end.as_ref().map(|end| sys::Stdio::Fd(end.as_fd()));
        let env = env.into_iter().filter(|(name, _)| !own.contains(&name.as_str()));
        let told = own.into_iter().zip(told).filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let env = env.chain(told).collect();
        let launch = sys::Launch::new(argv.to_vec());
        let spawned = cx.children.spawner.spawn(&sys::Launch {
            env,
            stdout: stdout.unwrap_or(sys::Launch::new(Vec::new()).stdout),
            cwd: config.working_dir.clone(),
            credentials: credentials.map_err(|error| error.describe())?,
            nofile: Some(self.nofile),
            ..launch
        });
        let (pid, status) = match spawned.map_err(|error| error.describe())? {
            sys::Spawned::Running(pid) => (pid, None),
            sys::Spawned::Pending { pid, status } => (pid, Some(status)),
        };
        let pid = Pid(pid.as_raw());
        cx.children.insert(pid, Owner::Probe(call.id));
        self.under_way.insert(call.id, Doing::Command { pid, status, answer });
        Ok(())
    }

    /// Ends an attempt whose outcome is of no interest any more.
    pub(super) fn end(&mut self, id: ProbeId, sources: &mut Sources, signaller: &mut Signaller) {
        match self.under_way.remove(&id) {
            Some(Doing::Connection(attempt)) => drop(sources.remove_fd(Source::Probe(id), attempt.fd())),
            Some(Doing::Command { pid, .. }) => signaller.kill([pid]),
            Some(Doing::Thread) | None => {}
        }
    }

    /// Goes on with the attempts that are ready.
    pub(super) fn look(&mut self, ready: &[Source], sources: &mut Sources, core: &mut Core) {
        if self.under_way.is_empty() {
            return;
        }
        for source in ready {
            if let Source::Probe(id) = source {
                self.advance(*id, sources, core);
            }
        }
        while let Ok((id, found)) = self.threads.1.try_recv() {
            if self.under_way.remove(&id).is_some() {
                report(id, found.map_or_else(ProbeOutcome::Failed, |()| ProbeOutcome::Passed), core);
            }
        }
    }

    fn advance(&mut self, id: ProbeId, sources: &mut Sources, core: &mut Core) {
        let Some(Doing::Connection(attempt)) = self.under_way.get_mut(&id) else { return };
        let fd = attempt.fd();
        let outcome = match attempt.advance() {
            AttemptProgress::Waiting if attempt.fd() == fd => return,
            // The next address of the host is tried.
            AttemptProgress::Waiting => {
                drop(sources.remove_fd(Source::Probe(id), fd));
                let fd = attempt.fd();
                match sources.add(Source::Probe(id), &mut SourceFd(&fd), INTEREST) {
                    Ok(()) => return,
                    Err(error) => ProbeOutcome::Unable(error.to_string()),
                }
            }
            AttemptProgress::Passed => ProbeOutcome::Passed,
            AttemptProgress::Failed(error) => ProbeOutcome::Failed(error),
        };
        drop(sources.remove_fd(Source::Probe(id), attempt.fd()));
        self.under_way.remove(&id);
        report(id, outcome, core);
    }

    /// The command of an attempt was reaped.
    pub(super) fn exited(&mut self, id: ProbeId, exit_code: i32, core: &mut Core) {
        let Some(Doing::Command { status, answer, .. }) = self.under_way.remove(&id) else { return };
        let outcome = match status.map(sys::read_status) {
            Some(sys::StatusRead::Failed(error)) => ProbeOutcome::Unable(error.describe()),
            _ if exit_code == 0 => answer.map_or(ProbeOutcome::Passed, |pipe| ProbeOutcome::Printed(printed(pipe))),
            _ => ProbeOutcome::Failed(exit_words(exit_code)),
        };
        report(id, outcome, core);
    }

    /// This life is over: its workers are gone.
    pub(super) fn close(&mut self, sources: &mut Sources, signaller: &mut Signaller) {
        for id in self.under_way.keys().copied().collect::<Vec<_>>() {
            self.end(id, sources, signaller);
        }
        // The next life gives the same names again.
        self.threads = mpsc::channel();
    }
}

/// What a command that has ended has printed. What it has started may have the pipe still: that is not waited for.
fn printed(pipe: OwnedFd) -> String {
    let mut text = Vec::new();
    // It does not block; what was read before an error counts.
    let _ended = File::from(pipe).take(LONGEST_ANSWER).read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// An attempt writes first, then reads; each edge is reported once.
const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE);

fn report(probe: ProbeId, outcome: ProbeOutcome, core: &mut Core) {
    core.feed(Event::Probed { probe, outcome });
}
