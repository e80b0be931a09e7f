//! Restarts a watcher when its program, or a file that it depends on, has changed.
//!
//! It checks every `loop_rate` seconds, as in Circus. With `inotify` the kernel reports changes in the directories
//! of these files, and a look is taken then, and when circusd says that watchers have changed: nothing wakes it
//! otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use circus_core::config::split_words;
use circus_plugin_sdk::{Client, Event, Plugin, Settings};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde_json::{Map, Value};

use crate::builtin::{Registration, boxed};
use crate::support::fingerprints::{Fingerprint, directories, fingerprints};
use crate::support::interval::Interval;
use crate::support::selection::Selection;

pub(super) const PLUGIN: Registration =
    Registration { name: "command_reloader", make: |context| boxed(CommandReloader::new(&context.settings)) };

/// A file that is being written changes several times; it is looked at when it has been left alone.
const REST: Duration = Duration::from_millis(200);

/// A watcher's own list of files.
const OWN_PATHS: &str = "command_reloader.paths";

/// The plugin.
#[derive(Debug)]
struct CommandReloader {
    selection: Selection,
    paths: Vec<String>,
    interval: Interval,
    kernel: Option<Kernel>,
    /// How the files of each watcher were.
    known: BTreeMap<String, Vec<Fingerprint>>,
}

/// The changes that the kernel reports.
#[derive(Debug)]
struct Kernel {
    inotify: Inotify,
    watched: BTreeSet<PathBuf>,
    /// When the look is due that news calls for.
    look_at: Option<Duration>,
}

impl CommandReloader {
    fn new(settings: &Settings) -> Result<Self, String> {
        let kernel = settings.flag("inotify")?.then(Kernel::new).transpose()?;
        Ok(Self {
            selection: Selection::new(settings)?,
            paths: settings.list("paths"),
            interval: Interval::new(settings.seconds("loop_rate")?),
            kernel,
            known: BTreeMap::new(),
        })
    }

    fn look(&mut self, client: &mut dyn Client) {
        let watchers = match client.watchers() {
            Ok(watchers) => watchers,
            Err(refusal) => return client.warn(&format!("the watchers cannot be read: {refusal}")),
        };
        self.known.retain(|watcher, _| watchers.contains(watcher));
        for watcher in watchers {
            if !self.selection.contains(&watcher, client) {
                continue;
            }
            // One that was removed meanwhile has no options.
            if let Ok(options) = client.options(&watcher) {
                self.look_at(watcher, &options, client);
            }
        }
    }

    fn look_at(&mut self, watcher: String, options: &Map<String, Value>, client: &mut dyn Client) {
        let paths = files(options, &self.paths);
        if let Some(kernel) = &mut self.kernel {
            kernel.watch(&paths, client);
        }
        let now: Vec<Fingerprint> = paths.iter().flat_map(|path| fingerprints(path)).collect();
        // While a program is being exchanged it is not there for a moment.
        if now.is_empty() {
            return;
        }
        let before = self.known.get(&watcher);
        if before.is_some_and(|before| *before != now) {
            client.info(&format!("the program of {watcher}, or a file of its list, has changed: it is restarted"));
            client.restart(&watcher);
        }
        self.known.insert(watcher, now);
    }
}

/// The files of a watcher: its program, its own list, and the list for all.
fn files(options: &Map<String, Value>, shared: &[String]) -> Vec<PathBuf> {
    let text = |key: &str| options.get(key).and_then(Value::as_str).unwrap_or_default();
    let directory = Path::new(text("working_dir"));
    let words = split_words(text("cmd")).unwrap_or_default();
    let program = Some(text("executable")).filter(|text| !text.is_empty()).or(words.first().map(String::as_str));
    let search = options.get("env").and_then(|env| env.get("PATH")).and_then(Value::as_str).unwrap_or("/bin:/usr/bin");
    let own = text(OWN_PATHS).split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty());
    let listed = own.chain(shared.iter().map(String::as_str)).map(|path| directory.join(path));
    program.and_then(|program| find(program, directory, search)).into_iter().chain(listed).collect()
}

/// The file that a program's name stands for.
fn find(program: &str, directory: &Path, search: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(directory.join(program));
    }
    search.split(':').map(|folder| directory.join(folder).join(program)).find(|path| path.is_file())
}

impl Kernel {
    fn new() -> Result<Self, String> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC);
        let inotify = inotify.map_err(|errno| format!("inotify: the kernel has none left: {}", errno.desc()))?;
        Ok(Self { inotify, watched: BTreeSet::new(), look_at: None })
    }

    /// Watches where these files are, in addition.
    fn watch(&mut self, paths: &[PathBuf], client: &mut dyn Client) {
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ATTRIB;
        for directory in directories(paths) {
            if self.watched.contains(&directory) {
                continue;
            }
            match self.inotify.add_watch(&directory, flags) {
                Ok(_) => drop(self.watched.insert(directory)),
                Err(errno) => client.warn(&format!("{} cannot be watched: {}", directory.display(), errno.desc())),
            }
        }
    }

    fn drain(&self) {
        while self.inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
    }
}

impl Plugin for CommandReloader {
    fn start(&mut self, client: &mut dyn Client) -> Result<(), String> {
        self.look(client);
        self.interval.begin(client.now());
        Ok(())
    }

    fn source(&self) -> Option<BorrowedFd<'_>> {
        self.kernel.as_ref().map(|kernel| kernel.inotify.as_fd())
    }

    fn on_readable(&mut self, client: &mut dyn Client) {
        if let Some(kernel) = &mut self.kernel {
            kernel.drain();
            kernel.look_at = Some(client.now() + REST);
        }
    }

    fn on_event(&mut self, event: &Event, client: &mut dyn Client) {
        let changes = matches!(event.kind.as_str(), "add" | "remove" | "updated" | "start") && !event.is_of_a_plugin();
        if let Some(kernel) = self.kernel.as_mut().filter(|_| changes) {
            kernel.look_at = Some(client.now() + REST);
        }
    }

    fn next_tick(&self) -> Option<Duration> {
        self.kernel.as_ref().map_or_else(|| self.interval.next(), |kernel| kernel.look_at)
    }

    fn on_tick(&mut self, client: &mut dyn Client) {
        if let Some(kernel) = &mut self.kernel {
            kernel.look_at = None;
        }
        self.look(client);
        self.interval.pass(client.now());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use circus_core::config::Builtin;
    use circus_plugin_sdk::FakeClient;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use serde_json::json;

    use super::*;

    struct Stage {
        folder: tempfile::TempDir,
        plugin: CommandReloader,
        client: FakeClient,
    }

    impl Stage {
        /// A watcher `w` that runs `./program with arguments`, and its own list `extra`.
        fn new(settings: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("program"), "1").unwrap();
            let settings = Settings::new(settings.iter().copied());
            let plugin = CommandReloader::new(&settings.with_defaults_of(Builtin::find("command_reloader").unwrap()));
            let mut client = FakeClient::default();
            let statuses = json!({"gone": "active", "plugin:p": "active", "w": "active"});
            client.answer("status", json!({"status": "ok", "statuses": statuses}));
            client.answer("list", json!({"status": "ok", "watchers": ["gone", "plugin:p", "w"]}));
            client.answer("options", json!({"status": "error", "reason": "gone"}));
            for _ in 0..20 {
                let options =
                    json!({"cmd": "./program -x 'a b'", "working_dir": folder.path(), OWN_PATHS: "extra, more"});
                client.answer("options", json!({"status": "ok", "options": options}));
                client.answer("options", json!({"status": "error", "reason": "gone"}));
            }
            let mut stage = Self { folder, plugin: plugin.unwrap(), client };
            stage.plugin.start(&mut stage.client).unwrap();
            stage
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.folder.path().join(name), text).unwrap();
        }

        /// What it has restarted since the last time.
        fn restarted(&mut self) -> Vec<String> {
            let mut sent = self.client.take_sent();
            sent.retain(|sent| sent.starts_with("restart"));
            sent
        }

        fn looks(&mut self) -> Vec<String> {
            self.plugin.on_tick(&mut self.client);
            self.restarted()
        }
    }

    const RESTART: &str = r#"restart {"name":"w"}"#;

    #[test]
    fn a_changed_program_or_file_restarts_once() {
        let mut stage = Stage::new(&[]);
        assert_eq!(stage.looks(), [""; 0]);
        stage.write("program", "22");
        assert_eq!(stage.looks(), [RESTART]);
        assert_eq!(stage.looks(), [""; 0]);
        stage.write("extra", "new");
        assert_eq!(stage.looks(), [RESTART]);
        fs::remove_file(stage.folder.path().join("program")).unwrap();
        fs::remove_file(stage.folder.path().join("extra")).unwrap();
        assert_eq!(stage.looks(), [""; 0], "it is being exchanged");
        stage.write("program", "333");
        assert_eq!(stage.looks(), [RESTART]);
    }

    #[test]
    fn the_kernel_tells_of_changes() {
        let mut stage = Stage::new(&[("inotify", "yes")]);
        assert_eq!(stage.plugin.next_tick(), None, "nothing wakes it");
        stage.write("program", "22");
        let source = PollFd::new(stage.plugin.source().unwrap(), PollFlags::POLLIN);
        assert_eq!(poll(&mut [source], PollTimeout::from(30_000_u16)), Ok(1));
        stage.plugin.on_readable(&mut stage.client);
        assert_eq!(stage.plugin.next_tick(), Some(REST));
        assert_eq!(stage.looks(), [RESTART]);
        assert_eq!(stage.plugin.next_tick(), None);
        let event = stage.client.event("w", "add", json!({}));
        stage.plugin.on_event(&event, &mut stage.client);
        assert_eq!(stage.plugin.next_tick(), Some(REST));
    }

    #[test]
    fn other_watchers_are_not_asked_for() {
        let mut stage = Stage::new(&[("watchers_regex", "other")]);
        stage.write("program", "22");
        stage.plugin.on_tick(&mut stage.client);
        assert!(stage.client.take_sent().iter().all(|sent| sent.starts_with("list")));
    }

    #[test]
    fn programs_are_found_as_circusd_finds_them() {
        let options = |value: Value| value.as_object().unwrap().clone();
        let of = |value: Value| files(&options(value), &["/shared".to_owned()]);
        assert_eq!(of(json!({"cmd": "sh -c x", "working_dir": "/"})), [Path::new("/bin/sh"), Path::new("/shared")]);
        assert_eq!(
            of(json!({"cmd": "x y", "executable": "/opt/x", "working_dir": "/"})),
            [Path::new("/opt/x"), Path::new("/shared")]
        );
        assert_eq!(of(json!({"cmd": "bin/x", "working_dir": "/srv"})), [Path::new("/srv/bin/x"), Path::new("/shared")]);
        assert_eq!(of(json!({"cmd": "'", "working_dir": "/"})), [Path::new("/shared")]);
    }
}
