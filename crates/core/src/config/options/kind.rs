//! Types of options: how a text of a file is read, and what is accepted on the wire.
//!
//! Both roads lead to a JSON value of the same form, which the option then stores.

use serde_json::Value;

use super::stop_signals;
use crate::config::python::{self, NotANumber};
use crate::proto::{HookPoint, Object};

/// The type of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// yes, true, on, 1 or no, false, off, 0.
    Bool,
    /// A boolean, or `on-failure`.
    Respawn,
    /// `end` or `keep`.
    Orphans,
    /// `overlap`, `exclusive` or `hup`.
    Reload,
    /// `restart`, `stop` or `none`.
    Propagate,
    /// One of these words.
    OneOf(&'static Words),
    /// Exit statuses: whole numbers from 0 to 255 with commas between them; on the wire also a list.
    Codes,
    /// A whole number.
    Int,
    /// A whole number from the first to the second, or nothing: in a file an empty value.
    Within(i32, i32),
    /// A mode in octal.
    Octal,
    /// Seconds.
    Seconds,
    /// Seconds; whole ones in a file, as ever.
    WholeSeconds,
    /// A signal: in a file by name or number, on the wire by number. Or several, on the wire as a text.
    Signal,
    /// A user or group by name or number.
    Account,
    /// Arguments: a text that is split into words; on the wire also the words themselves.
    Args,
    /// Variables of the environment: an object of texts. In files these are sections.
    Env,
    /// Names with commas between them; on the wire also a list.
    Names,
    /// A resource limit: a whole number, or nothing for none.
    Limit,
    /// A stream: an object with a class. In files its keys are options of their own.
    Stream,
    /// A key of a stream.
    StreamKey,
    /// Hooks: an object of hooks by their points. In files its keys are options of their own.
    Hooks,
    /// A hook.
    Hook,
}

/// Words of which an option is one.
#[derive(Debug, PartialEq, Eq)]
pub struct Words {
    /// In lower case.
    pub all: &'static [&'static str],
    /// What they are called in manuals and refusals.
    pub described: &'static str,
}

/// The values of `kind`.
pub(super) static KINDS: Words = Words { all: &["service", "oneshot", "cron"], described: "service, oneshot or cron" };
/// The values of `kill_mode`.
pub(super) static KILL_MODES: Words =
    Words { all: &["mixed", "process", "group", "tree", "cgroup"], described: "mixed, process, group, tree or cgroup" };
/// The values of `overlap`.
pub(super) static OVERLAPS: Words = Words { all: &["skip", "queue", "kill"], described: "skip, queue or kill" };
/// The values of `missed`.
pub(super) static MISSED: Words = Words { all: &["skip", "run"], described: "skip or run" };

/// Longer than any machine runs, and short enough to be added to any time without overflow.
const FOREVER: f64 = 1e9;

/// The third value of `respawn`.
pub(super) const ON_FAILURE: &str = "on-failure";
/// The values of `orphans`.
pub(super) const END: &str = "end";
pub(super) const KEEP: &str = "keep";
/// The values of `reload`.
pub(super) const OVERLAP: &str = "overlap";
pub(super) const EXCLUSIVE: &str = "exclusive";
pub(super) const HUP: &str = "hup";
/// The values of `propagate`.
pub(super) const RESTART: &str = "restart";
pub(super) const STOP: &str = "stop";
pub(super) const NONE: &str = "none";

impl Kind {
    /// What it is called in manuals.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Text | Self::StreamKey => "text",
            Self::Bool => "yes or no",
            Self::Respawn => "yes, no or on-failure",
            Self::Orphans => "end or keep",
            Self::Reload => "overlap, exclusive or hup",
            Self::Propagate => "restart, stop or none",
            Self::OneOf(words) => words.described,
            Self::Codes => "exit statuses",
            Self::Int => "whole number",
            Self::Octal => "octal mode",
            Self::Seconds => "seconds",
            Self::WholeSeconds => "whole seconds",
            Self::Signal => "signal",
            Self::Account => "name or number",
            Self::Args => "words",
            Self::Env => "variables",
            Self::Names => "names",
            Self::Limit | Self::Within(..) => "number or nothing",
            Self::Stream => "stream",
            Self::Hooks | Self::Hook => "hook",
        }
    }

    /// Reads the text of a file. The error says what the text is not.
    pub fn read(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Text | Self::Args | Self::StreamKey | Self::Hook => Ok(text.into()),
            Self::Bool => {
                python::boolean(text).map(Value::from).ok_or(format!("'{text}' is not a boolean (yes or no)"))
            }
            Self::Respawn if python::trim(text).eq_ignore_ascii_case(ON_FAILURE) => Ok(ON_FAILURE.into()),
            Self::Respawn => python::boolean(text)
                .map(Value::from)
                .ok_or(format!("'{text}' is neither a boolean (yes or no) nor {ON_FAILURE}")),
            Self::Orphans => match python::trim(text).to_ascii_lowercase().as_str() {
                word @ (END | KEEP) => Ok(word.into()),
                _ => Err(format!("'{text}' is neither {END} nor {KEEP}")),
            },
            Self::Reload => match python::trim(text).to_ascii_lowercase().as_str() {
                word @ (OVERLAP | EXCLUSIVE | HUP) => Ok(word.into()),
                _ => Err(format!("'{text}' is neither {OVERLAP} nor {EXCLUSIVE} nor {HUP}")),
            },
            Self::Propagate => match python::trim(text).to_ascii_lowercase().as_str() {
                word @ (RESTART | STOP | NONE) => Ok(word.into()),
                _ => Err(format!("'{text}' is neither {RESTART} nor {STOP} nor {NONE}")),
            },
            Self::OneOf(words) => {
                let word = python::trim(text).to_ascii_lowercase();
                let known = words.all.contains(&word.as_str());
                if known { Ok(word.into()) } else { Err(format!("'{text}' is neither {}", words.all.join(" nor "))) }
            }
            Self::Codes => codes(text),
            Self::Int | Self::WholeSeconds => {
                python::int(text).map(Value::from).map_err(number(text, "a whole number"))
            }
            Self::Within(..) if python::trim(text).is_empty() => Ok(Value::Null),
            Self::Within(first, last) => {
                let number = python::int(text).map_err(number(text, "a whole number"))?;
                if (i64::from(first)..=i64::from(last)).contains(&number) {
                    return Ok(number.into());
                }
                Err(format!("{number} is not from {first} to {last}"))
            }
            Self::Octal => python::octal(text).map(Value::from).map_err(number(text, "an octal mode such as 022")),
            Self::Seconds => seconds(text).map_err(number(text, "a number")),
            Self::Signal => stop_signals::read(text),
            Self::Account => Ok(account(text)),
            Self::Names => Ok(text.split(',').map(python::trim).filter(|name| !name.is_empty()).collect()),
            Self::Limit if python::trim(text).is_empty() => Ok(Value::Null),
            Self::Limit => python::int(text).map(Value::from).map_err(number(text, "a whole number")),
            Self::Env => Err("cannot be written here; use a section [env:NAME]".into()),
            Self::Hooks if text.is_empty() => Ok(Value::Object(Object::new())),
            Self::Stream | Self::Hooks => Err("needs a key, as in stdout_stream.filename or hooks.before_start".into()),
        }
    }

    /// Takes a value of a configuration in JSON: one of the wire, or a text as a file has it.
    pub(in crate::config) fn given(self, key: &str, value: &Value) -> Result<Value, String> {
        match (self, value) {
            (Self::Args | Self::Account | Self::Stream | Self::Hooks | Self::Env, _) => {}
            (_, Value::String(text)) => return self.read(text),
            (_, _) => {}
        }
        self.check(key, value).map(|()| value.clone())
    }

    /// Checks a value of the wire. The texts are the original's, which clients show to their users.
    pub fn check(self, key: &str, value: &Value) -> Result<(), String> {
        if let (Self::Signal, Some(text)) = (self, value.as_str()) {
            return stop_signals::check(key, text);
        }
        let ok = match self {
            Self::StreamKey | Self::Hook => true,
            Self::Text => value.is_string() || value.is_null(),
            Self::Bool => value.is_boolean(),
            Self::Respawn => value.is_boolean() || value.as_str() == Some(ON_FAILURE),
            Self::Orphans => matches!(value.as_str(), Some(END | KEEP)),
            Self::Reload => value.is_null() || matches!(value.as_str(), Some(OVERLAP | EXCLUSIVE | HUP)),
            Self::Propagate => matches!(value.as_str(), Some(RESTART | STOP | NONE)),
            Self::OneOf(words) => value.as_str().is_some_and(|word| words.all.contains(&word)),
            Self::Codes => {
                value.is_string() || is_int(value) || value.as_array().is_some_and(|all| all.iter().all(is_int))
            }
            Self::Int | Self::Octal | Self::Signal => is_int(value),
            Self::Within(first, last) => {
                let number = value.as_i64();
                if number.is_some_and(|number| !(i64::from(first)..=i64::from(last)).contains(&number)) {
                    return Err(format!("'{key}' is not from {first} to {last}"));
                }
                value.is_null() || number.is_some()
            }
            Self::Seconds | Self::WholeSeconds => value.is_number() || value.is_boolean(),
            Self::Account => is_int(value) || value.is_string(),
            Self::Args => is_args(value),
            Self::Names => value.is_string() || is_texts(value),
            Self::Env => return check_env(key, value),
            Self::Limit => return check_limit(key, value),
            Self::Stream => return check_stream(key, value),
            Self::Hooks => return check_hooks(value),
        };

        if ok { Ok(()) } else { Err(format!("'{key}' isn't {}", self.article())) }
    }

    /// What a value of this kind is called in a refusal.
    fn article(self) -> &'static str {
        match self {
            // The reference knows no third value, and clients know its text.
            Self::Bool | Self::Respawn => "a valid boolean",
            Self::Orphans => "end or keep",
            Self::Reload => "overlap, exclusive or hup",
            Self::Propagate => "restart, stop or none",
            Self::OneOf(words) => words.described,
            Self::Codes => "a list of integers",
            Self::Int | Self::Within(..) | Self::Octal | Self::Signal | Self::Limit => "an integer",
            Self::Seconds | Self::WholeSeconds => "a number",
            Self::Account => "an integer or string",
            Self::Args | Self::Names => "a string or a list of strings",
            Self::Env | Self::Stream | Self::Hooks => "a valid object",
            Self::Text | Self::StreamKey | Self::Hook => "a string",
        }
    }
}

fn number(text: &str, expected: &str) -> impl Fn(NotANumber) -> String {
    move |problem| match problem {
        NotANumber::Shape => format!("'{text}' is not {expected}"),
        NotANumber::Range => format!("{text} is out of range"),
    }
}

fn codes(text: &str) -> Result<Value, String> {
    let words = text.split(',').map(python::trim).filter(|word| !word.is_empty());
    words.map(|word| python::int(word).map(Value::from).map_err(number(word, "an exit status"))).collect()
}

fn seconds(text: &str) -> Result<Value, NotANumber> {
    let number = python::float(text)?;
    if number.is_nan() {
        return Err(NotANumber::Range);
    }
    Ok(number.clamp(-FOREVER, FOREVER).into())
}

/// A value of the wire as seconds.
pub(super) fn bounded_seconds(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_bool().map(|b| f64::from(u8::from(b))))?;
    Some(number.clamp(-FOREVER, FOREVER))
}

fn account(text: &str) -> Value {
    match python::int(text) {
        Ok(number) => number.into(),
        Err(_) => text.into(),
    }
}

/// Python counts booleans among the integers, and so do its clients.
fn is_int(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.is_boolean()
}

fn is_args(value: &Value) -> bool {
    let is_word = |word: &Value| word.is_string() || word.is_number();
    value.is_null() || value.is_string() || value.as_array().is_some_and(|words| words.iter().all(is_word))
}

fn is_texts(value: &Value) -> bool {
    value.as_array().is_some_and(|items| items.iter().all(Value::is_string))
}

fn check_env(key: &str, value: &Value) -> Result<(), String> {
    let map = match value {
        Value::Null => return Ok(()),
        value => value.as_object().ok_or(format!("'{key}' isn't a valid object"))?,
    };
    match map.iter().find(|(_, value)| !value.is_string()) {
        Some((name, _)) => Err(format!("'{name}' isn't a string")),
        None => Ok(()),
    }
}

fn check_limit(key: &str, value: &Value) -> Result<(), String> {
    let name = key.strip_prefix("rlimit_").unwrap_or(key);
    if canonical_limit(name).is_none() {
        return Err(format!("'{key}' isn't a valid rlimit setting"));
    }
    if value.is_null() || is_int(value) {
        return Ok(());
    }
    Err(format!("{} rlimit value isn't a valid int", python::repr(value)))
}

fn check_stream(key: &str, value: &Value) -> Result<(), String> {
    let map = value.as_object().ok_or(format!("'{key}' isn't a valid object"))?;
    if map.contains_key("class") { Ok(()) } else { Err(format!("'{key}' must have a 'class' key")) }
}

fn check_hooks(value: &Value) -> Result<(), String> {
    let map = value.as_object().ok_or(format!("{} isn't a valid hook dict", python::repr(value)))?;
    if map.keys().all(|point| HookPoint::parse(point).is_some()) {
        return Ok(());
    }
    Err(format!("Unknown hook {}", python::repr(value)))
}

/// The lower-case name of a resource limit, where Linux has it.
pub(super) fn canonical_limit(name: &str) -> Option<&'static str> {
    const LIMITS: [&str; 16] = [
        "as",
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    match name.to_lowercase().as_str() {
        // BSD's name.
        "ofile" => Some("nofile"),
        name => LIMITS.into_iter().find(|limit| *limit == name),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_of_a_file() {
        for (kind, text, value) in [
            (Kind::Text, " a ", json!(" a ")),
            (Kind::Bool, "On", json!(true)),
            (Kind::Int, "1_000", json!(1000)),
            (Kind::Octal, "022", json!(18)),
            (Kind::Seconds, "1e3", json!(1000.0)),
            (Kind::Seconds, "inf", json!(1e9)),
            (Kind::WholeSeconds, "2", json!(2)),
            (Kind::Signal, "sigrtmin+2", json!(36)),
            (Kind::Account, "daemon", json!("daemon")),
            (Kind::Account, " 1", json!(1)),
            (Kind::Names, "a, b,,", json!(["a", "b"])),
            (Kind::Respawn, "no", json!(false)),
            (Kind::Orphans, " Keep", json!("keep")),
            (Kind::Respawn, " On-Failure", json!("on-failure")),
            (Kind::Codes, "0, 3,", json!([0, 3])),
            (Kind::Codes, "", json!([])),
            (Kind::Limit, "", json!(null)),
            (Kind::Limit, "-1", json!(-1)),
            (Kind::Within(-20, 19), "-20", json!(-20)),
            (Kind::Within(-20, 19), " ", json!(null)),
        ] {
            assert_eq!(kind.read(text), Ok(value), "{kind:?} {text}");
        }
    }

    #[test]
    fn texts_that_are_refused() {
        for (kind, text, error) in [
            (Kind::Bool, "perhaps", "'perhaps' is not a boolean (yes or no)"),
            (Kind::Orphans, "yes", "'yes' is neither end nor keep"),
            (Kind::Propagate, "yes", "'yes' is neither restart nor stop nor none"),
            (Kind::Reload, "yes", "'yes' is neither overlap nor exclusive nor hup"),
            (Kind::Respawn, "never", "'never' is neither a boolean (yes or no) nor on-failure"),
            (Kind::Codes, "0, x", "'x' is not an exit status"),
            (Kind::Int, "two", "'two' is not a whole number"),
            (Kind::Int, "99999999999999999999", "99999999999999999999 is out of range"),
            (Kind::Octal, "9", "'9' is not an octal mode such as 022"),
            (Kind::Seconds, "fast", "'fast' is not a number"),
            (Kind::Seconds, "nan", "nan is out of range"),
            (Kind::WholeSeconds, "0.5", "'0.5' is not a whole number"),
            (Kind::Signal, "NOSUCH", "no signal is called SIGNOSUCH"),
            (Kind::Signal, "!", "'!' is not a signal such as QUIT, SIGTERM or 15"),
            (Kind::Limit, "lots", "'lots' is not a whole number"),
            (Kind::Within(-20, 19), "20", "20 is not from -20 to 19"),
            (Kind::Within(-20, 19), "low", "'low' is not a whole number"),
        ] {
            assert_eq!(kind.read(text), Err(error.into()));
        }
        assert!(Kind::Env.read("A=1").is_err());
        assert!(Kind::Stream.read("x").is_err());
    }

    #[test]
    fn the_wire_is_as_lenient_as_python() {
        assert_eq!(Kind::Int.check("k", &json!(true)), Ok(()));
        assert_eq!(Kind::Int.check("k", &json!(u64::MAX)), Ok(()));
        assert_eq!(Kind::Seconds.check("k", &json!(3)), Ok(()));
        assert_eq!(Kind::Args.check("k", &json!(["a", 1])), Ok(()));
        assert_eq!(Kind::Limit.check("rlimit_NOFILE", &json!(null)), Ok(()));
        assert_eq!(Kind::Hooks.check("hooks", &json!({"before_start": ["m.f", false]})), Ok(()));
        assert_eq!(Kind::Hooks.check("hooks", &json!({"x": 1})), Err("Unknown hook {'x': 1}".into()));
        assert_eq!(Kind::Hook.check("hooks.anything", &json!(1)), Ok(()));
    }

    proptest! {
        #[test]
        fn what_a_file_may_say_the_wire_may_say_too(text in "[-+0-9._eE a-z]{0,12}") {
            for kind in [Kind::Text, Kind::Bool, Kind::Int, Kind::Octal, Kind::Seconds, Kind::Signal, Kind::Account,
                         Kind::Args, Kind::Names, Kind::Respawn, Kind::Codes] {
                if let Ok(value) = kind.read(&text) {
                    prop_assert_eq!(kind.check("key", &value), Ok(()));
                }
            }
        }
    }
}
