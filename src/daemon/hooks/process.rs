//! Hooks that are commands, as processes.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use nix::fcntl::OFlag;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::pipe2;

use super::answer::Answer;
use crate::arbiter::{Level, Pid};
use crate::output::{OutputHandle, SinkId, Source};
use crate::proto::{SpawnError, StreamName};
use crate::sys;

/// A command that runs.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: Pid,
    /// Where what it prints goes: the log.
    pub(super) sink: SinkId,
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
    pub(super) nofile: sys::OpenFileLimit,
    /// What its lines in the log begin with, and how weighty they are.
    pub(super) speaker: String,
    pub(super) level: Level,
}

impl Process {
    pub(super) fn start(spec: Spec, output: &mut OutputHandle, spawner: &mut sys::Spawner) -> Result<Self, String> {
        let stdin = content(&spec.stdin).map_err(|error| format!("its input cannot be stored: {error}"))?;
        let (read, write) = pipe()?;
        let (answer, answer_end) = if spec.answers { pipe().map(|(r, w)| (Some(r), Some(w)))? } else { (None, None) };
        let spawned = spawner.spawn(&sys::Launch {
            env: spec.env,
            cwd: spec.cwd,
            stdin: sys::Stdio::Fd(stdin.as_fd()),
            stdout: sys::Stdio::Fd(answer_end.as_ref().unwrap_or(&write).as_fd()),
            stderr: sys::Stdio::Fd(write.as_fd()),
            nofile: Some(spec.nofile),
            ..sys::Launch::new(spec.argv)
        });
        let pid = pid(spawned)?;
        let sink = log_output(output, read, pid, &spec.speaker, spec.level);
        Ok(Self { pid, sink, answer: answer.map(Answer::new) })
    }
}

/// Sends what a process prints into this pipe to the log.
pub(super) fn log_output(output: &mut OutputHandle, pipe: OwnedFd, pid: Pid, speaker: &str, level: Level) -> SinkId {
    let sink = output.open_log(speaker, level);
    output.attach(pipe, sink, Source { pid: pid.0, wid: 0, name: StreamName::Stdout });
    sink
}

/// The pid of what was started.
pub(super) fn pid(spawned: Result<sys::Spawned, SpawnError>) -> Result<Pid, String> {
    match spawned {
        Ok(sys::Spawned::Running(pid) | sys::Spawned::Pending { pid, .. }) => Ok(Pid(pid.as_raw())),
        Err(error) => Err(format!("it cannot be started: {} ({})", error.detail, error.reason())),
    }
}

/// A pipe whose reading end does not block; the writing end is as a program expects it.
pub(in crate::daemon) fn pipe() -> Result<(OwnedFd, OwnedFd), String> {
    let failed = |errno: nix::errno::Errno| format!("no pipe for its output: {}", errno.desc());
    let (read, write) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
    nix::fcntl::fcntl(&read, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(failed)?;
    Ok((read, write))
}

/// A file in memory with this content, to be read from its beginning, without a writer beside the reader.
pub(super) fn content(bytes: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(memfd_create("hook", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}
