//! The options of a worker's output.

use serde_json::Value;

use super::Support;
use crate::config::{StreamConfig, python};
use crate::proto::Object;

const LATER: Support = Support::Refused("is not supported yet; FileStream and StdoutStream are");

/// The classes that Circus has.
const CLASSES: [(&str, Support); 6] = [
    ("FileStream", Support::Works),
    ("StdoutStream", Support::Works),
    ("FancyStdoutStream", LATER),
    ("QueueStream", LATER),
    ("TimedRotatingFileStream", LATER),
    ("WatchedFileStream", LATER),
];

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
    // The full Python path of a class of Circus means the class.
    if let Some(class) = stream.class.strip_prefix("circus.stream.").and_then(|path| path.rsplit('.').next()) {
        stream.class = class.into();
    }
    if stream.class.is_empty() {
        if !stream.options.contains_key("filename") {
            return Err(format!("stream configuration invalid: {key} has neither a class nor a filename"));
        }
        stream.class = "FileStream".into();
    }
    match CLASSES.iter().find(|(class, _)| *class == stream.class) {
        Some((_, Support::Works | Support::Ignored(_))) => {}
        Some((class, Support::Refused(reason))) => return Err(format!("{key}.class = {class} {reason}")),
        None if stream.class.contains('.') => {
            return Err(format!("{key}.class = {} is a Python class, which cannot be loaded here", stream.class));
        }
        None => {
            let hint = crate::config::nearest::suggestion(&stream.class, CLASSES.iter().map(|(class, _)| *class));
            return Err(format!("{key}.class: there is no stream class '{}'{hint}", stream.class));
        }
    }
    ["max_bytes", "backup_count"].into_iter().try_for_each(|number| check_number(key, number, stream))
}

fn check_number(key: &str, number: &str, stream: &StreamConfig) -> Result<(), String> {
    match stream.options.get(number) {
        None => Ok(()),
        Some(value) if value.is_i64() || value.as_str().is_some_and(|text| python::int(text).is_ok()) => Ok(()),
        Some(value) => Err(format!("{key}.{number}: {} is not a whole number", python::repr(value))),
    }
}

/// The file that a stream writes to, whose directory must exist.
pub(in crate::config) fn regular_file(stream: &StreamConfig) -> Option<&str> {
    stream.options.get("filename").and_then(Value::as_str).filter(|_| stream.class == "FileStream")
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
        assert_eq!(
            settled(json!({"class": "QueueStream"})),
            Err("stdout_stream.class = QueueStream is not supported yet; FileStream and StdoutStream are".into())
        );
        assert!(settled(json!({"class": "my.Stream"})).is_err());
        assert!(settled(json!({"max_bytes": 5})).is_err_and(|e| e.starts_with("stream configuration invalid")));
    }

    #[test]
    fn numbers() {
        assert!(settled(json!({"filename": "x", "max_bytes": "1_000", "backup_count": 5})).is_ok());
        assert_eq!(
            settled(json!({"filename": "x", "max_bytes": "a"})),
            Err("stdout_stream.max_bytes: 'a' is not a whole number".into())
        );
    }
}
