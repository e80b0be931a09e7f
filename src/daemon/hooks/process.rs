//! Hooks that are commands, as processes.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use nix::fcntl::OFlag;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::pipe2;

use super::line_reader::{Answer, LineReader};
use crate::arbiter::Pid;
use crate::proto::SpawnError;
use crate::sys;

/// A command that runs.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) output: Option<LineReader>,
    /// Where its standard output is the answer.
    pub(super) answer: Option<Answer>,
}

/// What is to be started.
pub(super) struct Spec {
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) cwd: String,
    pub(super) stdin: Vec<u8>,
    /// Whether standard output is the answer, and not for the log.
    pub(super) answers: bool,
    pub(super) nofile: sys::Nofile,
}

impl Process {
    pub(super) fn start(spec: Spec) -> Result<Self, String> {
        let stdin = content(&spec.stdin).map_err(|error| format!("nowhere to put its input: {error}"))?;
        let (read, write) = pipe()?;
        let (answer, answer_end) = if spec.answers { pipe().map(|(r, w)| (Some(r), Some(w)))? } else { (None, None) };
        let spawned = sys::spawn(&sys::Launch {
            env: spec.env,
            cwd: spec.cwd,
            stdin: sys::Stdio::Fd(stdin.as_fd()),
            stdout: sys::Stdio::Fd(answer_end.as_ref().unwrap_or(&write).as_fd()),
            stderr: sys::Stdio::Fd(write.as_fd()),
            nofile: Some(spec.nofile),
            ..sys::Launch::new(spec.argv)
        });
        Ok(Self { pid: pid(spawned)?, output: Some(LineReader::new(read)), answer: answer.map(Answer::new) })
    }
}

/// The pid of what was started.
pub(super) fn pid(spawned: Result<sys::Spawned, SpawnError>) -> Result<Pid, String> {
    match spawned {
        Ok(sys::Spawned::Running(pid) | sys::Spawned::Pending { pid, .. }) => Ok(Pid(pid.as_raw())),
        Err(error) => Err(format!("it cannot be started: {} ({})", error.detail, error.reason())),
    }
}

/// A pipe whose reading end does not block; the writing end is as a program expects it.
pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd), String> {
    let failed = |errno: nix::errno::Errno| format!("no pipe for its output: {}", errno.desc());
    let (read, write) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
    nix::fcntl::fcntl(&read, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(failed)?;
    Ok((read, write))
}

/// A file in memory with this content, to be read from its beginning: nobody has to write on while it is read.
pub(super) fn content(bytes: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(memfd_create("hook", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}
