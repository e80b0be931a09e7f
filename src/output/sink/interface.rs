//! What every kind of sink can do. A new stream class is one file that implements [`Sink`] and one line in
//! `open.rs`.

use std::io;
use std::os::fd::BorrowedFd;

use jiff::Timestamp;

use crate::arbiter::Mono;
use crate::output::Message;
use crate::output::saved::SavedSink;
use crate::output::sink::rotation_policy::{Rotation, RotationPolicy};

/// The two clocks, read once a turn: one for deadlines, one for what is printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    pub(crate) mono: Mono,
    pub(crate) wall: Timestamp,
}

/// Bytes on their way out: whole lines, save for the pieces of an overlong or partial one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines<'b> {
    pub(crate) bytes: &'b [u8],
    /// How much of each line is prefix, which does not count for rotation.
    pub(crate) uncounted: usize,
}

/// How much a sink took, and why not more.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) bytes: usize,
    pub(crate) stop: Option<Stop>,
}

/// Why a sink takes no more.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Its reader is slow; `poll_fd` becomes writable when it goes on.
    Blocked,
    /// An error that may pass: no space, read-only, input/output.
    Failed(io::Error),
    /// It has no reader, and will have none.
    Gone(io::Error),
}

/// What a sink leaves to the one that takes its place when the configuration changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SinkState {
    pub(crate) rotation: Rotation,
    /// When it is rolled by time; `None` where that was not looked at yet.
    pub(crate) deadline: Option<Timestamp>,
    /// Which file it was (device and inode).
    pub(crate) file: Option<(u64, u64)>,
    /// The last line has no end yet.
    pub(crate) mid_line: bool,
}

/// A place that lines are written to.
pub(crate) trait Sink: Send {
    /// Writes as much as can be written without waiting for a reader.
    fn write(&mut self, lines: Lines<'_>, now: Clocks, messages: &mut Vec<Message>) -> Written;

    /// Opens the place again by its name, as after a rotation by another program. Few places have one.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// What to watch for writability; `None` for what never blocks.
    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// All that it knows, for another process.
    fn save(&self) -> SavedSink;

    /// What it writes to.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// What a newer sink of the same name needs to know; most have nothing to leave.
    fn state(&self) -> SinkState {
        SinkState::default()
    }

    /// Follows an older sink of the same name.
    fn follow(&mut self, _older: SinkState) {}

    /// What its streams ask for now. Only files grow, so nothing else has to look.
    fn set_policy(&mut self, _upkeep: RotationPolicy) {}
}
