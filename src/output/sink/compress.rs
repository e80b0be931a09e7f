//! Rotated files are compressed on a thread of their own: one for all logs, which exists while there is something to do.
//!
//! The output thread rotates meanwhile, and must not wait for it. So a file is read by its descriptor, and what it is
//! called is looked up only when the compressed one is complete: under the lock that a rotation takes, too, and by its
//! inode. A crash in between leaves `FILE.compressing`, which the next one replaces, and both files at worst.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::output::sink::keeping::{Backup, COMPRESSED, backups};
use crate::output::sink::rotation_policy::RotationPolicy;
use circus_sys::pin;

/// Taken by whatever renames the rotated files of a log.
pub(crate) type RenameLock = Arc<Mutex<()>>;

/// A log whose rotated files are to be compressed.
struct Job {
    /// The file that is written, without links.
    path: PathBuf,
    policy: RotationPolicy,
    renames: RenameLock,
    /// What went wrong, for the next that looks.
    failure: Arc<Mutex<Option<String>>>,
}

/// What is to be done, and whether a thread does it.
#[derive(Default)]
struct Work {
    jobs: VecDeque<Job>,
    runs: bool,
}

static WORK: LazyLock<Mutex<Work>> = LazyLock::new(Mutex::default);

/// A panic of another thread leaves the data as they are, and they are whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A log's side of it.
#[derive(Debug, Default)]
pub(crate) struct Compressing {
    renames: RenameLock,
    failure: Arc<Mutex<Option<String>>>,
}

impl Compressing {
    /// Nothing is renamed by the thread as long as this is held.
    pub(crate) fn hold_names(&self) -> MutexGuard<'_, ()> {
        locked(&self.renames)
    }

    /// Why the last try has failed.
    pub(crate) fn take_failure(&self) -> Option<String> {
        locked(&self.failure).take()
    }

    /// Has the rotated files of `path` compressed that are not.
    pub(crate) fn begin(&self, path: &Path, policy: RotationPolicy) {
        let (renames, failure) = (Arc::clone(&self.renames), Arc::clone(&self.failure));
        let mut work = locked(&WORK);
        // One that waits will find all that there is then.
        if work.jobs.iter().any(|job| job.path == path) {
            return;
        }
        work.jobs.push_back(Job { path: path.to_path_buf(), policy, renames, failure });
        if !work.runs {
            let begun = std::thread::Builder::new().name("compress".into()).spawn(run);
            work.runs = begun.is_ok();
            if let Err(error) = begun {
                work.jobs.clear();
                *locked(&self.failure) = Some(format!("cannot start a thread: {error}"));
            }
        }
    }
}

/// The thread.
fn run() {
    circus_sys::yield_to_others();
    loop {
        let mut work = locked(&WORK);
        let Some(job) = work.jobs.pop_front() else {
            work.runs = false;
            return;
        };
        drop(work);
        if let Err(error) = job.run() {
            *locked(&job.failure) = Some(error.to_string());
        }
    }
}

impl Job {
    fn run(&self) -> io::Result<()> {
        let pinned = pin(&self.path)?;
        let path = pinned.path();
        loop {
            let next = {
                let _names = locked(&self.renames);
                let plain = backups(&path, &self.policy)?.into_iter().rev().find(|backup| !backup.is_compressed());
                let Some(Backup { name, .. }) = plain else { return Ok(()) };
                open_plain(&path.with_file_name(name))?
            };
            self.compress(&path, next)?;
        }
    }

    fn compress(&self, path: &Path, mut plain: File) -> io::Result<()> {
        let data = plain.metadata()?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".compressing");
        let unfinished = path.with_file_name(name);
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) | Ok(()) => {}
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(data.mode() & 0o777).open(&unfinished)?;
        let written = (|| {
            let mut encoder = GzEncoder::new(&file, Compression::default());
            io::copy(&mut plain, &mut encoder)?;
            encoder.finish()?;
            // Only root may give a file away.
            drop(fchown(&file, Some(data.uid()), Some(data.gid())));
            // It is as old as the lines in it.
            file.set_modified(data.modified()?)?;
            file.sync_all()
        })();
        let named = written.and_then(|()| self.take_place(path, &unfinished, (data.dev(), data.ino())));
        if named.is_err() {
            drop(fs::remove_file(&unfinished));
        }
        named
    }

    /// Puts the compressed file where the plain one is now. Where that has gone meanwhile, so does this.
    fn take_place(&self, path: &Path, unfinished: &Path, plain: (u64, u64)) -> io::Result<()> {
        let _names = locked(&self.renames);
        let is_plain = |backup: &Backup| {
            let data = fs::symlink_metadata(path.with_file_name(&backup.name));
            data.is_ok_and(|data| (data.dev(), data.ino()) == plain)
        };
        let Some(backup) = backups(path, &self.policy)?.into_iter().find(is_plain) else {
            return fs::remove_file(unfinished);
        };
        let mut compressed = backup.name.clone();
        compressed.push(COMPRESSED);
        fs::rename(unfinished, path.with_file_name(compressed))?;
        fs::remove_file(path.with_file_name(backup.name))
    }
}

/// Opens a rotated file without following a link that was put in its place.
fn open_plain(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("a rotated file is no file any more")) }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::{Duration, Instant};

    use circus_core::config::options::Keeping;
    use flate2::read::GzDecoder;

    use super::*;
    use crate::output::sink::rotation_policy::Rotation;
    use crate::output::sink::size_rotation::{SizeRotation, shift_backups};

    fn policy() -> RotationPolicy {
        let rotation = Rotation::BySize(SizeRotation { max_bytes: 5, backup_count: 9 });
        let keeping = Keeping { compress: true, ..Keeping::default() };
        RotationPolicy { rotation, keeping, ..RotationPolicy::default() }
    }

    fn text(path: &Path) -> String {
        let mut text = String::new();
        GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test waits no longer than its deadline")]
    fn rotated_files_are_compressed_and_keep_their_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for (name, content) in [("log", "now"), ("log.1", "one\n"), ("log.2", "two\n"), ("log.old", "another's")] {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let then = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        File::options().write(true).open(folder.path().join("log.2")).unwrap().set_modified(then).unwrap();
        fs::write(folder.path().join("log.compressing"), "of a circusd that was killed").unwrap();
        let compressing = Compressing::default();
        compressing.begin(&path, policy());
        let deadline = Instant::now() + Duration::from_secs(30);
        while folder.path().join("log.1").exists() || folder.path().join("log.2").exists() {
            assert!(Instant::now() < deadline, "{:?}", compressing.take_failure());
            std::thread::yield_now();
        }
        assert_eq!(
            (text(&folder.path().join("log.1.gz")), text(&folder.path().join("log.2.gz"))),
            ("one\n".into(), "two\n".into())
        );
        assert_eq!(fs::metadata(folder.path().join("log.2.gz")).unwrap().modified().unwrap(), then);
        assert_eq!(fs::read_to_string(folder.path().join("log.old")).unwrap(), "another's");
        assert_eq!(compressing.take_failure(), None);
    }

    #[test]
    fn rotation_meanwhile_mixes_nothing_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("log"), "newer").unwrap();
        fs::write(at("log.1"), "older").unwrap();
        let job = Job { path: path.clone(), policy: policy(), renames: Arc::default(), failure: Arc::default() };
        let data = fs::metadata(at("log.1")).unwrap();
        fs::write(at("log.compressing"), "compressed").unwrap();
        // The rotation comes between the last byte and the new name.
        shift_backups(&path, 9, true).unwrap();
        job.take_place(&path, &at("log.compressing"), (data.dev(), data.ino())).unwrap();
        assert_eq!(fs::read_to_string(at("log.2.gz")).unwrap(), "compressed");
        assert_eq!(fs::read_to_string(at("log.1")).unwrap(), "newer");
        assert!(!at("log.2").exists() && !at("log.compressing").exists());
        // And one that is gone has no place.
        fs::write(at("log.compressing"), "compressed").unwrap();
        job.take_place(&path, &at("log.compressing"), (data.dev(), data.ino())).unwrap();
        assert!(!at("log.compressing").exists());
    }

    #[test]
    fn link_in_place_of_a_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink("secret", folder.path().join("log.1")).unwrap();
        assert!(open_plain(&folder.path().join("log.1")).is_err());
    }
}
