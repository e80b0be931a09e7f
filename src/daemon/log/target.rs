//! Where the log's lines go. Everything here may wait for a reader or a disk: only the log's thread calls it.

use std::fs::{File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::syslog::Syslog;
use crate::config::LogOutput;
use crate::output::open_for_append;

/// Where lines go.
#[derive(Debug)]
pub(super) enum Target {
    Stderr,
    File(WatchedFile),
    Syslog(Syslog),
}

impl Target {
    /// What the option `logoutput` names.
    pub(super) fn open(output: &str) -> Result<Self, String> {
        Ok(match LogOutput::parse(output).map_err(|text| format!("logoutput {text}"))? {
            LogOutput::Stderr => Self::Stderr,
            LogOutput::File(path) => {
                let cannot = |error| format!("unable to open the log file {path}: {error}");
                Self::File(WatchedFile::open(path.clone().into(), open).map_err(cannot)?)
            }
            LogOutput::Syslog(address, facility) => Self::Syslog(Syslog::open(&address, facility)?),
        })
    }
}

/// A file that is opened again when it was moved or removed.
#[derive(Debug)]
pub(super) struct WatchedFile {
    path: PathBuf,
    file: File,
    open: fn(&Path) -> io::Result<File>,
    /// Device and inode.
    identity: (u64, u64),
}

impl WatchedFile {
    pub(super) fn open(path: PathBuf, open: fn(&Path) -> io::Result<File>) -> io::Result<Self> {
        let file = open(&path)?;
        let identity = identity(&file.metadata()?);
        Ok(Self { path, file, open, identity })
    }

    /// Writes to the file of this name, whichever that is now; where it cannot be opened, to the one that is open.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !std::fs::metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity)
            && let Ok(newer) = Self::open(self.path.clone(), self.open)
        {
            *self = newer;
        }
        self.file.write(bytes)
    }
}

/// A FIFO is opened without waiting for its reader; after that, its writes may wait.
fn open(path: &Path) -> io::Result<File> {
    let file = open_for_append(path)?;
    let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
    fcntl(&file, FcntlArg::F_SETFL(flags & !OFlag::O_NONBLOCK))?;
    Ok(file)
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}
