//! Going into the background, as `circusd --daemon` does.
//!
//! Circus forks first and finds errors later, so that its caller always sees success. Here the daemon
//! keeps the caller's standard streams until it is ready, and prints its errors there; the caller waits for one byte.
#![expect(unsafe_code, reason = "fork, and the closing of descriptors that were inherited")]

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};

use super::limits::nofile;

/// Above the numbers that the managed sockets get, and possible under any limit that a daemon can live with.
const OUT_OF_THE_WAY: u64 = 255;

/// Which of the two processes returned from [`daemonize`].
#[derive(Debug)]
pub enum Side {
    /// The process that was started.
    Caller(Starting),
    /// The daemon.
    Daemon(Background),
}

/// The caller's view of a daemon that is starting.
#[derive(Debug)]
pub struct Starting(PipeReader);

/// What came of a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It is at work.
    Ready,
    /// It has said why not, and ends.
    Refused,
    /// It ended without a word.
    Died,
}

/// The daemon's connection to its caller, until it is [`ready`](Self::ready) or [`refused`](Self::refused).
#[derive(Debug)]
pub struct Background(PipeWriter);

const READY: u8 = b'0';
const REFUSED: u8 = b'1';

impl Starting {
    /// Waits until the daemon is at work or has ended.
    pub fn wait(mut self) -> Started {
        let mut news = [0];
        match self.0.read_exact(&mut news) {
            Ok(()) if news == [READY] => Started::Ready,
            Ok(()) => Started::Refused,
            Err(_) => Started::Died,
        }
    }
}

impl Background {
    /// The daemon is at work: its standard streams are `/dev/null` from now on, and the caller ends with success.
    pub fn ready(mut self) -> io::Result<()> {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        // The caller may have ended, which is no reason not to work.
        let _caller_has_gone = self.0.write_all(&[READY]);
        Ok(())
    }

    /// The daemon does not start, and has said why.
    pub fn refused(mut self) {
        let _caller_has_gone = self.0.write_all(&[REFUSED]);
    }
}

/// Goes on in the background: fork, setsid, fork, so that the daemon leads no session and can never get a terminal.
/// Every inherited descriptor but 0, 1 and 2 is closed. Directory and umask stay.
///
/// No thread and nothing that is to stay open may exist yet (no socket, no signal pipe).
pub fn daemonize() -> io::Result<Side> {
    let (news, telling) = io::pipe()?;
    let telling = out_of_the_way(telling)?;
    // SAFETY: there is one thread, so the child may do what it likes.
    if let ForkResult::Parent { child } = unsafe { fork() }? {
        drop(telling);
        // It goes at once; a zombie of it would be the daemon's to explain, were the caller to stay.
        let _status = nix::sys::wait::waitpid(child, None);
        return Ok(Side::Caller(Starting(news)));
    }
    drop(news);
    setsid()?;
    // SAFETY: as above.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {}
        // SAFETY: ends the process in the middle, without what the caller has registered to be done at exit.
        Ok(ForkResult::Parent { .. }) => unsafe { libc::_exit(0) },
        Err(errno) => return Err(errno.into()),
    }
    let kept = u32::try_from(telling.as_raw_fd()).unwrap_or(u32::MAX);
    close_range(3, kept.saturating_sub(1))?;
    close_range(kept.saturating_add(1), u32::MAX)?;
    Ok(Side::Daemon(Background(telling)))
}

/// The same pipe at a number that is not needed: the managed sockets get the lowest ones.
fn out_of_the_way(pipe: PipeWriter) -> io::Result<PipeWriter> {
    let highest = nofile()?.soft.saturating_sub(1).min(OUT_OF_THE_WAY);
    let number = i32::try_from(highest).unwrap_or(i32::MAX);
    let fd = fcntl(&pipe, FcntlArg::F_DUPFD_CLOEXEC(number)).or_else(|_| fcntl(&pipe, FcntlArg::F_DUPFD_CLOEXEC(3)))?;
    // SAFETY: the descriptor was made by the line above, and nothing else uses it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok(PipeWriter::from(fd))
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: takes no pointers. The descriptors are inherited: by contract nothing in this process owns one.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Proc;
    use crate::testing::alone;

    /// This copy of the test is done, and what it stands on is the other's to remove.
    fn end() -> ! {
        // SAFETY: nothing is left to be done here.
        unsafe { libc::_exit(0) }
    }

    fn is(fd: i32, file: &str) -> bool {
        std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|open| open == Path::new(file))
    }

    #[test]
    fn the_daemon_leads_no_session_and_holds_nothing() {
        alone("daemonize::tests::the_daemon_leads_no_session_and_holds_nothing", || {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("report");
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
            let inherited = File::open("/dev/zero").unwrap();
            match daemonize().unwrap() {
                Side::Caller(starting) => {
                    assert_eq!(starting.wait(), Started::Ready);
                    let report = std::fs::read_to_string(&path).unwrap();
                    assert_eq!(
                        report,
                        "own group: false, own session: false, inherited: false, first: 3, null: false, then: true"
                    );
                }
                Side::Daemon(background) => {
                    let stat = Proc::default().stat(nix::unistd::getpid()).unwrap();
                    let inherited = is(inherited.as_raw_fd(), "/dev/zero");
                    let first = File::open("/dev/zero").unwrap().as_raw_fd();
                    let null = is(1, "/dev/null") || is(2, "/dev/null");
                    background.ready().unwrap();
                    let report = format!(
                        "own group: {}, own session: {}, inherited: {inherited}, first: {first}, null: {null}, then: \
                        {}",
                        stat.group == stat.pid,
                        stat.session == stat.pid,
                        (0..3).all(|fd| is(fd, "/dev/null")),
                    );
                    File::options().write(true).open(&path).unwrap().write_all(report.as_bytes()).unwrap();
                    end()
                }
            }
        });
    }

    #[test]
    fn the_caller_hears_of_a_daemon_that_does_not_start() {
        alone("daemonize::tests::the_caller_hears_of_a_daemon_that_does_not_start", || {
            match daemonize().unwrap() {
                Side::Caller(starting) => assert_eq!(starting.wait(), Started::Refused),
                Side::Daemon(background) => {
                    background.refused();
                    end()
                }
            }
            match daemonize().unwrap() {
                Side::Caller(starting) => assert_eq!(starting.wait(), Started::Died),
                Side::Daemon(_) => end(),
            }
        });
    }
}
