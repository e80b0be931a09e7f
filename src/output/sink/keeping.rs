//! Which rotated files stay: `backup_count`, `max_total` and `max_age`, so that logs cannot fill a disk.
//!
//! The files that belong to a log are known by their names: `FILE.N` of a rotation by size, `FILE.TIME` and `FILE.TIME.N`
//! of one by time, each with `.gz` where they are compressed. Files of other names are never touched.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use circus_core::config::options::Keeping;

use crate::output::sink::dated_backup;
use crate::output::sink::rotation_policy::{Rotation, RotationPolicy};
use crate::output::sink::size_rotation::SizeRotation;

/// What a compressed file ends in.
pub(crate) const COMPRESSED: &str = ".gz";

/// A rotated file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backup {
    pub(crate) name: OsString,
    /// The less, the newer.
    order: (u64, u64),
    pub(crate) bytes: u64,
    pub(crate) written: SystemTime,
}

impl Backup {
    pub(crate) fn is_compressed(&self) -> bool {
        self.name.as_encoded_bytes().ends_with(COMPRESSED.as_bytes())
    }
}

/// The most that the file itself grows to where it may use so much with all that is kept of it.
pub(crate) fn share_of_file(max_total: u64) -> u64 {
    (max_total / 2).max(1)
}

/// What is left of `max_total` for rotated files.
fn room(policy: &RotationPolicy) -> Option<u64> {
    let Keeping { max_total, .. } = policy.keeping;
    let grows_to = match policy.rotation {
        Rotation::BySize(SizeRotation { max_bytes, .. }) => max_bytes.min(share_of_file(max_total)),
        Rotation::ByTime(_) | Rotation::Never => share_of_file(max_total),
    };
    (max_total > 0).then(|| max_total - grows_to.min(max_total))
}

/// How many of these files, the newest first, stay.
pub(crate) fn kept(backups: &[Backup], count: Option<u64>, room: Option<u64>, age: Duration, now: SystemTime) -> usize {
    let mut used: u64 = 0;
    let stays = |(at, backup): &(usize, &Backup)| {
        used = used.saturating_add(backup.bytes);
        let is_old = now.duration_since(backup.written).is_ok_and(|elapsed| elapsed > age);
        count.is_none_or(|count| (*at as u64) < count)
            && room.is_none_or(|room| used <= room)
            && (age.is_zero() || !is_old)
    };
    backups.iter().enumerate().take_while(stays).count()
}

/// The rotated files of `path`, the newest first.
pub(crate) fn backups(path: &Path, policy: &RotationPolicy) -> io::Result<Vec<Backup>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
    let order = |suffix: &[u8]| -> Option<(u64, u64)> {
        let plain = suffix.strip_suffix(COMPRESSED.as_bytes());
        let plain = if policy.keeping.compress { plain.unwrap_or(suffix) } else { suffix };
        match policy.rotation {
            Rotation::Never => None,
            Rotation::BySize(_) => Some((number(plain.strip_prefix(b".")?)?, 0)),
            Rotation::ByTime(schedule) => {
                let (time, count) = dated_backup::age(plain, schedule.digits())?;
                Some((u64::MAX - time, u64::MAX - count))
            }
        }
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        let file = entry.file_name();
        let suffix = file.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
        let Some(order) = suffix.and_then(order) else { continue };
        let Ok(data) = fs::symlink_metadata(entry.path()) else { continue };
        if data.is_file() {
            let written = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            found.push(Backup { name: file, order, bytes: data.len(), written });
        }
    }
    found.sort_unstable_by(|a, b| (a.order, &a.name).cmp(&(b.order, &b.name)));
    Ok(found)
}

/// A number as circusd writes it.
fn number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    let is_ours = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    is_ours.then(|| text.parse().ok()).flatten()
}

/// Removes the rotated files of `path` that need not stay.
pub(crate) fn remove_surplus(path: &Path, policy: &RotationPolicy, now: SystemTime) -> io::Result<()> {
    let count = match policy.rotation {
        // Those that are too many have been replaced by the rotation itself.
        Rotation::Never | Rotation::BySize(_) => None,
        Rotation::ByTime(schedule) => Some(schedule.backup_count).filter(|count| *count > 0),
    };
    let Keeping { max_age, .. } = policy.keeping;
    let backups = backups(path, policy)?;
    let kept = kept(&backups, count, room(policy), max_age, now);
    for backup in backups.get(kept..).unwrap_or_default() {
        match fs::remove_file(path.with_file_name(&backup.name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) | Ok(()) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup(bytes: u64, age: u64) -> Backup {
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1000 - age);
        Backup { name: OsString::new(), order: (0, 0), bytes, written }
    }

    fn count_of(backups: &[Backup], count: Option<u64>, room: Option<u64>, age: u64) -> usize {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        kept(backups, count, room, Duration::from_secs(age), now)
    }

    #[test]
    fn newest_stay_as_far_as_number_room_and_age_go() {
        let backups = [backup(10, 1), backup(10, 5), backup(30, 9), backup(1, 10)];
        assert_eq!(count_of(&backups, None, None, 0), 4);
        assert_eq!(count_of(&backups, Some(2), None, 0), 2);
        assert_eq!(count_of(&backups, None, Some(20), 0), 2);
        assert_eq!(count_of(&backups, None, Some(25), 0), 2, "what is behind one that does not fit goes too");
        assert_eq!(count_of(&backups, None, Some(9), 0), 0);
        assert_eq!(count_of(&backups, None, None, 8), 2);
        assert_eq!(count_of(&backups, Some(3), Some(50), 4), 1);
    }

    #[test]
    fn file_of_the_future_is_not_old() {
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(5000);
        let future = Backup { written, ..backup(1, 0) };
        assert_eq!(count_of(&[future], None, None, 1), 1);
    }

    #[test]
    fn only_names_that_a_rotation_gives_are_ours() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["log", "log.1", "log.2.gz", "log.10", "log.01", "log.+1", "log.1.gz.tmp", "blog.1", "log.old", "log.3.xz"]
        {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let rotation = Rotation::BySize(SizeRotation { max_bytes: 5, backup_count: 9 });
        let names = |compress| -> Vec<String> {
            let keeping = Keeping { compress, ..Keeping::default() };
            let policy = RotationPolicy { rotation, keeping, ..RotationPolicy::default() };
            let found = backups(&folder.path().join("log"), &policy).unwrap();
            found.into_iter().map(|backup| backup.name.into_string().unwrap()).collect()
        };
        assert_eq!(names(true), ["log.1", "log.2.gz", "log.10"]);
        assert_eq!(names(false), ["log.1", "log.10"], "what another program has compressed is not ours");
    }
}
