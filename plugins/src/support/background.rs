//! Work that may take long, in a thread of its own: a plugin that waits for a server would neither hear of events nor
//! end on request.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};

/// A thread with a queue of jobs, and what came out of them.
#[derive(Debug)]
pub(crate) struct Background<J, R> {
    jobs: SyncSender<J>,
    results: Receiver<R>,
    woken: UnixStream,
}

impl<J: Send + 'static, R: Send + 'static> Background<J, R> {
    /// A thread that does `work` for each job. At most `queue` of them wait.
    pub(crate) fn start(queue: usize, mut work: impl FnMut(J) -> R + Send + 'static) -> io::Result<Self> {
        let (woken, mut wake) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        let (jobs, inbox) = sync_channel(queue);
        let (outbox, results) = channel();
        std::thread::Builder::new().name("work".into()).spawn(move || {
            for job in inbox {
                if outbox.send(work(job)).is_err() {
                    return;
                }
                // A full pipe has woken the reader already.
                drop(wake.write(&[0]));
            }
        })?;
        Ok(Self { jobs, results, woken })
    }

    /// Whether there was room for the job.
    pub(crate) fn push(&self, job: J) -> bool {
        match self.jobs.try_send(job) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// Readable when there are results.
    pub(crate) fn source(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }

    /// What has been done.
    pub(crate) fn results(&mut self) -> Vec<R> {
        let mut bytes = [0; 256];
        while matches!(self.woken.read(&mut bytes), Ok(1..)) {}
        self.results.try_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    #[test]
    fn results_wake_and_a_full_queue_says_so() {
        let (hold, held) = channel();
        let mut work = Background::start(1, move |job: u32| {
            held.recv().unwrap();
            job * 2
        })
        .unwrap();
        // One is in the works, or about to be, and one waits: with three there is always one too many.
        let taken = (0..3).filter(|job| work.push(*job)).count();
        assert!((1..3).contains(&taken));
        for _ in 0..taken {
            hold.send(()).unwrap();
        }
        let mut results = Vec::new();
        while results.len() < taken {
            assert_eq!(
                poll(&mut [PollFd::new(work.source(), PollFlags::POLLIN)], PollTimeout::from(30_000_u16)),
                Ok(1)
            );
            results.extend(work.results());
        }
        assert_eq!(results[0], 0);
    }
}
