//! What runs at a point of a watcher's life, and how that is written.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{python, words};

/// A hook as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// What runs: see [`HookKind`].
    pub run: String,
    /// Whether a hook that fails counts as one that returns true.
    pub ignore_failure: bool,
}

/// What a hook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookKind {
    /// A command; its exit status is the answer.
    Command(Vec<String>),
    /// Waits until a program accepts connections there.
    WaitTcp {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
    },
    /// Waits until a GET is answered with a status from 200 to 399.
    WaitHttp {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
        /// What is asked for.
        path: String,
    },
    /// Waits until a program accepts connections at a unix socket.
    WaitUnix(String),
    /// Waits until a command succeeds.
    WaitCommand(Vec<String>),
    /// A Python function by its dotted name.
    Python(String),
}

impl Hook {
    /// Reads `WHAT` or `WHAT, FLAG`.
    pub fn read(text: &str) -> Result<Self, String> {
        let text = python::trim(text);
        let flagged = text.rsplit_once(',').and_then(|(run, flag)| Some((run, python::boolean(python::trim(flag))?)));
        let (run, ignore_failure) = flagged.unwrap_or((text, false));
        Self::new(python::trim(run), ignore_failure)
    }

    /// Reads a value of the wire: a text, or a list of what runs and the flag.
    pub(in crate::config) fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Self::read(text),
            Value::Array(pair) => match pair.as_slice() {
                [Value::String(run), Value::Bool(flag)] => Self::new(run, *flag),
                _ => Err(format!("{} is not a hook: it takes a name and a boolean", python::repr(value))),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                Err(format!("{} is not a hook", python::repr(value)))
            }
        }
    }

    fn new(run: &str, ignore_failure: bool) -> Result<Self, String> {
        let hook = Self { run: run.to_owned(), ignore_failure };
        hook.kind().map(|_| hook)
    }

    /// Whether it waits for a service: when it returns true, the service is there.
    pub fn waits_for_service(&self) -> bool {
        matches!(
            self.kind(),
            Ok(HookKind::WaitTcp { .. } | HookKind::WaitHttp { .. } | HookKind::WaitUnix(_) | HookKind::WaitCommand(_))
        )
    }

    /// As it is written.
    pub fn show(&self) -> String {
        // A command that ends like a flag is written with a flag of its own.
        let like_a_flag = || Self::read(&self.run).is_ok_and(|read| read.run != self.run);
        match self.ignore_failure {
            true => format!("{},True", self.run),
            false if like_a_flag() => format!("{},False", self.run),
            false => self.run.clone(),
        }
    }

    /// What is to be done.
    pub fn kind(&self) -> Result<HookKind, String> {
        let text = self.run.as_str();
        let behind = |prefix: &str| text.strip_prefix(prefix).map(python::trim);
        if let Some(command) = behind("exec:").or(is_path(text).then_some(text)) {
            return words_of(command).map(HookKind::Command);
        }
        if let Some(command) = behind("wait_cmd:") {
            return words_of(command).map(HookKind::WaitCommand);
        }
        if let Some(place) = behind("wait_tcp:") {
            let (host, port) = address(place.strip_prefix("//").unwrap_or(place), None)?;
            return Ok(HookKind::WaitTcp { host, port });
        }
        if let Some(url) = behind("wait_http:") {
            return http(url);
        }
        if let Some(path) = behind("wait_unix:") {
            return if path.is_empty() {
                Err("wait_unix: needs a path".into())
            } else {
                Ok(HookKind::WaitUnix(path.into()))
            };
        }
        match text.split_once(':') {
            Some((prefix, _)) if prefix.starts_with("wait_") => {
                Err(format!("unknown prefix {prefix} (there are wait_tcp:, wait_http:, wait_unix: and wait_cmd:)"))
            }
            _ if is_dotted(text) => Ok(HookKind::Python(text.into())),
            _ => Err(format!(
                "'{text}' is neither the dotted name of a Python function nor a command; write exec: before a command"
            )),
        }
    }
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') || text.starts_with("./")
}

pub(super) fn words_of(command: &str) -> Result<Vec<String>, String> {
    let words = words::split(command)?;
    if words.is_empty() { Err("a command is missing".into()) } else { Ok(words) }
}

/// `package.module.function` or `package.module:function`.
fn is_dotted(text: &str) -> bool {
    let is_name = |part: &str| {
        let mut chars = part.chars();
        chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') && chars.all(|c| c.is_alphanumeric() || c == '_')
    };
    let (module, object) = text.split_once(':').unwrap_or((text, "x"));
    module.split('.').chain(object.split('.')).all(is_name)
}

/// `HOST:PORT`, an IPv6 address in brackets.
pub(super) fn address(text: &str, default: Option<u16>) -> Result<(String, u16), String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let wrong = || format!("'{text}' is not HOST:PORT");
    let port = match port {
        Some(port) => port.parse().map_err(|_| wrong())?,
        None => default.ok_or_else(wrong)?,
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if bare.is_empty() || bare.contains(char::is_whitespace) { Err(wrong()) } else { Ok((bare.to_owned(), port)) }
}

fn http(url: &str) -> Result<HookKind, String> {
    if url.starts_with("https:") {
        return Err(
            "wait_http: does not support TLS; use wait_cmd: with a program that does, such as curl -sf URL".into()
        );
    }
    http_address(url).map(|(host, port, path)| HookKind::WaitHttp { host, port, path })
}

/// The host, port and path of a URL.
pub(super) fn http_address(url: &str) -> Result<(String, u16, String), String> {
    // Both wait_http:http://host/ and wait_http://host/.
    let rest = url.strip_prefix("http:").unwrap_or(url);
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (place, path) = rest.split_once('/').map_or((rest, String::new()), |(place, path)| (place, path.to_owned()));
    let (host, port) = address(place, Some(80))?;
    let path = format!("/{path}");
    if path.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("'{path}' is not a path of a URL"));
    }
    Ok((host, port, path))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(text: &str) -> HookKind {
        Hook::read(text).and_then(|hook| hook.kind()).unwrap()
    }

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn kind_of_hook_follows_from_its_prefix() {
        assert_eq!(kind("app.hooks.ready"), HookKind::Python("app.hooks.ready".into()));
        assert_eq!(kind("app.hooks:ready"), HookKind::Python("app.hooks:ready".into()));
        assert_eq!(kind("exec: test -f /x"), HookKind::Command(words("test -f /x")));
        assert_eq!(kind("/bin/x -a"), HookKind::Command(words("/bin/x -a")));
        assert_eq!(kind("./x"), HookKind::Command(words("./x")));
        assert_eq!(kind("wait_cmd:pg_isready -q"), HookKind::WaitCommand(words("pg_isready -q")));
        assert_eq!(kind("wait_unix:/run/x"), HookKind::WaitUnix("/run/x".into()));
        for text in ["wait_tcp:[::1]:80", "wait_tcp://[::1]:80"] {
            assert_eq!(kind(text), HookKind::WaitTcp { host: "::1".into(), port: 80 });
        }
        let http = |port, path: &str| HookKind::WaitHttp { host: "h".into(), port, path: path.into() };
        assert_eq!(kind("wait_http:http://h:81/up?a=1"), http(81, "/up?a=1"));
        assert_eq!(kind("wait_http:http://h"), http(80, "/"));
        assert_eq!(kind("wait_http://h/x"), http(80, "/x"));
    }

    #[test]
    fn what_can_be_nothing_is_refused_with_what_it_could_be() {
        for (text, reason) in [
            ("", "'' is neither"),
            ("a b", "'a b' is neither"),
            ("a..b", "'a..b' is neither"),
            ("exec:", "a command is missing"),
            ("exec:'x", "a single quote (') is never closed"),
            ("wait_tcp:80", "'80' is not HOST:PORT"),
            ("wait_tcp:h:99999", "'h:99999' is not HOST:PORT"),
            ("wait_unix:", "wait_unix: needs a path"),
            ("wait_http:https://h/", "wait_http: does not support TLS"),
            ("wait_dns:h", "unknown prefix wait_dns"),
        ] {
            let found = Hook::read(text).unwrap_err();
            assert!(found.starts_with(reason), "{text}: {found}");
        }
    }

    #[test]
    fn the_flag_is_the_last_boolean() {
        let read = |text| Hook::read(text).map(|hook| (hook.run, hook.ignore_failure)).unwrap();
        assert_eq!(read("a.b , True"), ("a.b".into(), true));
        assert_eq!(read("a.b,no"), ("a.b".into(), false));
        assert_eq!(read("exec:x a,b, yes"), ("exec:x a,b".into(), true));
        assert_eq!(read("exec:x a,b"), ("exec:x a,b".into(), false));
        assert!(Hook::read("a.b,maybe").is_err());
        assert_eq!(Hook::from_value(&json!(["a.b", true])), Hook::read("a.b,True"));
        assert!(Hook::from_value(&json!(["a.b"])).is_err());
    }

    #[test]
    fn what_is_shown_can_be_read() {
        for value in [json!("a.b"), json!(["a.b", true]), json!(["exec:x 1,0", false]), json!(["exec:x 1,0", true])] {
            let hook = Hook::from_value(&value).unwrap();
            assert_eq!(Hook::read(&hook.show()), Ok(hook));
        }
    }
}
