//! The log's thread: formats entries and writes them, and waits where it must.

use std::io::{self, Write as _};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::json;
use super::queue::{Batch, Entry, Queue};
use super::target::Target;
use crate::arbiter::Level;
use crate::config::LogFormat;
use circus_core::escape::escaped;

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// What stands before the text of a line: the time and `circus[PID]`. It is made once a second.
#[derive(Debug)]
pub(super) struct Head {
    zone: TimeZone,
    format: &'static str,
    pid: u32,
    second: i64,
    text: String,
}

impl Head {
    /// With times as this target has them.
    pub(super) fn new(target: &Target, zone: TimeZone) -> Self {
        let format = match target {
            Target::Stderr | Target::File(_) => "%Y-%m-%d %H:%M:%S",
            Target::Syslog(_) => "%b %d %H:%M:%S",
        };
        Self { zone, format, pid: std::process::id(), second: i64::MIN, text: String::new() }
    }

    fn at(&mut self, unix: f64) -> &str {
        let second = unix.floor() as i64;
        if second != self.second {
            let time = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(self.zone.clone());
            self.second = second;
            self.text = format!("{} circus[{}]", time.strftime(self.format), self.pid);
        }
        &self.text
    }
}

/// See the module.
pub(super) struct Writer {
    pub(super) target: Target,
    pub(super) head: Head,
    pub(super) format: LogFormat,
}

impl Writer {
    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self, queue: &Queue) {
        while let Some(Batch { mut entries, dropped }) = queue.take() {
            if dropped > 0 {
                let unix = entries.back().map_or(0.0, |entry| entry.unix);
                let text = format!("{dropped} lines of the log were dropped: it was not written fast enough");
                entries.push_back(Entry { level: Level::Warning, unix, text });
            }
            self.write(entries.make_contiguous(), queue);
        }
    }

    /// Writes entries, all at once where the target is a file.
    fn write(&mut self, entries: &[Entry], queue: &Queue) {
        let Self { target, head, format } = self;
        match target {
            Target::Stderr => write_whole(queue, &lines(head, *format, entries), |bytes| io::stderr().write(bytes)),
            Target::File(file) => write_whole(queue, &lines(head, *format, entries), |bytes| file.write(bytes)),
            Target::Syslog(syslog) => {
                for entry in entries {
                    let text = match format {
                        LogFormat::Text => format!("[{}] {}", entry.level_name(), escaped(&entry.text)),
                        LogFormat::Json => json::object(entry, &head.zone, head.pid),
                    };
                    syslog.line(entry.level, head.at(entry.unix), &text);
                }
            }
        }
    }
}

/// An entry is one line, whatever a name, a file or a child put into it.
fn lines(head: &mut Head, format: LogFormat, entries: &[Entry]) -> Vec<u8> {
    if format == LogFormat::Json {
        return entries.iter().map(|entry| json::object(entry, &head.zone, head.pid) + "\n").collect::<String>().into();
    }
    // Each with its time, pid and level.
    let mut lines = String::with_capacity(entries.iter().map(|entry| entry.text.len() + 64).sum());
    for entry in entries {
        for part in [head.at(entry.unix), " [", entry.level_name(), "] ", &escaped(&entry.text), "\n"] {
            lines.push_str(part);
        }
    }
    lines.into_bytes()
}

/// Writes lines to their end. A target that fails is tried again, while the queue keeps what comes; one that has gone for
/// good is not.
pub(super) fn write_whole(queue: &Queue, mut bytes: &[u8], mut write: impl FnMut(&[u8]) -> io::Result<usize>) {
    let mut delay = FIRST_RETRY;
    while !bytes.is_empty() {
        match write(bytes) {
            Ok(0) => return,
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_final(&error) || !queue.pause(delay) => return,
            Err(_) => delay = (delay * 2).min(LAST_RETRY),
        }
    }
}

/// No reader is left, or nothing is open at that number.
fn is_final(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPIPE | libc::EBADF))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_a_full_disk_cut_is_written_to_its_end() {
        let queue = Queue::default();
        let mut written = Vec::new();
        let mut steps = [Ok(3), Err(libc::ENOSPC), Err(libc::EINTR), Ok(100)].into_iter();
        write_whole(&queue, b"a whole line\n", |bytes| {
            let step: Result<usize, i32> = steps.next().unwrap();
            let length = step.map_err(io::Error::from_raw_os_error)?.min(bytes.len());
            written.extend_from_slice(&bytes[..length]);
            Ok(length)
        });
        assert_eq!(written, b"a whole line\n");
    }

    #[test]
    fn a_target_without_a_reader_is_not_tried_again() {
        let mut tries = 0;
        write_whole(&Queue::default(), b"x\n", |_| {
            tries += 1;
            Err(io::Error::from_raw_os_error(libc::EPIPE))
        });
        assert_eq!(tries, 1);
    }

    #[test]
    fn the_end_does_not_wait_for_a_full_disk() {
        let queue = Queue::default();
        queue.close(Duration::ZERO);
        write_whole(&queue, b"x\n", |_| Err(io::Error::from_raw_os_error(libc::ENOSPC)));
    }
}
