//! FancyStdoutStream: every line in the stream's colour, behind its time and its worker's pid. Empty lines are left out.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::output::format::line_format::TimestampPrefix;

/// In the order of their numbers on a terminal, from 1.
const COLOURS: [&str; 7] = ["red", "green", "yellow", "blue", "magenta", "cyan", "white"];

const OFF: &[u8] = b"\x1b[0m";

/// A colour and a time format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Colored {
    on: String,
    stamp: TimestampPrefix,
}

impl Colored {
    /// A stream that names no known colour gets one in turn, so that streams beside each other differ: `turn` is any number.
    pub(crate) fn new(colour: Option<&str>, time_format: Option<&str>, turn: u64) -> Self {
        let named = colour.and_then(|colour| COLOURS.iter().position(|known| *known == colour));
        let number = named.map_or(turn % COLOURS.len() as u64, |at| at as u64) + 1;
        Self {
            on: format!("\x1b[0;3{number};40m"),
            stamp: TimestampPrefix::new(time_format.unwrap_or("%Y-%m-%d %H:%M:%S")),
        }
    }

    /// Appends what stands before each line.
    pub(crate) fn prefix(&mut self, pid: i32, wall: Timestamp, out: &mut Vec<u8>) {
        out.extend_from_slice(self.on.as_bytes());
        self.stamp.prefix(pid, wall, out);
    }

    /// Paints `lines`. A line that has no end yet is left unpainted at its end and painted on where it goes on, so that
    /// what another stream writes in between does not have its colour.
    pub(crate) fn render(&self, prefix: &[u8], continues: bool, lines: &[u8], out: &mut Vec<u8>) {
        let mut begun = continues;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let (text, end) = line.split_at(line.len() - usize::from(line.ends_with(b"\n")));
            if !text.is_empty() {
                out.extend_from_slice(if begun { self.on.as_bytes() } else { prefix });
                out.extend_from_slice(text);
                out.extend_from_slice(OFF);
            }
            if begun || !text.is_empty() {
                out.extend_from_slice(end);
            }
            begun = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted(colour: Option<&str>, continues: bool, lines: &str) -> String {
        let mut colored = Colored::new(colour, Some("T"), 9);
        let (mut prefix, mut out) = (Vec::new(), Vec::new());
        colored.prefix(42, Timestamp::UNIX_EPOCH, &mut prefix);
        colored.render(&prefix, continues, lines.as_bytes(), &mut out);
        String::from_utf8(out).unwrap().replace('\x1b', "^")
    }

    #[test]
    fn every_line_is_painted_and_empty_ones_are_left_out() {
        assert_eq!(
            painted(Some("green"), false, "one line\n\n\nother\n"),
            "^[0;32;40mT [42] | one line^[0m\n^[0;32;40mT [42] | other^[0m\n"
        );
        assert_eq!(painted(Some("red"), false, "\n"), "");
    }

    #[test]
    fn a_line_in_pieces_has_one_prefix_and_one_end() {
        assert_eq!(painted(Some("white"), false, "pass"), "^[0;37;40mT [42] | pass^[0m");
        assert_eq!(painted(Some("white"), true, "word\n"), "^[0;37;40mword^[0m\n");
        assert_eq!(painted(Some("white"), true, "\n\nx\n"), "\n^[0;37;40mT [42] | x^[0m\n");
    }

    #[test]
    fn colours_are_given_in_turn_where_none_is_named() {
        for (colour, number) in [(Some("red"), 1), (Some("cyan"), 6), (Some("beige"), 3), (None, 3)] {
            assert!(painted(colour, false, "x").starts_with(&format!("^[0;3{number};40m")), "{colour:?}");
        }
    }
}
