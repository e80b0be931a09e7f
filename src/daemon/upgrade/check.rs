//! The check whether a program can read the state: circusd runs it on the new program before anything else.

use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::progress::{Check, Failure, SETTLE_LIMIT, Upgrade};
use super::state;
use crate::arbiter::{Exit, Pid};
use crate::daemon::children::Owner;
use crate::daemon::event_loop::Daemon;
use crate::daemon::log::write_stderr;
use crate::proto::exit_words;
use crate::sys;

/// The version of this program.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How long the new program may take.
const CHECK_LIMIT: Duration = Duration::from_secs(10);
/// The longest part of its output that is reported.
const LONGEST_ANSWER: usize = 1000;

impl Daemon {
    /// Runs the new program with the state as it is now.
    pub(super) fn begin_check(&mut self, program: Option<String>) -> Result<Check, Failure> {
        let program = match program {
            Some(path) => PathBuf::from(path),
            None => sys::own_program().map_err(|error| ("program", format!("circusd's own file: {error}")))?,
        };
        let shown = program.display();
        match std::fs::metadata(&program) {
            Err(error) => return Err(("program", format!("{shown}: {error}"))),
            Ok(data) if !data.is_file() => return Err(("program", format!("{shown} is not a file"))),
            Ok(_) => {}
        }
        crate::daemon::keys::check(&self.resources.config.circus).map_err(|reason| ("keys", reason))?;
        let users = crate::daemon::door::read_users(&self.resources.config.circus);
        users.map_err(|errors| ("users", errors.join("; ")))?;
        let bytes = self.state_for_a_look()?;
        let file = sys::sealed(&bytes).map_err(|error| ("state", error.to_string()))?;
        let (said, told) = crate::daemon::hooks::pipe().map_err(|reason| ("check", reason))?;
        let null = std::fs::File::options().write(true).open("/dev/null");
        let null = null.map_err(|error| ("check", format!("/dev/null: {error}")))?;
        let spawned = self.children.spawner.spawn(&sys::Launch {
            env: self.resources.host.env.clone().into_iter().collect(),
            cwd: self.resources.host.cwd.clone(),
            stdin: sys::Stdio::Fd(file.as_fd()),
            stdout: sys::Stdio::Fd(null.as_fd()),
            stderr: sys::Stdio::Fd(told.as_fd()),
            nofile: Some(self.launcher.nofile),
            ends_with_us: true,
            ..sys::Launch::new(vec![program.to_string_lossy().into_owned(), "--check-state".to_owned()])
        });
        let spawned = spawned.map_err(|error| ("program", format!("{} ({})", error.detail, error.reason())))?;
        let pid = Pid(spawned.pid().as_raw());
        self.children.insert(pid, Owner::UpgradeCheck);
        Ok(Check { pid, program, said, until: self.core.now.mono.after(CHECK_LIMIT) })
    }

    /// The present state, without the parts that are known only at the last moment.
    fn state_for_a_look(&mut self) -> Result<Vec<u8>, Failure> {
        let paused = self.launcher.output.pause(state::PAUSE_LIMIT);
        let paused = paused.ok_or(("state", "the output thread does not answer".to_owned()))?;
        // A look at the output that changes nothing: it goes on when `paused` is dropped.
        state::save(self, &paused, Vec::new()).map(|saved| saved.bytes).map_err(|reason| ("state", reason))
    }

    /// The program that looked at the state has ended.
    pub(in crate::daemon) fn upgrade_checked(&mut self, exit: Exit) {
        let check = match std::mem::take(&mut self.upgrade) {
            Upgrade::Checking(check) if check.pid == exit.pid => check,
            other => return self.upgrade = other,
        };
        if exit.exit_code == 0 {
            let until = self.core.now.mono.after(SETTLE_LIMIT);
            self.upgrade = Upgrade::Settling { program: check.program, until };
            return;
        }
        let (program, how, said) = (check.program.display(), exit_words(exit.exit_code), text_of(check.said));
        let said = if said.is_empty() { said } else { format!(": {said}") };
        self.upgrade_failed(("check", format!("{program} --check-state: {how}{said}")));
    }

    /// It takes too long.
    pub(super) fn end_check(&mut self, check: &Check) -> Failure {
        self.children.disown(check.pid);
        self.signaller.kill([check.pid]);
        self.signaller.kill_queued(&self.leftovers);
        ("check", format!("{} --check-state has not ended within {CHECK_LIMIT:?}", check.program.display()))
    }
}

fn text_of(said: OwnedFd) -> String {
    let mut bytes = Vec::new();
    // The pipe does not block: a process that the program has left behind may hold its other end.
    let _read = std::fs::File::from(said).take(LONGEST_ANSWER as u64).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).trim_end().replace('\n', "; ")
}

/// `circusd --check-state`: standard input is the state of another circusd. The exit status is 0 where this program can
/// go on with it.
pub(in crate::daemon) fn check_state() -> ExitCode {
    let mut bytes = Vec::new();
    let read = std::io::stdin().read_to_end(&mut bytes).map_err(|error| format!("it cannot be read: {error}"));
    match read.and_then(|_| state::read(&bytes).map(drop)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            write_stderr(format!("{reason}\n"));
            ExitCode::FAILURE
        }
    }
}
