//! The state of the output thread as plain data, for the process that takes its place.
//!
//! It goes on at the byte where this one stopped: the beginnings of lines, the queues of sinks, where the text of each
//! sink ends, rotation, tails. Deadlines are of the core's clock. What is not in it: descriptors, which are handed over
//! by their [`OutputFd`], and what is learned again at once (which pipes are busy, which sinks are blocked).
//!
//! A file whose name is not UTF-8 cannot be written down; saving fails then, and nothing has changed.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::{fmt, io};

use circus_core::base::CollectOrdered as _;
use mio::Registry;
use serde::{Deserialize, Serialize};

use crate::output::SinkId;
use crate::output::format::line_format::LineFormat;
use crate::output::message::{SourceId, WriterId};
use crate::output::read::pipe_reader::{PipeReader, SavedReader};
use crate::output::sink::datagram::SavedDatagrams;
use crate::output::sink::device::SavedDevice;
use crate::output::sink::interface::{Clocks, Sink};
use crate::output::sink::log_file::SavedLogFile;
use crate::output::sink::log_lines::LogSink;
use crate::output::sink::null::NullSink;
use crate::output::sink::open::Key;
use crate::output::sink::rotation_policy::RotationPolicy;
use crate::output::sink::writer::{SavedWriter, SinkWriter};
use crate::output::tail::stream_tail::{InFlight, StreamTail, TailId};
use crate::output::thread::pump::{LOG_AGAIN, Pump, StreamSink};
use circus_core::base::Throttle;

/// Whose descriptor it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OutputFd {
    /// The reading end of a worker's pipe, by its number.
    Pipe(usize),
    /// What a sink writes to, by the number of its writer.
    Sink(usize),
}

/// See the module.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedOutput {
    pipes: BTreeMap<SourceId, SavedReader>,
    sinks: BTreeMap<SinkId, SavedStreamSink>,
    writers: BTreeMap<WriterId, SavedPlace>,
    tails: BTreeMap<TailId, StreamTail>,
    followed: Vec<Vec<u8>>,
    /// Pipes of workers that have died, in that order.
    inherited: Vec<SourceId>,
    inherited_told: Throttle<1, LOG_AGAIN>,
    last_token: usize,
    last_configured: u64,
    last_tail: u64,
    /// The last number that the handle has given.
    pub(crate) last_id: u64,
}

/// A place that lines are written to.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct SavedPlace {
    key: Option<Key>,
    writer: SavedWriter,
    sink: SavedSink,
    /// It stays only until everything is written.
    orphan: bool,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct SavedStreamSink {
    format: LineFormat,
    policy: RotationPolicy,
    configured: u64,
    writer: WriterId,
    tail: Option<TailId>,
    closed: bool,
}

/// A sink without its descriptor.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum SavedSink {
    File(SavedLogFile),
    Device(SavedDevice),
    Datagrams(SavedDatagrams),
    Log(LogSink),
    Null,
}

impl SavedSink {
    fn restore(self, fd: Option<OwnedFd>) -> io::Result<Box<dyn Sink>> {
        let lacks = || io::Error::other("its descriptor was not handed over");
        Ok(match self {
            Self::File(saved) => Box::new(saved.restore(fd.ok_or_else(lacks)?)),
            Self::Device(saved) if saved.is_open => Box::new(saved.restore(Some(fd.ok_or_else(lacks)?))),
            Self::Device(saved) => Box::new(saved.restore(None)),
            Self::Datagrams(saved) => Box::new(saved.restore()?),
            Self::Log(sink) => Box::new(sink),
            Self::Null => Box::new(NullSink),
        })
    }
}

/// Why the output of the process before cannot be gone on with.
#[derive(Debug)]
pub struct RestoreError {
    what: String,
    error: io::Error,
}

impl RestoreError {
    pub(crate) fn new(what: impl Into<String>, error: io::Error) -> Self {
        Self { what: what.into(), error }
    }
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot go on with {}: {}", self.what, self.error)
    }
}

impl std::error::Error for RestoreError {}

impl SavedOutput {
    /// Those whose death is of interest.
    pub(crate) fn pids(&self) -> HashSet<i32> {
        self.pipes.values().map(|reader| reader.source.pid).collect()
    }
}

impl Pump {
    /// The state between two turns. What was asked for by `sync` is not in it.
    pub(crate) fn save(&self) -> SavedOutput {
        let place = |(id, writer): (&WriterId, &SinkWriter)| {
            let key = self.by_key.iter().find(|(_, known)| *known == id).map(|(key, _)| key.clone());
            let (writer, sink, orphan) = (writer.save(), writer.sink().save(), self.orphans.contains(id));
            (*id, SavedPlace { key, writer, sink, orphan })
        };
        let sink = |(id, sink): (&SinkId, &StreamSink)| {
            let StreamSink { format, policy, configured, writer, tail, sources: _, closed } = sink;
            let (format, policy, configured) = (format.clone(), *policy, *configured);
            (*id, SavedStreamSink { format, policy, configured, writer: *writer, tail: *tail, closed: *closed })
        };
        SavedOutput {
            pipes: self.sources.iter().map(|(id, reader)| (*id, reader.save())).collect_map(),
            sinks: self.sinks.iter().map(sink).collect_map(),
            writers: self.writers.iter().map(place).collect_map(),
            tails: self.tails.iter().map(|(id, tail)| (*id, tail.clone())).collect_map(),
            followed: self.followed.clone(),
            inherited: self.inherited.iter().copied().collect(),
            inherited_told: self.inherited_told,
            last_token: self.last_token,
            last_configured: self.last_configured,
            last_tail: self.last_tail,
            last_id: 0,
        }
    }

    /// Every descriptor that the state needs.
    pub(crate) fn descriptors(&self) -> BTreeMap<OutputFd, BorrowedFd<'_>> {
        let pipes = self.sources.iter().map(|(id, reader)| (OutputFd::Pipe(id.0), reader.as_fd()));
        let sinks = self.writers.iter().filter_map(|(id, writer)| Some((OutputFd::Sink(id.0), writer.sink().fd()?)));
        pipes.chain(sinks).collect_map()
    }

    /// Goes on where another has stopped. Every pipe is read at once.
    pub(crate) fn restore(
        registry: Registry,
        load: InFlight,
        saved: SavedOutput,
        mut fds: BTreeMap<OutputFd, OwnedFd>,
        now: Clocks,
    ) -> Result<Self, RestoreError> {
        let mut pump = Self::new(registry, load);
        (pump.last_token, pump.last_configured, pump.last_tail) =
            (saved.last_token, saved.last_configured, saved.last_tail);
        (pump.followed, pump.tails) = (saved.followed, saved.tails);
        pump.inherited_told = saved.inherited_told;
        for (id, SavedPlace { key, writer, sink, orphan }) in saved.writers {
            let sink = sink
                .restore(fds.remove(&OutputFd::Sink(id.0)))
                .map_err(|error| RestoreError::new(writer.name.clone(), error))?;
            pump.writers.insert(id, SinkWriter::restore(writer, sink));
            pump.by_key.extend(key.map(|key| (key, id)));
            if orphan {
                pump.orphans.insert(id);
            }
            pump.watch_writer(id);
        }
        for (id, saved) in saved.sinks {
            let SavedStreamSink { format, policy, configured, writer, tail, closed } = saved;
            pump.sinks.insert(id, StreamSink { format, policy, configured, writer, tail, sources: 0, closed });
        }
        for (id, saved) in saved.pipes {
            let what = format!("the {:?} of pid {}", saved.source.name, saved.source.pid);
            let fail = |error| RestoreError::new(what, error);
            let fd = fds.remove(&OutputFd::Pipe(id.0));
            let fd = fd.ok_or_else(|| io::Error::other("its descriptor was not handed over"));
            let reader = fd.and_then(|fd| PipeReader::restore(fd, saved)).map_err(fail)?;
            pump.watch_reader(id, reader);
        }
        pump.inherited.extend(saved.inherited);
        for id in pump.sources.keys().copied().collect::<Vec<_>>() {
            pump.mark_ready(id);
        }
        for id in pump.writers.keys().copied().collect::<Vec<_>>() {
            pump.maintain(id, now, |_, _, _| {});
        }
        Ok(pump)
    }
}

/// Bytes as MessagePack's bytes, which a sequence of numbers is not.
pub(crate) mod bytes {
    use std::fmt;
    use std::marker::PhantomData;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<B: Clone + Into<Vec<u8>>, S: Serializer>(bytes: &B, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&bytes.clone().into())
    }

    pub(crate) fn deserialize<'de, B: From<Vec<u8>>, D: Deserializer<'de>>(from: D) -> Result<B, D::Error> {
        struct Bytes<B>(PhantomData<B>);
        impl<B: From<Vec<u8>>> Visitor<'_> for Bytes<B> {
            type Value = B;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<B, E> {
                Ok(bytes.to_vec().into())
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<B, E> {
                Ok(bytes.into())
            }
        }
        from.deserialize_byte_buf(Bytes(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::{PipeWriter, Read as _, Write as _, pipe};
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::time::Duration;

    use mio::{Events, Poll};
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::config::StreamConfig;
    use crate::output::format::dressed::Origin;
    use crate::output::handle::Command;
    use crate::output::sink::open::open;
    use crate::output::{Kept, Source};
    use crate::proto::{StreamName, TailRange};

    const ORIGIN: Origin<'_> = Origin { watcher: "w", stream: StreamName::Stdout };

    /// What happens to a stream.
    #[derive(Clone, Debug)]
    enum Step {
        Write(usize, Vec<u8>),
        Pass(u64),
        /// The reader of the FIFO reads what there is.
        Read,
        HandOver,
    }

    fn step() -> impl Strategy<Value = Step> {
        let line = prop_oneof![4 => Just(b'\n'), 40 => any::<u8>()];
        prop_oneof![
            5 => (0..3_usize, prop::collection::vec(line, 0..300)).prop_map(|(at, bytes)| Step::Write(at, bytes)),
            1 => (0..3_usize, 1..3000_usize).prop_map(|(at, length)| Step::Write(at, vec![b'x'; length])),
            2 => (0..400_u64).prop_map(Step::Pass),
            1 => Just(Step::Read),
            3 => Just(Step::HandOver),
        ]
    }

    /// Three workers: one writes to a file, one to a file that is rolled all the time, one to a FIFO with a slow reader.
    struct Stage {
        pump: Pump,
        poll: Poll,
        now: Clocks,
        folder: tempfile::TempDir,
        fifo: File,
        workers: Vec<PipeWriter>,
        written: [Vec<u8>; 3],
        read: Vec<u8>,
    }

    impl Stage {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let fifo_path = folder.path().join("fifo");
            mkfifo(&fifo_path, Mode::from_bits_truncate(0o600)).unwrap();
            let fifo = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&fifo_path).unwrap();
            fcntl(&fifo, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
            let poll = Poll::new().unwrap();
            let pump = Pump::new(poll.registry().try_clone().unwrap(), InFlight::default());
            let now = Clocks { mono: crate::arbiter::Mono(0), wall: jiff::Timestamp::UNIX_EPOCH };
            let (written, read, workers) = (Default::default(), Vec::new(), Vec::new());
            let mut stage = Self { pump, poll, now, folder, fifo, workers, written, read };
            stage.worker(1, "plain", json!({}));
            stage.worker(2, "rolled", json!({"max_bytes": 400, "backup_count": 100_000}));
            stage.worker(3, "fifo", json!({}));
            stage
        }

        fn worker(&mut self, number: i32, name: &str, more: Value) {
            let mut options: BTreeMap<String, Value> = serde_json::from_value(more).unwrap();
            options.insert("filename".into(), json!(self.folder.path().join(name)));
            let config = StreamConfig { class: "FileStream".into(), options };
            let id = SinkId(number as u64);
            let opened = open(&config, ORIGIN, id.0).ok().unwrap();
            let kept = Kept { watcher: name.into(), stream: StreamName::Stdout, bytes: 1 << 20 };
            self.pump.apply_command(Command::Open(id, opened, Some(kept)), self.now);
            let (reader, writer) = pipe().unwrap();
            let source = Source { pid: number, wid: 1, name: StreamName::Stdout };
            self.pump.apply_command(Command::Attach(reader.into(), id, source, None), self.now);
            self.workers.push(writer);
        }

        fn step(&mut self, step: &Step) {
            match step {
                Step::Write(at, bytes) => {
                    self.workers[*at].write_all(bytes).unwrap();
                    self.written[*at].extend(bytes);
                }
                Step::Pass(ms) => self.now.mono = self.now.mono.after(Duration::from_millis(*ms)),
                Step::Read => self.read_fifo(),
                Step::HandOver => self.hand_over(),
            }
            self.turn();
        }

        fn read_fifo(&mut self) {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = self.fifo.read(&mut buffer) {
                self.read.extend(&buffer[..length]);
            }
        }

        fn turn(&mut self) {
            let mut events = Events::with_capacity(16);
            self.poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
            for event in &events {
                self.pump.readiness(event, self.now);
            }
            self.pump.turn(self.now);
        }

        /// Another process has what this one has written down, and its descriptors.
        fn hand_over(&mut self) {
            let saved = self.pump.save();
            let bytes = rmp_serde::to_vec_named(&saved).unwrap();
            let read: SavedOutput = rmp_serde::from_slice(&bytes).unwrap();
            assert_eq!(read, saved, "the state was read differently than it was written");
            let fds = self.pump.descriptors().into_iter();
            let fds = fds.map(|(name, fd)| (name, fd.try_clone_to_owned().unwrap())).collect();
            let poll = Poll::new().unwrap();
            let registry = poll.registry().try_clone().unwrap();
            self.pump = Pump::restore(registry, InFlight::default(), read, fds, self.now).unwrap();
            assert_eq!(self.pump.save(), saved, "going on has changed something");
            self.poll = poll;
        }

        /// The workers end, and everything is written.
        fn end(&mut self) {
            self.workers.clear();
            while !self.pump.sources.is_empty() || self.pump.writers.values().any(|writer| !writer.is_empty()) {
                self.now.mono = self.now.mono.after(Duration::from_millis(300));
                self.read_fifo();
                self.turn();
            }
            self.read_fifo();
        }

        fn file(&self, name: &str) -> Vec<u8> {
            fs::read(self.folder.path().join(name)).unwrap_or_default()
        }

        /// A file and its backups, the oldest first.
        fn rolled(&self) -> Vec<u8> {
            let backups =
                (1..).map(|number| self.file(&format!("rolled.{number}"))).take_while(|text| !text.is_empty());
            let mut parts: Vec<Vec<u8>> = backups.collect();
            parts.reverse();
            parts.push(self.file("rolled"));
            parts.concat()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn hand_over_at_any_point_loses_and_doubles_nothing(steps in prop::collection::vec(step(), 1..60)) {
            let mut stage = Stage::new();
            steps.iter().for_each(|step| stage.step(step));
            stage.hand_over();
            // Every line but the last is whole, so it is in the tail.
            let all = TailRange { lines: usize::MAX, wid: None, after: None };
            stage.end();
            let tails: Vec<_> = stage.pump.tails.values_mut().map(|tail| tail.read(all)).collect();
            for (tail, written) in tails.iter().zip(&stage.written) {
                let text = written.strip_suffix(b"\n").unwrap_or(written);
                let lines: Vec<_> = text.split(|byte| *byte == b'\n').map(String::from_utf8_lossy).collect();
                let kept: Vec<_> = tail.lines.iter().map(|line| line.line.as_str()).collect();
                prop_assert!(written.is_empty() || kept == lines, "{kept:?} is kept of {lines:?}");
                prop_assert_eq!(tail.cursor, written.len() as u64);
            }
            prop_assert_eq!(&stage.file("plain"), &stage.written[0]);
            prop_assert_eq!(&stage.rolled(), &stage.written[1]);
            prop_assert_eq!(&stage.read, &stage.written[2]);
        }
    }

    #[test]
    fn queue_of_a_full_disk_and_its_losses_are_handed_over() {
        let mut stage = Stage::new();
        let id = SinkId(9);
        let options = BTreeMap::from([("filename".to_owned(), json!("/dev/full"))]);
        let opened = open(&StreamConfig { class: "FileStream".into(), options }, ORIGIN, 9).ok().unwrap();
        stage.pump.apply_command(Command::Open(id, opened, None), stage.now);
        let (reader, mut writer) = pipe().unwrap();
        let source = Source { pid: 9, wid: 1, name: StreamName::Stderr };
        stage.pump.apply_command(Command::Attach(reader.into(), id, source, None), stage.now);
        writer.write_all(b"one\ntwo\nthr").unwrap();
        stage.turn();
        let deadline = stage.pump.deadline(stage.now.mono);
        assert!(deadline.is_some(), "the disk is tried again");
        stage.hand_over();
        stage.turn();
        assert_eq!(stage.pump.deadline(stage.now.mono), deadline);
    }

    #[test]
    fn descriptor_that_is_missing_is_named() {
        let stage = Stage::new();
        let registry = || stage.poll.registry().try_clone().unwrap();
        let lacks = |name: OutputFd| {
            let fds = stage.pump.descriptors().into_iter().filter(|(known, _)| *known != name);
            let fds = fds.map(|(name, fd)| (name, fd.try_clone_to_owned().unwrap())).collect();
            Pump::restore(registry(), InFlight::default(), stage.pump.save(), fds, stage.now).err().unwrap().to_string()
        };
        for name in stage.pump.descriptors().into_keys() {
            let text = lacks(name);
            let expected = if matches!(name, OutputFd::Pipe(_)) {
                "cannot go on with the Stdout of pid"
            } else {
                "cannot go on with '/"
            };
            assert!(text.starts_with(expected) && text.ends_with("its descriptor was not handed over"), "{text}");
        }
    }
}
