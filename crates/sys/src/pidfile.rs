//! circusd's pidfile.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Pid;

use super::kill::{SendError, send};
use super::sockets::strerror;
use circus_core::proto::Signal;

/// A pidfile that is ours. Dropping it removes the file, if our pid is still in it.
#[derive(Debug)]
pub struct Pidfile {
    path: PathBuf,
    pid: Pid,
}

/// Why there is no pidfile. The second text is Circus's.
#[derive(Debug)]
pub enum PidfileError {
    /// It names a circusd that lives.
    Taken {
        /// The file.
        path: PathBuf,
        /// The circusd that runs.
        pid: Pid,
    },
    /// Its directory does not exist.
    NoDirectory {
        /// The directory.
        directory: PathBuf,
    },
    /// The kernel refuses.
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl std::fmt::Display for PidfileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Taken { path, pid } => write!(
                f,
                "pid file '{}' belongs to a running circusd, pid {pid}; stop it or use another pid file",
                path.display()
            ),
            Self::NoDirectory { directory } => {
                write!(f, "{} doesn't exist. Can't create pidfile", directory.display())
            }
            Self::Io { path, error } => {
                write!(f, "pid file '{}' cannot be written: {}", path.display(), strerror(error))
            }
        }
    }
}

impl std::error::Error for PidfileError {}

/// A file that another keeps replacing while we look at it is given up after so many looks.
const ATTEMPTS: usize = 20;

impl Pidfile {
    /// Writes this pid, unless the file names another circusd that lives: a process with our executable. A pid that
    /// another program has got since, as in a container that was started anew, is stale. Of two that try at once one
    /// gets it.
    ///
    /// Readers see the old content or the new, never half: the file is replaced, under a lock on the one it replaces.
    pub fn claim(path: impl Into<PathBuf>, pid: Pid) -> Result<Self, PidfileError> {
        Self::claim_from(path.into(), pid, has_our_program)
    }

    fn claim_from(path: PathBuf, pid: Pid, is_circusd: impl Fn(Pid) -> bool) -> Result<Self, PidfileError> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        if !directory.is_dir() {
            return Err(PidfileError::NoDirectory { directory: directory.to_owned() });
        }
        match claim(&path, pid, is_circusd) {
            Ok(None) => Ok(Self { path, pid }),
            Ok(Some(holder)) => Err(PidfileError::Taken { path, pid: holder }),
            Err(error) => Err(PidfileError::Io { path, error }),
        }
    }

    /// Goes on with the file of the program that this process was before.
    pub fn restore(path: PathBuf) -> Self {
        Self { path, pid: Pid::this() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        let Ok(mut file) = open(&self.path, false).and_then(lock) else { return };
        if read_pid(&mut file) == Some(self.pid) && is_still_at(&file, &self.path) {
            // A directory that has become read-only leaves a stale file, which the next start replaces.
            let _unremoved = std::fs::remove_file(&self.path);
        }
    }
}

/// Takes the file, or says whose it is.
fn claim(path: &Path, pid: Pid, is_circusd: impl Fn(Pid) -> bool) -> io::Result<Option<Pid>> {
    for _ in 0..ATTEMPTS {
        let mut file = lock(open(path, true)?)?;
        // While we waited for the lock its holder may have replaced the file: then this one is history.
        if !is_still_at(&file, path) {
            continue;
        }
        if let Some(holder) =
            read_pid(&mut file).filter(|holder| *holder != pid && is_alive(*holder) && is_circusd(*holder))
        {
            return Ok(Some(holder));
        }
        return replace(path, pid).map(|()| None);
    }
    Err(io::Error::other("other processes keep replacing it"))
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(create).create(create).mode(0o644);
    // Not through a link: it is written by root in directories that may be others', and not a FIFO that blocks.
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

fn lock(file: File) -> io::Result<Flock<File>> {
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

fn is_still_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
        (Ok(_) | Err(_), _) => false,
    }
}

/// The pid in the file; what is no pid belongs to no process.
fn read_pid(file: &mut File) -> Option<Pid> {
    let mut text = String::new();
    file.take(64).read_to_string(&mut text).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 0).map(Pid::from_raw)
}

fn is_alive(pid: Pid) -> bool {
    match send(pid, Signal(0)) {
        Ok(()) | Err(SendError::NotPermitted) => true,
        Err(SendError::Gone | SendError::Invalid) => false,
    }
}

/// Whether a process runs the program that we run, or a later build of it at the same place. Where its executable may
/// not be read, as another user's, its name decides.
pub fn has_our_program(pid: Pid) -> bool {
    let of = |process: &str, what: &str| PathBuf::from(format!("/proc/{process}/{what}"));
    let (ours, theirs) = ("self".to_owned(), pid.to_string());
    let path = |process: &str| {
        let link = std::fs::read_link(of(process, "exe")).ok()?;
        let text = link.to_string_lossy();
        Some(text.strip_suffix(" (deleted)").unwrap_or(&text).to_owned())
    };
    match (path(&ours), path(&theirs)) {
        (Some(ours), Some(theirs)) if ours == theirs => true,
        (Some(_), Some(_)) => {
            let inode = |process: &str| std::fs::metadata(of(process, "exe")).map(|file| (file.dev(), file.ino())).ok();
            inode(&ours).is_some_and(|ours| inode(&theirs) == Some(ours))
        }
        _ => {
            let name = |process: &str| std::fs::read_to_string(of(process, "comm")).ok();
            name(&ours).is_none_or(|ours| name(&theirs) == Some(ours))
        }
    }
}

fn replace(path: &Path, pid: Pid) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{pid}.new"));
    let new = PathBuf::from(name);
    // A leftover of an earlier process with our pid.
    let _none = std::fs::remove_file(&new);
    let written = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&new).and_then(|mut file| {
        file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
        writeln!(file, "{pid}")
    });
    written.and_then(|()| std::fs::rename(&new, path)).inspect_err(|_| drop(std::fs::remove_file(&new)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{alone, shell, start, wait};

    fn content(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn it_is_written_and_removed() {
        alone("pidfile::tests::it_is_written_and_removed", || {
            crate::set_umask(0o077);
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("circusd.pid");
            let pidfile = Pidfile::claim(&path, Pid::this()).unwrap();
            assert_eq!(content(pidfile.path()), format!("{}\n", std::process::id()));
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
            drop(pidfile);
            assert!(!path.exists());
        });
    }

    #[test]
    fn a_second_circusd_names_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("circusd.pid");
        let _first = Pidfile::claim(&path, Pid::this()).unwrap();
        let error = Pidfile::claim(&path, Pid::from_raw(1)).unwrap_err();
        let (shown, us) = (path.display(), Pid::this());
        let expected =
            format!("pid file '{shown}' belongs to a running circusd, pid {us}; stop it or use another pid file");
        assert_eq!(error.to_string(), expected);
        // An in-process restart finds its own.
        Pidfile::claim(&path, Pid::this()).unwrap();
    }

    #[test]
    fn the_dead_and_the_garbled_are_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("circusd.pid");
        let dead = start(&shell("true")).unwrap();
        wait(dead);
        for stale in [format!("{dead}\n"), String::new(), "garbage".into(), "-1".into(), "0".into(), "9".repeat(99)] {
            std::fs::write(&path, &stale).unwrap();
            let pidfile = Pidfile::claim(&path, Pid::this()).unwrap();
            assert_eq!(content(&path), format!("{}\n", Pid::this()), "{stale:?}");
            drop(pidfile);
        }
    }

    #[test]
    fn pid_that_another_program_has_got_is_stale() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("circusd.pid");
        let another = start(&shell("exec sleep 1000")).unwrap();
        std::fs::write(&path, format!("{another}\n")).unwrap();
        let pidfile = Pidfile::claim(&path, Pid::this()).unwrap();
        assert_eq!(content(&path), format!("{}\n", Pid::this()));
        drop(pidfile);
        send(another, Signal::KILL).unwrap();
        wait(another);
    }

    #[test]
    fn one_that_became_anothers_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("circusd.pid");
        let pidfile = Pidfile::claim(&path, Pid::this()).unwrap();
        std::fs::write(&path, "1\n").unwrap();
        drop(pidfile);
        assert_eq!(content(&path), "1\n");
    }

    #[test]
    fn a_missing_directory_and_a_link_are_refused() {
        let error = Pidfile::claim("/nonexistent/dir/circusd.pid", Pid::this()).unwrap_err();
        assert_eq!(error.to_string(), "/nonexistent/dir doesn't exist. Can't create pidfile");
        let directory = tempfile::tempdir().unwrap();
        let (path, target) = (directory.path().join("circusd.pid"), directory.path().join("victim"));
        std::fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(matches!(Pidfile::claim(&path, Pid::this()), Err(PidfileError::Io { .. })));
        assert_eq!(content(&target), "precious");
    }

    #[test]
    fn of_many_at_once_one_gets_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("circusd.pid");
        let sleepers: Vec<Pid> = (0..8).map(|_| start(&shell("exec sleep 1000")).unwrap()).collect();
        for _ in 0..20 {
            let claims: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = sleepers
                    .iter()
                    .map(|pid| scope.spawn(|| Pidfile::claim_from(path.clone(), *pid, |_| true)))
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let winners: Vec<Pid> = claims.iter().flatten().map(|pidfile| pidfile.pid).collect();
            assert_eq!(winners.len(), 1, "{claims:?}");
            let named = claims
                .iter()
                .filter_map(|claim| claim.as_ref().err())
                .all(|error| matches!(error, PidfileError::Taken { pid, .. } if *pid == winners[0]));
            assert!(named, "{claims:?}");
        }
        for pid in sleepers {
            send(pid, Signal::KILL).unwrap();
            wait(pid);
        }
    }
}
