//! What python3 imports from: `copy_path`.
//!
//! Circus, a Python program, handed its own `sys.path` to its workers. The nearest thing is what the python3 that
//! circusd would find itself has, and only that python3 knows it. It is started like any process, and reaped like any
//! child whose pid is not known.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::fd::AsFd as _;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe2;

use super::{Launch, Spawned, Stdio, send, spawn};
use circus_core::proto::Signal;

/// The first entry is the working directory, which `-c` puts there.
const ASK: &str = "import os, sys; os.write(1, os.fsencode(os.pathsep.join(sys.path[1:])))";

/// How long an answer may take.
const PATIENCE_MS: u16 = 5000;
/// Signals that interrupt the wait begin it anew, so often at most.
const INTERRUPTIONS: usize = 100;

/// `sys.path` of an interpreter, `python3` of this environment's PATH say, as PYTHONPATH has it. It waits for the answer, some 20 ms and
/// never more than a few seconds: ask once.
pub fn python_path(python: &str, env: &BTreeMap<String, String>, cwd: &str) -> Result<String, String> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| format!("no pipe for its answer: {}", errno.desc()))?;
    let argv = [python, "-c", ASK].map(str::to_owned).to_vec();
    let env = env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let launch = Launch { env, cwd: cwd.to_owned(), stdout: Stdio::Fd(write.as_fd()), ..Launch::new(argv) };
    let pid = match spawn(&launch) {
        Ok(Spawned::Running(pid) | Spawned::Pending { pid, .. }) => pid,
        Err(error) => return Err(format!("it cannot be started: {} ({})", error.detail, error.reason())),
    };
    drop(launch);
    drop(write);
    // The answer fits into the pipe, so there is nothing to do before the other end is closed.
    for _ in 0..INTERRUPTIONS {
        match poll(&mut [PollFd::new(read.as_fd(), PollFlags::empty())], PollTimeout::from(PATIENCE_MS)) {
            Err(Errno::EINTR) => {}
            Ok(1..) => return answer(std::fs::File::from(read)),
            Ok(_) | Err(_) => break,
        }
    }
    let _gone = send(pid, Signal::KILL);
    Err("it does not answer".into())
}

fn answer(mut pipe: std::fs::File) -> Result<String, String> {
    let mut path = String::new();
    pipe.read_to_string(&mut path).map_err(|error| format!("its answer cannot be read: {error}"))?;
    if path.is_empty() { Err("it ended without an answer".into()) } else { Ok(path) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::testing::alone;

    fn ask(script: &str) -> Result<String, String> {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("python3");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = directory.path().to_str().unwrap().to_owned();
        python_path("python3", &BTreeMap::from([("PATH".to_owned(), path)]), "/")
    }

    #[test]
    fn python_is_asked_and_collected_by_the_reaper() {
        alone("python::tests::python_is_asked_and_collected_by_the_reaper", || {
            assert_eq!(ask("printf /a:/b"), Ok("/a:/b".into()));
            assert_eq!(ask("exit 3"), Err("it ended without an answer".into()));
            let absent = python_path("python3", &BTreeMap::from([("PATH".to_owned(), "/nonexistent".to_owned())]), "/");
            assert!(absent.unwrap_err().starts_with("it cannot be started: python3 ([Errno 2]"));
            let children = || {
                let mut exits = Vec::new();
                crate::reap(&mut exits);
                exits.len()
            };
            assert_eq!(
                (0..)
                    .map(|_| children())
                    .scan(0, |all, some| {
                        *all += some;
                        Some(*all)
                    })
                    .find(|all| *all == 2),
                Some(2)
            );
        });
    }
}
