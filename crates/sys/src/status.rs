//! The status pipe of a child that changes its identity: silence and end-of-file, or why it did not start.
//!
//! One message in one write, far below PIPE_BUF, so it arrives whole: the stage, the error number (4 bytes, little
//! endian), the text.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use circus_core::proto::{SpawnError, Stage};

/// The step that failed, the kernel's reason, and which of several items it was.
#[derive(Clone, Copy)]
pub(super) struct Failure {
    pub(super) stage: Stage,
    pub(super) errno: i32,
    pub(super) item: usize,
}

const HEADER: usize = 5;

/// The longest message; a longer text is cut.
pub(super) const MESSAGE_MAX: usize = 1024;

/// What a status pipe says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusRead {
    /// Nothing yet.
    StillStarting,
    /// End-of-file: exec closed the pipe. A child that was killed before its exec reads the same, and is reaped.
    Started,
    /// It did not start. It has exited or is about to, and the reaper collects it.
    Failed(SpawnError),
}

/// Reads what the status pipe of [`Spawned::Pending`](super::Spawned) has to say. Never blocks.
///
/// Once the child has been reaped the answer is final, so a loop that learns of the exit first reads this first.
pub fn read_status(fd: impl AsFd) -> StatusRead {
    let mut message = [0; MESSAGE_MAX];
    match read(fd.as_fd(), &mut message) {
        Ok(0) => StatusRead::Started,
        Ok(length) => StatusRead::Failed(decode(message.get(..length).unwrap_or_default())),
        Err(Errno::EAGAIN) => StatusRead::StillStarting,
        Err(errno) => StatusRead::Failed(SpawnError {
            stage: Stage::Fork,
            errno: errno as i32,
            detail: "status pipe of the child".into(),
        }),
    }
}

fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> nix::Result<usize> {
    loop {
        match nix::unistd::read(fd, buffer) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// Writes the message and returns its length. Runs in the child: no allocation, no panic.
pub(super) fn encode(failure: Failure, detail: &[u8], message: &mut [u8; MESSAGE_MAX]) -> usize {
    let errno = failure.errno.to_le_bytes();
    let bytes = std::iter::once(failure.stage as u8).chain(errno).chain(detail.iter().copied());
    let mut length = 0;
    for (to, from) in message.iter_mut().zip(bytes) {
        *to = from;
        length += 1;
    }
    length
}

fn decode(message: &[u8]) -> SpawnError {
    let (header, detail) = message.split_at_checked(HEADER).unwrap_or_default();
    let (stage, errno) = match header {
        [stage, a, b, c, d] => (Stage::from_number(*stage), i32::from_le_bytes([*a, *b, *c, *d])),
        _ => (None, 0),
    };
    let detail = String::from_utf8_lossy(detail).into_owned();
    SpawnError { stage: stage.unwrap_or(Stage::Fork), errno, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(failure: Failure, detail: &[u8]) -> SpawnError {
        let mut message = [0; MESSAGE_MAX];
        let length = encode(failure, detail, &mut message);
        decode(&message[..length])
    }

    #[test]
    fn every_stage_survives_the_pipe() {
        for stage in Stage::ALL {
            let error = round_trip(Failure { stage, errno: libc::EPERM, item: 0 }, b"nobody");
            assert_eq!(error, SpawnError { stage, errno: libc::EPERM, detail: "nobody".into() });
        }
    }

    #[test]
    fn a_long_detail_is_cut_and_garbage_is_no_panic() {
        let error = round_trip(Failure { stage: Stage::Chdir, errno: 2, item: 0 }, &[b'x'; 5000]);
        assert_eq!(error.detail.len(), MESSAGE_MAX - HEADER);
        for garbage in [&b""[..], b"\xff", b"\xff\x01\x02\x03\x04\xff"] {
            assert_eq!(decode(garbage).stage, Stage::Fork);
        }
    }

    #[test]
    fn an_open_pipe_is_silent_and_a_closed_one_has_started() {
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC | nix::fcntl::OFlag::O_NONBLOCK).unwrap();
        assert_eq!(read_status(&read), StatusRead::StillStarting);
        drop(write);
        assert_eq!(read_status(&read), StatusRead::Started);
    }
}
