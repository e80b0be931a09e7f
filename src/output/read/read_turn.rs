//! One source's turn: read, cut into lines, pass on.

use crate::output::format::line_format::Layout;
use crate::output::message::SourceId;
use crate::output::read::partial_line::LINE_WAIT;
use crate::output::read::pipe_reader::{Got, Intake};
use crate::output::sink::interface::Now;
use crate::output::sink::writer::{Desk, Outlet, Piece};
use crate::output::tail::stream_tail::{Load, Post, Stream};

/// How a source stands after it was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There was nothing left to read.
    Idle,
    /// There may be more.
    Again,
    /// The outlet takes no more.
    Parked,
    /// It has come to its end.
    Ended,
}

/// Everything that one source's turn touches.
pub(crate) struct Turn<'p> {
    pub(crate) id: SourceId,
    pub(crate) intake: &'p mut Intake,
    pub(crate) layout: &'p mut Layout,
    pub(crate) outlet: &'p mut Outlet,
    pub(crate) tail: Option<&'p mut Stream>,
    pub(crate) load: &'p Load,
    pub(crate) scratch: &'p mut [u8],
    pub(crate) desk: &'p mut Desk,
    pub(crate) number: u64,
    pub(crate) now: Now,
}

impl Turn<'_> {
    /// Reads at most `reads` times.
    pub(crate) fn serve(&mut self, reads: usize) -> Outcome {
        for _ in 0..reads {
            if !self.outlet.accepts(self.id, self.now) {
                return Outcome::Parked;
            }
            let lead = self.intake.unfinished.lead(self.scratch);
            match self.intake.read(self.scratch, lead) {
                Got::Some(read) => {
                    let ended = self.pass_on(lead, read);
                    if ended && self.outlet.is_contended() {
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
                        let source = self.intake.source;
                        self.desk.warn(format!("cannot read {:?} of pid {}: {error}", source.name, source.pid));
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
        self.intake.emptied = self.number;
        if self.intake.due.is_some_and(|due| due <= self.now.mono) {
            self.write_unfinished();
        }
        Outcome::Idle
    }

    /// Writes the lines of a block. Says whether a line has ended in it.
    fn pass_on(&mut self, lead: usize, read: usize) -> bool {
        let Self { id, intake, outlet, tail, now, .. } = self;
        let Some(block) = self.scratch.get(..lead + read) else { return false };
        let cut = intake.unfinished.take(block, lead);
        if cut.began {
            intake.due = (!intake.unfinished.is_empty()).then(|| now.mono + LINE_WAIT);
        }
        if cut.ready.is_empty() {
            return false;
        }
        let piece = Piece { from: *id, pid: intake.source.pid, bytes: cut.ready };
        outlet.put(piece, self.layout, *now, self.desk);
        if let Some(tail) = tail {
            let post = Post { messages: &mut self.desk.messages, load: self.load };
            tail.take(*id, intake.origin(*now), cut.ready, post);
        }
        let ended = cut.ready.last() == Some(&b'\n');
        if ended {
            intake.line_ended();
            outlet.release(*id);
        } else {
            match intake.hold_until(now.mono) {
                Some(until) => outlet.hold(*id, until),
                None => outlet.release(*id),
            }
        }
        ended
    }

    fn write_unfinished(&mut self) {
        self.intake.due = None;
        let bytes = self.intake.unfinished.give_up();
        if !bytes.is_empty() {
            let piece = Piece { from: self.id, pid: self.intake.source.pid, bytes: &bytes };
            self.outlet.put(piece, self.layout, self.now, self.desk);
            if let Some(tail) = &mut self.tail {
                let post = Post { messages: &mut self.desk.messages, load: self.load };
                tail.take(self.id, self.intake.origin(self.now), &bytes, post);
            }
        }
    }

    /// The source has ended, or is given up: its last bytes are written whether or not their line has an end.
    pub(crate) fn end(&mut self) {
        self.write_unfinished();
        self.outlet.finish(self.id, self.layout, self.now, self.desk);
        if let Some(tail) = &mut self.tail {
            let post = Post { messages: &mut self.desk.messages, load: self.load };
            tail.finish(self.id, self.intake.origin(self.now), post);
        }
    }
}
