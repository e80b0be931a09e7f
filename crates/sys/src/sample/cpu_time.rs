//! Processor time alone, for many processes.

use std::time::Duration;

use nix::unistd::Pid;

use super::machine::Units;
use super::parse;
use crate::process::Proc;

/// Processor time that a process has used since its start, with its direct children and with those that it has collected.
/// `None` where it has ended, and where the kernel does not tell.
pub fn cpu_time(pid: Pid) -> Option<Duration> {
    let own = ticks(pid)?;
    let children = Proc::default().children(pid).into_iter().filter_map(ticks);
    let ticks = children.fold(own, u64::saturating_add);
    let per_second = Units::of_this_machine().ticks_per_second;
    Some(Duration::from_millis(ticks.saturating_mul(1000) / per_second))
}

fn ticks(pid: Pid) -> Option<u64> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let figures = parse::figures(&text)?;
    (!figures.zombie).then(|| figures.busy.saturating_add(figures.collected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{shell, start, wait};

    #[test]
    fn children_count_before_and_after_they_are_collected() {
        // It works in a child, and then waits for it.
        let pid = start(&shell("sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done'; kill -STOP $$")).unwrap();
        nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WUNTRACED)).unwrap();
        assert!(cpu_time(pid).is_some_and(|time| time > Duration::ZERO));
        crate::send(pid, circus_core::proto::Signal::KILL).unwrap();
        wait(pid);
        assert_eq!(cpu_time(pid), None);
    }
}
