//! Helpers of this room's tests.

use std::io::{PipeReader, Read as _};
use std::os::fd::AsFd as _;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{Launch, Spawned, Spawner, StatusRead, Stdio, read_status};
use circus_core::proto::SpawnError;

const MARK: &str = "CIRCUS_TEST_ALONE";

/// Runs a test in a process of its own: this test binary again, for this one test. For what is the process's and not
/// the thread's (its descriptors, children, handlers, umask, limits), which other tests use at the same time.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a test that starts itself again, and knows itself by a variable")]
pub(super) fn alone(name: &str, test: impl FnOnce()) {
    if std::env::var_os(MARK).is_some() {
        return test();
    }
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    let words = [&program, name, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"];
    let mut launch = Launch::new(words.map(str::to_owned).to_vec());
    launch.env = std::env::vars().chain([(MARK.to_owned(), "1".to_owned())]).collect();
    let (stdout, status) = output(&mut launch);
    eprint!("{stdout}");
    assert!(stdout.contains("running 1 test"), "{name} is no test");
    assert_eq!(status, 0, "{name} failed in its own process");
}

/// A shell with this script and `/bin:/usr/bin` in its PATH.
pub(super) fn shell<'fd>(script: &str) -> Launch<'fd> {
    let mut launch = Launch::new(["/bin/sh", "-c", script].map(str::to_owned).to_vec());
    launch.env = vec![("PATH".into(), "/bin:/usr/bin".into())];
    launch
}

/// Starts it and waits until it runs its program or has failed to.
pub(super) fn start(launch: &Launch<'_>) -> Result<Pid, SpawnError> {
    start_by(&mut Spawner::new()?, launch)
}

/// The same, by this spawner.
pub(super) fn start_by(spawner: &mut Spawner, launch: &Launch<'_>) -> Result<Pid, SpawnError> {
    match spawner.spawn(launch)? {
        Spawned::Running(pid) => Ok(pid),
        Spawned::Pending { pid, status } => {
            use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
            poll(&mut [PollFd::new(status.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
            match read_status(&status) {
                StatusRead::Started => Ok(pid),
                StatusRead::Failed(error) => {
                    assert_eq!(wait(pid), 127);
                    Err(error)
                }
                StatusRead::StillStarting => panic!("readable and nothing to read"),
            }
        }
    }
}

/// Starts a shell with this script. Its standard output ends when nothing that it has started is left.
#[track_caller]
pub(super) fn piped(script: &str) -> (Pid, PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut launch = shell(script);
    launch.stdout = Stdio::Fd(writer.as_fd());
    (start(&launch).unwrap(), reader)
}

/// The exit status of a child, or minus the signal that ended it.
pub(super) fn wait(pid: Pid) -> i32 {
    match waitpid(pid, None).unwrap() {
        WaitStatus::Exited(_, status) => status,
        WaitStatus::Signaled(_, signal, _) => -(signal as i32),
        other => panic!("{other:?}"),
    }
}

/// What it writes to its stdout (and to stderr where that is null), and its exit status.
#[track_caller]
pub(super) fn output(launch: &mut Launch<'_>) -> (String, i32) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut launch = launch.clone();
    launch.stdout = Stdio::Fd(writer.as_fd());
    if matches!(launch.stderr, Stdio::Null) {
        launch.stderr = Stdio::Fd(writer.as_fd());
    }
    let pid = start(&launch).unwrap();
    drop(launch);
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    (text, wait(pid))
}
