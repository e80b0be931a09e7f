//! How a stream of bytes becomes whole lines. Pure: nothing here reads, writes or looks at a clock.
//!
//! A read block is searched once, from its end, for the last newline. What stands before it can be written straight
//! from the block; what stands behind it waits here until its end arrives. A source that is between two lines holds
//! no memory, so a thousand idle workers cost nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long the beginning of a line waits for its end: short enough for a prompt, long enough for a slow `printf`.
pub(crate) const LINE_WAIT: Duration = Duration::from_millis(200);

/// How much of a line waits for its end.
pub(crate) const LINE_LIMIT: usize = 64 * 1024;

/// The beginning of a line whose end has not come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartialLine {
    #[serde(with = "crate::output::saved::bytes")]
    bytes: Vec<u8>,
}

/// What one block of input gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut<'b> {
    /// What can be written now. Ends with a newline, unless it is a piece of an overlong line.
    pub(crate) ready: &'b [u8],
    /// Whether what waits now began in this block.
    pub(crate) began: bool,
}

impl PartialLine {
    /// Copies what waits to the front of `scratch` and says where the next bytes go. It is kept here as well, because
    /// the read that follows may find nothing.
    pub(crate) fn lead(&self, scratch: &mut [u8]) -> usize {
        let length = self.bytes.len().min(scratch.len());
        if let (Some(front), Some(bytes)) = (scratch.get_mut(..length), self.bytes.get(..length)) {
            front.copy_from_slice(bytes);
        }
        length
    }

    /// Takes a block that begins with what waited (`lead` bytes of it) and keeps what is not ready.
    pub(crate) fn take<'b>(&mut self, block: &'b [u8], lead: usize) -> Cut<'b> {
        let (ready, rest) = block.split_at(whole(block, lead));
        if ready.is_empty() {
            let began = self.bytes.is_empty();
            self.bytes.extend_from_slice(block.get(lead..).unwrap_or_default());
            return Cut { ready, began };
        }
        if rest.is_empty() {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
            self.bytes.extend_from_slice(rest);
        }
        Cut { ready, began: true }
    }

    /// Gives up waiting.
    pub(crate) fn give_up(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How much waits.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// How many bytes of `block` can be written now. The first `lead` bytes are known to hold no newline.
fn whole(block: &[u8], lead: usize) -> usize {
    match memchr::memrchr(b'\n', block.get(lead..).unwrap_or_default()) {
        Some(last) => lead + last + 1,
        None if block.len() >= LINE_LIMIT => block.len(),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds chunk after chunk, as the thread does, and returns the pieces that were ready and what was left.
    fn feed(chunks: &[Vec<u8>]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut line = PartialLine::default();
        let mut scratch = vec![0; 2 * LINE_LIMIT];
        let mut pieces = Vec::new();
        for chunk in chunks {
            let lead = line.lead(&mut scratch);
            scratch[lead..lead + chunk.len()].copy_from_slice(chunk);
            let cut = line.take(&scratch[..lead + chunk.len()], lead);
            if !cut.ready.is_empty() {
                pieces.push(cut.ready.to_vec());
            }
        }
        (pieces, line.give_up())
    }

    #[test]
    fn whole_lines_pass_and_the_tail_waits() {
        let (pieces, rest) = feed(&[b"one\ntwo\nthr".to_vec(), b"ee\n".to_vec(), b"fo".to_vec()]);
        assert_eq!(pieces, [b"one\ntwo\n".to_vec(), b"three\n".to_vec()]);
        assert_eq!(rest, b"fo");
    }

    #[test]
    fn nothing_is_held_between_two_lines() {
        let mut line = PartialLine::default();
        line.take(b"begin", 0);
        line.take(b"begin, end\n", 5);
        assert_eq!(line.bytes.capacity(), 0);
    }

    #[test]
    fn only_a_line_that_begins_anew_restarts_the_wait() {
        let mut line = PartialLine::default();
        assert!(line.take(b"a", 0).began);
        assert!(!line.take(b"ab", 1).began, "the same line, still without an end");
        assert!(line.take(b"ab\nc", 2).began);
    }

    #[test]
    fn an_overlong_line_goes_out_in_pieces() {
        let (pieces, rest) = feed(&[vec![b'x'; LINE_LIMIT - 1], vec![b'x'; 2], b"x\n".to_vec()]);
        assert_eq!(pieces, [vec![b'x'; LINE_LIMIT + 1], b"x\n".to_vec()]);
        assert!(rest.is_empty());
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_added_or_moved_and_no_line_is_torn(
            chunks in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..40), 0..40),
        ) {
            let (pieces, rest) = feed(&chunks);
            for piece in &pieces {
                prop_assert_eq!(piece.last(), Some(&b'\n'));
            }
            prop_assert!(!rest.contains(&b'\n'));
            prop_assert_eq!([pieces.concat(), rest].concat(), chunks.concat());
        }

        #[test]
        fn what_waits_stays_below_the_limit(
            chunks in prop::collection::vec((1usize..LINE_LIMIT, prop::option::of(0usize..LINE_LIMIT)), 1..8),
        ) {
            let mut line = PartialLine::default();
            let mut scratch = vec![0; 2 * LINE_LIMIT];
            for (length, newline) in chunks {
                let lead = line.lead(&mut scratch);
                scratch[lead..lead + length].fill(b'x');
                if let Some(at) = newline.filter(|at| *at < length) {
                    scratch[lead + at] = b'\n';
                }
                line.take(&scratch[..lead + length], lead);
                prop_assert!(line.len() < LINE_LIMIT);
            }
        }
    }
}
