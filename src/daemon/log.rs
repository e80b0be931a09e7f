//! The daemon's log: lines as Circus writes them, to standard error or a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::arbiter::Level;

/// Where lines go.
#[derive(Debug)]
enum Target {
    Stderr,
    /// Opened again when it was moved or removed: the file, its device and its inode.
    File {
        path: PathBuf,
        open: Option<(File, u64, u64)>,
    },
}

/// The log.
#[derive(Debug)]
pub(super) struct Log {
    target: Target,
    least: Level,
    pid: u32,
    zone: TimeZone,
}

/// A level by its name in any case; `info` where there is no such level.
pub(super) fn level(name: &str) -> Level {
    match name.trim().to_ascii_lowercase().as_str() {
        "debug" => Level::Debug,
        "warning" => Level::Warning,
        "error" => Level::Error,
        "critical" => Level::Critical,
        _ => Level::Info,
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Debug => "DEBUG",
        Level::Info => "INFO",
        Level::Warning => "WARNING",
        Level::Error => "ERROR",
        Level::Critical => "CRITICAL",
    }
}

impl Log {
    /// A log to `output`: `-` and `stdout` are standard error, as in Circus; anything else is a file.
    pub(super) fn open(output: &str, least: Level) -> Result<Self, String> {
        let target = match output {
            "-" | "stdout" => Target::Stderr,
            url if url.starts_with("syslog:") => {
                return Err(format!("logoutput {url}: the system log cannot be written to yet; use a file or -"));
            }
            path => {
                Target::File { path: path.into(), open: Some(open(Path::new(path)).map_err(|e| cannot(path, &e))?) }
            }
        };
        Ok(Self { target, least, pid: std::process::id(), zone: TimeZone::system() })
    }

    /// For a daemon on its way to the background: standard error is still its caller's, who wants to hear of problems
    /// only, and then nobody's.
    pub(super) fn spare_the_caller(&mut self) {
        if matches!(self.target, Target::Stderr) {
            self.least = self.least.max(Level::Warning);
        }
    }

    /// Whether a line of this level would be written.
    pub(super) fn takes(&self, level: Level) -> bool {
        level >= self.least
    }

    /// Writes a line. `unix` is the time that stands in it. A log that cannot be written never stops the daemon.
    pub(super) fn line(&mut self, level: Level, unix: f64, text: &str) {
        if !self.takes(level) {
            return;
        }
        let time = Timestamp::from_millisecond((unix * 1e3) as i64).unwrap_or(Timestamp::UNIX_EPOCH);
        let stamp = time.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S");
        let line = format!("{stamp} circus[{}] [{}] {text}\n", self.pid, name(level));
        let written = match &mut self.target {
            Target::Stderr => io::stderr().write_all(line.as_bytes()),
            Target::File { path, open } => write_watched(path, open, line.as_bytes()),
        };
        // There is nobody to tell.
        drop(written);
    }
}

fn cannot(path: &str, error: &io::Error) -> String {
    format!("unable to open the log file {path}: {error}")
}

fn open(path: &Path) -> io::Result<(File, u64, u64)> {
    let file = OpenOptions::new().append(true).create(true).mode(0o644).open(path)?;
    let meta = file.metadata()?;
    Ok((file, meta.dev(), meta.ino()))
}

/// Writes to the file of this name, whichever that is now.
fn write_watched(path: &Path, slot: &mut Option<(File, u64, u64)>, line: &[u8]) -> io::Result<()> {
    let same = |(_, dev, ino): &(File, u64, u64)| {
        std::fs::metadata(path).is_ok_and(|meta| (meta.dev(), meta.ino()) == (*dev, *ino))
    };
    if !slot.as_ref().is_some_and(same) {
        *slot = open(path).ok().or(slot.take());
    }
    match slot {
        Some((file, ..)) => file.write_all(line),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_as_in_circus_and_the_level_filters() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::open(path.to_str().unwrap(), level("WARNING")).unwrap();
        log.line(Level::Info, 0.0, "not this");
        log.line(Level::Error, 1.7e9, "a b");
        let text = std::fs::read_to_string(&path).unwrap();
        let (stamp, rest) = text.split_at(19);
        assert_eq!(rest, format!(" circus[{}] [ERROR] a b\n", std::process::id()));
        assert_eq!(stamp.chars().filter(char::is_ascii_digit).count(), 14);
    }

    #[test]
    fn a_moved_file_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::open(path.to_str().unwrap(), Level::Info).unwrap();
        log.line(Level::Info, 0.0, "one");
        std::fs::rename(&path, dir.path().join("old")).unwrap();
        log.line(Level::Info, 0.0, "two");
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("two\n"));
    }
}
