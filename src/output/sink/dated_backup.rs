//! Where a file goes whose time is over: `FILE.20240203`, and no further than `backup_count` of them.
//!
//! A name that is taken (the hour that clocks repeat, a clock that was set back) is not overwritten: the file becomes
//! `FILE.20240203.1`, and no line is lost.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::output::sink::keeping::COMPRESSED;

/// Renames `path` to `path.suffix`. Another program may have moved it away meanwhile: then there is nothing to keep.
pub(crate) fn move_aside(path: &Path, suffix: &str) -> io::Result<()> {
    for number in 0..u64::MAX {
        let aside = beside(path, suffix, number);
        if is_taken(&aside)? || is_taken(&compressed(&aside))? {
            continue;
        }
        return match fs::rename(path, aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// A name by which a file could be lost.
fn is_taken(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn compressed(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(COMPRESSED);
    name.into()
}

/// Deletes all but the newest `keep` of the files that stand aside with a suffix of so many digits.
pub(crate) fn delete_oldest(path: &Path, digits: usize, keep: u64) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let names = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.file_name()));
    for old in oldest(name, digits, names.collect(), keep) {
        match fs::remove_file(folder.join(old)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) | Ok(()) => {}
        }
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str, number: u64) -> PathBuf {
    let mut name = OsString::from(path);
    match number {
        0 => name.push(format!(".{suffix}")),
        number => name.push(format!(".{suffix}.{number}")),
    }
    name.into()
}

/// Those of `names` that have to go.
fn oldest(name: &OsStr, digits: usize, names: Vec<OsString>, keep: u64) -> Vec<OsString> {
    let mut ours: Vec<_> = names
        .into_iter()
        .filter_map(|found| Some((age(found.as_bytes().strip_prefix(name.as_bytes())?, digits)?, found)))
        .collect();
    ours.sort_unstable();
    let surplus = ours.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
    ours.into_iter().take(surplus).map(|(_, found)| found).collect()
}

/// The order of a file aside: its time, and its number among those of the same time.
pub(crate) fn age(suffix: &[u8], digits: usize) -> Option<(u64, u64)> {
    let mut parts = std::str::from_utf8(suffix.strip_prefix(b".")?).ok()?.split('.');
    let time = parts.next().filter(|time| time.len() == digits).and_then(number)?;
    let count = parts.next().map_or(Some(0), number)?;
    parts.next().is_none().then_some((time, count))
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surplus(names: &[&str], keep: u64) -> Vec<OsString> {
        oldest(OsStr::new("log"), 8, names.iter().map(OsString::from).collect(), keep)
    }

    #[test]
    fn the_oldest_go_and_files_of_others_stay() {
        let names = [
            "log",
            "log.20240105",
            "log.20240103.10",
            "log.20240103",
            "log.20240103.2",
            "log.1",
            "log.20240101.gz",
            "log.2024010112",
            "log.20240101.1.1",
            "blog.20240101",
            "log.2024-1-1",
            "log.+2024010",
        ];
        assert_eq!(surplus(&names, 3), ["log.20240103"]);
        assert_eq!(surplus(&names, 1), ["log.20240103", "log.20240103.2", "log.20240103.10"]);
        assert_eq!(surplus(&names, 4), [] as [&str; 0]);
    }

    #[test]
    fn a_name_that_is_taken_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for text in ["one", "two", "three"] {
            fs::write(&path, text).unwrap();
            move_aside(&path, "20241027").unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(["log.20241027", "log.20241027.1", "log.20241027.2"].map(read), ["one", "two", "three"]);
        delete_oldest(&path, 8, 2).unwrap();
        assert!(!folder.path().join("log.20241027").exists());
        assert_eq!(read("log.20241027.2"), "three");
    }

    #[test]
    fn a_file_that_was_moved_away_needs_no_renaming() {
        let folder = tempfile::tempdir().unwrap();
        move_aside(&folder.path().join("log"), "20241027").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
