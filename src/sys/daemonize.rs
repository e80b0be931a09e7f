//! Going into the background, as `circusd --daemon` does.
#![expect(unsafe_code, reason = "fork, and the closing of descriptors that nobody here has opened")]

use std::io;

use nix::unistd::{ForkResult, fork, setsid};

use super::host::sanitize_stdio;

/// Who returned from [`daemonize`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The process that was started: it exits with 0.
    Caller,
    /// The daemon.
    Daemon,
}

/// Goes on in the background: fork, setsid, fork, so that the daemon leads no session and can never get a terminal.
/// Every inherited descriptor is closed, and 0, 1 and 2 are `/dev/null`. Directory and umask stay.
///
/// The first thing of all: no thread and nothing that is to stay open may exist yet (no socket, no signal pipe).
pub fn daemonize() -> io::Result<Side> {
    // SAFETY: there is one thread, so the child may do what it likes.
    if let ForkResult::Parent { child } = unsafe { fork() }? {
        // It goes at once; a zombie of it would be the daemon's to explain, were the caller to stay.
        let _status = nix::sys::wait::waitpid(child, None);
        return Ok(Side::Caller);
    }
    setsid()?;
    // SAFETY: as above.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {}
        // SAFETY: ends the process in the middle, without what the caller has registered to be done at exit.
        Ok(ForkResult::Parent { .. }) => unsafe { libc::_exit(0) },
        Err(errno) => return Err(errno.into()),
    }
    // SAFETY: takes no pointers. The descriptors are inherited: by contract nothing in this process owns one.
    if unsafe { libc::syscall(libc::SYS_close_range, 0_u32, u32::MAX, 0) } == -1 {
        return Err(io::Error::last_os_error());
    }
    sanitize_stdio()?;
    Ok(Side::Daemon)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;

    use super::*;
    use crate::sys::Proc;
    use crate::sys::testing::alone;

    #[test]
    fn the_daemon_leads_no_session_and_holds_nothing() {
        alone("sys::daemonize::tests::the_daemon_leads_no_session_and_holds_nothing", || {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("report");
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
            let inherited = std::fs::File::open("/dev/zero").unwrap();
            match daemonize().unwrap() {
                Side::Caller => {
                    let report = std::fs::read_to_string(&path).unwrap();
                    assert_eq!(report, "own group: false, own session: false, inherited: false, null: true");
                }
                Side::Daemon => {
                    let stat = Proc::default().stat(nix::unistd::getpid()).unwrap();
                    let open = |fd: i32| std::fs::read_link(format!("/proc/self/fd/{fd}"));
                    let report = format!(
                        "own group: {}, own session: {}, inherited: {}, null: {}",
                        stat.group == stat.pid,
                        stat.session == stat.pid,
                        open(inherited.as_raw_fd()).is_ok_and(|file| file.ends_with("zero")),
                        (0..3).all(|fd| open(fd).unwrap().ends_with("null")),
                    );
                    std::fs::OpenOptions::new().write(true).open(&path).unwrap().write_all(report.as_bytes()).unwrap();
                    // SAFETY: this copy of the test is done, and the directory is the other's to remove.
                    unsafe { libc::_exit(0) }
                }
            }
        });
    }
}
