//! What the output thread does when the daemon asks for something.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Token};

use crate::output::handle::Command;
use crate::output::message::{OutletId, SourceId};
use crate::output::read::pipe_reader::{Intake, READ, Standing};
use crate::output::sink::interface::{Medium, Now};
use crate::output::sink::open::Opened;
use crate::output::sink::rotation_policy::{Roll, Upkeep};
use crate::output::sink::writer::Outlet;
use crate::output::tail::stream_tail::{Stream, TailId};
use crate::output::thread::barrier::Purpose;
use crate::output::thread::pump::{Pump, Sink};
use crate::output::{Kept, Message, SinkId, Source};
use crate::proto::{StreamName, TailRange};

/// Reads from one source at its worker's death: all that a pipe of the largest size holds.
const ALL: usize = 1024 * 1024 / READ + 1;

impl Pump {
    /// Carries out everything but `Shutdown`, which is the loop's as well.
    pub(crate) fn obey(&mut self, command: Command, now: Now) {
        match command {
            Command::Open(id, opened, kept) => self.open(id, opened, kept, now),
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

    fn open(&mut self, id: SinkId, opened: Opened, kept: Kept, now: Now) {
        let tail = self.tail(kept, now);
        let sink = self.adopt(opened, tail, now);
        let outlet = sink.outlet;
        self.sinks.insert(id, sink);
        self.agree(outlet);
    }

    /// A sink on the outlet of its place: the one there is, with the newer medium, or a new one.
    fn adopt(&mut self, opened: Opened, tail: TailId, now: Now) -> Sink {
        let Opened { key, name, medium, layout, upkeep } = opened;
        let outlet = match self.by_key.get(&key).copied() {
            Some(id) => {
                self.orphans.remove(&id);
                self.unwatch_outlet(id);
                self.tend(id, now, |outlet, now, desk| outlet.replace(medium, now, desk));
                id
            }
            None => {
                let id = OutletId(self.next_token());
                self.outlets.insert(id, Outlet::new(name, medium));
                self.by_key.insert(key, id);
                id
            }
        };
        self.watch_outlet(outlet);
        self.last_configured += 1;
        Sink { layout, upkeep, configured: self.last_configured, outlet, tail, sources: 0, closed: false }
    }

    /// What the streams of a place ask of it may have changed.
    pub(in crate::output) fn keep_up(&mut self, id: OutletId) -> Upkeep {
        let mut sinks: Vec<_> = self.sinks.values().filter(|sink| sink.outlet == id).collect();
        sinks.sort_unstable_by_key(|sink| sink.configured);
        let upkeep = Upkeep::shared(sinks.into_iter().map(|sink| sink.upkeep));
        if let Some(outlet) = self.outlets.get_mut(&id) {
            outlet.keep_up(upkeep);
        }
        upkeep
    }

    /// The same after a stream was configured, who is told if another had asked for something else.
    fn agree(&mut self, id: OutletId) {
        let Upkeep { roll, .. } = self.keep_up(id);
        let mut others = self.sinks.values().filter(|sink| sink.outlet == id).map(|sink| sink.upkeep.roll);
        let other = others.rfind(|other| *other != Roll::Never && *other != roll);
        if let (Some(other), Some(outlet)) = (other, self.outlets.get(&id)) {
            let name = outlet.name();
            self.desk.warn(format!("{name} is rolled {other} for another stream; from now on {roll}"));
        }
    }

    fn set(&mut self, id: SinkId, opened: Opened, now: Now) {
        let Some(tail) = self.sinks.get(&id).map(|sink| sink.tail) else { return };
        let Sink { layout, upkeep, configured, outlet, .. } = self.adopt(opened, tail, now);
        let Some(sink) = self.sinks.get_mut(&id) else { return self.retire_outlet(outlet) };
        (sink.layout, sink.upkeep, sink.configured) = (layout, upkeep, configured);
        let old = std::mem::replace(&mut sink.outlet, outlet);
        self.agree(outlet);
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
        let mut intake = Intake::new(fd, sink_id, source)?;
        let watched = self.registry.register(&mut SourceFd(&intake.raw_fd()), Token(id.0), Interest::READABLE);
        if watched.is_err() {
            // Closing it would end its worker by SIGPIPE: it is asked instead, which is only dearer.
            intake.pace.keep_asking();
        }
        sink.sources += 1;
        self.last_token = id.0;
        self.by_pid.insert((source.pid, id));
        self.sources.insert(id, intake);
        if watched.is_err() {
            self.mark_ready(id);
        }
        Ok(())
    }

    /// The tail of a stream: the one there is, or a new one.
    fn tail(&mut self, kept: Kept, now: Now) -> TailId {
        let known = self.tails.iter_mut().find(|(_, tail)| tail.is(&kept.watcher, kept.stream));
        if let Some((id, tail)) = known {
            tail.set_limit(kept.bytes);
            return *id;
        }
        self.last_tail += 1;
        let id = TailId(self.last_tail);
        let mut tail = Stream::new(kept, now.wall);
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
        self.desk.messages.push(Message::Tailed(number, lines));
    }

    /// What is read from then on of those who still write is nobody's.
    fn forget(&mut self, which: impl Fn(&str) -> bool) {
        self.tails.retain(|_, tail| !which(tail.watcher()));
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

    pub(in crate::output) fn unwatch(&self, medium: &dyn Medium) {
        if let Some(fd) = medium.poll_fd() {
            // What could not be registered cannot be deregistered either.
            let _ = self.registry.deregister(&mut SourceFd(&fd.as_raw_fd()));
        }
    }
}
