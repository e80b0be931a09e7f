//! The daemon's log: lines as Circus writes them, to standard error, a file or the system log.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::syslog::Syslog;
use crate::arbiter::Level;
use crate::config::LogOutput;

/// Where lines go.
#[derive(Debug)]
enum Target {
    Stderr,
    /// Opened again when it was moved or removed: the file, its device and its inode.
    File {
        path: PathBuf,
        open: Option<(File, u64, u64)>,
    },
    Syslog(Syslog),
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
    /// A log to `output`, as the option `logoutput` says it.
    pub(super) fn open(output: &str, least: Level) -> Result<Self, String> {
        let target = match LogOutput::parse(output).map_err(|text| format!("logoutput {text}"))? {
            LogOutput::Stderr => Target::Stderr,
            LogOutput::File(path) => {
                let file = open(Path::new(&path)).map_err(|error| cannot(&path, &error))?;
                Target::File { path: path.into(), open: Some(file) }
            }
            LogOutput::Syslog(address, facility) => Target::Syslog(Syslog::open(&address, facility)?),
        };
        Ok(Self { target, least, pid: std::process::id(), zone: crate::sys::time_zone() })
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
        let time = time.to_zoned(self.zone.clone());
        let text = format!("[{}] {text}", name(level));
        let pid = self.pid;
        let line = || format!("{} circus[{pid}] {text}\n", time.strftime("%Y-%m-%d %H:%M:%S"));
        let written = match &mut self.target {
            Target::Stderr => io::stderr().write_all(line().as_bytes()),
            Target::File { path, open } => write_watched(path, open, line().as_bytes()),
            Target::Syslog(syslog) => {
                syslog.line(level, &format!("{} circus[{pid}]", time.strftime("%b %d %H:%M:%S")), &text);
                Ok(())
            }
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
    fn a_moved_or_removed_file_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let read = |name| std::fs::read_to_string(dir.path().join(name)).unwrap();
        let mut log = Log::open(path.to_str().unwrap(), Level::Info).unwrap();
        log.line(Level::Info, 0.0, "one");
        std::fs::rename(&path, dir.path().join("old")).unwrap();
        log.line(Level::Info, 0.0, "two");
        assert!(read("old").ends_with("one\n") && read("log").ends_with("two\n"));
        std::fs::remove_file(&path).unwrap();
        log.line(Level::Info, 0.0, "three");
        assert_eq!(read("log").lines().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_opened_again_is_written_on() {
        let dir = tempfile::tempdir().unwrap();
        let sub = dir.path().join("sub");
        std::fs::create_dir(&sub).unwrap();
        let mut log = Log::open(sub.join("log").to_str().unwrap(), Level::Info).unwrap();
        std::fs::rename(&sub, dir.path().join("gone")).unwrap();
        log.line(Level::Info, 0.0, "one");
        assert!(std::fs::read_to_string(dir.path().join("gone/log")).unwrap().ends_with("one\n"));
    }

    #[test]
    fn the_system_log_has_its_own_time_format() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        let mut log = Log::open(&format!("syslog://{}?daemon", path.display()), Level::Info).unwrap();
        log.line(Level::Debug, 0.0, "not this");
        log.line(Level::Info, 1.7e9, "a b");
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        let rest = text.strip_prefix("<30>Nov 1").unwrap();
        assert!(rest.ends_with(&format!(" circus[{}] [INFO] a b\0", std::process::id())), "{text}");
        assert_eq!(rest.split(' ').nth(1).unwrap().len(), "22:13:20".len());
    }

    #[test]
    fn a_url_that_is_none_is_an_error() {
        assert!(Log::open("syslog://host:x", Level::Info).is_err_and(|text| text.starts_with("logoutput syslog://")));
    }
}
