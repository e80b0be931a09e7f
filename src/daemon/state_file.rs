//! The state file: which workers live, so that the circusd after one that was killed finds them.
//!
//! A thread writes it, since a disk may be slow: what changes together is written once. It is replaced whole (temporary
//! file, fsync, rename), with mode 0600. A process is named by its pid and the time of its start, and the file by the boot
//! of the machine, so that no later process is taken for a worker.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use nix::unistd::Pid as SysPid;
use serde::{Deserialize, Serialize};

use crate::arbiter::{Memories, Pid};
use crate::background;
use crate::sys::{self, ProcessIdentity};

/// The format. A file of another one is taken for none.
const VERSION: u32 = 1;
/// A larger file is none of ours.
const LONGEST: u64 = 64 << 20;

/// A worker of a circusd that was killed, or will have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownWorker {
    #[serde(flatten)]
    pub(super) identity: ProcessIdentity,
    /// Its watcher's name.
    pub(super) watcher: String,
    /// Its number within the watcher.
    pub(super) wid: u32,
}

/// What the file holds.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Document {
    version: u32,
    /// The machine's, as the kernel names it.
    boot_id: String,
    /// Whose workers they are.
    circusd: ProcessIdentity,
    /// The managed sockets by name.
    pub(super) sockets: BTreeMap<String, sys::Address>,
    pub(super) workers: Vec<KnownWorker>,
    /// What operators have decided about watchers. It counts on every boot.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    memories: Memories,
    /// When watchers with a schedule were due the last time, by name, in seconds since the epoch.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    runs: BTreeMap<String, f64>,
}

impl Document {
    /// Whether the next circusd has nothing to know of it once everything has stopped.
    fn is_forgettable(&self) -> bool {
        self.memories.is_empty() && self.runs.is_empty()
    }
}

enum Change {
    Started {
        pid: Pid,
        watcher: String,
        wid: u32,
    },
    Ended(Pid),
    Sockets(BTreeMap<String, sys::Address>),
    Remember(Memories),
    Ran {
        watcher: String,
        time: f64,
    },
    /// Everything has stopped: the file goes, unless something is to be remembered.
    Remove,
}

/// The file, as long as it is written.
#[derive(Debug)]
pub(super) struct StateFile {
    changes: Option<Sender<Change>>,
    failures: Receiver<String>,
    thread: Option<JoinHandle<()>>,
}

impl StateFile {
    /// Begins to write the file, with what is remembered.
    pub(super) fn begin(path: &str, memories: Memories) -> io::Result<Self> {
        let (changes, inbox) = mpsc::channel();
        let (outbox, failures) = mpsc::channel();
        let path = PathBuf::from(path);
        let thread = background::spawn("state", move || keep(&path, memories, &inbox, &outbox))?;
        Ok(Self { changes: Some(changes), failures, thread: Some(thread) })
    }

    pub(super) fn started(&self, pid: Pid, watcher: &str, wid: u32) {
        self.send(Change::Started { pid, watcher: watcher.to_owned(), wid });
    }

    pub(super) fn ended(&self, pid: Pid) {
        self.send(Change::Ended(pid));
    }

    pub(super) fn sockets(&self, sockets: &[sys::ManagedSocket]) {
        let named = sockets.iter().map(|socket| (socket.name.clone(), socket.address.clone()));
        self.send(Change::Sockets(named.collect()));
    }

    pub(super) fn remember(&self, memories: Memories) {
        self.send(Change::Remember(memories));
    }

    /// A watcher was due to run at this time.
    pub(super) fn ran(&self, watcher: &str, time: f64) {
        self.send(Change::Ran { watcher: watcher.to_owned(), time });
    }

    /// Why the file could not be written, told once until it can be.
    pub(super) fn take_failure(&self) -> Option<String> {
        self.failures.try_recv().ok()
    }

    /// No worker is left: the file goes.
    pub(super) fn remove(mut self) {
        self.send(Change::Remove);
        self.changes = None;
        if let Some(thread) = self.thread.take() {
            // A panic there is reported by its own message on standard error.
            let _ = thread.join();
        }
    }

    fn send(&self, change: Change) {
        if let Some(changes) = &self.changes {
            // An error means that the thread has ended, which only a panic does.
            let _ = changes.send(change);
        }
    }
}

fn keep(path: &Path, memories: Memories, inbox: &Receiver<Change>, failures: &Sender<String>) {
    let proc = sys::Proc::default();
    let Some(circusd) = identity(&proc, SysPid::this()) else { return };
    let mut document = Document {
        version: VERSION,
        boot_id: boot_id(),
        circusd,
        sockets: BTreeMap::new(),
        workers: Vec::new(),
        memories,
        runs: BTreeMap::new(),
    };
    let mut has_failed = false;
    while let Ok(first) = inbox.recv() {
        for change in std::iter::once(first).chain(inbox.try_iter()) {
            match change {
                Change::Started { pid, watcher, wid } => {
                    // One that has ended by now is not to be found.
                    let found = identity(&proc, SysPid::from_raw(pid.0));
                    document.workers.extend(found.map(|identity| KnownWorker { identity, watcher, wid }));
                }
                Change::Ended(pid) => document.workers.retain(|worker| worker.identity.pid.as_raw() != pid.0),
                Change::Sockets(sockets) => document.sockets = sockets,
                Change::Remember(memories) => document.memories = memories,
                Change::Ran { watcher, time } => drop(document.runs.insert(watcher, time)),
                Change::Remove if document.is_forgettable() => return drop(std::fs::remove_file(path)),
                Change::Remove => (document.sockets, document.workers) = Default::default(),
            }
        }
        let failed = write(path, &document).err();
        if let Some(error) = failed.as_ref().filter(|_| !has_failed) {
            let _ = failures.send(format!("state_file '{}' cannot be written: {error}", path.display()));
        }
        has_failed = failed.is_some();
    }
}

fn identity(proc: &sys::Proc, pid: SysPid) -> Option<ProcessIdentity> {
    proc.stat(pid).map(|stat| ProcessIdentity::from(&stat))
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn write(path: &Path, document: &Document) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    // A leftover, or what another user has put there.
    let _none = std::fs::remove_file(&new);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(document)?)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

/// What an earlier circusd has remembered, also one before the last boot.
pub(super) fn memories(path: &str) -> Result<Memories, String> {
    Ok(read(path)?.map(|document| document.memories).unwrap_or_default())
}

/// When watchers with a schedule were due the last time, as an earlier circusd has remembered it.
pub(super) fn runs(path: &str) -> Result<BTreeMap<String, f64>, String> {
    Ok(read(path)?.map(|document| document.runs).unwrap_or_default())
}

/// The workers of the file that live, and what is said of the sockets. An error where they are those of a circusd that
/// runs, or the file may have been written by another user.
pub(super) fn survivors(path: &str) -> Result<Option<Document>, String> {
    let Some(mut document) = read(path)?.filter(|document| document.boot_id == boot_id()) else { return Ok(None) };
    let proc = sys::Proc::default();
    let circusd = document.circusd;
    if circusd.pid != SysPid::this() && circusd.is_alive(&proc) {
        return Err(format!("state_file '{path}' belongs to a running circusd, pid {}", circusd.pid));
    }
    document.workers.retain(|worker| worker.identity.is_alive(&proc));
    Ok(Some(document))
}

fn read(path: &str) -> Result<Option<Document>, String> {
    let open = File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let file = match open {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("state_file '{path}' cannot be read: {error}")),
    };
    let data = file.metadata().map_err(|error| format!("state_file '{path}': {error}"))?;
    if let Some(reason) = sys::not_our_own(&data) {
        return Err(format!("state_file '{path}': {reason}"));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes).map_err(|error| format!("state_file '{path}': {error}"))?;
    // One that was damaged names no process that could be trusted to be a worker.
    let document = serde_json::from_slice::<Document>(&bytes).ok();
    Ok(document.filter(|document| document.version == VERSION))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn document(workers: Vec<KnownWorker>) -> Document {
        let none = ProcessIdentity { pid: SysPid::from_raw(i32::MAX), started: 1 };
        Document {
            version: VERSION,
            boot_id: boot_id(),
            circusd: none,
            sockets: BTreeMap::new(),
            workers,
            memories: Memories::new(),
            runs: BTreeMap::new(),
        }
    }

    fn ourselves() -> ProcessIdentity {
        identity(&sys::Proc::default(), SysPid::this()).unwrap()
    }

    #[test]
    fn processes_of_the_past_and_of_another_boot_are_no_survivors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let text = path.to_str().unwrap();
        assert!(survivors(text).unwrap().is_none());
        let known = |identity| KnownWorker { identity, watcher: "w".into(), wid: 1 };
        let earlier = ProcessIdentity { started: ourselves().started - 1, ..ourselves() };
        let mut saved = document(vec![known(ourselves()), known(earlier)]);
        write(&path, &saved).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(survivors(text).unwrap().unwrap().workers, [known(ourselves())]);
        saved.boot_id = "another".into();
        write(&path, &saved).unwrap();
        assert!(survivors(text).unwrap().is_none());
        std::fs::write(&path, "{\"version\": 1, ").unwrap();
        assert!(survivors(text).unwrap().is_none(), "one that was cut off");
    }

    #[test]
    fn file_of_another_or_of_a_circusd_that_runs_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let parent = identity(&sys::Proc::default(), nix::unistd::getppid()).unwrap();
        write(&path, &Document { circusd: parent, ..document(Vec::new()) }).unwrap();
        let text = survivors(path.to_str().unwrap()).unwrap_err();
        assert!(text.contains("belongs to a running circusd"), "{text}");
        write(&path, &document(Vec::new())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let text = survivors(path.to_str().unwrap()).unwrap_err();
        assert!(text.contains("circusd's user alone can write"), "{text}");
    }

    #[test]
    fn file_follows_what_starts_and_ends_and_goes_with_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let file = StateFile::begin(path.to_str().unwrap(), Memories::new()).unwrap();
        file.started(Pid(ourselves().pid.as_raw()), "w", 2);
        file.started(Pid(i32::MAX), "w", 3);
        let read = || {
            let document: Document = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
            Some(document.workers)
        };
        let expected = KnownWorker { identity: ourselves(), watcher: "w".into(), wid: 2 };
        while read() != Some(vec![expected.clone()]) {
            std::thread::yield_now();
        }
        file.ended(Pid(ourselves().pid.as_raw()));
        while read() != Some(Vec::new()) {
            std::thread::yield_now();
        }
        assert_eq!(file.take_failure(), None);
        file.remove();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_remembered_outlives_the_end_and_the_boot() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let text = path.to_str().unwrap();
        let memories: Memories = serde_json::from_value(serde_json::json!({"web": {"enabled": false}})).unwrap();
        let file = StateFile::begin(text, Memories::new()).unwrap();
        file.started(Pid(ourselves().pid.as_raw()), "w", 2);
        file.remember(memories.clone());
        file.remove();
        assert_eq!(super::memories(text).unwrap(), memories);
        let saved = survivors(text).unwrap().unwrap();
        assert!(saved.workers.is_empty(), "nothing runs any more");
        write(&path, &Document { boot_id: "another".into(), ..saved }).unwrap();
        assert_eq!(super::memories(text).unwrap(), memories);
        let file = StateFile::begin(text, memories).unwrap();
        file.remember(Memories::new());
        file.remove();
        assert!(!path.exists());
    }

    #[test]
    fn file_stays_where_a_schedule_has_to_be_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let text = path.to_str().unwrap();
        let file = StateFile::begin(text, Memories::new()).unwrap();
        file.started(Pid(ourselves().pid.as_raw()), "w", 2);
        file.ran("job", 5.5);
        file.ran("job", 7.25);
        file.remove();
        assert_eq!(runs(text), Ok(BTreeMap::from([("job".to_owned(), 7.25)])));
        assert_eq!(survivors(text).unwrap().unwrap().workers, []);
        std::fs::write(&path, "nonsense").unwrap();
        assert_eq!(runs(text), Ok(BTreeMap::new()));
    }
}
