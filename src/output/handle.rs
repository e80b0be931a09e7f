//! What the daemon's thread holds: it sends commands and collects messages, and never waits for the disk or a reader.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::arbiter::Level;
use crate::config::StreamConfig;
use crate::output::format::dressed::Origin;
use crate::output::read::awaited_line::AwaitedLine;
use crate::output::sink::open::{OpenError, Opened, open, open_command, told};
use crate::output::tail::stream_tail::InFlight;
use crate::output::{Kept, Message, OutputFd, RestoreError, SavedOutput, SinkId, Source, SyncId, thread};
use crate::proto::{StreamName, TailRange};

/// What the daemon asks of the output thread.
pub(crate) enum Command {
    /// Without `Kept` nothing of it can be asked for with `tail`.
    Open(SinkId, Opened, Option<Kept>),
    Set(SinkId, Opened),
    Close(SinkId),
    Attach(OwnedFd, SinkId, Source, Option<AwaitedLine>),
    Died(i32),
    ReopenAll,
    /// The topics that clients follow, by their beginnings.
    Follow(Vec<Vec<u8>>),
    Tail(u64, String, StreamName, TailRange),
    /// Only these watchers are left.
    Retain(Vec<String>),
    Forget(String),
    Sync(SyncId),
    Pause(Pause),
    Shutdown(Duration),
}

/// The state is sent, then the thread holds still until the sender of `go_on` is gone.
pub(crate) struct Pause {
    pub(crate) state: Sender<(SavedOutput, BTreeMap<OutputFd, RawFd>)>,
    pub(crate) go_on: Receiver<()>,
}

/// The state of a thread that holds still. It goes on when this is dropped.
#[derive(Debug)]
pub struct Paused {
    /// For another process, once the messages of this thread have been taken.
    pub state: SavedOutput,
    /// The numbers of the descriptors that belong to it.
    pub fds: BTreeMap<OutputFd, RawFd>,
    _go_on: Sender<()>,
}

/// The daemon's end of the output thread. Dropped without `shutdown`, it lets the thread write what it has at once
/// and end by itself.
pub struct OutputHandle {
    /// `None` only while it is dropped.
    commands: Option<Sender<Command>>,
    waker: Arc<mio::Waker>,
    /// The thread was woken and has not looked yet.
    woken: Arc<AtomicBool>,
    messages: Receiver<Message>,
    load: InFlight,
    /// Processes that have had a pipe: the thread need not hear of other deaths, nor be woken for them.
    heard: HashSet<i32>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
    next_id: u64,
}

impl std::fmt::Debug for OutputHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutputHandle").finish_non_exhaustive()
    }
}

impl OutputHandle {
    /// Starts the thread, with every signal blocked in it. Call it after daemonizing: threads do not survive a fork.
    /// `wake` is called in that thread when there is something to `take_messages`; it must not block.
    pub fn start(wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        Self::begin(wake, None)
    }

    /// The same with the state that another process has written down and its descriptors: it goes on at the byte where
    /// that one stopped.
    pub fn restore(
        saved: SavedOutput,
        fds: BTreeMap<OutputFd, OwnedFd>,
        wake: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        Self::begin(wake, Some((saved, fds)))
    }

    fn begin(
        wake: impl Fn() + Send + 'static,
        before: Option<(SavedOutput, BTreeMap<OutputFd, OwnedFd>)>,
    ) -> io::Result<Self> {
        let (heard, next_id) =
            before.as_ref().map_or_else(Default::default, |(saved, _)| (saved.pids(), saved.last_id));
        let poll = mio::Poll::new()?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), thread::WAKE)?);
        let woken = Arc::new(AtomicBool::new(false));
        let (commands, inbox) = mpsc::channel();
        let (outbox, messages) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let load = InFlight::default();
        let (woken_there, load_there) = (Arc::clone(&woken), load.clone());
        let (begin, begun) = mpsc::channel();
        let channels = thread::Channels {
            inbox,
            outbox,
            end,
            woken: woken_there,
            load: load_there,
            wake: Box::new(wake),
            before,
            begun: begin,
        };
        let thread = Some(thread::spawn(poll, channels)?);
        let ended_at_once = |_| RestoreError::new("the output thread", io::ErrorKind::BrokenPipe.into());
        begun.recv().map_err(ended_at_once).flatten().map_err(io::Error::other)?;
        Ok(Self { commands: Some(commands), waker, woken, messages, load, heard, ended, thread, next_id })
    }

    /// Opens what `config` names, and keeps of it what `kept` says. The error says what is wrong with it. Several sinks
    /// may name one file: it is open once, each keeps its own `time_format`, and the rotation that was configured last
    /// holds for all of them (a message says so when it differs).
    pub fn open(&mut self, config: &StreamConfig, kept: Kept) -> Result<SinkId, OpenError> {
        let sink = SinkId(self.next_id + 1);
        let opened = open(config, Origin { watcher: &kept.watcher, stream: kept.stream }, sink.0)?;
        self.next_id = sink.0;
        self.send(Command::Open(sink, opened, Some(kept)));
        Ok(sink)
    }

    /// A sink whose lines come back as `Message::LogLine`.
    pub fn open_told(&mut self, kept: Kept) -> SinkId {
        self.next_id += 1;
        let sink = SinkId(self.next_id);
        self.send(Command::Open(sink, told(&kept.watcher, Level::Info), Some(kept)));
        sink
    }

    /// The same for a speaker that is no watcher: its lines are for the log alone.
    pub fn open_log(&mut self, speaker: &str, level: Level) -> SinkId {
        self.next_id += 1;
        let sink = SinkId(self.next_id);
        self.send(Command::Open(sink, told(speaker, level), None));
        sink
    }

    /// Opens the pipe that a command reads, which must not block. The command is the caller's.
    pub fn open_command(&mut self, config: &StreamConfig, pipe: OwnedFd, kept: Kept) -> Result<SinkId, String> {
        let sink = SinkId(self.next_id + 1);
        let origin = Origin { watcher: &kept.watcher, stream: kept.stream };
        let opened = open_command(config, origin, pipe, sink.0)?;
        self.next_id = sink.0;
        self.send(Command::Open(sink, opened, Some(kept)));
        Ok(sink)
    }

    /// Gives a sink another such pipe in place of what it had.
    pub fn set_command(
        &mut self,
        sink: SinkId,
        (watcher, stream): (&str, StreamName),
        config: &StreamConfig,
        pipe: OwnedFd,
    ) -> Result<(), String> {
        // A number of its own: it is another place.
        self.next_id += 1;
        let opened = open_command(config, Origin { watcher, stream }, pipe, self.next_id)?;
        self.send(Command::Set(sink, opened));
        Ok(())
    }

    /// Gives a sink another configuration while its sources stay attached. On an error the old one stays.
    pub fn set(
        &mut self,
        sink: SinkId,
        (watcher, stream): (&str, StreamName),
        config: &StreamConfig,
    ) -> Result<(), String> {
        let opened = open(config, Origin { watcher, stream }, sink.0).map_err(|error| error.text)?;
        self.send(Command::Set(sink, opened));
        Ok(())
    }

    /// Closes a sink: what is readable is read at once; it lives on for the sources that are still open and goes with
    /// the last of them.
    pub fn close(&mut self, sink: SinkId) {
        self.send(Command::Close(sink));
    }

    /// Reads `read_end` until its end into `sink`.
    pub fn attach(&mut self, read_end: OwnedFd, sink: SinkId, source: Source) {
        self.attach_and_await(read_end, sink, source, None);
    }

    /// The same; a message says when a line comes that matches this regular expression.
    pub fn attach_and_await(&mut self, read_end: OwnedFd, sink: SinkId, source: Source, pattern: Option<&str>) {
        self.heard.insert(source.pid);
        self.send(Command::Attach(read_end, sink, source, pattern.and_then(AwaitedLine::new)));
    }

    /// Worker `pid` has died: what it left is read at once. Its pipes stay attached for descendants that still hold them.
    pub fn died(&mut self, pid: i32) {
        if self.heard.remove(&pid) {
            self.send(Command::Died(pid));
        }
    }

    /// Opens every file again by its name.
    pub fn reopen_all(&mut self) {
        self.send(Command::ReopenAll);
    }

    /// Asks for a `Message::Synced` when all that is readable now has been written (or is kept for a sink that fails).
    /// It may never come while a sink is blocked.
    pub fn sync(&mut self) -> SyncId {
        self.next_id += 1;
        let id = SyncId(self.next_id);
        self.send(Command::Sync(id));
        id
    }

    /// From now on, output under topics with these prefixes is sent as `Message::Output`.
    pub fn follow(&mut self, topics: Vec<Vec<u8>>) {
        self.send(Command::Follow(topics));
    }

    /// Asks for the last lines of a watcher's stream; answered with `Message::Tailed` and this number.
    pub fn tail(&mut self, number: u64, watcher: String, stream: StreamName, range: TailRange) {
        self.send(Command::Tail(number, watcher, stream, range));
    }

    /// Forgets what the workers of this watcher have printed.
    pub fn forget(&mut self, watcher: String) {
        self.send(Command::Forget(watcher));
    }

    /// Forgets what the workers of all other watchers have printed.
    pub fn retain(&mut self, watchers: Vec<String>) {
        self.send(Command::Retain(watchers));
    }

    /// What the thread has to say since the last call.
    pub fn take_messages(&mut self) -> Vec<Message> {
        self.take_some(usize::MAX).0
    }

    /// The same, until their weights have come to so much; and whether there may be more.
    pub fn take_some(&mut self, most: usize) -> (Vec<Message>, bool) {
        let (mut messages, mut weight) = (Vec::new(), 0);
        while weight < most
            && let Ok(message) = self.messages.try_recv()
        {
            weight += message.weight();
            messages.push(message);
        }
        for message in &messages {
            if let Message::Output { load, .. } = message {
                self.load.arrived(*load);
            }
        }
        (messages, weight >= most)
    }

    /// Has the thread hold still, and says how things stand; `None` if it does not answer in time. Take the messages
    /// afterwards: what they report is not in the state.
    pub fn pause(&mut self, limit: Duration) -> Option<Paused> {
        let (state, saved) = mpsc::channel();
        let (end, go_on) = mpsc::channel();
        self.send(Command::Pause(Pause { state, go_on }));
        let (mut state, fds) = saved.recv_timeout(limit).ok()?;
        state.last_id = self.next_id;
        Some(Paused { state, fds, _go_on: end })
    }

    /// Reads what is readable, writes everything out and ends the thread; returns its last messages. Takes at most
    /// `deadline`: a thread that hangs in a write to a dead file system is left behind.
    pub fn shutdown(mut self, deadline: Duration) -> Vec<Message> {
        // The thread keeps the deadline; this wait is for a thread that cannot.
        const GRACE: Duration = Duration::from_millis(500);
        self.send(Command::Shutdown(deadline));
        match self.ended.recv_timeout(deadline + GRACE) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                if let Some(thread) = self.thread.take() {
                    // A panic there is reported by its own message on standard error.
                    let _ = thread.join();
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        self.take_messages()
    }

    fn send(&self, command: Command) {
        // An error means that the thread is gone; its last message has said why.
        if let Some(commands) = &self.commands
            && commands.send(command).is_ok()
        {
            self.wake();
        }
    }

    fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            // Fails only if the counter of an eventfd were full, and then it is readable anyway.
            let _ = self.waker.wake();
        }
    }
}

impl Drop for OutputHandle {
    fn drop(&mut self) {
        self.commands = None;
        self.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_with_a_pipe_are_kept_in_mind_and_only_while_they_live() {
        let mut output = OutputHandle::start(|| {}).unwrap();
        let sink = output.open_told(Kept { watcher: "w".into(), stream: StreamName::Stdout, bytes: 0 });
        let (reader, _writer) = io::pipe().unwrap();
        output.attach(reader.into(), sink, Source { pid: 7, wid: 1, name: StreamName::Stdout });
        assert!(output.heard.contains(&7));
        output.died(8);
        output.died(7);
        assert!(output.heard.is_empty());
    }
}
