//! A directory in which a circusd can be started.
#![expect(clippy::disallowed_methods, reason = "a test starts the programs that it tests")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::Circusd;
use super::process::Process;
use super::wait::{DEADLINE, look_until};

/// What a program said and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// `None` where a signal ended it.
    pub(crate) status: Option<i32>,
}

/// A temporary directory, and in it the names that all tests share. It is dropped last: a process that still works in it then,
/// and every socket and pidfile that is left, fails the test.
pub(crate) struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::Builder::new().prefix("circus-it-").tempdir().unwrap() }
    }

    /// Starts circusd with these sections and waits until it listens. See [`Site::ini`].
    #[track_caller]
    pub(crate) fn start(self, sections: &str) -> Circusd {
        let ini = self.ini("circus.ini", sections);
        Circusd::start(self, &[ini.to_str().unwrap()])
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("ipc://{}", self.path("control").display())
    }

    pub(crate) fn pubsub_endpoint(&self) -> String {
        format!("ipc://{}", self.path("events").display())
    }

    /// Writes an INI file. `{dir}` is the site, `{knobs}`, `{worker}`, `{counter}` and `{webworker}` are the programs of `examples/`. Endpoints and
    /// the pidfile are those of the site, unless the text has its own.
    pub(crate) fn ini(&self, name: &str, sections: &str) -> PathBuf {
        let (endpoint, events) = (self.endpoint(), self.pubsub_endpoint());
        let ours =
            format!("\n[circus]\nendpoint = {endpoint}\npubsub_endpoint = {events}\npidfile = {{dir}}/circusd.pid\n");
        // Indented as the code around it; to circusd that would mean something.
        let sections: Vec<&str> = sections.lines().map(str::trim_start).collect();
        // The first definition of a key counts.
        self.write(name, &(sections.join("\n") + &ours))
    }

    /// Writes a file with the same names.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, self.named(text)).unwrap();
        path
    }

    /// The text with the names filled in.
    pub(crate) fn named(&self, text: &str) -> String {
        let text = text.replace("{dir}", self.directory.path().to_str().unwrap());
        ["knobs", "worker", "counter", "webworker"].iter().fold(text, |text, name| match format!("{{{name}}}") {
            mark if text.contains(&mark) => text.replace(&mark, example(name).to_str().unwrap()),
            _ => text,
        })
    }

    /// The text of a file here; empty if there is none.
    pub(crate) fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }

    /// circusd with a soft limit of 1024 open files, as most systems have it, here.
    pub(crate) fn circusd(&self) -> Command {
        let mut command = self.command("/bin/sh");
        command.args(["-c", "ulimit -S -n 1024; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_circusd")]);
        command
    }

    /// A circusd that is expected to end by itself.
    #[track_caller]
    pub(crate) fn run_circusd(&self, args: &[&str]) -> Output {
        run(self.circusd().args(args))
    }

    /// circusctl for a circusd here.
    #[track_caller]
    pub(crate) fn circusctl(&self, args: &[&str]) -> Output {
        run(self.command(built("circusctl")).args(args))
    }

    /// Any program, here, with an environment of its own.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.directory.path()).env_clear().stdin(Stdio::null());
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("CIRCUSCTL_ENDPOINT", self.endpoint());
        command
    }

    /// The processes that work here.
    pub(crate) fn inhabitants(&self) -> Vec<Process> {
        Process::in_directory(self.directory.path())
    }

    /// Sockets and pidfiles here.
    fn traces(&self) -> Vec<PathBuf> {
        use std::os::unix::fs::FileTypeExt as _;
        let entries = std::fs::read_dir(self.directory.path()).unwrap().flatten();
        let is_trace = |path: &PathBuf| {
            let kind = std::fs::symlink_metadata(path).unwrap().file_type();
            kind.is_socket() || path.extension().is_some_and(|extension| extension == "pid")
        };
        entries.map(|entry| entry.path()).filter(is_trace).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // The last ones may just be dying.
        let empty = || self.inhabitants().is_empty().then_some(());
        let left = match look_until(Duration::from_secs(2), empty) {
            Some(()) => Vec::new(),
            None => self.inhabitants(),
        };
        let told: Vec<String> = left.iter().map(|who| format!("{}: {}", who.0, who.argv().join(" "))).collect();
        left.iter().for_each(|process| process.send(nix::sys::signal::Signal::SIGKILL));
        if !std::thread::panicking() {
            assert!(told.is_empty(), "these processes are left: {told:#?}");
            assert_eq!(self.traces(), Vec::<PathBuf>::new(), "these files are left");
        }
    }
}

/// Runs a program to its end. One that does not come to it is killed, and fails the test.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Output {
    let limit = DEADLINE * 4;
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let process = Process(i32::try_from(child.id()).unwrap());
    let (done, ended) = mpsc::channel::<()>();
    let guard = thread::spawn(move || {
        let late = ended.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            process.send(nix::sys::signal::Signal::SIGKILL);
        }
        late
    });
    let output = child.wait_with_output().unwrap();
    drop(done);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let output = Output { stdout: text(output.stdout), stderr: text(output.stderr), status: output.status.code() };
    assert!(!guard.join().unwrap(), "{command:?} did not end within {} s; it said {output:?}", limit.as_secs());
    output
}

/// Starts a program.
#[track_caller]
pub(crate) fn spawn(command: &mut Command) -> Child {
    command.spawn().unwrap()
}

/// A program of another package, beside the circusd that cargo built for this test.
pub(crate) fn built(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_circusd")).with_file_name(name);
    assert!(path.exists(), "{} is missing: run `cargo build`, or `cargo test --workspace` as a whole", path.display());
    path
}

/// A program of `examples/`, beside the binaries that cargo built for this test.
fn example(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_circusd")).with_file_name("examples").join(name);
    assert!(path.exists(), "{} is missing: run `cargo build --examples`, or `cargo test` as a whole", path.display());
    path
}
