//! One source's turn: read, cut into lines, pass on.

use crate::output::format::line_format::LineFormat;
use crate::output::message::{Message, SourceId};
use crate::output::read::partial_line::LINE_WAIT;
use crate::output::read::pipe_reader::{Got, PipeReader};
use crate::output::sink::interface::Clocks;
use crate::output::sink::writer::{Piece, SinkCx, SinkWriter};
use crate::output::tail::stream_tail::{EventQueue, InFlight, StreamTail};

/// How a source stands after it was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There was nothing left to read.
    Idle,
    /// There may be more.
    Again,
    /// The writer takes no more.
    Parked,
    /// It has come to its end.
    Ended,
}

/// Everything that one source's turn touches.
pub(crate) struct ReadTurn<'p> {
    pub(crate) id: SourceId,
    pub(crate) reader: &'p mut PipeReader,
    pub(crate) format: &'p mut LineFormat,
    pub(crate) writer: &'p mut SinkWriter,
    pub(crate) tail: Option<&'p mut StreamTail>,
    pub(crate) load: &'p InFlight,
    pub(crate) scratch: &'p mut [u8],
    pub(crate) cx: &'p mut SinkCx,
    pub(crate) number: u64,
    pub(crate) now: Clocks,
}

impl ReadTurn<'_> {
    /// Reads at most `reads` times.
    pub(crate) fn serve(&mut self, reads: usize) -> Outcome {
        for _ in 0..reads {
            if !self.writer.accepts(self.id, self.now) {
                return Outcome::Parked;
            }
            let lead = self.reader.partial.lead(self.scratch);
            match self.reader.read(self.scratch, lead) {
                Got::Some(read) => {
                    let ended = self.pass_on(lead, read);
                    if ended && self.writer.is_contended() {
                        // The others have waited for this line: now it is their turn.
                        return Outcome::Again;
                    }
                }
                Got::Last(read) => {
                    self.pass_on(lead, read);
                    return self.idle();
                }
                Got::Empty => return self.idle(),
                Got::End(error) => {
                    if let Some(error) = error {
                        let source = self.reader.source;
                        self.cx.warn(format!("cannot read {:?} of pid {}: {error}", source.name, source.pid));
                    }
                    self.end();
                    return Outcome::Ended;
                }
            }
        }
        Outcome::Again
    }

    /// Nothing more is readable; what has waited long enough for the end of its line goes as it is.
    fn idle(&mut self) -> Outcome {
        self.reader.emptied = self.number;
        if self.reader.due.is_some_and(|due| due <= self.now.mono) {
            self.write_unfinished();
        }
        Outcome::Idle
    }

    /// Writes the lines of a block. Says whether a line has ended in it.
    fn pass_on(&mut self, lead: usize, read: usize) -> bool {
        let Self { id, reader, writer, tail, now, .. } = self;
        let Some(block) = self.scratch.get(..lead + read) else { return false };
        let cut = reader.partial.take(block, lead);
        if cut.began {
            reader.due = (!reader.partial.is_empty()).then(|| now.mono.after(LINE_WAIT));
        }
        if cut.ready.is_empty() {
            return false;
        }
        let piece = Piece { from: *id, speaker: reader.speaker(), bytes: cut.ready };
        writer.put(piece, self.format, *now, self.cx);
        if let Some(tail) = tail {
            let events = EventQueue { messages: &mut self.cx.messages, load: self.load };
            tail.take(*id, reader.origin(*now), cut.ready, events);
        }
        if reader.awaited.take_if(|awaited| awaited.is_in(cut.ready)).is_some() {
            self.cx.messages.push(Message::Matched(reader.source.pid));
        }
        let ended = cut.ready.last() == Some(&b'\n');
        if ended {
            reader.line_ended();
            writer.release(*id);
        } else {
            match reader.hold_until(now.mono) {
                Some(until) => writer.hold(*id, until),
                None => writer.release(*id),
            }
        }
        ended
    }

    fn write_unfinished(&mut self) {
        self.reader.due = None;
        let bytes = self.reader.partial.give_up();
        if !bytes.is_empty() {
            let piece = Piece { from: self.id, speaker: self.reader.speaker(), bytes: &bytes };
            self.writer.put(piece, self.format, self.now, self.cx);
            if let Some(tail) = &mut self.tail {
                let events = EventQueue { messages: &mut self.cx.messages, load: self.load };
                tail.take(self.id, self.reader.origin(self.now), &bytes, events);
            }
        }
    }

    /// The source has ended, or is given up: its last bytes are written whether or not their line has an end.
    pub(crate) fn end(&mut self) {
        self.write_unfinished();
        self.writer.finish(self.id, self.format, self.now, self.cx);
        if let Some(tail) = &mut self.tail {
            let events = EventQueue { messages: &mut self.cx.messages, load: self.load };
            tail.finish(self.id, self.reader.origin(self.now), events);
        }
    }
}
