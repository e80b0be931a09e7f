//! What a hook answers on its standard output: `extended_stats` prints figures as JSON.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};

/// Read at once, so that a flood delays nothing else.
const CHUNK: usize = 64 * 1024;
/// More than this is not kept.
const LIMIT: usize = 1024 * 1024;

/// A pipe that does not block, whose whole content is the answer.
#[derive(Debug)]
pub(super) struct Answer {
    pipe: File,
    text: Vec<u8>,
}

impl Answer {
    pub(super) fn new(pipe: OwnedFd) -> Self {
        Self { pipe: File::from(pipe), text: Vec::new() }
    }

    pub(super) fn fd(&self) -> RawFd {
        self.pipe.as_raw_fd()
    }

    /// Reads what is there, up to a limit. Returns whether there may be more.
    pub(super) fn read(&mut self) -> bool {
        let mut buffer = vec![0; CHUNK];
        let mut taken = 0;
        while taken < CHUNK {
            match self.pipe.read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => {
                    let room = LIMIT - self.text.len();
                    self.text.extend(buffer.iter().take(length.min(room)));
                    taken += length;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }
}
