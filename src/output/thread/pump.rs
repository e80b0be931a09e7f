//! The state of the output thread and one turn of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::arbiter::Mono;
use crate::output::format::line_format::LineFormat;
use crate::output::message::{SourceId, WriterId};
use crate::output::read::adaptive_interval::Change;
use crate::output::read::pipe_reader::{PipeReader, QueueState, SCRATCH};
use crate::output::read::read_turn::{Outcome, ReadTurn};
use crate::output::sink::interface::Clocks;
use crate::output::sink::open::Key;
use crate::output::sink::rotation_policy::RotationPolicy;
use crate::output::sink::writer::{SinkCx, SinkWriter};
use crate::output::tail::stream_tail::{InFlight, StreamTail, TailId};
use crate::output::thread::barrier::{Barrier, Purpose, SourceView, View};
use crate::output::thread::timer_queue::TimerQueue;
use crate::output::{Message, SinkId};
use circus_core::base::Throttle;

/// Reads from one source before the next has its turn.
const SHARE: usize = 4;

/// Pipes that descendants of dead workers hold, of one sink ...
const INHERITED_BY_SINK: usize = 32;
/// ... and in all.
const INHERITED_IN_ALL: usize = 256;

/// A pipe that was closed is logged once in so many seconds.
pub(in crate::output) const LOG_AGAIN: u64 = 60;

/// What a stream's configuration asked for.
pub(in crate::output) struct StreamSink {
    pub(in crate::output) format: LineFormat,
    pub(in crate::output) policy: RotationPolicy,
    /// When it was configured, counted from the first.
    pub(in crate::output) configured: u64,
    pub(in crate::output) writer: WriterId,
    pub(in crate::output) tail: Option<TailId>,
    pub(in crate::output) sources: usize,
    pub(in crate::output) closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::output) enum Owner {
    Source(SourceId),
    SinkWriter(WriterId),
}

/// See the module.
pub(crate) struct Pump {
    pub(in crate::output) registry: Registry,
    pub(in crate::output) sources: BTreeMap<SourceId, PipeReader>,
    pub(in crate::output) by_pid: BTreeSet<(i32, SourceId)>,
    pub(in crate::output) sinks: BTreeMap<SinkId, StreamSink>,
    pub(in crate::output) writers: BTreeMap<WriterId, SinkWriter>,
    pub(in crate::output) tails: BTreeMap<TailId, StreamTail>,
    /// The topics that clients follow, by their beginnings.
    pub(in crate::output) followed: Vec<Vec<u8>>,
    pub(in crate::output) load: InFlight,
    pub(in crate::output) by_key: BTreeMap<Key, WriterId>,
    /// Writers without a sink that still have something to write.
    pub(in crate::output) orphans: BTreeSet<WriterId>,
    pub(in crate::output) ready: VecDeque<SourceId>,
    /// Pipes of workers that have died, in that order: their descendants still hold them.
    pub(in crate::output) inherited: VecDeque<SourceId>,
    /// When it was last said that such a pipe was closed.
    pub(in crate::output) inherited_told: Throttle<1, LOG_AGAIN>,
    pub(in crate::output) timers: TimerQueue<Owner>,
    pub(in crate::output) barriers: Vec<Barrier>,
    pub(in crate::output) scratch: Vec<u8>,
    pub(in crate::output) cx: SinkCx,
    pub(in crate::output) last_token: usize,
    pub(in crate::output) last_configured: u64,
    pub(in crate::output) last_tail: u64,
    pub(in crate::output) turn: u64,
    pub(in crate::output) finished: bool,
}

impl Pump {
    pub(crate) fn new(registry: Registry, load: InFlight) -> Self {
        Self {
            registry,
            sources: BTreeMap::new(),
            by_pid: BTreeSet::new(),
            sinks: BTreeMap::new(),
            writers: BTreeMap::new(),
            tails: BTreeMap::new(),
            followed: Vec::new(),
            load,
            by_key: BTreeMap::new(),
            orphans: BTreeSet::new(),
            ready: VecDeque::new(),
            inherited: VecDeque::new(),
            inherited_told: Throttle::default(),
            timers: TimerQueue::new(),
            barriers: Vec::new(),
            scratch: vec![0; SCRATCH],
            cx: SinkCx::default(),
            last_token: 0,
            last_configured: 0,
            last_tail: 0,
            turn: 0,
            finished: false,
        }
    }

    /// When the next turn is due without any readiness; `now` if a source has not been served yet.
    pub(crate) fn deadline(&self, now: Mono) -> Option<Mono> {
        if self.ready.is_empty() { self.timers.next() } else { Some(now) }
    }

    pub(crate) fn warn(&mut self, text: String) {
        self.cx.warn(text);
    }

    pub(crate) fn take_messages(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.cx.messages)
    }

    /// Whether everything that `shut_down` asked for is done.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// A descriptor is ready. An event of one that is gone meanwhile is ignored, as tokens are not used twice.
    pub(crate) fn readiness(&mut self, event: &Event, now: Clocks) {
        let Token(token) = event.token();
        if let Some(reader) = self.sources.get_mut(&SourceId(token)) {
            reader.hung_up |= event.is_read_closed() || event.is_error();
            self.mark_ready(SourceId(token));
        } else {
            self.maintain(WriterId(token), now, SinkWriter::flush);
        }
    }

    /// One turn: what is due, each source's share of reading, and the barriers that waited for it.
    pub(crate) fn turn(&mut self, now: Clocks) {
        self.turn += 1;
        while let Some(owner) = self.timers.pop(now.mono) {
            match owner {
                Owner::Source(id) => self.mark_ready(id),
                Owner::SinkWriter(id) => self.maintain(id, now, SinkWriter::wake),
            }
        }
        for _ in 0..self.ready.len() {
            let Some(id) = self.ready.pop_front() else { break };
            if self.sources.get(&id).is_some_and(|reader| reader.queue_state == QueueState::Ready) {
                self.serve(id, SHARE, now);
            }
        }
        self.settle_barriers();
        self.cx.tidy();
    }

    pub(in crate::output) fn mark_ready(&mut self, id: SourceId) {
        if let Some(reader) = self.sources.get_mut(&id)
            && reader.queue_state == QueueState::Idle
        {
            reader.queue_state = QueueState::Ready;
            self.ready.push_back(id);
        }
    }

    /// Sources that waited for a writer may try again.
    pub(in crate::output) fn release(&mut self, ids: Vec<SourceId>) {
        for id in ids {
            if let Some(reader) = self.sources.get_mut(&id)
                && reader.queue_state == QueueState::Parked
            {
                reader.queue_state = QueueState::Idle;
                self.mark_ready(id);
            }
        }
    }

    pub(in crate::output) fn with_turn<R>(
        &mut self,
        id: SourceId,
        now: Clocks,
        act: impl FnOnce(&mut ReadTurn<'_>) -> R,
    ) -> Option<(WriterId, R)> {
        let reader = self.sources.get_mut(&id)?;
        let sink = self.sinks.get_mut(&reader.sink)?;
        let writer = self.writers.get_mut(&sink.writer)?;
        let (format, scratch, cx) = (&mut sink.format, self.scratch.as_mut_slice(), &mut self.cx);
        let (tail, load) = (sink.tail.and_then(|tail| self.tails.get_mut(&tail)), &self.load);
        let number = self.turn;
        let result = act(&mut ReadTurn { id, reader, format, writer, tail, load, scratch, cx, number, now });
        Some((sink.writer, result))
    }

    pub(in crate::output) fn serve(&mut self, id: SourceId, reads: usize, now: Clocks) {
        let served = self.with_turn(id, now, |turn| {
            let before = turn.reader.taken;
            let outcome = turn.serve(reads);
            (outcome, turn.reader.taken != before)
        });
        let Some((writer, (outcome, something))) = served else { return };
        self.maintain(writer, now, |_, _, _| {});
        self.keep_pace(id, outcome, something, now);
        let Some(reader) = self.sources.get_mut(&id) else { return };
        reader.queue_state = QueueState::Idle;
        // Only a source that waits for nothing else is woken by time.
        let due = [reader.due, reader.pace.next(now.mono)].into_iter().flatten().min();
        self.timers.set(Owner::Source(id), due.filter(|_| outcome == Outcome::Idle));
        match outcome {
            Outcome::Idle => {}
            Outcome::Again => self.mark_ready(id),
            Outcome::Parked => {
                reader.queue_state = QueueState::Parked;
                if let Some(writer) = self.writers.get_mut(&writer) {
                    writer.park(id);
                }
                self.maintain(writer, now, |_, _, _| {});
            }
            Outcome::Ended => self.detach(id),
        }
    }

    /// Stops watching a source that is busy, and watches it again when it is not. What came in between is an event at
    /// once, so nothing is overlooked.
    fn keep_pace(&mut self, id: SourceId, outcome: Outcome, something: bool, now: Clocks) {
        let Some(reader) = self.sources.get_mut(&id) else { return };
        if outcome == Outcome::Parked || outcome == Outcome::Ended {
            return;
        }
        let raw = reader.raw_fd();
        let changed = match reader.pace.after_read(something, now.mono) {
            None => Ok(()),
            Some(Change::Ask) => self.registry.deregister(&mut SourceFd(&raw)),
            Some(Change::Watch) => self.registry.register(&mut SourceFd(&raw), Token(id.0), Interest::READABLE),
        };
        if changed.is_err() {
            // No memory for a watch: it is asked on, which is only dearer.
            reader.pace.keep_asking();
        }
    }

    /// Does something with a writer and draws the consequences: its deadline, those that wait for it, its end.
    pub(in crate::output) fn maintain(
        &mut self,
        id: WriterId,
        now: Clocks,
        act: impl FnOnce(&mut SinkWriter, Clocks, &mut SinkCx),
    ) {
        let Some(writer) = self.writers.get_mut(&id) else { return };
        act(writer, now, &mut self.cx);
        let released = writer.take_released(now);
        self.timers.set(Owner::SinkWriter(id), writer.deadline());
        self.release(released);
        if self.orphans.contains(&id) {
            self.retire_writer(id);
        }
    }

    fn detach(&mut self, id: SourceId) {
        let Some(reader) = self.sources.remove(&id) else { return };
        // Closing the descriptor would do it too, were it not for copies that a fork in progress may hold.
        let _ = self.registry.deregister(&mut SourceFd(&reader.raw_fd()));
        self.by_pid.remove(&(reader.source.pid, id));
        self.inherited.retain(|known| *known != id);
        if let Some(sink) = self.sinks.get_mut(&reader.sink) {
            sink.sources -= 1;
        }
        self.retire_sink(reader.sink);
    }

    /// These sources belong to a worker that has died. Those that its descendants still hold stay, but only so many: a
    /// worker that dies again and again and leaves a child each time must not take every descriptor.
    pub(in crate::output) fn limit_inherited(&mut self, ids: Vec<SourceId>, now: Clocks) {
        let held = ids.into_iter().filter(|id| self.sources.contains_key(id));
        self.inherited.extend(held);
        while let Some(oldest) = self.surplus_inherited() {
            self.close_inherited(oldest, now);
        }
    }

    /// The oldest of too many: of the sink that has the newest, or of all.
    fn surplus_inherited(&self) -> Option<SourceId> {
        let sink_of = |id: &SourceId| self.sources.get(id).map(|reader| reader.sink);
        let newest = self.inherited.back().and_then(sink_of);
        let mut siblings = self.inherited.iter().filter(|id| sink_of(id) == newest);
        let oldest = siblings.next().copied();
        if siblings.count() >= INHERITED_BY_SINK {
            return oldest;
        }
        self.inherited.front().copied().filter(|_| self.inherited.len() > INHERITED_IN_ALL)
    }

    fn close_inherited(&mut self, id: SourceId, now: Clocks) {
        self.with_turn(id, now, |turn| turn.end());
        if let Some(reader) = self.sources.get(&id)
            && self.inherited_told.admit(now.mono)
        {
            let (name, pid) = (reader.source.name, reader.source.pid);
            self.cx.warn(format!(
                "the {name:?} of pid {pid}, which has exited, is closed: its descendants still hold it, and more than \
                 {INHERITED_BY_SINK} such pipes of a stream are not kept"
            ));
        }
        self.inherited.retain(|known| *known != id);
        self.detach(id);
    }

    /// A sink goes when it was closed and its last source has ended; its writer goes with the last sink.
    pub(in crate::output) fn retire_sink(&mut self, id: SinkId) {
        if self.sinks.get(&id).is_some_and(|sink| sink.closed && sink.sources == 0)
            && let Some(sink) = self.sinks.remove(&id)
        {
            self.retire_writer(sink.writer);
        }
    }

    /// A writer that still has something to write stays until it has written it.
    pub(in crate::output) fn retire_writer(&mut self, id: WriterId) {
        self.orphans.remove(&id);
        if self.sinks.values().any(|sink| sink.writer == id) {
            self.set_policy(id);
            return;
        }
        if self.writers.get(&id).is_some_and(|writer| !writer.is_empty()) {
            self.orphans.insert(id);
            return;
        }
        if let Some(writer) = self.writers.remove(&id) {
            self.unwatch(writer.sink());
        }
        self.by_key.retain(|_, known| *known != id);
        self.timers.set(Owner::SinkWriter(id), None);
    }

    pub(in crate::output) fn next_token(&mut self) -> usize {
        self.last_token += 1;
        self.last_token
    }
}

/// Barriers.
impl Pump {
    pub(in crate::output) fn raise_barrier(&mut self, purpose: Purpose) {
        let sources = self.sources.iter().filter_map(|(id, reader)| {
            let sink = self.sinks.get(&reader.sink)?;
            Some((*id, sink.writer, reader.taken))
        });
        let writers = self.writers.iter().map(|(id, writer)| (*id, writer.accepted()));
        self.barriers.push(Barrier::new(purpose, self.turn + 1, sources, writers));
        for id in self.sources.keys().copied().collect::<Vec<_>>() {
            self.mark_ready(id);
        }
    }

    fn settle_barriers(&mut self) {
        let mut barriers = std::mem::take(&mut self.barriers);
        barriers.retain_mut(|barrier| {
            let settled = barrier.settle(self);
            if settled {
                match barrier.purpose {
                    Purpose::Sync(id) => self.cx.messages.push(Message::Synced(id)),
                    Purpose::Shutdown => self.finished = true,
                }
            }
            !settled
        });
        self.barriers = barriers;
    }
}

impl View for Pump {
    fn source(&self, id: SourceId) -> Option<SourceView> {
        let reader = self.sources.get(&id)?;
        let waiting = reader.partial.len() as u64;
        Some(SourceView { taken: reader.taken, waiting, emptied: reader.emptied })
    }

    fn accepted(&self, id: WriterId) -> Option<u64> {
        self.writers.get(&id).map(SinkWriter::accepted)
    }

    fn has_settled(&self, id: WriterId, accepted: u64) -> bool {
        self.writers.get(&id).is_none_or(|writer| writer.has_settled(accepted))
    }
}
