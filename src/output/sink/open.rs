//! From a stream's configuration to an open sink. This runs in the daemon's thread, so that the reply can say
//! what is wrong.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::arbiter::Level;
use crate::config::StreamConfig;
use crate::output::format::colored::Colored;
use crate::output::format::dressed::{JsonLines, Origin, Prefixed};
use crate::output::format::line_format::{LineFormat, TimestampPrefix};
use crate::output::format::record::{JournalRecord, Record, SyslogRecord};
use crate::output::sink::datagram::Datagrams;
use crate::output::sink::device::Device;
use crate::output::sink::interface::Sink;
use crate::output::sink::keeping::share_of_file;
use crate::output::sink::log_file::LogFile;
use crate::output::sink::log_lines::LogSink;
use crate::output::sink::null::NullSink;
use crate::output::sink::rotation_policy::{Rotation, RotationPolicy};
use crate::output::sink::size_rotation::SizeRotation;
use crate::output::sink::time_rotation::TimeRotation;
use crate::proto::StreamName;
use circus_core::config::options::{OnFull, SyslogForm, SyslogTarget};
use circus_sys::{OpenedFile, open_for_append};

/// Why a sink cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    /// In words.
    pub text: String,
    /// The kernel's error number; 0 where the configuration is at fault.
    pub errno: i32,
}

impl From<String> for OpenError {
    fn from(text: String) -> Self {
        Self { text, errno: 0 }
    }
}

impl OpenError {
    fn new(what: impl std::fmt::Display, error: &io::Error) -> Self {
        Self { text: format!("{what}: {error}"), errno: error.raw_os_error().unwrap_or(0) }
    }
}

/// By which two streams know that they write to the same place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(crate) enum Key {
    /// A name without links.
    Path(PathBuf),
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Nowhere: each stream by itself.
    Null(u64),
    /// circusd's log, for this speaker.
    Log(String),
    /// The pipe to a command; each is its own place.
    Command(u64),
    /// The system log or the journal: each stream by itself, too.
    Datagrams(u64),
}

/// An open sink on its way to the thread.
pub(crate) struct Opened {
    pub(crate) key: Key,
    /// For messages.
    pub(crate) name: String,
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) format: LineFormat,
    pub(crate) policy: RotationPolicy,
}

/// Opens what `config` names. `turn` is any number that differs from the last. A new class is one line here.
pub(crate) fn open(config: &StreamConfig, origin: Origin<'_>, turn: u64) -> Result<Opened, OpenError> {
    let opened = open_class(config, origin, turn)?;
    let policy = RotationPolicy { on_full: config.on_full()?, ..opened.policy };
    Ok(Opened { policy, ..opened })
}

fn open_class(config: &StreamConfig, origin: Origin<'_>, turn: u64) -> Result<Opened, OpenError> {
    let rotated = |rotation| {
        let policy = RotationPolicy { rotation, keeping: config.keeping()?, ..RotationPolicy::default() };
        file_stream(config, origin, policy)
    };
    match config.class.as_str() {
        "FileStream" => rotated(by_size(config)?),
        "WatchedFileStream" => {
            file_stream(config, origin, RotationPolicy { watched: true, ..RotationPolicy::default() })
        }
        "TimedRotatingFileStream" => rotated(by_time(config)?),
        "MemoryStream" => Ok(null(turn)),
        "SyslogStream" => system_log(config, origin, turn),
        "JournalStream" => journal(config, origin, turn),
        "StdoutStream" => inherited(Key::Stdout, dressed(config, origin)?.unwrap_or(LineFormat::Plain)),
        "FancyStdoutStream" => {
            let colored = Colored::new(config.text("color")?, config.text("time_format")?, turn);
            inherited(Key::Stdout, LineFormat::Colored(colored))
        }
        other => Err(format!("unknown stream class '{other}'").into()),
    }
}

/// What `speaker` prints goes to circusd's log, line by line.
pub(crate) fn told(speaker: &str, level: Level) -> Opened {
    Opened {
        key: Key::Log(speaker.to_owned()),
        name: format!("the log of {speaker}"),
        sink: Box::new(LogSink::new(speaker, level)),
        format: LineFormat::Plain,
        policy: RotationPolicy::default(),
    }
}

/// The pipe that a command reads; the descriptor does not block.
pub(crate) fn open_command(
    config: &StreamConfig,
    origin: Origin<'_>,
    pipe: OwnedFd,
    turn: u64,
) -> Result<Opened, String> {
    let name = format!("the command '{}'", config.text("command")?.unwrap_or_default());
    let on_full = config.on_full()?;
    let sink = Box::new(Device::command(pipe.into(), on_full == Some(OnFull::Block)));
    Ok(Opened {
        key: Key::Command(turn),
        name,
        sink,
        format: format(config, origin)?,
        policy: RotationPolicy { on_full, ..RotationPolicy::default() },
    })
}

/// The format that says whose lines they are; `None` where none is asked for.
fn dressed(config: &StreamConfig, origin: Origin<'_>) -> Result<Option<LineFormat>, String> {
    let time_format = config.text("time_format")?;
    if config.is_json()? {
        return Ok(Some(LineFormat::Json(JsonLines::new(time_format, origin))));
    }
    let prefix = config.prefix()?;
    Ok(prefix.map(|parts| LineFormat::Prefixed(Prefixed::new(parts, time_format, origin))))
}

fn format(config: &StreamConfig, origin: Origin<'_>) -> Result<LineFormat, String> {
    if config.class == "FileStream" && config.flag("framed")? {
        return Ok(LineFormat::Framed);
    }
    if let Some(format) = dressed(config, origin)? {
        return Ok(format);
    }
    Ok(match config.text("time_format")? {
        Some(format) => LineFormat::Stamped(TimestampPrefix::new(format)),
        None => LineFormat::Plain,
    })
}

fn by_size(config: &StreamConfig) -> Result<Rotation, String> {
    let (max_bytes, max_total) = (config.size("max_bytes")?, config.keeping()?.max_total);
    let most = if max_total == 0 { u64::MAX } else { share_of_file(max_total) };
    let max_bytes = if max_bytes == 0 && max_total > 0 { most } else { max_bytes.min(most) };
    let rotation = SizeRotation { max_bytes, backup_count: config.backups()?.unwrap_or(u64::MAX) };
    Ok(if rotation.max_bytes == 0 { Rotation::Never } else { Rotation::BySize(rotation) })
}

fn by_time(config: &StreamConfig) -> Result<Rotation, String> {
    Ok(Rotation::ByTime(TimeRotation {
        when: config.rotate_when()?,
        interval: config.rotate_interval()?,
        utc: config.flag("utc")?,
        backup_count: config.size("backup_count")?,
    }))
}

fn file_stream(config: &StreamConfig, origin: Origin<'_>, policy: RotationPolicy) -> Result<Opened, OpenError> {
    let format = format(config, origin)?;
    let named = match config.text("filename")? {
        // Containers do this; opened by name, a socket would be refused and a redirected file overwritten.
        Some("/dev/stdout" | "/proc/self/fd/1") => return inherited(Key::Stdout, format),
        Some("/dev/stderr" | "/proc/self/fd/2") => return inherited(Key::Stderr, format),
        Some(name) => PathBuf::from(name),
        None => {
            temporary().map_err(|error| OpenError::new("cannot make a temporary file (filename is not set)", &error))?
        }
    };
    let fault = |error: io::Error| OpenError::new(format_args!("cannot open '{}'", named.display()), &error);
    let named = std::path::absolute(&named).map_err(fault)?;
    let place = open_for_append(&named).map_err(fault)?;
    let (name, key) = (format!("'{}'", named.display()), Key::Path(place.real.clone()));
    Ok(Opened { key, name, sink: sink(&named, place).map_err(fault)?, format, policy })
}

fn sink(named: &Path, place: OpenedFile) -> io::Result<Box<dyn Sink>> {
    let kind = place.file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(Box::new(LogFile::new(named.to_path_buf(), place.real, place.file)));
    }
    if kind.is_fifo() || kind.is_char_device() {
        return Ok(Box::new(Device::named(named.to_path_buf(), place.file)?));
    }
    Err(io::Error::other("it is neither a file nor a FIFO nor a character device"))
}

/// Messages for the system log. What a program prints as an error is one.
fn system_log(config: &StreamConfig, origin: Origin<'_>, turn: u64) -> Result<Opened, OpenError> {
    let (target, form) = (config.syslog_target()?, config.syslog_form()?);
    let (name, is_local) = match &target {
        SyslogTarget::Path(path) => (format!("the system log at {path}"), true),
        SyslogTarget::Host(address) => (format!("the system log at {address}"), false),
    };
    let knows_host = is_local && form == SyslogForm::Old;
    let record = SyslogRecord {
        form,
        priority: config.facility()? * 8 + severity(config, origin)?,
        host: if knows_host { String::new() } else { host_name() },
        identifier: config.identifier(origin.watcher)?,
        time: SyslogRecord::old_time(),
    };
    datagrams(name, target, Record::Syslog(record), turn)
}

/// Records for the journal.
fn journal(config: &StreamConfig, origin: Origin<'_>, turn: u64) -> Result<Opened, OpenError> {
    let path = config.text("address")?.unwrap_or("/run/systemd/journal/socket").to_owned();
    let identifier = config.identifier(origin.watcher)?;
    let record = JournalRecord::new(severity(config, origin)?, &identifier, origin);
    datagrams(format!("the journal at {path}"), SyslogTarget::Path(path), Record::Journal(record), turn)
}

fn datagrams(name: String, target: SyslogTarget, record: Record, turn: u64) -> Result<Opened, OpenError> {
    let sink = Datagrams::new(target, matches!(record, Record::Journal(_)));
    let sink = sink.map_err(|error| OpenError::new(format_args!("cannot write to {name}"), &error))?;
    let (key, format) = (Key::Datagrams(turn), LineFormat::Record(record));
    Ok(Opened { key, name, sink: Box::new(sink), format, policy: RotationPolicy::default() })
}

/// As it is written; otherwise info for standard output, and err for standard error.
fn severity(config: &StreamConfig, origin: Origin<'_>) -> Result<u8, String> {
    let usual = match origin.stream {
        StreamName::Stdout => 6,
        StreamName::Stderr => 3,
    };
    Ok(config.severity()?.unwrap_or(usual))
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().chars().filter(char::is_ascii_graphic).collect()
}

/// What is written there is for clients that follow it: the stream's tail keeps it.
fn null(turn: u64) -> Opened {
    let (key, sink) = (Key::Null(turn), Box::new(NullSink));
    Opened { key, name: "memory".to_owned(), sink, format: LineFormat::Plain, policy: RotationPolicy::default() }
}

fn inherited(key: Key, format: LineFormat) -> Result<Opened, OpenError> {
    let (name, device) = match key {
        Key::Stderr => ("standard error", Device::inherited(io::stderr().as_fd())),
        Key::Stdout | Key::Path(_) | Key::Log(_) | Key::Command(_) | Key::Null(_) | Key::Datagrams(_) => {
            ("standard output", Device::inherited(io::stdout().as_fd()))
        }
    };
    let device = device.map_err(|error| OpenError::new(format_args!("cannot use {name}"), &error))?;
    Ok(Opened { key, name: name.to_owned(), sink: Box::new(device), format, policy: RotationPolicy::default() })
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::options::{Keeping, RotateWhen};

    fn open(config: &StreamConfig) -> Result<Opened, String> {
        let origin = Origin { watcher: "w", stream: crate::proto::StreamName::Stdout };
        super::open(config, origin, 0).map_err(|error| error.text)
    }

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
        assert_eq!(text, "max_bytes: 'ten' is not a whole number");
        assert_eq!(refusal("FileStream", json!({"filename": 3})), "filename: 3 is not a text");
        assert!(refusal("TimedRotatingFileStream", json!({})).starts_with("rotate_when is missing"));
    }

    #[test]
    fn every_class_asks_for_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let policy = |class: &str, options: Value| {
            let mut config = config(class, options);
            config.options.insert("filename".into(), json!(folder.path().join("log")));
            open(&config).ok().unwrap().policy
        };
        assert_eq!(policy("FileStream", json!({"backup_count": 3})), RotationPolicy::default(), "it grows for ever");
        let size = SizeRotation { max_bytes: 10, backup_count: 3 };
        let asked = policy("FileStream", json!({"max_bytes": "10", "backup_count": "3", "rotate_when": "S"}));
        let of = |rotation| RotationPolicy { rotation, ..RotationPolicy::default() };
        assert_eq!(asked, of(Rotation::BySize(size)));
        assert_eq!(policy("WatchedFileStream", json!({})), RotationPolicy { watched: true, ..of(Rotation::Never) });
        let when = RotateWhen::Weekday(2);
        let time = TimeRotation { when, interval: 1, utc: false, backup_count: 0 };
        let asked = policy("TimedRotatingFileStream", json!({"rotate_when": "w2", "utc": "False"}));
        assert_eq!(asked, of(Rotation::ByTime(time)));
        // What is kept is bounded by bytes: the file itself gets one half.
        let size = SizeRotation { max_bytes: 50, backup_count: u64::MAX };
        let asked = policy("FileStream", json!({"max_total": 100, "compress": "gzip", "on_full": "drop"}));
        let keeping = Keeping { max_total: 100, compress: true, ..Keeping::default() };
        let expected = RotationPolicy { keeping, on_full: Some(OnFull::Drop), ..of(Rotation::BySize(size)) };
        assert_eq!(asked, expected);
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
