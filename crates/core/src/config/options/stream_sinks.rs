//! What the keys of a stream mean that say how much is kept, what happens when a place takes no more, and how messages
//! for the system log and the journal look.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::log_output::{SyslogFacility, facility_named};
use crate::config::nearest::suggestion;
use crate::config::{StreamConfig, python};

/// `on_full`: what happens to lines that a place does not take and that do not fit into the queue before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFull {
    /// The workers wait.
    Block,
    /// They are dropped and counted.
    Drop,
}

/// What is kept of rotated files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeping {
    /// `max_total`: so many bytes with the file itself; 0: any number.
    pub max_total: u64,
    /// `max_age`; zero: for ever.
    pub max_age: Duration,
    /// `compress`: as gzip does.
    pub compress: bool,
}

/// `address` of a SyslogStream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyslogTarget {
    /// A datagram socket of this machine.
    Path(String),
    /// Over UDP.
    Host(SocketAddr),
}

/// The forms of a message for the system log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyslogForm {
    /// RFC 3164.
    Old,
    /// RFC 5424.
    New,
}

/// The severities by their numbers, as syslog.conf writes them.
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

const SYSLOG_PORT: u16 = 514;

/// What a journal or a system log takes as the name of a program.
const LONGEST_IDENTIFIER: usize = 48;

impl StreamConfig {
    /// `on_full`, where it is written.
    pub fn on_full(&self) -> Result<Option<OnFull>, String> {
        match self.text("on_full")?.map(python::trim) {
            None => Ok(None),
            Some("block") => Ok(Some(OnFull::Block)),
            Some("drop") => Ok(Some(OnFull::Drop)),
            Some(other) => Err(format!("on_full: '{other}' is neither block nor drop")),
        }
    }

    /// `max_total`, `max_age` and `compress`.
    pub fn keeping(&self) -> Result<Keeping, String> {
        let compress = match self.text("compress")?.map(python::trim) {
            None => false,
            Some("gzip") => true,
            Some(other) if python::boolean(other) == Some(false) => false,
            Some(other) => return Err(format!("compress: '{other}' is neither gzip nor no")),
        };
        let max_age = Duration::from_secs(self.size("max_age")?);
        Ok(Keeping { max_total: self.size("max_total")?, max_age, compress })
    }

    /// `backup_count`. Where it is not written and something else bounds what is kept, it bounds nothing.
    pub fn backups(&self) -> Result<Option<u64>, String> {
        let kept = self.keeping()?;
        let bounded = kept.max_total > 0 || !kept.max_age.is_zero();
        let is_written = self.options.get("backup_count").is_some_and(|value| !value.is_null());
        if bounded && !is_written { Ok(None) } else { self.size("backup_count").map(Some) }
    }

    /// `address`: a path, or an address of IP with or without a port. circusd asks no name server for an output.
    pub fn syslog_target(&self) -> Result<SyslogTarget, String> {
        let text = self.text("address")?.map_or("/dev/log", python::trim);
        if text.starts_with('/') {
            return Ok(SyslogTarget::Path(text.to_owned()));
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        let host = bare.parse::<IpAddr>().map(|host| SocketAddr::new(host, SYSLOG_PORT));
        host.or_else(|_| text.parse()).map(SyslogTarget::Host).map_err(|_| {
            format!(
                "address: '{text}' is neither a path nor an IP address with or without a port, such as 10.0.0.5:514"
            )
        })
    }

    /// `protocol`: RFC 3164, unless RFC 5424 is asked for.
    pub fn syslog_form(&self) -> Result<SyslogForm, String> {
        match self.text("protocol")?.map(python::trim) {
            None | Some("rfc3164") => Ok(SyslogForm::Old),
            Some("rfc5424") => Ok(SyslogForm::New),
            Some(other) => Err(format!("protocol: '{other}' is neither rfc3164 nor rfc5424")),
        }
    }

    /// `facility`: user, unless another is named.
    pub fn facility(&self) -> Result<u8, String> {
        let Some(name) = self.text("facility")?.map(python::trim) else { return Ok(SyslogFacility::USER.0) };
        facility_named(name).map(|facility| facility.0).ok_or_else(|| {
            let hint = suggestion(name, crate::config::log_output::facilities());
            format!("facility: there is no facility '{name}'{hint}")
        })
    }

    /// `severity` as its number, where it is written.
    pub fn severity(&self) -> Result<Option<u8>, String> {
        let Some(name) = self.text("severity")?.map(python::trim) else { return Ok(None) };
        let found = SEVERITIES.iter().position(|known| *known == name).and_then(|at| u8::try_from(at).ok());
        found.map(Some).ok_or_else(|| format!("severity: '{name}' is none of {}", SEVERITIES.join(", ")))
    }

    /// `identifier`: the name of the program in messages; without it, `watcher`. What it may not have becomes `_`.
    pub fn identifier(&self, watcher: &str) -> Result<String, String> {
        let name = self.text("identifier")?.unwrap_or(watcher);
        let allowed = |c: char| if c.is_ascii_graphic() && !matches!(c, '[' | ']' | ':') { c } else { '_' };
        Ok(name.chars().map(allowed).take(LONGEST_IDENTIFIER).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn with(options: Value) -> StreamConfig {
        StreamConfig { class: "FileStream".into(), options: serde_json::from_value(options).unwrap() }
    }

    #[test]
    fn what_is_kept_is_read() {
        let kept = |options: Value| with(options).keeping();
        assert_eq!(kept(json!({})), Ok(Keeping::default()));
        let all = Keeping { max_total: 5, max_age: Duration::from_secs(60), compress: true };
        assert_eq!(kept(json!({"max_total": "5", "max_age": 60, "compress": "gzip"})), Ok(all));
        assert_eq!(kept(json!({"compress": "no"})), Ok(Keeping::default()));
        assert_eq!(kept(json!({"compress": "xz"})), Err("compress: 'xz' is neither gzip nor no".into()));
        assert_eq!(kept(json!({"max_age": "1 day"})), Err("max_age: '1 day' is not a whole number".into()));
    }

    #[test]
    fn number_of_backups_is_free_where_something_else_bounds_them() {
        assert_eq!(with(json!({})).backups(), Ok(Some(0)));
        assert_eq!(with(json!({"max_total": 5})).backups(), Ok(None));
        assert_eq!(with(json!({"max_age": 5})).backups(), Ok(None));
        assert_eq!(with(json!({"max_age": 5, "backup_count": 3})).backups(), Ok(Some(3)));
        assert_eq!(with(json!({"compress": "gzip"})).backups(), Ok(Some(0)));
    }

    #[test]
    fn full_places_block_or_drop() {
        assert_eq!(with(json!({})).on_full(), Ok(None));
        assert_eq!(with(json!({"on_full": "block"})).on_full(), Ok(Some(OnFull::Block)));
        assert_eq!(with(json!({"on_full": " drop "})).on_full(), Ok(Some(OnFull::Drop)));
        assert_eq!(with(json!({"on_full": "wait"})).on_full(), Err("on_full: 'wait' is neither block nor drop".into()));
    }

    #[test]
    fn addresses_of_system_logs_are_paths_or_numbers() {
        let read = |text: &str| with(json!({"address": text})).syslog_target();
        let host = |text: &str| Ok(SyslogTarget::Host(text.parse().unwrap()));
        assert_eq!(with(json!({})).syslog_target(), Ok(SyslogTarget::Path("/dev/log".into())));
        assert_eq!(read("/run/log"), Ok(SyslogTarget::Path("/run/log".into())));
        assert_eq!(read("10.0.0.5"), host("10.0.0.5:514"));
        assert_eq!(read("10.0.0.5:5140"), host("10.0.0.5:5140"));
        assert_eq!(read("::1"), host("[::1]:514"));
        assert_eq!(read("[::1]"), host("[::1]:514"));
        assert_eq!(read("[::1]:99"), host("[::1]:99"));
        for wrong in ["loghost", "10.0.0.5:port", "[::1", "udp://10.0.0.5"] {
            assert!(read(wrong).is_err_and(|error| error.starts_with("address: '")), "{wrong}");
        }
    }

    #[test]
    fn messages_have_a_facility_a_severity_and_a_name() {
        let of = |options: Value| with(options);
        assert_eq!((of(json!({})).facility(), of(json!({})).severity()), (Ok(1), Ok(None)));
        assert_eq!(of(json!({"facility": "local3"})).facility(), Ok(19));
        let error = "facility: there is no facility 'locla3'; did you mean 'local3'?";
        assert_eq!(of(json!({"facility": "locla3"})).facility(), Err(error.into()));
        assert_eq!(of(json!({"severity": "err"})).severity(), Ok(Some(3)));
        assert!(of(json!({"severity": "bad"})).severity().is_err());
        assert_eq!(of(json!({"protocol": "rfc5424"})).syslog_form(), Ok(SyslogForm::New));
        assert!(of(json!({"protocol": "5424"})).syslog_form().is_err());
        assert_eq!(of(json!({})).identifier("my web[1]\n"), Ok("my_web_1__".into()));
        assert_eq!(of(json!({"identifier": "x"})).identifier("web"), Ok("x".into()));
    }
}
