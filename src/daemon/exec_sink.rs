//! Commands that the output of workers is written to: `stdout_stream.class = exec`.
//!
//! Between the output thread and the command is one pipe, whose reading end we keep: when the command dies, what is in
//! the pipe waits for the next, and the output thread, which never waits, keeps what does not fit for a while, then
//! counts what it drops. A command ends by itself when its input does.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;

use super::children::{Children, Owner};
use crate::arbiter::{Level, Mono, Pid};
use crate::config::{StreamConfig, split_words};
use crate::output::SinkId;
use crate::proto::{Signal, SpawnError, Stage};
use crate::sys;

/// What the pipe holds, where the kernel allows so much: a burst, while the command is busy.
const PIPE_SIZE: i32 = 1024 * 1024;
/// A command that has lived so long is started again at once.
const MIN_UPTIME: Duration = Duration::from_secs(1);
const MIN_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// How long a command may take to end when its input has.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A command and its pipe.
#[derive(Debug)]
struct ExecSink {
    argv: Vec<String>,
    /// For the log.
    name: String,
    /// `None` where nothing is written any more.
    input: Option<OwnedFd>,
    life: Life,
    failures: u32,
}

#[derive(Debug)]
enum Life {
    Running { pid: Pid, since: Mono },
    Pausing { until: Mono },
    Leaving { pid: Pid, until: Mono },
}

/// Everything that commands are started with.
#[derive(Debug)]
pub(super) struct SpawnContext {
    pub(super) env: Vec<(String, String)>,
    pub(super) cwd: String,
    pub(super) nofile: sys::OpenFileLimit,
}

/// Every command that reads a stream, by its sink; those that leave have none.
#[derive(Debug)]
pub(super) struct ExecSinks {
    around: SpawnContext,
    reading: BTreeMap<SinkId, ExecSink>,
    leaving: Vec<ExecSink>,
}

/// A command whose sink is still to be opened.
#[derive(Debug)]
pub(super) struct OpeningSink(ExecSink);

/// The class of such streams.
pub(super) fn is_command(stream: &StreamConfig) -> bool {
    stream.class == "exec"
}

impl ExecSinks {
    pub(super) fn new(around: SpawnContext) -> Self {
        Self { around, reading: BTreeMap::new(), leaving: Vec::new() }
    }

    /// Starts the command of a stream; what is written to the descriptor it reads.
    pub(super) fn begin(
        &self,
        name: &str,
        stream: &StreamConfig,
        children: &mut Children,
        now: Mono,
    ) -> Result<(OpeningSink, OwnedFd), SpawnError> {
        let wrong = |detail: String| SpawnError { stage: Stage::Pipe, errno: 0, detail };
        let command = stream.text("command").map_err(wrong)?.unwrap_or_default();
        let argv = split_words(command).map_err(wrong)?;
        let failed = |errno: nix::errno::Errno| SpawnError {
            stage: Stage::Pipe,
            errno: errno as i32,
            detail: command.to_owned(),
        };
        let (input, output) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(failed)?;
        // Beyond the user's share of pipe memory it keeps its size.
        let _size = fcntl(&output, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        let pid = self.start(&argv, &input, children)?;
        let life = Life::Running { pid, since: now };
        Ok((OpeningSink(ExecSink { argv, name: name.to_owned(), input: Some(input), life, failures: 0 }), output))
    }

    /// The stream's sink is open.
    pub(super) fn keep(&mut self, sink: SinkId, begun: OpeningSink, now: Mono) {
        self.close(sink, now);
        self.reading.insert(sink, begun.0);
    }

    fn start(&self, argv: &[String], input: &OwnedFd, children: &mut Children) -> Result<Pid, SpawnError> {
        let spawned = children.spawner.spawn(&sys::Launch {
            env: self.around.env.clone(),
            cwd: self.around.cwd.clone(),
            stdin: sys::Stdio::Fd(input.as_fd()),
            stdout: sys::Stdio::Inherit,
            stderr: sys::Stdio::Inherit,
            nofile: Some(self.around.nofile),
            ..sys::Launch::new(argv.to_vec())
        })?;
        let pid = match spawned {
            sys::Spawned::Running(pid) | sys::Spawned::Pending { pid, .. } => Pid(pid.as_raw()),
        };
        children.insert(pid, Owner::ExecSink);
        Ok(pid)
    }

    /// Nothing more is written to this sink: its command reads what there is, and ends.
    pub(super) fn close(&mut self, sink: SinkId, now: Mono) {
        let Some(mut command) = self.reading.remove(&sink) else { return };
        command.input = None;
        if let Life::Running { pid, .. } = command.life {
            command.life = Life::Leaving { pid, until: now.after(STOP_TIMEOUT) };
            self.leaving.push(command);
        }
    }

    /// A child was collected. What the log should know, if it was one of these.
    pub(super) fn exited(&mut self, pid: Pid, exit_code: i32, now: Mono) -> Option<(Level, String)> {
        self.leaving.retain(|command| !command.is(pid));
        let command = self.reading.values_mut().find(|command| command.is(pid))?;
        let Life::Running { since, .. } = command.life else { return None };
        command.failures = if now.since(since) < MIN_UPTIME { command.failures.saturating_add(1) } else { 0 };
        let how = if exit_code < 0 { Signal(-exit_code).to_string() } else { format!("exit status {exit_code}") };
        let pause = command.pause(now);
        let (name, pause) = (&command.name, pause.as_millis());
        Some((Level::Warning, format!("{name}: its command has ended ({how}); it starts again in {pause} ms")))
    }

    /// When [`Self::maintain`] is wanted.
    pub(super) fn next_due(&self) -> Option<Mono> {
        let due = |command: &ExecSink| match command.life {
            Life::Running { .. } => None,
            Life::Pausing { until } | Life::Leaving { until, .. } => Some(until),
        };
        self.reading.values().chain(&self.leaving).filter_map(due).min()
    }

    /// Starts again whose pause is over. What the log should know, and who will not leave and is to be killed.
    pub(super) fn maintain(&mut self, children: &mut Children, now: Mono) -> (Vec<String>, Vec<Pid>) {
        let due = |command: &ExecSink| matches!(command.life, Life::Pausing { until } if until <= now);
        let sinks: Vec<SinkId> = self.reading.iter().filter(|(_, f)| due(f)).map(|(sink, _)| *sink).collect();
        let mut said = Vec::new();
        for sink in sinks {
            let Some(command) = self.reading.get(&sink) else { continue };
            let Some(input) = &command.input else { continue };
            let started = self.start(&command.argv, input, children);
            let Some(command) = self.reading.get_mut(&sink) else { continue };
            match started {
                Ok(pid) => command.life = Life::Running { pid, since: now },
                Err(error) => {
                    command.failures = command.failures.saturating_add(1);
                    command.pause(now);
                    let (name, detail, reason) = (&command.name, &error.detail, error.reason());
                    said.push(format!("{name}: its command cannot be started: {detail} ({reason})"));
                }
            }
        }
        let mut late = Vec::new();
        for command in &mut self.leaving {
            if let Life::Leaving { pid, until } = &mut command.life
                && *until <= now
            {
                late.push(*pid);
                *until = now.after(STOP_TIMEOUT);
            }
        }
        (said, late)
    }
}

impl ExecSink {
    fn is(&self, wanted: Pid) -> bool {
        match self.life {
            Life::Running { pid, .. } | Life::Leaving { pid, .. } => pid == wanted,
            Life::Pausing { .. } => false,
        }
    }

    fn pause(&mut self, now: Mono) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(10);
        let pause = (MIN_BACKOFF * 2_u32.saturating_pow(doublings)).min(MAX_BACKOFF);
        let pause = if self.failures == 0 { Duration::ZERO } else { pause };
        self.life = Life::Pausing { until: now.after(pause) };
        pause
    }
}
