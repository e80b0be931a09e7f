//! Commands that the output of workers is written to: `stdout_stream.class = exec`.
//!
//! Between the output thread and the command is one pipe, whose reading end is kept here: when the command dies, what is
//! in the pipe waits for the next, and the output thread, which never waits, keeps what does not fit for a while, then
//! counts what it drops. A command ends by itself when its input does. The core decides when it is started again, and
//! killed.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};

use circus_core::base::CollectOrdered as _;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use serde::{Deserialize, Serialize};

use super::children::{Children, Owner};
use super::core::Core;
use crate::arbiter::{Event, Pid, SinkCommandId, SinkEvent};
use crate::config::{StreamConfig, split_words};
use crate::output::SinkId;
use crate::proto::{SpawnError, Stage};
use crate::sys;

/// What the pipe holds, where the kernel allows so much: a burst, while the command is busy.
const PIPE_SIZE: i32 = 1024 * 1024;

/// A command and its pipe.
#[derive(Debug)]
struct ExecSink {
    argv: Vec<String>,
    /// For the log.
    name: String,
    /// The end that the command reads.
    input: OwnedFd,
}

/// Everything that commands are started with.
#[derive(Debug)]
pub(super) struct SpawnContext {
    pub(super) env: Vec<(String, String)>,
    pub(super) cwd: String,
    pub(super) nofile: sys::OpenFileLimit,
}

/// Every command that is written to.
#[derive(Debug)]
pub(super) struct ExecSinks {
    context: SpawnContext,
    by_id: BTreeMap<SinkCommandId, ExecSink>,
    by_sink: BTreeMap<SinkId, SinkCommandId>,
    last: u64,
}

/// The same as plain data, with the numbers of the descriptors.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedExecSinks {
    by_id: BTreeMap<SinkCommandId, SavedExecSink>,
    by_sink: BTreeMap<SinkId, SinkCommandId>,
    last: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct SavedExecSink {
    argv: Vec<String>,
    name: String,
    input: RawFd,
}

impl SavedExecSinks {
    /// The numbers of all descriptors.
    pub(super) fn numbers(&self) -> impl Iterator<Item = RawFd> {
        self.by_id.values().map(|sink| sink.input)
    }
}

/// The class of such streams.
pub(super) fn is_command(stream: &StreamConfig) -> bool {
    stream.class == "exec"
}

impl ExecSinks {
    pub(super) fn new(context: SpawnContext) -> Self {
        Self { context, by_id: BTreeMap::new(), by_sink: BTreeMap::new(), last: 0 }
    }

    /// For another process.
    pub(super) fn save(&self) -> SavedExecSinks {
        let saved = |(id, sink): (&SinkCommandId, &ExecSink)| {
            let (argv, name) = (sink.argv.clone(), sink.name.clone());
            (*id, SavedExecSink { argv, name, input: sink.input.as_raw_fd() })
        };
        SavedExecSinks {
            by_id: self.by_id.iter().map(saved).collect_map(),
            by_sink: self.by_sink.clone(),
            last: self.last,
        }
    }

    /// Goes on with those of another process. `take` gives the descriptor of a number.
    pub(super) fn restore(
        context: SpawnContext,
        saved: SavedExecSinks,
        mut take: impl FnMut(RawFd) -> io::Result<OwnedFd>,
    ) -> io::Result<Self> {
        let SavedExecSinks { by_id, by_sink, last } = saved;
        let sinks = by_id
            .into_iter()
            .map(|(id, SavedExecSink { argv, name, input })| Ok((id, ExecSink { argv, name, input: take(input)? })));
        let by_id = sinks.collect::<io::Result<Vec<_>>>()?.into_iter().collect_map();
        Ok(Self { context, by_id, by_sink, last })
    }

    /// Starts the command of a stream; what is written to the descriptor it reads. `keep` or `abandon` follows.
    pub(super) fn begin(
        &mut self,
        name: &str,
        stream: &StreamConfig,
        children: &mut Children,
        core: &mut Core,
    ) -> Result<(SinkCommandId, OwnedFd), SpawnError> {
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
        let id = SinkCommandId(self.last + 1);
        let sink = ExecSink { argv, name: name.to_owned(), input };
        self.context.start(id, &sink, children, core)?;
        self.last = id.0;
        self.by_id.insert(id, sink);
        Ok((id, output))
    }

    /// The sink of a command is open. Another command that it had is written to no longer.
    pub(super) fn keep(&mut self, sink: SinkId, id: SinkCommandId, core: &mut Core) {
        self.close(sink, core);
        self.by_sink.insert(sink, id);
    }

    /// The sink of a command cannot be opened.
    pub(super) fn abandon(&mut self, id: SinkCommandId, core: &mut Core) {
        if self.by_id.remove(&id).is_some() {
            core.feed(Event::SinkCommand(id, SinkEvent::Closed));
        }
    }

    /// Nothing more is written to this sink: its command, if it has one, reads what there is, and ends.
    pub(super) fn close(&mut self, sink: SinkId, core: &mut Core) {
        if let Some(id) = self.by_sink.remove(&sink) {
            self.abandon(id, core);
        }
    }

    /// Starts a command again that has ended, unless it is written to no longer.
    pub(super) fn start_again(&self, id: SinkCommandId, children: &mut Children, core: &mut Core) {
        let Some(sink) = self.by_id.get(&id) else { return };
        if let Err(error) = self.context.start(id, sink, children, core) {
            core.feed(Event::SinkCommand(id, SinkEvent::Failed(error)));
        }
    }
}

impl SpawnContext {
    fn start(
        &self,
        id: SinkCommandId,
        sink: &ExecSink,
        children: &mut Children,
        core: &mut Core,
    ) -> Result<(), SpawnError> {
        let spawned = children.spawner.spawn(&sys::Launch {
            env: self.env.clone(),
            cwd: self.cwd.clone(),
            stdin: sys::Stdio::Fd(sink.input.as_fd()),
            stdout: sys::Stdio::Inherit,
            stderr: sys::Stdio::Inherit,
            nofile: Some(self.nofile),
            ..sys::Launch::new(sink.argv.clone())
        })?;
        let pid = Pid(spawned.pid().as_raw());
        children.insert(pid, Owner::ExecSink(id));
        core.feed(Event::SinkCommand(id, SinkEvent::Started { name: sink.name.clone(), pid }));
        Ok(())
    }
}
