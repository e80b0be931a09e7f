//! What is added to a worker's lines: nothing, `<time> [<pid>] | ` before each, or that and a colour.
//!
//! Pure: the time is an argument. The text of a second is made once.

use std::io::Write as _;

use jiff::fmt::strtime::{BrokenDownTime, Config, PosixCustom};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

use crate::output::format::colored::Colored;
use crate::output::format::dressed::{JsonLines, Prefixed};
use crate::output::format::record::Record;

/// The worker whose lines they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Speaker {
    pub(crate) pid: i32,
    pub(crate) wid: u32,
}

/// How the lines of one stream are dressed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum LineFormat {
    /// Byte for byte as they came.
    Plain,
    /// Each line behind its time and its worker's pid.
    Stamped(TimestampPrefix),
    /// Each line behind a prefix of the user's own.
    Prefixed(Prefixed),
    /// Each line as an object.
    Json(JsonLines),
    /// Each line behind its time and its worker's pid, in a colour.
    Colored(Colored),
    /// Each line as a message for the system log or the journal.
    Record(Record),
    /// Each piece behind a line with its worker's pid and its length, for a program that takes them apart again.
    Framed,
}

impl LineFormat {
    /// Writes what stands before each line of this worker now.
    pub(crate) fn prefix(&mut self, speaker: Speaker, wall: Timestamp, out: &mut Vec<u8>) {
        out.clear();
        match self {
            Self::Plain => {}
            Self::Stamped(stamp) => stamp.prefix(speaker.pid, wall, out),
            Self::Prefixed(prefixed) => prefixed.prefix(speaker, wall, out),
            Self::Json(json) => json.prefix(speaker, wall, out),
            Self::Colored(colored) => colored.prefix(speaker.pid, wall, out),
            Self::Record(record) => record.prefix(speaker, wall, out),
            Self::Framed => out.extend_from_slice(speaker.pid.to_string().as_bytes()),
        }
    }

    /// Writes `lines` behind their prefix; the first is the rest of a line that has it already where `continues`.
    pub(crate) fn render(&self, prefix: &[u8], continues: bool, lines: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Plain | Self::Stamped(_) | Self::Prefixed(_) => render(prefix, continues, lines, out),
            Self::Json(_) => JsonLines::render(prefix, lines, out),
            Self::Colored(colored) => colored.render(prefix, continues, lines, out),
            Self::Record(record) => record.render(prefix, lines, out),
            Self::Framed => frame(prefix, lines, out),
        }
    }

    /// Whether a last line without an end gets one: a stamped file is a list of lines, a plain one the worker's bytes.
    pub(crate) fn ends_lines(&self) -> bool {
        match self {
            // A piece of JSON has its end already, and so has a message.
            Self::Plain | Self::Framed | Self::Json(_) | Self::Record(_) => false,
            Self::Stamped(_) | Self::Prefixed(_) | Self::Colored(_) => true,
        }
    }

    /// Whether a line that another worker has left open must be ended before this one's begins.
    pub(crate) fn ends_lines_of_others(&self) -> bool {
        !matches!(self, Self::Framed | Self::Json(_) | Self::Record(_))
    }

    /// How much of a prefix does not count for the size of a file: as in Circus, the time and pid of `time_format`.
    pub(crate) fn uncounted(&self, prefix: &[u8]) -> usize {
        match self {
            Self::Prefixed(_) | Self::Json(_) | Self::Record(_) => 0,
            Self::Plain | Self::Stamped(_) | Self::Colored(_) | Self::Framed => prefix.len(),
        }
    }
}

fn frame(pid: &[u8], bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(pid);
    // Writing into a Vec cannot fail.
    let _ = writeln!(out, " {}", bytes.len());
    out.extend_from_slice(bytes);
}

fn render(prefix: &[u8], continues: bool, lines: &[u8], out: &mut Vec<u8>) {
    let mut dressed = continues;
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        if !dressed {
            out.extend_from_slice(prefix);
        }
        dressed = false;
        out.extend_from_slice(line);
    }
}

/// A `time_format` and the last text made with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TimestampPrefix {
    format: String,
    /// The text changes within a second.
    fine: bool,
    made: Option<(i64, String)>,
}

impl TimestampPrefix {
    /// `format` is Python's strftime: `%f` are microseconds, six digits.
    pub(crate) fn new(format: &str) -> Self {
        let translated = microseconds(format);
        Self { fine: translated != format || format.contains("%N"), format: translated, made: None }
    }

    /// Appends `<time> [<pid>] | `.
    pub(crate) fn prefix(&mut self, pid: i32, wall: Timestamp, out: &mut Vec<u8>) {
        out.extend_from_slice(self.text(wall, TimeZone::system).as_bytes());
        // Writing into a Vec cannot fail.
        let _ = write!(out, " [{pid}] | ");
    }

    /// Appends the time.
    pub(crate) fn time(&mut self, wall: Timestamp, out: &mut Vec<u8>) {
        out.extend_from_slice(self.text(wall, TimeZone::system).as_bytes());
    }

    fn text(&mut self, wall: Timestamp, zone: impl FnOnce() -> TimeZone) -> &str {
        let second = wall.as_second();
        let known = self.made.take().filter(|(at, _)| *at == second && !self.fine);
        let (_, text) = self.made.insert(known.unwrap_or_else(|| (second, self.make(&wall.to_zoned(zone())))));
        text
    }

    fn make(&self, time: &Zoned) -> String {
        // Lenient: a directive that is not known is printed as it stands, as libc does.
        let config = Config::new().custom(PosixCustom::default()).lenient(true);
        BrokenDownTime::from(time).to_string_with_config(&config, &self.format).unwrap_or_else(|_| self.format.clone())
    }
}

/// `%f` with its six digits spelt out, `%%f` untouched.
fn microseconds(format: &str) -> String {
    let mut out = String::with_capacity(format.len());
    let mut chars = format.chars();
    while let Some(char) = chars.next() {
        out.push(char);
        if char == '%' {
            match chars.next() {
                Some('f') => out.push_str("6f"),
                Some(other) => out.push(other),
                None => {}
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn stamped(format: &str, time: &str) -> String {
        TimestampPrefix::new(format).text(at(time), || TimeZone::UTC).to_owned()
    }

    #[test]
    fn time_formats_mean_what_they_mean_in_python() {
        let time = "2024-02-03T04:05:06.007089Z";
        assert_eq!(stamped("%Y-%m-%d %H:%M:%S", time), "2024-02-03 04:05:06");
        assert_eq!(stamped("%S.%f", time), "06.007089");
        assert_eq!(stamped("100%% %q\"", "2024-02-03T04:05:06Z").chars().last(), Some('"'), "quotes are literal");
        assert_eq!(stamped("%%f", time), "%f");
        assert_eq!(stamped("%c", time), "Sat Feb  3 04:05:06 2024");
        assert_eq!(stamped("%!", time), "%!");
        assert_eq!(stamped("%", time), "%");
    }

    #[test]
    fn the_text_is_made_once_a_second_unless_it_shows_less_than_a_second() {
        let mut coarse = TimestampPrefix::new("%H:%M:%S");
        coarse.text(at("2024-02-03T04:05:06Z"), || TimeZone::UTC);
        coarse.text(at("2024-02-03T04:05:06.9Z"), || panic!("known already"));
        assert_eq!(coarse.text(at("2024-02-03T04:05:07Z"), || TimeZone::UTC), "04:05:07");
        let mut fine = TimestampPrefix::new("%f");
        fine.text(at("2024-02-03T04:05:06Z"), || TimeZone::UTC);
        assert_eq!(fine.text(at("2024-02-03T04:05:06.9Z"), || TimeZone::UTC), "900000");
    }

    #[test]
    fn each_line_has_its_prefix_and_the_rest_of_a_line_has_none() {
        let mut out = Vec::new();
        render(b"> ", false, b"a\n\n\xff\0b\nc", &mut out);
        assert_eq!(out, b"> a\n> \n> \xff\0b\n> c");
        out.clear();
        render(b"> ", true, b"rest\nnext\n", &mut out);
        assert_eq!(out, b"rest\n> next\n");
    }

    #[test]
    fn the_prefix_names_the_worker() {
        let mut out = Vec::new();
        LineFormat::Stamped(TimestampPrefix::new("T")).prefix(
            Speaker { pid: 42, wid: 1 },
            at("2024-02-03T04:05:06Z"),
            &mut out,
        );
        assert_eq!(out, b"T [42] | ");
        LineFormat::Plain.prefix(Speaker { pid: 42, wid: 1 }, at("2024-02-03T04:05:06Z"), &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn a_frame_says_whose_bytes_follow_and_how_many() {
        let (mut prefix, mut out) = (Vec::new(), Vec::new());
        LineFormat::Framed.prefix(Speaker { pid: 42, wid: 1 }, Timestamp::UNIX_EPOCH, &mut prefix);
        LineFormat::Framed.render(&prefix, false, b"a\nb", &mut out);
        LineFormat::Framed.render(&prefix, true, b"c\n", &mut out);
        assert_eq!(out, b"42 3\na\nb42 2\nc\n");
    }
}
