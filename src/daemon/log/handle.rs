//! The part of the log in the daemon's thread.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use super::queue::{Entry, Queue};
use super::repeats::Repeats;
use super::target::Target;
use super::writer::{Head, Writer};
use crate::arbiter::{Level, Mono, Now};
use crate::background;
use crate::config::{LogFormat, Severity};
use circus_core::escape::escaped_lines;

/// A log that another takes the place of has this long to be written, so that lines stay in order.
const REPLACE_TIMEOUT: Duration = Duration::from_millis(100);
/// The last lines at the end may take this long to be written.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The log.
#[derive(Debug)]
pub(in crate::daemon) struct Log {
    queue: Arc<Queue>,
    least: Level,
    is_stderr: bool,
    repeats: Repeats,
}

/// A level by its name in any case; `info` where there is no such level.
pub(in crate::daemon) fn level(name: &str) -> Level {
    match name.trim().to_ascii_lowercase().as_str() {
        "debug" => Level::Debug,
        "warning" => Level::Warning,
        "error" => Level::Error,
        "critical" => Level::Critical,
        _ => Level::Info,
    }
}

/// The level of a problem in the log.
pub(in crate::daemon) fn level_of(severity: Severity) -> Level {
    match severity {
        Severity::Note => Level::Info,
        Severity::Warning | Severity::Skipped => Level::Warning,
        Severity::Fatal => Level::Critical,
    }
}

impl Log {
    /// A log to `output`, as the option `logoutput` names it. Call it after daemonizing: threads do not survive a fork.
    pub(in crate::daemon) fn open(output: &str, least: Level, format: LogFormat) -> Result<Self, String> {
        let target = Target::open(output)?;
        let is_stderr = matches!(target, Target::Stderr);
        let queue = Arc::new(Queue::default());
        let head = Head::new(&target, crate::sys::time_zone());
        let (writer, entries) = (Writer { target, head, format }, Arc::clone(&queue));
        // The thread ends by itself when the queue is closed.
        background::spawn("log", move || writer.run(&entries))
            .map_err(|error| format!("unable to start the thread of the log: {error}"))?;
        Ok(Self { queue, least, is_stderr, repeats: Repeats::default() })
    }

    /// For a daemon on its way to the background: standard error is still its caller's, for problems only,
    /// and then /dev/null, which a warning says.
    pub(in crate::daemon) fn spare_the_caller(&mut self, now: Now) {
        if self.is_stderr {
            self.least = self.least.max(Level::Warning);
            let text = "--daemon: the log goes to standard error, which is /dev/null once the daemon is ready; name \
                a file with --log-output or logoutput in [circus]";
            self.line(Level::Warning, now, text);
        }
    }

    /// Whether a line of this level would be written.
    pub(in crate::daemon) fn takes(&self, level: Level) -> bool {
        level >= self.least
    }

    /// Logs a line. It never waits: what the queue does not hold is dropped and counted.
    pub(in crate::daemon) fn line(&mut self, level: Level, now: Now, text: impl Into<String>) {
        if self.takes(level) {
            let text = text.into();
            if self.repeats.admit(level, now.mono, &text) {
                self.queue.push(Entry { level, unix: now.unix, text });
            }
        }
    }

    /// Continues another log: this one logs the repeats that the other has counted.
    pub(in crate::daemon) fn succeed(&mut self, other: &mut Self) {
        self.repeats = std::mem::take(&mut other.repeats);
    }

    /// When [`Self::tell_repeats`] is wanted.
    pub(in crate::daemon) fn next_due(&self) -> Option<Mono> {
        self.repeats.next_due()
    }

    /// Logs how often lines were repeated, where the time for that has come.
    pub(in crate::daemon) fn tell_repeats(&mut self, now: Now) {
        for (level, text) in self.repeats.take(Some(now.mono)) {
            self.queue.push(Entry { level, unix: now.unix, text });
        }
    }

    /// Waits until everything logged so far is written, in a bounded time. Whether it is.
    pub(in crate::daemon) fn flush(&self) -> bool {
        self.queue.flush(CLOSE_TIMEOUT)
    }

    /// Logs all repeats and waits until everything is written, in a bounded time: another process continues this log.
    pub(in crate::daemon) fn flush_all(&mut self, now: Now) -> bool {
        for (level, text) in self.repeats.take(None) {
            self.queue.push(Entry { level, unix: now.unix, text });
        }
        self.flush()
    }

    /// Writes what there is, in a bounded time. Whether all is written.
    pub(in crate::daemon) fn close(mut self, now: Now) -> bool {
        for (level, text) in self.repeats.take(None) {
            self.queue.push(Entry { level, unix: now.unix, text });
        }
        self.queue.close(CLOSE_TIMEOUT)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.queue.close(REPLACE_TIMEOUT);
    }
}

/// Writes to standard error what stops a start, even where its reader stalls: then only for a bounded time.
pub(in crate::daemon) fn write_stderr(text: String) {
    let (done, written) = mpsc::channel();
    let write = move || {
        use std::io::Write as _;
        let _ = std::io::stderr().write_all(escaped_lines(&text).as_bytes());
        let _ = done.send(());
    };
    if background::spawn("stderr", write).is_ok() {
        let _ = written.recv_timeout(CLOSE_TIMEOUT);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::path::Path;

    use super::super::queue::QUEUE_LIMIT;
    use super::*;

    fn at(unix: f64) -> Now {
        Now { mono: Mono(0), unix }
    }

    const DEADLINE: Duration = Duration::from_secs(30);

    impl Log {
        /// Waits until all is written.
        fn drain(self) {
            assert!(self.queue.close(DEADLINE));
        }
    }

    #[test]
    fn a_line_reads_as_in_circus_and_the_level_filters() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::open(path.to_str().unwrap(), level("WARNING"), LogFormat::Text).unwrap();
        log.line(Level::Info, at(0.0), "not this");
        log.line(Level::Error, at(1.7e9), "a b");
        log.drain();
        let text = std::fs::read_to_string(&path).unwrap();
        let (stamp, rest) = text.split_at(19);
        assert_eq!(rest, format!(" circus[{}] [ERROR] a b\n", std::process::id()));
        assert_eq!(stamp.chars().filter(char::is_ascii_digit).count(), 14);
    }

    #[test]
    fn text_of_others_forges_no_line_and_drives_no_terminal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::open(path.to_str().unwrap(), level("INFO"), LogFormat::Text).unwrap();
        log.line(Level::Info, at(0.0), "web\n1970-01-01 circus[1] [INFO] \x1b[2J forged");
        log.drain();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("web\\n1970-01-01 circus[1] [INFO] \\u001b[2J forged\n"), "{text}");
    }

    #[test]
    fn a_moved_or_removed_file_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let read = |name| std::fs::read_to_string(dir.path().join(name)).unwrap();
        let Target::File(mut file) = Target::open(path.to_str().unwrap()).unwrap() else { panic!("no file") };
        file.write(b"one\n").unwrap();
        std::fs::rename(&path, dir.path().join("old")).unwrap();
        file.write(b"two\n").unwrap();
        assert_eq!((read("old"), read("log")), ("one\n".into(), "two\n".into()));
        std::fs::remove_file(&path).unwrap();
        file.write(b"three\n").unwrap();
        assert_eq!(read("log"), "three\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_again_is_written_on() {
        let dir = tempfile::tempdir().unwrap();
        let sub = dir.path().join("sub");
        std::fs::create_dir(&sub).unwrap();
        let mut log = Log::open(sub.join("log").to_str().unwrap(), Level::Info, LogFormat::Text).unwrap();
        std::fs::rename(&sub, dir.path().join("gone")).unwrap();
        log.line(Level::Info, at(0.0), "one");
        log.drain();
        assert!(std::fs::read_to_string(dir.path().join("gone/log")).unwrap().ends_with("one\n"));
    }

    #[test]
    fn the_system_log_has_its_own_time_format() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        let mut log = Log::open(&format!("syslog://{}?daemon", path.display()), Level::Info, LogFormat::Text).unwrap();
        log.line(Level::Debug, at(0.0), "not this");
        log.line(Level::Info, at(1.7e9), "a b");
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        let rest = text.strip_prefix("<30>Nov 1").unwrap();
        assert!(rest.ends_with(&format!(" circus[{}] [INFO] a b\0", std::process::id())), "{text}");
        assert_eq!(rest.split(' ').nth(1).unwrap().len(), "22:13:20".len());
    }

    #[test]
    fn a_url_that_is_none_is_an_error() {
        assert!(
            Log::open("syslog://host:x", Level::Info, LogFormat::Text)
                .is_err_and(|text| text.starts_with("logoutput syslog://"))
        );
    }

    fn fifo(dir: &Path) -> std::path::PathBuf {
        let path = dir.join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        path
    }

    #[test]
    fn a_fifo_without_a_reader_blocks_nobody_and_drops_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = fifo(dir.path());
        let mut log = Log::open(path.to_str().unwrap(), Level::Info, LogFormat::Text).unwrap();
        let line = "x".repeat(1000);
        let lines = 2 * QUEUE_LIMIT / line.len();
        for _ in 0..lines {
            log.line(Level::Info, at(0.0), line.as_str());
        }
        let mut reader = std::fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let queue = Arc::clone(&log.queue);
        let reading = std::thread::spawn(move || {
            let mut text = Vec::new();
            while !queue.close(Duration::from_millis(1)) {
                let _ = reader.read_to_end(&mut text);
            }
            let _ = reader.read_to_end(&mut text);
            String::from_utf8(text).unwrap()
        });
        let text = reading.join().unwrap();
        // As often as there was room again before the next line was dropped.
        let (told, kept): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.contains("[WARNING] "));
        let count =
            |line: &&str| line.split_once("[WARNING] ").unwrap().1.split(' ').next().unwrap().parse::<usize>().unwrap();
        let dropped: usize = told.iter().map(count).sum();
        assert_eq!(kept.len() + dropped, lines, "each line is written or counted");
        assert!(dropped > 0);
        assert!(
            told.iter().all(|line| line.ends_with("lines of the log were dropped: it was not written fast enough"))
        );
    }

    #[test]
    fn the_end_does_not_wait_for_a_reader_that_stalls() {
        let dir = tempfile::tempdir().unwrap();
        let path = fifo(dir.path());
        let mut log = Log::open(path.to_str().unwrap(), Level::Info, LogFormat::Text).unwrap();
        for _ in 0..1000 {
            log.line(Level::Info, at(0.0), "x".repeat(1000));
        }
        assert!(!log.close(at(0.0)), "the pipe holds 64 KiB of it");
    }
}
