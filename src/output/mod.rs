//! Layer 2: what workers print, on a thread of its own.
//!
//! The daemon's thread holds an [`OutputHandle`]. It opens sinks, hands over the reading ends of pipes, says which
//! worker died, and collects messages; it never waits for a disk or a reader.
//!
//! ```text
//!  pipe -> PipeReader -> PartialLine -> LineFormat -> SinkWriter -> Sink
//!          reads         whole lines    prefix,       order,       file, FIFO,
//!                                       colour        queue        terminal
//! ```
//!
//! * A *pipe reader* owns an attached pipe. It is read when it is readable, a bounded share each turn, until end-of-file.
//! * A block is cut behind its last newline. The rest waits for its end, at most 200 ms or 64 KiB.
//! * A *stream sink* is made from a stream's configuration: a line format (`time_format`, `color`), a rotation
//!   policy and a writer. Streams that name the same place share one writer.
//! * A *sink writer* takes lines from several readers and puts them in order. What its sink does not take waits in a
//!   queue. While a slow reader's queue is full, the pipes of that sink are not read, and no other sink is affected. A
//!   full disk's queue overflows instead, because a worker must not stop for a disk; lost lines are counted.
//! * A line longer than 64 KiB is written in pieces; other workers wait for its end, for a limited time. A worker that
//!   starts a line while another's is open (a prompt, the last output of a dead worker) starts it on a new line.
//! * Only readiness, commands and deadlines that are due wake the thread. A busy pipe is polled each millisecond instead
//!   of waking the thread at every write.
//!
//! Beside the sinks there is a *tail* for each watcher's stream: the last lines, bounded, and events while a client
//! follows it. It outlives its sink, so that it can show why a watcher stopped.
//!
//! All of it can be saved and resumed in another process (`saved`).
//!
//! A new class of stream is a `Sink` or a `LineFormat` in a file of its own.

mod format;
mod handle;
mod message;
mod read;
mod saved;
mod sink;
mod tail;
mod thread;

#[cfg(test)]
mod tests;

pub use handle::{OutputHandle, Paused};
pub use message::{Message, SinkId, Source, SyncId};
pub(crate) use saved::bytes;
pub use saved::{OutputFd, RestoreError, SavedOutput};
pub use sink::{OpenError, check_file};
pub(crate) use sink::{open_for_append, open_private_file};
pub use tail::Kept;
