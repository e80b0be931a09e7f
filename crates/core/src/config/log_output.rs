//! `logoutput` and `--log-output`: where circusd's own log goes.

/// Where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// `-`, and as in Circus `stdout` too.
    Stderr,
    /// A file.
    File(String),
    /// `syslog://HOST[:PORT]?FACILITY` or `syslog:///PATH?FACILITY`.
    Syslog(SyslogAddress, SyslogFacility),
}

/// Where messages for the system log go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogAddress {
    /// Over UDP.
    Host(String, u16),
    /// A datagram socket of this machine, such as /dev/log.
    Path(String),
}

/// What kind of program a message is from, in the numbers of RFC 3164.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyslogFacility(pub u8);

impl SyslogFacility {
    /// A program of a user: what messages are from where nothing, or no such facility, is named.
    pub const USER: Self = Self(1);
}

/// By their numbers; the names are Python's.
const FACILITIES: [&str; 24] = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];

const SYSLOG_PORT: u16 = 514;

impl LogOutput {
    /// Reads the option. The error says what is wrong with a URL; anything else is the name of a file.
    pub fn parse(text: &str) -> Result<Self, String> {
        if ["-", "stdout"].contains(&text) {
            return Ok(Self::Stderr);
        }
        let Some(target) = text.strip_prefix("syslog://") else { return Ok(Self::File(text.into())) };
        let (target, query) = target.split_once('?').unwrap_or((target, ""));
        let facility = facility_named(query).unwrap_or(SyslogFacility::USER);
        let address = address(target).map_err(|problem| {
            format!("{text}: {problem}; write syslog://HOST:PORT?FACILITY or syslog:///dev/log?FACILITY")
        })?;
        Ok(Self::Syslog(address, facility))
    }
}

/// An unknown facility in a syslog URL.
pub(super) fn unknown_facility(text: &str) -> Option<&str> {
    let (_, query) = text.strip_prefix("syslog://")?.split_once('?')?;
    Some(query).filter(|query| !query.is_empty() && facility_named(query).is_none())
}

/// What `nearest` may suggest.
pub(super) fn facilities() -> impl Iterator<Item = &'static str> {
    FACILITIES.into_iter()
}

/// The facility of this name.
pub(super) fn facility_named(name: &str) -> Option<SyslogFacility> {
    let number = FACILITIES.iter().position(|known| *known == name)?;
    u8::try_from(number).ok().map(SyslogFacility)
}

fn address(target: &str) -> Result<SyslogAddress, String> {
    if target.starts_with('/') {
        return Ok(SyslogAddress::Path(target.into()));
    }
    let host = target.split('/').next().unwrap_or(target);
    let (host, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':').unwrap_or(rest)),
        None => host.split_once(':').unwrap_or((host, "")),
    };
    if host.is_empty() {
        return Err("there is no host and no path".into());
    }
    let port = match port {
        "" => SYSLOG_PORT,
        port => port.parse().map_err(|_| format!("'{port}' is not a port"))?,
    };
    Ok(SyslogAddress::Host(host.into(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> LogOutput {
        LogOutput::parse(text).unwrap()
    }

    #[test]
    fn standard_error_and_files() {
        assert_eq!(parsed("-"), LogOutput::Stderr);
        assert_eq!(parsed("stdout"), LogOutput::Stderr);
        assert_eq!(parsed("/var/log/circus.log"), LogOutput::File("/var/log/circus.log".into()));
        assert_eq!(parsed("syslog"), LogOutput::File("syslog".into()));
    }

    #[test]
    fn system_logs() {
        let host = |host: &str, port| SyslogAddress::Host(host.into(), port);
        for (text, address, facility) in [
            ("syslog://loghost", host("loghost", 514), 1),
            ("syslog://loghost:1514?local3", host("loghost", 1514), 19),
            ("syslog://127.0.0.1:?daemon", host("127.0.0.1", 514), 3),
            ("syslog://[::1]:5140/?cron", host("::1", 5140), 9),
            ("syslog://[::1]", host("::1", 514), 1),
            ("syslog:///dev/log?local7", SyslogAddress::Path("/dev/log".into()), 23),
            ("syslog:///dev/log?LOCAL7", SyslogAddress::Path("/dev/log".into()), 1),
        ] {
            assert_eq!(parsed(text), LogOutput::Syslog(address, SyslogFacility(facility)), "{text}");
        }
    }

    #[test]
    fn invalid_urls_are_explained() {
        for (text, problem) in [
            ("syslog://", "there is no host and no path"),
            ("syslog://:514?user", "there is no host and no path"),
            ("syslog://host:port", "'port' is not a port"),
            ("syslog://host:70000", "'70000' is not a port"),
            ("syslog://[::1]x", "'x' is not a port"),
        ] {
            let error = LogOutput::parse(text).unwrap_err();
            assert!(error.starts_with(&format!("{text}: {problem}; write syslog://HOST")), "{error}");
        }
    }

    #[test]
    fn unknown_facilities_are_refused() {
        assert_eq!(unknown_facility("syslog:///dev/log?locl0"), Some("locl0"));
        for known in ["syslog:///dev/log?local0", "syslog:///dev/log?", "syslog:///dev/log", "a?b"] {
            assert_eq!(unknown_facility(known), None);
        }
    }
}
