//! Where probes report that they are alive.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;

use crate::clock::Moment;
use crate::outcome::{Outcome, fault};

/// A worker that has told of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth {
    pub(crate) pid: Pid,
    pub(crate) at: Moment,
}

/// The unix socket that the probes of one piece of work send to.
pub(crate) struct Inbox {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Inbox {
    pub(crate) fn bind(room: &Path) -> Outcome<Self> {
        let path = room.join("inbox");
        let socket = UnixDatagram::bind(&path)?;
        // As many as the kernel lets wait: a probe that finds no room waits, and would be late with its work.
        setsockopt(&socket, sockopt::RcvBuf, &(1 << 22))?;
        Ok(Self { socket, path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The next births, at most `count`, and those that come until `limit` is over.
    pub(crate) fn take(&self, count: usize, limit: Duration) -> Outcome<Vec<Birth>> {
        let end = Moment::now().after(limit);
        let mut births = Vec::with_capacity(count);
        while births.len() < count {
            let left = end.since(Moment::now());
            if left.is_zero() {
                break;
            }
            self.socket.set_read_timeout(Some(left))?;
            let mut buffer = [0_u8; 128];
            match self.socket.recv(&mut buffer) {
                Ok(length) => births.push(read(&buffer[..length])?),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(births)
    }

    /// Exactly so many births.
    pub(crate) fn all(&self, count: usize, limit: Duration) -> Outcome<Vec<Birth>> {
        let births = self.take(count, limit)?;
        if births.len() == count {
            return Ok(births);
        }
        Err(fault(format!("only {} of {count} workers began within {} s", births.len(), limit.as_secs())))
    }
}

fn read(datagram: &[u8]) -> Outcome<Birth> {
    let text = String::from_utf8_lossy(datagram);
    let mut words = text.split_whitespace();
    let mut next = || words.next().ok_or_else(|| fault(format!("no report of a probe: {text:?}")));
    let pid = Pid::from_raw(next()?.parse()?);
    Ok(Birth { pid, at: Moment::from_nanos(next()?.parse()?) })
}
