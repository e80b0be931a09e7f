//! FileStream, WatchedFileStream, TimedRotatingFileStream: a regular file that is appended to, watched, and rolled by
//! size or time.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use circus_core::config::options::Keeping;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::arbiter::Mono;
use crate::output::Message;
use crate::output::saved::SavedSink;
use crate::output::sink::compress::Compressing;
use crate::output::sink::dated_backup::{delete_oldest, move_aside};
use crate::output::sink::interface::{Clocks, Lines, Sink, SinkState, Stop, Written};
use crate::output::sink::keeping::{remove_surplus, share_of_file};
use crate::output::sink::rotation_policy::{Rotation, RotationPolicy};
use crate::output::sink::size_rotation::{SizeRotation, Step, first_line, shift_backups};
use crate::output::sink::time_rotation::TimeRotation;
use circus_sys::{open_for_append, pin};

/// After a failed rotation the file grows on for so long.
const ROLL_AGAIN: Duration = Duration::from_secs(60);

/// Old files are looked for so often while something is written, so that a log that is never full ages too.
const LOOK_FOR_OLD: Duration = Duration::from_secs(60 * 60);

/// A file that cannot be opened again is logged so often, and at once where it could be opened meanwhile: this limit is
/// forgotten then, as those of `Throttle` are not.
const LOG_AGAIN: Duration = Duration::from_secs(60);

/// A log file.
#[derive(Debug)]
pub(crate) struct LogFile {
    named: PathBuf,
    real: PathBuf,
    file: File,
    policy: RotationPolicy,
    /// When it is rolled by time.
    deadline: Option<Timestamp>,
    /// The last byte written was no newline.
    mid_line: bool,
    roll_not_before: Option<Mono>,
    lost_not_before: Option<Mono>,
    /// When rotated files that are too old are looked for again.
    look_for_old_at: Option<Mono>,
    compressing: Compressing,
}

/// What a log file knows, without its descriptor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedLogFile {
    named: PathBuf,
    real: PathBuf,
    policy: RotationPolicy,
    deadline: Option<Timestamp>,
    mid_line: bool,
    roll_not_before: Option<Mono>,
    lost_not_before: Option<Mono>,
}

impl SavedLogFile {
    pub(crate) fn restore(self, fd: OwnedFd) -> LogFile {
        let Self { named, real, policy, deadline, mid_line, roll_not_before, lost_not_before } = self;
        let new = LogFile::new(named, real, fd.into());
        LogFile { policy, deadline, mid_line, roll_not_before, lost_not_before, ..new }
    }
}

impl LogFile {
    /// `named` is the configured name, `real` the one without links, which rotation works on.
    pub(crate) fn new(named: PathBuf, real: PathBuf, file: File) -> Self {
        Self {
            named,
            real,
            file,
            policy: RotationPolicy::default(),
            deadline: None,
            mid_line: false,
            roll_not_before: None,
            lost_not_before: None,
            look_for_old_at: None,
            compressing: Compressing::default(),
        }
    }

    fn step(&mut self, lines: Lines<'_>, now: Clocks) -> io::Result<Step> {
        let resting = self.roll_not_before.is_some_and(|then| now.mono < then);
        match self.policy.rotation {
            Rotation::BySize(rotation) if !resting => {
                // Asked of the file and not counted here: others may append to it or empty it.
                let size = self.file.metadata()?.len();
                Ok(rotation.step(size, self.mid_line, lines.bytes, lines.uncounted))
            }
            Rotation::ByTime(schedule) if !resting => {
                let deadline = self.deadline(schedule)?;
                let step = TimeRotation::step(deadline, now.wall, self.mid_line, lines.bytes);
                let max_total = self.policy.keeping.max_total;
                if step == Step::Rotate || max_total == 0 {
                    return Ok(step);
                }
                // Its time is not over, but it would leave no room for what went before.
                let size = self.file.metadata()?.len();
                let bound = SizeRotation { max_bytes: share_of_file(max_total), backup_count: 0 };
                Ok(bound.step(size, self.mid_line, lines.bytes, lines.uncounted))
            }
            // If it was moved away, the rest of its last line goes with it.
            Rotation::Never | Rotation::BySize(_) | Rotation::ByTime(_) if self.policy.watched && self.mid_line => {
                Ok(Step::Write(first_line(lines.bytes)))
            }
            Rotation::Never | Rotation::BySize(_) | Rotation::ByTime(_) => Ok(Step::Write(lines.bytes.len())),
        }
    }

    /// A file that was here before this circusd counts from when it began, so that restarts do not put a rotation off.
    fn deadline(&mut self, schedule: TimeRotation) -> io::Result<Timestamp> {
        if let Some(deadline) = self.deadline {
            return Ok(deadline);
        }
        let begun = begun(&self.file.metadata()?);
        Ok(*self.deadline.insert(schedule.deadline(begun, &schedule.zone())))
    }

    fn advance(&mut self, lines: Lines<'_>, now: Clocks, messages: &mut Vec<Message>) -> io::Result<usize> {
        let length = match self.step(lines, now)? {
            Step::Write(length) => length,
            Step::Rotate => {
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

    /// A rotation that fails loses no line: the file grows on instead.
    fn roll(&mut self, now: Clocks, messages: &mut Vec<Message>) {
        let rolled = match self.policy.rotation {
            Rotation::Never => Ok(()),
            Rotation::BySize(rotation) => self.roll_by_size(rotation),
            Rotation::ByTime(schedule) => self.roll_by_time(schedule, now, messages),
        };
        self.roll_not_before = rolled.err().map(|error| {
            messages
                .push(Message::Warning(format!("cannot rotate '{}', it keeps growing: {error}", self.real.display())));
            now.mono.after(ROLL_AGAIN)
        });
        self.tidy(now, messages);
    }

    /// Removes rotated files that need not stay, and has the others compressed.
    fn tidy(&mut self, now: Clocks, messages: &mut Vec<Message>) {
        let keeping = self.policy.keeping;
        self.look_for_old_at = (!keeping.max_age.is_zero()).then(|| now.mono.after(LOOK_FOR_OLD));
        if let Some(error) = self.compressing.take_failure() {
            let text = format!("cannot compress old files of '{}': {error}", self.real.display());
            messages.push(Message::Warning(text));
        }
        if keeping != Keeping::default() {
            let _names = self.compressing.hold_names();
            let removed =
                pin(&self.real).and_then(|pinned| remove_surplus(&pinned.path(), &self.policy, now.wall.into()));
            if let Err(error) = removed {
                let text = format!("cannot remove old files of '{}': {error}", self.real.display());
                messages.push(Message::Warning(text));
            }
        }
        if keeping.compress {
            self.compressing.begin(&self.real, self.policy);
        }
    }

    fn roll_by_size(&mut self, rotation: SizeRotation) -> io::Result<()> {
        match rotation.backup_count {
            0 => self.file.set_len(0),
            count => {
                {
                    let _names = self.compressing.hold_names();
                    shift_backups(&pin(&self.real)?.path(), count, self.policy.keeping.compress)?;
                }
                self.reopen()
            }
        }
    }

    fn roll_by_time(&mut self, schedule: TimeRotation, now: Clocks, messages: &mut Vec<Message>) -> io::Result<()> {
        let zone = schedule.zone();
        let suffix = schedule.suffix(self.deadline(schedule)?, &zone);
        // The directory stays the same one to the end, whatever is done to its name meanwhile.
        let pinned = pin(&self.real)?;
        {
            let _names = self.compressing.hold_names();
            move_aside(&pinned.path(), &suffix)?;
        }
        self.reopen()?;
        let is_over = self.deadline.is_none_or(|deadline| deadline <= now.wall);
        if is_over {
            self.deadline = Some(schedule.deadline(now.wall, &zone));
        }
        let keeps_count = schedule.backup_count > 0 && !self.policy.keeping.compress;
        if keeps_count && let Err(error) = delete_oldest(&pinned.path(), schedule.digits(), schedule.backup_count) {
            let text = format!("cannot delete old files of '{}': {error}", self.real.display());
            messages.push(Message::Warning(text));
        }
        Ok(())
    }

    /// Another program may have moved the file away, or removed it.
    fn look_again(&mut self, now: Clocks, messages: &mut Vec<Message>) {
        let open = self.file.metadata().ok().as_ref().map(identity);
        if fs::metadata(&self.named).is_ok_and(|found| Some(identity(&found)) == open) {
            return;
        }
        let Err(error) = self.reopen() else {
            self.lost_not_before = None;
            return;
        };
        if self.lost_not_before.is_none_or(|then| then <= now.mono) {
            self.lost_not_before = Some(now.mono.after(LOG_AGAIN));
            let name = self.named.display();
            let text =
                format!("'{name}' was moved away and cannot be opened again, writing on to the old file: {error}");
            messages.push(Message::Warning(text));
        }
    }
}

impl Sink for LogFile {
    fn write(&mut self, lines: Lines<'_>, now: Clocks, messages: &mut Vec<Message>) -> Written {
        let mut bytes = 0;
        if self.look_for_old_at.is_some_and(|then| then <= now.mono) {
            self.tidy(now, messages);
        }
        let mut looked = !self.policy.watched;
        while let Some(rest) = lines.bytes.get(bytes..).filter(|rest| !rest.is_empty()) {
            if !looked && !self.mid_line {
                self.look_again(now, messages);
                looked = true;
            }
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
            return Err(io::Error::other("it is no longer a regular file"));
        }
        if identity(&found) != identity(&self.file.metadata()?) {
            self.mid_line = false;
        }
        (self.file, self.real) = (place.file, place.real);
        Ok(())
    }

    fn save(&self) -> SavedSink {
        SavedSink::File(SavedLogFile {
            named: self.named.clone(),
            real: self.real.clone(),
            policy: self.policy,
            deadline: self.deadline,
            mid_line: self.mid_line,
            roll_not_before: self.roll_not_before,
            lost_not_before: self.lost_not_before,
        })
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn state(&self) -> SinkState {
        let file = self.file.metadata().ok().as_ref().map(identity);
        SinkState { rotation: self.policy.rotation, deadline: self.deadline, file, mid_line: self.mid_line }
    }

    fn follow(&mut self, older: SinkState) {
        let same = older.file == self.state().file;
        self.mid_line = older.mid_line && same;
        self.policy.rotation = older.rotation;
        self.deadline = older.deadline.filter(|_| same);
    }

    fn set_policy(&mut self, policy: RotationPolicy) {
        if policy.rotation != self.policy.rotation {
            self.deadline = None;
            self.roll_not_before = None;
        }
        if policy.keeping != self.policy.keeping {
            self.look_for_old_at = (!policy.keeping.max_age.is_zero()).then_some(Mono(0));
        }
        self.policy = policy;
    }
}

/// When a file began: its birth time, where the file system stores it. A copy that kept its time is as old as its last
/// line.
fn begun(found: &Metadata) -> Timestamp {
    let written = Timestamp::from_second(found.mtime()).unwrap_or(Timestamp::UNIX_EPOCH);
    let born = found.created().ok().and_then(|born| Timestamp::try_from(born).ok());
    born.map_or(written, |born| born.min(written))
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::options::RotateWhen;

    fn kept(path: &Path, policy: RotationPolicy) -> LogFile {
        let place = open_for_append(path).unwrap();
        let mut log = LogFile::new(path.to_path_buf(), place.real, place.file);
        log.set_policy(policy);
        log
    }

    fn log(path: &Path, max_bytes: u64, backup_count: u64) -> LogFile {
        kept(
            path,
            RotationPolicy {
                rotation: Rotation::BySize(SizeRotation { max_bytes, backup_count }),
                ..RotationPolicy::default()
            },
        )
    }

    fn watched(path: &Path) -> LogFile {
        kept(path, RotationPolicy { watched: true, ..RotationPolicy::default() })
    }

    fn timed(path: &Path, when: RotateWhen, backup_count: u64) -> LogFile {
        let schedule = TimeRotation { when, interval: 1, utc: true, backup_count };
        kept(path, RotationPolicy { rotation: Rotation::ByTime(schedule), ..RotationPolicy::default() })
    }
    fn put_at(log: &mut LogFile, wall: Timestamp, text: &str, uncounted: usize) -> Vec<Message> {
        let now = Clocks { mono: Mono(0), wall };
        let mut messages = Vec::new();
        let written = log.write(Lines { bytes: text.as_bytes(), uncounted }, now, &mut messages);
        assert!(written.stop.is_none(), "{written:?}");
        assert_eq!(written.bytes, text.len());
        messages
    }

    fn put(log: &mut LogFile, text: &str, uncounted: usize) {
        assert_eq!(put_at(log, Timestamp::UNIX_EPOCH, text, uncounted), []);
    }

    /// Writes at a time, without anything to complain of.
    fn put_when(log: &mut LogFile, wall: &str, text: &str) {
        assert_eq!(put_at(log, wall.parse().unwrap(), text, 0), []);
    }

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    /// A file whose last line is of this time.
    fn written_at(path: &Path, text: &str, time: &str) {
        fs::write(path, text).unwrap();
        let time = std::time::SystemTime::from(time.parse::<Timestamp>().unwrap());
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
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

    fn bounded(path: &Path, rotation: Rotation, keeping: Keeping) -> LogFile {
        kept(path, RotationPolicy { rotation, keeping, ..RotationPolicy::default() })
    }

    fn total(folder: &Path) -> u64 {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    }

    #[test]
    fn all_files_together_stay_below_max_total() {
        let folder = tempfile::tempdir().unwrap();
        let keeping = Keeping { max_total: 100, ..Keeping::default() };
        let by_size = Rotation::BySize(SizeRotation { max_bytes: 30, backup_count: u64::MAX });
        let mut log = bounded(&folder.path().join("r.log"), by_size, keeping);
        for _ in 0..50 {
            put(&mut log, "abcdefghi\n", 0);
            assert!(total(folder.path()) <= 100, "{:?}", names(folder.path()));
        }
        assert_eq!(names(folder.path()), ["r.log", "r.log.1", "r.log.2", "r.log.3"]);
    }

    #[test]
    fn file_that_is_rolled_by_time_does_not_fill_the_disk_before() {
        let folder = tempfile::tempdir().unwrap();
        let keeping = Keeping { max_total: 100, ..Keeping::default() };
        let schedule = TimeRotation { when: RotateWhen::Day, interval: 1, utc: true, backup_count: 0 };
        let path = folder.path().join("r.log");
        written_at(&path, "", "2024-02-03T04:00:00Z");
        let mut log = bounded(&path, Rotation::ByTime(schedule), keeping);
        for _ in 0..50 {
            put_when(&mut log, "2024-02-03T05:00:00Z", "abcdefghi\n");
            assert!(total(folder.path()) <= 100, "{:?}", names(folder.path()));
        }
        put_when(&mut log, "2024-02-04T05:00:00Z", "next day\n");
        assert_eq!(read(folder.path(), "r.log"), "next day\n");
        let names = names(folder.path());
        assert!(names.len() > 1 && names.iter().skip(1).all(|name| name.starts_with("r.log.20240203")), "{names:?}");
    }

    #[test]
    fn rotated_files_that_are_too_old_go_also_where_nothing_is_rolled() {
        let folder = tempfile::tempdir().unwrap();
        let day = Duration::from_secs(24 * 60 * 60);
        let by_size = Rotation::BySize(SizeRotation { max_bytes: 1000, backup_count: 9 });
        written_at(&folder.path().join("r.log.1"), "one", "2024-02-03T00:00:00Z");
        written_at(&folder.path().join("r.log.2"), "two", "2024-02-01T00:00:00Z");
        written_at(&folder.path().join("r.log.old"), "another's", "2020-01-01T00:00:00Z");
        let keeping = Keeping { max_age: 2 * day, ..Keeping::default() };
        let mut log = bounded(&folder.path().join("r.log"), by_size, keeping);
        put_when(&mut log, "2024-02-04T00:00:00Z", "x\n");
        assert_eq!(names(folder.path()), ["r.log", "r.log.1", "r.log.old"]);
        // It is looked at again after an hour.
        let now = |hours: u64| Clocks {
            mono: Mono(0).after(Duration::from_secs(hours * 3600)),
            wall: "2024-02-09T00:00:00Z".parse().unwrap(),
        };
        log.write(Lines { bytes: b"y\n", uncounted: 0 }, now(0), &mut Vec::new());
        assert_eq!(names(folder.path()).len(), 3);
        log.write(Lines { bytes: b"z\n", uncounted: 0 }, now(1), &mut Vec::new());
        assert_eq!(names(folder.path()), ["r.log", "r.log.old"]);
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
    fn a_watched_file_is_opened_again_when_it_was_moved_or_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.log");
        let mut log = watched(&path);
        put(&mut log, "one\n", 0);
        fs::rename(&path, folder.path().join("w.old")).unwrap();
        put(&mut log, "two\n", 0);
        assert_eq!((read(folder.path(), "w.old"), read(folder.path(), "w.log")), ("one\n".into(), "two\n".into()));
        fs::remove_file(&path).unwrap();
        put(&mut log, "three\n", 0);
        assert_eq!(read(folder.path(), "w.log"), "three\n");
    }

    #[test]
    fn the_rest_of_a_line_stays_in_the_file_that_was_moved_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.log");
        let mut log = watched(&path);
        put(&mut log, "begin", 0);
        fs::rename(&path, folder.path().join("w.old")).unwrap();
        put(&mut log, " and end\nnext\n", 0);
        assert_eq!(read(folder.path(), "w.old"), "begin and end\n");
        assert_eq!(read(folder.path(), "w.log"), "next\n");
    }

    #[test]
    fn a_watched_file_that_cannot_be_opened_again_is_spoken_of_once() {
        let folder = tempfile::tempdir().unwrap();
        let sub = folder.path().join("sub");
        fs::create_dir(&sub).unwrap();
        let mut log = watched(&sub.join("w.log"));
        fs::rename(&sub, folder.path().join("gone")).unwrap();
        let said = put_at(&mut log, Timestamp::UNIX_EPOCH, "one\n", 0);
        assert!(
            matches!(&said[..], [Message::Warning(text)] if text.contains("writing on to the old file")),
            "{said:?}"
        );
        put(&mut log, "two\n", 0);
        assert_eq!(read(folder.path(), "gone/w.log"), "one\ntwo\n");
        fs::create_dir(&sub).unwrap();
        put(&mut log, "three\n", 0);
        assert_eq!(read(folder.path(), "sub/w.log"), "three\n");
    }

    #[test]
    fn a_file_is_rolled_by_time_and_named_after_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.log");
        written_at(&path, "found\n", "2024-02-03T10:00:00Z");
        let mut log = timed(&path, RotateWhen::Midnight, 2);
        put_when(&mut log, "2024-02-03T23:59:59.9Z", "saturday\n");
        put_when(&mut log, "2024-02-04T00:00:00Z", "sunday\n");
        put_when(&mut log, "2024-02-04T23:00:00Z", "sunday evening\n");
        // Nothing was said on Monday.
        put_when(&mut log, "2024-02-06T12:00:00Z", "tuesday\n");
        put_when(&mut log, "2024-02-07T12:00:00Z", "wednesday\n");
        assert_eq!(names(folder.path()), ["t.log", "t.log.20240204", "t.log.20240206"]);
        assert_eq!(read(folder.path(), "t.log.20240204"), "sunday\nsunday evening\n");
        assert_eq!(read(folder.path(), "t.log"), "wednesday\n");
    }

    #[test]
    fn a_line_that_was_begun_before_the_deadline_ends_in_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.log");
        written_at(&path, "", "2024-02-03T10:00:00Z");
        let mut log = timed(&path, RotateWhen::Second, 0);
        put_when(&mut log, "2024-02-03T10:00:00.5Z", "begin");
        put_when(&mut log, "2024-02-03T10:00:05Z", " and end\nnext\n");
        assert_eq!(read(folder.path(), "t.log.20240203100000"), "begin and end\n");
        assert_eq!(read(folder.path(), "t.log"), "next\n");
    }

    #[test]
    fn a_restart_does_not_put_a_rotation_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.log");
        fs::write(&path, "begun\n").unwrap();
        let Ok(born) = fs::metadata(&path).unwrap().created() else { return };
        // A later line, just before circusd was started again.
        File::options().append(true).open(&path).unwrap().set_modified(born + Duration::from_secs(3000)).unwrap();
        let mut log = timed(&path, RotateWhen::Hour, 0);
        let next = Timestamp::try_from(born).unwrap() + Duration::from_secs(3700);
        put_at(&mut log, next, "next\n", 0);
        assert_eq!(read(folder.path(), "t.log"), "next\n");
    }

    #[test]
    fn a_rotation_by_time_that_fails_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let sub = folder.path().join("sub");
        fs::create_dir(&sub).unwrap();
        written_at(&sub.join("t.log"), "", "2024-02-03T10:00:00Z");
        let mut log = timed(&sub.join("t.log"), RotateWhen::Hour, 1);
        fs::rename(&sub, folder.path().join("gone")).unwrap();
        let said = put_at(&mut log, "2024-02-03T12:00:00Z".parse().unwrap(), "one\n", 0);
        assert!(matches!(&said[..], [Message::Warning(text)] if text.contains("it keeps growing")), "{said:?}");
        put_when(&mut log, "2024-02-03T12:00:01Z", "two\n");
        assert_eq!(read(folder.path(), "gone/t.log"), "one\ntwo\n");
    }

    #[test]
    fn a_deadline_goes_on_in_the_medium_that_follows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.log");
        written_at(&path, "", "2024-02-03T10:00:00Z");
        let mut older = timed(&path, RotateWhen::Hour, 0);
        put_when(&mut older, "2024-02-03T10:59:00Z", "one\n");
        let place = open_for_append(&path).unwrap();
        let mut newer = LogFile::new(path.clone(), place.real, place.file);
        newer.follow(older.state());
        newer.set_policy(older.policy);
        put_when(&mut newer, "2024-02-03T11:00:00Z", "two\n");
        assert_eq!(read(folder.path(), "t.log.2024020310"), "one\n");
        newer.set_policy(RotationPolicy::default());
        put_when(&mut newer, "2024-02-09T11:00:00Z", "three\n");
        assert_eq!(read(folder.path(), "t.log"), "two\nthree\n");
    }
}
