//! Lines as messages for the system log (RFC 3164 and RFC 5424) and as records of the journal's own protocol.

use std::io::Write as _;

use circus_core::config::options::SyslogForm;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::output::format::dressed::Origin;
use crate::output::format::line_format::{Speaker, TimestampPrefix};

/// Between the fields of a record on its way to the journal's sink, where a newline ends the record. Names have none.
const BETWEEN: u8 = 0x1f;

/// How the lines of a stream become messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Record {
    /// For the system log.
    Syslog(SyslogRecord),
    /// For the journal.
    Journal(JournalRecord),
}

/// See RFC 3164 and RFC 5424.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SyslogRecord {
    pub(crate) form: SyslogForm,
    /// Facility and severity.
    pub(crate) priority: u8,
    /// Empty for a local system log of the old form, which knows it.
    pub(crate) host: String,
    pub(crate) identifier: String,
    pub(crate) time: TimestampPrefix,
}

/// See systemd's "Native Journal Protocol".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct JournalRecord {
    /// The fields that are the same for all lines.
    head: Vec<u8>,
}

impl SyslogRecord {
    /// The time of the old form.
    pub(crate) fn old_time() -> TimestampPrefix {
        TimestampPrefix::new("%b %e %H:%M:%S")
    }

    fn head(&mut self, speaker: Speaker, wall: Timestamp, out: &mut Vec<u8>) {
        // Writing into a Vec cannot fail.
        let Self { form, priority, host, identifier, time } = self;
        drop(write!(out, "<{priority}>"));
        match form {
            SyslogForm::Old => {
                time.time(wall, out);
                if !host.is_empty() {
                    drop(write!(out, " {host}"));
                }
                drop(write!(out, " {identifier}[{}]: ", speaker.pid));
            }
            SyslogForm::New => {
                let host = if host.is_empty() { "-" } else { host };
                drop(write!(out, "1 {wall:.6} {host} {identifier} {} - - ", speaker.pid));
            }
        }
    }
}

impl JournalRecord {
    pub(crate) fn new(severity: u8, identifier: &str, origin: Origin<'_>) -> Self {
        let watcher: String = origin.watcher.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
        let fields = [
            format!("PRIORITY={severity}"),
            format!("SYSLOG_IDENTIFIER={identifier}"),
            format!("CIRCUS_WATCHER={watcher}"),
            format!("CIRCUS_STREAM={}", origin.stream.name()),
        ];
        let mut head = Vec::new();
        for field in fields {
            head.extend_from_slice(field.as_bytes());
            head.push(BETWEEN);
        }
        Self { head }
    }
}

impl Record {
    /// Appends what a message begins with.
    pub(crate) fn prefix(&mut self, speaker: Speaker, wall: Timestamp, out: &mut Vec<u8>) {
        match self {
            Self::Syslog(syslog) => syslog.head(speaker, wall, out),
            Self::Journal(journal) => {
                out.extend_from_slice(&journal.head);
                let Speaker { pid, wid } = speaker;
                let between = char::from(BETWEEN);
                drop(write!(out, "SYSLOG_PID={pid}{between}CIRCUS_WID={wid}{between}MESSAGE="));
            }
        }
    }

    /// Writes a message for each line, and each piece of a line that has not ended is one too.
    pub(crate) fn render(&self, prefix: &[u8], lines: &[u8], out: &mut Vec<u8>) {
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            out.extend_from_slice(prefix);
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            match self {
                Self::Journal(_) => out.extend_from_slice(text),
                // As rsyslog writes it: many system logs take a NUL for the end.
                Self::Syslog(_) => {
                    let mut parts = text.split(|byte| *byte == 0);
                    out.extend_from_slice(parts.next().unwrap_or_default());
                    parts.for_each(|part| out.extend([b"#000", part].concat()));
                }
            }
            out.push(b'\n');
        }
    }
}

/// A record as the journal's protocol has it: each field a line, the message last. A value without a newline may hold
/// any other byte.
pub(crate) fn journal_fields(record: &[u8]) -> Vec<u8> {
    const MESSAGE: &[u8] = b"\x1fMESSAGE=";
    let head = memchr::memmem::find(record, MESSAGE).map_or(0, |at| at + 1);
    let mut fields = record.to_vec();
    fields.iter_mut().take(head).filter(|byte| **byte == BETWEEN).for_each(|byte| *byte = b'\n');
    fields.push(b'\n');
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::StreamName;

    const SPEAKER: Speaker = Speaker { pid: 42, wid: 3 };

    fn rendered(mut record: Record, lines: &[u8]) -> Vec<u8> {
        let (mut prefix, mut out) = (Vec::new(), Vec::new());
        record.prefix(SPEAKER, Timestamp::UNIX_EPOCH, &mut prefix);
        record.render(&prefix, lines, &mut out);
        out
    }

    fn syslog(form: SyslogForm, host: &str) -> Record {
        let (identifier, host) = ("web".to_owned(), host.to_owned());
        Record::Syslog(SyslogRecord { form, priority: 14, host, identifier, time: TimestampPrefix::new("T") })
    }

    #[test]
    fn messages_have_the_forms_of_their_standards() {
        let text = |record| String::from_utf8(rendered(record, b"one\r\n\0two")).unwrap();
        assert_eq!(text(syslog(SyslogForm::Old, "")), "<14>T web[42]: one\n<14>T web[42]: #000two\n");
        assert_eq!(text(syslog(SyslogForm::Old, "box")), "<14>T box web[42]: one\n<14>T box web[42]: #000two\n");
        let new = "<14>1 1970-01-01T00:00:00.000000Z box web 42 - - one\n";
        assert!(text(syslog(SyslogForm::New, "box")).starts_with(new));
        assert!(text(syslog(SyslogForm::New, "")).starts_with("<14>1 1970-01-01T00:00:00.000000Z - web 42 - - one"));
    }

    #[test]
    fn time_of_the_old_form_has_a_blank_before_a_short_day() {
        let mut out = Vec::new();
        SyslogRecord::old_time().time("2024-02-03T12:00:00Z".parse().unwrap(), &mut out);
        assert!(String::from_utf8(out).unwrap().starts_with("Feb  3 "));
    }

    #[test]
    fn record_of_the_journal_has_a_line_for_each_field_and_any_bytes() {
        let origin = Origin { watcher: "my\nweb", stream: StreamName::Stderr };
        let record = Record::Journal(JournalRecord::new(3, "web", origin));
        let line = b"a \x1fMESSAGE=\0\xff end\n";
        let out = rendered(record, line);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1, "a newline ends the record");
        let fields = journal_fields(out.strip_suffix(b"\n").unwrap());
        let expected =
            b"PRIORITY=3\nSYSLOG_IDENTIFIER=web\nCIRCUS_WATCHER=my_web\nCIRCUS_STREAM=stderr\nSYSLOG_PID=42\n\
            CIRCUS_WID=3\nMESSAGE=a \x1fMESSAGE=\0\xff end\n";
        assert_eq!(fields, expected);
    }
}
