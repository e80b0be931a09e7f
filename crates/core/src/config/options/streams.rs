//! The options of a worker's output.

use serde_json::Value;

use super::Support;
use super::stream_values::PrefixPart;
use crate::config::nearest::suggestion;
use crate::config::{StreamConfig, python};
use crate::proto::Object;

/// A class of streams.
struct Class {
    name: &'static str,
    support: Support,
    /// The keys that it looks at.
    keys: &'static [&'static str],
}

/// The class of streams that a command reads.
const EXEC: &str = "exec";

const ONLY_IN_PYTHON: Support =
    Support::Refused("is a queue in a Python program that embeds Circus, so circusd alone cannot have it");

/// The classes that Circus has, the one that takes the place of a class of one's own, and those that it does not have.
const CLASSES: [Class; 10] = [
    Class {
        name: "FileStream",
        support: Support::Works,
        keys: &[
            "filename",
            "max_bytes",
            "backup_count",
            "max_total",
            "max_age",
            "compress",
            "time_format",
            "prefix",
            "format",
            "framed",
            "on_full",
        ],
    },
    Class { name: "StdoutStream", support: Support::Works, keys: &["prefix", "format", "time_format", "on_full"] },
    Class { name: "FancyStdoutStream", support: Support::Works, keys: &["color", "time_format", "on_full"] },
    Class { name: "JournalStream", support: Support::Works, keys: &["address", "identifier", "severity", "on_full"] },
    Class { name: "MemoryStream", support: Support::Works, keys: &[] },
    Class { name: "QueueStream", support: ONLY_IN_PYTHON, keys: &[] },
    Class {
        name: "TimedRotatingFileStream",
        support: Support::Works,
        keys: &[
            "filename",
            "rotate_when",
            "rotate_interval",
            "utc",
            "backup_count",
            "max_total",
            "max_age",
            "compress",
            "time_format",
            "prefix",
            "format",
            "on_full",
        ],
    },
    Class { name: EXEC, support: Support::Works, keys: &["command", "time_format", "prefix", "format", "on_full"] },
    Class {
        name: "SyslogStream",
        support: Support::Works,
        keys: &["address", "protocol", "facility", "identifier", "severity", "on_full"],
    },
    Class {
        name: "WatchedFileStream",
        support: Support::Works,
        keys: &["filename", "time_format", "prefix", "format", "on_full"],
    },
];

/// Whether one of the classes that are known looks at this key.
pub fn is_stream_key(key: &str) -> bool {
    key == "class" || CLASSES.iter().any(|class| class.keys.contains(&key))
}

/// Stores one key of a stream, which is made where there is none.
pub(super) fn put(stream: &mut Option<StreamConfig>, key: &str, value: &Value) {
    let stream =
        stream.get_or_insert_with(|| StreamConfig { class: String::new(), options: std::collections::BTreeMap::new() });
    if key == "class" {
        stream.class = python::display(value);
    } else {
        stream.options.insert(key.into(), value.clone());
    }
}

/// A whole stream, as `add` and `set` give it.
pub(super) fn from_object(value: &Value) -> Option<StreamConfig> {
    let mut stream = None;
    for (key, value) in value.as_object()? {
        put(&mut stream, key, value);
    }
    stream
}

/// One key, for `get`.
pub(super) fn get(stream: Option<&StreamConfig>, key: &str) -> Option<Value> {
    let stream = stream?;
    if key == "class" { Some(stream.class.as_str().into()) } else { stream.options.get(key).cloned() }
}

/// The stream as `options` shows it: without its class, and null or empty where there is none.
pub(super) fn show(stream: Option<&StreamConfig>, dynamic: bool) -> Value {
    match stream {
        None if dynamic => Value::Null,
        None => Value::Object(Object::new()),
        Some(stream) => Value::Object(stream.options.iter().map(|(k, v)| (k.clone(), v.clone())).collect()),
    }
}

/// Finds the class, which may be left out where a filename is given, and checks what it is given.
pub(in crate::config) fn settle(key: &str, stream: &mut StreamConfig) -> Result<(), String> {
    stream.class = short_name(&stream.class).into();
    if stream.class.is_empty() {
        stream.class = default_class(key, stream)?.into();
    }
    let class = class_of(key, stream)?;
    if class.name == EXEC {
        check_command(stream).map_err(|text| format!("{key}.command {text}"))?;
    }
    class.keys.iter().try_for_each(|name| check_value(name, stream)).map_err(|text| format!("{key}.{text}"))
}

/// The class where none is written: a file where one is named, and circusd's own output where only the form of lines is.
fn default_class(key: &str, stream: &mut StreamConfig) -> Result<&'static str, String> {
    let has = |name| stream.options.contains_key(name);
    if has("filename") {
        return Ok("FileStream");
    }
    if !has("prefix") && !has("format") {
        return Err(format!("stream configuration invalid: {key} has neither a class nor a filename"));
    }
    if key != "stderr_stream" {
        return Ok("StdoutStream");
    }
    stream.options.insert("filename".into(), "/dev/stderr".into());
    Ok("FileStream")
}

/// A Python class that cannot be loaded gives way to plain output, to its file where it names one. Returns what to say
/// about it; `None` where the class is one of ours.
pub(in crate::config) fn replace_python_class(key: &str, stream: &mut StreamConfig) -> Option<String> {
    let class = short_name(&stream.class);
    if !class.contains('.') {
        return None;
    }
    let plain = if stream.options.contains_key("filename") { "FileStream" } else { "StdoutStream" };
    let text = format!("{}; until then it is a {plain}", is_python_class(key, class));
    stream.class = plain.into();
    Some(text)
}

fn is_python_class(key: &str, class: &str) -> String {
    format!(
        "{key}.class = {class} is a Python class, which cannot be loaded here; {key}.class = exec and {key}.command = \
         COMMAND write the lines to a command"
    )
}

/// The full Python path of a class of Circus means the class.
fn short_name(class: &str) -> &str {
    class.strip_prefix("circus.stream.").and_then(|path| path.rsplit('.').next()).unwrap_or(class)
}

fn class_of(key: &str, stream: &StreamConfig) -> Result<&'static Class, String> {
    match CLASSES.iter().find(|class| class.name == stream.class) {
        Some(class) => match class.support {
            Support::Works | Support::Ignored(_) => Ok(class),
            Support::Refused(reason) => Err(format!("{key}.class = {} {reason}", class.name)),
        },
        None if stream.class.contains('.') => Err(is_python_class(key, &stream.class)),
        None => {
            let hint = suggestion(&stream.class, CLASSES.iter().map(|class| class.name));
            Err(format!("{key}.class: there is no stream class '{}'{hint}", stream.class))
        }
    }
}

fn check_command(stream: &StreamConfig) -> Result<(), String> {
    let command = stream.text("command")?.ok_or("is missing: class = exec writes to a command")?;
    crate::config::split_words(command).map(drop)
}

/// The journal's socket.
fn check_path(stream: &StreamConfig) -> Result<(), String> {
    match stream.text("address")? {
        Some(path) if !path.starts_with('/') => Err(format!("address: '{path}' is not a path")),
        Some(_) | None => Ok(()),
    }
}

fn check_value(name: &str, stream: &StreamConfig) -> Result<(), String> {
    match name {
        "max_bytes" | "backup_count" => stream.size(name).map(drop),
        "rotate_when" => stream.rotate_when().map(drop),
        "rotate_interval" => stream.rotate_interval().map(drop),
        "utc" | "framed" => stream.flag(name).map(drop),
        "prefix" => stream.prefix().map(drop),
        "format" => stream.is_json().map(drop),
        "max_total" | "max_age" | "compress" => stream.keeping().map(drop),
        "on_full" => stream.on_full().map(drop),
        "address" if stream.class == "SyslogStream" => stream.syslog_target().map(drop),
        "address" => check_path(stream),
        "protocol" => stream.syslog_form().map(drop),
        "facility" => stream.facility().map(drop),
        "severity" => stream.severity().map(drop),
        _ => stream.text(name).map(drop),
    }
}

/// Why a key of a sound stream has no effect, if it has none.
pub(in crate::config) fn idle_key(stream: &StreamConfig, name: &str) -> Option<String> {
    let class = CLASSES.iter().find(|class| class.name == stream.class)?;
    let mut known = CLASSES.iter().flat_map(|class| class.keys.iter().copied());
    if let Some(text) = outdone(stream, name) {
        Some(text.into())
    } else if name == "class" || class.keys.contains(&name) {
        None
    } else if name == "refresh_time" {
        Some("has no effect, as in Circus 0.19".into())
    } else if known.any(|key| key == name) {
        Some(format!("has no effect with {}", class.name))
    } else {
        Some(format!("is not a key of a stream{}", suggestion(name, class.keys.iter().copied())))
    }
}

/// What another key leaves of this one, where that is nothing.
fn outdone(stream: &StreamConfig, name: &str) -> Option<&'static str> {
    let is_json = stream.is_json().unwrap_or(false);
    let parts = stream.prefix().ok().flatten();
    let is_zero = |key| stream.size(key).is_ok_and(|size| size == 0);
    let grows = stream.class == "FileStream" && is_zero("max_bytes") && is_zero("max_total");
    let keeps_none = stream.class == "FileStream" && stream.backups() == Ok(Some(0));
    match name {
        "max_age" | "compress" if grows => {
            Some("has no effect: the file is not rotated without max_bytes or max_total")
        }
        "max_age" | "compress" if keeps_none => Some("has no effect: no rotated files are kept, as backup_count is 0"),
        "prefix" if is_json => Some("has no effect with format = json"),
        "time_format" if is_json => None,
        "time_format" if parts.as_ref().is_some_and(|parts| !parts.contains(&PrefixPart::Time)) => {
            Some("has no effect: prefix has no $(time)")
        }
        "time_format" if parts.is_none() && stream.class == "StdoutStream" => Some("has no effect with StdoutStream"),
        _ => None,
    }
}

/// Whether a whole stream, as `add` and `set` give it, opens nothing but what circusd has open already.
pub fn opens_nothing(key: &str, stream: &Value) -> bool {
    const OPENS_NOTHING: [&str; 3] = ["MemoryStream", "StdoutStream", "FancyStdoutStream"];
    let class = stream.get("class").and_then(Value::as_str).map(short_name);
    matches!(key, "stdout_stream" | "stderr_stream") && class.is_some_and(|class| OPENS_NOTHING.contains(&class))
}

/// The file that a stream writes to, whose directory must exist.
pub(in crate::config) fn regular_file(stream: &StreamConfig) -> Option<&str> {
    let file = stream.options.get("filename").and_then(Value::as_str)?;
    writes_files(&stream.class).then_some(file)
}

/// The same of a whole stream that a client sends.
pub(super) fn file_of(stream: &Value) -> Option<&str> {
    let file = stream.get("filename").and_then(Value::as_str)?;
    writes_files(short_name(stream.get("class")?.as_str()?)).then_some(file)
}

fn writes_files(class: &str) -> bool {
    CLASSES.iter().any(|known| known.name == class && known.keys.contains(&"filename"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settled(value: Value) -> Result<String, String> {
        let mut stream = from_object(&value).unwrap();
        settle("stdout_stream", &mut stream).map(|()| stream.class)
    }

    #[test]
    fn classes() {
        assert_eq!(settled(json!({"filename": "x"})), Ok("FileStream".into()));
        assert_eq!(settled(json!({"class": "circus.stream.StdoutStream"})), Ok("StdoutStream".into()));
        assert_eq!(settled(json!({"class": "circus.stream.file_stream.FileStream"})), Ok("FileStream".into()));
        assert_eq!(
            settled(json!({"class": "FilStream"})),
            Err("stdout_stream.class: there is no stream class 'FilStream'; did you mean 'FileStream'?".into())
        );
        assert!(
            settled(json!({"class": "QueueStream"}))
                .is_err_and(|e| e.starts_with("stdout_stream.class = QueueStream is a queue in a Python program"))
        );
        assert_eq!(settled(json!({"class": "exec", "command": "logger -t web"})), Ok("exec".into()));
        for (stream, reason) in [
            (json!({"class": "exec"}), "stdout_stream.command is missing"),
            (json!({"class": "exec", "command": "'x"}), "stdout_stream.command a single quote"),
            (
                json!({"class": "my.Stream"}),
                "stdout_stream.class = my.Stream is a Python class, which cannot be loaded here; \
              stdout_stream.class = exec and stdout_stream.command",
            ),
        ] {
            assert!(settled(stream).is_err_and(|error| error.starts_with(reason)), "{reason}");
        }
        for class in ["FancyStdoutStream", "WatchedFileStream", "MemoryStream"] {
            assert_eq!(settled(json!({"class": class})), Ok(class.into()));
        }
        assert!(settled(json!({"class": "my.Stream"})).is_err());
        assert!(settled(json!({"max_bytes": 5})).is_err_and(|e| e.starts_with("stream configuration invalid")));
    }

    #[test]
    fn form_of_lines_alone_is_for_the_output_of_circusd() {
        let of = |key: &str, value: Value| {
            let mut stream = from_object(&value).unwrap();
            settle(key, &mut stream).map(|()| (stream.class.clone(), stream.options.get("filename").cloned()))
        };
        let prefix = || json!({"prefix": "$(name)[$(wid)]"});
        assert_eq!(of("stdout_stream", prefix()), Ok(("StdoutStream".into(), None)));
        assert_eq!(of("stderr_stream", prefix()), Ok(("FileStream".into(), Some("/dev/stderr".into()))));
        assert_eq!(of("stderr_stream", json!({"format": "json", "filename": "x"})).unwrap().0, "FileStream");
        let error = "stdout_stream.prefix: '$(nam)' is none of $(name), $(wid), $(pid), $(stream), $(time)";
        assert_eq!(of("stdout_stream", json!({"prefix": "$(nam)"})), Err(error.into()));
        let error = "stdout_stream.format: 'xml' is neither text nor json";
        assert_eq!(of("stdout_stream", json!({"format": "xml"})), Err(error.into()));
    }

    #[test]
    fn numbers() {
        assert!(settled(json!({"filename": "x", "max_bytes": "1_000", "backup_count": 5})).is_ok());
        assert_eq!(
            settled(json!({"filename": "x", "max_bytes": "a"})),
            Err("stdout_stream.max_bytes: 'a' is not a whole number".into())
        );
        assert!(settled(json!({"class": "StdoutStream", "max_bytes": "a"})).is_ok(), "it is not looked at");
    }

    #[test]
    fn rotation_by_time_must_say_when() {
        let timed = |more: Value| {
            let mut stream = json!({"class": "TimedRotatingFileStream", "filename": "x"});
            stream.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            settled(stream)
        };
        assert!(timed(json!({"rotate_when": "midnight", "utc": "False", "rotate_interval": "2"})).is_ok());
        assert!(timed(json!({})).is_err_and(|e| e.starts_with("stdout_stream.rotate_when is missing")));
        assert!(
            timed(json!({"rotate_when": "x"})).is_err_and(|e| e.starts_with("stdout_stream.rotate_when: 'x' is not"))
        );
        assert!(timed(json!({"rotate_when": "S", "utc": "maybe"})).is_err());
        assert!(timed(json!({"rotate_when": "S", "rotate_interval": 0})).is_err());
    }

    #[test]
    fn keys_without_effect() {
        let idle = |class: &str, name| idle_key(&from_object(&json!({"class": class})).unwrap(), name);
        assert_eq!(idle("FileStream", "max_bytes"), None);
        let idle_with = |options: Value, name| idle_key(&from_object(&options).unwrap(), name);
        let json = json!({"class": "FileStream", "format": "json", "prefix": "x"});
        assert_eq!(idle_with(json, "prefix"), Some("has no effect with format = json".into()));
        let untimed = json!({"class": "FileStream", "prefix": "$(name)", "time_format": "%T"});
        assert_eq!(idle_with(untimed, "time_format"), Some("has no effect: prefix has no $(time)".into()));
        assert_eq!(idle("StdoutStream", "time_format"), Some("has no effect with StdoutStream".into()));
        assert_eq!(idle("FileStream", "class"), None);
        assert_eq!(idle("WatchedFileStream", "max_bytes"), Some("has no effect with WatchedFileStream".into()));
        assert_eq!(idle("FileStream", "max_byte"), Some("is not a key of a stream; did you mean 'max_bytes'?".into()));
        assert_eq!(idle("FileStream", "refresh_time"), Some("has no effect, as in Circus 0.19".into()));
    }

    #[test]
    fn what_bounds_rotated_files_needs_a_rotation() {
        let idle = |options: Value, name| idle_key(&from_object(&options).unwrap(), name);
        let file = |more: Value| {
            let mut stream = json!({"class": "FileStream", "filename": "x", "compress": "gzip"});
            stream.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            stream
        };
        let grows = "has no effect: the file is not rotated without max_bytes or max_total";
        assert_eq!(idle(file(json!({})), "compress"), Some(grows.into()));
        let none = "has no effect: no rotated files are kept, as backup_count is 0";
        assert_eq!(idle(file(json!({"max_bytes": 9})), "compress"), Some(none.into()));
        assert_eq!(idle(file(json!({"max_bytes": 9, "backup_count": 2})), "compress"), None);
        assert_eq!(idle(file(json!({"max_total": 9})), "compress"), None);
        assert_eq!(idle(file(json!({"max_bytes": 9, "max_age": 9})), "max_age"), None);
        let timed = json!({"class": "TimedRotatingFileStream", "rotate_when": "S", "max_age": 9});
        assert_eq!(idle(timed, "max_age"), None);
    }

    #[test]
    fn system_log_and_journal_check_what_they_are_given() {
        assert_eq!(settled(json!({"class": "SyslogStream"})), Ok("SyslogStream".into()));
        assert_eq!(settled(json!({"class": "JournalStream", "severity": "notice"})), Ok("JournalStream".into()));
        for (stream, reason) in [
            (json!({"class": "SyslogStream", "address": "loghost"}), "stdout_stream.address: 'loghost' is neither"),
            (json!({"class": "SyslogStream", "facility": "x"}), "stdout_stream.facility: there is no facility"),
            (
                json!({"class": "JournalStream", "address": "127.0.0.1"}),
                "stdout_stream.address: '127.0.0.1' is not a path",
            ),
            (json!({"class": "SyslogStream", "on_full": "x"}), "stdout_stream.on_full: 'x' is neither"),
        ] {
            assert!(settled(stream).is_err_and(|error| error.starts_with(reason)), "{reason}");
        }
        for class in ["SyslogStream", "JournalStream"] {
            assert!(!opens_nothing("stdout_stream", &json!({"class": class})), "{class} opens a socket");
        }
    }

    #[test]
    fn only_classes_with_files_need_a_directory() {
        let file =
            |class: &str| regular_file(&from_object(&json!({"class": class, "filename": "f"})).unwrap()).is_some();
        assert!(file("FileStream") && file("WatchedFileStream") && file("TimedRotatingFileStream"));
        assert!(!file("StdoutStream") && !file("FancyStdoutStream"));
    }
}
