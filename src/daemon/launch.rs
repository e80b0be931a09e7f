//! Launches: from an action of the core to a process, and from its result to an event.

use std::collections::HashMap;
use std::iter::once;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use circus_core::base::CollectOrdered as _;
use nix::fcntl::OFlag;
use nix::unistd::{geteuid, pipe2};
use serde::{Deserialize, Serialize};

use super::children::Children;
use super::core::Core;
use super::descriptors::Reserve;
use super::environment::Environments;
use super::exec_sink::{ExecSinks, is_command};
use super::fd_table::FdTable;
use super::keys::Keys;
use super::passed_sockets::PassedSockets;
use super::worker_sockets::WorkerSockets;
use crate::arbiter::{Launch, Pid, WatcherKey};
use crate::config::{Cpus, IoPriority, ProbeKind, StreamConfig, WatcherConfig, WatcherOrigin};
use crate::output::{Kept, OutputHandle, SinkId, Source};
use crate::proto::{SpawnError, Stage, StreamName};
use crate::sys;

/// The sinks of a watcher's streams, opened with its first process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Streams {
    pub(super) stdout: Option<SinkId>,
    pub(super) stderr: Option<SinkId>,
}

/// What every launch needs.
pub(super) struct Launcher {
    pub(super) nofile: sys::OpenFileLimit,
    pub(super) reserve: Reserve,
    pub(super) environments: Environments,
    pub(super) streams: HashMap<WatcherKey, Streams>,
    pub(super) output: OutputHandle,
    /// The program of our own plugins.
    pub(super) plugin_program: Option<String>,
    pub(super) exec_sinks: ExecSinks,
    pub(super) worker_sockets: WorkerSockets,
    /// Whether every worker ends with circusd, however that ends.
    pub(super) workers_end_with_circusd: bool,
    /// The circusd after one that was killed goes on with its workers.
    pub(super) workers_are_adopted: bool,
}

/// How a worker reports, and what its predecessor has kept for it.
#[derive(Default)]
pub(super) struct Reporting<'a> {
    /// The notification socket.
    pub(super) address: Option<&'a str>,
    /// Descriptors, with their names.
    pub(super) stored: Vec<(String, BorrowedFd<'a>)>,
}

impl Reporting<'_> {
    /// Adds what a worker has to know of it to its environment.
    fn tell(&self, config: &WatcherConfig, env: &mut Vec<(String, String)>) {
        let Some(address) = self.address else { return };
        env.retain(|(name, _)| !["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"].contains(&name.as_str()));
        env.push(("NOTIFY_SOCKET".into(), address.into()));
        if config.checks.health.as_ref().is_some_and(|probe| probe.kind == ProbeKind::Watchdog) {
            let interval = Duration::from_secs_f64(config.checks.health_interval.max(0.0));
            env.push(("WATCHDOG_USEC".into(), interval.as_micros().to_string()));
        }
    }
}

/// The two ends of a stream's pipe.
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    sink: SinkId,
    name: StreamName,
}

impl Launcher {
    /// Starts a process; its output flows from here on.
    pub(super) fn start(
        &mut self,
        launch: Launch,
        reporting: Reporting<'_>,
        (keys, group): (Option<&Keys>, Option<&sys::Cgroup>),
        fds: &FdTable,
        children: &mut Children,
        core: &mut Core,
    ) -> Result<sys::Spawned, SpawnError> {
        let config = &*launch.config;
        let credentials = match (&config.uid, &config.gid) {
            (None, None) => None,
            (uid, gid) => sys::resolve(uid.as_ref(), gid.as_ref())?,
        };
        let another_user = credentials.as_ref().and_then(|credentials| credentials.uid);
        let another_user = another_user.is_some_and(|uid| uid != geteuid().as_raw());
        let stdout = self.pipe(launch.worker.watcher, config, (StreamName::Stdout, another_user), children, core)?;
        let stderr = self.pipe(launch.worker.watcher, config, (StreamName::Stderr, another_user), children, core)?;
        let mut env = self.environments.of(config)?;
        reporting.tell(config, &mut env);
        env.retain(|(name, _)| !launch.slots.iter().any(|(variable, _)| variable == name));
        env.extend(launch.slots.iter().cloned());
        let set =
            self.worker_sockets.choose((launch.worker.watcher, launch.wid), config, &fds.sockets, core.now.mono)?;
        let sockets = PassedSockets { shared: &fds.sockets, own: &self.worker_sockets, set };
        let passed =
            sockets.passed(config, reporting.stored, keys.and_then(|keys| keys.passed_to(config)), &mut env)?;
        let folder = group.map(sys::Cgroup::open).transpose()?;
        let name = group.map(|group| group.folder().display().to_string()).unwrap_or_default();
        let spawned = children.spawner.spawn(&sys::Launch {
            executable: config.executable.clone().or_else(|| self.program_of(config)),
            env,
            cwd: config.working_dir.clone(),
            umask: None,
            credentials,
            cgroup: folder.as_ref().map(|folder| (folder.as_fd(), name)),
            nice: config.scheduling.nice,
            ionice: config.scheduling.ionice.map(IoPriority::number),
            cpu_affinity: config.scheduling.cpu_affinity.as_ref().map(Cpus::mask).unwrap_or_default(),
            oom_score_adj: config.scheduling.oom_score_adj,
            rlimits: config.rlimits.iter().map(|(name, limit)| (name.clone(), *limit)).collect(),
            stdin: sockets.stdin(config)?,
            stdout: stdio(config.close_child_stdout, stdout.as_ref()),
            stderr: stdio(config.close_child_stderr, stderr.as_ref()),
            sockets: passed,
            nofile: Some(self.nofile),
            no_new_privs: config.no_new_privs,
            // When circusd is killed, nothing else would end them, and they are of no use to the next.
            ends_with_us: self.workers_end_with_circusd || config.origin != WatcherOrigin::User,
            ..sys::Launch::new(launch.argv)
        })?;
        let pid = spawned.pid().as_raw();
        self.worker_sockets.started(set, Pid(pid));
        for pipe in [stdout, stderr].into_iter().flatten() {
            drop(pipe.write);
            let source = Source { pid, wid: launch.wid.0, name: pipe.name };
            self.output.attach_and_await(pipe.read, pipe.sink, source, config.checks.pattern());
        }
        Ok(spawned)
    }

    /// Reads on what a worker of the circusd before prints, where that goes into pipes.
    pub(super) fn attach_survivor(
        &mut self,
        launch: &Launch,
        survivor: &sys::Survivor,
        children: &mut Children,
        core: &mut Core,
    ) -> Result<(), SpawnError> {
        let (watcher, config, pid) = (launch.worker.watcher, &*launch.config, survivor.identity().pid.as_raw());
        for (name, number) in [(StreamName::Stdout, 1), (StreamName::Stderr, 2)] {
            let Some(reader) = survivor.reader_of_pipe(number) else { continue };
            // Of the pipe that is made here only the sink is wanted.
            if let Some(pipe) = self.pipe(watcher, config, (name, false), children, core)? {
                self.output.attach(reader, pipe.sink, Source { pid, wid: launch.wid.0, name });
            }
        }
        Ok(())
    }

    /// A pipe into the sink of this stream, if it has one. A worker of another user has one also where it would share a
    /// file of circusd's, its log say, which it could empty or fill with lines of its own making.
    fn pipe(
        &mut self,
        watcher: WatcherKey,
        config: &WatcherConfig,
        (name, another_user): (StreamName, bool),
        children: &mut Children,
        core: &mut Core,
    ) -> Result<Option<Pipe>, SpawnError> {
        let (stream, closed) = match name {
            StreamName::Stdout => (&config.stdout_stream, config.close_child_stdout),
            StreamName::Stderr => (&config.stderr_stream, config.close_child_stderr),
        };
        // The output of a plugin goes to the log, unless its section names a stream.
        let to_log = config.plugin.is_some() && stream.is_none();
        let own = (another_user && stream.is_none() && !to_log).then(|| own_file(name)).flatten();
        let stream = own.as_ref().or(stream.as_ref());
        if closed || stream.is_none() && !to_log {
            return Ok(None);
        }
        let (read, write) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| SpawnError {
            stage: Stage::Pipe,
            errno: errno as i32,
            detail: stream.map_or_else(|| "the log".into(), |stream| stream.class.clone()),
        })?;
        // A worker whose end of the pipe also reads gets no SIGPIPE while no circusd reads: it waits when the pipe is full,
        // and the next circusd reads on where this one stopped.
        let both_ways = |write: OwnedFd| {
            let path = format!("/proc/self/fd/{}", write.as_raw_fd());
            std::fs::File::options().read(true).write(true).open(path).map_or(write, OwnedFd::from)
        };
        let write = if self.workers_are_adopted { both_ways(write) } else { write };
        // Before the sink, which may take a descriptor, too.
        self.reserve.check(&write)?;
        let kept = Kept { watcher: config.name.clone(), stream: name, bytes: config.tail_bytes as usize };
        let sink = self.sink(watcher, kept, stream, children, core)?;
        Ok(Some(Pipe { read, write, sink, name }))
    }

    /// The sink of a stream; without a stream, the log.
    fn sink(
        &mut self,
        watcher: WatcherKey,
        kept: Kept,
        stream: Option<&StreamConfig>,
        children: &mut Children,
        core: &mut Core,
    ) -> Result<SinkId, SpawnError> {
        let streams = self.streams.entry(watcher).or_default();
        let slot = match kept.stream {
            StreamName::Stdout => &mut streams.stdout,
            StreamName::Stderr => &mut streams.stderr,
        };
        if let Some(sink) = slot {
            return Ok(*sink);
        }
        let wrong = |detail| SpawnError { stage: Stage::Pipe, errno: 0, detail };
        let sink = match stream {
            None => self.output.open_told(kept),
            Some(stream) if is_command(stream) => {
                let name = called(&kept.watcher, kept.stream);
                let (command, pipe) = self.exec_sinks.begin(&name, stream, children, core)?;
                let sink = match self.output.open_command(stream, pipe, kept) {
                    Ok(sink) => sink,
                    Err(error) => {
                        self.exec_sinks.abandon(command, core);
                        return Err(wrong(error));
                    }
                };
                self.exec_sinks.keep(sink, command, core);
                sink
            }
            Some(stream) => self
                .output
                .open(stream, kept)
                .map_err(|error| SpawnError { errno: error.errno, ..wrong(error.text) })?,
        };
        *slot = Some(sink);
        Ok(sink)
    }

    /// The watcher has stopped: the sockets of its workers close, and its sinks when what was written to them is out.
    pub(super) fn close_streams(&mut self, watcher: WatcherKey, core: &mut Core) {
        self.worker_sockets.close(watcher);
        if let Some(streams) = self.streams.remove(&watcher) {
            for sink in [streams.stdout, streams.stderr].into_iter().flatten() {
                self.output.close(sink);
                self.exec_sinks.close(sink, core);
            }
        }
    }

    /// The watcher's stream options changed: what is open follows, what is not is opened when it is needed.
    pub(super) fn update_streams(
        &mut self,
        watcher: WatcherKey,
        config: &WatcherConfig,
        children: &mut Children,
        core: &mut Core,
    ) -> Result<(), String> {
        let Some(streams) = self.streams.get(&watcher) else { return Ok(()) };
        let mut failed = Vec::new();
        let both = [
            (streams.stdout, StreamName::Stdout, &config.stdout_stream),
            (streams.stderr, StreamName::Stderr, &config.stderr_stream),
        ];
        for (sink, name, stream) in both {
            if let (Some(sink), Some(stream)) = (sink, stream) {
                failed.extend(self.update(sink, (&config.name, name), stream, children, core).err());
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }
}

impl Launcher {
    /// Gives an open sink another configuration.
    fn update(
        &mut self,
        sink: SinkId,
        origin: (&str, StreamName),
        stream: &StreamConfig,
        children: &mut Children,
        core: &mut Core,
    ) -> Result<(), String> {
        if !is_command(stream) {
            self.output.set(sink, origin, stream)?;
            self.exec_sinks.close(sink, core);
            return Ok(());
        }
        let begun = self.exec_sinks.begin(&called(origin.0, origin.1), stream, children, core);
        let (command, pipe) = begun.map_err(|error| format!("{} ({})", error.detail, error.reason()))?;
        if let Err(error) = self.output.set_command(sink, origin, stream, pipe) {
            self.exec_sinks.abandon(command, core);
            return Err(error);
        }
        self.exec_sinks.keep(sink, command, core);
        Ok(())
    }
}

/// circusd's own standard output or error as a stream, where it is a file.
fn own_file(name: StreamName) -> Option<StreamConfig> {
    let (fd, path) = match name {
        StreamName::Stdout => (std::io::stdout().as_fd().try_clone_to_owned(), "/dev/stdout"),
        StreamName::Stderr => (std::io::stderr().as_fd().try_clone_to_owned(), "/dev/stderr"),
    };
    let is_file = std::fs::File::from(fd.ok()?).metadata().ok()?.is_file();
    let options = once(("filename".to_owned(), path.into())).collect_map();
    is_file.then(|| StreamConfig { class: "FileStream".into(), options })
}

/// A stream in messages.
fn called(watcher: &str, name: StreamName) -> String {
    match name {
        StreamName::Stdout => format!("{watcher}: stdout_stream"),
        StreamName::Stderr => format!("{watcher}: stderr_stream"),
    }
}

fn stdio<'fd>(closed: bool, pipe: Option<&'fd Pipe>) -> sys::Stdio<'fd> {
    match pipe {
        _ if closed => sys::Stdio::Null,
        Some(pipe) => sys::Stdio::Fd(pipe.write.as_fd()),
        None => sys::Stdio::Inherit,
    }
}
