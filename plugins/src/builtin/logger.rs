//! Writes every event to a file, a line each: the example of the original's slides.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use circus_plugin_sdk::{Client, Event, Plugin, Settings};
use serde_json::Value;

use crate::builtin::{Registration, boxed};
use crate::support::selection::Kinds;

pub(super) const PLUGIN: Registration =
    Registration { name: "logger", make: |context| boxed(Logger::new(&context.settings)) };

/// The plugin.
#[derive(Debug)]
struct Logger {
    kinds: Kinds,
    file: Option<Target>,
}

/// A file by its name, opened again when another file has it.
#[derive(Debug)]
struct Target {
    path: PathBuf,
    open: Option<File>,
    /// A failure is logged once, until it is over.
    failing: bool,
}

impl Logger {
    fn new(settings: &Settings) -> Result<Self, String> {
        let file = settings.text("filename").map(|path| Target { path: path.into(), open: None, failing: false });
        Ok(Self { kinds: Kinds::new(settings), file })
    }
}

impl Target {
    fn write(&mut self, line: &str) -> io::Result<()> {
        if !self.open.as_ref().is_some_and(|file| is_at(file, &self.path)) {
            self.open = Some(circus_sys::open_log_file(&self.path)?);
        }
        self.open.as_mut().map_or(Ok(()), |file| file.write_all(line.as_bytes()))
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let same = |there: std::fs::Metadata| {
        file.metadata().is_ok_and(|here| (here.dev(), here.ino()) == (there.dev(), there.ino()))
    };
    std::fs::metadata(path).is_ok_and(same)
}

impl Plugin for Logger {
    fn on_event(&mut self, event: &Event, client: &mut dyn Client) {
        if !self.kinds.contain(&event.kind) {
            return;
        }
        let line = format!("watcher.{}.{}: {}", event.watcher, event.kind, Value::Object(event.body.clone()));
        let Some(target) = &mut self.file else {
            // Logging what plugins do makes them do it again: ours is one.
            return if event.is_of_a_plugin() {
            } else {
                client.info(&line)
            };
        };
        match target.write(&format!("{line}\n")) {
            Ok(()) => target.failing = false,
            Err(error) => {
                if !std::mem::replace(&mut target.failing, true) {
                    client.warn(&format!("cannot write to {}: {error}", target.path.display()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use circus_plugin_sdk::FakeClient;
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_lines_and_a_moved_file_is_reopened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let settings = Settings::new([("filename", path.to_str().unwrap()), ("events", "spawn, reap")]);
        let (mut plugin, mut client) = (Logger::new(&settings).unwrap(), FakeClient::default());
        for kind in ["spawn", "start", "reap"] {
            let event = client.event("w", kind, json!({"process_pid": 1}));
            plugin.on_event(&event, &mut client);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with(r#"watcher.w.spawn: {"process_pid":1,"time":0.0}"#), "{text}");
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        plugin.on_event(&client.event("w", "reap", json!({})), &mut client);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    }

    #[test]
    fn default_is_the_log_and_a_failure_is_logged_once() {
        let (mut plugin, mut client) = (Logger::new(&Settings::default()).unwrap(), FakeClient::default());
        plugin.on_event(&client.event("w", "stop", json!({})), &mut client);
        assert_eq!(client.take_said(), [r#"watcher.w.stop: {"time":0.0}"#]);
        let mut plugin = Logger::new(&Settings::new([("filename", "/nonexistent/x")])).unwrap();
        plugin.on_event(&client.event("w", "stop", json!({})), &mut client);
        plugin.on_event(&client.event("w", "stop", json!({})), &mut client);
        assert_eq!(client.take_said().len(), 1);
    }
}
