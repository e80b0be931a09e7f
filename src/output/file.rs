//! FileStream: a regular file that is appended to, and rolled by size.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Message;
use super::medium::{Heritage, Lines, Medium, Now, Stop, Written};
use super::path::open_for_append;
use super::rotation::{Rotation, Step, shift_backups};

/// After a failed rotation the file grows on for so long.
const ROLL_AGAIN: Duration = Duration::from_secs(60);

/// A log file.
#[derive(Debug)]
pub(crate) struct LogFile {
    named: PathBuf,
    real: PathBuf,
    file: File,
    rotation: Rotation,
    /// The last byte written was no newline.
    mid_line: bool,
    roll_not_before: Option<Instant>,
}

impl LogFile {
    /// `named` is the configured name, `real` the one without links, which rotation works on.
    pub(crate) fn new(named: PathBuf, real: PathBuf, file: File, rotation: Rotation) -> Self {
        Self { named, real, file, rotation, mid_line: false, roll_not_before: None }
    }

    fn step(&self, lines: Lines<'_>, now: Now) -> io::Result<Step> {
        if self.rotation.max_bytes == 0 || self.roll_not_before.is_some_and(|then| now.mono < then) {
            return Ok(Step::Write(lines.bytes.len()));
        }
        // Asked of the file and not counted here: others may append to it or empty it.
        let size = self.file.metadata()?.len();
        Ok(self.rotation.step(size, self.mid_line, lines.bytes, lines.uncounted))
    }

    fn advance(&mut self, lines: Lines<'_>, now: Now, messages: &mut Vec<Message>) -> io::Result<usize> {
        let length = match self.step(lines, now)? {
            Step::Write(length) => length,
            Step::Roll => {
                self.roll(now, messages);
                return Ok(0);
            }
        };
        let written = self.file.write(lines.bytes.get(..length).unwrap_or(lines.bytes))?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.mid_line = lines.bytes.get(written - 1) != Some(&b'\n');
        Ok(written)
    }

    /// A rotation that fails loses no line: the file passes its size instead.
    fn roll(&mut self, now: Now, messages: &mut Vec<Message>) {
        let rolled = if self.rotation.backup_count == 0 {
            self.file.set_len(0)
        } else {
            shift_backups(&self.real, self.rotation.backup_count).and_then(|()| self.reopen())
        };
        self.roll_not_before = rolled.err().map(|error| {
            let path = self.real.display();
            messages.push(Message::Warning(format!("cannot rotate '{path}', it grows past max_bytes: {error}")));
            now.mono + ROLL_AGAIN
        });
    }
}

impl Medium for LogFile {
    fn write(&mut self, lines: Lines<'_>, now: Now, messages: &mut Vec<Message>) -> Written {
        let mut bytes = 0;
        while let Some(rest) = lines.bytes.get(bytes..).filter(|rest| !rest.is_empty()) {
            match self.advance(Lines { bytes: rest, ..lines }, now, messages) {
                Ok(more) => bytes += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Written { bytes, stop: Some(Stop::Failed(error)) },
            }
        }
        Written { bytes, stop: None }
    }

    fn reopen(&mut self) -> io::Result<()> {
        let place = open_for_append(&self.named)?;
        let found = place.file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::other("it is no regular file any more"));
        }
        if identity(&found) != identity(&self.file.metadata()?) {
            self.mid_line = false;
        }
        (self.file, self.real) = (place.file, place.real);
        Ok(())
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn heritage(&self) -> Heritage {
        let file = self.file.metadata().ok().as_ref().map(identity);
        Heritage { rotation: self.rotation, file, mid_line: self.mid_line }
    }

    fn follow(&mut self, older: Heritage) -> Option<String> {
        self.mid_line = older.mid_line && older.file == self.heritage().file;
        let (old, new) = (older.rotation, self.rotation);
        if new.max_bytes == 0 {
            self.rotation = old;
            return None;
        }
        (old.max_bytes != 0 && old != new).then(|| {
            format!(
                "'{}' was rolled at {} bytes with {} backups for another stream; from now on at {} bytes with {}",
                self.real.display(),
                old.max_bytes,
                old.backup_count,
                new.max_bytes,
                new.backup_count
            )
        })
    }
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn log(path: &Path, max_bytes: u64, backup_count: u64) -> LogFile {
        let place = open_for_append(path).unwrap();
        LogFile::new(path.to_path_buf(), place.real, place.file, Rotation { max_bytes, backup_count })
    }

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn put(log: &mut LogFile, text: &str, uncounted: usize) {
        let now = Now { mono: Instant::now(), wall: jiff::Timestamp::UNIX_EPOCH };
        let mut messages = Vec::new();
        let written = log.write(Lines { bytes: text.as_bytes(), uncounted }, now, &mut messages);
        assert!(written.stop.is_none() && messages.is_empty(), "{written:?} {messages:?}");
        assert_eq!(written.bytes, text.len());
    }

    fn read(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join(name)).unwrap()
    }

    #[test]
    fn nine_lines_in_files_of_two() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(&folder.path().join("r.log"), 25, 2);
        for _ in 0..9 {
            put(&mut log, "abcdefghi\n", 0);
        }
        assert_eq!(read(folder.path(), "r.log"), "abcdefghi\n");
        assert_eq!(read(folder.path(), "r.log.1"), "abcdefghi\n".repeat(2));
        assert_eq!(read(folder.path(), "r.log.2"), "abcdefghi\n".repeat(2));
        assert!(!folder.path().join("r.log.3").exists());
    }

    #[test]
    fn one_block_is_spread_over_files_as_single_lines_would_be() {
        let folder = tempfile::tempdir().unwrap();
        put(&mut log(&folder.path().join("r.log"), 25, 9), &"abcdefghi\n".repeat(5), 0);
        assert_eq!(read(folder.path(), "r.log"), "abcdefghi\n");
        assert_eq!(read(folder.path(), "r.log.1"), "abcdefghi\n".repeat(2));
        assert_eq!(read(folder.path(), "r.log.2"), "abcdefghi\n".repeat(2));
    }

    #[test]
    fn without_backups_the_file_is_emptied() {
        let folder = tempfile::tempdir().unwrap();
        put(&mut log(&folder.path().join("r.log"), 25, 0), &"abcdefghi\n".repeat(5), 0);
        assert_eq!(read(folder.path(), "r.log"), "abcdefghi\n");
        assert!(!folder.path().join("r.log.1").exists());
    }

    #[test]
    fn the_rest_of_a_line_stays_in_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(&folder.path().join("r.log"), 10, 1);
        put(&mut log, "a prompt that is long: ", 0);
        put(&mut log, "yes\nnext\n", 0);
        assert_eq!(read(folder.path(), "r.log.1"), "a prompt that is long: yes\n");
        assert_eq!(read(folder.path(), "r.log"), "next\n");
    }

    #[test]
    fn a_file_that_was_emptied_by_others_is_not_rolled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.log");
        let mut log = log(&path, 25, 1);
        put(&mut log, &"abcdefghi\n".repeat(2), 0);
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        put(&mut log, "abcdefghi\n", 0);
        assert_eq!(read(folder.path(), "r.log"), "abcdefghi\n");
        assert!(!folder.path().join("r.log.1").exists());
    }

    #[test]
    fn the_newer_rotation_holds_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.log");
        let older = log(&path, 25, 1).heritage();
        assert!(log(&path, 30, 1).follow(older).unwrap().contains("from now on at 30 bytes"));
        let mut silent = log(&path, 0, 0);
        assert_eq!(silent.follow(older), None);
        assert_eq!(silent.rotation.max_bytes, 25);
        assert_eq!(log(&path, 25, 1).follow(older), None);
    }
}
