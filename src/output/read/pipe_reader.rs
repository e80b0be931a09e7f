//! The reading end of a worker's stdout or stderr.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serde::{Deserialize, Serialize};

use crate::arbiter::Mono;
use crate::output::format::line_format::Speaker;
use crate::output::read::adaptive_interval::AdaptiveInterval;
use crate::output::read::awaited_line::AwaitedLine;
use crate::output::read::partial_line::{LINE_LIMIT, PartialLine};
use crate::output::sink::interface::Clocks;
use crate::output::tail::ring::Origin;
use crate::output::{SinkId, Source};

/// Bytes asked of one read. A larger block leaves the processor's cache between the read and the write.
pub(crate) const READ: usize = 64 * 1024;

/// A read block and the beginning of a line before it.
pub(crate) const SCRATCH: usize = LINE_LIMIT + READ;

/// A read of so much means that the writer may be waiting: the pipe grows, and is asked again at once. This is half of a
/// pipe of the ordinary size. A full one seldom gives all of its 64 KiB, because a line that does not fit into the rest
/// of a page starts the next page.
const FULL: usize = 32 * 1024;

/// The size of a pipe whose writer is faster than we are. Only those grow: a user who is not root may have 64 MiB of
/// pipes (pipe-user-pages-soft), which 1000 workers' two pipes of 64 KiB exceed already, and an idle pipe has no
/// use for it. (The size is that of the ring: 40 bytes for each page; pages are only held while they are full.)
const BUSY_PIPE: i32 = 256 * 1024;

/// A line that is longer than the limit makes others wait for its end so long in all ...
const HOLD_IN_ALL: Duration = Duration::from_secs(2);
/// ... and so long without any progress.
const HOLD_WITHOUT_PROGRESS: Duration = Duration::from_millis(200);

/// The queue that a source is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueueState {
    /// In none: nothing to read, as far as is known.
    Idle,
    /// In the queue of those to read from.
    Ready,
    /// Its writer takes no more.
    Parked,
}

/// What a read gave.
#[derive(Debug)]
pub(crate) enum Got {
    /// So many bytes; there may be more.
    Some(usize),
    /// So many bytes, and the pipe was then empty.
    Last(usize),
    /// Nothing now.
    Empty,
    /// Nothing ever again, and why if it was not the end.
    End(Option<io::Error>),
}

/// One attached pipe.
#[derive(Debug)]
pub(crate) struct PipeReader {
    file: File,
    pub(crate) source: Source,
    pub(crate) sink: SinkId,
    pub(crate) partial: PartialLine,
    /// When what is partial is written as it is.
    pub(crate) due: Option<Mono>,
    pub(crate) queue_state: QueueState,
    pub(crate) pace: AdaptiveInterval,
    /// No writer is left: a short read does not mean that the next would wait.
    pub(crate) hung_up: bool,
    /// Bytes read so far.
    pub(crate) taken: u64,
    /// The turn in which it was last found empty.
    pub(crate) emptied: u64,
    long_since: Option<Mono>,
    grown: bool,
    /// A line that is waited for.
    pub(crate) awaited: Option<AwaitedLine>,
}

/// What a reader knows, without its pipe.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedReader {
    pub(crate) source: Source,
    sink: SinkId,
    partial: PartialLine,
    due: Option<Mono>,
    long_since: Option<Mono>,
    /// The regular expression of a line that is waited for.
    #[serde(default)]
    awaited: Option<String>,
}

impl PipeReader {
    pub(crate) fn save(&self) -> SavedReader {
        let (source, sink, partial) = (self.source, self.sink, self.partial.clone());
        let awaited = self.awaited.as_ref().map(|awaited| awaited.pattern().to_owned());
        SavedReader { source, sink, partial, due: self.due, long_since: self.long_since, awaited }
    }

    pub(crate) fn restore(fd: OwnedFd, saved: SavedReader) -> io::Result<Self> {
        let SavedReader { source, sink, partial, due, long_since, awaited } = saved;
        let awaited = awaited.as_deref().and_then(AwaitedLine::new);
        Ok(Self { partial, due, long_since, awaited, ..Self::new(fd, sink, source)? })
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(crate) fn new(fd: OwnedFd, sink: SinkId, source: Source) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
        fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Self {
            file: fd.into(),
            source,
            sink,
            partial: PartialLine::default(),
            due: None,
            queue_state: QueueState::Idle,
            pace: AdaptiveInterval::new(),
            hung_up: false,
            awaited: None,
            taken: 0,
            emptied: 0,
            long_since: None,
            grown: false,
        })
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// The worker, for what stands before its lines.
    pub(crate) fn speaker(&self) -> Speaker {
        Speaker { pid: self.source.pid, wid: self.source.wid }
    }

    /// The worker that its lines come from now.
    pub(crate) fn origin(&self, now: Clocks) -> Origin {
        Origin { pid: self.source.pid, wid: self.source.wid, time: now.wall }
    }

    /// Reads once, behind the first `lead` bytes of `scratch`.
    pub(crate) fn read(&mut self, scratch: &mut [u8], lead: usize) -> Got {
        let Some(space) = scratch.get_mut(lead..lead + READ) else { return Got::Empty };
        loop {
            match self.file.read(space) {
                Ok(0) => return Got::End(None),
                Ok(read) => {
                    self.taken += read as u64;
                    if read >= FULL {
                        self.grow();
                        return Got::Some(read);
                    }
                    return if self.hung_up { Got::Some(read) } else { Got::Last(read) };
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => return Got::Empty,
                    _ => return Got::End(Some(error)),
                },
            }
        }
    }

    /// Once, for a pipe whose writer is fast. Refusal is no fault: the pipe stays as it is.
    fn grow(&mut self) {
        if !std::mem::replace(&mut self.grown, true)
            && fcntl(&self.file, FcntlArg::F_GETPIPE_SZ).is_ok_and(|size| size < BUSY_PIPE)
        {
            let _ = fcntl(&self.file, FcntlArg::F_SETPIPE_SZ(BUSY_PIPE));
        }
    }

    /// A piece of an overlong line was written: until when others wait for the rest. `None`: they have waited enough.
    pub(crate) fn hold_until(&mut self, now: Mono) -> Option<Mono> {
        let since = *self.long_since.get_or_insert(now);
        let last = since.after(HOLD_IN_ALL);
        (now < last).then(|| last.min(now.after(HOLD_WITHOUT_PROGRESS)))
    }

    /// The line has ended.
    pub(crate) fn line_ended(&mut self) {
        self.long_since = None;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Write, pipe};

    use super::*;
    use crate::proto::StreamName;

    #[test]
    fn a_pipe_full_of_short_lines_grows_and_is_asked_again() {
        let (reader, mut writer) = pipe().unwrap();
        let flags = OFlag::from_bits_retain(fcntl(&writer, FcntlArg::F_GETFL).unwrap());
        fcntl(&writer, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
        let line = [b'x'; 100];
        while writer.write(&line).is_ok() {}
        let source = Source { pid: 1, wid: 1, name: StreamName::Stdout };
        let mut reader = PipeReader::new(reader.into(), SinkId(1), source).unwrap();
        let mut scratch = vec![0; SCRATCH];
        let Got::Some(read) = reader.read(&mut scratch, 0) else { panic!("the pipe is taken for a quiet one") };
        assert!(read < READ, "pages hold {read} bytes of whole lines");
        assert_eq!(fcntl(&reader.file, FcntlArg::F_GETPIPE_SZ), Ok(BUSY_PIPE));
        assert!(matches!(reader.read(&mut scratch, 0), Got::Empty));
        writer.write_all(&line).unwrap();
        assert!(matches!(reader.read(&mut scratch, 0), Got::Last(100)));
    }
}
