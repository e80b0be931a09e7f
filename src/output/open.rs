//! From a stream's configuration to an open sink. This runs in the daemon's thread, so that the one who asked hears
//! what is wrong.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::file::LogFile;
use super::medium::Medium;
use super::path::{Place, open_for_append};
use super::rotation::Rotation;
use super::stamp::{Layout, Stamp};
use super::stdout::Device;
use crate::config::StreamConfig;

/// By which two streams know that they write to the same place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// A name without links.
    Path(PathBuf),
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// An open sink on its way to the thread.
pub(crate) struct Opened {
    pub(crate) key: Key,
    /// For messages.
    pub(crate) name: String,
    pub(crate) medium: Box<dyn Medium>,
    pub(crate) layout: Layout,
}

/// Opens what `config` names. A new class is one line here.
pub(crate) fn open(config: &StreamConfig) -> Result<Opened, String> {
    match config.class.as_str() {
        "FileStream" => file_stream(config),
        "StdoutStream" => inherited(Key::Stdout, Layout::Plain),
        other => Err(format!("unknown stream class '{other}'; FileStream and StdoutStream are known")),
    }
}

fn file_stream(config: &StreamConfig) -> Result<Opened, String> {
    let layout = match text(config, "time_format")? {
        Some(format) => Layout::Stamped(Stamp::new(format)),
        None => Layout::Plain,
    };
    let max_bytes = number(config, "max_bytes")?;
    let rotation = Rotation { max_bytes, backup_count: number(config, "backup_count")? };
    let named = match text(config, "filename")? {
        // Containers do this; opened by name, a socket would be refused and a redirected file overwritten.
        Some("/dev/stdout" | "/proc/self/fd/1") => return inherited(Key::Stdout, layout),
        Some("/dev/stderr" | "/proc/self/fd/2") => return inherited(Key::Stderr, layout),
        Some(name) => PathBuf::from(name),
        None => temporary().map_err(|error| format!("cannot make a temporary file (filename is not set): {error}"))?,
    };
    let fault = |error: io::Error| format!("cannot open '{}': {error}", named.display());
    let named = std::path::absolute(&named).map_err(fault)?;
    let place = open_for_append(&named).map_err(fault)?;
    let (name, key) = (format!("'{}'", named.display()), Key::Path(place.real.clone()));
    Ok(Opened { key, name, medium: medium(&named, place, rotation).map_err(fault)?, layout })
}

fn medium(named: &Path, place: Place, rotation: Rotation) -> io::Result<Box<dyn Medium>> {
    let kind = place.file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(Box::new(LogFile::new(named.to_path_buf(), place.real, place.file, rotation)));
    }
    if kind.is_fifo() || kind.is_char_device() {
        return Ok(Box::new(Device::named(named.to_path_buf(), place.file)?));
    }
    Err(io::Error::other("it is neither a file nor a FIFO nor a character device"))
}

fn inherited(key: Key, layout: Layout) -> Result<Opened, String> {
    let (name, device) = match key {
        Key::Stderr => ("standard error", Device::inherited(io::stderr().as_fd())),
        Key::Stdout | Key::Path(_) => ("standard output", Device::inherited(io::stdout().as_fd())),
    };
    let device = device.map_err(|error| format!("cannot use {name}: {error}"))?;
    Ok(Opened { key, name: name.to_owned(), medium: Box::new(device), layout })
}

/// A file of a name of its own, readable by its owner alone. It stays, as in Circus.
fn temporary() -> io::Result<PathBuf> {
    let folder = std::env::temp_dir();
    DirBuilder::new().recursive(true).create(&folder)?;
    for number in 0..u32::MAX {
        let path = folder.join(format!("circus-stream-{}-{number}.log", std::process::id()));
        match File::options().append(true).create_new(true).mode(0o600).open(&path) {
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn text<'c>(config: &'c StreamConfig, key: &str) -> Result<Option<&'c str>, String> {
    match config.options.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("{key} is {other}, which is no text")),
    }
}

/// A whole number, as INI text or JSON; what is below 0 means 0.
fn number(config: &StreamConfig, key: &str) -> Result<u64, String> {
    let read = match config.options.get(key) {
        None | Some(Value::Null) => Some(0),
        Some(Value::String(text)) => text.trim().parse::<i64>().ok(),
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
    };
    read.map(|number| u64::try_from(number).unwrap_or(0)).ok_or_else(|| {
        let value = config.options.get(key).unwrap_or(&Value::Null);
        format!("{key} is {value}, which is no whole number")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(class: &str, options: Value) -> StreamConfig {
        StreamConfig { class: class.into(), options: serde_json::from_value(options).unwrap() }
    }

    fn refusal(class: &str, options: Value) -> String {
        open(&config(class, options)).err().unwrap()
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(refusal("NoStream", json!({})).contains("unknown stream class 'NoStream'"));
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no/log");
        let text = refusal("FileStream", json!({"filename": missing}));
        assert!(text.starts_with("cannot open '") && text.contains("its directory"), "{text}");
        assert!(refusal("FileStream", json!({"filename": folder.path()})).contains("directory"));
        let text = refusal("FileStream", json!({"filename": folder.path().join("log"), "max_bytes": "ten"}));
        assert_eq!(text, "max_bytes is \"ten\", which is no whole number");
        assert!(refusal("FileStream", json!({"filename": 3})).contains("filename is 3"));
    }

    #[test]
    fn numbers_are_read_from_ini_and_json() {
        for (value, means) in [(json!("25"), 25), (json!(25), 25), (json!(" 7 "), 7), (json!(-1), 0), (json!(null), 0)]
        {
            assert_eq!(number(&config("FileStream", json!({"max_bytes": value})), "max_bytes"), Ok(means));
        }
    }

    #[test]
    fn the_idioms_of_containers_mean_the_inherited_streams() {
        assert_eq!(open(&config("FileStream", json!({"filename": "/dev/stdout"}))).ok().unwrap().key, Key::Stdout);
        assert_eq!(open(&config("FileStream", json!({"filename": "/dev/stderr"}))).ok().unwrap().key, Key::Stderr);
    }

    #[test]
    fn without_a_filename_a_temporary_file_is_made() {
        let opened = open(&config("FileStream", json!({}))).ok().unwrap();
        let Key::Path(path) = opened.key else { panic!("no path") };
        std::fs::remove_file(path).unwrap();
    }
}
