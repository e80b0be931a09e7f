use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::look_until;

/// A process that ends with its test: see [`Process::end`].
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts a program without input, whose output and errors are added to the end of a file.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        Self::start_reading(command, Stdio::null(), log)
    }

    /// The same, with this input.
    pub fn start_reading(command: &mut Command, input: impl Into<Stdio>, log: &Path) -> Self {
        let log = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        command.stdin(input).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Sends a signal, to one that runs.
    pub fn signal(&self, signal: Signal) {
        self::signal(self.pid(), signal);
    }

    /// Asks it to end, by SIGTERM, and waits. After 30 seconds it is killed.
    pub fn end(&mut self) {
        // The number of one that has ended may be another's by now.
        if !self.has_ended() {
            self.signal(Signal::SIGTERM);
        }
        look_until(Duration::from_secs(30), Duration::from_millis(20), || self.has_ended().then_some(()));
        self.kill();
    }

    /// Sends SIGKILL, and waits for its end.
    pub fn kill(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }

    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Waits for its end: its exit status, or nothing where a signal ended it.
    pub fn wait(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sends a signal. To a process that has gone, nothing happens.
pub fn signal(pid: u32, signal: Signal) {
    let _gone = kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal);
}

/// Whether a process runs: one that has ended and was not waited for does not.
pub fn runs(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

/// A TCP port of 127.0.0.1 that nothing listens at now. Nothing reserves it, but it is none of those that the kernel gives to
/// connections, which are many in tests: such a one could be taken before the program under test binds it.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    loop {
        let number = std::process::id() * 64 + u32::from(NEXT.fetch_add(1, Ordering::SeqCst));
        let port = u16::try_from(FIRST + number % COUNT).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
