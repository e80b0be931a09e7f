//! What hooks print, as lines for the log.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};

use crate::arbiter::Now;

/// Read at once, so that a flood keeps nobody waiting.
const PORTION: usize = 64 * 1024;
/// A longer line is cut.
const LONGEST: usize = 4096;
/// So many lines a second of one hook are logged.
const LINES_A_SECOND: u32 = 200;
/// More than this is not kept of what a hook answers on its standard output.
const MOST_KEPT: usize = 1024 * 1024;

/// A pipe that a hook prints into.
#[derive(Debug)]
pub(super) struct LineReader {
    pipe: File,
    rest: Vec<u8>,
    second: u64,
    left: u32,
    dropped: u64,
}

/// What was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) lines: Vec<String>,
    /// Whether there may be more.
    pub(super) more: bool,
    /// Whether the other end is closed.
    pub(super) ended: bool,
}

impl LineReader {
    /// Of a pipe that does not block.
    pub(super) fn new(pipe: OwnedFd) -> Self {
        Self { pipe: File::from(pipe), rest: Vec::new(), second: 0, left: LINES_A_SECOND, dropped: 0 }
    }

    pub(super) fn fd(&self) -> RawFd {
        self.pipe.as_raw_fd()
    }

    /// Reads what is there, up to a limit.
    pub(super) fn read(&mut self, now: Now) -> Chunk {
        let mut portion = read(&mut self.pipe, &mut self.rest);
        let mut lines = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n').or(self.overlong()) {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.take(&line, now, &mut lines);
        }
        if portion.ended && !self.rest.is_empty() {
            let line = std::mem::take(&mut self.rest);
            self.take(&line, now, &mut lines);
        }
        if portion.ended && self.dropped > 0 {
            lines.push(format!("({} more lines)", std::mem::take(&mut self.dropped)));
        }
        portion.lines = lines;
        portion
    }

    fn overlong(&self) -> Option<usize> {
        (self.rest.len() >= LONGEST).then_some(LONGEST - 1)
    }

    fn take(&mut self, line: &[u8], now: Now, lines: &mut Vec<String>) {
        let second = now.mono.0 / 1_000_000_000;
        if second != self.second {
            (self.second, self.left) = (second, LINES_A_SECOND);
            if self.dropped > 0 {
                lines.push(format!("({} more lines)", std::mem::take(&mut self.dropped)));
            }
        }
        match self.left.checked_sub(1) {
            None => self.dropped += 1,
            Some(left) => {
                self.left = left;
                lines.push(String::from_utf8_lossy(line).trim_end().to_owned());
            }
        }
    }
}

/// A pipe whose whole content is the answer.
#[derive(Debug)]
pub(super) struct Answer {
    pipe: File,
    text: Vec<u8>,
}

impl Answer {
    pub(super) fn new(pipe: OwnedFd) -> Self {
        Self { pipe: File::from(pipe), text: Vec::new() }
    }

    pub(super) fn fd(&self) -> RawFd {
        self.pipe.as_raw_fd()
    }

    pub(super) fn read(&mut self) -> Chunk {
        let portion = read(&mut self.pipe, &mut self.text);
        self.text.truncate(MOST_KEPT);
        portion
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }
}

/// Appends what is there, up to a portion.
fn read(pipe: &mut File, to: &mut Vec<u8>) -> Chunk {
    let mut buffer = vec![0; PORTION];
    let mut taken = 0;
    while taken < PORTION {
        match pipe.read(&mut buffer) {
            Ok(0) => return Chunk { ended: true, ..Chunk::default() },
            Ok(length) => {
                to.extend_from_slice(buffer.get(..length).unwrap_or_default());
                taken += length;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Chunk::default(),
            Err(_) => return Chunk { ended: true, ..Chunk::default() },
        }
    }
    Chunk { more: true, ..Chunk::default() }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use nix::fcntl::OFlag;
    use nix::unistd::pipe2;

    use super::*;
    use crate::arbiter::Mono;

    fn at(seconds: u64) -> Now {
        Now { mono: Mono(seconds * 1_000_000_000), unix: 0.0 }
    }

    fn pipe() -> (LineReader, File) {
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).unwrap();
        (LineReader::new(read), File::from(write))
    }

    #[test]
    fn whole_lines_and_the_last_piece() {
        let (mut lines, mut writer) = pipe();
        writer.write_all(b"one\ntw").unwrap();
        assert_eq!(lines.read(at(1)), Chunk { lines: vec!["one".into()], ..Chunk::default() });
        writer.write_all(b"o \nthr\xff").unwrap();
        drop(writer);
        let portion = Chunk { lines: vec!["two".into(), "thr\u{fffd}".into()], more: false, ended: true };
        assert_eq!(lines.read(at(1)), portion);
    }

    #[test]
    fn a_flood_is_counted() {
        let (mut lines, mut writer) = pipe();
        writer.write_all(&b"x\n".repeat(1000)).unwrap();
        assert_eq!(lines.read(at(1)).lines.len(), LINES_A_SECOND as usize);
        writer.write_all(b"y\n").unwrap();
        assert_eq!(lines.read(at(2)).lines, ["(800 more lines)", "y"]);
        writer.write_all(&b"z".repeat(10_000)).unwrap();
        assert_eq!(lines.read(at(3)).lines.iter().map(String::len).collect::<Vec<_>>(), [LONGEST, LONGEST]);
    }
}
