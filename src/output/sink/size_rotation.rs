//! When a file is rolled by its size, and what becomes of its predecessors.
//!
//! The decision is pure; it is Circus's: a file is rolled before a line that would bring it to `max_bytes`, and a time
//! prefix is not counted as part of that line. It falls between lines, so a line is never split over two files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use memchr::{memchr, memrchr};
use serde::{Deserialize, Serialize};

use crate::output::sink::keeping::COMPRESSED;

/// `max_bytes` and `backup_count`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SizeRotation {
    /// The size that a file does not reach; 0: it grows for ever.
    pub(crate) max_bytes: u64,
    /// How many old files are kept; 0: the file is emptied.
    pub(crate) backup_count: u64,
}

/// What to do next with bytes that are to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Write that many.
    Write(usize),
    /// Rotate the file first.
    Rotate,
}

impl SizeRotation {
    /// The next step with `lines` for a file of `size` bytes. `mid_line`: the file's last line has no end yet, so what
    /// belongs to it goes behind it. `uncounted`: the length of each line's prefix.
    pub(crate) fn step(&self, size: u64, mid_line: bool, lines: &[u8], uncounted: usize) -> Step {
        if self.max_bytes == 0 {
            return Step::Write(lines.len());
        }
        if mid_line {
            return Step::Write(first_line(lines));
        }
        let fitting = if uncounted == 0 {
            fit_plain(self.max_bytes.saturating_sub(size), lines)
        } else {
            fit_stamped(self.max_bytes, size, lines, uncounted)
        };
        match fitting {
            // A line that no file can hold gets one of its own; an empty file is not worth keeping.
            0 if size == 0 => Step::Write(first_line(lines)),
            0 => Step::Rotate,
            some => Step::Write(some),
        }
    }
}

/// How much of `lines` belongs to the line that a file ends in.
pub(crate) fn first_line(lines: &[u8]) -> usize {
    memchr(b'\n', lines).map_or(lines.len(), |end| end + 1)
}

/// How many bytes of whole lines stay below `room`.
fn fit_plain(room: u64, lines: &[u8]) -> usize {
    let most = usize::try_from(room.saturating_sub(1)).unwrap_or(usize::MAX);
    match lines.get(..most) {
        None => lines.len(),
        Some(head) if head.len() == lines.len() => head.len(),
        Some(head) => memrchr(b'\n', head).map_or(0, |last| last + 1),
    }
}

fn fit_stamped(max_bytes: u64, size: u64, lines: &[u8], uncounted: usize) -> usize {
    let mut fitting = 0;
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        if size + (fitting + line.len().saturating_sub(uncounted)) as u64 >= max_bytes {
            break;
        }
        fitting += line.len();
    }
    fitting
}

/// Renames `file.1` to `file.2` and so on and `file` to `file.1`; what was `file.count` is replaced. Compressed ones keep
/// their ending.
pub(crate) fn shift_backups(path: &Path, count: u64, compressed: bool) -> io::Result<()> {
    let endings: &[&str] = if compressed { &["", COMPRESSED] } else { &[""] };
    let is_there = |number| endings.iter().any(|ending| fs::symlink_metadata(backup(path, number, ending)).is_ok());
    // A gap in the row ends it: what stands behind the gap need not move. It also keeps a backup_count of a milliard
    // from costing anything.
    let mut last = 1;
    while last < count && is_there(last) {
        last += 1;
    }
    for number in (1..last).rev() {
        for ending in endings {
            rename_or_remove(&backup(path, number, ending), &backup(path, number + 1, ending))?;
        }
    }
    for ending in endings.iter().skip(1) {
        remove(&backup(path, 1, ending))?;
    }
    rename(path, &backup(path, 1, ""))
}

/// `to` becomes `from`, also where that does not exist: of the two endings of a number, one is there.
fn rename_or_remove(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => remove(to),
        other => other,
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Another program may have moved the file away meanwhile: then there is nothing to keep.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn backup(path: &Path, number: u64, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}{ending}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(max_bytes: u64) -> SizeRotation {
        SizeRotation { max_bytes, backup_count: 1 }
    }

    #[test]
    fn a_file_is_rolled_before_the_line_that_would_bring_it_to_max_bytes() {
        assert_eq!(at(25).step(10, false, b"abcdefghi\n", 0), Step::Write(10));
        assert_eq!(at(25).step(20, false, b"abcdefghi\n", 0), Step::Rotate);
        assert_eq!(at(20).step(10, false, b"abcdefghi\n", 0), Step::Rotate);
        assert_eq!(at(21).step(10, false, b"abcdefghi\n", 0), Step::Write(10));
        assert_eq!(SizeRotation::default().step(1 << 40, false, b"abc\n", 0), Step::Write(4));
    }

    #[test]
    fn a_block_is_cut_between_two_lines() {
        assert_eq!(at(25).step(0, false, b"abcdefghi\nabcdefghi\nabcdefghi\n", 0), Step::Write(20));
    }

    #[test]
    fn a_line_longer_than_a_file_gets_a_file_of_its_own() {
        assert_eq!(at(5).step(3, false, b"abcdefghi\na\n", 0), Step::Rotate);
        assert_eq!(at(5).step(0, false, b"abcdefghi\na\n", 0), Step::Write(10));
    }

    #[test]
    fn the_rest_of_a_line_stays_with_its_beginning() {
        assert_eq!(at(5).step(9, true, b"end\nnext\n", 0), Step::Write(4));
        assert_eq!(at(5).step(9, true, b"more", 0), Step::Write(4));
    }

    #[test]
    fn a_prefix_is_not_counted_as_part_of_the_line() {
        assert_eq!(at(24).step(13, false, b"2024 [7] | abcdefghi\n", 11), Step::Write(21));
        assert_eq!(at(23).step(13, false, b"2024 [7] | abcdefghi\n", 11), Step::Rotate);
    }

    #[test]
    fn backups_move_up_by_one_and_the_last_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for (name, text) in [("log", "now"), ("log.1", "one"), ("log.2", "two")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        shift_backups(&path, 2, false).unwrap();
        assert!(!path.exists());
        assert_eq!(fs::read_to_string(backup(&path, 1, "")).unwrap(), "now");
        assert_eq!(fs::read_to_string(backup(&path, 2, "")).unwrap(), "one");
        assert!(!backup(&path, 3, "").exists());
    }

    #[test]
    fn compressed_backups_move_up_too_and_no_number_has_two() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let shift = || {
            fs::write(&path, "now").unwrap();
            shift_backups(&path, 3, true).unwrap();
            let mut names: Vec<String> = fs::read_dir(folder.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(shift(), ["log.1"]);
        fs::rename(backup(&path, 1, ""), backup(&path, 1, ".gz")).unwrap();
        assert_eq!(shift(), ["log.1", "log.2.gz"]);
        assert_eq!(shift(), ["log.1", "log.2", "log.3.gz"]);
        assert_eq!(shift(), ["log.1", "log.2", "log.3"], "the compressed one is replaced by one that is not");
    }

    #[test]
    fn a_file_that_was_moved_away_needs_no_renaming() {
        let folder = tempfile::tempdir().unwrap();
        shift_backups(&folder.path().join("log"), u64::MAX, false).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    proptest! {
        #[test]
        fn files_stay_below_max_bytes_or_pass_it_by_less_than_their_last_line(
            lines in prop::collection::vec(0usize..30, 1..40), max_bytes in 1u64..100, prefix in 0usize..5,
        ) {
            let block: Vec<u8> = lines.iter().flat_map(|n| [vec![b'x'; n + prefix], b"\n".to_vec()].concat()).collect();
            let (mut rest, mut size, mut rolled) = (&block[..], 0, true);
            while !rest.is_empty() {
                match at(max_bytes).step(size, false, rest, prefix) {
                    Step::Write(length) => {
                        prop_assert!(length > 0 && rest[length - 1] == b'\n');
                        let last = rest[..length - 1].iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
                        size += length as u64;
                        prop_assert!(size < max_bytes + last as u64);
                        (rest, rolled) = (&rest[length..], false);
                    }
                    Step::Rotate => {
                        prop_assert!(!rolled, "an empty file is rolled");
                        (size, rolled) = (0, true);
                    }
                }
            }
        }

        #[test]
        fn both_ways_of_counting_agree_where_there_is_no_prefix(
            text in "[a\n]{0,60}", max_bytes in 1u64..80, size in 0u64..80,
        ) {
            let plain = fit_plain(max_bytes.saturating_sub(size), text.as_bytes());
            prop_assert_eq!(plain, fit_stamped(max_bytes, size, text.as_bytes(), 0));
        }
    }
}
