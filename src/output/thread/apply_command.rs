//! Commands of the daemon, carried out by the output thread.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Token};

use crate::output::handle::Command;
use crate::output::message::{SourceId, WriterId};
use crate::output::read::awaited_line::AwaitedLine;
use crate::output::read::pipe_reader::{PipeReader, QueueState, READ};
use crate::output::sink::interface::{Clocks, Sink};
use crate::output::sink::open::Opened;
use crate::output::sink::rotation_policy::{Rotation, RotationPolicy};
use crate::output::sink::writer::SinkWriter;
use crate::output::tail::stream_tail::{StreamTail, TailId};
use crate::output::thread::barrier::Purpose;
use crate::output::thread::pump::{Pump, StreamSink};
use crate::output::{Kept, Message, SinkId, Source};
use crate::proto::{StreamName, TailRange};

/// Reads from one source at its worker's death: all that a pipe of the largest size holds.
const ALL: usize = 1024 * 1024 / READ + 1;

impl Pump {
    /// Carries out everything but `Shutdown` and `Pause`, which are the loop's.
    pub(crate) fn apply_command(&mut self, command: Command, now: Clocks) {
        match command {
            Command::Open(id, opened, kept) => self.open(id, opened, kept, now),
            Command::Set(id, opened) => self.set(id, opened, now),
            Command::Close(id) => self.close(id, now),
            Command::Attach(fd, sink, source, awaited) => {
                if let Err(error) = self.attach(fd, sink, source, awaited) {
                    self.warn(format!("cannot read the {:?} of pid {}: {error}", source.name, source.pid));
                }
            }
            Command::Died(pid) => {
                let range = (pid, SourceId(0))..=(pid, SourceId(usize::MAX));
                let ids: Vec<SourceId> = self.by_pid.range(range).map(|(_, id)| *id).collect();
                self.read_out(ids.clone(), now);
                self.limit_inherited(ids, now);
            }
            Command::Follow(prefixes) => self.follow(prefixes),
            Command::Tail(number, watcher, stream, range) => self.look_back(number, &watcher, stream, range),
            Command::Forget(watcher) => self.forget(|known| known.to_lowercase() == watcher.to_lowercase()),
            Command::Retain(watchers) => {
                let left: Vec<String> = watchers.iter().map(|name| name.to_lowercase()).collect();
                self.forget(|known| !left.contains(&known.to_lowercase()));
            }
            Command::ReopenAll => self.reopen_all(now),
            Command::Sync(id) => self.raise_barrier(Purpose::Sync(id)),
            Command::Shutdown(_) => self.shut_down(now),
            // The loop's.
            Command::Pause(_) => {}
        }
    }

    /// Lets the thread end when all that is readable now has been written.
    pub(crate) fn shut_down(&mut self, now: Clocks) {
        // A slow back-off must not make the end wait.
        for id in self.writers.keys().copied().collect::<Vec<_>>() {
            self.maintain(id, now, SinkWriter::flush);
        }
        self.raise_barrier(Purpose::Shutdown);
    }

    /// Writes what is left as it is, and says what was lost.
    pub(crate) fn finish(&mut self, now: Clocks) {
        for id in self.sources.keys().copied().collect::<Vec<_>>() {
            self.with_turn(id, now, |turn| turn.end());
        }
        for writer in self.writers.values_mut() {
            writer.flush(now, &mut self.cx);
            writer.give_up(&mut self.cx);
        }
    }

    fn open(&mut self, id: SinkId, opened: Opened, kept: Option<Kept>, now: Clocks) {
        let tail = kept.map(|kept| self.tail(kept, now));
        let sink = self.adopt(opened, tail, now);
        let writer = sink.writer;
        self.sinks.insert(id, sink);
        self.agree(writer);
        self.maintain(writer, now, |_, _, _| {});
    }

    /// A sink on the writer of its place: the one there is, with the newer sink, or a new one.
    fn adopt(&mut self, opened: Opened, tail: Option<TailId>, now: Clocks) -> StreamSink {
        let Opened { key, name, sink, format, policy } = opened;
        let writer = match self.by_key.get(&key).copied() {
            Some(id) => {
                self.orphans.remove(&id);
                self.unwatch_writer(id);
                self.maintain(id, now, |writer, now, cx| writer.replace(sink, now, cx));
                id
            }
            None => {
                let id = WriterId(self.next_token());
                self.writers.insert(id, SinkWriter::new(name, sink));
                self.by_key.insert(key, id);
                id
            }
        };
        self.watch_writer(writer);
        self.last_configured += 1;
        StreamSink { format, policy, configured: self.last_configured, writer, tail, sources: 0, closed: false }
    }

    /// What the streams of a place ask of it may have changed.
    pub(in crate::output) fn set_policy(&mut self, id: WriterId) -> RotationPolicy {
        let mut sinks: Vec<_> = self.sinks.values().filter(|sink| sink.writer == id).collect();
        sinks.sort_unstable_by_key(|sink| sink.configured);
        let policy = RotationPolicy::shared(sinks.into_iter().map(|sink| sink.policy));
        if let Some(writer) = self.writers.get_mut(&id) {
            writer.set_policy(policy);
        }
        policy
    }

    /// The same after a stream was configured; a message says if another had asked for something else.
    fn agree(&mut self, id: WriterId) {
        let RotationPolicy { rotation, .. } = self.set_policy(id);
        let mut others = self.sinks.values().filter(|sink| sink.writer == id).map(|sink| sink.policy.rotation);
        let other = others.rfind(|other| *other != Rotation::Never && *other != rotation);
        if let (Some(other), Some(writer)) = (other, self.writers.get(&id)) {
            let name = writer.name();
            self.cx.warn(format!("{name} is rotated {other} for another stream; from now on {rotation}"));
        }
    }

    fn set(&mut self, id: SinkId, opened: Opened, now: Clocks) {
        let Some(tail) = self.sinks.get(&id).map(|sink| sink.tail) else { return };
        let StreamSink { format, policy, configured, writer, .. } = self.adopt(opened, tail, now);
        let Some(sink) = self.sinks.get_mut(&id) else { return self.retire_writer(writer) };
        (sink.format, sink.policy, sink.configured) = (format, policy, configured);
        let old = std::mem::replace(&mut sink.writer, writer);
        self.agree(writer);
        // Sources that waited need not, where lines are dropped from now on.
        self.maintain(writer, now, |_, _, _| {});
        if old == writer {
            return;
        }
        let moved = self.sources_of(id);
        if let Some(old) = self.writers.get_mut(&old) {
            moved.iter().for_each(|source| old.release(*source));
        }
        self.maintain(old, now, |_, _, _| {});
        self.release(moved);
        self.retire_writer(old);
    }

    fn close(&mut self, id: SinkId, now: Clocks) {
        let Some(sink) = self.sinks.get_mut(&id) else { return };
        sink.closed = true;
        self.read_out(self.sources_of(id), now);
        self.retire_sink(id);
    }

    fn attach(&mut self, fd: OwnedFd, sink_id: SinkId, source: Source, awaited: Option<AwaitedLine>) -> io::Result<()> {
        if !self.sinks.contains_key(&sink_id) {
            return Err(io::Error::other("its sink is closed"));
        }
        let mut reader = PipeReader::new(fd, sink_id, source)?;
        reader.awaited = awaited;
        let id = SourceId(self.next_token());
        if !self.watch_reader(id, reader) {
            self.mark_ready(id);
        }
        Ok(())
    }

    /// Reads this pipe from now on. `false` if it cannot be watched: then it is asked from time to time, which is only
    /// dearer, since closing it would end its worker by SIGPIPE.
    pub(in crate::output) fn watch_reader(&mut self, id: SourceId, mut reader: PipeReader) -> bool {
        let watched = self.registry.register(&mut SourceFd(&reader.raw_fd()), Token(id.0), Interest::READABLE);
        if watched.is_err() {
            reader.pace.keep_asking();
        }
        if let Some(sink) = self.sinks.get_mut(&reader.sink) {
            sink.sources += 1;
        }
        self.by_pid.insert((reader.source.pid, id));
        self.sources.insert(id, reader);
        watched.is_ok()
    }

    /// The tail of a stream: the one there is, or a new one.
    fn tail(&mut self, kept: Kept, now: Clocks) -> TailId {
        let known = self.tails.iter_mut().find(|(_, tail)| tail.is(&kept.watcher, kept.stream));
        if let Some((id, tail)) = known {
            tail.set_limit(kept.bytes);
            return *id;
        }
        self.last_tail += 1;
        let id = TailId(self.last_tail);
        let mut tail = StreamTail::new(kept, now.wall);
        tail.follow(&self.followed);
        self.tails.insert(id, tail);
        id
    }

    fn follow(&mut self, prefixes: Vec<Vec<u8>>) {
        self.followed = prefixes;
        for tail in self.tails.values_mut() {
            tail.follow(&self.followed);
        }
    }

    fn look_back(&mut self, number: u64, watcher: &str, stream: StreamName, range: TailRange) {
        let tail = self.tails.values_mut().find(|tail| tail.is(watcher, stream));
        let lines = tail.map(|tail| tail.read(range)).unwrap_or_default();
        self.cx.messages.push(Message::Tailed(number, lines));
    }

    /// What its descendants write from then on belongs to no worker.
    fn forget(&mut self, which: impl Fn(&str) -> bool) {
        self.tails.retain(|_, tail| !which(tail.watcher()));
    }

    fn reopen_all(&mut self, now: Clocks) {
        for id in self.writers.keys().copied().collect::<Vec<_>>() {
            self.unwatch_writer(id);
            self.maintain(id, now, SinkWriter::reopen);
            self.watch_writer(id);
        }
    }

    /// Reads at once what these sources have; a source that waits for a writer goes on waiting.
    fn read_out(&mut self, ids: Vec<SourceId>, now: Clocks) {
        for id in ids {
            if self.sources.get(&id).is_some_and(|reader| reader.queue_state != QueueState::Parked) {
                self.serve(id, ALL, now);
            }
        }
    }

    fn sources_of(&self, sink: SinkId) -> Vec<SourceId> {
        self.sources.iter().filter(|(_, reader)| reader.sink == sink).map(|(id, _)| *id).collect()
    }

    pub(in crate::output) fn watch_writer(&mut self, id: WriterId) {
        let Some(fd) = self.writers.get(&id).and_then(|writer| writer.sink().poll_fd()) else { return };
        let raw = fd.as_raw_fd();
        match self.registry.register(&mut SourceFd(&raw), Token(id.0), Interest::WRITABLE) {
            Ok(()) => {}
            // Devices like /dev/null cannot be polled and never block.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
            Err(error) => self.warn(format!("cannot watch a sink for writability: {error}")),
        }
    }

    fn unwatch_writer(&self, id: WriterId) {
        if let Some(writer) = self.writers.get(&id) {
            self.unwatch(writer.sink());
        }
    }

    pub(in crate::output) fn unwatch(&self, sink: &dyn Sink) {
        if let Some(fd) = sink.poll_fd() {
            // A descriptor that could not be registered cannot be deregistered either.
            let _ = self.registry.deregister(&mut SourceFd(&fd.as_raw_fd()));
        }
    }
}
