//! One place that lines are written to, with everything that several sources have to agree on: whose line is open,
//! which sources have to wait, what waits to be written, and what became of it.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use memchr::{memchr_iter, memrchr};
use serde::{Deserialize, Serialize};

use crate::arbiter::Mono;
use crate::output::Message;
use crate::output::format::line_format::{LineFormat, Speaker};
use crate::output::message::SourceId;
use crate::output::sink::interface::{Clocks, Lines, Sink, Stop};
use crate::output::sink::rotation_policy::RotationPolicy;
use circus_core::base::Throttle;
use circus_core::config::options::OnFull;

/// What waits for a sink that takes no more: enough for a burst, little beside a fleet.
pub(crate) const QUEUE_LIMIT: usize = 256 * 1024;

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// A failing sink is logged once in so many seconds.
const LOG_AGAIN: u64 = 60;

/// Buffers and messages that all writers share.
#[derive(Debug, Default)]
pub(crate) struct SinkCx {
    prefix: Vec<u8>,
    text: Vec<u8>,
    pub(crate) messages: Vec<Message>,
}

impl SinkCx {
    /// Something for the log.
    pub(crate) fn warn(&mut self, text: String) {
        self.messages.push(Message::Warning(text));
    }

    /// Gives back what an unusual block has needed.
    pub(crate) fn tidy(&mut self) {
        self.text.clear();
        self.text.shrink_to(QUEUE_LIMIT);
    }
}

/// What a source has for a writer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'b> {
    pub(crate) from: SourceId,
    pub(crate) speaker: Speaker,
    pub(crate) bytes: &'b [u8],
}

/// Where the text that was accepted so far ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum End {
    /// Between two lines.
    Newline,
    /// In a line of this source, which may go on.
    Line(SourceId),
    /// In a line that no source will go on with.
    Torn,
}

/// Others wait while one source is in the middle of a line longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hold {
    by: SourceId,
    until: Mono,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Fine,
    /// The sink will say when it goes on.
    Blocked,
    /// It is tried again by time.
    Failing {
        retry_at: Mono,
        delay: Duration,
        /// This outage was spoken of.
        told: bool,
    },
    /// Nothing can be written any more.
    Gone,
}

/// See the module.
pub(crate) struct SinkWriter {
    name: String,
    sink: Box<dyn Sink>,
    state: State,
    queue: VecDeque<u8>,
    end: End,
    hold: Option<Hold>,
    parked: Vec<SourceId>,
    accepted: u64,
    settled: u64,
    lost_lines: u64,
    lost_bytes: u64,
    told: Throttle<1, LOG_AGAIN>,
    /// When losses were last spoken of that go on.
    told_lost: Throttle<1, LOG_AGAIN>,
    /// What its streams ask for now.
    on_full: Option<OnFull>,
}

/// What a writer knows, without its sink. Sources that wait for it ask again.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedWriter {
    pub(crate) name: String,
    state: State,
    #[serde(with = "crate::output::saved::bytes")]
    queue: VecDeque<u8>,
    end: End,
    hold: Option<Hold>,
    accepted: u64,
    settled: u64,
    lost_lines: u64,
    lost_bytes: u64,
    told: Throttle<1, LOG_AGAIN>,
    #[serde(default)]
    told_lost: Throttle<1, LOG_AGAIN>,
    #[serde(default)]
    on_full: Option<OnFull>,
}

impl SinkWriter {
    pub(crate) fn save(&self) -> SavedWriter {
        SavedWriter {
            name: self.name.clone(),
            state: self.state,
            queue: self.queue.clone(),
            end: self.end,
            hold: self.hold,
            accepted: self.accepted,
            settled: self.settled,
            lost_lines: self.lost_lines,
            lost_bytes: self.lost_bytes,
            told: self.told,
            told_lost: self.told_lost,
            on_full: self.on_full,
        }
    }

    pub(crate) fn restore(saved: SavedWriter, sink: Box<dyn Sink>) -> Self {
        let SavedWriter { name, state, queue, end, hold, accepted, settled, lost_lines, lost_bytes, .. } = saved;
        let SavedWriter { told, told_lost, on_full, .. } = saved;
        let losses = (lost_lines, lost_bytes);
        let new =
            Self { state, queue, end, hold, accepted, settled, told, told_lost, on_full, ..Self::new(name, sink) };
        Self { lost_lines: losses.0, lost_bytes: losses.1, ..new }
    }

    pub(crate) fn new(name: String, sink: Box<dyn Sink>) -> Self {
        Self {
            name,
            sink,
            state: State::Fine,
            queue: VecDeque::new(),
            end: End::Newline,
            hold: None,
            parked: Vec::new(),
            accepted: 0,
            settled: 0,
            lost_lines: 0,
            lost_bytes: 0,
            told: Throttle::default(),
            told_lost: Throttle::default(),
            on_full: None,
        }
    }

    /// For messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn sink(&self) -> &dyn Sink {
        self.sink.as_ref()
    }

    /// How many bytes were taken so far, and how many of them were written or given up.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Whether the first `accepted` bytes are written, or kept for a sink that fails.
    pub(crate) fn has_settled(&self, accepted: u64) -> bool {
        self.settled >= accepted || matches!(self.state, State::Failing { .. })
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether `from` may be read.
    pub(crate) fn accepts(&self, from: SourceId, now: Clocks) -> bool {
        let held = self.hold.is_some_and(|hold| hold.by != from && now.mono < hold.until);
        !(held || self.holds_up() && self.queue.len() >= QUEUE_LIMIT)
    }

    /// Whether its sources wait where its queue is full. Where nothing is said, they wait for a reader and not for a disk.
    fn holds_up(&self) -> bool {
        match self.state {
            State::Fine | State::Gone => false,
            State::Blocked => self.on_full != Some(OnFull::Drop),
            State::Failing { .. } => self.on_full == Some(OnFull::Block),
        }
    }

    /// `source` waits until the writer takes more.
    pub(crate) fn park(&mut self, source: SourceId) {
        self.parked.push(source);
    }

    /// Those that waited and may go on.
    pub(crate) fn take_released(&mut self, now: Clocks) -> Vec<SourceId> {
        let full = self.holds_up() && self.queue.len() >= QUEUE_LIMIT / 2;
        if full || self.hold.is_some_and(|hold| now.mono < hold.until) {
            return Vec::new();
        }
        std::mem::take(&mut self.parked)
    }

    /// Whether others wait for this writer.
    pub(crate) fn is_contended(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Others wait until `by` has ended its line, or until then.
    pub(crate) fn hold(&mut self, by: SourceId, until: Mono) {
        self.hold = Some(Hold { by, until });
    }

    /// `by` has ended its line.
    pub(crate) fn release(&mut self, by: SourceId) {
        self.hold = self.hold.filter(|hold| hold.by != by);
    }

    /// When `wake` is due.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        let hold = self.hold.filter(|_| self.is_contended()).map(|hold| hold.until);
        let retry = match self.state {
            State::Failing { retry_at, .. } => Some(retry_at),
            State::Fine | State::Blocked | State::Gone => None,
        };
        [hold, retry].into_iter().flatten().min()
    }

    /// A deadline has passed.
    pub(crate) fn wake(&mut self, now: Clocks, cx: &mut SinkCx) {
        self.hold = self.hold.filter(|hold| now.mono < hold.until);
        if let State::Failing { retry_at, .. } = self.state
            && retry_at <= now.mono
        {
            self.flush(now, cx);
        }
    }

    /// Takes a piece, dressed in `format`. A line that another source left open is ended first, so that only the
    /// line that made others wait too long is torn, and never theirs.
    pub(crate) fn put(&mut self, piece: Piece<'_>, format: &mut LineFormat, now: Clocks, cx: &mut SinkCx) {
        format.prefix(piece.speaker, now.wall, &mut cx.prefix);
        let continues = self.end == End::Line(piece.from);
        let ends_other = !continues && self.end != End::Newline && format.ends_lines_of_others();
        let bytes = if cx.prefix.is_empty() && !ends_other {
            piece.bytes
        } else {
            cx.text.clear();
            if ends_other {
                cx.text.push(b'\n');
            }
            format.render(&cx.prefix, continues, piece.bytes, &mut cx.text);
            &cx.text
        };
        let ended = piece.bytes.last() == Some(&b'\n');
        self.end = if ended { End::Newline } else { End::Line(piece.from) };
        self.send(Lines { bytes, uncounted: format.uncounted(&cx.prefix) }, now, &mut cx.messages);
    }

    /// `from` has come to its end.
    pub(crate) fn finish(&mut self, from: SourceId, format: &LineFormat, now: Clocks, cx: &mut SinkCx) {
        self.release(from);
        if self.end != End::Line(from) {
            return;
        }
        self.end = End::Torn;
        if format.ends_lines() {
            self.end = End::Newline;
            self.send(Lines { bytes: b"\n", uncounted: 0 }, now, &mut cx.messages);
        }
    }

    fn send(&mut self, lines: Lines<'_>, now: Clocks, messages: &mut Vec<Message>) {
        self.accepted += lines.bytes.len() as u64;
        let written = if self.queue.is_empty() && self.state == State::Fine {
            let written = self.sink.write(lines, now, messages);
            self.settled += written.bytes as u64;
            if let Some(stop) = written.stop {
                self.stop(stop, now, messages);
            }
            written.bytes
        } else {
            0
        };
        self.keep(lines.bytes.get(written..).unwrap_or_default(), now, messages);
    }

    /// Queues what could not be written. Where its sources do not wait, what the queue does not hold is dropped, line by
    /// line.
    fn keep(&mut self, bytes: &[u8], now: Clocks, messages: &mut Vec<Message>) {
        let kept = match self.state {
            State::Fine => bytes.len(),
            State::Gone => 0,
            State::Blocked | State::Failing { .. } if self.holds_up() => bytes.len(),
            State::Blocked | State::Failing { .. } => match bytes.get(..QUEUE_LIMIT.saturating_sub(self.queue.len())) {
                None => bytes.len(),
                Some(head) => memrchr(b'\n', head).map_or(0, |last| last + 1),
            },
        };
        let (kept, lost) = bytes.split_at(kept);
        self.queue.extend(kept);
        if !lost.is_empty() {
            let is_first = self.lost_bytes == 0;
            self.lose(lost.len(), memchr_iter(b'\n', lost).count());
            if self.state != State::Gone && (is_first | self.told_lost.admit(now.mono)) {
                let so_far = if is_first { String::new() } else { format!("; {} so far", self.losses()) };
                let text = format!("{}: the queue is full, lines are dropped{so_far}", self.name);
                messages.push(Message::Warning(text));
            }
            self.end = if self.queue.back().is_none_or(|last| *last == b'\n') { End::Newline } else { End::Torn };
        }
    }

    fn lose(&mut self, bytes: usize, lines: usize) {
        self.settled += bytes as u64;
        self.lost_bytes += bytes as u64;
        self.lost_lines += lines as u64;
    }

    /// Writes what waits, as far as it goes.
    pub(crate) fn flush(&mut self, now: Clocks, cx: &mut SinkCx) {
        if self.state == State::Gone {
            return;
        }
        if !self.queue.is_empty() {
            let lines = Lines { bytes: self.queue.make_contiguous(), uncounted: 0 };
            let written = self.sink.write(lines, now, &mut cx.messages);
            self.settled += written.bytes as u64;
            self.queue.drain(..written.bytes);
            if let Some(stop) = written.stop {
                return self.stop(stop, now, &mut cx.messages);
            }
            self.queue = VecDeque::new();
        }
        if self.lost_bytes > 0 {
            cx.messages.push(Message::Warning(format!("{} is written again; {}", self.name, self.losses())));
            (self.lost_bytes, self.lost_lines) = (0, 0);
        } else if let State::Failing { told: true, .. } = self.state {
            cx.messages.push(Message::Info(format!("{} is written again, nothing was lost", self.name)));
        }
        self.state = State::Fine;
    }

    fn losses(&self) -> String {
        format!("{} lines ({} bytes) were lost", self.lost_lines, self.lost_bytes)
    }

    fn stop(&mut self, stop: Stop, now: Clocks, messages: &mut Vec<Message>) {
        match stop {
            Stop::Blocked => self.state = State::Blocked,
            Stop::Failed(error) => self.fail(&error, now, messages),
            Stop::Gone(error) => {
                let text = format!("{} is gone ({error}), output to it is dropped", self.name);
                messages.push(Message::Warning(text));
                let queued = std::mem::take(&mut self.queue);
                self.lose(queued.len(), queued.iter().filter(|byte| **byte == b'\n').count());
                self.state = State::Gone;
            }
        }
    }

    fn fail(&mut self, error: &io::Error, now: Clocks, messages: &mut Vec<Message>) {
        let (delay, mut told) = match self.state {
            State::Failing { delay, told, .. } => ((delay * 2).min(LAST_RETRY), told),
            State::Fine | State::Blocked | State::Gone => (FIRST_RETRY, false),
        };
        let log = !told && self.told.admit(now.mono);
        told |= log;
        self.state = State::Failing { retry_at: now.mono.after(delay), delay, told };
        if log {
            let text =
                format!("cannot write to {}: {error}; its lines are kept for a while and tried again", self.name);
            messages.push(Message::Warning(text));
        }
    }

    /// Puts a newer sink of the same name in place.
    pub(crate) fn replace(&mut self, mut newer: Box<dyn Sink>, now: Clocks, cx: &mut SinkCx) {
        newer.follow(self.sink.state());
        self.sink = newer;
        self.begin_again(now, cx);
    }

    /// What its streams ask of it now.
    pub(crate) fn set_policy(&mut self, policy: RotationPolicy) {
        self.on_full = policy.on_full;
        self.sink.set_policy(policy);
    }

    /// Opens the sink again by its name. Where that fails the old one stays.
    pub(crate) fn reopen(&mut self, now: Clocks, cx: &mut SinkCx) {
        if let Err(error) = self.sink.reopen() {
            let text = format!("cannot reopen {}, writing on to the old one: {error}", self.name);
            return cx.messages.push(Message::Warning(text));
        }
        self.begin_again(now, cx);
    }

    fn begin_again(&mut self, now: Clocks, cx: &mut SinkCx) {
        if self.queue.is_empty() && !self.sink.state().mid_line {
            self.end = End::Newline;
        }
        if self.state == State::Gone {
            self.state = State::Fine;
        }
        self.flush(now, cx);
    }

    /// Gives up what is still queued, for the last time.
    pub(crate) fn give_up(&mut self, cx: &mut SinkCx) {
        let lines = self.queue.iter().filter(|byte| **byte == b'\n').count();
        self.lose(self.queue.len(), lines);
        self.queue.clear();
        if self.lost_bytes > 0 && self.state != State::Gone {
            cx.messages.push(Message::Warning(format!("{}: {}", self.name, self.losses())));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::output::format::colored::Colored;
    use crate::output::format::line_format::TimestampPrefix;
    use crate::output::sink::interface::Written;

    /// A sink that takes so many bytes and then stops in the given way.
    #[derive(Default)]
    struct Fake {
        text: Vec<u8>,
        room: usize,
        stop: Option<fn() -> Stop>,
    }

    struct Shared(Arc<Mutex<Fake>>);

    impl Sink for Shared {
        fn write(&mut self, lines: Lines<'_>, _: Clocks, _: &mut Vec<Message>) -> Written {
            let mut fake = self.0.lock().unwrap();
            let Some(stop) = fake.stop else {
                fake.text.extend(lines.bytes);
                return Written { bytes: lines.bytes.len(), stop: None };
            };
            let bytes = lines.bytes.len().min(std::mem::take(&mut fake.room));
            fake.text.extend(&lines.bytes[..bytes]);
            Written { bytes, stop: Some(stop()) }
        }

        fn save(&self) -> crate::output::saved::SavedSink {
            crate::output::saved::SavedSink::Null
        }
    }

    struct Stage {
        fake: Arc<Mutex<Fake>>,
        writer: SinkWriter,
        cx: SinkCx,
        format: LineFormat,
        now: Clocks,
    }

    impl Stage {
        fn new(format: LineFormat) -> Self {
            let fake = Arc::new(Mutex::new(Fake::default()));
            let writer = SinkWriter::new("it".into(), Box::new(Shared(Arc::clone(&fake))));
            let now = Clocks { mono: Mono(0), wall: jiff::Timestamp::UNIX_EPOCH };
            Self { fake, writer, cx: SinkCx::default(), format, now }
        }

        fn put(&mut self, from: usize, text: &str) {
            let piece = Piece { from: SourceId(from), speaker: Speaker { pid: 7, wid: 1 }, bytes: text.as_bytes() };
            self.writer.put(piece, &mut self.format, self.now, &mut self.cx);
        }

        fn stop(&self, room: usize, stop: Option<fn() -> Stop>) {
            let mut fake = self.fake.lock().unwrap();
            (fake.room, fake.stop) = (room, stop);
        }

        fn pass(&mut self, time: Duration) {
            self.now.mono = self.now.mono.after(time);
            self.writer.wake(self.now, &mut self.cx);
        }

        fn text(&self) -> String {
            String::from_utf8(self.fake.lock().unwrap().text.clone()).unwrap()
        }

        fn said(&mut self) -> Vec<String> {
            let messages = std::mem::take(&mut self.cx.messages).into_iter();
            messages
                .filter_map(|m| if let Message::Info(t) | Message::Warning(t) = m { Some(t) } else { None })
                .collect()
        }
    }

    fn no_space() -> Stop {
        Stop::Failed(io::Error::from_raw_os_error(libc::ENOSPC))
    }

    #[test]
    fn what_a_full_disk_did_not_take_is_written_later_in_order() {
        let mut stage = Stage::new(LineFormat::Plain);
        stage.stop(3, Some(no_space));
        stage.put(1, "one\n");
        stage.put(2, "two\n");
        assert_eq!(stage.text(), "one");
        assert!(stage.writer.accepts(SourceId(1), stage.now), "a worker does not stop for a disk");
        stage.stop(0, None);
        stage.pass(FIRST_RETRY);
        assert_eq!(stage.text(), "one\ntwo\n");
        assert!(stage.writer.has_settled(8) && stage.writer.deadline().is_none());
        let said = stage.said();
        assert!(said[0].starts_with("cannot write to it: No space left"), "{said:?}");
        assert_eq!(said[1..], ["it is written again, nothing was lost"]);
    }

    #[test]
    fn retries_become_rarer_and_are_spoken_of_once() {
        let mut stage = Stage::new(LineFormat::Plain);
        stage.stop(0, Some(no_space));
        stage.put(1, "x\n");
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = stage.writer.deadline().unwrap().since(stage.now.mono);
            waits.push(wait.as_millis());
            stage.pass(wait);
        }
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(stage.said().len(), 1);
    }

    #[test]
    fn a_queue_that_overflows_loses_whole_lines_and_counts_them() {
        let mut stage = Stage::new(LineFormat::Plain);
        stage.stop(0, Some(no_space));
        let line = format!("{:<99}\n", "line");
        for _ in 0..QUEUE_LIMIT / 1000 + 2 {
            stage.put(1, &line.repeat(10));
        }
        stage.stop(0, None);
        stage.pass(FIRST_RETRY);
        stage.put(1, "after\n");
        assert!(stage.text().ends_with("\nafter\n") && stage.text().len() <= QUEUE_LIMIT + 6);
        assert!(stage.text().lines().all(|line| line.len() == 99 || line == "after"));
        let lost = (QUEUE_LIMIT / 1000 + 2) * 10 - (stage.text().lines().count() - 1);
        assert!(
            stage
                .said()
                .iter()
                .any(|text| *text == format!("it is written again; {lost} lines ({} bytes) were lost", lost * 100))
        );
    }

    #[test]
    fn a_slow_reader_holds_its_sources_up_until_half_is_read() {
        let mut stage = Stage::new(LineFormat::Plain);
        stage.stop(0, Some(|| Stop::Blocked));
        while stage.writer.accepts(SourceId(1), stage.now) {
            stage.put(1, &"x\n".repeat(5000));
        }
        stage.writer.park(SourceId(1));
        stage.stop(1000, Some(|| Stop::Blocked));
        stage.writer.flush(stage.now, &mut stage.cx);
        assert_eq!(stage.writer.take_released(stage.now), []);
        stage.stop(QUEUE_LIMIT / 2 + 20_000, Some(|| Stop::Blocked));
        stage.writer.flush(stage.now, &mut stage.cx);
        assert_eq!(stage.writer.take_released(stage.now), [SourceId(1)]);
        assert_eq!(stage.writer.deadline(), None, "the reader wakes us, not the clock");
        assert!(stage.said().is_empty());
    }

    #[test]
    fn reader_that_is_not_waited_for_costs_whole_lines_which_are_counted() {
        let mut stage = Stage::new(LineFormat::Plain);
        stage.writer.set_policy(RotationPolicy { on_full: Some(OnFull::Drop), ..RotationPolicy::default() });
        stage.stop(0, Some(|| Stop::Blocked));
        let line = format!("{:<99}\n", "line");
        for _ in 0..QUEUE_LIMIT / 1000 + 2 {
            assert!(stage.writer.accepts(SourceId(1), stage.now), "a worker does not wait");
            stage.put(1, &line.repeat(10));
        }
        assert_eq!(stage.said(), ["it: the queue is full, lines are dropped"]);
        // Losses that go on are told again, not at once.
        stage.put(1, &line);
        assert!(stage.said().is_empty());
        stage.now.mono = stage.now.mono.after(Duration::from_secs(LOG_AGAIN + 1));
        stage.put(1, &line);
        let said = stage.said();
        assert!(
            said.len() == 1 && said[0].contains("lines are dropped; ") && said[0].ends_with(" were lost so far"),
            "{said:?}"
        );
        stage.stop(0, None);
        stage.writer.flush(stage.now, &mut stage.cx);
        assert!(stage.text().lines().all(|line| line.len() == 99));
        let lost = (QUEUE_LIMIT / 1000 + 2) * 10 + 2 - stage.text().lines().count();
        assert_eq!(stage.said(), [format!("it is written again; {lost} lines ({} bytes) were lost", lost * 100)]);
    }

    #[test]
    fn disk_that_is_waited_for_loses_nothing() {
        let mut stage = Stage::new(LineFormat::Plain);
        stage.writer.set_policy(RotationPolicy { on_full: Some(OnFull::Block), ..RotationPolicy::default() });
        stage.stop(0, Some(no_space));
        let mut count = 0;
        while stage.writer.accepts(SourceId(1), stage.now) {
            stage.put(1, &"x\n".repeat(5000));
            count += 5000;
        }
        stage.writer.park(SourceId(1));
        assert_eq!(stage.writer.take_released(stage.now), []);
        stage.stop(0, None);
        stage.pass(FIRST_RETRY);
        assert_eq!(stage.writer.take_released(stage.now), [SourceId(1)]);
        assert_eq!(stage.text().lines().count(), count);
    }

    #[test]
    fn what_is_gone_is_reported_once_and_swallows_everything() {
        let mut stage = Stage::new(LineFormat::Plain);
        stage.stop(0, Some(|| Stop::Gone(io::ErrorKind::BrokenPipe.into())));
        stage.put(1, "one\n");
        stage.put(1, "two\n");
        assert!(stage.writer.accepts(SourceId(1), stage.now) && stage.writer.has_settled(8) && stage.writer.is_empty());
        assert_eq!(stage.said().len(), 1);
    }

    #[test]
    fn others_wait_for_the_end_of_a_long_line_but_not_for_ever() {
        let mut stage = Stage::new(LineFormat::Plain);
        let (long, other) = (SourceId(1), SourceId(2));
        stage.put(1, "long");
        stage.writer.hold(long, stage.now.mono.after(Duration::from_millis(200)));
        assert!(stage.writer.accepts(long, stage.now) && !stage.writer.accepts(other, stage.now));
        assert_eq!(stage.writer.deadline(), None, "no source waits yet");
        stage.writer.park(other);
        stage.pass(Duration::from_millis(200));
        assert_eq!(stage.writer.take_released(stage.now), [other]);
        stage.put(2, "other\n");
        stage.put(1, "er\n");
        assert_eq!(stage.text(), "long\nother\ner\n");
    }

    #[test]
    fn a_painted_line_that_was_interrupted_leaves_no_paint_behind() {
        let mut stage = Stage::new(LineFormat::Colored(Colored::new(Some("green"), Some("T"), 0)));
        stage.put(1, "on");
        stage.put(1, "e, ");
        stage.put(2, "\ntwo\n");
        stage.put(1, "three");
        stage.writer.finish(SourceId(1), &stage.format, stage.now, &mut stage.cx);
        let (on, off) = ("\x1b[0;32;40m", "\x1b[0m");
        let lines = [
            format!("{on}T [7] | on{off}{on}e, {off}\n"),
            format!("{on}T [7] | two{off}\n"),
            format!("{on}T [7] | three{off}\n"),
        ];
        assert_eq!(stage.text(), lines.concat());
    }

    #[test]
    fn a_stamped_line_that_was_interrupted_gets_a_prefix_again() {
        let mut stage = Stage::new(LineFormat::Stamped(TimestampPrefix::new("T")));
        stage.put(1, "on");
        stage.put(1, "e, ");
        stage.put(2, "two\n");
        stage.put(1, "three");
        stage.writer.finish(SourceId(1), &stage.format, stage.now, &mut stage.cx);
        assert_eq!(stage.text(), "T [7] | one, \nT [7] | two\nT [7] | three\n");
    }

    #[test]
    fn what_is_framed_has_no_byte_that_a_worker_did_not_write() {
        let mut stage = Stage::new(LineFormat::Framed);
        stage.put(1, "on");
        stage.put(2, "two\n");
        stage.put(1, "e");
        stage.writer.finish(SourceId(1), &stage.format, stage.now, &mut stage.cx);
        stage.put(2, "end\n");
        assert_eq!(stage.text(), "7 2\non7 4\ntwo\n7 1\ne7 4\nend\n");
    }
}
