//! The audit log: which client has changed what. It has a queue and a thread of its own, so that what keeps the log from
//! being written, and what fills it, takes no line from the audit.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use circus_core::access::{AuditResult, Audited};
use circus_core::base::Throttle;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::queue::{Batch, Entry, Queue};
use super::target::WatchedFile;
use super::writer::write_whole;
use crate::arbiter::{Level, Now};
use crate::background;
use crate::config::{CircusConfig, LogFormat};
use crate::output::open_private_file;

/// The last lines may take this long to be written.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Lines about denied requests in ten seconds: a client without rights shall not fill the disk.
type DeniedThrottle = Throttle<100>;

/// The audit log, where there is one.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Audit {
    open: Option<(Arc<Queue>, LogFormat)>,
    denied: DeniedThrottle,
}

impl Audit {
    /// As `[circus]` has it. Call it after daemonizing: threads do not survive a fork.
    pub(in crate::daemon) fn open(circus: &CircusConfig) -> Result<Self, String> {
        let Some(path) = circus.audit_log.as_deref() else { return Ok(Self::default()) };
        let file = WatchedFile::open(PathBuf::from(path), open_private_file)
            .map_err(|error| format!("audit_log {path}: {error}"))?;
        let (queue, format) = (Arc::new(Queue::default()), circus.audit_format);
        let (entries, zone) = (Arc::clone(&queue), crate::sys::time_zone());
        background::spawn("audit", move || write(file, &entries, format, &zone))
            .map_err(|error| format!("unable to start the thread of the audit log: {error}"))?;
        Ok(Self { open: Some((queue, format)), ..Self::default() })
    }

    /// Whether two configurations have different ones.
    pub(in crate::daemon) fn differs(one: &CircusConfig, other: &CircusConfig) -> bool {
        let of = |circus: &CircusConfig| (circus.audit_log.clone(), circus.audit_format);
        of(one) != of(other)
    }

    /// Whether there is one.
    pub(in crate::daemon) fn is_on(&self) -> bool {
        self.open.is_some()
    }

    /// Writes a line. It never waits.
    pub(in crate::daemon) fn tell(&mut self, audited: &Audited, result: &AuditResult, now: Now) {
        let Some((queue, format)) = &self.open else { return };
        if matches!(result, AuditResult::Denied(_)) {
            if !self.denied.admit(now.mono) {
                return;
            }
            let more = self.denied.take_left_out();
            if more > 0 {
                push(queue, now, left_out(more, "denied", *format));
            }
        }
        push(queue, now, audited.line(result, *format));
    }

    /// Waits until everything is written, in a bounded time.
    pub(in crate::daemon) fn flush(&self) {
        if let Some((queue, _)) = &self.open {
            queue.flush(CLOSE_TIMEOUT);
        }
    }

    /// The same at the end.
    pub(in crate::daemon) fn close(self) {
        drop(self);
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        if let Some((queue, _)) = &self.open {
            queue.close(CLOSE_TIMEOUT);
        }
    }
}

fn push(queue: &Queue, now: Now, text: String) {
    queue.push(Entry { level: Level::Info, unix: now.unix, text });
}

/// So many lines are missing here, and why.
fn left_out(count: u64, why: &str, format: LogFormat) -> String {
    match format {
        LogFormat::Text => format!(" missing={count} why={why}"),
        LogFormat::Json => format!(",\"missing\":{count},\"why\":\"{why}\""),
    }
}

/// The thread: writes until the queue is closed and empty.
fn write(mut file: WatchedFile, queue: &Queue, format: LogFormat, zone: &TimeZone) {
    let pid = std::process::id();
    while let Some(Batch { mut entries, dropped }) = queue.take() {
        if dropped > 0 {
            let unix = entries.back().map_or(0.0, |entry| entry.unix);
            entries.push_back(Entry { level: Level::Info, unix, text: left_out(dropped, "unwritten", format) });
        }
        let line = |entry: Entry| {
            let time = Timestamp::from_millisecond((entry.unix * 1e3) as i64).unwrap_or(Timestamp::UNIX_EPOCH);
            let time = time.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string();
            match format {
                LogFormat::Text => format!("{time} circusd[{pid}]{}\n", entry.text),
                LogFormat::Json => format!("{{\"time\":\"{time}\",\"process\":{pid}{}}}\n", entry.text),
            }
        };
        let lines: String = entries.into_iter().map(line).collect();
        write_whole(queue, lines.as_bytes(), |bytes| file.write(bytes));
    }
}
