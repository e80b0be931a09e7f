//! Ending with circusd.

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

/// Where this process was started by a circusd: asks the kernel for SIGTERM when that ends, however it does. False where
/// it has ended already. A process that somebody started by hand outlives his shell.
pub fn end_with_circusd() -> bool {
    let parent = getppid();
    if !is_circusd(parent) {
        return true;
    }
    // Where the kernel refuses, which it has no reason to, an orphan is noticed by its parent at the next question.
    let _refused = set_pdeathsig(Signal::SIGTERM);
    getppid() == parent
}

fn is_circusd(pid: Pid) -> bool {
    std::fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_ascii() == b"circusd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_started_by_somebody_else_is_left_alone() {
        assert!(!is_circusd(getppid()) && !is_circusd(Pid::from_raw(-1)));
        assert!(end_with_circusd());
        assert_eq!(nix::sys::prctl::get_pdeathsig(), Ok(None));
    }
}
