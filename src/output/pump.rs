//! The state of the output thread and one turn of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::alarms::Alarms;
use super::barrier::{Barrier, Purpose, SourceView, View};
use super::handle::Command;
use super::intake::{Intake, READ, SCRATCH, Standing};
use super::medium::{Medium, Now};
use super::open::{Key, Opened};
use super::outlet::{Desk, Outlet};
use super::pace::Change;
use super::serve::{Outcome, Turn};
use super::stamp::Layout;
use super::{Message, OutletId, SinkId, Source, SourceId};

/// Reads from one source before the next has its turn.
const SHARE: usize = 4;

/// Reads from one source at its worker's death: all that a pipe of the largest size holds.
const ALL: usize = 1024 * 1024 / READ + 1;

/// What a stream's configuration asked for.
struct Sink {
    layout: Layout,
    outlet: OutletId,
    sources: usize,
    closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Source(SourceId),
    Outlet(OutletId),
}

/// See the module.
pub(crate) struct Pump {
    registry: Registry,
    sources: BTreeMap<SourceId, Intake>,
    by_pid: BTreeSet<(i32, SourceId)>,
    sinks: BTreeMap<SinkId, Sink>,
    outlets: BTreeMap<OutletId, Outlet>,
    by_key: BTreeMap<Key, OutletId>,
    /// Outlets without a sink that still have something to write.
    orphans: BTreeSet<OutletId>,
    ready: VecDeque<SourceId>,
    alarms: Alarms<Owner>,
    barriers: Vec<Barrier>,
    scratch: Vec<u8>,
    desk: Desk,
    last_token: usize,
    turn: u64,
    finished: bool,
}

impl Pump {
    pub(crate) fn new(registry: Registry) -> Self {
        Self {
            registry,
            sources: BTreeMap::new(),
            by_pid: BTreeSet::new(),
            sinks: BTreeMap::new(),
            outlets: BTreeMap::new(),
            by_key: BTreeMap::new(),
            orphans: BTreeSet::new(),
            ready: VecDeque::new(),
            alarms: Alarms::new(),
            barriers: Vec::new(),
            scratch: vec![0; SCRATCH],
            desk: Desk::default(),
            last_token: 0,
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

    fn mark_ready(&mut self, id: SourceId) {
        if let Some(intake) = self.sources.get_mut(&id)
            && intake.standing == Standing::Idle
        {
            intake.standing = Standing::Ready;
            self.ready.push_back(id);
        }
    }

    /// Those who waited for an outlet may try again.
    fn release(&mut self, ids: Vec<SourceId>) {
        for id in ids {
            if let Some(intake) = self.sources.get_mut(&id)
                && intake.standing == Standing::Parked
            {
                intake.standing = Standing::Idle;
                self.mark_ready(id);
            }
        }
    }

    fn with_turn<R>(&mut self, id: SourceId, now: Now, act: impl FnOnce(&mut Turn<'_>) -> R) -> Option<(OutletId, R)> {
        let intake = self.sources.get_mut(&id)?;
        let sink = self.sinks.get_mut(&intake.sink)?;
        let outlet = self.outlets.get_mut(&sink.outlet)?;
        let (layout, scratch, desk) = (&mut sink.layout, self.scratch.as_mut_slice(), &mut self.desk);
        let result = act(&mut Turn { id, intake, layout, outlet, scratch, desk, number: self.turn, now });
        Some((sink.outlet, result))
    }

    fn serve(&mut self, id: SourceId, reads: usize, now: Now) {
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
    fn tend(&mut self, id: OutletId, now: Now, act: impl FnOnce(&mut Outlet, Now, &mut Desk)) {
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
    fn retire_sink(&mut self, id: SinkId) {
        if self.sinks.get(&id).is_some_and(|sink| sink.closed && sink.sources == 0)
            && let Some(sink) = self.sinks.remove(&id)
        {
            self.retire_outlet(sink.outlet);
        }
    }

    /// An outlet that still has something to write stays until it has written it.
    fn retire_outlet(&mut self, id: OutletId) {
        self.orphans.remove(&id);
        if self.sinks.values().any(|sink| sink.outlet == id) {
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

    fn next_token(&mut self) -> usize {
        self.last_token += 1;
        self.last_token
    }
}

/// Commands.
impl Pump {
    /// Carries out everything but `Shutdown`, which is the loop's as well.
    pub(crate) fn obey(&mut self, command: Command, now: Now) {
        match command {
            Command::Open(id, opened) => {
                let (layout, outlet) = self.adopt(opened, now);
                self.sinks.insert(id, Sink { layout, outlet, sources: 0, closed: false });
            }
            Command::Set(id, opened) => self.set(id, opened, now),
            Command::Close(id) => self.close(id, now),
            Command::Attach(fd, sink, source) => {
                if let Err(error) = self.attach(fd, sink, source) {
                    self.warn(format!("cannot read the {:?} of pid {}: {error}", source.name, source.pid));
                }
            }
            Command::Died(pid) => {
                let range = (pid, SourceId(0))..=(pid, SourceId(usize::MAX));
                self.read_out(self.by_pid.range(range).map(|(_, id)| *id).collect(), now);
            }
            Command::ReopenAll => self.reopen_all(now),
            Command::Sync(id) => self.raise_barrier(Purpose::Sync(id)),
            Command::Shutdown(_) => self.shut_down(now),
        }
    }

    /// Lets the thread end when all that is readable now has been written.
    pub(crate) fn shut_down(&mut self, now: Now) {
        // A slow back-off must not make the end wait.
        for id in self.outlets.keys().copied().collect::<Vec<_>>() {
            self.tend(id, now, Outlet::flush);
        }
        self.raise_barrier(Purpose::Shutdown);
    }

    /// Writes what is left as it is, and says what was lost.
    pub(crate) fn finish(&mut self, now: Now) {
        for id in self.sources.keys().copied().collect::<Vec<_>>() {
            self.with_turn(id, now, |turn| turn.end());
        }
        for outlet in self.outlets.values_mut() {
            outlet.flush(now, &mut self.desk);
            outlet.give_up(&mut self.desk);
        }
    }

    /// The outlet of a place: the one there is, with the newer medium, or a new one.
    fn adopt(&mut self, opened: Opened, now: Now) -> (Layout, OutletId) {
        let Opened { key, name, medium, layout } = opened;
        if let Some(id) = self.by_key.get(&key).copied() {
            self.orphans.remove(&id);
            self.unwatch_outlet(id);
            self.tend(id, now, |outlet, now, desk| outlet.replace(medium, now, desk));
            self.watch_outlet(id);
            return (layout, id);
        }
        let id = OutletId(self.next_token());
        self.outlets.insert(id, Outlet::new(name, medium));
        self.by_key.insert(key, id);
        self.watch_outlet(id);
        (layout, id)
    }

    fn set(&mut self, id: SinkId, opened: Opened, now: Now) {
        let (layout, outlet) = self.adopt(opened, now);
        let Some(sink) = self.sinks.get_mut(&id) else { return self.retire_outlet(outlet) };
        sink.layout = layout;
        let old = std::mem::replace(&mut sink.outlet, outlet);
        if old == outlet {
            return;
        }
        let moved = self.sources_of(id);
        if let Some(old) = self.outlets.get_mut(&old) {
            moved.iter().for_each(|source| old.release(*source));
        }
        self.tend(old, now, |_, _, _| {});
        self.release(moved);
        self.retire_outlet(old);
    }

    fn close(&mut self, id: SinkId, now: Now) {
        let Some(sink) = self.sinks.get_mut(&id) else { return };
        sink.closed = true;
        self.read_out(self.sources_of(id), now);
        self.retire_sink(id);
    }

    fn attach(&mut self, fd: OwnedFd, sink_id: SinkId, source: Source) -> io::Result<()> {
        let Some(sink) = self.sinks.get_mut(&sink_id) else { return Err(io::Error::other("its sink is closed")) };
        let id = SourceId(self.last_token + 1);
        let intake = Intake::new(fd, sink_id, source)?;
        self.registry.register(&mut SourceFd(&intake.raw_fd()), Token(id.0), Interest::READABLE)?;
        sink.sources += 1;
        self.last_token = id.0;
        self.by_pid.insert((source.pid, id));
        self.sources.insert(id, intake);
        Ok(())
    }

    fn reopen_all(&mut self, now: Now) {
        for id in self.outlets.keys().copied().collect::<Vec<_>>() {
            self.unwatch_outlet(id);
            self.tend(id, now, Outlet::reopen);
            self.watch_outlet(id);
        }
    }

    /// Reads at once what these sources have; who waits for an outlet goes on waiting.
    fn read_out(&mut self, ids: Vec<SourceId>, now: Now) {
        for id in ids {
            if self.sources.get(&id).is_some_and(|intake| intake.standing != Standing::Parked) {
                self.serve(id, ALL, now);
            }
        }
    }

    fn sources_of(&self, sink: SinkId) -> Vec<SourceId> {
        self.sources.iter().filter(|(_, intake)| intake.sink == sink).map(|(id, _)| *id).collect()
    }

    fn watch_outlet(&mut self, id: OutletId) {
        let Some(fd) = self.outlets.get(&id).and_then(|outlet| outlet.medium().poll_fd()) else { return };
        let raw = fd.as_raw_fd();
        match self.registry.register(&mut SourceFd(&raw), Token(id.0), Interest::WRITABLE) {
            Ok(()) => {}
            // Devices like /dev/null cannot be polled and never block.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
            Err(error) => self.warn(format!("cannot watch a sink for writability: {error}")),
        }
    }

    fn unwatch_outlet(&self, id: OutletId) {
        if let Some(outlet) = self.outlets.get(&id) {
            self.unwatch(outlet.medium());
        }
    }

    fn unwatch(&self, medium: &dyn Medium) {
        if let Some(fd) = medium.poll_fd() {
            // What could not be registered cannot be deregistered either.
            let _ = self.registry.deregister(&mut SourceFd(&fd.as_raw_fd()));
        }
    }
}

/// Barriers.
impl Pump {
    fn raise_barrier(&mut self, purpose: Purpose) {
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
