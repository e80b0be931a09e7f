//! The state of the output thread and one turn of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::output::format::line_format::Layout;
use crate::output::message::{OutletId, SourceId};
use crate::output::read::adaptive_interval::Change;
use crate::output::read::pipe_reader::{Intake, SCRATCH, Standing};
use crate::output::read::read_turn::{Outcome, Turn};
use crate::output::sink::interface::Now;
use crate::output::sink::open::Key;
use crate::output::sink::rotation_policy::Upkeep;
use crate::output::sink::writer::{Desk, Outlet};
use crate::output::tail::stream_tail::{Load, Stream, TailId};
use crate::output::thread::barrier::{Barrier, Purpose, SourceView, View};
use crate::output::thread::timer_queue::Alarms;
use crate::output::{Message, SinkId};

/// Reads from one source before the next has its turn.
const SHARE: usize = 4;

/// What a stream's configuration asked for.
pub(in crate::output) struct Sink {
    pub(in crate::output) layout: Layout,
    pub(in crate::output) upkeep: Upkeep,
    /// When it was configured, counted from the first.
    pub(in crate::output) configured: u64,
    pub(in crate::output) outlet: OutletId,
    pub(in crate::output) tail: TailId,
    pub(in crate::output) sources: usize,
    pub(in crate::output) closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::output) enum Owner {
    Source(SourceId),
    Outlet(OutletId),
}

/// See the module.
pub(crate) struct Pump {
    pub(in crate::output) registry: Registry,
    pub(in crate::output) sources: BTreeMap<SourceId, Intake>,
    pub(in crate::output) by_pid: BTreeSet<(i32, SourceId)>,
    pub(in crate::output) sinks: BTreeMap<SinkId, Sink>,
    pub(in crate::output) outlets: BTreeMap<OutletId, Outlet>,
    pub(in crate::output) tails: BTreeMap<TailId, Stream>,
    /// Which topics somebody listens to, by their beginnings.
    pub(in crate::output) followed: Vec<Vec<u8>>,
    pub(in crate::output) load: Load,
    pub(in crate::output) by_key: BTreeMap<Key, OutletId>,
    /// Outlets without a sink that still have something to write.
    pub(in crate::output) orphans: BTreeSet<OutletId>,
    pub(in crate::output) ready: VecDeque<SourceId>,
    pub(in crate::output) alarms: Alarms<Owner>,
    pub(in crate::output) barriers: Vec<Barrier>,
    pub(in crate::output) scratch: Vec<u8>,
    pub(in crate::output) desk: Desk,
    pub(in crate::output) last_token: usize,
    pub(in crate::output) last_configured: u64,
    pub(in crate::output) last_tail: u64,
    pub(in crate::output) turn: u64,
    pub(in crate::output) finished: bool,
}

impl Pump {
    pub(crate) fn new(registry: Registry, load: Load) -> Self {
        Self {
            registry,
            sources: BTreeMap::new(),
            by_pid: BTreeSet::new(),
            sinks: BTreeMap::new(),
            outlets: BTreeMap::new(),
            tails: BTreeMap::new(),
            followed: Vec::new(),
            load,
            by_key: BTreeMap::new(),
            orphans: BTreeSet::new(),
            ready: VecDeque::new(),
            alarms: Alarms::new(),
            barriers: Vec::new(),
            scratch: vec![0; SCRATCH],
            desk: Desk::default(),
            last_token: 0,
            last_configured: 0,
            last_tail: 0,
            turn: 0,
            finished: false,
        }
    }

    /// When the next turn is due without any readiness; `now` if somebody has not been served yet.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        if self.ready.is_empty() { self.alarms.next() } else { Some(now) }
    }

    pub(crate) fn warn(&mut self, text: String) {
        self.desk.warn(text);
    }

    pub(crate) fn take_messages(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.desk.messages)
    }

    /// Whether everything that `shut_down` asked for is done.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// A descriptor is ready. An event of one that is gone meanwhile is ignored, as tokens are not used twice.
    pub(crate) fn readiness(&mut self, event: &Event, now: Now) {
        let Token(token) = event.token();
        if let Some(intake) = self.sources.get_mut(&SourceId(token)) {
            intake.hung_up |= event.is_read_closed() || event.is_error();
            self.mark_ready(SourceId(token));
        } else {
            self.tend(OutletId(token), now, Outlet::flush);
        }
    }

    /// One turn: what is due, everybody's share of reading, and who waited for that.
    pub(crate) fn turn(&mut self, now: Now) {
        self.turn += 1;
        while let Some(owner) = self.alarms.pop(now.mono) {
            match owner {
                Owner::Source(id) => self.mark_ready(id),
                Owner::Outlet(id) => self.tend(id, now, Outlet::wake),
            }
        }
        for _ in 0..self.ready.len() {
            let Some(id) = self.ready.pop_front() else { break };
            if self.sources.get(&id).is_some_and(|intake| intake.standing == Standing::Ready) {
                self.serve(id, SHARE, now);
            }
        }
        self.settle_barriers();
        self.desk.tidy();
    }

    pub(in crate::output) fn mark_ready(&mut self, id: SourceId) {
        if let Some(intake) = self.sources.get_mut(&id)
            && intake.standing == Standing::Idle
        {
            intake.standing = Standing::Ready;
            self.ready.push_back(id);
        }
    }

    /// Those who waited for an outlet may try again.
    pub(in crate::output) fn release(&mut self, ids: Vec<SourceId>) {
        for id in ids {
            if let Some(intake) = self.sources.get_mut(&id)
                && intake.standing == Standing::Parked
            {
                intake.standing = Standing::Idle;
                self.mark_ready(id);
            }
        }
    }

    pub(in crate::output) fn with_turn<R>(
        &mut self,
        id: SourceId,
        now: Now,
        act: impl FnOnce(&mut Turn<'_>) -> R,
    ) -> Option<(OutletId, R)> {
        let intake = self.sources.get_mut(&id)?;
        let sink = self.sinks.get_mut(&intake.sink)?;
        let outlet = self.outlets.get_mut(&sink.outlet)?;
        let (layout, scratch, desk) = (&mut sink.layout, self.scratch.as_mut_slice(), &mut self.desk);
        let (tail, load) = (self.tails.get_mut(&sink.tail), &self.load);
        let number = self.turn;
        let result = act(&mut Turn { id, intake, layout, outlet, tail, load, scratch, desk, number, now });
        Some((sink.outlet, result))
    }

    pub(in crate::output) fn serve(&mut self, id: SourceId, reads: usize, now: Now) {
        let served = self.with_turn(id, now, |turn| {
            let before = turn.intake.taken;
            let outcome = turn.serve(reads);
            (outcome, turn.intake.taken != before)
        });
        let Some((outlet, (outcome, something))) = served else { return };
        self.tend(outlet, now, |_, _, _| {});
        self.keep_pace(id, outcome, something, now);
        let Some(intake) = self.sources.get_mut(&id) else { return };
        intake.standing = Standing::Idle;
        // Only who waits for nothing else is woken by time.
        let due = [intake.due, intake.pace.next(now.mono)].into_iter().flatten().min();
        self.alarms.set(Owner::Source(id), due.filter(|_| outcome == Outcome::Idle));
        match outcome {
            Outcome::Idle => {}
            Outcome::Again => self.mark_ready(id),
            Outcome::Parked => {
                intake.standing = Standing::Parked;
                if let Some(outlet) = self.outlets.get_mut(&outlet) {
                    outlet.park(id);
                }
                self.tend(outlet, now, |_, _, _| {});
            }
            Outcome::Ended => self.detach(id),
        }
    }

    /// Stops watching a source that is busy, and watches it again when it is not. What came in between is an event at
    /// once, so nothing is overlooked.
    fn keep_pace(&mut self, id: SourceId, outcome: Outcome, something: bool, now: Now) {
        let Some(intake) = self.sources.get_mut(&id) else { return };
        if outcome == Outcome::Parked || outcome == Outcome::Ended {
            return;
        }
        let raw = intake.raw_fd();
        let changed = match intake.pace.after_read(something, now.mono) {
            None => Ok(()),
            Some(Change::Ask) => self.registry.deregister(&mut SourceFd(&raw)),
            Some(Change::Watch) => self.registry.register(&mut SourceFd(&raw), Token(id.0), Interest::READABLE),
        };
        if changed.is_err() {
            // No memory for a watch: it is asked on, which is only dearer.
            intake.pace.keep_asking();
        }
    }

    /// Does something with an outlet and draws the consequences: its deadline, those that wait for it, its end.
    pub(in crate::output) fn tend(&mut self, id: OutletId, now: Now, act: impl FnOnce(&mut Outlet, Now, &mut Desk)) {
        let Some(outlet) = self.outlets.get_mut(&id) else { return };
        act(outlet, now, &mut self.desk);
        let released = outlet.take_released(now);
        self.alarms.set(Owner::Outlet(id), outlet.deadline());
        self.release(released);
        if self.orphans.contains(&id) {
            self.retire_outlet(id);
        }
    }

    fn detach(&mut self, id: SourceId) {
        let Some(intake) = self.sources.remove(&id) else { return };
        // Closing the descriptor would do it too, were it not for copies that a fork in progress may hold.
        let _ = self.registry.deregister(&mut SourceFd(&intake.raw_fd()));
        self.by_pid.remove(&(intake.source.pid, id));
        if let Some(sink) = self.sinks.get_mut(&intake.sink) {
            sink.sources -= 1;
        }
        self.retire_sink(intake.sink);
    }

    /// A sink goes when it was closed and its last source has ended; its outlet goes with the last sink.
    pub(in crate::output) fn retire_sink(&mut self, id: SinkId) {
        if self.sinks.get(&id).is_some_and(|sink| sink.closed && sink.sources == 0)
            && let Some(sink) = self.sinks.remove(&id)
        {
            self.retire_outlet(sink.outlet);
        }
    }

    /// An outlet that still has something to write stays until it has written it.
    pub(in crate::output) fn retire_outlet(&mut self, id: OutletId) {
        self.orphans.remove(&id);
        if self.sinks.values().any(|sink| sink.outlet == id) {
            self.keep_up(id);
            return;
        }
        if self.outlets.get(&id).is_some_and(|outlet| !outlet.is_empty()) {
            self.orphans.insert(id);
            return;
        }
        if let Some(outlet) = self.outlets.remove(&id) {
            self.unwatch(outlet.medium());
        }
        self.by_key.retain(|_, known| *known != id);
        self.alarms.set(Owner::Outlet(id), None);
    }

    pub(in crate::output) fn next_token(&mut self) -> usize {
        self.last_token += 1;
        self.last_token
    }
}

/// Barriers.
impl Pump {
    pub(in crate::output) fn raise_barrier(&mut self, purpose: Purpose) {
        let sources = self.sources.iter().filter_map(|(id, intake)| {
            let sink = self.sinks.get(&intake.sink)?;
            Some((*id, sink.outlet, intake.taken))
        });
        let outlets = self.outlets.iter().map(|(id, outlet)| (*id, outlet.accepted()));
        self.barriers.push(Barrier::new(purpose, self.turn + 1, sources, outlets));
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
                    Purpose::Sync(id) => self.desk.messages.push(Message::Synced(id)),
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
        let intake = self.sources.get(&id)?;
        let waiting = intake.unfinished.len() as u64;
        Some(SourceView { taken: intake.taken, waiting, emptied: intake.emptied })
    }

    fn accepted(&self, id: OutletId) -> Option<u64> {
        self.outlets.get(&id).map(Outlet::accepted)
    }

    fn has_settled(&self, id: OutletId, accepted: u64) -> bool {
        self.outlets.get(&id).is_none_or(|outlet| outlet.has_settled(accepted))
    }
}
