//! Waiting, without blocking the thread, until all that was readable at some time has been written.

use crate::output::SyncId;
use crate::output::message::{SourceId, WriterId};

/// A pipe holds no more than this (pipe-max-size), so what was readable has been read when so much was.
const MOST_IN_A_PIPE: u64 = 1024 * 1024;

/// What it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// `OutputHandle::sync`.
    Sync(SyncId),
    /// `OutputHandle::shutdown`.
    Shutdown,
}

/// Where one source or writer stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceView {
    /// Bytes read so far.
    pub(crate) taken: u64,
    /// How many of them wait for the end of their line.
    pub(crate) waiting: u64,
    /// The turn in which it was last found empty.
    pub(crate) emptied: u64,
}

/// What a barrier looks at.
pub(crate) trait View {
    /// `None` when it has ended.
    fn source(&self, id: SourceId) -> Option<SourceView>;
    /// How many bytes the writer has taken; `None` when it is gone.
    fn accepted(&self, id: WriterId) -> Option<u64>;
    /// Whether so many have been written.
    fn has_settled(&self, id: WriterId, accepted: u64) -> bool;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Until so many bytes were read, or the pipe was found empty.
    Reading(SourceId, u64),
    /// Until so many bytes were passed on.
    Ending(SourceId, u64),
    /// Until the writer has written so many.
    Writing(u64),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Barrier {
    pub(crate) purpose: Purpose,
    /// The turn in which it was asked for.
    turn: u64,
    debts: Vec<(WriterId, Stage)>,
}

impl Barrier {
    /// For these sources and writers, as they are in `turn`.
    pub(crate) fn new(
        purpose: Purpose,
        turn: u64,
        sources: impl Iterator<Item = (SourceId, WriterId, u64)>,
        writers: impl Iterator<Item = (WriterId, u64)>,
    ) -> Self {
        let reading = sources.map(|(id, writer, taken)| (writer, Stage::Reading(id, taken + MOST_IN_A_PIPE)));
        let writing = writers.map(|(id, accepted)| (id, Stage::Writing(accepted)));
        Self { purpose, turn, debts: reading.chain(writing).collect() }
    }

    /// Looks how far every source and writer has come; true when the barrier is passed.
    pub(crate) fn settle(&mut self, view: &impl View) -> bool {
        let turn = self.turn;
        self.debts.retain_mut(|(writer, stage)| advance(turn, *writer, stage, view));
        self.debts.is_empty()
    }
}

/// Moves one debt on; false when it is paid.
fn advance(turn: u64, writer: WriterId, stage: &mut Stage, view: &impl View) -> bool {
    if let Stage::Reading(id, upto) = *stage {
        match view.source(id) {
            Some(source) if source.emptied < turn && source.taken < upto => return true,
            Some(source) => *stage = Stage::Ending(id, source.taken),
            None => *stage = Stage::Ending(id, 0),
        }
    }
    if let Stage::Ending(id, upto) = *stage {
        if view.source(id).is_some_and(|source| source.taken - source.waiting < upto) {
            return true;
        }
        *stage = Stage::Writing(view.accepted(writer).unwrap_or(0));
    }
    match *stage {
        Stage::Writing(upto) => !view.has_settled(writer, upto),
        Stage::Reading(..) | Stage::Ending(..) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        source: Option<SourceView>,
        accepted: u64,
        written: u64,
    }

    impl View for World {
        fn source(&self, _: SourceId) -> Option<SourceView> {
            self.source
        }
        fn accepted(&self, _: WriterId) -> Option<u64> {
            Some(self.accepted)
        }
        fn has_settled(&self, _: WriterId, accepted: u64) -> bool {
            self.written >= accepted
        }
    }

    fn barrier() -> Barrier {
        let source = (SourceId(1), WriterId(2), 100);
        Barrier::new(Purpose::Sync(SyncId(1)), 7, [source].into_iter(), [(WriterId(2), 0)].into_iter())
    }

    fn view(taken: u64, waiting: u64, emptied: u64) -> Option<SourceView> {
        Some(SourceView { taken, waiting, emptied })
    }

    #[test]
    fn it_waits_for_the_reading_the_end_of_the_line_and_the_writing() {
        let mut barrier = barrier();
        let mut world = World { source: view(100, 0, 6), accepted: 0, written: 0 };
        assert!(!barrier.settle(&world), "not read since");
        world.source = view(110, 4, 7);
        assert!(!barrier.settle(&world), "a line has no end yet");
        (world.source, world.accepted) = (view(500, 400, 7), 106);
        assert!(!barrier.settle(&world), "four bytes are not passed on yet");
        (world.source, world.accepted) = (view(500, 0, 7), 500);
        assert!(!barrier.settle(&world), "not written yet");
        world.written = 500;
        assert!(barrier.settle(&world));
    }

    #[test]
    fn a_source_that_never_falls_silent_does_not_hold_it_up() {
        let world = World { source: view(100 + MOST_IN_A_PIPE, 0, 6), accepted: 5, written: 5 };
        assert!(barrier().settle(&world));
    }

    #[test]
    fn a_source_that_has_ended_owes_only_the_writing() {
        let mut world = World { source: None, accepted: 9, written: 8 };
        let mut barrier = barrier();
        assert!(!barrier.settle(&world));
        world.written = 9;
        assert!(barrier.settle(&world));
    }
}
