//! What shows that a worker is ready (`ready`), or still at work (`health`), and how that is written.

use regex_lite::Regex;
use serde::{Deserialize, Serialize};

use super::hook::{address, http_address, words_of};
use super::python;

/// A probe as it was written, and what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    text: String,
    /// What is looked at.
    pub kind: ProbeKind,
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeKind {
    /// The worker says `READY=1` at the socket that NOTIFY_SOCKET names.
    Notify,
    /// The worker says `WATCHDOG=1` there, again and again.
    Watchdog,
    /// A connection is accepted.
    Tcp {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
    },
    /// A connection to a unix socket is accepted.
    Unix(String),
    /// A GET is answered with a status from 200 to 399.
    Http {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
        /// What is asked for.
        path: String,
    },
    /// A line that the worker prints matches this regular expression.
    Log(String),
    /// A command ends with status 0.
    Exec(Vec<String>),
}

/// What a probe is for: not every kind serves both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeUse {
    Ready,
    Health,
}

impl ProbeUse {
    fn forms(self) -> &'static str {
        match self {
            Self::Ready => "none, notify, log:REGEX, tcp:HOST:PORT, unix:PATH, http:URL or exec:COMMAND",
            Self::Health => "none, watchdog, tcp:HOST:PORT, unix:PATH, http:URL or exec:COMMAND",
        }
    }
}

impl Probe {
    /// Reads one of the forms; `none` and an empty text are no probe.
    pub(super) fn read(text: &str, of: ProbeUse) -> Result<Option<Self>, String> {
        let text = python::trim(text);
        if text.is_empty() || text.eq_ignore_ascii_case("none") {
            return Ok(None);
        }
        let kind = match (text.split_once(':'), of) {
            (None, ProbeUse::Ready) if text.eq_ignore_ascii_case("notify") => ProbeKind::Notify,
            (None, ProbeUse::Health) if text.eq_ignore_ascii_case("watchdog") => ProbeKind::Watchdog,
            (Some(("log", pattern)), ProbeUse::Ready) => {
                let pattern = python::trim(pattern);
                Regex::new(pattern).map_err(|error| format!("'{pattern}' is not a regular expression: {error}"))?;
                ProbeKind::Log(pattern.into())
            }
            (Some(("tcp", place)), _) => {
                let (host, port) = address(place.strip_prefix("//").unwrap_or(place), None)?;
                ProbeKind::Tcp { host, port }
            }
            (Some(("unix", path)), _) if !path.is_empty() => ProbeKind::Unix(path.into()),
            (Some(("http", url)), _) => {
                let (host, port, path) = http_address(url)?;
                ProbeKind::Http { host, port, path }
            }
            (Some(("https", _)), _) => {
                return Err("TLS is not supported; use exec: with a program that does, such as curl -sf URL".into());
            }
            (Some(("exec", command)), _) => ProbeKind::Exec(words_of(python::trim(command))?),
            _ => return Err(format!("'{text}' is not one of {}", of.forms())),
        };
        Ok(Some(Self { text: text.to_owned(), kind }))
    }

    /// Reads `exec:COMMAND`, where nothing else will do; `none` and an empty text are no command.
    pub(super) fn read_command(text: &str) -> Result<Option<Self>, String> {
        let text = python::trim(text);
        if text.is_empty() || text.eq_ignore_ascii_case("none") {
            return Ok(None);
        }
        let command =
            text.strip_prefix("exec:").ok_or_else(|| format!("'{text}' is not one of none or exec:COMMAND"))?;
        Ok(Some(Self { text: text.to_owned(), kind: ProbeKind::Exec(words_of(python::trim(command))?) }))
    }

    /// What messages and events call it: without the arguments of a command and the query of a URL, where secrets may be.
    pub fn shown(&self) -> String {
        match &self.kind {
            ProbeKind::Exec(words) => format!("exec:{}", words.first().map(String::as_str).unwrap_or_default()),
            ProbeKind::Http { .. } => {
                let text = self.text.split(['?', '#']).next().unwrap_or_default();
                let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                format!("{scheme}://{}{path}", authority.rsplit('@').next().unwrap_or_default())
            }
            ProbeKind::Notify
            | ProbeKind::Watchdog
            | ProbeKind::Tcp { .. }
            | ProbeKind::Unix(_)
            | ProbeKind::Log(_) => self.text.clone(),
        }
    }

    /// As it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is the worker that shows it by itself, and not circusd that looks.
    pub fn is_passive(&self) -> bool {
        self.is_notified() || matches!(self.kind, ProbeKind::Log(_))
    }

    /// Whether the worker reports by itself, through its notification socket.
    pub fn is_notified(&self) -> bool {
        matches!(self.kind, ProbeKind::Notify | ProbeKind::Watchdog)
    }
}

/// The options `ready*` and `health*` of a watcher. Each field's meaning, unit and default stand in `WATCHER_OPTIONS`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each option is described once, in config::WATCHER_OPTIONS")]
pub struct Checks {
    pub ready: Option<Probe>,
    pub ready_timeout: f64,
    pub ready_interval: f64,
    pub health: Option<Probe>,
    pub health_interval: f64,
    pub health_timeout: f64,
    pub health_retries: u32,
    pub health_start_delay: f64,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            ready: None,
            ready_timeout: 60.0,
            ready_interval: 0.5,
            health: None,
            health_interval: 10.0,
            health_timeout: 5.0,
            health_retries: 3,
            health_start_delay: 0.0,
        }
    }
}

impl Checks {
    /// Whether the workers have something to report by themselves.
    pub fn are_notified(&self) -> bool {
        [&self.ready, &self.health].into_iter().flatten().any(Probe::is_notified)
    }

    /// The regular expression that a line has to match.
    pub fn pattern(&self) -> Option<&str> {
        match &self.ready.as_ref()?.kind {
            ProbeKind::Log(pattern) => Some(pattern),
            _ => None,
        }
    }

    /// Whether these are the options of a watcher that sets none of them.
    pub(crate) fn are_default(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> ProbeKind {
        Probe::read(text, ProbeUse::Ready).unwrap().unwrap().kind
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(kind("notify"), ProbeKind::Notify);
        assert_eq!(kind("tcp:[::1]:80"), ProbeKind::Tcp { host: "::1".into(), port: 80 });
        assert_eq!(kind("unix:/run/x"), ProbeKind::Unix("/run/x".into()));
        let http = |port, path: &str| ProbeKind::Http { host: "h".into(), port, path: path.into() };
        assert_eq!(kind("http://h:81/up?a=1"), http(81, "/up?a=1"));
        assert_eq!(kind("http:http://h/x"), http(80, "/x"));
        assert_eq!(kind("exec: test -f '/a b'"), ProbeKind::Exec(vec!["test".into(), "-f".into(), "/a b".into()]));
        for text in ["", "none", " None "] {
            assert_eq!(Probe::read(text, ProbeUse::Health), Ok(None));
        }
        let watchdog = Probe::read("watchdog", ProbeUse::Health).unwrap().unwrap();
        assert!(watchdog.is_notified());
    }

    #[test]
    fn other_texts_are_refused_with_the_forms() {
        for (text, of, reason) in [
            ("yes", ProbeUse::Ready, "'yes' is not one of none, notify, log:REGEX, tcp"),
            ("watchdog", ProbeUse::Ready, "'watchdog' is not one of"),
            ("notify", ProbeUse::Health, "'notify' is not one of none, watchdog"),
            ("unix:", ProbeUse::Ready, "'unix:' is not one of"),
            ("tcp:80", ProbeUse::Ready, "'80' is not HOST:PORT"),
            ("https://h/", ProbeUse::Health, "TLS is not supported"),
            ("exec:", ProbeUse::Health, "a command is missing"),
            ("log:(", ProbeUse::Ready, "'(' is not a regular expression: "),
            ("log:x", ProbeUse::Health, "'log:x' is not one of"),
            ("http://h/a b", ProbeUse::Ready, "'/a b' is not a path of a URL"),
        ] {
            let found = Probe::read(text, of).unwrap_err();
            assert!(found.starts_with(reason), "{text}: {found}");
        }
    }
}
