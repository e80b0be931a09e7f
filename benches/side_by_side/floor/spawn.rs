//! Keeps so many workers running: posix_spawn, a signalfd, waitpid.

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::worker::{Worker, end, signals};
use crate::outcome::Outcome;

pub(super) fn run(probe: &str, inbox: &str, workers: usize) -> Outcome<()> {
    let worker = Worker::new(probe, inbox, &["pause"])?;
    let signals = signals()?;
    let mut alive = (0..workers).map(|_| worker.start(None)).collect::<Outcome<Vec<Pid>>>()?;
    while let Some(signal) = signals.read_signal()? {
        if signal.ssi_signo == Signal::SIGTERM as u32 {
            break;
        }
        while let Some(dead) = waitpid(None, Some(WaitPidFlag::WNOHANG)).ok().and_then(|status| status.pid()) {
            if let Some(slot) = alive.iter_mut().find(|pid| **pid == dead) {
                *slot = worker.start(None)?;
            }
        }
    }
    end(&alive, Signal::SIGTERM)
}
