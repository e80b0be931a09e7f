//! Reaping children: the only wait loop of the crate.
#![expect(unsafe_code, reason = "nix's waitpid has no word for a death by a real-time signal, and no wait4")]

use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;

/// A process that has ended and been collected: from here on another process may get its pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// What it was called.
    pub pid: Pid,
    /// Its exit status, or minus the signal that ended it.
    pub exit_code: i32,
    /// Processor time that it used, and the children that it waited for.
    pub cpu: Duration,
}

/// Collects every child that has ended, also adopted ones, which are many for PID 1 and a subreaper, and
/// appends them. Never waits. One SIGCHLD may stand for many deaths, so this does not stop at the first.
pub fn reap(exits: &mut Vec<Exit>) {
    loop {
        let mut status = 0;
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: `status` is an int and `usage` an rusage, which the kernel may write.
        let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) };
        // SAFETY: an rusage is plain numbers, for which zeros are a value.
        let usage = unsafe { usage.assume_init() };
        match Errno::result(pid) {
            Ok(0) => return,
            Ok(pid) => exits.push(Exit { pid: Pid::from_raw(pid), exit_code: exit_code(status), cpu: cpu(&usage) }),
            Err(Errno::EINTR) => {}
            // ECHILD: there are no children. No other error is possible, and none would go away by trying again.
            Err(_) => return,
        }
    }
}

fn cpu(usage: &libc::rusage) -> Duration {
    let time = |time: libc::timeval| {
        let micros = u64::try_from(time.tv_usec).unwrap_or_default();
        Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default()) + Duration::from_micros(micros)
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Without WUNTRACED and WCONTINUED a process that is reported has ended, one way or the other.
fn exit_code(status: i32) -> i32 {
    if libc::WIFSIGNALED(status) { -libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::{alone, shell, start};

    /// Reaps until so many have come, yielding in between; the test's own deadline is the harness's.
    fn reap_all(count: usize) -> BTreeMap<Pid, i32> {
        let mut exits = Vec::new();
        while exits.len() < count {
            reap(&mut exits);
            std::thread::yield_now();
        }
        exits.iter().map(|exit| (exit.pid, exit.exit_code)).collect()
    }

    #[test]
    fn a_hundred_deaths_at_once_and_each_with_its_status() {
        alone("reap::tests::a_hundred_deaths_at_once_and_each_with_its_status", || {
            let expected: BTreeMap<Pid, i32> =
                (0..100).map(|status| (start(&shell(&format!("exit {status}"))).unwrap(), status)).collect();
            assert_eq!(reap_all(100), expected);
            let mut none = Vec::new();
            reap(&mut none);
            assert!(none.is_empty());
        });
    }

    #[test]
    fn a_death_by_any_signal_is_its_negative() {
        alone("reap::tests::a_death_by_any_signal_is_its_negative", || {
            for signal in [1, 9, 15, 34, 37, 64] {
                let pid = start(&shell(&format!("kill -{signal} $$"))).unwrap();
                assert_eq!(reap_all(1), BTreeMap::from([(pid, -signal)]));
            }
        });
    }

    #[test]
    fn a_failed_start_leaves_nothing_to_reap_and_a_stopped_child_is_not_dead() {
        alone("reap::tests::a_failed_start_leaves_nothing_to_reap_and_a_stopped_child_is_not_dead", || {
            let mut nowhere = shell("true");
            nowhere.cwd = "/nonexistent".into();
            start(&nowhere).unwrap_err();
            let pid = start(&shell("kill -STOP $$; exit 3")).unwrap();
            nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WUNTRACED)).unwrap();
            let mut exits = Vec::new();
            reap(&mut exits);
            assert_eq!(exits, []);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).unwrap();
            assert_eq!(reap_all(1), BTreeMap::from([(pid, 3)]));
        });
    }
}
