//! Takes what four workers print into one file, as it comes: poll, read, write, and no care for lines.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, pipe2, read};

use super::worker::{Worker, end, signals};
use crate::outcome::Outcome;

const WRITERS: usize = 4;

pub(super) fn run(spam: &[&str; 3], probe: &str, inbox: &str, file: &str) -> Outcome<()> {
    let wanted = WRITERS * spam[1].parse::<usize>()? * spam[2].parse::<usize>()?;
    let signals = signals()?;
    let worker = Worker::new(probe, inbox, spam)?;
    let begun = (0..WRITERS).map(|_| printing(&worker)).collect::<Outcome<Vec<_>>>()?;
    let (pids, pipes): (Vec<Pid>, Vec<OwnedFd>) = begun.into_iter().unzip();
    pump(&pipes, &mut File::create(file)?, wanted)?;
    // The comparison reads the processor time of this process before it lets it end.
    while signals.read_signal()?.is_some_and(|signal| signal.ssi_signo != Signal::SIGTERM as u32) {}
    end(&pids, Signal::SIGKILL)
}

fn printing(worker: &Worker) -> Outcome<(Pid, OwnedFd)> {
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((worker.start(Some(&theirs))?, ours))
}

fn pump(pipes: &[OwnedFd], file: &mut File, wanted: usize) -> Outcome<()> {
    let mut buffer = vec![0_u8; 65536];
    let mut polled: Vec<PollFd<'_>> = pipes.iter().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)).collect();
    let mut done = 0;
    while done < wanted {
        poll(&mut polled, PollTimeout::NONE)?;
        for (pipe, state) in pipes.iter().zip(&polled) {
            if state.revents().is_some_and(|events| events.contains(PollFlags::POLLIN)) {
                let length = read(pipe, &mut buffer)?;
                file.write_all(&buffer[..length])?;
                done += length;
            }
        }
    }
    Ok(())
}
