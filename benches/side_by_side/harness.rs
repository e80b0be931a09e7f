//! Where the work is done: a temporary folder, and every process below this one. What is begun here ends here.
#![expect(clippy::disallowed_methods, reason = "a benchmark starts the programs that it measures, and ends at Ctrl-C")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::RwLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::clock::look;
use crate::outcome::{Outcome, fault};
use crate::proc::{Descendant, descendants};

const PROBE: &str = include_str!("probe.c");

/// Held shared while a process is started, and for good by the thread that ends everything: nothing begins after that.
static GATE: RwLock<()> = RwLock::new(());

/// The workshop. When it is dropped, nothing is left: no process, no file.
pub(crate) struct Harness {
    folder: tempfile::TempDir,
    rooms: AtomicUsize,
}

impl Harness {
    pub(crate) fn open() -> Outcome<Self> {
        // A process that loses its parent becomes a child of this one, so that every process is a descendant.
        prctl::set_child_subreaper(true)?;
        let folder = tempfile::Builder::new().prefix("circus-bench-").tempdir()?;
        clean_up_at_signals(folder.path().to_owned())?;
        let harness = Self { folder, rooms: AtomicUsize::new(0) };
        harness.make_probe()?;
        Ok(harness)
    }

    /// An empty folder for one piece of work.
    pub(crate) fn room(&self) -> Outcome<PathBuf> {
        let _open = GATE.read();
        let room = self.folder.path().join(self.rooms.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&room)?;
        Ok(room)
    }

    /// The worker.
    pub(crate) fn probe(&self) -> PathBuf {
        self.folder.path().join("probe")
    }

    /// Static where the compiler can: a worker that looks for libraries starts twice as slowly as one that does not.
    fn make_probe(&self) -> Outcome<()> {
        let source = self.folder.path().join("probe.c");
        fs::write(&source, PROBE)?;
        let compile = |link: &[&str]| {
            let mut cc = command("cc");
            cc.args(["-O2", "-Wall"]).args(link).arg("-o").arg(self.probe()).arg(&source).output()
        };
        let linked = compile(&["-static"])?;
        if linked.status.success() {
            return Ok(());
        }
        eprintln!("the worker cannot be linked statically here; its start will weigh more");
        let linked = compile(&[])?;
        if linked.status.success() {
            return Ok(());
        }
        Err(fault(format!("cc could not compile probe.c: {}", String::from_utf8_lossy(&linked.stderr))))
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        sweep();
    }
}

/// A command with nothing but a search path in its environment.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::null());
    command
}

/// A process that we have started. Dropped, it is killed.
pub(crate) struct Program(Child);

impl Program {
    /// Starts a daemon: what it prints goes to `log` in its room, and Ctrl-C is not for it.
    pub(crate) fn daemon(command: &mut Command, room: &Path) -> Outcome<Self> {
        let log = File::create(room.join("log"))?;
        Self::start(command.current_dir(room).process_group(0).stdout(log.try_clone()?).stderr(log))
    }

    pub(crate) fn start(command: &mut Command) -> Outcome<Self> {
        let _open = GATE.read();
        let begun = command.spawn();
        Ok(Self(begun.map_err(|error| fault(format!("{}: {error}", command.get_program().to_string_lossy())))?))
    }

    pub(crate) fn pid(&self) -> Pid {
        // The kernel's numbers fit.
        Pid::from_raw(i32::try_from(self.0.id()).unwrap_or_default())
    }

    /// Waits until it has ended by itself; whether it was content.
    pub(crate) fn wait(&mut self) -> io::Result<bool> {
        Ok(self.0.wait()?.success())
    }

    pub(crate) fn stdout(&mut self) -> Option<impl io::Read + use<>> {
        self.0.stdout.take()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn end(&mut self, limit: Duration) -> Outcome<()> {
        kill(self.pid(), Signal::SIGTERM)?;
        let ended = look(limit, Duration::from_micros(200), || self.has_ended().then_some(()));
        ended.ok_or_else(|| fault(format!("it did not end within {} s of SIGTERM", limit.as_secs())))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Either fails only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Those of our descendants that have not ended.
pub(crate) fn alive() -> Vec<Descendant> {
    descendants(Pid::this()).into_iter().filter(|kin| !kin.is_zombie).collect()
}

/// Ends every process below this one; how many had to be told.
pub(crate) fn sweep() -> usize {
    let mut told = 0;
    look(Duration::from_secs(10), Duration::from_millis(2), || {
        let left = alive();
        told = told.max(left.len());
        // One that has just ended is no loss.
        for kin in &left {
            let _ = kill(kin.pid, Signal::SIGKILL);
        }
        reap();
        left.is_empty().then_some(())
    });
    told
}

/// Takes note of all children that have ended. Those with a [`Program`] have been waited for before this is called.
fn reap() {
    while !matches!(waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive) | Err(_)) {}
}

/// Ctrl-C ends the measurement, and what was started for it.
fn clean_up_at_signals(folder: PathBuf) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let _closed = GATE.write();
            sweep();
            // The other thread may just be writing there; it gets no room and no process any more.
            let removed = || fs::remove_dir_all(&folder).is_ok().then_some(());
            look(Duration::from_secs(2), Duration::from_millis(5), removed);
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}
