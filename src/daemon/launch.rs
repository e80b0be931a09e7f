//! From what the core wants started to what the kernel is asked for, and back.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use crate::arbiter::{Launch, WatcherKey, WorkerId};
use crate::config::{StreamConfig, WatcherConfig};
use crate::output::{OutputHandle, SinkId, Source, StreamName};
use crate::proto::{SpawnError, Stage};
use crate::sys;

/// A process that exists and is changing its user: whether it gets to its program is told by its status pipe.
pub(super) struct PendingLaunch {
    pub(super) worker: WorkerId,
    pub(super) status: OwnedFd,
}

/// The sinks of a watcher's streams, opened with its first process.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub(super) stdout: Option<SinkId>,
    pub(super) stderr: Option<SinkId>,
}

/// What every launch needs.
pub(super) struct Launcher {
    pub(super) sockets: Vec<sys::ManagedSocket>,
    pub(super) nofile: sys::Nofile,
    pub(super) streams: HashMap<WatcherKey, Streams>,
    pub(super) output: OutputHandle,
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
    pub(super) fn start(&mut self, launch: Launch) -> Result<sys::Spawned, SpawnError> {
        let config = &*launch.config;
        let credentials = match (&config.uid, &config.gid) {
            (None, None) => None,
            (uid, gid) => sys::resolve(uid.as_ref(), gid.as_ref())?,
        };
        let stdout = self.pipe(launch.worker.watcher, config, StreamName::Stdout)?;
        let stderr = self.pipe(launch.worker.watcher, config, StreamName::Stderr)?;
        let env = config.env.as_ref().map(|env| env.iter().map(|(k, v)| (k.clone(), v.clone())).collect());
        let spawned = sys::spawn(&sys::Launch {
            executable: config.executable.clone(),
            env: env.unwrap_or_default(),
            cwd: config.working_dir.clone(),
            umask: None,
            credentials,
            rlimits: config.rlimits.iter().map(|(name, limit)| (name.clone(), *limit)).collect(),
            stdin: self.stdin(config)?,
            stdout: stdio(config.close_child_stdout, stdout.as_ref()),
            stderr: stdio(config.close_child_stderr, stderr.as_ref()),
            sockets: self.passed(config)?,
            nofile: Some(self.nofile),
            ..sys::Launch::new(launch.argv)
        })?;
        let pid = match &spawned {
            sys::Spawned::Running(pid) | sys::Spawned::Pending { pid, .. } => pid.as_raw(),
        };
        for pipe in [stdout, stderr].into_iter().flatten() {
            drop(pipe.write);
            self.output.attach(pipe.read, pipe.sink, Source { pid, name: pipe.name });
        }
        Ok(spawned)
    }

    fn stdin(&self, config: &WatcherConfig) -> Result<sys::Stdio<'_>, SpawnError> {
        match &config.stdin_socket {
            Some(name) => Ok(sys::Stdio::Fd(self.socket(name)?)),
            None if config.close_child_stdin => Ok(sys::Stdio::Null),
            None => Ok(sys::Stdio::Inherit),
        }
    }

    fn passed(&self, config: &WatcherConfig) -> Result<sys::Pass<'_>, SpawnError> {
        if !config.sockets.is_empty() {
            let named = config.sockets.iter().map(|name| Ok((name.clone(), self.socket(name)?)));
            return Ok(sys::Pass::Listen(named.collect::<Result<_, _>>()?));
        }
        if config.use_sockets {
            return Ok(sys::Pass::SameNumbers(self.sockets.iter().map(|socket| socket.as_fd()).collect()));
        }
        Ok(sys::Pass::None)
    }

    fn socket(&self, name: &str) -> Result<BorrowedFd<'_>, SpawnError> {
        let wanted = name.to_lowercase();
        self.sockets.iter().find(|socket| socket.name == wanted).map(|socket| socket.as_fd()).ok_or_else(|| {
            SpawnError { stage: Stage::Socket, errno: 0, detail: format!("there is no [socket:{name}]") }
        })
    }

    /// A pipe into the sink of this stream, if it has one.
    fn pipe(
        &mut self,
        watcher: WatcherKey,
        config: &WatcherConfig,
        name: StreamName,
    ) -> Result<Option<Pipe>, SpawnError> {
        let (stream, closed) = match name {
            StreamName::Stdout => (&config.stdout_stream, config.close_child_stdout),
            StreamName::Stderr => (&config.stderr_stream, config.close_child_stderr),
        };
        let Some(stream) = stream.as_ref().filter(|_| !closed) else { return Ok(None) };
        let sink = self.sink(watcher, name, stream)?;
        let (read, write) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| SpawnError {
            stage: Stage::Pipe,
            errno: errno as i32,
            detail: stream.class.clone(),
        })?;
        Ok(Some(Pipe { read, write, sink, name }))
    }

    fn sink(&mut self, watcher: WatcherKey, name: StreamName, stream: &StreamConfig) -> Result<SinkId, SpawnError> {
        let streams = self.streams.entry(watcher).or_default();
        let slot = match name {
            StreamName::Stdout => &mut streams.stdout,
            StreamName::Stderr => &mut streams.stderr,
        };
        if let Some(sink) = slot {
            return Ok(*sink);
        }
        let opened = self.output.open(stream);
        let sink = opened.map_err(|detail| SpawnError { stage: Stage::Pipe, errno: 0, detail })?;
        *slot = Some(sink);
        Ok(sink)
    }

    /// The watcher has stopped: its sinks close when what was written to them is out.
    pub(super) fn close_streams(&mut self, watcher: WatcherKey) {
        if let Some(streams) = self.streams.remove(&watcher) {
            for sink in [streams.stdout, streams.stderr].into_iter().flatten() {
                self.output.close(sink);
            }
        }
    }

    /// The watcher's stream options changed: what is open follows, what is not is opened when it is needed.
    pub(super) fn update_streams(&mut self, watcher: WatcherKey, config: &WatcherConfig) -> Result<(), String> {
        let Some(streams) = self.streams.get(&watcher) else { return Ok(()) };
        let output = &mut self.output;
        let mut update = |sink, stream: &Option<_>| match (sink, stream) {
            (Some(sink), Some(stream)) => output.set(sink, stream),
            (None | Some(_), None) | (None, Some(_)) => Ok(()),
        };
        let stdout = update(streams.stdout, &config.stdout_stream);
        // One that fails does not keep the other from changing.
        update(streams.stderr, &config.stderr_stream).and(stdout)
    }
}

fn stdio<'fd>(closed: bool, pipe: Option<&'fd Pipe>) -> sys::Stdio<'fd> {
    match pipe {
        _ if closed => sys::Stdio::Null,
        Some(pipe) => sys::Stdio::Fd(pipe.write.as_fd()),
        None => sys::Stdio::Inherit,
    }
}
