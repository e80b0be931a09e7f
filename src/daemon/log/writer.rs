//! The log's thread: formats entries and writes them, and waits where it must.

use std::io::{self, Write as _};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::queue::{Entry, Queue};
use super::target::Target;
use crate::arbiter::Level;

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Writer {
    pub(super) target: Target,
    pub(super) pid: u32,
    pub(super) zone: TimeZone,
}

impl Writer {
    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self, queue: &Queue) {
        while let Some(batch) = queue.take() {
            let last = batch.entries.back().map_or(0.0, |entry| entry.unix);
            for entry in &batch.entries {
                self.entry(entry, queue);
            }
            if batch.dropped > 0 {
                let text = format!("{} lines of the log were dropped: it was not written fast enough", batch.dropped);
                self.entry(&Entry { level: Level::Warning, unix: last, text }, queue);
            }
        }
    }

    fn entry(&mut self, entry: &Entry, queue: &Queue) {
        let time = Timestamp::from_millisecond((entry.unix * 1e3) as i64).unwrap_or(Timestamp::UNIX_EPOCH);
        let time = time.to_zoned(self.zone.clone());
        let text = format!("[{}] {}", level_name(entry.level), entry.text);
        let pid = self.pid;
        let line = || format!("{} circus[{pid}] {text}\n", time.strftime("%Y-%m-%d %H:%M:%S"));
        match &mut self.target {
            Target::Stderr => write_whole(queue, line().as_bytes(), |bytes| io::stderr().write(bytes)),
            Target::File(file) => write_whole(queue, line().as_bytes(), |bytes| file.write(bytes)),
            Target::Syslog(syslog) => {
                syslog.line(entry.level, &format!("{} circus[{pid}]", time.strftime("%b %d %H:%M:%S")), &text);
            }
        }
    }
}

/// Writes a line to its end. A target that fails is tried again, while the queue keeps what comes; one that has gone for
/// good is not.
fn write_whole(queue: &Queue, mut bytes: &[u8], mut write: impl FnMut(&[u8]) -> io::Result<usize>) {
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

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Debug => "DEBUG",
        Level::Info => "INFO",
        Level::Warning => "WARNING",
        Level::Error => "ERROR",
        Level::Critical => "CRITICAL",
    }
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
